"""The ring of cells that a patch's own padding spoils, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Patch, Rectangle

from fcnviz import layout
from fcnviz.arithmetic import count
from fcnviz.errors import InputError
from fcnviz.figures.canvas import FONT, colours, extent, rectangles

if TYPE_CHECKING:
    from fcnviz.patches import Ring

__all__ = ["rings", "rings_alt"]

DERIVED = ("clean: sees what the dense run sees", "polluted: has seen the patch's padding")
MEASURED = ("clean: bit for bit the dense run's", "other bits than the dense run's")  # by padding, or by rounding alone
RING_HATCH = "////"
RINGS_ABREAST = 3  # in a figure of its own; more would be too small for a ring of one cell in a hundred
_TITLE, _FOOT, _GAP = 2 * FONT, 2.4 * FONT, 1.4 * FONT  # points: above the panels, for the legend, and between panels
_LINE = 1.3 * FONT


@dataclass(frozen=True, slots=True)
class _Panel:
    """A map of a patch: where it comes from, and which of its cells are clean."""

    step: str
    mask: np.ndarray

    @property
    def counted(self) -> str:
        return f"{count(int(self.mask.sum()))} of {count(self.mask.size)} cells clean"

    def title(self, width: int) -> str:
        name = layout.shortened(self.step, width).replace("$", r"\$")
        short = len(self.counted) <= width
        return "\n".join([name, self.counted if short else self.counted.replace(" cells", "\ncells")])


def rings(found: Iterable[Ring] | Mapping[str, np.ndarray], ax: Axes | None = None) -> Axes:
    """A patch's map after each step: the cells that are the dense run's, and the ring that the patch's padding spoils.

    The legend says what is known: rings that were derived tell which cells have seen the patch's padding; masks that
    were measured tell which have other bits than the dense run, and rounding does that too.

    Every panel is the whole patch, and so all have one size: cells get larger, and the ring eats inward. The panels are
    `ax.child_axes`, in the order of the steps.

    Args:
        found: what `clean_rings` or `measured_rings` gives, or some of it: the pools, say.

    Raises:
        InputError: no ring at all, or a map without cells.
    """
    panels = _panels(found)
    shape = panels[0].mask.shape
    tall = float(np.clip(shape[0] / shape[1], 1 / 3, 3))
    ax = _room_of_rings(len(panels), tall) if ax is None else ax
    ax.set_axis_off()
    wide, high = extent(ax)
    across, side, chars = _grid(panels, tall, wide, high - _TITLE - _FOOT)
    head = _heads(panels, chars)
    for index, panel in enumerate(panels):
        row, column = divmod(index, across)
        left = column * (wide + _GAP) / across + ((wide + _GAP) / across - _GAP - side) / 2
        bottom = high - _TITLE - row * (head + side * tall + _GAP) - head - side * tall
        box = (left / wide, bottom / high, side / wide, side * tall / high)
        _paint_ring(ax.inset_axes(box), panel, side)
        middle = (left + side / 2) / wide, (bottom + side * tall + 4) / high
        ax.text(*middle, panel.title(chars), transform=ax.transAxes, fontsize=FONT, ha="center", va="bottom")
    lowest = -(-len(panels) // across) * (head + side * tall + _GAP) - _GAP + _TITLE
    (clean, polluted), (first, second) = _ring_colours(), _ring_labels(found)
    handles = [
        Patch(fc=clean, ec="#444", lw=0.6, label=first),
        Patch(fc=polluted, ec="#444", lw=0.6, hatch=RING_HATCH, label=second),
    ]
    ax.legend(
        handles=handles, fontsize=FONT, frameon=False, ncols=2 if wide > 500 else 1, borderaxespad=0, borderpad=0,
        labelspacing=0.3, columnspacing=1.5, handlelength=1.6, handletextpad=0.6, loc="upper left",
        bbox_to_anchor=(0, 1 - (lowest + 0.9 * FONT) / high),
    )  # fmt: skip
    ax.set_title("What is left of the dense run in a patch", fontsize=FONT, loc="left", y=1, pad=-FONT)
    return ax


def rings_alt(found: Iterable[Ring] | Mapping[str, np.ndarray]) -> str:
    """The picture of `rings` in words."""
    panels = _panels(found)
    maps = f"{len(panels)} maps of a patch, step by step" if len(panels) > 1 else "A map of a patch"
    said = "; ".join(f"{panel.step}: {panel.counted}{_ring_text(panel.mask)}" for panel in panels)
    return f"{maps}. Blue, {'; brown and hatched, '.join(_ring_labels(found))}. {said}."


def _panels(found: Iterable[Ring] | Mapping[str, np.ndarray]) -> list[_Panel]:
    if isinstance(found, Mapping):
        panels = [_Panel(layout.plain(name), np.asarray(mask, bool)) for name, mask in found.items()]
    else:
        panels = [_Panel(layout.plain(f"{ring.name} ({ring.kind})"), ring.mask) for ring in found]
    if not panels:
        raise InputError("no ring to draw: give some of what clean_rings or measured_rings has found")
    for panel in panels:
        if panel.mask.ndim != 2 or not panel.mask.size:
            size = "×".join(map(str, panel.mask.shape)) or "a number"
            raise InputError(f"the map of {panel.step} is {size}; a picture needs rows and columns of cells")
    return panels


def _ring_labels(found: object) -> tuple[str, str]:
    return MEASURED if isinstance(found, Mapping) else DERIVED


def _ring_colours() -> tuple[str, str]:
    (clean,), (polluted,) = colours(1, 1)
    return clean, polluted


def _ring_text(mask: np.ndarray) -> str:
    """How wide the ring is, if what is clean is a rectangle."""
    if mask.all() or not mask.any():
        return ""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)).tolist() for axis in (1, 0))
    if (1 + rows[-1] - rows[0]) * (1 + columns[-1] - columns[0]) != mask.sum():
        return ""
    high, wide = mask.shape
    sides = {"top": rows[0], "bottom": high - 1 - rows[-1], "left": columns[0], "right": wide - 1 - columns[-1]}
    if len(set(sides.values())) == 1:
        return f", a ring {rows[0]} cell{'s' * (rows[0] != 1)} wide"
    return ", polluted " + ", ".join(f"{size} from the {side}" for side, size in sides.items() if size)


def _room_of_rings(number: int, tall: float) -> Axes:
    """Axes as wide as a page, and as high as the panels need."""
    wide, edge = 8 * 72, 0.15 * 72
    rows, across = -(-number // RINGS_ABREAST), min(number, RINGS_ABREAST)
    side = (wide - 2 * edge + _GAP) / max(across, 2) - _GAP
    inner = _TITLE + rows * (2 * _LINE + 6 + side * tall + _GAP) - _GAP + _FOOT
    high = inner + 2 * edge
    place = (edge / wide, edge / high, 1 - 2 * edge / wide, inner / high)
    return plt.figure(figsize=(8, high / 72)).add_axes(place)


def _grid(panels: Sequence[_Panel], tall: float, wide: float, high: float) -> tuple[int, float, int]:
    """Panels abreast, their width in points and the letters above each: the grid that makes them largest."""
    grids, needed = [], max(len(panel.counted) - len(" cells clean") for panel in panels)
    for across in range(1, len(panels) + 1):
        pitch, rows = (wide + _GAP) / across, -(-len(panels) // across)
        chars = max(8, int((pitch - 4) / (0.575 * FONT)))
        if across > 1 and chars < needed:
            break
        up = (high + _GAP) / rows - _GAP - _heads(panels, chars)
        grids.append((max(1.0, min(pitch - _GAP, up / tall)), across, chars))
    side, across, chars = max(grids)
    return across, side, chars


def _heads(panels: Sequence[_Panel], chars: int) -> float:
    """Points above each panel, for the longest title."""
    return _LINE * max(1 + panel.title(chars).count("\n") for panel in panels) + 6


def _paint_ring(ax: Axes, panel: _Panel, side: float) -> None:
    """Row 0 at the top, as in the image; the hatched ground is what is polluted, and clean cells lie on it."""
    clean, polluted = _ring_colours()
    high, wide = panel.mask.shape
    ax.add_patch(Rectangle((0, 0), wide, high, fc=polluted, ec="#444", lw=0, hatch=RING_HATCH, zorder=0))
    found = rectangles(panel.mask, most=panel.mask.size)
    cells = [Rectangle((left - 1, top - 1), across, down) for left, top, across, down in found]
    # not snapped to pixels, nor behind a frame: a ring of one cell has to show on all its sides
    ax.add_collection(PatchCollection(cells, fc=clean, lw=0, snap=False, zorder=1), autolim=False)
    if side / wide >= FONT:  # so few cells that each can be seen
        for draw, size in ((ax.axvline, wide), (ax.axhline, high)):
            for edge in range(1, size):
                draw(edge, color="white", lw=0.8, zorder=2)
    ax.set(xlim=(0, wide), ylim=(high, 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)

"""Where the cells of a network's maps lie along one axis of the image, one bar for each map.

The bar of a map that is cropped shows what is cut: that is where the paper's crop offsets can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import ScaledTranslation

from fcnviz.arithmetic import count
from fcnviz.errors import InputError
from fcnviz.figures.canvas import FONT, RUNS, STOPS, figure_of, shown

if TYPE_CHECKING:
    from fcnviz.geometry import Geometry

__all__ = ["alignment", "alignment_alt"]

IMAGE, BEYOND, BEYOND_HATCH = "#cfcfcf", STOPS[3], "////"
WIDEST = 160  # cells that are drawn one by one


@dataclass(frozen=True, slots=True)
class _Bar:
    """A map along one axis: its cells, how far they lie apart, and the pixels of the first and the last one."""

    name: str
    cells: int
    jump: float
    first: float
    last: float

    @property
    def label(self) -> str:
        apart = f"{_pixels(self.jump)} apart"
        return f"{self.name}: {_many(self.cells)}, {apart}, from pixel {_at(self.first)} to {_at(self.last)}"


def alignment(found: Geometry, steps: Sequence[str], axis: int = -1, ax: Axes | None = None) -> Axes:
    """A bar for each step, over the pixels of the image: blue where its cells lie on the image, hatched beyond it.

    A cell is drawn as wide as cells lie apart, its middle where it lies.

    Args:
        steps: names of steps, from the top down.
        axis: of the image; the last one is the row.

    Raises:
        InputError: no steps.
        GeometryError: a step that has no place on the image.
    """
    bars, pixels = _bars(found, steps, axis), found.image[axis]
    low = min(0.0, *(bar.first - bar.jump / 2 for bar in bars))
    high = max(float(pixels), *(bar.last + bar.jump / 2 for bar in bars))
    ax = plt.figure(figsize=(8, 0.62 * len(bars) + 1.35), layout="constrained").add_subplot() if ax is None else ax
    ax.axvspan(-0.5, pixels - 0.5, color=IMAGE, lw=0, zorder=0)
    for line, bar in enumerate(bars):
        _draw(ax, line, bar, pixels)
        ax.text(low, line - 0.36, shown(bar.label), fontsize=FONT - 1, ha="left", va="bottom")
    margin = 0.01 * (high - low)
    ax.set(xlim=(low - margin, high + margin), ylim=(len(bars) - 0.5, -0.95), yticks=[])
    ax.set_xticks(sorted({0, pixels - 1, pixels // 2}))
    ax.set_xlabel("pixel of the image", fontsize=FONT)
    ax.tick_params(labelsize=FONT)
    ax.spines[["top", "right", "left"]].set_visible(False)
    _legend(ax)
    return ax


def alignment_alt(found: Geometry, steps: Sequence[str], axis: int = -1) -> str:
    """The picture of `alignment` in words."""
    said = ". ".join(f"{bar.label}" for bar in _bars(found, steps, axis))
    return f"Bars of cells along an image of {count(found.image[axis])} pixels, counted from 0. {said}."


def _bars(found: Geometry, steps: Sequence[str], axis: int) -> list[_Bar]:
    if not steps:
        raise InputError("no step to draw: name steps of the geometry, such as 'upscore'")
    return [_bar(found, name, axis) for name in steps]


def _bar(found: Geometry, name: str, axis: int) -> _Bar:
    step = found[name]
    place, cells = step.placements[axis], step.size[axis]
    return _Bar(name, cells, float(place.jump), float(place.centre(0)), float(place.centre(cells - 1)))


def _draw(ax: Axes, line: int, bar: _Bar, pixels: int) -> None:
    left, wide = bar.first - bar.jump / 2, bar.jump * bar.cells
    ax.add_patch(Rectangle((left, line - 0.3), wide, 0.6, fc=BEYOND, ec="#555", hatch=BEYOND_HATCH, lw=0, zorder=1))
    inside = max(left, -0.5), min(left + wide, pixels - 0.5)
    ax.add_patch(Rectangle((inside[0], line - 0.3), inside[1] - inside[0], 0.6, fc=RUNS[0], ec="none", zorder=2))
    if bar.cells <= WIDEST:
        edges = [left + bar.jump * cell for cell in range(bar.cells + 1)]
        ax.vlines(edges, line - 0.3, line + 0.3, color="white", lw=0.8, zorder=3)


def _legend(ax: Axes) -> None:
    handles = [
        Patch(fc=IMAGE, label="the image"),
        Patch(fc=RUNS[0], label="cells on the image"),
        Patch(fc=BEYOND, ec="#555", hatch=BEYOND_HATCH, lw=0, label="cells beyond it"),
    ]
    down = ScaledTranslation(0, -0.5, figure_of(ax).dpi_scale_trans)  # inches: below the ticks and the axis label
    ax.legend(
        handles=handles, fontsize=FONT, frameon=False, ncols=3, loc="upper left", bbox_to_anchor=(0, 0),
        bbox_transform=ax.transAxes + down, borderaxespad=0,
    )  # fmt: skip


def _many(cells: int) -> str:
    return f"{count(cells)} cell{'s' * (cells != 1)}"


def _pixels(value: float) -> str:
    return f"{_at(value)} pixel{'s' * (value != 1)}"


def _at(value: float) -> str:
    return f"{value:g}".replace("-", "−")

"""What cells see of the image: their regions, nested, and how much each pixel of one really counts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike, NDArray

from fcnviz import layout
from fcnviz.arithmetic import count
from fcnviz.errors import InputError
from fcnviz.figures.canvas import FONT, RUNS, STOPS, extent, figure_of, shown

if TYPE_CHECKING:
    from fcnviz.effective import EffectiveField
    from fcnviz.geometry import Region

__all__ = ["effective_field", "effective_field_alt", "receptive_fields", "receptive_fields_alt"]

GROUND = "#cfcfcf"  # where there is no picture of the image
PADDING = "outside the image: padding"
OUTSIDE = "////"
HATCH = "#8f8f8f"
# one after the other far apart in lightness and in hue, so that nested boxes are told apart by every eye
BOXES = ("#0072b2", "#d98a1f", "#004a75", "#f7c873", "#8a4b08", "#56b4e9", "#3b1f0b")
HELD = 0.95
LETTERS = 78  # of a line below the picture
_HALO = [patheffects.withStroke(linewidth=4, foreground="white")]  # dark boxes on a dark page, or on a photo
_Box = tuple[float, float, float, float]  # left, top, width, height, in pixels


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A region as it is drawn: its step, its colour, its box with and without what lies outside the image."""

    step: str
    cell: str
    colour: str
    whole: _Box | None
    clipped: _Box | None
    pixels: NDArray[np.bool_]

    @property
    def label(self) -> str:
        if self.whole is None and self.clipped is None:
            return f"{self.step}, cell {self.cell}: sees nothing"
        left, top, wide, high = self.whole or self.clipped or (0, 0, 0, 0)
        size = f"{count(high)}×{count(wide)} pixels"
        rows, columns = self.pixels.shape
        outside = max(-top, -left, top + high - rows, left + wide - columns)
        far = f", up to {count(outside)} outside the image" if outside > 0 else ""
        return f"{self.step}, cell {self.cell}: {size}{far}{self._holes}"

    @property
    def _holes(self) -> str:
        if self.clipped is None:
            return ", none of them read"
        wide, high = map(int, self.clipped[2:])
        return f", {count(int(self.pixels.sum()))} of {count(wide * high)} read" if self.holes else ""

    @property
    def holes(self) -> bool:
        """True where not every pixel within the box is read."""
        return self.clipped is not None and int(self.pixels.sum()) < self.clipped[2] * self.clipped[3]


def receptive_fields(
    regions: Iterable[Region] | Region, ax: Axes | None = None, image: ArrayLike | None = None
) -> Axes:
    """The regions of cells, one box in another, on the image and on the padding around it.

    A box is solid within the image and dashed where it goes on outside; the pixels that are read are tinted, so that
    holes between dilated taps show.

    Args:
        regions: one or several, of one image of rows and columns: `geometry(trace).region(step, cell)` of some steps.
        image: H×W, H×W×3 or H×W×4 numbers as matplotlib shows them; a neutral ground without.

    Raises:
        InputError: no regions, regions of different images, or an image of another size.
    """
    drawn = _boxes(_listed(regions))
    size = drawn[0].pixels.shape
    paper = _paper(image, size)
    labels = _wrapped([*(one.label for one in drawn), *([PADDING] if _reaches_out(drawn) else [])])
    frame = _frame(drawn)
    title = "What a cell sees" if len(drawn) == 1 else "What cells see, step by step"
    ax = _room(frame, sum(1 + label.count("\n") for label in labels)) if ax is None else ax
    _ground(ax, frame, size, paper)
    for i, one in enumerate(drawn):
        _draw_region(ax, one, _width(one, drawn[i + 1 :]))
    _name_boxes(ax, drawn)
    _legend(ax, [*(_line(one.colour) for one in drawn), Patch(fc="none", ec=HATCH, hatch=OUTSIDE, lw=0.6)], labels)
    ax.set_title(title, fontsize=FONT, loc="left")
    return ax


def receptive_fields_alt(regions: Iterable[Region] | Region) -> str:
    """The picture of `receptive_fields` in words."""
    drawn = _boxes(_listed(regions))
    rows, columns = drawn[0].pixels.shape
    boxes = f"{len(drawn)} boxes" if len(drawn) > 1 else "A box"
    said = "; ".join(f"{one.label}{_where(one)}" for one in drawn)
    return f"{boxes} on an image of {count(rows)}×{count(columns)} pixels, what cells see of it. {said}."


def _where(one: _Drawn) -> str:
    if one.clipped is None:
        return ""
    left, top, wide, high = map(int, one.clipped)
    return f", rows {top}–{top + high - 1}, columns {left}–{left + wide - 1}"


def _listed(regions: Iterable[Region] | Region) -> list[Region]:
    return list(regions) if isinstance(regions, Iterable) else [regions]


def _boxes(regions: Sequence[Region]) -> list[_Drawn]:
    if not regions:
        raise InputError("no region to draw: give what geometry(trace).region(step, cell) has found")
    shapes = {region.pixels.shape for region in regions}
    if len(shapes) > 1 or len(regions[0].pixels.shape) != 2:
        sizes = ", ".join(sorted("×".join(map(str, shape)) for shape in shapes))
        raise InputError(f"regions of images {sizes} were given; a picture needs one image of rows and columns")
    return [_drawn(region, BOXES[i % len(BOXES)]) for i, region in enumerate(regions)]


def _drawn(region: Region, colour: str) -> _Drawn:
    cell = "(" + ", ".join(map(str, region.cell)) + ")"
    return _Drawn(layout.plain(region.step), cell, colour, _box(region.unclipped), _box(region.clipped), region.pixels)


def _box(spans: Sequence[tuple[object, object] | None] | None) -> _Box | None:
    """From the spans of rows and columns."""
    if spans is None or None in spans:
        return None
    (top, bottom), (left, right) = ((float(a), float(b)) for a, b in spans)  # type: ignore[arg-type,misc]  # no None here
    return left, top, right - left + 1, bottom - top + 1


def _reaches_out(drawn: Sequence[_Drawn]) -> bool:
    left, top, right, bottom = _frame(drawn)
    rows, columns = drawn[0].pixels.shape
    return left < 0 or top < 0 or right > columns or bottom > rows


def _frame(drawn: Sequence[_Drawn]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of all that has to be seen, in pixels."""
    rows, columns = drawn[0].pixels.shape
    boxes = [(0.0, 0.0, float(columns), float(rows)), *(one.whole for one in drawn if one.whole)]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    return left, top, max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)


def _paper(image: ArrayLike | None, size: tuple[int, ...]) -> NDArray[np.float64] | NDArray[np.uint8] | None:
    if image is None:
        return None
    paper = np.asarray(image)
    if paper.shape[:2] != size or paper.ndim not in (2, 3):
        asked = "×".join(map(str, paper.shape))
        raise InputError(f"an image of {asked} was given; the regions are of one of {'×'.join(map(str, size))} pixels")
    return paper


def _room(frame: tuple[float, float, float, float], lines: int, bar: float = 0.0) -> Axes:
    """Axes as wide as a page has room for, no higher than wide; `bar` inches stay free at the right."""
    left, top, right, bottom = frame
    edge, above, below = 0.85, 0.4, 0.75 + 0.24 * lines
    across = 7.0 - bar
    up = across * (bottom - top) / (right - left)
    if up > 5.2:
        across, up = 5.2 * across / up, 5.2
    high = above + up + below
    figure = plt.figure(figsize=(8, high))
    return figure.add_axes((edge / 8, below / high, across / 8, up / high))


def _ground(
    ax: Axes,
    frame: tuple[float, float, float, float],
    size: tuple[int, ...],
    paper: NDArray[np.float64] | NDArray[np.uint8] | None,
) -> None:
    """The image at its pixels, row 0 at the top, and the hatched ground around it that is no image."""
    left, top, right, bottom = frame
    rows, columns = size
    margin = 0.02 * max(right - left, bottom - top) if frame != (0, 0, columns, rows) else 0
    ax.set(xlim=(left - margin, right + margin), ylim=(bottom + margin, top - margin), aspect="equal")
    if margin:
        corner = (left - margin, top - margin)
        wide, high = right - left + 2 * margin, bottom - top + 2 * margin
        ax.add_patch(Rectangle(corner, wide, high, fill=False, ec=HATCH, hatch=OUTSIDE, lw=0, zorder=0))
    ax.add_patch(Rectangle((0, 0), columns, rows, fc=GROUND, ec="none", zorder=0.5))
    if paper is not None:
        ax.imshow(paper, extent=(0, columns, rows, 0), cmap="gray", interpolation="auto", zorder=1)
    ax.set_xticks(_ticks(columns))
    ax.set_yticks(_ticks(rows))
    ax.tick_params(labelsize=FONT)
    ax.set_xlabel("columns (px)", fontsize=FONT)
    ax.set_ylabel("rows (px)", fontsize=FONT)


def _ticks(size: int) -> list[int]:
    """The two ends of the image, and its middle."""
    return sorted({0, size // 2, size})


def _width(one: _Drawn, later: Sequence[_Drawn]) -> float:
    """Points of a box's edge: it shows on both sides of each later one that lies on it."""
    return 2 + 3 * sum(any(map(_coincide, _corners(one), _corners(other))) for other in later)


def _corners(one: _Drawn) -> list[tuple[float, ...]]:
    return [(left, top, left + wide, top + high) for left, top, wide, high in filter(None, (one.clipped, one.whole))]


def _coincide(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """True where two boxes have an edge in common."""
    return any(a == b for a, b in zip(one, other, strict=True))


def _draw_region(ax: Axes, one: _Drawn, width: float = 2) -> None:
    if one.pixels.any():
        rows, columns = one.pixels.shape
        tint = np.zeros((rows, columns, 4))
        tint[..., :3], tint[..., 3] = to_rgb(one.colour), (0.55 if one.holes else 0.16) * one.pixels
        ax.imshow(tint, extent=(0, columns, rows, 0), interpolation="nearest", zorder=2)
    for box, style in ((one.whole, (0, (4, 3))), (one.clipped, "-")):
        if box is not None:
            left, top, wide, high = box
            ax.add_patch(
                Rectangle(
                    (left, top),
                    wide,
                    high,
                    fill=False,
                    ec=one.colour,
                    lw=width,
                    ls=style,
                    zorder=3,
                    path_effects=[patheffects.withStroke(linewidth=width + 2, foreground="white")],
                )
            )


def _name_boxes(ax: Axes, drawn: Sequence[_Drawn]) -> None:
    """A step's name in the upper left corner of its box, where it fits and covers no other name."""
    taken: list[tuple[float, float, float, float]] = []
    scale = extent(ax)[0] / abs(np.subtract(*ax.get_xlim()))  # points to a pixel
    for one in sorted(drawn, key=lambda one: -(one.clipped or (0, 0, 0, 0))[2]):
        if one.clipped is None or one.holes:  # a name would cover the pixels that are read; it stands below as well
            continue
        left, top, wide, high = (scale * part for part in one.clipped)
        across, up = 0.62 * FONT * len(one.step) + 8, 1.5 * FONT
        spot = (left + 3, top + 3, left + 3 + across, top + 3 + up)
        if across + 3 > wide or up + 3 > high or any(_overlap(spot, other) for other in taken):
            continue
        taken.append(spot)
        ax.annotate(
            shown(one.step), one.clipped[:2], xytext=(5, -5), textcoords="offset points", ha="left", va="top",
            fontsize=FONT, color="black", zorder=4,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85},
        )  # fmt: skip


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _wrapped(labels: Iterable[str]) -> list[str]:
    """In lines that the page has room for."""
    return ["\n".join(textwrap.wrap(shown(label), LETTERS)) for label in labels]


_Dashes = tuple[int, tuple[float, ...]]


def _line(colour: str, style: str | _Dashes = "-") -> Line2D:
    return Line2D([], [], color=colour, lw=2.5, ls=style, path_effects=_HALO)


def _legend(ax: Axes, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Below the ticks and the axis label."""
    down = ScaledTranslation(0, -0.58, figure_of(ax).dpi_scale_trans)
    ax.legend(
        handles[: len(labels)], labels, fontsize=FONT, frameon=False, borderaxespad=0, borderpad=0, labelspacing=0.3,
        handlelength=1.6, handletextpad=0.6, loc="upper left", bbox_to_anchor=(0, 0),
        bbox_transform=ax.transAxes + down,
    )  # fmt: skip


# How much each pixel counts

_FADING = LinearSegmentedColormap.from_list("fading", ["#ffffff", *RUNS[3:0:-2], RUNS[0], RUNS[2], "#00121f"])


def effective_field(found: EffectiveField, ax: Axes | None = None) -> Axes:
    """How much each pixel moves one cell, as a share of the largest, and the box that theory gives the cell.

    A second box holds 95 % of it all: around the middle of the field, along each axis for itself.

    Raises:
        InputError: a field that is not of rows and columns, or of a cell that nothing moves.
    """
    (drawn,), held = _boxes([found.region]), _held(found)
    frame = _frame([drawn])
    theory, real = f"in theory: {drawn.label}", f"{HELD:.0%} of the sum: {_of_size(held)}"
    labels = _wrapped([theory, real, *([PADDING] if _reaches_out([drawn]) else [])])
    ax = _room(frame, sum(1 + label.count("\n") for label in labels), bar=1.0) if ax is None else ax
    _ground(ax, frame, drawn.pixels.shape, None)
    rows, columns = found.values.shape
    shares = found.values / found.values.max()
    picture = ax.imshow(
        shares, cmap=_FADING, vmin=0, vmax=1, extent=(0, columns, rows, 0), interpolation="auto", zorder=1
    )
    for box, colour, style in ((drawn.whole or drawn.clipped, STOPS[2], (0, (4, 3))), (held, STOPS[1], "-")):
        if box is not None:
            ax.add_patch(Rectangle(box[:2], box[2], box[3], fill=False, ec=colour, lw=2, ls=style, zorder=3))
    _bar(ax, picture)
    handles = [_line(STOPS[2], (0, (2, 1.5))), _line(STOPS[1]), Patch(fc="none", ec=HATCH, hatch=OUTSIDE, lw=0.6)]
    _legend(ax, handles, labels)
    images = f"{count(found.images)} image{'s' * (found.images != 1)}"
    ax.set_title(f"How much each pixel counts for one cell, {images}", fontsize=FONT, loc="left")
    return ax


def effective_field_alt(found: EffectiveField) -> str:
    """The picture of `effective_field` in words."""
    (drawn,), held = _boxes([found.region]), _held(found)
    peak = np.unravel_index(int(found.values.argmax()), found.values.shape)
    return (
        f"Heatmap of how much each pixel of an image counts for one cell. In theory: {drawn.label}{_where(drawn)}. "
        f"{HELD:.0%} of the sum lie within {_of_size(held)}; the darkest pixel is row {peak[0]}, column {peak[1]}."
    )


def _of_size(box: _Box) -> str:
    return f"{count(box[3])}×{count(box[2])} pixels"


def _held(found: EffectiveField) -> _Box:
    (top, high), (left, wide) = ((span.first, span.size) for span in found.holding(HELD))
    return float(left), float(top), float(wide), float(high)


def _bar(ax: Axes, picture: object) -> None:
    inset = ax.inset_axes((1.03, 0, 0.035, 1))
    bar = figure_of(ax).colorbar(picture, cax=inset)  # type: ignore[arg-type]  # what imshow returned
    bar.set_label("share of the largest", fontsize=FONT)
    bar.ax.tick_params(labelsize=FONT)

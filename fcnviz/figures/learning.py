"""What a lesson on learning shows: losses, labels beside the truth, and where a class lights up on a photograph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from fcnviz.arithmetic import count
from fcnviz.errors import InputError
from fcnviz.figures.canvas import FONT, RUNS, STOPS, ink

if TYPE_CHECKING:
    from fcnviz.coordinates import Placement
    from fcnviz.training.ladder import Rung

__all__ = [
    "heat",
    "heat_alt",
    "labels",
    "labels_alt",
    "ladder_bars",
    "ladder_bars_alt",
    "losses",
    "losses_alt",
    "reading",
    "reading_alt",
]

Series = Mapping[str, Sequence[float]]  # losses of each step, by the name of the run
CURVES = (RUNS[0], STOPS[2], RUNS[2], STOPS[1])
STYLES = ("-", "--", "-.", ":")  # so that curves are told apart without colour
# Ten digits, told apart in lightness or hue by every eye; each is also written at its place.
DIGITS = ("#0072b2", "#d98a1f", "#009e73", "#cc79a7", "#56b4e9", "#8a4b08", "#f0e442", "#004a75", "#d55e00", "#3b1f0b")
PAPER, UNKNOWN = "#e8e8e8", "#ffffff"
HEAT = LinearSegmentedColormap.from_list("heat", [(0, (*to_rgb(STOPS[2]), 0)), (1, (*to_rgb(STOPS[2]), 0.9))])
PER_ROW = 3  # panels
GAP, TITLE = 0.06, 0.14  # of a panel's width, beside it and above it
TINT = 0.6  # how much of what a cell says covers the canvas
SPECK = 12  # pixels of an island that is too small to be named


def losses(runs: Series, ax: Axes | None = None) -> Axes:
    """The loss of each step, thin, and its mean over a twentieth of the run, thick; on a logarithmic scale.

    Raises:
        InputError: a loss that is not above 0, which has no place on this scale.
    """
    ax = plt.figure(figsize=(7, 3.2), layout="constrained").add_subplot() if ax is None else ax
    for place, (name, values) in enumerate(runs.items()):
        if min(values, default=1) <= 0:
            raise InputError(f"{name} has a loss of {min(values)}, and only numbers above 0 have a logarithm")
        colour, style = CURVES[place % len(CURVES)], STYLES[place // len(CURVES) % len(STYLES)]
        steps = range(1, len(values) + 1)
        ax.plot(steps, values, color=colour, alpha=0.25, lw=0.8)
        ax.plot(steps, smoothed(values), color=colour, ls=style, lw=2.2, label=name)
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("step", fontsize=FONT)
    ax.set_ylabel("loss", fontsize=FONT)
    ax.tick_params(labelsize=FONT)
    ax.grid(alpha=0.3)
    if runs:
        ax.legend(fontsize=FONT, frameon=False)
    return ax


def losses_alt(runs: Series) -> str:
    """The curves in words: where each begins and where it ends."""
    said = (
        f"{name}: from {values[0]:.3g} to {smoothed(values)[-1]:.3g} in {count(len(values))} steps"
        for name, values in runs.items()
        if values
    )
    return f"Curves of the loss. {'; '.join(said) or 'No step has been taken yet'}."


def smoothed(values: Sequence[float]) -> list[float]:
    """At each step the mean of the last twentieth of the steps.

    >>> smoothed([4.0, 2.0])
    [4.0, 2.0]
    """
    width = max(1, len(values) // 20)
    sums = [0.0, *accumulate(values)]
    return [(sums[i] - sums[max(0, i - width)]) / min(i, width) for i in range(1, len(sums))]


def labels(panels: Mapping[str, ArrayLike], ax: Axes | None = None, image: ArrayLike | None = None) -> Axes:
    """Labellings of one image side by side, H×W each, by their titles; before them the image, if it is given.

    Digits have ten colours, and each is written above every island of its own; paper is grey, pixels that do not count
    are white.

    Raises:
        InputError: no labelling, or labellings of different sizes.
    """
    maps = {title: np.asarray(one) for title, one in panels.items()}
    if not maps or len({one.shape for one in maps.values()}) != 1:
        raise InputError(f"labellings of one size were expected, not of {[one.shape for one in maps.values()]}")
    painted = {title: _painted(one) for title, one in maps.items()}
    if image is not None:
        grey = 1 - np.asarray(image, float).reshape(next(iter(maps.values())).shape)
        painted = {"image": np.repeat(grey[..., None], 3, 2), **painted}
    ax = _in_rows(painted, ax)
    for place, one in enumerate(maps.values(), start=len(painted) - len(maps)):
        top, left = _corner(place, one.shape)
        for digit, rows, columns in _named(one, SPECK):  # above its island, which is small and would be hidden
            _tag(ax, left + columns.mean(), top + rows.min() - 1.5, digit, "bottom")
    return ax


def labels_alt(panels: Mapping[str, ArrayLike]) -> str:
    """The labellings in words: which digits each has, and on how many pixels."""
    return " ".join(f"{title}: {_counted(np.asarray(one))}." for title, one in panels.items())


def heat(image: ArrayLike, shares: ArrayLike, cells: Sequence[Placement], name: str, ax: Axes | None = None) -> Axes:
    """How much of the softmax one class has at each cell, h×w, on the image 3×H×W from 0 to 1.

    A cell is drawn as a square as wide as cells lie apart, in the middle of what it sees. The image is in grey, so that
    the one colour is the class.
    """
    share = np.asarray(shares, float)
    ax = _in_grey(np.asarray(image, float).mean(0), ax)
    drawn = ax.imshow(share, cmap=HEAT, vmin=0, vmax=1, extent=_extent(cells, share.shape), interpolation="nearest")
    _title(ax, f"{name}: up to {share.max():.0%}", np.asarray(image).shape[1:])
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.8)
    bar.ax.tick_params(labelsize=FONT)
    return ax


def reading(
    image: ArrayLike, answer: ArrayLike, cells: Sequence[Placement], title: str, ax: Axes | None = None
) -> Axes:
    """What each cell of a cast classifier says, h×w, laid over the canvas 1×H×W where the cell looks.

    Digits have their colours and stand by name on every island of more than one cell; background lets the canvas show.
    """
    said = np.asarray(answer)
    ax = _in_grey(1 - np.asarray(image, float)[0], ax)
    tinted = np.concatenate([_painted(said), np.where(said < len(DIGITS), TINT, 0)[..., None]], 2)
    place = _extent(cells, said.shape)
    ax.imshow(tinted, extent=place, interpolation="nearest")
    apart = float(cells[0].jump)
    for digit, rows, columns in _named(said, 2):
        _tag(ax, place[0] + apart * (columns.mean() + 0.5), place[3] + apart * (rows.mean() + 0.5), digit, "center")
    _title(ax, title, np.asarray(image).shape[1:])
    return ax


def reading_alt(answer: ArrayLike) -> str:
    """What the cells say, in words: which classes, and on how many of them.

    >>> reading_alt([[3, 10, 10], [3, 8, 10]])
    'A map of 2×3 cells: 3 on 2, 8 on 1, background on 3 cells.'
    """
    said = np.asarray(answer)
    names = {**{digit: str(digit) for digit in range(len(DIGITS))}, len(DIGITS): "background"}
    found = [f"{name} on {count(int((said == label).sum()))}" for label, name in names.items() if (said == label).any()]
    return f"A map of {said.shape[0]}×{said.shape[1]} cells: {', '.join(found)} cells."


def _in_grey(picture: NDArray[np.float64], ax: Axes | None) -> Axes:
    """A pale picture H×W, its first pixel's middle at 0."""
    high, wide = picture.shape
    if ax is None:
        ax = plt.figure(figsize=(6.4, 0.4 + 6.4 * high / wide), layout="constrained").add_subplot()
    ax.imshow(picture, cmap="gray", vmin=-0.4, vmax=1, extent=(-0.5, wide - 0.5, high - 0.5, -0.5))
    return ax


def _title(ax: Axes, words: str, size: Sequence[int]) -> None:
    high, wide = size
    ax.set(xlim=(-0.5, wide - 0.5), ylim=(high - 0.5, -0.5), xticks=[], yticks=[])
    ax.set_title(words, fontsize=FONT, loc="left")


def _extent(cells: Sequence[Placement], size: Sequence[int]) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a map on its image."""
    top, bottom, left, right = (edge for at, n in zip(cells, size, strict=True) for edge in _edges(at, n))
    return left, right, bottom, top


def _edges(at: Placement, count: int) -> tuple[float, float]:
    """Where the squares of so many cells begin and end on one axis."""
    return float(at.centre(0) - at.jump / 2), float(at.centre(count - 1) + at.jump / 2)


def heat_alt(shares: ArrayLike, name: str) -> str:
    """Where the class lights up, in words."""
    share = np.asarray(shares, float)
    row, column = np.unravel_index(share.argmax(), share.shape)
    strong = int((share > 0.5 * share.max()).sum())
    return (
        f"{name} on a map of {share.shape[0]}×{share.shape[1]} cells: largest, {share.max():.0%}, in row {row + 1}, "
        f"column {column + 1}; more than half of that in {count(strong)} cells."
    )


def ladder_bars(rungs: Sequence[Rung[Any]], ax: Axes | None = None) -> Axes:
    """The mean IU of each net, with the number on its bar; blue where skips are, brown where there are none."""
    ax = plt.figure(figsize=(7, 2.6), layout="constrained").add_subplot() if ax is None else ax
    colours = [RUNS[0] if getattr(rung.net, "skips", ()) else STOPS[2] for rung in rungs]
    bars = ax.barh([rung.name for rung in rungs], [rung.scores.mean_iu for rung in rungs], color=colours)
    ax.bar_label(bars, [f"{rung.scores.mean_iu:.3f}" for rung in rungs], padding=4, fontsize=FONT)
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("mean IU on canvases it has not seen", fontsize=FONT)
    ax.tick_params(labelsize=FONT)
    ax.legend(
        handles=[Patch(fc=STOPS[2], label="no skip"), Patch(fc=RUNS[0], label="skips")], fontsize=FONT, frameon=False
    )
    return ax


def ladder_bars_alt(rungs: Iterable[Rung[Any]]) -> str:
    """The bars in words."""
    return f"Bars of mean IU: {'; '.join(f'{rung.name} {rung.scores.mean_iu:.3f}' for rung in rungs)}."


def _painted(labelling: NDArray[np.int_]) -> NDArray[np.float64]:
    palette = np.array([to_rgb(UNKNOWN)] * 256)
    palette[: len(DIGITS) + 1] = [to_rgb(colour) for colour in (*DIGITS, PAPER)]
    return palette[labelling]


def _corner(place: int, size: Sequence[int]) -> tuple[int, int]:
    """The first row and column of a panel: three stand in a row, with room for titles above each."""
    high, wide = size[0], size[1]
    return (place // PER_ROW) * (high + round(TITLE * wide)), (place % PER_ROW) * (wide + max(2, round(GAP * wide)))


def _in_rows(panels: Mapping[str, NDArray[np.float64]], ax: Axes | None) -> Axes:
    size = next(iter(panels.values())).shape
    corners = [_corner(place, size) for place in range(len(panels))]
    whole = np.ones((max(top for top, _ in corners) + size[0], max(left for _, left in corners) + size[1], 3))
    for (top, left), panel in zip(corners, panels.values(), strict=True):
        whole[top : top + size[0], left : left + size[1]] = panel
    if ax is None:
        across = 3.4 * min(len(panels), PER_ROW)
        high = 0.35 + across * whole.shape[0] / whole.shape[1]
        ax = plt.figure(figsize=(across, high), layout="constrained").add_subplot()
    ax.imshow(whole, interpolation="nearest")
    ax.set_axis_off()
    for (top, left), title in zip(corners, panels, strict=True):
        ax.text(left, top - 0.02 * size[1] - 0.5, title, fontsize=FONT, va="bottom")
    return ax


def _named(labelling: NDArray[np.int_], least: int) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
    """Each digit's islands of `least` cells or more, by rows and columns."""
    for digit in range(len(DIGITS)):
        for rows, columns in _islands(labelling == digit):
            if len(rows) >= least:
                yield digit, rows, columns


def _tag(ax: Axes, x: float, y: float, digit: int, va: str) -> None:
    paper = DIGITS[digit]
    box = {"boxstyle": "round,pad=0.1", "fc": paper, "ec": "none", "alpha": 0.85}
    ax.text(x, y, str(digit), fontsize=FONT, ha="center", va=va, color=ink(paper), bbox=box)


def _islands(mask: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], ...]]:
    """Rows and columns of each group of cells that touch, by sides or corners."""
    names = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:  # the largest name of an island spreads by one cell each time, and stops at its shores
        around = np.pad(names, 1)
        spread = np.lib.stride_tricks.sliding_window_view(around, (3, 3)).max((2, 3)) * mask
        if (spread == names).all():
            return [np.nonzero(names == name) for name in np.unique(names) if name]
        names = spread


def _counted(labelling: NDArray[np.int_]) -> str:
    found = [
        f"{digit} on {count(int((labelling == digit).sum()))}" for digit in range(10) if (labelling == digit).any()
    ]
    return f"{', '.join(found)} pixels" if found else "no digit"

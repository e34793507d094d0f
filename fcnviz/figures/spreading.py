"""What a transposed convolution writes along one row: a kernel for each cell of the input, and their sum.

Both pictures show the same records, `upsampling.overlap` of each cell of an output row: as numbers in boxes where the
kernel is small, and as curves where it is large.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from fcnviz.arithmetic import count
from fcnviz.errors import InputError
from fcnviz.figures.canvas import FONT, RUNS, STOPS

if TYPE_CHECKING:
    from fcnviz.upsampling import Overlap

__all__ = ["spread", "spread_alt", "tents", "tents_alt"]

MOST_CELLS = 24  # boxes with a number in each that a page has room for
CURVES = (RUNS[0], STOPS[2])  # neighbours are told apart, and their dashes differ too
DASHES = ("-", "--")
SUM = "#222222"
LABELS = ("a kernel, times its cell", "the next one")  # of the first two; the others look alike


@dataclass(frozen=True, slots=True)
class _Row:
    """The products of one output row: by input cell and by output cell, and the sums."""

    inputs: dict[int, float]
    products: dict[int, dict[int, float]]
    sums: tuple[float, ...]

    @property
    def shared(self) -> list[int]:
        """Output cells on which two kernels or more have written."""
        return [place for place in range(len(self.sums)) if sum(place in one for one in self.products.values()) > 1]


def spread(row: Sequence[Overlap], ax: Axes | None = None) -> Axes:
    """One line for each input cell, with what its kernel writes on each output cell; below them the sums.

    Args:
        row: `upsampling.overlap` of every cell of one output row, for a map of one channel and one row.

    Raises:
        InputError: no cells, a map of more rows or channels, or more cells than a page has room for.
    """
    found = _row(row)
    if len(found.sums) > MOST_CELLS:
        raise InputError(f"{count(len(found.sums))} cells were to be written out; there is room for {MOST_CELLS}")
    lines, wide = len(found.products), len(found.sums)
    ax = plt.figure(figsize=(8, 0.42 * lines + 1.3)).add_axes((0.14, 0.02, 0.84, 0.86)) if ax is None else ax
    ax.set(xlim=(-0.5, max(wide, 8) - 0.5), ylim=(lines + 1.2, -0.7))
    ax.set_axis_off()
    for line, (cell, written) in enumerate(found.products.items()):
        ax.text(-0.75, line, f"{_number(found.inputs[cell])} × kernel", fontsize=FONT, ha="right", va="center")
        for place, product in written.items():
            _box(ax, place, line, product, RUNS[line % 2], "white" if line % 2 == 0 else "black")
    ax.text(-0.75, lines + 0.4, "sum", fontsize=FONT, ha="right", va="center", weight="bold")
    for place, total in enumerate(found.sums):
        _box(ax, place, lines + 0.4, total, STOPS[3] if place in found.shared else "#e4e4e4", "black")
    ax.set_title(f"{len(found.inputs)} cells → {wide}: yellow where kernels overlap", fontsize=FONT, loc="left")
    return ax


def spread_alt(row: Sequence[Overlap]) -> str:
    """The picture of `spread` in words."""
    found = _row(row)
    each = "; ".join(
        f"the {_number(found.inputs[cell])} of cell {cell} writes {_listed(written.values())} from place {min(written)}"
        for cell, written in found.products.items()
    )
    return f"Lines of boxes: {each}. Their sum is {_listed(found.sums)}. Kernels overlap on {_places(found.shared)}."


def tents(row: Sequence[Overlap], ax: Axes | None = None) -> Axes:
    """The same as curves: what each input cell's kernel writes, and the sum above them all.

    Raises:
        InputError: no cells, or a map of more rows or channels.
    """
    found = _row(row)
    ax = plt.figure(figsize=(8, 3), layout="constrained").add_subplot() if ax is None else ax
    for line, written in enumerate(found.products.values()):
        label = dict(enumerate(LABELS)).get(line)
        ax.plot(list(written), list(written.values()), color=CURVES[line % 2], ls=DASHES[line % 2], lw=1.8, label=label)
    ax.plot(range(len(found.sums)), found.sums, color=SUM, lw=3, alpha=0.8, label="sum")
    ax.set_xlabel("cell of the output", fontsize=FONT)
    ax.tick_params(labelsize=FONT)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=FONT, frameon=False, loc="best")
    return ax


def tents_alt(row: Sequence[Overlap]) -> str:
    """The picture of `tents` in words."""
    found = _row(row)
    peaks = ", ".join(f"{_number(max(one.values(), key=abs))}" for one in found.products.values())
    return (
        f"{len(found.products)} curves, one for each input cell, with peaks of {peaks}, over {count(len(found.sums))} "
        f"output cells; and their sum, which goes from {_number(found.sums[0])} to {_number(found.sums[-1])} and is "
        f"{_number(max(found.sums))} at most."
    )


def _row(row: Sequence[Overlap]) -> _Row:
    if not row:
        raise InputError("no cell to draw: give what upsampling.overlap has found for each cell of an output row")
    if row[0].map[0] != 1 or row[0].map[1] != 1:
        shape = "×".join(map(str, row[0].map))
        raise InputError(f"a map of {shape} was spread; a picture needs one channel and one row")
    inputs: dict[int, float] = {}
    products: dict[int, dict[int, float]] = {}
    for place, found in enumerate(row):
        for term in found.terms:
            inputs[term.cell[2]] = term.input
            products.setdefault(term.cell[2], {})[place] = term.product
    order = sorted(products)
    return _Row(inputs, {cell: products[cell] for cell in order}, tuple(found.answer for found in row))


def _box(ax: Axes, place: int, line: float, value: float, colour: str, letters: str) -> None:
    ax.add_patch(Rectangle((place - 0.46, line - 0.4), 0.92, 0.8, fc=colour, ec="none"))
    ax.text(place, line, _number(value), fontsize=FONT - 1, ha="center", va="center", color=letters)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _listed(values: Iterable[float]) -> str:
    return ", ".join(map(_number, values))


def _places(cells: Sequence[int]) -> str:
    return f"places {', '.join(map(str, cells))}" if cells else "no place"

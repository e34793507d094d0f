"""The matrix of a convolution and that of its transposed one, side by side: the same numbers, rows made columns."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from fcnviz.errors import InputError
from fcnviz.figures.canvas import FONT, RUNS

__all__ = ["matrices", "matrices_alt"]

MOST_CELLS = 16  # along the longer side: boxes with a number in each that a page has room for
COLOURS = ((RUNS[0], "white"), (RUNS[1], "black"))  # paper and ink of one window, and of the next
NOTHING = "#f1f1f1"  # where the kernel is not
GAP = 1.6
Matrix = NDArray[np.float64]


def matrices(down: ArrayLike, up: ArrayLike, ax: Axes | None = None) -> Axes:
    """Both matrices, with a number where a weight stands and an empty box for a 0.

    Of the convolution a row is one window, of the transposed one a column is what one cell writes; the window and the
    column with the same number have the same colour.

    Args:
        down: `upsampling.convolution_matrix`, cells after × cells before.
        up: `upsampling.transposed_matrix` of the layer back.

    Raises:
        InputError: one that is not as the other lying on its side, or more cells than a page has room for.
    """
    rows, columns = _checked(down, up)
    few, many = rows.shape
    wide, high = many + GAP + few, float(many)
    if ax is None:
        scale = min(0.4, 7.6 / wide)
        ax = plt.figure(figsize=(scale * wide + 0.3, scale * (high + 1) + 0.1)).add_axes((0.02, 0.02, 0.96, 0.96))
    ax.set(xlim=(-0.1, wide + 0.1), ylim=(high + 0.1, -1.1), aspect="equal")
    ax.set_axis_off()
    for left, what, made in ((0.0, "convolution", rows), (many + GAP, "transposed", columns)):
        ax.text(left, -0.3, f"{what}: {made.shape[1]} → {made.shape[0]}", fontsize=FONT, va="bottom")
        for (row, column), weight in np.ndenumerate(made):
            _box(ax, left + column, row, float(weight), row if left == 0 else column)
    return ax


def matrices_alt(down: ArrayLike, up: ArrayLike) -> str:
    """The pictures of `matrices` in words."""
    rows, columns = _checked(down, up)
    few, many = rows.shape
    each = "; ".join(", ".join(map(_number, row)) for row in rows.tolist())
    same = "is the same with rows made columns" if np.array_equal(rows.T, columns) else "holds other numbers"
    return f"A matrix of {few} rows and {many} columns. Its rows are {each}. The other, {many} by {few}, {same}."


def _checked(down: ArrayLike, up: ArrayLike) -> tuple[Matrix, Matrix]:
    rows, columns = (np.asarray(matrix, dtype=np.float64) for matrix in (down, up))
    if rows.ndim != 2 or rows.shape != columns.shape[::-1]:
        raise InputError(f"matrices of {_by(rows)} and {_by(columns)} were to be drawn; one is the other on its side")
    if max(rows.shape) > MOST_CELLS:
        raise InputError(f"a matrix of {_by(rows)} was to be written out; there is room for {MOST_CELLS} cells")
    return rows, columns


def _by(matrix: Matrix) -> str:
    return "×".join(map(str, matrix.shape))


def _box(ax: Axes, left: float, top: float, weight: float, window: int) -> None:
    paper, letters = COLOURS[window % 2] if weight else (NOTHING, "black")
    ax.add_patch(Rectangle((left, top), 1, 1, fc=paper, ec="white", lw=1.2))
    if weight:
        ax.text(left + 0.5, top + 0.52, _number(weight), fontsize=FONT - 1, ha="center", va="center", color=letters)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")

"""Numbers in one row and in blocks: a row of weights as a kernel, a batch cut into rows of another length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from fcnviz.arithmetic import count
from fcnviz.errors import InputError
from fcnviz.figures.canvas import FONT, RUNS, STOPS, ink

__all__ = [
    *("batch_in_rows", "batch_in_rows_alt", "rearranged", "rearranged_alt", "row_as_kernel", "row_as_kernel_alt"),
]

PAPERS = (RUNS[0], STOPS[3], RUNS[2], STOPS[2], RUNS[1], STOPS[1])  # far apart in lightness, one after the other
MOST_COLUMNS = 48
FIRST, LAST = 9, 3  # so many rows of a batch are drawn, from its start and from its end
Features = tuple[int, int, int]


# A row of weights


def row_as_kernel(features: Features, order: str = "CHW", ax: Axes | None = None) -> Axes:
    """One row of a Linear's weight with its columns numbered, and the same numbers as the channels of a kernel.

    A colour stands for the channel that a column reads after flatten, so a kernel whose channels are each of one colour
    is the right one.

    Args:
        features: (C, h, w) of the map that is flattened.
        order: how the row is read: "CHW", as flatten lays it out, or "HWC".

    Raises:
        InputError: another order, or more columns than a page has room for.
    """
    kernel, columns = _kernel(features, order), math.prod(features)
    channels, h, w = features
    wide = max(columns, channels * (w + 1))
    if ax is None:
        across = min(7.6, 0.4 * wide)
        ax = plt.figure(figsize=(8, 0.4 * (h + 4.5) * across / (0.4 * wide))).add_axes((0.02, 0.02, across / 8, 0.86))
    ax.set(xlim=(-0.1, wide + 0.1), ylim=(h + 3.4, -0.6), aspect="equal")
    ax.set_axis_off()
    for column in range(columns):
        _block(ax, column, 0, column, column // (h * w))
    for c in range(channels):
        ax.text(c * (w + 1), 2.6, f"channel {c}", fontsize=FONT, va="bottom")
        for i, j in np.ndindex(h, w):
            column = int(kernel[c, i, j])
            _block(ax, c * (w + 1) + j, 2.8 + i, column, column // (h * w))
    ax.set_title(f"A row of {columns} weights, read as {order[0]}, {order[1]}, {order[2]}", fontsize=FONT, loc="left")
    return ax


def row_as_kernel_alt(features: Features, order: str = "CHW") -> str:
    """The picture of `row_as_kernel` in words."""
    kernel, (_, h, w) = _kernel(features, order), features
    each = "; ".join(
        f"channel {c}: " + ", ".join("(" + " ".join(map(str, row)) + ")" for row in rows)
        for c, rows in enumerate(kernel.tolist())
    )
    right = f"Columns {'·'.join(map(str, features))} are numbered in one row; {h * w} of them read one channel"
    return f"{right}. Read as {order}, row by row, {each}."


def _kernel(features: Features, order: str) -> NDArray[np.int_]:
    """The number of the column that stands at each place of the kernel, C×h×w."""
    columns, (channels, h, w) = np.arange(math.prod(features)), features
    if order not in ("CHW", "HWC") or len(columns) > MOST_COLUMNS:
        asked = f"{count(len(columns))} columns in the order {order!r}"
        raise InputError(f"{asked} were asked for; up to {MOST_COLUMNS} are drawn, as 'CHW' or 'HWC'")
    if order == "CHW":
        return columns.reshape(channels, h, w)
    return columns.reshape(h, w, channels).transpose(2, 0, 1)


def _block(ax: Axes, left: float, top: float, number: int, colour: int) -> None:
    paper = PAPERS[colour % len(PAPERS)]
    ax.add_patch(Rectangle((left, top), 1, 1, fc=paper, ec="white", lw=1.2))
    ax.text(left + 0.5, top + 0.52, str(number), fontsize=FONT - 1, ha="center", va="center", color=ink(paper))


# One channel in two arrangements


def rearranged(before: tuple[int, int], after: tuple[int, int], ax: Axes | None = None) -> Axes:
    """The cells of one channel, numbered as flatten reads them, in maps of two shapes with as many cells.

    A colour stands for a row of the first map. Of many rows the first and the last ones are drawn.

    Raises:
        InputError: shapes with different counts of cells, or more cells in a row than a page has room for.
    """
    _check_rearranged(before, after)
    drawn, gap = [_drawn(rows) for rows, _ in (before, after)], 3.5
    wide, high = before[1] + gap + after[1] + 2.5, max(map(len, drawn))
    if ax is None:
        scale = min(0.36, 7.6 / wide)
        ax = plt.figure(figsize=(8, scale * (high + 1.5))).add_axes((0.02, 0.02, scale * wide / 8, 0.96))
    ax.set(xlim=(-0.1, wide), ylim=(high + 0.1, -1.3), aspect="equal")
    ax.set_axis_off()
    for left, (rows, columns), lines in ((0, before, drawn[0]), (before[1] + gap, after, drawn[1])):
        ax.text(left, -0.3, f"{rows}×{columns}", fontsize=FONT, va="bottom")
        for line, row in enumerate(lines):
            if row is None:
                ax.text(left + columns / 2, line + 0.5, "⋮", fontsize=FONT, ha="center", va="center")
                continue
            ax.text(left + columns + 0.2, line + 0.52, f"row {row}", fontsize=FONT - 1, va="center")
            for column in range(columns):
                number = row * columns + column
                _block(ax, left + column, line, number, number // before[1])
    return ax


def rearranged_alt(before: tuple[int, int], after: tuple[int, int]) -> str:
    """The picture of `rearranged` in words."""
    _check_rearranged(before, after)
    first, second = before[1], after[1]
    maps = f"Two maps of {count(math.prod(before))} cells, numbered row by row: {_across(before)} and {_across(after)}"
    where = f"row {first // second}, column {first % second}"
    return f"{maps}. Cell {first} starts row 1 of the first map, right below cell 0. In the second it is at {where}."


def _across(sizes: tuple[int, int]) -> str:
    return "×".join(map(str, sizes))


def _check_rearranged(before: tuple[int, int], after: tuple[int, int]) -> None:
    asked = f"maps of {_across(before)} and of {_across(after)} cells"
    if math.prod(before) != math.prod(after) or min(*before, *after) < 1:
        raise InputError(f"{asked} were to be compared; they have to have as many")
    if before[1] + after[1] > MOST_COLUMNS:
        raise InputError(f"{asked} were to be drawn; there is room for {MOST_COLUMNS} side by side")


# A batch in rows


def batch_in_rows(shape: Sequence[int], columns: int, ax: Axes | None = None) -> Axes:
    """What `x.view(-1, columns)` makes of a batch: each row with the parts of images that it holds.

    Of many rows the first and the last ones are drawn.

    Raises:
        InputError: rows that the numbers of the batch do not fill.
    """
    rows, each = _rows(shape, columns)
    drawn = _drawn(rows)
    if ax is None:
        ax = plt.figure(figsize=(8, 0.32 * len(drawn) + 0.9)).add_axes((0.11, 0.02, 0.86, 0.82))
    ax.set(xlim=(0, columns), ylim=(len(drawn), 0))
    ax.set_axis_off()
    for line, row in enumerate(drawn):
        if row is None:
            ax.text(columns / 2, line + 0.5, "⋮", fontsize=FONT, ha="center", va="center")
            continue
        ax.text(-columns / 90, line + 0.5, f"row {row}", fontsize=FONT, ha="right", va="center")
        for image, start, end in _parts(row, columns, each):
            _part(ax, line, image, (start, end), columns)
    ax.set_title(_title(shape, columns, rows), fontsize=FONT, loc="left")
    return ax


def batch_in_rows_alt(shape: Sequence[int], columns: int) -> str:
    """The picture of `batch_in_rows` in words."""
    rows, each = _rows(shape, columns)
    said = "; ".join(
        f"row {row}: " + ", then ".join(f"{count(end - start)} numbers of image {i}" for i, start, end in parts)
        for row, parts in ((row, list(_parts(row, columns, each))) for row in _drawn(rows) if row is not None)
    )
    left = rows - sum(row is not None for row in _drawn(rows))
    return f"{_title(shape, columns, rows)}. {said}{f'. {count(left)} rows between are not drawn' if left else ''}."


def _rows(shape: Sequence[int], columns: int) -> tuple[int, int]:
    """How many rows there are, and how many numbers an image has."""
    total = math.prod(shape)
    if columns < 1 or not total or total % columns:
        raise InputError(f"{count(total)} numbers do not fill rows of {count(columns)}")
    return total // columns, math.prod(shape[1:])


def _drawn(rows: int) -> list[int | None]:
    """The rows that are drawn, and None for those left out."""
    if rows <= FIRST + LAST + 1:
        return list(range(rows))
    return [*range(FIRST), None, *range(rows - LAST, rows)]


def _parts(row: int, columns: int, each: int) -> Iterator[tuple[int, int, int]]:
    """The images in a row, each with its first and last-but-one column."""
    start, end = row * columns, (row + 1) * columns
    for image in range(start // each, (end - 1) // each + 1):
        yield image, max(start, image * each) - start, min(end, (image + 1) * each) - start


def _part(ax: Axes, line: int, image: int, columns: tuple[int, int], wide: int) -> None:
    (start, end), paper = columns, PAPERS[image % len(PAPERS)]
    ax.add_patch(Rectangle((start, line + 0.08), end - start, 0.84, fc=paper, ec="white", lw=1))
    share = (end - start) / wide
    text = f"image {image}" if share > 0.13 else str(image) if share > 0.04 else ""
    ax.text((start + end) / 2, line + 0.5, text, fontsize=FONT - 1, ha="center", va="center", color=ink(paper))


def _title(shape: Sequence[int], columns: int, rows: int) -> str:
    images = f"{count(shape[0])} images of {'×'.join(map(str, shape[1:]))}"
    return f"{images} as rows of {count(columns)}: {count(rows)} rows"

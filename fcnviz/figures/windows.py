"""The windows of one step: which cells each of them reads along one axis, and where they stand on the whole map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from fcnviz.arithmetic import adaptive_windows, count
from fcnviz.coordinates import windowed
from fcnviz.errors import InputError
from fcnviz.figures.canvas import FONT, RUNS, STOPS, shown
from fcnviz.records import Shape, Step

__all__ = ["places", "places_alt", "unread", "windows", "windows_alt"]

MOST_WINDOWS = 32
MOST_CELLS = 64
MOST_PLACES = 4  # along each axis
AXES = {"H": -2, "W": -1}
SLIDES = ("conv", "max_pool", "avg_pool", "lp_pool", "adaptive_pool")
CELL, PADDING, UNREAD, OVER = "#e4e4e4", "white", STOPS[2], "white"
PAD_HATCH, UNREAD_HATCH, OVER_HATCH = "////", "xxx", "...."
LABELS = {"cell": "a cell of the map", "padding": "padding", "unread": "read by no window", "over": "beyond the edge"}
_STYLE = {
    "cell": (CELL, ""),
    "padding": (PADDING, PAD_HATCH),
    "unread": (UNREAD, UNREAD_HATCH),
    "over": (OVER, OVER_HATCH),
}


@dataclass(frozen=True, slots=True)
class _Line:
    """One axis under the windows of a step.

    Attributes:
        size: cells of the map.
        pads: cells of padding before and after.
        reads: for each window the cells it reads, those outside the map too.
    """

    name: str
    size: int
    pads: tuple[int, int]
    reads: tuple[tuple[int, ...], ...]

    @property
    def unread(self) -> tuple[int, ...]:
        read = {cell for cells in self.reads for cell in cells}
        return tuple(cell for cell in range(self.size) if cell not in read)

    @property
    def places(self) -> range:
        """All cells that are drawn: the map, its padding, and what hangs over the end."""
        last = max(self.size + self.pads[1] - 1, *(cells[-1] for cells in self.reads))
        return range(-self.pads[0], last + 1)

    def kind(self, cell: int) -> str:
        if 0 <= cell < self.size:
            return "unread" if cell in self.unread else "cell"
        return "padding" if cell < self.size + self.pads[1] else "over"


def windows(step: Step, axis: str = "W", ax: Axes | None = None) -> Axes:
    """A row of cells, and under it each window of a step where it stands, one line each.

    A convolution, a pooling or an adaptive pooling of a map with rows and columns. Padding is hatched; a cell that no
    window reads is brown and crossed; what a window in ceil mode finds beyond the edge is dotted.

    Args:
        axis: "H" or "W", along which to look.

    Raises:
        InputError: a step without windows, or one that failed; more windows or cells than a page has room for.
    """
    line = _line(step, axis)
    rows, columns = len(line.reads), len(line.places)
    if ax is None:
        ax = _room(rows, columns)
    ax.set(xlim=(line.places[0] - 0.5, line.places[-1] + 0.5), ylim=(rows + 0.1, -1.75))
    ax.set_axis_off()
    _draw_cells(ax, line)
    for index, cells in enumerate(line.reads):
        _draw_window(ax, index, cells)
        ax.text(line.places[-1] + 0.8, index + 0.4, f"→ cell {index}", fontsize=FONT, ha="left", va="center")
    _legend(ax, line)
    ax.set_title(f"{shown(step.kind)} along {axis}: {_sizes(line)}", fontsize=FONT, loc="left")
    return ax


def _room(rows: int, columns: int) -> Axes:
    """Axes whose cells are as wide as a page has room for."""
    across = min(6.4, 0.36 * columns)
    return plt.figure(figsize=(8, 0.3 * rows + 1.75)).add_axes((0.06, 0.2, across / 8, 0.7))


def windows_alt(step: Step, axis: str = "W") -> str:
    """The picture of `windows` in words."""
    line = _line(step, axis)
    padded = f", padded with {line.pads[0]} before and {line.pads[1]} after" if any(line.pads) else ""
    each = "; ".join(f"window {i} reads {_cells(cells)}" for i, cells in enumerate(line.reads))
    return f"A row of {_many(line.size)}{padded}, and under it the windows of {step.kind}: {each}. {_lost(line)}"


def unread(step: Step, axis: str = "W") -> str:
    """Which cells no window reads, as a sentence."""
    return _lost(_line(step, axis))


def _lost(line: _Line) -> str:
    return f"No window reads {_cells(line.unread)}." if line.unread else "Every cell is read."


def _line(step: Step, axis: str) -> _Line:
    if axis not in AXES:
        raise InputError(f"axis {axis!r} was asked for; a map has {' and '.join(AXES)}")
    if step.operation not in SLIDES or not isinstance(step.output_shape, Shape):
        done = "failed" if step.output_shape is None else f"is {step.kind}"
        raise InputError(f"step {step.name} {done}; windows are there for a convolution or a pooling that ran")
    entered = step.input_shapes[0]
    if min(len(entered), len(step.output_shape)) < 3:
        raise InputError(f"step {step.name} reads {entered}; a picture needs rows and columns")
    size, made = entered[AXES[axis]], step.output_shape[AXES[axis]]
    if made > MOST_WINDOWS or size > MOST_CELLS:
        asked = f"{count(made)} windows over {_many(size)}"
        raise InputError(f"{asked} were to be drawn; there is room for {MOST_WINDOWS} over {MOST_CELLS}")
    return _Line(step.name, size, *_reads(step, axis, size, made))


def _reads(step: Step, axis: str, size: int, made: int) -> tuple[tuple[int, int], tuple[tuple[int, ...], ...]]:
    window = step.window
    if window is None:
        return (0, 0), tuple(tuple(range(*each)) for each in adaptive_windows(size, made))
    at = AXES[axis]
    pads = window.pads[at]
    reading = windowed(window.kernel[at], window.stride[at], pads[0], window.dilation[at])
    return pads, tuple(tuple(reading.cells(i)) for i in range(made))


def _draw_cells(ax: Axes, line: _Line) -> None:
    numbered = 1 if len(line.places) <= 30 else 5
    for cell in line.places:
        colour, hatch = _STYLE[line.kind(cell)]
        ax.add_patch(Rectangle((cell - 0.5, -1.25), 1, 1, fc=colour, ec="#555", hatch=hatch, lw=0.8))
        if 0 <= cell < line.size and cell % numbered == 0:
            box = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.85} if hatch else None
            ax.text(cell, -0.75, str(cell), fontsize=FONT - 1, ha="center", va="center", bbox=box)


def _draw_window(ax: Axes, index: int, cells: Sequence[int]) -> None:
    """A bar over all that a window spans, and a block on each cell that it reads: dilation leaves holes."""
    colour = RUNS[index % 2]
    ax.plot([cells[0] - 0.4, cells[-1] + 0.4], [index + 0.4] * 2, color=colour, lw=1.5, solid_capstyle="butt")
    for cell in cells:
        ax.add_patch(Rectangle((cell - 0.4, index + 0.12), 0.8, 0.56, fc=colour, ec="none"))


def _legend(ax: Axes, line: _Line) -> None:
    """What is no plain cell; a row of nothing else needs no legend."""
    seen = {line.kind(cell) for cell in line.places}
    if seen == {"cell"}:
        return
    handles = [
        Patch(fc=_STYLE[kind][0], ec="#555", hatch=_STYLE[kind][1], lw=0.8, label=words)
        for kind, words in LABELS.items()
        if kind in seen
    ]
    ax.legend(
        handles=handles, fontsize=FONT, frameon=False, ncols=4, loc="upper left",
        bbox_to_anchor=(line.places[0] - 0.5, len(line.reads) + 0.2), bbox_transform=ax.transData, borderaxespad=0.2,
        borderpad=0, handlelength=1.3, handletextpad=0.5, columnspacing=1.5,
    )  # fmt: skip


def _sizes(line: _Line) -> str:
    lost = f", {count(len(line.unread))} never read" if line.unread else ""
    return f"{_many(line.size)} → {count(len(line.reads))}{lost}"


def _many(cells: int) -> str:
    return f"{count(cells)} cell{'s' * (cells != 1)}"


def _cells(cells: Sequence[int]) -> str:
    """Cells as they are read: a run as first–last, others one by one; those before the map count negative."""
    if not cells:
        return "no cell"
    if len(cells) > 1 and list(cells) == list(range(cells[0], cells[-1] + 1)):
        return f"cells {count(cells[0])} to {count(cells[-1])}"
    return f"cell{'s' * (len(cells) > 1)} {', '.join(map(count, cells))}"


# The whole map


def places(step: Step, ax: Axes | None = None) -> Axes:
    """The map once for each cell of a step's output, arranged as that output is, with the window that the cell reads.

    Raises:
        InputError: what `windows` refuses; an output of more than 4 rows or columns.
    """
    rows, columns = _both(step)
    high, wide = (max(line.places) - min(line.places) + 1 for line in (rows, columns))
    right, deep = max(wide + 1.2, 6), high + 2.2  # from a map to the next; its words need six cells
    across, down = right * len(columns.reads), deep * len(rows.reads)
    if ax is None:
        scale = min(6.5 / across, 5.5 / down, 0.28)
        ax = plt.figure(figsize=(8, down * scale + 0.7)).add_axes(
            (0.02, 0.02, across * scale / 8, down * scale / (down * scale + 0.7))
        )
    ax.set(xlim=(-0.6, across - 0.6), ylim=(down - 1, -1.3), aspect="equal")
    ax.set_axis_off()
    for r, row in enumerate(rows.reads):
        for c, column in enumerate(columns.reads):
            left, top = c * right - columns.places[0], r * deep - rows.places[0] + 0.2
            _draw_map(ax, (rows, columns), (row, column), (top, left))
            ax.text(left + columns.places[0] - 0.5, top + rows.places[0] - 0.75, f"→ cell ({r}, {c})", fontsize=FONT)
    made = f"{len(rows.reads)}×{len(columns.reads)}"
    ax.set_title(f"{shown(step.kind)} on {rows.size}×{columns.size} cells → {made}", fontsize=FONT, loc="left")
    return ax


def places_alt(step: Step) -> str:
    """The picture of `places` in words."""
    rows, columns = _both(step)
    each = "; ".join(
        f"cell ({r}, {c}) reads rows {_run(row)} and columns {_run(column)}"
        for r, row in enumerate(rows.reads)
        for c, column in enumerate(columns.reads)
    )
    return f"A map of {rows.size}×{columns.size} cells, drawn once for each cell that {step.kind} makes of it: {each}."


def _both(step: Step) -> tuple[_Line, _Line]:
    rows, columns = _line(step, "H"), _line(step, "W")
    if max(len(rows.reads), len(columns.reads)) > MOST_PLACES:
        made = f"{len(rows.reads)}×{len(columns.reads)}"
        raise InputError(f"{made} windows were to be drawn on their map; there is room for {MOST_PLACES}×{MOST_PLACES}")
    return rows, columns


def _draw_map(
    ax: Axes, lines: tuple[_Line, _Line], reads: tuple[Sequence[int], ...], corner: tuple[float, float]
) -> None:
    rows, columns = lines
    for i in rows.places:
        for j in columns.places:
            outside = not (0 <= i < rows.size and 0 <= j < columns.size)
            read = i in reads[0] and j in reads[1]
            colour = RUNS[0] if read else PADDING if outside else CELL
            hatch = PAD_HATCH if outside else ""
            place = (corner[1] + j - 0.5, corner[0] + i - 0.5)
            ax.add_patch(Rectangle(place, 1, 1, fc=colour, ec="white" if read else "#999", hatch=hatch, lw=0.6))


def _run(cells: Sequence[int]) -> str:
    return _cells(cells).partition(" ")[2]

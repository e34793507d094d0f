"""One row of a map, computed again and again from an image that was moved.

What moves by a whole cell lies on the same place again, one cell on. What moves by less falls between the cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from fcnviz.errors import InputError
from fcnviz.figures.canvas import FONT, RUNS, STOPS, ink

__all__ = ["moved", "moved_alt"]

SCALE = LinearSegmentedColormap.from_list("scale", [RUNS[2], RUNS[0], RUNS[1], STOPS[4], STOPS[3], STOPS[2], STOPS[1]])


@dataclass(frozen=True, slots=True)
class _Line:
    """The row of an image that was moved: where it starts, in cells of the first row; one of its channels; how far off.

    Attributes:
        apart: ‖Δ‖ / ‖cells‖ over all channels, against the cells of the first row that lie nearest.
    """

    pixels: int
    start: float
    values: tuple[float, ...]
    apart: float

    @property
    def label(self) -> str:
        return f"moved {self.pixels} pixel{'s' * (self.pixels != 1)}" if self.pixels else "not moved"

    @property
    def verdict(self) -> str:
        return (f"{self.apart:.0%}" if self.apart > 0.005 else f"{self.apart:.0e}" if self.apart else "0") + " off"


def moved(rows: Mapping[int, ArrayLike], jump: int, ax: Axes | None = None) -> Axes:
    """A line for each move of the image, its cells over the pixels where they look, and how far off they are.

    Cells are compared with those of the first row that lie nearest, in all channels. Drawn is the one channel that
    varies most along the first row.

    Args:
        rows: by how many pixels the image was moved: the row of the map then, channels × cells; 0 has to be there.
        jump: pixels from one cell to the next.

    Raises:
        InputError: no row for 0 pixels, a move back, or one so far that no cell of the first row lies there.
    """
    lines = _lines(rows, jump)
    right = max(line.start + len(line.values) for line in lines)
    ax = plt.figure(figsize=(8, 0.46 * len(lines) + 0.6)).add_axes((0.18, 0.02, 0.69, 0.96)) if ax is None else ax
    ax.set(xlim=(-0.02, right + 0.02), ylim=(len(lines) - 0.5, -1.1))
    ax.set_axis_off()
    low, high = (end(line.values[cell] for line in lines for cell in range(len(line.values))) for end in (min, max))
    for place, line in enumerate(lines):
        ax.text(-0.1, place, line.label, fontsize=FONT, ha="right", va="center")
        ax.text(right + 0.1, place, line.verdict if line.pixels else "", fontsize=FONT, ha="left", va="center")
        for cell, value in enumerate(line.values):
            paper = to_hex(SCALE((value - low) / (high - low) if high > low else 0.5))
            _box(ax, line.start + cell, place, paper, value)
    for cell in range(int(right) + 1):
        ax.vlines(cell, -0.5, len(lines) - 0.5, color="#777", lw=1, ls=":", zorder=0)
        ax.text(cell, -0.6, f"{cell * jump}", fontsize=FONT - 1, ha="center", va="bottom")
    ax.text(-0.3, -0.6, "pixels", fontsize=FONT - 1, ha="right", va="bottom")
    return ax


def moved_alt(rows: Mapping[int, ArrayLike], jump: int) -> str:
    """The picture of `moved` in words."""
    lines = _lines(rows, jump)
    said = (
        f"{line.label}: {', '.join(map(_number, line.values))}{f', {line.verdict}' if line.pixels else ''}"
        for line in lines
    )
    return f"Lines of cells, {jump} pixels wide, each shifted to the right as the image was moved. {'; '.join(said)}."


def _lines(rows: Mapping[int, ArrayLike], jump: int) -> list[_Line]:
    maps = {pixels: np.asarray(values, float) for pixels, values in sorted(rows.items())}
    if 0 not in maps or min(maps) < 0:
        raise InputError(f"moves by {', '.join(map(str, maps)) or 'nothing'} were given; the first is by 0 pixels")
    most = int(maps[0].std(axis=1).argmax())
    return [_line(pixels, values, maps[0], jump, most) for pixels, values in maps.items()]


def _line(pixels: int, values: NDArray[np.float64], first: NDArray[np.float64], jump: int, channel: int) -> _Line:
    nearest = first[:, round(pixels / jump) :][:, : values.shape[1]]
    if not nearest.size:
        raise InputError(f"a move by {pixels} pixels goes past the first row, {first.shape[1]} cells of {jump} pixels")
    error = np.linalg.norm(values[:, : nearest.shape[1]] - nearest) / np.linalg.norm(nearest)
    return _Line(pixels, pixels / jump, tuple(values[channel].tolist()), float(error))


def _box(ax: Axes, left: float, line: float, paper: str, value: float) -> None:
    ax.add_patch(Rectangle((left + 0.03, line - 0.4), 0.94, 0.8, fc=paper, ec="#444", lw=0.6))
    ax.text(left + 0.5, line, _number(value), fontsize=FONT - 1, ha="center", va="center", color=ink(paper))


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")

"""What all pictures share: colours, the size of letters, and a mask as rectangles."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from fcnviz import layout
from fcnviz.palette import RUNS as RUNS
from fcnviz.palette import STOPS as STOPS
from fcnviz.palette import colours as colours

FONT = 11  # points: what a projector shows to the last row


def figure_of(ax: Axes) -> Figure:
    """The figure that axes stand in, however deep."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes that were taken from their figure"
    return figure


def extent(ax: Axes) -> tuple[float, float]:
    """Width and height in points."""
    ax.apply_aspect()
    box, (wide, high) = ax.get_position(), figure_of(ax).get_size_inches()
    return 72 * box.width * wide, 72 * box.height * high


def ink(paper: str) -> str:
    """Black or white, whichever can be read on a colour."""
    red, green, blue = (((p + 0.055) / 1.055) ** 2.4 if p > 0.04 else p / 12.92 for p in to_rgb(paper))
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "white"


def shown(words: str) -> str:
    """Words as matplotlib shows them: control characters spelled out, and a dollar sign begins no formula."""
    return layout.plain(words).replace("$", r"\$")


def rectangles(mask: np.ndarray, most: int) -> list[tuple[int, int, int, int]]:
    """A mask as rectangles (left, bottom, width, height), from size 1: equal rows together; no more than `most`."""
    breaks = np.flatnonzero((mask[1:] != mask[:-1]).any(axis=1)) + 1
    starts, found = [0, *breaks.tolist()], list[tuple[int, int, int, int]]()
    for start, end in zip(starts, [*starts[1:], len(mask)], strict=True):
        ends = np.flatnonzero(np.diff(mask[start].astype(np.int8), prepend=0, append=0))
        for left, right in zip(ends[::2], ends[1::2], strict=True):
            found.append((int(left) + 1, start + 1, int(right - left), end - start))
            if len(found) >= most:
                return found
    return found

"""Parts of an image: a patch and the block of the map that comes of it, and the pixels that no cell sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from fcnviz import layout
from fcnviz.arithmetic import count
from fcnviz.errors import InputError
from fcnviz.figures.canvas import FONT, RUNS, STOPS, rectangles, shown

if TYPE_CHECKING:
    from fcnviz.geometry import Region

__all__ = ["blocks", "blocks_alt", "never_read", "never_read_alt"]

GROUND, SEEN, BLIND, BLIND_HATCH = "#e4e4e4", RUNS[3], STOPS[2], "xxx"
GAP = 8  # cells between two areas
Area = tuple[tuple[int, int], slice, slice]  # rows and columns there are, and which of each are marked


# A patch and its block


def blocks(areas: Mapping[str, Area], ax: Axes | None = None) -> Axes:
    """Areas side by side at one scale, each with a block of its rows and columns marked.

    Args:
        areas: by name, (rows, columns) there are, and the slices of rows and columns that are marked.

    Raises:
        InputError: no areas, or a slice that marks nothing or reaches outside.
    """
    _check(areas)
    wide = sum(size[1] for size, _, _ in areas.values()) + GAP * (len(areas) - 1)
    high = max(size[0] for size, _, _ in areas.values())
    if ax is None:
        ax = plt.figure(figsize=(8, 7.6 * (high + 1) / wide + 0.9)).add_axes((0.02, 0.02, 0.95, 0.96))
    ax.set(xlim=(-0.5, wide + 0.5), ylim=(high + 0.5, -9), aspect="equal")
    ax.set_axis_off()
    left = 0
    for name, ((rows, columns), down, across) in areas.items():
        ax.add_patch(Rectangle((left, 0), columns, rows, fc=GROUND, ec="#555", lw=0.8))
        ax.text(left, -1, f"{shown(name)}, {rows}×{columns}", fontsize=FONT, va="bottom")
        corner, size = (left + across.start, down.start), (across.stop - across.start, down.stop - down.start)
        ax.add_patch(Rectangle(corner, *size, fc=RUNS[0], ec="none"))
        middle = corner[0] + size[0] / 2, corner[1] + size[1] / 2
        ax.text(*middle, f"{size[1]}×{size[0]}", fontsize=FONT, color="white", ha="center", va="center")
        left += columns + GAP
    return ax


def blocks_alt(areas: Mapping[str, Area]) -> str:
    """The picture of `blocks` in words."""
    _check(areas)
    said = (
        f"{layout.plain(name)}, {rows}×{columns}: rows {down.start} to {down.stop - 1} and columns {across.start} to "
        f"{across.stop - 1} are marked, a block of {down.stop - down.start}×{across.stop - across.start}"
        for name, ((rows, columns), down, across) in areas.items()
    )
    return f"Areas side by side. {'; '.join(said)}."


def _check(areas: Mapping[str, Area]) -> None:
    if not areas:
        raise InputError("no areas to draw: give a name, the sizes and the slices of each")
    for name, (size, *spans) in areas.items():
        for limit, span in zip(size, spans, strict=True):
            if not 0 <= span.start < span.stop <= limit:
                raise InputError(f"{span.start}:{span.stop} of {name} was to be marked; it has {count(limit)}")


# What nobody sees


def never_read(regions: Sequence[Region], ax: Axes | None = None) -> Axes:
    """The image with the pixels that none of these cells sees hatched, and the region of the last cell outlined.

    Args:
        regions: of every cell of a map: `geometry(trace).region(step, cell)` for all of them.

    Raises:
        InputError: no regions, or regions of different images.
    """
    seen = _seen(regions)
    rows, columns = seen.shape
    if ax is None:
        side = min(4.6, 6.5 * rows / columns)
        ax = plt.figure(figsize=(8, side + 2)).add_axes((0.1, 1.45 / (side + 2), 0.8, side / (side + 2)))
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal", anchor="W")
    ax.add_patch(Rectangle((-0.5, -0.5), columns, rows, fc=SEEN, ec="none"))
    for left, top, wide, high in rectangles(~seen, most=256):
        place = left - 1.5, top - 1.5  # pixel 0 has its middle at 0
        ax.add_patch(Rectangle(place, wide, high, fc=BLIND, ec="#3b1f0b", hatch=BLIND_HATCH, lw=0))
    _outline(ax, regions[-1])
    _name_pixels(ax, regions[-1], seen.shape)
    handles = [
        Patch(fc=SEEN, ec="none"),
        Patch(fc="none", ec=RUNS[2], lw=2),
        Patch(fc=BLIND, ec="#3b1f0b", hatch=BLIND_HATCH, lw=0),
    ]
    ax.legend(
        handles, _labels(regions, seen), fontsize=FONT, frameon=False, loc="upper left", borderaxespad=0,
        borderpad=0, bbox_to_anchor=(0, -0.15), handlelength=1.6, labelspacing=0.3,
    )  # fmt: skip
    ax.set_title(f"{rows}×{columns} pixels: {count(int((~seen).sum()))} are never read", fontsize=FONT, loc="left")
    return ax


def never_read_alt(regions: Sequence[Region]) -> str:
    """The picture of `never_read` in words."""
    seen = _seen(regions)
    return f"An image of {'×'.join(map(str, seen.shape))} pixels: {'; '.join(_labels(regions, seen))}."


def _seen(regions: Sequence[Region]) -> NDArray[np.bool_]:
    shapes = {region.pixels.shape for region in regions}
    if len(shapes) != 1 or len(regions[0].pixels.shape) != 2:
        raise InputError(f"regions of one image of rows and columns are drawn; here there are {len(shapes)} images")
    return np.logical_or.reduce([region.pixels for region in regions])


def _outline(ax: Axes, region: Region) -> None:
    if region.clipped is not None:
        down, across = region.clipped
        corner = float(across.first) - 0.5, float(down.first) - 0.5
        ax.add_patch(Rectangle(corner, float(across.size), float(down.size), fill=False, ec=RUNS[2], lw=2))


def _name_pixels(ax: Axes, last: Region, sizes: tuple[int, ...]) -> None:
    """The first pixel, the ones that the last cell sees first and last, and the last one there is."""
    for axis, (index, size) in zip((ax.yaxis, ax.xaxis), enumerate(sizes), strict=True):
        ends = () if last.clipped is None else (int(last.clipped[index].first), int(last.clipped[index].last))
        crowded = size - 1 - max(ends, default=0) < size / 24
        axis.set_ticks(sorted({0, *(ends[:1] if crowded else ends), size - 1}))
    ax.tick_params(labelsize=FONT)
    ax.set_xlabel("column (px)", fontsize=FONT)
    ax.set_ylabel("row (px)", fontsize=FONT)


def _labels(regions: Sequence[Region], seen: NDArray[np.bool_]) -> tuple[str, str, str]:
    last = regions[-1]
    cell = "(" + ", ".join(map(str, last.cell)) + ")"
    step = shown(last.step)
    where = "sees nothing"
    if last.clipped is not None:
        down, across = last.clipped
        where = f"sees rows {down.first} to {down.last}, columns {across.first} to {across.last}"
    blind = (("row", ~seen.any(axis=1)), ("column", ~seen.any(axis=0)))
    never = " and ".join(f"{what} {', '.join(map(str, np.flatnonzero(lost)))}" for what, lost in blind if lost.any())
    return (
        f"seen by at least one of {count(len(regions))} cells of layer {step}",
        f"cell {cell} of layer {step} {where}",
        f"never read: {never or 'no whole row or column'}",
    )

"""A network run on every patch of an image and once on the whole image: the answers of both, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fcnviz.errors import InputError
from fcnviz.patches.asked import Pair, map_size, nothing_drawn, one_image, square, traced
from fcnviz.patches.fields import beyond, clean_span, cut_edges, grid_of, output_places, stride_of
from fcnviz.patches.rings import same
from fcnviz.progress import progress
from fcnviz.records import Trace
from fcnviz.surgery.places import own_statistics
from fcnviz.surgery.windows import beyond_windows
from fcnviz.twin import parts_of, sharing, twin

Verdict: TypeAlias = Literal["bit-equal", "rounding", "beyond the patch"]


@dataclass(frozen=True, eq=False)
class PatchRun:
    """The answers of a net on each patch, and those of its one dense run at the same places.

    Attributes:
        image, patch: rows and columns of pixels.
        stride: pixels from one patch to the next, along rows and columns.
        grid: rows and columns of patches.
        dense: the dense map C×H×W.
        patches: the patches' maps, rows × columns × C×h×w (mostly h = w = 1).
        differences: the largest |Δ| of each patch's cells, rows × columns × h × w.
        relative_errors: ‖Δ‖ / ‖dense cells‖ of each patch, rows × columns.
        equal: which cells have the same bits in all channels, rows × columns × h × w.
        same_top: which cells have the same largest channel, rows × columns × h × w.
        clean: which cells see nothing but pixels of their patch, rows × columns × h × w; found by arithmetic.
        patch_macs, dense_macs: multiply-adds of one patch, and of the dense run.
        patches_seconds, dense_seconds: of all patches, in batches of `batch`, and of the dense run.
    """

    image: Pair
    patch: Pair
    stride: Pair
    grid: Pair
    batch: int
    dense: Tensor = field(repr=False)
    patches: Tensor = field(repr=False)
    differences: NDArray[np.float64] = field(repr=False)
    relative_errors: NDArray[np.float64] = field(repr=False)
    equal: NDArray[np.bool_] = field(repr=False)
    same_top: NDArray[np.bool_] = field(repr=False)
    clean: NDArray[np.bool_] = field(repr=False)
    patch_macs: int
    dense_macs: int
    patches_seconds: float
    dense_seconds: float

    @property
    def verdicts(self) -> NDArray[np.str_]:
        """For each cell why its two answers are not the same, rows × columns × h × w.

        "bit-equal": they are. "rounding": the cell sees the same pixels in both runs and nothing else, so both are the
        same sums, in another order. "beyond the patch": its field reaches over an edge at which the patch was cut, or a
        step of the net looks, or may look, at more of the map than its window. It follows from where the cells lie, not
        from how large a difference is: no tolerance is in it. It takes for granted that torch gives each cell the sums
        that its window asks for, and that the net treats each image of a batch by itself.
        """
        found: NDArray[np.str_] = np.where(
            self.equal, "bit-equal", np.where(self.clean, "rounding", "beyond the patch")
        )
        return found

    @property
    def eps(self) -> float:
        """The largest |Δ| in units of ε·(largest |answer|): a few is what rounding leaves, padding leaves millions."""
        finite = self.dense[self.dense.isfinite()]
        scale = float(finite.abs().max()) * torch.finfo(finite.dtype).eps if len(finite) else 0.0
        return float(self.differences.max()) / scale if scale else 0.0

    def __str__(self) -> str:
        from fcnviz import handwork

        return handwork.patches_text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.patches_html(self)

    @property
    def macs_ratio(self) -> float:
        """How many times more multiply-adds the patches took."""
        return math.prod(self.grid) * self.patch_macs / self.dense_macs

    @property
    def seconds_ratio(self) -> float:
        """How many times longer the patches took; the first run in a process takes longer whatever it is."""
        return self.patches_seconds / self.dense_seconds


def run_patches(
    model: nn.Module, image: Tensor, patch: int | Pair, stride: int | Pair | None = None, batch: int = 16
) -> PatchRun:
    """Run a net on every patch of an image, in batches, and once on the image; compare the answers cell by cell.

    Args:
        model: fully convolutional. A twin runs, in eval mode.
        image: one image, C×H×W or 1×C×H×W, of the model's number type.
        patch: rows and columns of pixels.
        stride: pixels between patches; a multiple of the net's own stride, which it is by default.
        batch: patches run together.

    Raises:
        InputError: a net that gives no map, or another one each time since it draws random numbers in eval mode as
            well; a patch that does not fit; a stride between the cells of the dense map.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3)).double()
    >>> run = run_patches(net, torch.rand(1, 12, 16, dtype=torch.float64), 8)
    >>> run.stride, run.grid, bool(run.differences.max() < 1e-14)
    ((2, 2), (3, 5), True)
    """
    whole, size = one_image(model, image), square(patch)
    found = traced(model, size, whole.shape[1])
    own = stride_of(found)
    large = traced(model, square(whole.shape[2:]), whole.shape[1])
    step = own if stride is None else square(stride)
    grid = grid_of(square(whole.shape[2:]), size, step, own)
    net = twin(parts_of(model), sharing)[0][1]
    with nothing_drawn(found.model, whole.device):
        dense, dense_seconds = _timed(lambda: net(whole)[0])
    maps, patches_seconds = _timed(lambda: torch.cat(list(_in_batches(net, whole, size, step, grid, batch))))
    h, w = map_size(found)
    places = [(i * step[0] // own[0], j * step[1] // own[1]) for i in range(grid[0]) for j in range(grid[1])]
    there = torch.stack([dense[:, y : y + h, x : x + w] for y, x in places])
    return PatchRun(
        *(square(whole.shape[2:]), size, step, grid, batch, dense),
        patches=maps.unflatten(0, grid),
        **_differences(maps, there, grid),
        clean=_clean_cells(found, large, step, grid) & _is_local(net, found, large),
        patch_macs=found.macs,
        dense_macs=large.macs,
        patches_seconds=patches_seconds,
        dense_seconds=dense_seconds,
    )


@torch.no_grad()
def _timed(call: Callable[[], Tensor]) -> tuple[Tensor, float]:
    start = perf_counter()
    found = call()
    if found.is_cuda:
        torch.cuda.synchronize(found.device)  # CUDA answers before it has computed
    return found, perf_counter() - start


def _clean_cells(found: Trace, large: Trace, stride: Pair, grid: Pair) -> NDArray[np.bool_]:
    """Which cells of each patch lie clear of the edges at which it was cut; rows × columns × h × w."""
    size, image, places = _pixels(found), _pixels(large), output_places(found)
    if not places:
        return np.ones((*grid, *map_size(found)), dtype=bool)
    sides = []
    for axis, cells in enumerate(map_size(found)):
        corners = [(n * stride[axis],) * 2 for n in range(grid[axis])]
        edges = [cut_edges(size[axis], axis, image, corner, beyond(found)) for corner in corners]
        spans = [clean_span(places[axis], cells, edge) for edge in edges]
        sides.append(np.array([[first <= cell < stop for cell in range(cells)] for first, stop in spans]))
    rows, columns = sides
    return rows[:, None, :, None] & columns[None, :, None, :]


def _pixels(found: Trace) -> Pair:
    return square(found.input_shapes[0][2:])


def _is_local(model: nn.Module, found: Trace, large: Trace) -> bool:
    """False if a step looks at more than a window of its map, or computes with the map's size.

    None moves places, which `beyond_windows` would refuse: their cells could not be followed until here.
    """
    return not beyond_windows(found.model, found, large, own_statistics(model))


def _in_batches(net: nn.Module, whole: Tensor, size: Pair, stride: Pair, grid: Pair, batch: int) -> Iterator[Tensor]:
    if batch < 1:
        raise InputError(f"batches of {batch} patches were asked for; one patch is the least")
    corners = [(i * stride[0], j * stride[1]) for i in range(grid[0]) for j in range(grid[1])]
    with progress(len(corners), "patches", "patches") as advance:
        for some in (corners[n : n + batch] for n in range(0, len(corners), batch)):
            yield net(torch.cat([whole[:, :, y : y + size[0], x : x + size[1]] for y, x in some]))
            advance(len(some))


def _differences(maps: Tensor, dense: Tensor, grid: Pair) -> dict[str, Any]:
    alike, whole = same(maps, dense), dense.double()
    apart = torch.where(alike, 0.0, maps.double() - whole).nan_to_num(math.inf, math.inf)
    size = apart.flatten(1).norm(dim=1)
    errors = torch.where(size == 0, 0.0, size / whole.flatten(1).norm(dim=1))  # equal zeros are no error
    found = {
        "differences": apart.abs().amax(1),
        "relative_errors": errors,
        "equal": alike.all(1),
        "same_top": maps.argmax(1) == dense.argmax(1),
    }
    return {name: values.unflatten(0, grid).cpu().numpy() for name, values in found.items()}

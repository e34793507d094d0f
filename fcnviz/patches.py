"""A net run on every patch of an image, and once on the whole image: the same answers, or not, and at what cost.

It is often taught that both give the same. They do if no layer pads: then a cell of the dense map is computed from a
region of the image and from nothing else. A layer that pads gives a patch zeros where the dense run has its neighbours,
and the cells that have seen them are another network's. `clean_rings` derives by arithmetic how far that reaches, layer
by layer; `measured_rings` counts it on real numbers; `run_patches` compares the answers; `patch_cost` counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fcnviz.coordinates import Placement
from fcnviz.errors import GeometryError, InputError
from fcnviz.geometry import geometry
from fcnviz.models import caffe_alexnet
from fcnviz.records import Shape, Step, Trace
from fcnviz.trace import trace
from fcnviz.twin import parts_of, sharing, twin

__all__ = [
    "Cost",
    "PatchRun",
    "Ring",
    "caffe_alexnet",
    "clean_rings",
    "measured_rings",
    "network_stride",
    "patch_cost",
    "run_patches",
    "without_padding",
]

Pair = tuple[int, int]


# What it costs


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of one answer at a time against those of all answers at once.

    Attributes:
        image, patch: rows and columns of pixels.
        answers: rows and columns of the dense map; one patch each.
        fitting: rows and columns of patches that lie within the image, as `run_patches` runs them: fewer than answers
            where the net pads or pools beyond the image's edge; None where the net's stride is not known.
        patch_macs: of the net on one patch.
        dense_macs: of the net on the whole image.
    """

    image: Pair
    patch: Pair
    answers: Pair
    fitting: Pair | None
    patch_macs: int
    dense_macs: int

    @property
    def patches(self) -> int:
        return math.prod(self.answers)

    @property
    def patches_macs(self) -> int:
        return self.patches * self.patch_macs

    @property
    def ratio(self) -> float:
        """How many times more multiply-adds the patches take."""
        return self.patches_macs / self.dense_macs

    def __str__(self) -> str:
        from fcnviz import handwork

        return handwork.cost_text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.cost_html(self)


def patch_cost(model: nn.Module, image: int | Pair, patch: int | Pair) -> Cost:
    """What a fully convolutional net costs on an image, and on as many patches as it gives answers. Shapes only.

    Raises:
        InputError: a net that gives no map, more than one cell for a patch, or that one of the sizes breaks.

    >>> from fcnviz import models
    >>> cost = patch_cost(models.vgg16("conv"), 384, 224)
    >>> cost.answers, round(cost.ratio, 2)
    ((6, 6), 11.24)
    """
    whole, part = (_traced(model, _square(size)) for size in (image, patch))
    one = _map_size(part)
    if one != (1, 1):
        rows, columns = one
        raise InputError(f"a patch of {_by(_square(patch))} gives {rows}×{columns} answers; one answer was expected")
    return Cost(
        *(_square(image), _square(patch), _map_size(whole)),
        fitting=_fitting(model, _square(image), _square(patch)),
        patch_macs=part.macs,
        dense_macs=whole.macs,
    )


def _fitting(model: nn.Module, image: Pair, patch: Pair) -> Pair | None:
    try:
        own = network_stride(model, patch)
    except InputError:
        return None
    return _grid(image, patch, own, own)


def _square(size: Any) -> Pair:
    """One size for both sides, or rows and columns."""
    sizes = size if isinstance(size, tuple | list | torch.Size) else (size, size)
    if len(sizes) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes):
        raise InputError(f"a size of {size!r} was asked for; it is one whole number of pixels or (rows, columns)")
    return sizes[0], sizes[1]


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


def _traced(model: nn.Module, size: Pair, channels: int | None = None) -> Trace:
    found = trace(model, (1, channels or _channels(model), *size))
    if found.failure:
        said, meant = found.failure.message, found.failure.explanation
        raise InputError(f"{found.model} does not run on {_by(size)}: {said}{'' if meant in said else f'; {meant}'}")
    return found


def _channels(model: nn.Module) -> int:
    """What the first convolution takes; three where there is none."""
    return next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)


def _map_size(found: Trace) -> Pair:
    shape = found.output_shape
    if not isinstance(shape, Shape) or len(shape) != 4:
        raise InputError(f"{found.model} returns {shape}, no map N×C×H×W; patches need a fully convolutional net")
    return shape[2], shape[3]


# How far the padding of a patch reaches


@dataclass(frozen=True)
class Ring:
    """A patch's map after one step: a clean middle, and a ring of cells that have seen the patch's own padding.

    Attributes:
        name, kind: of the step.
        size: rows and columns of the patch's map.
        jump: pixels from one cell to the next, along rows and columns.
        rows, columns: first clean one, and the first after them that is not.
    """

    name: str
    kind: str
    size: Pair
    jump: Pair
    rows: Pair
    columns: Pair

    @property
    def clean(self) -> int:
        """Cells that no padding of the patch has reached."""
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])

    @property
    def cells(self) -> int:
        return math.prod(self.size)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True for each clean cell."""
        clean = np.zeros(self.size, dtype=bool)
        clean[slice(*self.rows), slice(*self.columns)] = True
        return clean


def clean_rings(
    model: nn.Module, patch: int | Pair, image: int | Pair | None = None, at: Pair | None = None
) -> tuple[Ring, ...]:
    """For each step with a window: which cells of a patch's map must be what the dense run has there. Shapes only.

    A cell is clean if its field lies within the patch: no padding, of this layer or of one before, is among it.

    Args:
        patch: rows and columns of pixels.
        image, at: where the patch is cut, as the pixel of its upper left corner. A side on the image's own edge
            is no cut: there the dense run pads as well. Without them the patch is cut on all four sides.

    Returns:
        A ring for each step with a window, up to the first step that gives no map.

    Raises:
        InputError: sizes that break the net, or a step whose cells can't be followed.

    >>> from fcnviz import models
    >>> rings = clean_rings(models.vgg16().features, 224)
    >>> [f"{ring.clean}/{ring.cells}" for ring in rings if ring.kind == "MaxPool2d"]
    ['12100/12544', '2704/3136', '484/784', '64/196', '1/49']
    """
    size = _square(patch)
    edges = [_cut(size[axis], axis, image, at) for axis in (0, 1)]
    followed = _followed(_traced(model, size))
    return tuple(_ring(step, places, edges) for step, places in followed if step.operation in _SLIDES)


class _Edges(NamedTuple):
    """First and last pixel of a patch along one axis; infinite on a side where the image ends as well."""

    first: float
    last: float


def _cut(size: int, axis: int, image: int | Pair | None, at: Pair | None) -> _Edges:
    if (image is None) != (at is None):
        raise InputError("image and at go together: where a patch is cut depends on both")
    if image is None or at is None:
        return _Edges(0, size - 1)
    whole, start = _square(image)[axis], at[axis]
    if start < 0 or start + size > whole:
        raise InputError(f"a patch of {size} pixels from pixel {start} on does not lie within {whole} pixels")
    return _Edges(-math.inf if start == 0 else 0, math.inf if start + size == whole else size - 1)


_KEEPS = ("same", "broadcast", "cat")
_SLIDES = ("conv", "max_pool", "avg_pool", "lp_pool")


def _followed(found: Trace) -> Iterator[tuple[Step, tuple[Placement, ...]]]:
    """Each step that gives a map, and where its cells lie; a net that only slides windows has all cells see alike."""
    for step, located in zip(found, geometry(found), strict=True):
        if not isinstance(step.output_shape, Shape) or len(step.output_shape) != 4:
            return
        if step.operation not in (*_SLIDES, *_KEEPS):
            what = f"{step.name} ({step.kind})"
            raise InputError(f"{what} is no convolution, pooling or sum of maps: its cells can't be followed")
        try:
            places = located.placements
        except GeometryError as error:
            raise InputError(f"{error}: its cells can't be followed") from error
        if any(place.shared is not None for place in places):
            seen = f"each cell sees all {step.input_shapes[0][2]} cells"
            raise InputError(f"{step.name} ({step.kind}): {seen}: its cells can't be followed")
        yield step, places


def _ring(step: Step, places: Sequence[Placement], edges: Sequence[_Edges]) -> Ring:
    shape = step.output_shape
    assert isinstance(shape, Shape)
    rows, columns = (_clean(place, n, edge) for place, n, edge in zip(places, shape[2:], edges, strict=True))
    return Ring(step.name, step.kind, (shape[2], shape[3]), _jumps(places), rows, columns)


def _clean(place: Placement, size: int, edges: _Edges) -> Pair:
    """The cells whose field lies in the patch, on each side where the patch is cut."""
    field = place.region(0)
    assert field is not None, "a window sees something"
    first = 0 if math.isinf(edges.first) else max(0, math.ceil((int(edges.first) - field.first) / place.jump))
    stop = size if math.isinf(edges.last) else min(size, (int(edges.last) - field.last) // place.jump + 1)
    return first, max(first, stop)


def _jumps(places: Sequence[Placement]) -> Pair:
    rows, columns = (int(place.jump) for place in places)
    return rows, columns


def measured_rings(model: nn.Module, image: Tensor, patch: int | Pair, at: Pair) -> Mapping[str, NDArray[np.bool_]]:
    """The same on real numbers: a patch's cells that are bit for bit the dense run's, for each module with a window.

    A twin runs twice, on the image and on the patch cut at pixel `at`. Keys are the names in `clean_rings`; a step that
    is a call in a forward is left out. A cell counts as equal if all its channels are.

    Raises:
        InputError: no image 1×C×H×W or C×H×W; a patch that is not within it, or does not start on a cell of each step.
    """
    whole, size = _one_image(model, image), _square(patch)
    rings = {ring.name: ring for ring in clean_rings(model, size, _square(whole.shape[2:]), at)}
    for ring in rings.values():
        if any(pixel % jump for pixel, jump in zip(at, ring.jump, strict=True)):
            raise InputError(
                f"a patch at pixel {at} starts between two cells of {ring.name}, which are {ring.jump} apart"
            )
    cut = whole[:, :, at[0] : at[0] + size[0], at[1] : at[1] + size[1]].contiguous()
    dense, part = _maps(model, whole, rings), _maps(model, cut, rings)
    return {name: _same_cells(part[name], _at(dense[name], rings[name], at)) for name in part}


def _one_image(model: nn.Module, image: Any) -> Tensor:
    if not isinstance(image, Tensor):
        raise InputError(f"one image is needed, a tensor C×H×W, and it was given {type(image).__name__}")
    whole = image.unsqueeze(0) if image.dim() == 3 else image
    if whole.dim() != 4 or len(whole) != 1:
        raise InputError(f"the image is {_by(image.shape)}; one image 1×C×H×W or C×H×W is cut into patches")
    weight = next(model.parameters(), whole)
    if whole.is_meta or weight.is_meta:
        raise InputError("on meta there are no numbers to compare; give image and model (vgg16(seed=0)) a real device")
    kinds = [f"{str(t.dtype).removeprefix('torch.')} on {t.device}" for t in (whole, weight)]
    if kinds[0] != kinds[1]:
        raise InputError(f"the image is {kinds[0]}, the model {kinds[1]}; both need the same")
    return whole


def _at(dense: Tensor, ring: Ring, at: Pair) -> Tensor:
    """The cells of a dense map where those of the patch lie."""
    top, left = (pixel // jump for pixel, jump in zip(at, ring.jump, strict=True))
    return dense[:, :, top : top + ring.size[0], left : left + ring.size[1]]


def _same_cells(one: Tensor, other: Tensor) -> NDArray[np.bool_]:
    return (one == other).all(1)[0].cpu().numpy()


def _maps(model: nn.Module, x: Tensor, names: Mapping[str, Ring]) -> dict[str, Tensor]:
    """What the named modules of a twin give; copied, since a ReLU in place would change them afterwards."""
    found: dict[str, Tensor] = {}
    parts = twin(parts_of(model), sharing)
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=path: found.update({name: out.clone()}))
        for path, module in parts
        if path in names
    ]
    try:
        with torch.no_grad():
            parts[0][1](x)
    finally:
        for hook in hooks:
            hook.remove()
    return found


# Patches against the dense map


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
    patch_macs: int
    dense_macs: int
    patches_seconds: float
    dense_seconds: float

    @property
    def eps(self) -> float:
        """The largest |Δ| in units of ε·(largest |answer|): a few is what rounding leaves, padding leaves millions."""
        scale = float(self.dense.abs().max()) * torch.finfo(self.dense.dtype).eps
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
        InputError: a net that gives no map, a patch that does not fit, a stride between the cells of the dense map.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3)).double()
    >>> run = run_patches(net, torch.rand(1, 12, 16, dtype=torch.float64), 8)
    >>> run.stride, run.grid, bool(run.differences.max() < 1e-14)
    ((2, 2), (3, 5), True)
    """
    whole, size = _one_image(model, image), _square(patch)
    found, own = _traced(model, size, whole.shape[1]), network_stride(model, size)
    step = own if stride is None else _square(stride)
    grid = _grid(_square(whole.shape[2:]), size, step, own)
    net = twin(parts_of(model), sharing)[0][1]
    dense, dense_seconds = _timed(lambda: net(whole)[0])
    maps, patches_seconds = _timed(lambda: torch.cat(list(_in_batches(net, whole, size, step, grid, batch))))
    h, w = _map_size(found)
    places = [(i * step[0] // own[0], j * step[1] // own[1]) for i in range(grid[0]) for j in range(grid[1])]
    there = torch.stack([dense[:, y : y + h, x : x + w] for y, x in places])
    return PatchRun(
        *(_square(whole.shape[2:]), size, step, grid, batch, dense),
        patches=maps.unflatten(0, grid),
        **_differences(maps, there, grid),
        patch_macs=found.macs,
        dense_macs=_traced(model, _square(whole.shape[2:]), whole.shape[1]).macs,
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


def network_stride(model: nn.Module, size: int | Pair) -> Pair:
    """Pixels from one cell of the output to the next, along rows and columns: the product of all strides on the way.

    >>> from fcnviz import models
    >>> network_stride(models.vgg16("conv"), 224)
    (32, 32)
    """
    found = _traced(model, _square(size))
    _map_size(found)
    followed = list(_followed(found))
    return _jumps(followed[-1][1]) if followed else (1, 1)


def _grid(image: Pair, patch: Pair, stride: Pair, own: Pair) -> Pair:
    if any(p > i for p, i in zip(patch, image, strict=True)):
        raise InputError(f"patches of {_by(patch)} were asked for; the image is {_by(image)}")
    if any(s < 1 or s % o for s, o in zip(stride, own, strict=True)):
        raise InputError(
            f"a stride of {_by(stride)} was asked for; cells of the dense map lie {_by(own)} pixels apart, and only a "
            "multiple of that goes from cell to cell"
        )
    rows, columns = ((i - p) // s + 1 for i, p, s in zip(image, patch, stride, strict=True))
    return rows, columns


def _in_batches(net: nn.Module, whole: Tensor, size: Pair, stride: Pair, grid: Pair, batch: int) -> Iterator[Tensor]:
    from tqdm.auto import tqdm  # only here, so that importing the package stays cheap

    if batch < 1:
        raise InputError(f"batches of {batch} patches were asked for; one patch is the least")
    corners = [(i * stride[0], j * stride[1]) for i in range(grid[0]) for j in range(grid[1])]
    with tqdm(total=len(corners), desc="patches", unit=" patches", delay=1.0, leave=False) as bar:
        for some in (corners[n : n + batch] for n in range(0, len(corners), batch)):
            yield net(torch.cat([whole[:, :, y : y + size[0], x : x + size[1]] for y, x in some]))
            bar.update(len(some))


def _differences(maps: Tensor, dense: Tensor, grid: Pair) -> dict[str, Any]:
    apart, whole = (maps.double() - dense.double()), dense.double()
    size = apart.flatten(1).norm(dim=1)
    errors = torch.where(size == 0, 0.0, size / whole.flatten(1).norm(dim=1))  # equal zeros are no error
    found = {
        "differences": apart.abs().amax(1),
        "relative_errors": errors,
        "equal": (maps == dense).all(1),
        "same_top": maps.argmax(1) == dense.argmax(1),
    }
    return {name: values.unflatten(0, grid).cpu().numpy() for name, values in found.items()}


# The net that never pads


_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_ONLY_PAD = (
    *(nn.modules.padding._ConstantPadNd, nn.modules.padding._ReflectionPadNd),
    *(nn.modules.padding._ReplicationPadNd, nn.modules.padding._CircularPadNd),
)
_CUTS = nn.modules.conv._ConvTransposeNd  # whose padding cuts cells off


def without_padding(model: nn.Module) -> nn.Module:
    """A twin that shares the model's weights, and in which no layer pads: a map shrinks by each kernel.

    Convolutions and poolings lose their padding, and layers that only pad (`ZeroPad2d`, …) let everything through.
    Padding of a transposed convolution cuts cells off, and stays; so does what a call in a forward pads: `F.pad`, or
    `F.conv2d(…, padding=1)`.
    Weights trained with padding have never seen a map without; the answers are another network's.

    >>> from fcnviz import models, trace
    >>> net = without_padding(models.vgg16("conv"))
    >>> trace(net, (1, 3, 404, 404)).output_shape, trace(net, (1, 3, 436, 436)).output_shape
    ((1, 1000, 1, 1), (1, 1000, 2, 2))
    """
    parts = twin(parts_of(model), sharing, keep_mode=True)
    for _, module in parts:
        _unpad(module)
    return parts[0][1]


def _unpad(module: nn.Module) -> None:
    if isinstance(module, nn.modules.conv._ConvNd) and not isinstance(module, _CUTS):
        module.padding = (0,) * len(module.kernel_size)
        module._reversed_padding_repeated_twice = [0] * (2 * len(module.kernel_size))
        module.padding_mode = "zeros"  # the other modes pad in a call of their own, which refuses to pad by nothing
    elif isinstance(module, _POOLS):
        module.padding = 0
    elif isinstance(module, _ONLY_PAD):
        module.padding = [0] * len(module.padding)

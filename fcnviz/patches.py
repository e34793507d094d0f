"""A net run on every patch of an image, and once on the whole image: the same answers, or not, and at what cost.

It is often taught that both give the same. They do if no layer pads: then a cell of the dense map is computed from a
region of the image and from nothing else. A layer that pads gives a patch zeros where the dense run has its neighbours,
and the cells that have seen them are another network's. `clean_rings` derives by arithmetic how far that reaches, layer
by layer; `measured_rings` counts it on real numbers; `run_patches` compares the answers; `patch_cost` counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fcnviz.coordinates import Placement
from fcnviz.errors import GeometryError, InputError
from fcnviz.geometry import geometry
from fcnviz.models import caffe_alexnet
from fcnviz.progress import progress
from fcnviz.records import ByName, Shape, Step, Trace
from fcnviz.surgery.padding import without_padding
from fcnviz.surgery.places import own_statistics
from fcnviz.surgery.windows import beyond_windows
from fcnviz.trace import trace
from fcnviz.twin import parts_of, sharing, twin

__all__ = [
    "Cost",
    "PatchRun",
    "Ring",
    "Rings",
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
    part = _traced(model, _square(patch))
    one = _map_size(part)
    if one != (1, 1):
        raise InputError(f"a patch of {_by(_square(patch))} gives {_by(one)} answers; one answer was expected")
    whole = _traced(model, _square(image))
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
    """The trace of one image; where nobody says how many channels it has, of what the net takes."""
    errors: list[InputError] = []
    for guess in [channels] if channels else _channels(model):
        try:
            return _run_through(model, size, guess)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def _run_through(model: nn.Module, size: Pair, channels: int) -> Trace:
    found = trace(model, (1, channels, *size))
    if found.failure:
        said, meant = found.failure.message, found.failure.explanation
        raise InputError(f"{found.model} does not run on {_by(size)}: {said}{'' if meant in said else f'; {meant}'}")
    return found


def _channels(model: nn.Module) -> Iterable[int]:
    """What the first convolution takes, or the first kernel that a call may use; three where there is neither."""
    layers = [m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)][:1]
    kernels = [p.shape[1] for p in model.parameters(recurse=True) if p.dim() == 4][:1]
    return dict.fromkeys((*layers, *kernels, 3))


def _map_size(found: Trace) -> Pair:
    shape = found.output_shape
    if not isinstance(shape, Shape) or len(shape) != 4:
        raise InputError(
            f"{found.model} returns {shape}, no map N×C×H×W; patches need a fully convolutional net, such as "
            "convolutionalize makes of a classifier"
        )
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


@dataclass(frozen=True)
class Rings(ByName[Ring]):
    """The rings of a patch's maps, in the order in which the steps ran: `rings[-1]`, `rings["features.30"]`.

    Attributes:
        patch: rows and columns of pixels.
        steps: the rings.
    """

    patch: Pair
    steps: tuple[Ring, ...]

    def __str__(self) -> str:
        from fcnviz import handwork

        return handwork.rings_text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.rings_html(self)


def clean_rings(model: nn.Module, patch: int | Pair, image: int | Pair | None = None, at: Pair | None = None) -> Rings:
    """For each step with a window: which cells of a patch's map must be what the dense run has there. Shapes only.

    A cell is clean if its field lies within the patch: no padding, of this layer or of one before, is among it.

    Args:
        patch: rows and columns of pixels.
        image, at: where the patch is cut, as the pixel of its upper left corner. A side on the image's own edge
            is no cut: there the dense run pads as well. Without them, and where a padding copies cells of the map
            (reflect, replicate, circular), the patch is cut on all four sides.

    Returns:
        A ring for each step with a window, up to the first step that gives no map.

    Raises:
        InputError: sizes that break the net, or a step whose cells can't be followed.

    >>> from fcnviz import models
    >>> rings = clean_rings(models.vgg16().features, 224)
    >>> [f"{ring.clean}/{ring.cells}" for ring in rings if ring.kind == "MaxPool2d"]
    ['12100/12544', '2704/3136', '484/784', '64/196', '1/49']
    """
    return _rings(_traced(model, _square(patch)), _square(patch), image, at)


def _rings(found: Trace, size: Pair, image: int | Pair | None, at: Pair | None) -> Rings:
    edges = [_cut(size[axis], axis, image, at, _beyond(found)) for axis in (0, 1)]
    slid = ((step, places) for step, places in _followed(found) if step.operation in _SLIDES)
    return Rings(size, tuple(_ring(step, places, edges) for step, places in slid))


class _Edges(NamedTuple):
    """First and last pixel that a cell of a patch may see along one axis."""

    first: float
    last: float


def _cut(size: int, axis: int, image: int | Pair | None, at: Pair | None, beyond: float) -> _Edges:
    if (image is None) != (at is None):
        raise InputError("image and at go together: where a patch is cut depends on both")
    if image is None or at is None:
        return _Edges(0, size - 1)
    whole, start = _square(image)[axis], at[axis]
    if start < 0 or start + size > whole:
        raise InputError(f"a patch of {size} pixels from pixel {start} on does not lie within {whole} pixels")
    return _Edges(-beyond if start == 0 else 0, size - 1 + (beyond if start + size == whole else 0))


def _beyond(found: Trace) -> float:
    """How far beyond an edge that is the image's own as well: there padding is the same in both runs.

    Not if it is copied from the map: what a cell is copied from may have seen the edge on the other side.
    """
    modes = (step.settings.get("padding_mode", step.settings.get("mode")) for step in found if _pads(step))
    return math.inf if {"zeros", "constant", None}.issuperset(modes) else 0


def _pads(step: Step) -> bool:
    return step.operation == "pad" or (step.window is not None and any(map(any, step.window.pads)))


_KEEPS = ("same", "broadcast", "cat", "pad")
_SLIDES = ("conv", "max_pool", "avg_pool", "lp_pool")


def _followed(found: Trace) -> Iterator[tuple[Step, tuple[Placement, ...]]]:
    """Each step that gives a map, and where its cells lie; a net that only slides windows has all cells see alike."""
    for step, located in zip(found, geometry(found), strict=True):
        if not isinstance(step.output_shape, Shape) or len(step.output_shape) != 4:
            return
        if step.operation not in (*_SLIDES, *_KEEPS) or _cuts(step) or _mixes_images(step):
            what = f"{step.name} ({step.kind})"
            raise InputError(f"{what} is no convolution, pooling, padding or sum of maps: its cells can't be followed")
        try:
            places = located.placements
        except GeometryError as error:
            raise InputError(f"{error}: its cells can't be followed") from error
        if any(place.shared is not None for place in places):
            seen = f"each cell sees all {step.input_shapes[0][2]} cells"
            raise InputError(f"{step.name} ({step.kind}): {seen}: its cells can't be followed")
        yield step, places


def _cuts(step: Step) -> bool:
    """True for a negative padding: what is padded afterwards lies within the patch, and is none of its pixels."""
    return step.operation == "pad" and any(min(sides) < 0 for sides in step.settings["pads"])


def _mixes_images(step: Step) -> bool:
    """True for a softmax, say, along axis 0: then an answer depends on what else is in the batch."""
    dims = (step.settings.get("softmax_dim"), *step.settings.get("dims", ()))
    return step.operation == "same" and not {0, -4}.isdisjoint(dims)


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
        InputError: no image 1×C×H×W or C×H×W; a patch that is not within it, or does not start on a cell of each step;
            a net that draws random numbers in eval mode as well.
    """
    whole, size = _one_image(model, image), _square(patch)
    found = _rings(_traced(model, size, whole.shape[1]), size, _square(whole.shape[2:]), at)
    rings = {ring.name: ring for ring in found}
    for ring in rings.values():
        if any(pixel % jump for pixel, jump in zip(at, ring.jump, strict=True)):
            raise InputError(
                f"a patch at pixel {at} starts between two cells of {ring.name}, which are {ring.jump} apart"
            )
    cut = whole[:, :, at[0] : at[0] + size[0], at[1] : at[1] + size[1]].contiguous()
    with _nothing_drawn(type(model).__name__, whole.device):
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


@contextmanager
def _nothing_drawn(name: str, device: torch.device) -> Iterator[None]:
    """Refuses a net that draws random numbers in eval mode as well: no two runs of it can be compared."""
    before = _generators(device)
    yield
    if not all(map(torch.equal, before, _generators(device))):
        why = "F.dropout(x), for instance, without training=self.training"
        raise InputError(f"{name} draws random numbers in eval mode as well ({why}): no two runs give the same answers")


def _generators(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _at(dense: Tensor, ring: Ring, at: Pair) -> Tensor:
    """The cells of a dense map where those of the patch lie."""
    top, left = (pixel // jump for pixel, jump in zip(at, ring.jump, strict=True))
    return dense[:, :, top : top + ring.size[0], left : left + ring.size[1]]


def _same_cells(one: Tensor, other: Tensor) -> NDArray[np.bool_]:
    return _same(one, other).all(1)[0].cpu().numpy()


def _same(one: Tensor, other: Tensor) -> Tensor:
    """Where two answers are the same; what is no number both ways is."""
    return (one == other) | (one.isnan() & other.isnan())


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
    whole, size = _one_image(model, image), _square(patch)
    found = _traced(model, size, whole.shape[1])
    own = _stride_of(found)
    large = _traced(model, _square(whole.shape[2:]), whole.shape[1])
    step = own if stride is None else _square(stride)
    grid = _grid(_square(whole.shape[2:]), size, step, own)
    net = twin(parts_of(model), sharing)[0][1]
    with _nothing_drawn(found.model, whole.device):
        dense, dense_seconds = _timed(lambda: net(whole)[0])
    maps, patches_seconds = _timed(lambda: torch.cat(list(_in_batches(net, whole, size, step, grid, batch))))
    h, w = _map_size(found)
    places = [(i * step[0] // own[0], j * step[1] // own[1]) for i in range(grid[0]) for j in range(grid[1])]
    there = torch.stack([dense[:, y : y + h, x : x + w] for y, x in places])
    return PatchRun(
        *(_square(whole.shape[2:]), size, step, grid, batch, dense),
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


def network_stride(model: nn.Module, size: int | Pair) -> Pair:
    """Pixels from one cell of the output to the next, along rows and columns: the product of all strides on the way.

    >>> from fcnviz import models
    >>> network_stride(models.vgg16("conv"), 224)
    (32, 32)
    """
    return _stride_of(_traced(model, _square(size)))


def _stride_of(found: Trace) -> Pair:
    _map_size(found)
    places = _output_places(found)
    return _jumps(places) if places else (1, 1)


def _output_places(found: Trace) -> tuple[Placement, ...]:
    """Where the cells of the answer lie; none for a net without steps."""
    followed = list(_followed(found))
    return followed[-1][1] if followed else ()


def _clean_cells(found: Trace, large: Trace, stride: Pair, grid: Pair) -> NDArray[np.bool_]:
    """Which cells of each patch lie clear of the edges at which it was cut; rows × columns × h × w."""
    size, image, places = _pixels(found), _pixels(large), _output_places(found)
    if not places:
        return np.ones((*grid, *_map_size(found)), dtype=bool)
    sides = []
    for axis, cells in enumerate(_map_size(found)):
        corners = [(n * stride[axis],) * 2 for n in range(grid[axis])]
        edges = [_cut(size[axis], axis, image, corner, _beyond(found)) for corner in corners]
        spans = [_clean(places[axis], cells, edge) for edge in edges]
        sides.append(np.array([[first <= cell < stop for cell in range(cells)] for first, stop in spans]))
    rows, columns = sides
    return rows[:, None, :, None] & columns[None, :, None, :]


def _pixels(found: Trace) -> Pair:
    return _square(found.input_shapes[0][2:])


def _is_local(model: nn.Module, found: Trace, large: Trace) -> bool:
    """False if a step looks at more than a window of its map, or computes with the map's size.

    None moves places, which `beyond_windows` would refuse: their cells could not be followed until here.
    """
    return not beyond_windows(found.model, found, large, own_statistics(model))


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
    if batch < 1:
        raise InputError(f"batches of {batch} patches were asked for; one patch is the least")
    corners = [(i * stride[0], j * stride[1]) for i in range(grid[0]) for j in range(grid[1])]
    with progress(len(corners), "patches", "patches") as advance:
        for some in (corners[n : n + batch] for n in range(0, len(corners), batch)):
            yield net(torch.cat([whole[:, :, y : y + size[0], x : x + size[1]] for y, x in some]))
            advance(len(some))


def _differences(maps: Tensor, dense: Tensor, grid: Pair) -> dict[str, Any]:
    same, whole = _same(maps, dense), dense.double()
    apart = torch.where(same, 0.0, maps.double() - whole).nan_to_num(math.inf, math.inf)
    size = apart.flatten(1).norm(dim=1)
    errors = torch.where(size == 0, 0.0, size / whole.flatten(1).norm(dim=1))  # equal zeros are no error
    found = {
        "differences": apart.abs().amax(1),
        "relative_errors": errors,
        "equal": same.all(1),
        "same_top": maps.argmax(1) == dense.argmax(1),
    }
    return {name: values.unflatten(0, grid).cpu().numpy() for name, values in found.items()}

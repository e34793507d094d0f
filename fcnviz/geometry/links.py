"""One step: which cells of its inputs each cell of its output reads, along each axis of the image.

An axis of the image lies along some axis of a tensor, moves when axes are permuted, and hides when a map is flattened.
`Track` says where it is, `Link` what a step does to it. A step whose reads are not known raises, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any, cast

from fcnviz.coordinates import SAME, SPREAD, Reading, copying, cropping, resizing, transposing, whole, windowed
from fcnviz.errors import GeometryError
from fcnviz.nested import leaves
from fcnviz.records import Output, Shape, Source, Step


@dataclass(frozen=True, slots=True)
class Track:
    """Where an axis of the image lies in a tensor.

    Attributes:
        dim: axis of the tensor; None when all its cells have become one.
        size: cells along it.
        inner: where the tensor's axis holds other axes as well, as flatten makes it: entries from a cell to the next.
    """

    dim: int | None
    size: int
    inner: int | None = None

    @property
    def folded(self) -> bool:
        """True where the tensor's axis holds channels, or other axes of the image, as well."""
        return self.inner is not None


@dataclass(frozen=True, slots=True)
class Link:
    """What a step does to one axis: where that lies afterwards, and which cells of each input a cell reads.

    A reading is None for an input that carries no pixels of the image.
    """

    track: Track
    readings: tuple[Reading | None, ...]


Tracks = tuple[Track, ...]
Given = Sequence[Tracks | None]  # of each input; None for one that carries no pixels


def links(step: Step, number: int, given: Given) -> tuple[Link, ...]:
    """For each axis of the image: what becomes of it in output `number` of a step.

    Raises:
        GeometryError: which cells the step reads is not known; the sentence is the reason, without the step's name.
    """
    rule, made = _rule(step), _shapes(step.output_shape)
    axes = range(len(next(tracks for tracks in given if tracks)))
    return tuple(
        rule(_Case(step, made[number], number, [tracks[axis] if tracks else None for tracks in given])) for axis in axes
    )


def carries_pixels(step: Step) -> bool:
    """False for a step that takes from its inputs their shape alone."""
    return step.kind not in _MADE_FROM_SHAPES


def writes(step: Step) -> bool:
    """True for a call that writes into its first tensor."""
    return step.is_call and (step.kind.endswith("_") or step.kind in _IN_PLACE)


def maps_of(step: Step) -> tuple[Source | None, ...]:
    """Where the inputs come from that may be maps: not those that a convolution or a Linear uses as weights."""
    return step.sources[:1] if step.operation in ("conv", "conv_transpose", "linear") else step.sources


def shares_memory(step: Step) -> bool:
    """True for a step whose output may be a view of its input: what is written into one stands in both."""
    return step.operation in (None, "slice", "reshape", "flatten", "permute") and step.kind not in _IN_PLACE


_IN_PLACE = frozenset(("setitem", "iadd", "isub", "imul", "idiv", "itruediv", "ifloordiv", "imod", "ipow"))


@dataclass(frozen=True, slots=True)
class _Case:
    """One axis of the image in one step."""

    step: Step
    shape: Shape  # of the output
    number: int
    given: Sequence[Track | None]

    @property
    def one(self) -> Track:
        """The track of the input that carries pixels."""
        tracks = [track for track in self.given if track]
        if len(tracks) > 1:
            raise GeometryError(f"{self.step.kind} of {len(tracks)} maps is not followed")
        return tracks[0]

    @property
    def entered(self) -> Shape:
        """The shape of the input that carries pixels."""
        return next(shape for shape, track in zip(self.step.input_shapes, self.given, strict=True) if track)

    def link(self, track: Track, reading: Reading = SAME) -> Link:
        return Link(track, tuple(reading if given else None for given in self.given))

    def axis_of_window(self, rank: int) -> int | None:
        """Which of the last `rank` axes of the tensor the track lies along; −1 for the one before; None elsewhere."""
        place = -2 if self.one.dim is None else self.one.dim - (len(self.entered) - rank)
        if place >= 0 and self.one.folded:
            raise GeometryError("a window slides over a flattened map, where cells of several axes stand in one row")
        return place if place >= -1 else None

    def mixed(self, dim: int | None = None) -> Link:
        """All cells are read at once, as a convolution with a kernel of the map's size reads them."""
        return self.link(Track(dim, 1), windowed(self.one.size))

    def whole(self) -> Link:
        """Every cell reads all cells, and stays where it is."""
        return self.link(self.one, whole(self.one.size))


Rule = Callable[[_Case], Link]


def _shapes(output: Output) -> list[Shape]:
    return list(leaves(output, Shape))


# Windows


def _conv(case: _Case) -> Link:
    window, made = case.step.window, case.shape
    assert window is not None
    place = case.axis_of_window(len(window.kernel))
    if place is None:
        return case.link(case.one)
    if place < 0:
        return _channels(case, window.groups)
    k, s, d = (each[place] for each in (window.kernel, window.stride, window.dilation))
    if case.step.operation == "conv_transpose":
        reading = transposing(k, s, window.pads[place][0], d)
    else:
        beyond = case.step.settings.get("padding_mode", "zeros")
        reading = replace(windowed(k, s, window.pads[place][0], d), beyond=_BEYOND[beyond])
    return case.link(replace(case.one, size=made[cast(int, case.one.dim)]), reading)


def _channels(case: _Case, groups: int) -> Link:
    if groups > 1:
        raise GeometryError("its groups divide a flattened map")
    return case.mixed()


def _pool(case: _Case) -> Link:
    window = case.step.window
    assert window is not None
    place = case.axis_of_window(len(window.kernel))
    return case.link(case.one) if place is None or place < 0 else _conv(case)


_BEYOND: dict[str, Any] = {
    "zeros": "nothing",
    "constant": "nothing",
    "replicate": "replicate",
    "reflect": "reflect",
    "circular": "circular",
}


def _linear(case: _Case) -> Link:
    """A Linear is the convolution whose kernel is the map: its one cell is that convolution's cell 0."""
    if case.one.dim != len(case.entered) - 1:
        return case.link(case.one)
    return case.mixed()


def _adaptive(case: _Case) -> Link:
    place = case.axis_of_window(len(case.step.settings["output_size"]))
    return case.link(case.one) if place is None or place < 0 else _averaged(case)


def _averaged(case: _Case) -> Link:
    """Of n cells in m windows, window i reads from ⌊i·n/m⌋ up to ⌈(i + 1)·n/m⌉."""
    n, m = case.one.size, case.shape[cast(int, case.one.dim)]
    if n == 1:
        return case.link(replace(case.one, size=m), _spread(n, m))
    windows = [range(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
    sizes = {len(window) for window in windows}
    strides = {after.start - before.start for before, after in pairwise(windows)}
    track = replace(case.one, size=m)
    if len(sizes) == 1 and len(strides) <= 1 and 0 not in strides:
        return case.link(track, windowed(sizes.pop(), max(strides, default=1)))
    reason = f"{n} cells into {m} are windows of {_or(sizes)} cells, {_or(strides)} apart: they have no one jump"
    return case.link(track, Reading(partial(_listed, windows), reason=reason))


def _listed(windows: Sequence[range], cell: int) -> Iterable[int]:
    return windows[cell] if 0 <= cell < len(windows) else ()


def _or(numbers: Iterable[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))


# Resizing


def _interpolate(case: _Case) -> Link:
    settings, mode = case.step.settings, case.step.settings.get("mode", "nearest")
    place = case.axis_of_window(len(case.entered) - 2)
    if place is None or place < 0:
        return case.link(case.one)
    if settings.get("antialias"):
        raise GeometryError(
            "antialiased interpolation reads more cells the smaller it makes a map, and is not followed"
        )
    if mode == "area":
        return _averaged(case)
    n, m = case.one.size, case.shape[cast(int, case.one.dim)]
    if n == m or n == 1:  # copied, whatever factor was asked for
        return case.link(replace(case.one, size=m), _spread(n, m))
    step = _step_of_resizing(settings, place, n, m)
    return case.link(replace(case.one, size=m), _resized(mode, step, bool(settings.get("align_corners"))))


def _resized(mode: str, step: Fraction, corners: bool) -> Reading:
    if mode in ("nearest", "nearest-exact"):
        return copying(step, step / 2 if mode == "nearest-exact" else Fraction(0))
    shift = Fraction(0) if corners else (step - 1) / 2
    return replace(resizing(step, shift, 4 if mode == "bicubic" else 2), beyond="replicate")


def _step_of_resizing(settings: Any, place: int, n: int, m: int) -> Fraction:
    """Cells of the old map from a cell of the new one to the next, as torch counts them."""
    if settings.get("align_corners"):
        return Fraction(n - 1, m - 1) if m > 1 and n > 1 else Fraction(1)
    scale = settings.get("scale_factor")
    scale = scale[place] if isinstance(scale, Sequence) else scale
    if scale is None or settings.get("recompute_scale_factor"):
        return Fraction(n, m)
    return 1 / _simplest(float(scale))


def _simplest(number: float) -> Fraction:
    """The fraction with the smallest denominator that is this number to the last bit: 1/3, not 6004799503160661/2⁵⁴."""
    powers = (Fraction(number).limit_denominator(10**digits) for digits in range(1, 17))
    return next((fraction for fraction in powers if float(fraction) == number), Fraction(number))


def _pixel_shuffle(case: _Case) -> Link:
    place, r = case.axis_of_window(2), case.step.settings["factor"]
    if place is None:
        return case.link(case.one)
    if place < 0:
        raise GeometryError("it takes the channels of a flattened map apart")
    reading = transposing(r, r) if case.step.settings["up"] else windowed(r, r)
    return case.link(replace(case.one, size=case.shape[cast(int, case.one.dim)]), reading)


# Cutting and padding


def _pad(case: _Case) -> Link:
    pads, mode = case.step.settings["pads"], case.step.settings.get("mode", "constant")
    place = case.axis_of_window(len(pads))
    if place is None or place < 0:
        return case.link(case.one)
    reading = replace(cropping(-pads[place][0]), beyond=_BEYOND[mode])
    return case.link(replace(case.one, size=case.shape[cast(int, case.one.dim)]), reading)


def _slice(case: _Case) -> Link:
    if case.one.dim is None:
        return case.link(case.one)
    places = list(_indexed(case.step.settings["index"], len(case.entered)))
    dim, entry = next((place, entry) for old, place, entry in places if old == case.one.dim)
    if entry == slice(None):
        return case.link(replace(case.one, dim=dim))
    if case.one.folded:
        raise GeometryError("it cuts a flattened map, where cells of several axes stand in one row")
    if not isinstance(entry, slice):
        return case.link(Track(None, 1), cropping(int(entry) % case.one.size))
    start, _, step = entry.indices(case.one.size)
    return case.link(Track(dim, case.shape[dim]), cropping(start, step))


def _indexed(index: Sequence[Any], rank: int) -> Iterator[tuple[int, int, Any]]:
    """Each axis of a tensor, where it lies after indexing, and the entry that cuts it."""
    missing = rank - sum(entry is not None and entry is not ... for entry in index)
    full = [entry for entry in index if entry is not ...]
    at = next((i for i, entry in enumerate(index) if entry is ...), len(index))
    entries = [*full[:at], *[slice(None)] * missing, *full[at:]]
    old = new = 0
    for entry in entries:
        if entry is not None:
            yield old, new, entry
            old += 1
        new += entry is None or isinstance(entry, slice)


def _split(case: _Case) -> Link:
    """Parts along the one axis whose size is not the input's: part k begins where those before it end."""
    made = _shapes(case.step.output_shape)
    cut = [d for d in range(len(case.entered)) if case.shape[d] != case.entered[d]]
    if case.one.dim not in cut:
        return case.link(case.one)
    if case.one.folded or len(cut) > 1:
        raise GeometryError("it cuts a flattened map, where cells of several axes stand in one row")
    offset = sum(part[cut[0]] for part in made[: case.number])
    return case.link(Track(cut[0], case.shape[cut[0]]), cropping(offset))


# Meeting


def _broadcast(case: _Case) -> Link:
    rank = len(case.shape)
    moved = [
        track and _shifted(track, rank - len(s)) for track, s in zip(case.given, case.step.input_shapes, strict=True)
    ]
    track = _agreed(moved)
    size = track.size if track.dim is None or track.folded else case.shape[track.dim]
    return Link(replace(track, size=size), tuple(_spread(one.size, size) if one else None for one in moved))


def _spread(before: int, after: int) -> Reading:
    """One cell that is copied to, added to, or multiplied with every cell of a map."""
    return SAME if before == after else SPREAD


def _shifted(track: Track, by: int) -> Track:
    return track if track.dim is None else replace(track, dim=track.dim + by)


def _agreed(tracks: Iterable[Track | None]) -> Track:
    """The one place where an axis lies in all inputs that have it still; of a map and a single cell, the map's."""
    found = [track for track in tracks if track]
    places = {(track.dim, track.inner) for track in found if track.dim is not None and (track.size > 1)}
    if len(places) > 1:
        raise GeometryError("one axis of the image lies along different axes of what meets here")
    return max(found, key=lambda track: (track.size, track.dim is not None))


def _cat(case: _Case) -> Link:
    along = case.step.settings["dim"] % len(case.shape)
    track = _agreed(case.given)
    if track.dim != along:
        return Link(track, tuple(SAME if one else None for one in case.given))
    if track.folded:
        raise GeometryError("flattened maps are put one after the other, which is no place on an image")
    sizes = [shape[along] for shape in case.step.input_shapes]
    readings = (cropping(-sum(sizes[:i])) if one else None for i, one in enumerate(case.given))
    return Link(Track(along, case.shape[along]), tuple(readings))


def _stack(case: _Case) -> Link:
    along, track = case.step.settings["dim"] % len(case.shape), _agreed(case.given)
    moved = track if track.dim is None or track.dim < along else _shifted(track, 1)
    return Link(moved, tuple(SAME if one else None for one in case.given))


# Writing


def _written(case: _Case) -> Link:
    """y[index] = x: each cell that is written reads x, the others what was in y."""
    index, (base, *values), rank = case.step.settings.get("index"), case.given, len(case.shape)
    if index is None or len(values) > 1 or not all(entry is ... or isinstance(entry, slice) for entry in index):
        raise GeometryError("it writes to single cells, or to cells that other numbers name")
    entries = [entry for _, _, entry in _indexed(index, rank)]
    cells = [range(*entry.indices(n)) for entry, n in zip(entries, case.shape, strict=True)]
    parts = [dim for dim, n in enumerate(case.shape) if len(cells[dim]) < n]
    tracks = [
        track and _shifted(track, rank - len(s)) for track, s in zip(case.given, case.step.input_shapes, strict=True)
    ]
    along = _axis_written(tracks)
    if base and len(parts) > 1:
        raise GeometryError("it writes over a part of a map, and no axis alone tells which cells keep what they were")
    kept = Reading(partial(_outside, cells[along]), Fraction(1)) if parts in ([], [along]) else SAME
    brought = [_brought(track, cells[along]) if track else None for track in tracks[1:]]
    return Link(Track(along, case.shape[along]), (kept if base else None, *brought))


def _axis_written(tracks: Sequence[Track | None]) -> int:
    """The one axis of the tensor along which all lie."""
    dims = {track.dim for track in tracks if track}
    if len(dims) > 1 or None in dims or any(track.folded for track in tracks if track):
        raise GeometryError("it writes a map along another axis than it lay")
    return cast(int, dims.pop())


def _outside(cells: range, cell: int) -> Iterable[int]:
    return () if cell in cells else (cell,)


def _brought(value: Track, cells: range) -> Reading:
    """Cell j of what is written becomes the one that `cells` names."""
    if value.size != len(cells):
        raise GeometryError("it writes one cell to many")
    return transposing(1, cells.step, -cells.start)


# Axes that move


def _permute(case: _Case) -> Link:
    dim = case.one.dim
    return case.link(case.one if dim is None else replace(case.one, dim=case.step.settings["dims"].index(dim)))


def _reshape(case: _Case) -> Link:
    return case.link(_regrouped(case.one, case.entered, case.shape))


def _regrouped(track: Track, before: Shape, after: Shape) -> Track:
    """Row-major numbers in another shape: an axis is still one if as many numbers as before lie between its cells."""
    if track.dim is None:
        return track
    n, apart = track.size, math.prod(before[track.dim + 1 :]) * (track.inner or 1)
    steps = [math.prod(after[dim + 1 :]) for dim in range(len(after))]
    kept = [dim for dim, size in enumerate(after) if size == n and steps[dim] == apart]
    if kept:  # of several, all of size 1, the one that is as far from the end
        end = len(before) - track.dim
        return Track(min(kept, key=lambda dim: abs(len(after) - dim - end)), n)
    if n == 1:
        return Track(None, 1)
    for dim, (size, step) in enumerate(zip(after, steps, strict=True)):
        if apart % step == 0 and (size * step) % (n * apart) == 0:
            return Track(dim, n, apart // step)
    raise GeometryError(f"{tuple(before)} as {tuple(after)} divides an axis of the image")


def _reduce(case: _Case) -> Link:
    dims, keep, dim = case.step.settings["dims"], case.step.settings["keepdim"], case.one.dim
    if dim in dims:
        return case.mixed(dim if keep else None)
    gone = 0 if keep or dim is None else sum(other < dim for other in dims)
    return case.link(_shifted(case.one, -gone))


# Cells that stay


def _same(case: _Case) -> Link:
    kind, settings, track = case.step.kind.strip("_"), case.step.settings, case.one
    if track.dim is None or len(case.shape) != len(case.entered):
        return _reshape(case)
    if case.shape != case.entered:
        raise GeometryError(f"{tuple(case.entered)} became {tuple(case.shape)}: which cells it reads is not known")
    rank = len(case.shape)
    if kind in _MOVES and track.dim in _along(settings, rank):
        raise GeometryError(_MOVES[kind])
    if kind in _OVER_CHANNELS and track.dim == rank - _OVER_CHANNELS[kind](rank):
        raise GeometryError("it mixes channels, and an axis of the image lies where they are")
    return case.whole() if track.size > 1 and _mixes(settings, kind, track.dim, rank) else case.link(track)


def _along(settings: Mapping[str, Any], rank: int) -> Collection[int]:
    """The axes that a call works along; all if it names none."""
    return {dim % rank for dim in settings.get("dims", range(rank))}


def _mixes(settings: Mapping[str, Any], kind: str, dim: int, rank: int) -> bool:
    """True where each cell depends on all the others along the axis."""
    normalized = range(rank - len(settings.get("normalized_shape", ())), rank)
    softmax = settings.get("softmax_dim", -1 - rank)
    if softmax is None:
        softmax = 0 if rank in (0, 1, 3) else 1  # what torch takes where no axis is given
    along = kind == "normalize" and dim in _along(settings, rank)
    return bool(settings.get("over_map")) or dim in normalized or along or (softmax >= -rank and softmax % rank == dim)


_MOVES = {
    "flip": "it turns a map round, which no jump says",
    "roll": "it moves cells round the edge, which no jump says",
    "cumsum": "each cell is a sum of those before it",
    "cumprod": "each cell is a product of those before it",
}
# How far from the end the channels lie.
_OVER_CHANNELS: dict[str, Callable[[int], int]] = {
    **dict.fromkeys(("LocalResponseNorm", "local_response_norm", "CrossMapLRN2d"), lambda rank: rank - 1),
    **dict.fromkeys(("ChannelShuffle", "channel_shuffle"), lambda rank: rank - 1),
    "Softmax2d": lambda rank: 3,
}
_MADE_FROM_SHAPES = frozenset(
    (
        "zeros_like",
        "ones_like",
        "empty_like",
        "full_like",
        "rand_like",
        "randn_like",
        "new_zeros",
        "new_ones",
        "new_full",
    )
)


_BY_OPERATION: dict[str, Rule] = {
    "adaptive_pool": _adaptive,
    "avg_pool": _pool,
    "broadcast": _broadcast,
    "cat": _cat,
    "conv": _conv,
    "conv_transpose": _conv,
    "flatten": _reshape,
    "interpolate": _interpolate,
    "linear": _linear,
    "lp_pool": _pool,
    "max_pool": _pool,
    "pad": _pad,
    "permute": _permute,
    "pixel_shuffle": _pixel_shuffle,
    "reduce": _reduce,
    "reshape": _reshape,
    "same": _same,
    "slice": _slice,
    "stack": _stack,
}
_BY_KIND: dict[str, Rule] = {
    **dict.fromkeys(("chunk", "split", "split_with_sizes", "tensor_split"), _split),
    "setitem": _written,
    **dict.fromkeys(("squeeze", "unsqueeze", "unflatten", "Unflatten", "view_as", "reshape_as"), _reshape),
}


def _rule(step: Step) -> Rule:
    rule = _BY_OPERATION.get(step.operation or "") or _BY_KIND.get(step.kind)
    if rule is None:
        raise GeometryError(f"which cells {step.kind} reads is not known")
    return rule

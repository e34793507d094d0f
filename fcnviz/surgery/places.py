"""What each step of a network does to places: does a cell of its map depend on its own region of the image alone?

Convolutions, poolings and whatever treats numbers one by one do so at any size. Then a cell of the dense map is what
the classifier says of that window (where nothing pads). Three kinds of step break the rule:

    InstanceNorm, softmax over H and W, a gate      look at the whole map: other windows speak in each answer
    x / x.shape[2], linspace coordinates            compute with the image's size or with numbers of their own
    flip, roll, cumsum, transpose, cat along H      move places: the map is another one, not the classifier's

To tell `mean` over channels from `mean` over H and W, the axes of each tensor are followed through permute, view,
flatten and the like. What this file does not do: change anything; and of padding it takes no notice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from math import prod
from typing import Any, Literal, NamedTuple, TypeAlias

from torch import nn

from fcnviz.nested import leaves
from fcnviz.operations import words
from fcnviz.records import Shape, Source, Step, Trace
from fcnviz.twin import parts_of


class Atom(NamedTuple):
    """What an axis counts: "n" images, "c" channels, "h" rows, "w" columns of the map, "" anything else."""

    name: str
    size: int


Axis: TypeAlias = "tuple[Atom, ...]"  # several where axes have been flattened into one, the slowest first
Axes: TypeAlias = "tuple[Axis, ...]"

Effect = Literal["whole", "size", "own", "unknown", "moves"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A step that does more than look at each place's own region, and what it does."""

    step: Step
    effect: Effect
    why: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """The axes of every tensor of a trace (None where they got lost), and the steps that do something with places."""

    axes: Mapping[Source, Axes | None]
    findings: tuple[Finding, ...]
    turned: tuple[Step, ...]  # the steps that put the axes into another order

    def turned_before(self, index: int) -> Step | None:
        """The last of them before a step."""
        return next((step for step in reversed(self.turned) if step.index < index), None)


def followed(trace: Trace, statistics: Collection[str] = ()) -> Places:
    """Follows the axes of a traced network.

    Args:
        trace: of N×C×H×W images; H and W that differ tell more.
        statistics: paths of norms that take mean and variance from the map itself, also in eval mode.

    >>> from torch import nn
    >>> from fcnviz.trace import trace
    >>> found = followed(trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8)), (2, 3, 16, 24)))
    >>> [(f.step.name, f.effect) for f in found.findings]
    [('1', 'whole')]
    """
    return _Walk(trace, statistics).done()


def own_statistics(model: nn.Module) -> set[str]:
    """Paths of norms that take mean and variance from the map they are given, also in eval mode."""
    return {path for path, module in parts_of(model) if getattr(module, "running_mean", module) is None}


def called(step: Step) -> str:
    """A step's name, and its kind where the name does not say it: "fc (Linear)", "cat"."""
    return step.name if step.name.split("#")[0].split(".")[-1] == step.kind else f"{step.name} ({step.kind})"


def kind_of(step: Step) -> str:
    """The kind, whether or not a call works in place: "relu" for relu_."""
    return step.kind.removesuffix("_") if step.is_call else step.kind


def place_of(axis: Axis) -> str:
    """The places that an axis counts: "h", "w", both, or none.

    >>> place_of((Atom("h", 4), Atom("w", 6))), place_of((Atom("c", 3),))
    ('hw', '')
    """
    return "".join(atom.name for atom in axis if atom.name in ("h", "w") and atom.size > 1)


def order_of(axes: Axes) -> str:
    """The axes in words: "N, H, W, C".

    >>> order_of(((Atom("n", 2),), (Atom("h", 4), Atom("w", 6))))
    'N, H·W'
    """
    return ", ".join("·".join(atom.name.upper() or "?" for atom in axis) or "1" for axis in axes)


def _axis(name: str, size: int) -> Axis:
    return (Atom(name, size),)


def _plain(shape: Shape) -> Axes:
    return tuple(_axis(name, size) for name, size in zip("nchw", shape, strict=True))


# What steps do, by operation or by kind. A kind stands before its operation.

_ONE_BY_ONE = words(
    """
    ReLU ReLU6 LeakyReLU RReLU PReLU ELU SELU CELU GELU SiLU Mish Sigmoid Hardsigmoid Hardswish Hardtanh Tanh Softplus
    Softsign LogSigmoid Tanhshrink Hardshrink Softshrink Threshold Identity Softmax2d
    relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish sigmoid hardsigmoid hardswish hardtanh tanh softplus
    softsign logsigmoid tanhshrink hardshrink softshrink threshold
    Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout
    contiguous clone detach to float double half bfloat16 long int bool cpu cuda type type_as data
    abs neg exp log log1p expm1 sqrt rsqrt square sin cos sign floor ceil round clamp clip clamp_min clamp_max
    reciprocal erf nan_to_num masked_fill requires_grad isnan isinf logical_not bitwise_not positive negative
    zeros_like ones_like full_like empty_like
    batch_norm LocalResponseNorm local_response_norm CrossMapLRN2d ChannelShuffle channel_shuffle
    """
)
_BY_STATISTICS = words("BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d")
_OVER_THE_MAP = words("GroupNorm group_norm instance_norm")
_OVER_LAST = words("LayerNorm RMSNorm layer_norm rms_norm")
_SOFTMAX = words("Softmax LogSoftmax Softmin softmax log_softmax softmin")
_SUMMARIES = words(
    """
    max min std var std_mean var_mean norm vector_norm logsumexp median nanmedian nanmean nansum argmax argmin all any
    count_nonzero aminmax frobenius_norm linalg_norm linalg_vector_norm
    """
)
_MOVING = {
    **dict.fromkeys(("flip", "fliplr", "flipud"), "mirrors the map"),
    "rot90": "turns the map",
    "roll": "shifts the map, and what leaves on one side comes in on the other",
    "cumsum": "adds up along the map, so that each place counts all places before it",
    "cumprod": "multiplies along the map, so that each place counts all places before it",
}
_REGROUPING = words("flatten unflatten view reshape squeeze unsqueeze view_as reshape_as ravel Flatten Unflatten")
_CUTTING = words("chunk split tensor_split split_with_sizes")
_MIXING = words(
    """
    matmul bmm mm baddbmm addmm addbmm einsum scaled_dot_product_attention multi_head_attention_forward
    MultiheadAttention TransformerEncoderLayer TransformerDecoderLayer TransformerEncoder LSTM GRU RNN
    grid_sample affine_grid cdist sort topk cummax cummin logcumsumexp
    """
)


class _Step(NamedTuple):
    """A step with the axes of those of its inputs that depend on the image."""

    step: Step
    axes: list[Axes]
    shape: Shape  # its first output
    constants: list[Shape]

    @property
    def first(self) -> Axes:
        return self.axes[0]

    def sized(self, axes: Sequence[Axis], shape: Shape | None = None) -> Axes | None:
        """The axes with the sizes that came out; None where flattened ones have another size."""
        shape = shape or self.shape
        if len(axes) != len(shape):
            return None
        found = [_resized(axis, size) for axis, size in zip(axes, shape, strict=True)]
        return None if None in found else tuple(axis for axis in found if axis is not None)


def _resized(axis: Axis, size: int) -> Axis | None:
    if prod(atom.size for atom in axis) == size:
        return axis
    return _axis(axis[0].name if axis else "", size) if len(axis) <= 1 else None


@dataclass
class _Walk:
    trace: Trace
    statistics: Collection[str]
    axes: dict[Source, Axes | None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    turned: list[Step] = field(default_factory=list)

    def done(self) -> Places:
        for number, shape in enumerate(self.trace.input_shapes):
            self.axes[Source(-1, number)] = _plain(shape) if len(shape) == 4 else None
        for step in self.trace:
            self._follow(step)
        return Places(self.axes, tuple(self.findings), tuple(self.turned))

    def _follow(self, step: Step) -> None:
        known = [s for s in step.sources if s in self.axes]
        outputs = list(leaves(step.output_shape, Shape))
        if not known or not outputs:
            return  # numbers that no image has a part in
        axes = [found for s in known if (found := self.axes[s]) is not None]
        constants = [shape for shape, s in zip(step.input_shapes, step.sources, strict=True) if s not in self.axes]
        for number, shape in enumerate(outputs):
            made = self._made(_Step(step, axes, shape, constants), number) if axes else None
            self.axes[Source(step.index, number)] = made

    def _made(self, s: _Step, number: int) -> Axes | None:
        rule = _rule(s.step)
        if rule is None:
            return self._tell(s, "unknown") if self._has_places(s) else None
        made = rule(self, s)
        return made if made is None or len(made) == len(s.shape) else None

    def _has_places(self, s: _Step) -> bool:
        return any(place_of(axis) for axes in s.axes for axis in axes)

    def _tell(self, s: _Step, effect: Effect, why: str = "") -> Axes | None:
        """Notes the first thing about a step, and that it moves places; returned as its axes: they are lost."""
        last = self.findings[-1] if self.findings else None
        if last is None or last.step is not s.step or effect == "moves":
            self.findings.append(Finding(s.step, effect, why))
        return None

    # What treats each number, or each cell's own region

    def one_by_one(self, s: _Step) -> Axes | None:
        return self._joined(s, s.axes)

    def _joined(self, s: _Step, given: Sequence[Axes]) -> Axes | None:
        """The axes of tensors that meet cell by cell; axes are aligned at the last."""
        rank = len(s.shape)
        found: list[Axis] = []
        for axis in range(-rank, 0):
            there = [axes[axis] for axes in given if len(axes) >= -axis]
            placed = {place_of(one): one for one in there if place_of(one)}
            if len(placed) > 1:
                return self._tell(s, "moves", "it joins maps whose height and width lie on different axes")
            found.append(next(iter(placed.values()), there[0] if there else ()))
        self._bring(s, found)
        return s.sized(found)

    def _bring(self, s: _Step, axes: Sequence[Axis]) -> None:
        """Tells of numbers that differ from place to place and come from no image, coordinates for instance."""
        for shape in s.constants:
            pairs = zip(reversed(shape), reversed(axes), strict=False)
            if any(size > 1 and place_of(axis) for size, axis in pairs):
                self._tell(s, "own")

    def window(self, s: _Step) -> Axes | None:
        window, axes = s.step.window, s.first
        rank = len(window.kernel) if window else 0
        around = axes[-rank:]
        if not rank or len(axes) < rank + 1 or any(len(place_of(axis)) > 1 for axis in around):
            return self._tell(s, "unknown") if self._has_places(s) else None
        padded = window is not None and any(map(sum, window.pads))
        if padded and s.step.settings.get("padding_mode") == "circular" and any(map(place_of, around)):
            self._tell(s, "whole")
        before = axes[-rank - 1]
        if "conv" in (s.step.operation or ""):
            if place_of(before):
                return self._tell(s, "whole")
            before = _axis("c", s.shape[-rank - 1])
        return s.sized((*axes[: -rank - 1], before, *around))

    def linear(self, s: _Step) -> Axes | None:
        if place_of(s.first[-1]):
            return self._tell(s, "whole")
        return s.sized((*s.first[:-1], _axis("c", s.shape[-1])))

    def shuffle(self, s: _Step) -> Axes | None:
        *_, before, h, w = s.first
        if place_of(before) or len(place_of(h)) > 1 or len(place_of(w)) > 1:
            return self._tell(s, "unknown")
        return s.sized((*s.first[:-3], _axis("c", s.shape[-3]), h, w))

    def pad(self, s: _Step) -> Axes | None:
        sizes = zip(_shape_of(s.first), s.shape, strict=True)
        placed = any(place_of(axis) for axis, (n, size) in zip(s.first, sizes, strict=True) if n != size)
        if placed and s.step.settings.get("mode") == "circular":
            self._tell(s, "whole")
        return s.sized(s.first)

    def interpolate(self, s: _Step) -> Axes | None:
        rank = len(s.first) - 2
        around = [axis for axis in s.first[-rank:] if place_of(axis)]
        sizes = zip(_shape_of(s.first)[-rank:], s.shape[-rank:], strict=True)
        even = all(max(a, b) % min(a, b) == 0 for a, b in sizes)
        if around and (s.step.settings.get("align_corners") or not even):
            self._tell(s, "whole")
        return s.sized(s.first)

    # What looks along axes

    def _along(self, s: _Step, dims: Collection[int]) -> bool:
        return any(place_of(s.first[dim]) for dim in dims if -len(s.first) <= dim < len(s.first))

    def statistics_of(self, s: _Step) -> Axes | None:
        if s.step.path in self.statistics and self._along(s, range(2, len(s.first))):
            self._tell(s, "whole")
        return s.sized(s.first)

    def over_the_map(self, s: _Step) -> Axes | None:
        if self._along(s, range(2, len(s.first))):
            self._tell(s, "whole")
        return s.sized(s.first)

    def over_last(self, s: _Step) -> Axes | None:
        last = len(s.step.settings.get("normalized_shape", s.shape))
        if self._along(s, range(-last, 0)):
            self._tell(s, "whole")
        return s.sized(s.first)

    def softmax(self, s: _Step) -> Axes | None:
        dim = s.step.settings.get("softmax_dim")
        implicit = 0 if len(s.shape) in (0, 1, 3) else 1  # what torch takes where no axis is given
        if self._along(s, (implicit if dim is None else dim,)):
            self._tell(s, "whole")
        return s.sized(s.first)

    def normalize(self, s: _Step) -> Axes | None:
        if self._along(s, s.step.settings.get("dims", range(len(s.shape)))):
            self._tell(s, "whole")
        return self._joined(s, s.axes)

    def moving(self, s: _Step) -> Axes | None:
        if self._along(s, s.step.settings.get("dims", range(len(s.shape)))):
            self._tell(s, "moves", f"it {_MOVING[kind_of(s.step)]}")
        return s.sized(s.first)

    def reduce(self, s: _Step) -> Axes | None:
        dims = s.step.settings["dims"]
        if self._along(s, dims):
            self._tell(s, "whole")
        return s.sized(_without(s.first, dims, s.step.settings["keepdim"]))

    def adaptive_pool(self, s: _Step) -> Axes | None:
        rank = int(s.step.kind.lower().removesuffix("d")[-1])
        if self._along(s, range(-rank, 0)):
            self._tell(s, "whole")
        return (*s.first[:-rank], *(_axis("", size) for size in s.shape[-rank:]))

    def summary(self, s: _Step) -> Axes | None:
        """max, std, norm …: along which axes, only the shapes tell."""
        if len(s.axes) > 1:
            return self._joined(s, s.axes)  # torch.max(a, b)
        sizes = _shape_of(s.first)
        every = [(dims, keep) for dims in _subsets(len(sizes)) for keep in (True, False)]
        ways = [way for way in every if _sizes_without(sizes, *way) == tuple(s.shape)]
        looks = {self._along(s, dims) for dims, _ in ways}
        if looks != {False}:
            self._tell(s, "whole" if looks == {True} else "unknown")
        return s.sized(_without(s.first, *ways[0])) if ways else None

    def mixing(self, s: _Step) -> Axes | None:
        alone = len(s.axes) == 1 and kind_of(s.step) in ("matmul", "mm") and s.step.sources[0] in self.axes
        if alone and not place_of(s.first[-1]):
            return s.sized((*s.first[:-1], _axis("c", s.shape[-1])))  # a matrix times each place's channels
        effect: Effect = "unknown" if kind_of(s.step) == "einsum" and len(s.axes) == 1 else "whole"
        return self._tell(s, effect) if self._has_places(s) else None

    # What puts axes elsewhere

    def permute(self, s: _Step) -> Axes | None:
        found = tuple(s.first[dim] for dim in s.step.settings["dims"])
        if "".join(map(place_of, found)) != "".join(map(place_of, s.first)) or len(found) == 4:
            self.turned.append(s.step)
        return found

    def transposed(self, s: _Step) -> Axes | None:
        self.turned.append(s.step)
        return s.first[::-1] if s.step.kind in ("T", "t") else (*s.first[:-2], s.first[-1], s.first[-2])

    def regroup(self, s: _Step) -> Axes | None:
        found = _regrouped(s.first, s.shape)
        return found if found is not None else self._tell(s, "unknown") if self._has_places(s) else None

    def expand(self, s: _Step) -> Axes | None:
        found = _aligned(s.first, len(s.shape))
        return tuple(a if n == size else _axis("", size) for (a, n), size in zip(found, s.shape, strict=True))

    def repeat(self, s: _Step) -> Axes | None:
        found = _aligned(s.first, len(s.shape))
        if any(place_of(axis) and n != size for (axis, n), size in zip(found, s.shape, strict=True)):
            return self._tell(s, "moves", "it puts copies of the map side by side")
        return self.expand(s)

    def cat(self, s: _Step) -> Axes | None:
        dim = s.step.settings["dim"]
        if any(place_of(axes[dim]) for axes in s.axes if -len(axes) <= dim < len(axes)):
            return self._tell(s, "moves", "it puts maps side by side")
        return self._joined(s, s.axes)

    def stack(self, s: _Step) -> Axes | None:
        dim = s.step.settings["dim"] % len(s.shape)
        return self._joined(s, [(*axes[:dim], _axis("", s.shape[dim]), *axes[dim:]) for axes in s.axes])

    def cut(self, s: _Step) -> Axes | None:
        if len(s.shape) != len(s.first):
            return self._tell(s, "unknown")
        if any(
            place_of(axis) and n != size for axis, n, size in zip(s.first, _shape_of(s.first), s.shape, strict=True)
        ):
            return self._tell(s, "moves", "it cuts the map into parts")
        return s.sized(s.first)

    def slice(self, s: _Step) -> Axes | None:
        entries, left, found = _entries(s.step.settings["index"], len(s.first)), list(s.first), []
        for entry in entries:
            if entry is None:
                found.append(_axis("", 1))
                continue
            axis = left.pop(0)
            if place_of(axis):
                self._picked(s, entry, prod(atom.size for atom in axis))
            if isinstance(entry, slice):
                found.append(axis)
        return s.sized([*found, *left])

    def _picked(self, s: _Step, entry: Any, size: int) -> None:
        """x[:, :, 1:], [:-1] and [::2] shift, shorten and thin a map out; a fixed place is one window's alone."""
        if not isinstance(entry, slice) or (entry.start or 0) < 0:
            self._tell(s, "moves", "it takes one place of the map, wherever the window lies")
        elif entry.stop is not None and 0 <= entry.stop < size:
            self._tell(s, "unknown")


def _rule(step: Step) -> Callable[[_Walk, _Step], Axes | None] | None:
    return _BY_KIND.get(kind_of(step)) or _BY_OPERATION.get(step.operation or "")


_BY_KIND: dict[str, Callable[[_Walk, _Step], Axes | None]] = {
    **dict.fromkeys(_ONE_BY_ONE, _Walk.one_by_one),
    **dict.fromkeys(_BY_STATISTICS, _Walk.statistics_of),
    **dict.fromkeys(_OVER_THE_MAP, _Walk.over_the_map),
    **dict.fromkeys(_OVER_LAST, _Walk.over_last),
    **dict.fromkeys(_SOFTMAX, _Walk.softmax),
    **dict.fromkeys(_SUMMARIES, _Walk.summary),
    **dict.fromkeys(_MOVING, _Walk.moving),
    **dict.fromkeys(_REGROUPING, _Walk.regroup),
    **dict.fromkeys(_CUTTING, _Walk.cut),
    **dict.fromkeys(_MIXING, _Walk.mixing),
    **dict.fromkeys(("T", "t", "mT", "adjoint"), _Walk.transposed),
    **dict.fromkeys(("expand", "expand_as"), _Walk.expand),
    **dict.fromkeys(("repeat", "tile"), _Walk.repeat),
    "normalize": _Walk.normalize,
}
_BY_OPERATION: dict[str, Callable[[_Walk, _Step], Axes | None]] = {
    **dict.fromkeys(("conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool"), _Walk.window),
    "adaptive_pool": _Walk.adaptive_pool,
    "broadcast": _Walk.one_by_one,
    "cat": _Walk.cat,
    "interpolate": _Walk.interpolate,
    "linear": _Walk.linear,
    "pad": _Walk.pad,
    "permute": _Walk.permute,
    "pixel_shuffle": _Walk.shuffle,
    "reduce": _Walk.reduce,
    "slice": _Walk.slice,
    "stack": _Walk.stack,
}


# Axes and sizes


def _shape_of(axes: Axes) -> tuple[int, ...]:
    return tuple(prod(atom.size for atom in axis) for axis in axes)


def _aligned(axes: Axes, rank: int) -> list[tuple[Axis, int]]:
    """The axes and their sizes, with axes of size 1 before them up to this rank."""
    return [((), 1)] * (rank - len(axes)) + list(zip(axes, _shape_of(axes), strict=True))


def _subsets(rank: int) -> Iterator[tuple[int, ...]]:
    return chain.from_iterable(combinations(range(rank), n) for n in range(1, rank + 1))


def _without(axes: Axes, dims: Collection[int], keep: bool) -> Axes:
    found = [() if i in dims else axis for i, axis in enumerate(axes)]
    return tuple(axis for i, axis in enumerate(found) if keep or i not in dims)


def _sizes_without(sizes: Sequence[int], dims: Collection[int], keep: bool) -> tuple[int, ...]:
    return tuple(1 if i in dims else size for i, size in enumerate(sizes) if keep or i not in dims)


def _entries(index: Sequence[Any], rank: int) -> list[Any]:
    """An index with its dots written out."""
    index = list(index)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index[at : at + 1] = [slice(None)] * (rank - sum(entry is not None for entry in index) + 1)
    return index


def _regrouped(axes: Axes, shape: Shape) -> Axes | None:
    """The axes after a view: numbers stay in their order, so atoms are dealt out anew; rows and columns never split.

    >>> _regrouped(_plain(Shape((2, 8, 4, 6))), Shape((2, 8, 24)))[2]
    (Atom(name='h', size=4), Atom(name='w', size=6))
    """
    left = [atom for axis in axes for atom in axis if atom.size != 1]
    found = []
    for size in shape:
        axis: list[Atom] = []
        while size > 1 and left:
            atom = left.pop(0)
            if size % atom.size == 0:
                axis, size = [*axis, atom], size // atom.size
            elif atom.size % size == 0 and atom.name not in ("h", "w"):
                left.insert(0, atom._replace(size=atom.size // size))
                axis, size = [*axis, atom._replace(size=size)], 1
            else:
                return None
        if size != 1:
            return None
        found.append(tuple(axis))
    return None if left else tuple(found)

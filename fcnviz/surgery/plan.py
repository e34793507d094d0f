"""What has to change in a network so that it answers at every place of a larger image: read off its trace.

A classifier's map becomes one row of numbers somewhere: it is pooled, averaged or flattened. From there on the dense
network keeps a map, and this file follows what each step means for that map:

    flatten 512×7×7 → 25 088      nothing to do: the map stays a map
    Linear 25 088 → 4 096         a kernel of 512×7×7, and the map is 4 096×1×1 from here on
    Linear 4 096 → 1 000          a kernel of 4 096×1×1
    average over H and W, 7×7     the average of each 7×7 window

Not every map that is pooled becomes the answer: a squeeze-and-excitation gate is pooled, weighed and multiplied with
the map it came from. Such a *detour* ends in a map again, works at every size, and stays as it is; `windows` tells of
it, since it lets the whole map speak in each cell.

What this file does not do: change anything. Its plan is data, for `network` to carry out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import NoReturn, TypeAlias

from fcnviz.errors import SurgeryError
from fcnviz.nested import leaves
from fcnviz.operations import words
from fcnviz.records import Shape, Source, Step, Trace
from fcnviz.surgery.places import Places, called, followed, kind_of, order_of, place_of


@dataclass(frozen=True, slots=True)
class Drop:
    """The step only renumbers: it goes."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The step summarised the whole map, or blocks of it: now it does so for every window, with stride 1."""

    kind: str  # "avg" or "max"
    kernel: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Cast:
    """The step is a Linear after this C×h×w map: now it is a convolution."""

    shape: tuple[int, int, int]
    dilation: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Norm:
    """The step is a BatchNorm1d: now a BatchNorm2d with the same numbers."""


@dataclass(frozen=True, slots=True)
class Channels:
    """The step works along the last axis of a row of channels: now along axis 1 of the map."""


Edit: TypeAlias = "Drop | Pool | Cast | Norm | Channels"

_POINTWISE = words(
    """
    ReLU ReLU6 LeakyReLU RReLU ELU SELU CELU GELU SiLU Mish Sigmoid Hardsigmoid Hardswish Hardtanh Tanh Softplus
    Softsign LogSigmoid Tanhshrink Hardshrink Softshrink Threshold Identity
    relu relu6 leaky_relu rrelu elu selu celu gelu silu mish sigmoid hardsigmoid hardswish hardtanh tanh softplus
    softsign logsigmoid tanhshrink hardshrink softshrink threshold
    Dropout AlphaDropout dropout alpha_dropout
    contiguous clone detach to float double half bfloat16 type type_as
    abs neg exp log log1p sqrt rsqrt square clamp clip
    """
)
_RENUMBERING = words(
    "Flatten Unflatten flatten unflatten ravel view reshape squeeze unsqueeze view_as reshape_as getitem select"
)
_MOVING = words("permute transpose swapaxes swapdims movedim moveaxis T mT")
_SOFTMAX = words("Softmax LogSoftmax Softmin softmax log_softmax softmin")
_POOLED_BY = {"mean": "avg", "amax": "max"}
_MIXERS = words(
    "MultiheadAttention multi_head_attention_forward scaled_dot_product_attention TransformerEncoderLayer LSTM GRU RNN"
)


@dataclass(frozen=True, slots=True)
class _Row:
    """What a row of numbers is in the dense network: a map, of this shape at the size the classifier was made for.

    Attributes:
        shape: (C, h, w); the row holds its numbers in this order.
        dilation: which cells of the dense map the h×w ones are: every how-manyth.
        moved: the step after which the numbers lie in another order; None as long as they do not.
    """

    shape: tuple[int, int, int]
    dilation: tuple[int, int] = (1, 1)
    moved: Step | None = None

    def is_beside(self, other: _Row) -> bool:
        """True if both cover the same window of the image, as far as sizes tell."""
        mine, theirs = (self.shape[1:], self.dilation, self.moved), (other.shape[1:], other.dilation, other.moved)
        return mine == theirs

    @property
    def is_one_cell(self) -> bool:
        return self.shape[1:] == (1, 1)


def plan(trace: Trace) -> dict[int, Edit]:
    """The edits that make a traced classifier dense, by the index of the step.

    Raises:
        SurgeryError: a step for which no convolution exists, named, and why.

    >>> from fcnviz import models
    >>> from fcnviz.trace import trace
    >>> edits = plan(trace(models.vgg16(), (2, 3, 224, 224)))
    >>> list(edits.values())[:2]
    [Drop(), Cast(shape=(512, 7, 7), dilation=(1, 1))]
    """
    return _Plan(trace).made()


@dataclass
class _Plan:
    trace: Trace
    edits: dict[int, Edit] = field(default_factory=dict)
    rows: dict[Source, _Row] = field(default_factory=dict)
    aside: set[int] = field(default_factory=set)  # steps of detours
    consumed: set[Source] = field(default_factory=set)
    single: set[int] = field(default_factory=set)  # steps whose map is the one cell that pooling left
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        self.places = followed(self.trace)

    def made(self) -> dict[int, Edit]:
        heads = _heads(self.trace)
        for step in self.trace:
            self.consumed.update(source for source in step.sources if source is not None)
            known = [self.rows[s] for s in step.sources if s in self.rows]
            if self._is_aside(step, heads, known):
                self.aside.add(step.index)
            elif known:
                self._in_the_head(step, known)
            elif step.index in heads:
                self._collapse(step)
            else:
                self._check_pooled(step)
            if isinstance(self.edits.get(step.index), Pool) and next(_shapes(step))[2:] == (1, 1):
                self.single.add(step.index)
        self._check_ends()
        return self.edits

    def _is_aside(self, step: Step, heads: set[int], known: Sequence[_Row]) -> bool:
        """True for steps of a detour. It has ended where a map with more than one cell comes out."""
        if known or step.index in heads or _is_map(step.output_shape):
            return False
        collapses = _collapses(step)
        return collapses or any(s is not None and s.step in self.aside for s in step.sources)

    # Where a map ends.

    def _collapse(self, step: Step) -> None:
        shape = step.input_shapes[0]
        row = _Row(_sizes(shape))
        self._check_order(step)
        if step.operation == "adaptive_pool":
            self._adaptive(step, row)
        elif step.operation == "reduce":
            self._average(step, row)
        elif step.operation in ("avg_pool", "max_pool"):
            self.edits[step.index] = Pool(step.operation[:3], _pair(shape[2:]))
        else:
            self._in_the_head(step, [row])

    def _check_order(self, step: Step) -> None:
        """Refuses a map whose channels or rows are not where a kernel wants them."""
        axes = self.places.axes.get(step.sources[0]) if step.sources[0] is not None else None
        in_order = axes is None or (not place_of(axes[1]) and [*map(place_of, axes[2:])] != ["w", "h"])
        if axes is None or in_order:
            return
        turned = self.places.turned_before(step.index)
        since = f" since {called(turned)}" if turned is not None else ""
        self._refuse(step, f"its map is {order_of(axes)}{since}; a kernel wants N, C, H, W")

    def _check_pooled(self, step: Step) -> None:
        """Refuses what works with the neighbours of the one cell that pooling has left: there were none."""
        if not any(source is not None and source.step in self.single for source in step.sources):
            return
        self.single.add(step.index)
        window = step.window
        looks = window is not None and (set(window.kernel) != {1} or any(map(sum, window.pads)))
        if looks or step.operation in ("pad", "interpolate", "pixel_shuffle"):
            self._refuse(
                step, "it works around the one cell that pooling left; in a dense net there are others beside it"
            )

    def _adaptive(self, step: Step, row: _Row) -> None:
        if not isinstance(step.output_shape, Shape) or not step.kind.lower().endswith("2d"):
            self._refuse(step, "it returns more than one map")
        have, want = row.shape[1:], _pair(step.output_shape[2:])
        uneven = [(h, w) for h, w in zip(have, want, strict=True) if h % w]
        if uneven:
            self._refuse(step, "pooling {} → {} cells takes uneven windows, no pooling of one size".format(*uneven[0]))
        ratio = _pair(h // w for h, w in zip(have, want, strict=True))
        if ratio == (1, 1):
            self.edits[step.index] = Drop()
            return
        self.edits[step.index] = Pool("max" if "max" in step.kind.lower() else "avg", ratio)
        dilation = _pair(r if w > 1 else 1 for r, w in zip(ratio, want, strict=True))
        if dilation != (1, 1):
            self.rows[Source(step.index, 0)] = _Row((row.shape[0], *want), dilation)

    def _average(self, step: Step, row: _Row) -> None:
        dims, kind = set(step.settings["dims"]), _POOLED_BY.get(step.kind)
        channels, h, w = row.shape
        if kind is None or not isinstance(step.output_shape, Shape):
            self._refuse(step, f"no pooling does what {step.kind} does with a map")
        over = {
            (channels, h, w): {2: (h, 1), 3: (1, w)},
            (channels, h): {2: (h, 1)} if w == 1 else {},
            (channels, h * w): {2: (h, w)},
        }.get(tuple(step.input_shapes[0][1:]), {})
        if not dims or not dims <= set(over) or row.dilation != (1, 1):
            self._refuse(step, "it takes other axes than the map's height and width together")
        kernel = _pair(max(over[dim][axis] for dim in dims) for axis in (0, 1))
        self.edits[step.index] = Drop() if kernel == (1, 1) else Pool(kind, kernel)
        if len(step.output_shape) != 4:
            self.rows[Source(step.index, 0)] = _Row((channels, h // kernel[0], w // kernel[1]))

    # What follows it.

    def _in_the_head(self, step: Step, known: Sequence[_Row]) -> None:
        row = known[0]
        if not isinstance(step.output_shape, Shape):
            self._refuse(step, "it returns more than one tensor, or none")
        if any(not row.is_beside(other) for other in known):
            self._refuse(step, "it joins maps of different sizes, and no one kernel sees them all")
        if kind_of(step) in _MOVING and len(step.input_shapes) == 1:
            row = _Row(row.shape, row.dilation, step)
        elif row.moved is not None and kind_of(step) not in _RENUMBERING | _POINTWISE:
            self._refuse(step, f"its numbers lie in another order since {row.moved.name}, not as (channels, h, w)")
        elif len(known) != len(step.input_shapes) and step.operation == "linear":
            self._refuse(step, "its weight is computed from others: there is none whose memory could be shared")
        elif len(known) != len(step.input_shapes):
            self._refuse(step, "what comes in beside the map does not depend on a place in the image")
        elif kind_of(step) in _RENUMBERING:
            self._renumber(step)
        elif step.operation == "linear":
            row = self._linear(step, row)
        elif step.operation in ("reduce", "adaptive_pool"):
            self._average(step, row) if step.operation == "reduce" else self._refuse(step, "the map is pooled already")
            return
        elif not self._keeps(step, row):
            self._refuse(step, _why_not(step, row))
        elif step.operation == "cat":
            row = _Row((sum(shape[1] for shape in step.input_shapes), 1, 1), row.dilation)
        is_map_again = step.output_shape == (step.input_shapes[0][0], *row.shape)
        if not is_map_again or row.dilation != (1, 1) or row.moved is not None:
            self.rows[Source(step.index, 0)] = row

    def _renumber(self, step: Step) -> None:
        before, after = step.input_shapes[0], step.output_shape
        assert isinstance(after, Shape)
        if prod(before) != prod(after) or (step.kind == "getitem" and step.operation is None):
            self._refuse(step, "it takes only some of the numbers, or in another order")
        if not after or after[0] != before[0]:
            self._refuse(step, "it mixes the images of a batch")
        self.edits[step.index] = Drop()

    def _linear(self, step: Step, row: _Row) -> _Row:
        numbers = prod(row.shape)
        if tuple(step.input_shapes[0][1:]) != (numbers,):
            self._refuse(
                step, f"it takes rows of {step.input_shapes[0][-1]} numbers, not the flattened map of {numbers}"
            )
        self.edits[step.index] = Cast(row.shape, row.dilation)
        return _Row((int(step.settings["out_features"]), 1, 1))

    def _keeps(self, step: Step, row: _Row) -> bool:
        """True if the step can do the same on a map; notes what has to change for it to."""
        shape = step.input_shapes[0]
        is_map = tuple(shape[1:]) == row.shape
        is_row = row.is_one_cell and len(shape) == 2
        if kind_of(step) in _POINTWISE:
            return True
        if step.operation == "broadcast":
            return all(other == shape for other in step.input_shapes) and all(prod(w.shape) == 1 for w in step.weights)
        if kind_of(step) in ("PReLU", "prelu"):
            return is_map or is_row or prod(step.weights[0].shape) == 1
        if step.kind == "BatchNorm1d":
            return is_row and self._edit(step, Norm())
        if kind_of(step) in ("BatchNorm2d", "batch_norm"):
            return is_map or is_row
        if kind_of(step) in _SOFTMAX:
            last = step.settings["softmax_dim"] in (-1, None)
            return is_row and (not last or self._edit(step, Channels()))
        if step.operation == "cat":
            return is_row and step.settings["dim"] in (1, -1) and self._edit(step, Channels())
        return False

    def _edit(self, step: Step, edit: Edit) -> bool:
        self.edits[step.index] = edit
        return True

    def _check_ends(self) -> None:
        for source, row in self.rows.items():
            step = self.trace[source.step]
            if source not in self.consumed and not row.is_one_cell:
                self._refuse(step, "the network returns a whole map in one row: there is no Linear to cast")
            if source not in self.consumed and row.moved is not None:
                self._refuse(step, f"the network returns what {row.moved.name} has put into another order")

    def _refuse(self, step: Step, why: str) -> NoReturn:
        later = (s for s in self.trace[step.index :] if s.kind in _MIXERS)
        mixer = next(later, None)
        if mixer is not None:
            step, why = mixer, "every place of the image takes part in every answer"
        raise SurgeryError(f"{self.trace.model} cannot be cast: {called(step)}: {why}")


def _why_not(step: Step, row: _Row) -> str:
    numbers = "·".join(map(str, row.shape))
    if step.operation == "cat" and not row.is_one_cell:
        return "it joins flattened maps; maps of one size can be joined before they are flattened, torch.cat(maps, 1)"
    if step.operation == "same" and not row.is_one_cell:
        return f"it treats the {numbers} numbers of the flattened map one by one, a convolution all places alike"
    if row.dilation != (1, 1):
        apart = "×".join(map(str, row.dilation))
        return (
            f"the cells it works on lie {apart} apart in the dense net, since they are pooled; only a Linear can follow"
        )
    return (
        "fcnviz knows no step that does the same at every place of a map; after flattening or pooling it casts Linear, "
        "ReLU and its like, Dropout, BatchNorm1d, and softmax over the channels"
    )


# Which steps take a map to the answer, and which only make a detour.


def _heads(trace: Trace) -> set[int]:
    """The steps that collapse a map which is not made whole again: the way from there on leads to the answer."""
    above = _ancestors(trace)
    heads = {step.index for step in trace if _collapses(step)}
    for index in sorted(heads):
        bit = 1 << index
        after = [s for s in trace[index + 1 :] if above[s.index] & bit]
        others = sum(1 << i for i in heads)
        if any(_is_whole_again(step, trace, above, bit, others) for step in after):
            heads.discard(index)
    return heads


def _ancestors(trace: Trace) -> list[int]:
    """For each step the steps it depends on, as the bits of a number."""
    above: list[int] = []
    for step in trace:
        bits = 0
        for source in step.sources:
            if source is not None and source.step >= 0:
                bits |= above[source.step] | 1 << source.step
        above.append(bits)
    return above


def _is_whole_again(step: Step, trace: Trace, above: Sequence[int], origin: int, heads: int) -> bool:
    """True where something collapsed meets a map that never was, or becomes a map of several cells by itself."""
    for shape, source in zip(step.input_shapes, step.sources, strict=True):
        if source is None or len(shape) != 4:
            continue
        lineage = 0 if source.step < 0 else above[source.step] | 1 << source.step
        if not lineage & origin and not lineage & heads:
            return True
    return _is_map(step.output_shape) and not any(len(shape) == 4 for shape in step.input_shapes)


def _collapses(step: Step) -> bool:
    if not step.input_shapes or len(step.input_shapes[0]) != 4:
        return False
    outputs = list(_shapes(step))
    if step.operation == "adaptive_pool" or not all(len(shape) == 4 for shape in outputs):
        return True
    if step.operation == "reduce":
        return bool({2, 3} & set(step.settings["dims"]))
    return step.is_call and step.operation in ("avg_pool", "max_pool") and _covers(step)


def _covers(step: Step) -> bool:
    """True for one window over a whole map: the size of the window may have been taken from the map."""
    window, cells = step.window, step.input_shapes[0][2:]
    if window is None or any(map(sum, window.pads)):
        return False
    return tuple(window.kernel) == tuple(cells) and prod(cells) > 1


def _is_map(output: object) -> bool:
    return any(len(shape) == 4 and prod(shape[2:]) > 1 for shape in leaves(output, Shape))


def _shapes(step: Step) -> Iterator[Shape]:
    return leaves(step.output_shape, Shape)


def _sizes(shape: Shape) -> tuple[int, int, int]:
    channels, height, width = shape[1:]
    return channels, height, width


def _pair(sizes: Iterable[int]) -> tuple[int, int]:
    height, width = sizes
    return height, width

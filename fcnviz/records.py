"""The facts that travel between rooms: frozen, plain, printable. No torch, no formatting, no decisions.

Sizes are in cells, shapes are batch first, and a shape is always a `Shape`, so that a tuple of two
shapes (what an LSTM returns) can be told from one shape with two axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, overload

if TYPE_CHECKING:
    from fcnviz.diagnosis import Diagnosis


class Shape(tuple[int, ...]):
    """The shape of one tensor, equal to the plain tuple of its sizes.

    >>> Shape((1, 512, 7, 7)) == (1, 512, 7, 7)
    True
    """

    __slots__ = ()


# What a step returns: one shape, None, or tuples and dicts of them, nested as the forward nests them.
Output: TypeAlias = "Shape | tuple[Output, ...] | dict[str, Output] | None"

# What a step does to sizes, whoever did it: `nn.Conv2d` and `F.conv2d` are both "conv".
# "same" leaves the shape as it was; None is an operation fcnviz knows nothing about.
Operation = Literal[
    "adaptive_pool",
    "avg_pool",
    "broadcast",
    "cat",
    "conv",
    "conv_transpose",
    "flatten",
    "fold",
    "interpolate",
    "linear",
    "lp_pool",
    "max_pool",
    "pad",
    "permute",
    "pixel_shuffle",
    "reduce",
    "reshape",
    "same",
    "slice",
    "stack",
    "unfold",
]


@dataclass(frozen=True, slots=True)
class Window:
    """Kernel, stride, padding and dilation of a step, one number for each spatial axis.

    `padding` is what was asked for: numbers, or torch's words "same" and "valid". `pads` is the same in
    cells before and after each axis ("same" with an even kernel puts the odd cell after).

    >>> Window(kernel=(4,), stride=(1,), padding="same", dilation=(1,)).pads
    ((1, 2),)
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    ceil: bool = False
    groups: int = 1
    output_padding: tuple[int, ...] = ()

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        if self.padding == "valid":
            return tuple((0, 0) for _ in self.kernel)
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
            return tuple((total // 2, total - total // 2) for total in totals)
        return tuple((int(p), int(p)) for p in self.padding)


class Weight(NamedTuple):
    """A parameter or buffer that a step uses: its name in the layer and its shape."""

    name: str
    shape: Shape


class Source(NamedTuple):
    """Where an input of a step comes from: output number `output` of step `step`.

    `step` is -1 for the inputs of the network itself.
    """

    step: int
    output: int


@dataclass(frozen=True, slots=True)
class Step:
    """One traced operation: a leaf module, or a call that a forward made between modules.

    Attributes:
        index: place in the trace, from 0.
        name: unique in its trace: the module's dotted path (`features.0`), or the path of the forward that
            made the call and the function (`layer1.0.add`); a repeated one ends in `#2`, `#3`, ….
        path: dotted path of the module that ran (for a call: of the module whose forward made it; "" is the model).
        kind: class or function name as in torch: `Conv2d`, `flatten`, `add`.
        operation: what it does to sizes, module or call alike; None when fcnviz does not know.
        input_shapes: the shapes of all tensors that came in; weights are not among them.
        output_shape: a `Shape`, None, or tuples and dicts of them; None for a step that failed.
        sources: for each input shape, the step that made it; None for a tensor made outside every step.
        weights: parameters and buffers used, by name and shape.
        params: number of parameters; one that an earlier step has used already is not counted again.
        macs: multiply-adds of this one call, as `torch.utils.flop_counter` counts them.
        window: kernel, stride, padding, dilation, ceil, groups; None where there is none.
        settings: the other arguments that decide sizes, as plain values (`in_features`, `dim`, `output_size`, …).
        is_call: True for a functional call, False for a module.
    """

    index: int
    name: str
    path: str
    kind: str
    operation: Operation | None
    input_shapes: tuple[Shape, ...]
    output_shape: Output
    sources: tuple[Source | None, ...] = ()
    weights: tuple[Weight, ...] = ()
    params: int = 0
    macs: int = 0
    window: Window | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_call: bool = False


@dataclass(frozen=True)
class Failure:
    """Why a forward stopped.

    Attributes:
        step: the step that failed, with its input shapes; it is also the last step of the trace.
        message: what PyTorch says on real CPU tensors.
        where: file, line and text of the caller's code that made the failing call; "" if all of it is torch's.
        cause: the exception that says it: raised by the failing operation on CPU tensors, or by the forward itself.
        before: the steps that ran.
    """

    step: Step
    message: str
    where: str
    cause: BaseException = field(compare=False)
    before: tuple[Step, ...] = field(repr=False)

    @property
    def explanation(self) -> str:
        """The message in a student's words, with the numbers decoded."""
        return self._diagnosis.explanation

    @property
    def remedies(self) -> tuple[str, ...]:
        """Ways out, the likeliest first."""
        return self._diagnosis.remedies

    def _repr_html_(self) -> str:
        from fcnviz import table

        return table.failure_html(self)

    @cached_property
    def _diagnosis(self) -> Diagnosis:
        from fcnviz.diagnosis import diagnose  # asked for only when somebody reads it

        return diagnose(self.before, self.step, self.message)


class HasName(Protocol):
    """Anything that is found by its name."""

    @property
    def name(self) -> str: ...


Named = TypeVar("Named", bound=HasName)


class ByName(Sequence[Named]):
    """The `steps` of a record as a sequence: by place, by name, or a slice of them."""

    steps: tuple[Named, ...]

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, key: int | str) -> Named: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Named, ...]: ...
    def __getitem__(self, key: int | str | slice) -> Named | tuple[Named, ...]:
        if not isinstance(key, str):
            return self.steps[key]
        for step in self.steps:
            if step.name == key:
                return step
        raise KeyError(f"no step is named {key!r}; there are {', '.join(s.name for s in self.steps)}")

    def __iter__(self) -> Iterator[Named]:
        return iter(self.steps)


@dataclass(frozen=True)
class Trace(ByName[Step]):
    """One forward pass as a sequence of steps, up to and including one that failed.

    `trace[3]`, `trace["features.0"]` and `trace[:5]` give a step, a step by name, and a tuple of steps.

    Attributes:
        model: class name of the traced model.
        steps: every step in the order in which it ran.
        input_shapes: the shapes of the network's inputs.
        output_shape: what the network returned; None if it failed.
        failure: None, or why the forward stopped.
        method: how the shapes were obtained: "meta" (no numbers), "fake" (no numbers, kept constants), "real".
        mode: "eval", or "as is" when every module ran in the mode it was in.
    """

    model: str
    steps: tuple[Step, ...]
    input_shapes: tuple[Shape, ...]
    output_shape: Output
    failure: Failure | None
    method: Literal["meta", "fake", "real"]
    mode: Literal["eval", "as is"]

    @property
    def params(self) -> int:
        """Number of parameters in the steps that ran, shared ones counted once."""
        return sum(step.params for step in self.steps)

    @property
    def macs(self) -> int:
        """Multiply-adds of all steps."""
        return sum(step.macs for step in self.steps)

    def __str__(self) -> str:
        from fcnviz import table  # a record knows that a table exists, never how one looks

        return table.text(self)

    def _repr_html_(self) -> str:
        from fcnviz import table

        return table.html(self)

"""What every reading gets, a `Scene`, and what it gives, a `Diagnosis`: the failed step, and the way back from it.

The way back follows `Step.sources`, from a step to the one that made its input. What came of it in sizes is for
`images`; what it is called is for `words`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from fcnviz.arithmetic import count
from fcnviz.diagnosis.words import one_line, who
from fcnviz.records import Shape, Source, Step

WINDOWS = ("conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What happened in one line, and the ways out, the likeliest first."""

    explanation: str
    remedies: tuple[str, ...]


def told(explanation: str, *ways: str) -> Diagnosis:
    """A Diagnosis in which every text is one line; a way that is "" does not apply and is left out."""
    return Diagnosis(one_line(explanation), tuple(one_line(way) for way in ways if way))


@dataclass(frozen=True, slots=True)
class Scene:
    """The failed step, the steps before it, and what torch said."""

    steps: tuple[Step, ...]
    failed: Step
    message: str

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return self.failed.input_shapes

    @property
    def shape(self) -> Shape:
        return self.shapes[0] if self.shapes else Shape()

    @property
    def who(self) -> str:
        return who(self.failed)

    @property
    def rank(self) -> int | None:
        """How many spatial axes the failed step works on, from its window or the digit in its name (`BatchNorm2d`)."""
        if self.failed.window is not None:
            return len(self.failed.window.kernel)
        digit = re.search(r"([123])d$", self.failed.kind)
        return int(digit[1]) if digit else None

    def weight(self, name: str) -> Shape | None:
        """The shape of a parameter or buffer of the failed step; a call's are named by their whole path."""
        weights = self.failed.weights
        return next((weight.shape for weight in weights if weight.name.split(".")[-1].startswith(name)), None)

    def maker(self, step: Step, position: int = 0) -> Step | None:
        """The step that made input number `position` of `step`; None for an input of the network or a stray tensor."""
        source = source_of(step, position)
        if source is None or not 0 <= source.step < min(step.index, len(self.steps)):
            return None
        return self.steps[source.step]

    def line(self, step: Step, position: int = 0) -> Iterator[Step]:
        """Makers all the way back, each the maker of the first input of the one before; the nearest first."""
        maker = self.maker(step, position)
        while maker is not None:
            yield maker
            maker = self.maker(maker)

    @property
    def origin(self) -> Step | None:
        """The nearest step before the failed one that made its sizes: ReLU, Dropout and the like are passed over."""
        step = None
        for step in self.line(self.failed):
            if step.operation != "same":
                break
        return step

    @property
    def flattening(self) -> Step | None:
        """The flatten or reshape whose result reached the failed step, if nothing but "same" steps lie between."""
        step = self.origin
        flat = step is not None and step.operation in ("flatten", "reshape") and bool(step.input_shapes)
        return step if flat else None

    def is_map(self, step: Step) -> bool:
        """Whether a convolution or pooling made what `step` got: then its axes are channels, height, width."""
        return any(maker.operation in (*WINDOWS, "adaptive_pool") for maker in self.line(step))


def source_of(step: Step, position: int) -> Source | None:
    """Where input number `position` of `step` came from; None if that is not known."""
    return step.sources[position] if position < len(step.sources) else None


def to_make(maker: Step | None, operations: tuple[str, ...], argument: str, wanted: int) -> str:
    """The way out that lets the step before make what is wanted; "" if it is none of `operations`."""
    if maker is None or maker.operation not in operations:
        return ""
    return f"let {who(maker)} make {count(wanted)}: `{argument}={wanted}`"


Reading: TypeAlias = Callable[[Scene], "Diagnosis | None"]

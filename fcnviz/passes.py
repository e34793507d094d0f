"""A forward pass on named sizes, as data: its steps with trees in place of sizes, and what it relied on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from fcnviz.expressions import Tree
from fcnviz.nested import mapped
from fcnviz.recorder import Operation
from fcnviz.records import Output, Step, Window
from fcnviz.twin import stand_in


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition that a pass relied on, and the index of the step that was running; −1 while inputs were made."""

    condition: Tree
    step: int


@dataclass(frozen=True, slots=True)
class TensorForm:
    """A tensor of a symbolic pass, to be made at any size: its shape and strides as trees, its number type."""

    shape: tuple[Tree, ...]
    stride: tuple[Tree, ...]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class SizeForm:
    """A size among the arguments of an operation."""

    tree: Tree


class Forms(dict[str, Any]):
    """Settings of a step with `SizeForm`s among them."""


class WindowForm(Window):
    """A window with `SizeForm`s among its numbers."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Pass:
    """A forward pass on named sizes.

    Attributes:
        steps: as `trace` gives them, with trees in place of sizes; the last one is the one that broke, if one did.
        output: likewise.
        guards: the conditions under which another size takes the same pass, in the order they arose.
        broken: the operation that raised, its tensors as `TensorForm`s; None if nothing did.
        error: what was raised.
    """

    steps: tuple[Step, ...]
    output: Output
    guards: tuple[Guard, ...]
    broken: Operation | None
    error: BaseException | None


def at_size(operation: Operation, evaluate: Callable[[Tree], Any]) -> Operation:
    """An operation of a pass with stand-ins for its tensors, at the sizes that `evaluate` puts into trees."""

    def made(form: Any) -> Any:
        if isinstance(form, SizeForm):
            return evaluate(form.tree)
        shape, stride = ([evaluate(t) for t in trees] for trees in (form.shape, form.stride))
        return stand_in(torch.empty_strided(shape, stride, dtype=form.dtype, device="meta"))

    args, kwargs = (mapped(value, made, TensorForm, SizeForm) for value in (operation.args, operation.kwargs))
    return replace(operation, args=args, kwargs=kwargs)

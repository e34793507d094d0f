"""What the caller handed to `trace`, read and checked before anything runs.

A tuple of sizes is a shape; a tensor is a tensor; whatever else forward takes is passed on. What cannot be
an input of any network is refused here, with a sentence that says how to ask.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fcnviz.batches import mixed
from fcnviz.errors import InputError
from fcnviz.nested import leaves, mapped
from fcnviz.records import Shape, Step, Trace
from fcnviz.twin import walk

_WINDOWED = frozenset(("conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool", "adaptive_pool"))


@dataclass(frozen=True, slots=True)
class Asked:
    """The inputs of one forward, with a `Shape` where no numbers are wanted.

    Attributes:
        args, kwargs: as forward takes them.
        dtype: number type of the inputs given as shapes: that of the model's weights.
        is_free: True if shapes are enough: at least one input is a shape or a tensor without numbers.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    dtype: torch.dtype
    is_free: bool

    def made(self, make: Callable[[Shape | Tensor, torch.dtype], Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of forward, with `make(shape or tensor, number type)` in every place of a tensor."""

        def tensor(leaf: Shape | Tensor) -> Tensor:
            return make(leaf, leaf.dtype if isinstance(leaf, Tensor) else self.dtype)

        return mapped(self.args, tensor, Shape, Tensor), mapped(self.kwargs, tensor, Shape, Tensor)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of all inputs, in order."""
        found = leaves((self.args, self.kwargs), Shape, Tensor)
        return tuple(leaf if isinstance(leaf, Shape) else Shape(leaf.shape) for leaf in found)


def read(model: object, inputs: tuple[Any, ...], kwargs: Mapping[str, Any], named: bool = False) -> Asked:
    """The inputs as `Asked`; with `named`, a size may be a name such as "H".

    Raises:
        InputError: `model` is no module, there is no input, or one of them is neither shape nor tensor.
    """
    if not isinstance(model, nn.Module):
        raise InputError(_no_module(model))
    args = tuple(_read(value, named) for value in inputs)
    by_name = {k: _read(value, named) if _is_image_shape(value) else value for k, value in kwargs.items()}
    found = list(leaves((args, by_name), Shape, Tensor))
    if not found:
        raise InputError(f"{type(model).__name__} was given no input: add a shape such as (1, 3, 224, 224)")
    is_free = any(isinstance(leaf, Shape) or leaf.is_meta for leaf in found)
    if not is_free and any(t.is_meta for t in _tensors_of(model)):
        raise InputError(
            f"{type(model).__name__} is on the meta device: its weights have no numbers, so a real tensor cannot run "
            f"through it; give the shape {tuple(found[0].shape)} instead, or build the model with real weights"
        )
    return Asked(args, by_name, _dtype(model), is_free)


def _no_module(model: object) -> str:
    if isinstance(model, type) and issubclass(model, nn.Module):
        return f"trace needs a network, and {model.__name__} is a class: make one first, {model.__name__}(…)"
    return f"trace needs a torch.nn.Module first and its inputs after it, and was given {_shown(model)}"


def _dtype(model: nn.Module) -> torch.dtype:
    for tensor in _tensors_of(model):
        if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
            return tensor.dtype
    return torch.get_default_dtype()


def _tensors_of(model: nn.Module) -> Iterator[Tensor]:
    for _, module in walk(model):
        yield from (t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None)


def _is_shape_like(value: Any, kinds: tuple[type, ...] = (tuple, list)) -> bool:
    """A plain tuple or list of single things, as opposed to one that holds tensors or further tuples."""
    if not isinstance(value, tuple | list) or not isinstance(value, kinds) or hasattr(value, "_fields"):
        return False
    return not any(isinstance(v, Tensor | tuple | list | Mapping) or v is None for v in value)


def _is_image_shape(value: Any) -> bool:
    """A keyword's tuple of three or more sizes; shorter ones are mostly a size or axes that forward asks for."""
    if not _is_shape_like(value, (tuple,)) or len(value) < 3:
        return False
    return all(isinstance(v, str) or (hasattr(v, "__index__") and v > 0) for v in value)


def _read(value: Any, named: bool) -> Any:
    if isinstance(value, Tensor) or value is None:
        return value
    if _is_shape_like(value):
        return _shape(value, named)
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_read(v, named) for v in value)
    if isinstance(value, Mapping):
        return {key: _read(v, named) for key, v in value.items()}
    if isinstance(value, bool | int | float | str | bytes) or hasattr(value, "__array_interface__"):
        raise InputError(
            f"{_shown(value)} is neither a shape such as (1, 3, 224, 224) nor a torch tensor{_hint(value)}"
        )
    return value


def _hint(value: Any) -> str:
    return "; torch.from_numpy(…) makes one of it" if hasattr(value, "__array_interface__") else ""


def _shape(sizes: tuple[Any, ...] | list[Any], named: bool) -> Shape:
    if not sizes:
        raise InputError("() is no shape of an input: name its sizes, batch first, such as (1, 3, 224, 224)")
    for axis, size in enumerate(sizes):
        if named and isinstance(size, str):
            if not size.isidentifier():
                raise InputError(f"{size!r} cannot name a size: a name is one word, such as 'H'")
            continue
        if isinstance(size, bool) or not hasattr(size, "__index__") or operator.index(size) < 1:
            raise InputError(
                f"{tuple(sizes)} is no shape: axis {axis} is {size!r}, and a size is a whole number from 1 up"
            )
    checked: list[Any] = [size if isinstance(size, str) else operator.index(size) for size in sizes]
    return Shape(checked)


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '…'}"


def check_arguments(model: nn.Module, asked: Asked) -> None:
    """Refuses more or fewer inputs than forward takes.

    Raises:
        InputError: with the names that forward has for its inputs.
    """
    try:
        inspect.signature(model.forward).bind(*asked.args, **asked.kwargs)
    except TypeError as error:
        takes = ", ".join(inspect.signature(model.forward).parameters)
        given = len(asked.args) + len(asked.kwargs)
        name = type(model).__name__
        raise InputError(f"{name}.forward takes ({takes}) and was given {given}: {error}") from None


def check_batch(step: Step) -> None:
    """Refuses an image without batch axis, before the layer that would read it runs.

    torch runs some layers on an image without a batch, but the layers after it then take its channels for
    images; a trace of that would teach nonsense.

    Raises:
        InputError: with the shape that would do.
    """
    if _reads_images(step) and len(step.input_shapes[0]) == _rank(step) + 1:
        shape = step.input_shapes[0]
        raise InputError(
            f"{tuple(shape)} has no batch axis, and {_called(step)} reads batches: "
            f"give {(1, *shape)}, or x.unsqueeze(0) for a tensor x"
        )


def check_channels(trace: Trace) -> None:
    """Refuses an image with channels that the first layer does not take, and a list of images: torch has stopped there.

    Raises:
        InputError: with the shape that would do, or what to do with images of different sizes.
    """
    if trace.failure is not None and _reads_images(trace.failure.step):
        _check_one(trace.failure.step)
        _check_channels(trace.failure.step)


def _reads_images(step: Step) -> bool:
    """True for a layer with a window over height and width that reads an input of the network."""
    first = step.sources[0] if step.sources else None
    return first is not None and first.step == -1 and step.operation in _WINDOWED and _rank(step) > 1


def _rank(step: Step) -> int:
    return len(step.window.kernel) if step.window else len(step.settings["output_size"])


def _check_one(step: Step) -> None:
    shapes = step.input_shapes
    if step.is_call or len(shapes) < 2 or _rank(step) != 2 or any(len(shape) not in (3, 4) for shape in shapes):
        return
    sizes = [(shape[-2], shape[-1]) for shape in shapes]
    if len(set(sizes)) > 1:
        raise InputError(mixed(sizes))
    raise InputError(f"{_called(step)} takes one tensor, and was given a list of {len(shapes)}: torch.stack makes one")


def _check_channels(step: Step) -> None:
    shape, wanted, rank = step.input_shapes[0], step.settings.get("in_channels"), _rank(step)
    if wanted is None or len(shape) != rank + 2 or shape[1] == wanted:
        return
    right = (shape[0], wanted, *shape[2:])
    if shape[-1] == wanted:
        right = (shape[0], wanted, *shape[1:-1])
    last = "has its channels last; torch wants them second"
    why = last if shape[-1] == wanted else f"has {_channels(shape[1])}"
    raise InputError(f"{tuple(shape)} {why}, and {_called(step)} takes {_channels(wanted)}: give {right}")


def _channels(number: int) -> str:
    return f"{number} channel" if number == 1 else f"{number} channels"


def _called(step: Step) -> str:
    return f"{step.kind} {step.name}" if step.name != step.kind else step.kind

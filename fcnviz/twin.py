"""A twin of a model: the same modules and settings, every tensor replaced by an image of it.

The twin is what runs, so the model never does: no flag, statistic, hook or weight of it can change, and
there is nothing to restore. With images on the meta device no number is stored at all.

It is what `copy.deepcopy` would give, made faster (modules are copied field by field) and kinder (what
cannot be copied, a lock or an open file, is shared). It does not use `torch.func.functional_call`, which
can leave the images in the caller's model.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from types import CellType, FunctionType, MethodType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from torch.overrides import TorchFunctionMode

Image: TypeAlias = Callable[[Tensor], Tensor]
Parts: TypeAlias = list[tuple[str, nn.Module]]  # every module under its path, the model itself first

_ATOM_TYPES = frozenset(
    (int, float, bool, str, bytes, complex, type(None), type, torch.Size, torch.dtype, torch.device)
)
_CONTAINERS = frozenset((dict, OrderedDict, set, list))


def twin(parts: Parts, image: Image, keep_mode: bool = False) -> Parts:
    """The parts of a model with `image(t)` in place of each tensor t; in eval mode unless `keep_mode`.

    A tensor or module that stands in two places of the model stands in the same two places of the twin.

    >>> net = nn.Linear(2, 3)
    >>> (path, copied), *_ = twin(parts_of(net), on_meta)
    >>> copied.weight.device, net.weight.device
    (device(type='meta'), device(type='cpu'))
    """
    memo: dict[int, Any] = {id(m): ScriptLayer(m) if is_script(m) else object.__new__(type(m)) for _, m in parts}
    images = _Images(image, memo)
    for _, original in parts:
        if is_script(original):
            continue
        fields = images.fields_of(original)
        if not keep_mode:
            fields["training"] = False
        memo[id(original)].__dict__.update(fields)
        cls: Any = type(original)
        for name in _slots(cls):
            if hasattr(original, name):
                object.__setattr__(memo[id(original)], name, images.copied(getattr(original, name)))
    return [(path, memo[id(m)]) for path, m in parts]


@cache
def _slots(cls: Any) -> list[str]:
    """Fields that a class keeps outside `__dict__`."""
    found = (base.__dict__.get("__slots__", ()) for base in cls.__mro__)
    names = [name for slots in found for name in ((slots,) if isinstance(slots, str) else slots)]
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def parts_of(model: nn.Module) -> Parts:
    """Every module once, under its first dotted path, in the order of `named_modules`."""
    return list(walk(model))


def walk(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The same one by one; unlike `named_modules` at any depth of nesting."""
    seen: set[int] = set()
    waiting: list[tuple[str, nn.Module]] = [("", model)]
    while waiting:
        path, module = waiting.pop()
        module = uncompiled(module)
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield path, module
        if is_script(module):
            continue
        prefix = f"{path}." if path else ""
        children = [(prefix + name, child) for name, child in module._modules.items() if child is not None]
        waiting += reversed(children)


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that `torch.compile` has wrapped: compiled code would run on the original's own tensors."""
    while "_orig_mod" in module._modules:
        module = module._modules["_orig_mod"] or module
    return module


def is_script(module: nn.Module) -> bool:
    """True for compiled TorchScript, which has no Python fields to look into."""
    return isinstance(module, torch.jit.ScriptModule)


class ScriptLayer(nn.Module):
    """A copy of a compiled module behind a plain one, since a compiled one takes no hooks."""

    def __init__(self, compiled: nn.Module) -> None:
        super().__init__()
        self.compiled = (copy.deepcopy(compiled).eval(),)  # in a tuple, so that nobody looks inside

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.compiled[0](*args, **kwargs)


class _Images(TorchFunctionMode):
    """Copies fields, and answers for tensors that `copy.deepcopy` meets inside lists, hooks and other objects."""

    def __init__(self, image: Image, memo: dict[int, Any]) -> None:
        super().__init__()
        self.image, self.memo = image, memo
        self.kept: list[Tensor] = []

    def of(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self.memo:
            self.memo[id(tensor)] = self.image(tensor)
            self.kept.append(tensor)  # its id must not be used again while the memo speaks of it
        return self.memo[id(tensor)]

    def fields_of(self, module: nn.Module) -> dict[str, Any]:
        fields = module.__dict__.copy()
        fields.pop("_compiled_call_impl", None)  # a compiled forward would run the original
        for key, value in fields.items():
            kind = type(value)
            if kind in _ATOM_TYPES:
                continue
            if kind in _CONTAINERS and not value:
                fields[key] = kind()
            elif key in ("_parameters", "_buffers"):
                fields[key] = {name: None if t is None else self.of(t) for name, t in value.items()}
            elif key == "_modules":
                fields[key] = {name: None if m is None else self.memo[id(uncompiled(m))] for name, m in value.items()}
            else:
                fields[key] = self.copied(value)
        return fields

    def copied(self, value: Any) -> Any:
        kind = type(value)
        if kind in (tuple, list) and all(type(v) in _ATOM_TYPES for v in value):
            return kind(value)
        if isinstance(value, Tensor):
            return self.of(value)
        if isinstance(value, FunctionType) and value.__closure__:
            return self.function(value)
        try:
            with self:
                return copy.deepcopy(value, self.memo)
        except Exception:  # whatever a foreign object raises: an object that cannot be copied is shared
            return value

    def function(self, original: FunctionType) -> FunctionType:
        """A function that closes over modules or their methods, closed over the twin's: a wrapped forward, say."""
        if id(original) in self.memo:
            return self.memo[id(original)]
        cells, names = tuple(CellType() for _ in original.__closure__ or ()), (original.__name__, original.__defaults__)
        made = self.memo[id(original)] = FunctionType(original.__code__, original.__globals__, *names, cells)
        made.__dict__.update(original.__dict__)
        made.__kwdefaults__ = original.__kwdefaults__
        for new, old in zip(cells, original.__closure__ or (), strict=True):
            if _is_filled(old):
                new.cell_contents = self.enclosed(old)
        return made

    def enclosed(self, cell: CellType) -> Any:
        value = cell.cell_contents
        owner = value.__self__ if isinstance(value, MethodType) else value
        if isinstance(value, FunctionType) and value.__closure__:
            return self.function(value)
        return self.copied(value) if isinstance(owner, nn.Module) else value

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__deepcopy__:
            return self.of(args[0])
        if func is Tensor.clone:  # nn.Parameter copies itself this way
            return self.image(args[0]).detach()
        return func(*args, **(kwargs or {}))


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a name that was never given a value
        return False


def like(tensor: Tensor, values: Tensor) -> Tensor:
    """`values` as a parameter if `tensor` is one, with whatever else was noted on it."""
    if isinstance(tensor, nn.Parameter):
        values = nn.Parameter(values, requires_grad=tensor.requires_grad)
    if tensor.__dict__:
        values.__dict__.update(tensor.__dict__)
    return values


def _lazy(tensor: Tensor, device: Any) -> Tensor:
    if isinstance(tensor, UninitializedParameter):
        return UninitializedParameter(requires_grad=tensor.requires_grad, device=device, dtype=tensor.dtype)  # type: ignore[call-arg]
    return UninitializedBuffer(device=device, dtype=tensor.dtype)  # type: ignore[call-arg]


def on_meta(tensor: Tensor) -> Tensor:
    """The shape, strides and number type of a tensor, without its numbers."""
    if is_lazy(tensor):
        return _lazy(tensor, "meta")
    if tensor.layout is not torch.strided:
        return like(tensor, tensor.detach().to("meta"))
    values = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    return like(tensor, values)


def copied(tensor: Tensor) -> Tensor:
    """The same numbers in memory of their own, so that nothing a forward writes reaches the model."""
    if is_lazy(tensor):
        return _lazy(tensor, tensor.device)
    return like(tensor, tensor.detach().clone())


def sharing(tensor: Tensor) -> Tensor:
    """A parameter's own numbers behind another `nn.Parameter`; a copy of any other tensor."""
    if is_lazy(tensor):
        return _lazy(tensor, tensor.device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(tensor.detach(), requires_grad=tensor.requires_grad)
    return tensor.detach().clone()


# A stand-in up to this size has its own storage (and strides); a larger one repeats a single number.
_STAND_IN_BYTES = 64 * 2**20


def stand_in(tensor: Tensor) -> Tensor:
    """A CPU tensor of zeros with the shape and number type of `tensor`, cheap at any size."""
    if is_lazy(tensor):
        return _lazy(tensor, "cpu")
    cells = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)) if tensor.numel() else 0
    if cells * tensor.element_size() > _STAND_IN_BYTES:
        return like(tensor, torch.zeros((), dtype=tensor.dtype, device="cpu").expand(tensor.shape))
    values = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu").zero_()
    return like(tensor, values)

"""A network in which nothing pads, on the same weights.

A layer's padding is a setting, and is set to nothing. A call pads where it is made, `F.conv2d(x, w, padding=1)` in the
middle of a forward, by numbers that the forward may only just have computed. So a module with a forward of its own
becomes a subclass of itself, which runs that forward under a mode: each call passes through, and leaves its padding
there. No function of torch is replaced, and outside such a forward nothing is any different.

What this file does not do: say what padding has done to the answers. `fcnviz.patches` measures it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any

from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from fcnviz.calls import call_kind
from fcnviz.errors import InputError
from fcnviz.operations import is_torch_layer
from fcnviz.surgery.rewrite import HOOKS
from fcnviz.twin import is_script, parts_of, sharing, twin

_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_ONLY_PAD = (
    *(nn.modules.padding._ConstantPadNd, nn.modules.padding._ReflectionPadNd),
    *(nn.modules.padding._ReplicationPadNd, nn.modules.padding._CircularPadNd),
)
_CUTS = nn.modules.conv._ConvTransposeNd  # whose padding cuts cells off


def without_padding(model: nn.Module) -> nn.Module:
    """A twin that shares the model's weights, and in which nothing pads: a map shrinks by each kernel.

    Convolutions and poolings lose their padding, whether layers or calls (`F.conv2d(…, padding=1)`), and `ZeroPad2d`,
    `F.pad` and their like let everything through. A module with a forward of its own becomes a subclass of its class.
    Padding of a transposed convolution, and a negative one, cuts cells off and stays; so does padding by channels.
    A pooling that rounds up (`ceil_mode`) pads nothing, but its last window may still reach beyond the map.
    Where maps meet that were of one size because of the padding, as in a residual block, the result does not run.
    Weights trained with padding have never seen a map without; the answers are another network's.

    Raises:
        InputError: compiled TorchScript, or a forward put on a module itself. And when the result runs: maps N×C×H×W
            that a forward joins along H or W or writes into larger ones, which may be a padding of its own making; or a
            call of `F.pad` of which its numbers don't tell which axes are the map's.

    >>> from fcnviz import models, trace
    >>> net = without_padding(models.vgg16("conv"))
    >>> trace(net, (1, 3, 404, 404)).output_shape, trace(net, (1, 3, 436, 436)).output_shape
    ((1, 1000, 1, 1), (1, 1000, 2, 2))
    """
    original = parts_of(model)
    for path, module in original:
        _check(module, path)
    parts = twin(original, sharing, keep_mode=True)
    for _, module in parts:
        _unpad(module)
        if _calls(module):
            _become_pad_free(module)
    return parts[0][1]


def _check(module: nn.Module, path: str) -> None:
    name = f"{path} ({type(module).__name__})" if path else type(module).__name__
    if is_script(module):
        raise InputError(f"{name} is compiled TorchScript, whose padding cannot be taken out")
    if "forward" in module.__dict__:
        raise InputError(f"{name} has a forward put on the module itself: what it pads cannot be taken out")


def _unpad(module: nn.Module) -> None:
    if isinstance(module, nn.modules.conv._ConvNd) and not isinstance(module, _CUTS):
        module.padding = (0,) * len(module.kernel_size)
        module.padding_mode = "zeros"  # the other modes pad in a call, by numbers noted when the layer was made
    elif isinstance(module, (*_POOLS, nn.Unfold)):
        module.padding = 0
    elif isinstance(module, _ONLY_PAD):
        module.padding = [0] * len(module.padding) if isinstance(module.padding, Sequence) else 0


def _calls(module: nn.Module) -> bool:
    """True for code that is not torch's: it may call what pads."""
    cls: Any = type(module)
    is_own = isinstance(module, fx.GraphModule) or not is_torch_layer(cls)
    return not isinstance(module, PadFree) and (is_own or any(module.__dict__.get(name) for name in HOOKS))


class PadFree:
    """What a module with code of its own is besides: one in whose calls nothing pads. A copy of it is one as well."""

    padded: type[nn.Module]  # the class as it was

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # around the module's hooks, too
        with _NoPads(type(self).__name__):
            return super().__call__(*args, **kwargs)  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        with _as_it_was(self):
            made = copy.deepcopy(self, memo)
        return _become_pad_free(made)

    def __reduce_ex__(self, protocol: Any) -> Any:
        with _as_it_was(self):
            make, args, *rest = self.__reduce_ex__(protocol)
        return _made_again, (make, args), *rest

    def recompile(self) -> Any:
        """For an `fx.GraphModule`, which writes its forward into its class."""
        with _as_it_was(self):
            return self.recompile()


@contextmanager
def _as_it_was(module: Any) -> Iterator[None]:
    cls = type(module)
    module.__class__ = cls.padded
    try:
        yield
    finally:
        module.__class__ = cls


def _made_again(make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return _become_pad_free(make(*args))


def _become_pad_free(module: Any) -> Any:
    cls: Any = type(module)
    module.__class__ = _pad_free(cls)
    return module


@cache
def _pad_free(cls: Any) -> Any:
    @wraps(cls.forward)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _NoPads(cls.__name__):
            return cls.forward(self, *args, **kwargs)

    body = {"padded": cls, "forward": forward, "__module__": cls.__module__, "__doc__": cls.__doc__}
    return type(cls.__name__, (PadFree, cls), body)


class _NoPads(TorchFunctionMode):
    """While it is entered, calls leave their padding here."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = "" if func is Tensor.unfold else call_kind(func)  # which is another operation of the same name
        change = _CHANGES.get(kind)
        if change is None:
            return func(*args, **kwargs)
        try:
            return change(func, args, kwargs)
        except _Unclear as why:
            raise InputError(f"{self.name} without padding: {kind}: {why}") from None


class _Unclear(Exception):
    """A call of which nobody can tell whether it pads."""


# What becomes of a call


_Change = Callable[[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]], Any]


def _at(place: int, key: str, new: Callable[[Any], Any]) -> _Change:
    """The call with another value for one argument, wherever it stands."""

    def changed(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if len(args) > place:
            args = (*args[:place], new(args[place]), *args[place + 1 :])
        elif key in kwargs:
            kwargs = {**kwargs, key: new(kwargs[key])}
        return func(*args, **kwargs)

    return changed


def _nothing(padding: Any) -> Any:
    return [0] * len(padding) if isinstance(padding, list | tuple) else 0


def _convolution(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    transposed = args[6] if len(args) > 6 else kwargs["transposed"]
    return func(*args, **kwargs) if transposed else _at(4, "padding", _nothing)(func, args, kwargs)


def _pad(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Only what pads channels is left, and what cuts; the map itself if that is nothing."""
    given = {**dict(zip(("input", "pad"), args, strict=False)), **kwargs}
    x, key = given["input"], "pad" if "pad" in given else "padding"
    left = _off_the_map(x, list(given[key]))
    return _at(1, key, lambda _: left)(func, args, kwargs) if any(left) else x


def _off_the_map(x: Tensor, pads: list[Any]) -> list[Any]:
    """The pads, last axis first and two for each, without those along the axes of a map N×C×…."""
    along, beyond = 2 * max(x.dim() - 2, 0), [max(pads[n : n + 2]) > 0 for n in range(0, len(pads), 2)]
    if any(beyond[along // 2 :]) and (x.dim() == 3 or any(beyond[: along // 2])):
        axes = "×".join(map(str, x.shape))
        raise _Unclear(f"which axes of {axes} are a map's cannot be told; a map is N×C×H×W")
    return [min(pad, 0) if n < along else pad for n, pad in enumerate(pads)]


def _cat(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    tensors = args[0] if args else kwargs["tensors"]
    dim = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
    rank = tensors[0].dim()
    if rank > 3 and dim % rank > 1:
        raise _Unclear("it joins maps along their height or width, which may pad one with the other")
    return func(*args, **kwargs)


def _setitem(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    whole, _, part = args
    if isinstance(part, Tensor) and part.dim() > 3 and part.shape[2:] != whole.shape[2:]:
        sizes = ["×".join(map(str, t.shape)) for t in (part, whole)]
        raise _Unclear(f"it writes {sizes[0]} into {sizes[1]}, which may pad it with the rest")
    return func(*args, **kwargs)


_CHANGES: dict[str, _Change] = {
    "convolution": _convolution,
    "conv_tbc": _at(3, "pad", _nothing),
    "unfold": _at(3, "padding", _nothing),
    "setitem": _setitem,
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
}
for _n in (1, 2, 3):
    _CHANGES[f"conv{_n}d"] = _at(4, "padding", _nothing)
    _CHANGES[f"max_pool{_n}d"] = _CHANGES[f"avg_pool{_n}d"] = _at(3, "padding", _nothing)
    _CHANGES[f"reflection_pad{_n}d"] = _CHANGES[f"replication_pad{_n}d"] = _pad

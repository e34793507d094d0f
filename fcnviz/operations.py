"""What an operation is: reads a module, or the arguments of a call, into plain facts about sizes.

This is the only room that knows torch's classes and argument lists. It decides no shape: torch does, and
`arithmetic` writes the sum beside it. An operation that is not listed here is traced all the same; it has
no formula.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from fcnviz.records import Operation, Output, Shape, Window


@dataclass(frozen=True, slots=True)
class Facts:
    """An operation without its shapes: what it does to sizes, its window, its other arguments."""

    operation: Operation | None = None
    window: Window | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


UNKNOWN = Facts()
SAME = Facts("same")


def per_axis(value: Any, rank: int) -> tuple[Any, ...]:
    """One number stands for every axis.

    >>> per_axis(3, 2), per_axis((3, 5), 2)
    ((3, 3), (3, 5))
    """
    if not isinstance(value, list | tuple):
        return (value,) * rank
    return tuple(value) * rank if len(value) == 1 else tuple(value)


def _conv(m: Any) -> Facts:
    padding = m.padding if isinstance(m.padding, str) else tuple(m.padding)
    extra = tuple(m.output_padding) if m.transposed else ()
    window = Window(m.kernel_size, m.stride, padding, m.dilation, groups=m.groups, output_padding=extra)
    channels = {"in_channels": m.in_channels, "out_channels": m.out_channels, "padding_mode": m.padding_mode}
    return Facts("conv_transpose" if m.transposed else "conv", window, channels)


def _pool(operation: Operation) -> Callable[[Any], Facts]:
    def read(m: Any) -> Facts:
        rank = int(type(m).__name__[-2])
        stride = m.kernel_size if m.stride is None else m.stride
        window = _window(rank, m.kernel_size, stride, getattr(m, "padding", 0), getattr(m, "dilation", 1), m.ceil_mode)
        return Facts(operation, window)

    return read


def _window(rank: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool = False) -> Window:
    kernel, stride, padding, dilation = (per_axis(v, rank) for v in (kernel, stride, padding, dilation))
    return Window(kernel, stride, padding, dilation, bool(ceil))


def _adaptive_pool(m: Any) -> Facts:
    return Facts("adaptive_pool", None, {"output_size": per_axis(m.output_size, int(type(m).__name__[-2]))})


def _upsample(m: Any) -> Facts:
    return Facts("interpolate", None, {"size": m.size, "scale_factor": m.scale_factor, "mode": m.mode})


def _pad(m: Any) -> Facts:
    mode = type(m).__name__.removesuffix("d")[:-4].lower().removesuffix("ation")
    names = {"zero": "constant", "reflec": "reflect", "reflection": "reflect", "replic": "replicate"}
    return Facts("pad", None, {"pads": _pads(m.padding), "mode": names.get(mode, mode)})


def _pads(flat: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Torch lists pads from the last axis backwards; here they stand in the order of the axes."""
    flat = tuple(flat)
    return tuple(zip(flat[-2::-2], flat[-1::-2], strict=True))


def _unfold(m: Any) -> Facts:
    return Facts("unfold", _window(2, m.kernel_size, m.stride, m.padding, m.dilation))


def _fold(m: Any) -> Facts:
    window = _window(2, m.kernel_size, m.stride, m.padding, m.dilation)
    return Facts("fold", window, {"output_size": per_axis(m.output_size, 2)})


def _linear(m: Any) -> Facts:
    return Facts("linear", None, {"in_features": m.in_features, "out_features": m.out_features})


def _flatten(m: Any) -> Facts:
    return Facts("flatten", None, {"start_dim": m.start_dim, "end_dim": m.end_dim})


def _norm(m: Any) -> Facts:
    wanted = getattr(m, "num_features", None) or getattr(m, "num_channels", None)
    return Facts("same", None, {"num_features": wanted} if wanted else {})


def _softmax(dim: int | None) -> Facts:
    return Facts("same", None, {"softmax_dim": dim})


def _layer_norm(m: Any) -> Facts:
    return Facts("same", None, {"normalized_shape": tuple(m.normalized_shape)})


# Read through the class's ancestors, so the nearest entry wins (a lazy layer has become its plain class by then).
_MODULES: dict[str, Callable[[Any], Facts]] = {
    "_ConvNd": _conv,
    "_MaxPoolNd": _pool("max_pool"),
    "_AvgPoolNd": _pool("avg_pool"),
    "_LPPoolNd": _pool("lp_pool"),
    "_AdaptiveAvgPoolNd": _adaptive_pool,
    "_AdaptiveMaxPoolNd": _adaptive_pool,
    "Upsample": _upsample,
    "_ConstantPadNd": _pad,
    "_ReflectionPadNd": _pad,
    "_ReplicationPadNd": _pad,
    "_CircularPadNd": _pad,
    "Unfold": _unfold,
    "Fold": _fold,
    "Linear": _linear,
    "Flatten": _flatten,
    "Unflatten": lambda m: Facts("reshape"),
    "PixelShuffle": lambda m: Facts("pixel_shuffle", None, {"factor": m.upscale_factor, "up": True}),
    "PixelUnshuffle": lambda m: Facts("pixel_shuffle", None, {"factor": m.downscale_factor, "up": False}),
    "_NormBase": _norm,
    "GroupNorm": _norm,
    "LayerNorm": _layer_norm,
    "RMSNorm": _layer_norm,
    "Softmax": lambda m: _softmax(m.dim),
    "LogSoftmax": lambda m: _softmax(m.dim),
    "Softmin": lambda m: _softmax(m.dim),
    "_DropoutNd": lambda m: SAME,
    "Identity": lambda m: SAME,
    "LocalResponseNorm": lambda m: SAME,
    "CrossMapLRN2d": lambda m: SAME,
    "ChannelShuffle": lambda m: SAME,
}
_RESHAPING_ACTIVATIONS = {"GLU", "MultiheadAttention"}


@lru_cache(maxsize=4096)
def _reader(cls: type) -> Callable[[Any], Facts] | None:
    for base in cls.__mro__:
        if base.__module__.startswith("torch.nn.modules.") and base.__name__ in _MODULES:
            return _MODULES[base.__name__]
    if cls.__module__ == "torch.nn.modules.activation" and cls.__name__ not in _RESHAPING_ACTIVATIONS:
        return lambda m: SAME
    return None


def module_facts(module: nn.Module) -> Facts:
    """What `module` does to sizes.

    >>> module_facts(nn.Conv2d(3, 64, 3, padding=1)).window.kernel
    (3, 3)
    """
    reader = _reader(type(module))
    return UNKNOWN if reader is None else reader(module)


@lru_cache(maxsize=4096)
def is_torch_layer(cls: type) -> bool:
    """True for a layer whose forward is torch's own: traced as one step. Any other forward is looked into."""
    own = [getattr(cls, name, None) for name in ("forward", "_conv_forward")]
    return all((getattr(f, "__module__", "") or "").startswith("torch.") for f in own if f is not None)


def call_kind(func: Callable[..., Any]) -> str:
    """The name a reader would type: `add` for `+`, `T` for the property, `max_pool2d` for all its forms."""
    name = getattr(func, "__name__", type(func).__name__)
    if name == "fn":  # torch's max pools choose between two forms through one nameless function
        name = getattr(func, "__qualname__", name)
    if name == "__get__":
        name = getattr(getattr(func, "__self__", None), "__name__", name)
    name = name.removesuffix("_with_indices")
    return name.strip("_") if name.startswith("__") else name


def _named(names: str) -> Callable[..., dict[str, Any]]:
    """Puts names to positional arguments, as the torch function documents them."""
    keys = names.split()

    def bind(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return {**dict(zip(keys, args, strict=False)), **kwargs}

    return bind


_BIND_CONV = _named("input weight bias stride padding dilation groups")
_BIND_CONV_TRANSPOSE = _named("input weight bias stride padding output_padding groups dilation")
_BIND_MAX = _named("input kernel_size stride padding dilation ceil_mode")
_BIND_AVG = _named("input kernel_size stride padding ceil_mode")
_BIND_LP = _named("input norm_type kernel_size stride ceil_mode")
_BIND_DIM = _named("input dim")
_BIND_INTERPOLATE = _named("input size scale_factor mode align_corners recompute_scale_factor")


def _call_conv(rank: int) -> Callable[..., Facts]:
    def read(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
        a = _BIND_CONV(args, kwargs)
        groups, padding, weight = a.get("groups", 1), a.get("padding", 0), a["weight"].shape
        padding = padding if isinstance(padding, str) else per_axis(padding, rank)
        stride, dilation = per_axis(a.get("stride", 1), rank), per_axis(a.get("dilation", 1), rank)
        window = Window(tuple(weight[2:]), stride, padding, dilation, groups=groups)
        return Facts("conv", window, {"in_channels": weight[1] * groups, "out_channels": weight[0]})

    return read


def _call_conv_transpose(rank: int) -> Callable[..., Facts]:
    def read(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
        a = _BIND_CONV_TRANSPOSE(args, kwargs)
        groups, weight = a.get("groups", 1), a["weight"].shape
        keys = (("stride", 1), ("padding", 0), ("dilation", 1), ("output_padding", 0))
        stride, padding, dilation, extra = (per_axis(a.get(key, default), rank) for key, default in keys)
        window = Window(tuple(weight[2:]), stride, padding, dilation, groups=groups, output_padding=extra)
        return Facts("conv_transpose", window, {"in_channels": weight[0], "out_channels": weight[1] * groups})

    return read


def _call_pool(operation: Operation, rank: int, bind: Callable[..., dict[str, Any]]) -> Callable[..., Facts]:
    def read(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
        a = bind(args, kwargs)
        stride = a.get("stride") or a["kernel_size"]  # torch reads None and () as the kernel
        ceil = bool(a.get("ceil_mode", False))
        return Facts(
            operation, _window(rank, a["kernel_size"], stride, a.get("padding", 0), a.get("dilation", 1), ceil)
        )

    return read


def _call_adaptive(rank: int) -> Callable[..., Facts]:
    bind = _named("input output_size")
    return lambda args, kwargs: Facts(
        "adaptive_pool", None, {"output_size": per_axis(bind(args, kwargs)["output_size"], rank)}
    )


def _call_linear(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    weight = _named("input weight bias")(args, kwargs)["weight"].shape
    outward = weight[0] if len(weight) > 1 else 1
    return Facts("linear", None, {"in_features": weight[-1], "out_features": outward})


def _call_flatten(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input start_dim end_dim")(args, kwargs)
    return Facts("flatten", None, {"start_dim": a.get("start_dim", 0), "end_dim": a.get("end_dim", -1)})


def _sizes(values: Iterable[Any]) -> tuple[Any, ...] | None:
    """Sizes given one by one or as one list; None when they are no sizes (a dtype, another tensor)."""
    values = tuple(values)
    if len(values) == 1 and isinstance(values[0], list | tuple):
        values = tuple(values[0])
    return None if any(isinstance(v, Tensor) or not hasattr(v, "__index__") for v in values) else values


def _call_reshape(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    sizes = _sizes(args[1:] or kwargs.get("shape", kwargs.get("size", ())))
    return Facts("reshape", None, {"sizes": sizes}) if sizes else UNKNOWN


def _call_joined(operation: Operation) -> Callable[..., Facts]:
    def read(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
        a = _named("tensors dim")(args, kwargs)
        return Facts(operation, None, {"dim": a.get("dim", a.get("axis", 0))})

    return read


def _call_getitem(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    plain = all(i is None or i is Ellipsis or type(i) in (int, slice) for i in index)
    return Facts("slice", None, {"index": index}) if plain else UNKNOWN


def _call_narrow(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input dim start length")(args, kwargs)
    dim = a["dim"] % a["input"].dim()
    cut = slice(a["start"], a["start"] + a["length"])
    return Facts("slice", None, {"index": (*(slice(None),) * dim, cut)})


def _call_interpolate(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _BIND_INTERPOLATE(args, kwargs)
    rank = a["input"].dim() - 2
    size, scale = (None if a.get(key) is None else per_axis(a[key], rank) for key in ("size", "scale_factor"))
    return Facts("interpolate", None, {"size": size, "scale_factor": scale, "mode": a.get("mode", "nearest")})


def _call_unfold(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input kernel_size dilation padding stride")(args, kwargs)
    rest = a.get("stride", 1), a.get("padding", 0), a.get("dilation", 1)
    return Facts("unfold", _window(2, a["kernel_size"], *rest))


def _call_fold(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input output_size kernel_size dilation padding stride")(args, kwargs)
    window = _window(2, a["kernel_size"], a.get("stride", 1), a.get("padding", 0), a.get("dilation", 1))
    return Facts("fold", window, {"output_size": per_axis(a["output_size"], 2)})


def _call_pad(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input pad mode value")(args, kwargs)
    return Facts("pad", None, {"pads": _pads(a["pad"]), "mode": a.get("mode", "constant")})


def _call_permute(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    dims = _sizes(args[1:] or kwargs.get("dims", ()))
    return Facts("permute", None, {"dims": tuple(d % args[0].dim() for d in dims)}) if dims else UNKNOWN


def _call_transpose(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input dim0 dim1")(args, kwargs)
    dims = list(range(a["input"].dim()))
    one, other = a["dim0"] % len(dims), a["dim1"] % len(dims)
    dims[one], dims[other] = other, one
    return Facts("permute", None, {"dims": tuple(dims)})


def _call_reduce(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input dim keepdim")(args, kwargs)
    rank, dim = a["input"].dim(), a.get("dim", a.get("axis"))
    dims = range(rank) if dim is None else (d % rank for d in per_axis(dim, 1))
    return Facts("reduce", None, {"dims": tuple(dims), "keepdim": bool(a.get("keepdim", False))})


def _call_shuffle(up: bool) -> Callable[..., Facts]:
    return lambda args, kwargs: Facts("pixel_shuffle", None, {"factor": [*args, *kwargs.values()][1], "up": up})


_CALLS: dict[str, Callable[..., Facts]] = {
    "linear": _call_linear,
    "flatten": _call_flatten,
    "ravel": lambda args, kwargs: Facts("flatten", None, {"start_dim": 0, "end_dim": -1}),
    "interpolate": _call_interpolate,
    "unfold": _call_unfold,
    "fold": _call_fold,
    "pad": _call_pad,
    "permute": _call_permute,
    "pixel_shuffle": _call_shuffle(True),
    "pixel_unshuffle": _call_shuffle(False),
    "getitem": _call_getitem,
    "narrow": _call_narrow,
    **dict.fromkeys(
        ("softmax", "log_softmax", "softmin"), lambda args, kwargs: _softmax(_BIND_DIM(args, kwargs)["dim"])
    ),
    "stack": _call_joined("stack"),
    **dict.fromkeys(("cat", "concat", "concatenate"), _call_joined("cat")),
    **dict.fromkeys(("view", "reshape"), _call_reshape),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _call_transpose),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "prod"), _call_reduce),
}
for _rank in (1, 2, 3):
    _CALLS[f"conv{_rank}d"] = _call_conv(_rank)
    _CALLS[f"conv_transpose{_rank}d"] = _call_conv_transpose(_rank)
    _CALLS[f"max_pool{_rank}d"] = _call_pool("max_pool", _rank, _BIND_MAX)
    _CALLS[f"avg_pool{_rank}d"] = _call_pool("avg_pool", _rank, _BIND_AVG)
    _CALLS[f"lp_pool{_rank}d"] = _call_pool("lp_pool", _rank, _BIND_LP)
    _CALLS[f"adaptive_avg_pool{_rank}d"] = _call_adaptive(_rank)
    _CALLS[f"adaptive_max_pool{_rank}d"] = _call_adaptive(_rank)

_BROADCAST = _words(
    """
    add sub rsub mul div true_divide floor_divide rdiv remainder maximum minimum pow rpow eq ne lt le gt ge
    logical_and logical_or bitwise_and bitwise_or atan2 where lerp addcmul addcdiv
    """
)
_SAME = _words(
    """
    relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish sigmoid hardsigmoid hardswish hardtanh tanh
    softplus softsign logsigmoid tanhshrink hardshrink softshrink threshold
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout
    batch_norm layer_norm group_norm instance_norm local_response_norm rms_norm normalize
    contiguous clone detach to float double half bfloat16 long int bool cpu cuda type type_as data
    abs neg exp log log1p expm1 sqrt rsqrt square sin cos sign floor ceil round clamp clip reciprocal erf
    nan_to_num masked_fill flip roll cumsum channel_shuffle requires_grad_ zeros_like ones_like empty_like
    full_like rand_like randn_like
    """
)
# Calls that hand back the tensor they were given: no step, the map has not moved.
BOOKKEEPING = frozenset(("requires_grad_", "retain_grad", "register_hook", "share_memory_", "grad", "_grad"))
# No matrix product inside, whatever the shapes: nothing to count.
_FREE_CALLS = (
    _BROADCAST
    | _SAME
    | _words(
        """
        squeeze unsqueeze split chunk unbind expand expand_as view_as reshape_as repeat repeat_interleave gather
        index_select masked_select select embedding one_hot topk sort argmax argmin max min any all norm var std
        var_mean zeros ones empty full arange linspace eye rand randn tensor as_tensor meshgrid tril triu
        size dim ndimension stride storage_offset is_contiguous is_floating_point is_complex element_size data_ptr
        untyped_storage item tolist numpy get_device has_names len hash iter setitem
        affine_grid grid_sample upsample glu T mT H mH real imag numel new_zeros new_ones new_full new_empty
        """
    )
)


def call_facts(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    """What the call `func(*args, **kwargs)` does to sizes.

    >>> import torch
    >>> call_facts(torch.flatten, (torch.empty(1, 2, 3), 1), {}).settings
    {'start_dim': 1, 'end_dim': -1}
    """
    if func is Tensor.unfold:  # another operation of the same name: one axis, windows as a new axis
        return UNKNOWN
    kind = call_kind(func)
    kind = kind if kind in _CALLS else kind.removesuffix("_")
    if kind in _BROADCAST:
        return Facts("broadcast")
    if kind in _SAME:
        return SAME
    reader = _CALLS.get(kind)
    try:
        return UNKNOWN if reader is None else reader(args, kwargs)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        return UNKNOWN  # called in a way the documentation does not name, or wrongly: torch has its say elsewhere


class FlopCount(TorchDispatchMode):
    """Adds up the multiply-adds of what runs inside, by the table of `torch.utils.flop_counter`."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._overloadpacket not in flop_registry:
            inner = func.decompose(*args, **kwargs) if func._can_decompose() else NotImplemented
            return func(*args, **kwargs) if inner is NotImplemented else inner
        out = func(*args, **kwargs)
        self.macs += flop_registry[func._overloadpacket](*args, **kwargs, out_val=out) // 2
        return out


def call_needs_counting(func: Callable[..., Any], kind: str) -> bool:
    """True when nothing here says how many multiply-adds a call costs: matmul, einsum, attention."""
    plain = kind.removesuffix("_")
    return plain not in _FREE_CALLS and plain not in _CALLS and getattr(func, "__name__", "") != "__get__"


def macs(facts: Facts, given: Sequence[Shape], output: Output) -> int:
    """Multiply-adds of a known operation: every output of a convolution is one sum over a window.

    A transposed convolution spreads every *input* over a window instead, so its inputs are counted.

    >>> macs(module_facts(nn.Conv2d(3, 64, 3, padding=1)), [Shape((1, 3, 224, 224))], Shape((1, 64, 224, 224)))
    86704128
    """
    if not isinstance(output, Shape):
        return 0
    if facts.operation == "linear":
        return prod(output) * facts.settings["in_features"]
    if facts.operation not in ("conv", "conv_transpose") or facts.window is None:
        return 0
    transposed = facts.operation == "conv_transpose"
    channels = facts.settings["out_channels" if transposed else "in_channels"] // facts.window.groups
    return prod(given[0] if transposed else output) * channels * prod(facts.window.kernel)


_LOOKUPS = frozenset(("Embedding", "EmbeddingBag", "embedding", "embedding_bag", "one_hot"))
_FLOAT_CALLS = _words(
    """
    matmul rmatmul mm bmm mv addmm baddbmm addmv einsum bilinear scaled_dot_product_attention tensordot dot
    batch_norm layer_norm group_norm instance_norm multi_head_attention_forward
    GLU glu
    """
)
_ANY_DTYPE = frozenset(("cat", "stack", "slice", "permute", "reshape", "flatten", "broadcast"))
_EVERYWHERE = frozenset((torch.float32, torch.float64))  # number types that every CPU kernel takes


def is_doubtful(facts: Facts, kind: str, given: Sequence[Tensor], weights: Sequence[tuple[str, Tensor]]) -> bool:
    """True when a meta tensor may have passed where a real one is refused, so that a real one has to try.

    Meta kernels look at shapes. They let mixed number types into a matrix product, integers into float-only
    layers, empty maps into a pooling, an axis that is not there into a softmax, a dilation of 0 into a
    convolution, wrong channels and too much output padding into a transposed one.
    """
    if not given:
        return False
    if any(t.numel() == 0 for t in given) or (facts.window is not None and _is_odd(facts, given[0])):
        return True
    if facts.settings.get("softmax_dim") is not None and not _has_axis(given[0], facts.settings["softmax_dim"]):
        return True
    if kind in _LOOKUPS:
        return given[0].dtype.is_floating_point
    if facts.operation in _ANY_DTYPE or not (weights or facts.operation or kind in _FLOAT_CALLS):
        return False
    first = given[0].dtype
    if any(t.dtype is not first for t in given) or any(t.dtype is not first for _, t in weights):
        return True
    # half precision has its matrix products everywhere; trying a large one would take long
    return first not in _EVERYWHERE and not (first.is_floating_point and (weights or kind in _FLOAT_CALLS))


def _has_axis(given: Tensor, axis: int) -> bool:
    return -given.dim() <= axis < max(given.dim(), 1)


def _is_odd(facts: Facts, given: Tensor) -> bool:
    """A window that no layer should have, or a transposed convolution that gets other channels than it takes."""
    window = facts.window
    pads = () if isinstance(window.padding, str) else window.padding
    if min((*window.kernel, *window.stride, *window.dilation), default=1) < 1 or min(pads, default=0) < 0:
        return True
    if facts.operation != "conv_transpose" or given.dim() <= len(window.kernel):
        return False
    if any(
        extra >= max(s, d) for extra, s, d in zip(window.output_padding, window.stride, window.dilation, strict=True)
    ):
        return True
    return given.shape[-len(window.kernel) - 1] != facts.settings["in_channels"]

"""What a functional call does to sizes: its arguments, read into the same facts as a layer's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from fcnviz.operations import SAME, UNKNOWN, Facts, over_map, pads_in_order, per_axis, softmax, window_of, words
from fcnviz.records import Operation, Window


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
_BIND_INTERPOLATE = _named("input size scale_factor mode align_corners recompute_scale_factor antialias")


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
            operation, window_of(rank, a["kernel_size"], stride, a.get("padding", 0), a.get("dilation", 1), ceil)
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
    settings = {"size": size, "scale_factor": scale, "mode": a.get("mode", "nearest")}
    flags = ("align_corners", "recompute_scale_factor", "antialias")
    return Facts("interpolate", None, {**settings, **{flag: bool(a.get(flag)) for flag in flags}})


def _call_unfold(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input kernel_size dilation padding stride")(args, kwargs)
    rest = a.get("stride", 1), a.get("padding", 0), a.get("dilation", 1)
    return Facts("unfold", window_of(2, a["kernel_size"], *rest))


def _call_fold(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input output_size kernel_size dilation padding stride")(args, kwargs)
    window = window_of(2, a["kernel_size"], a.get("stride", 1), a.get("padding", 0), a.get("dilation", 1))
    return Facts("fold", window, {"output_size": per_axis(a["output_size"], 2)})


def _call_pad(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input pad mode value")(args, kwargs)
    return Facts("pad", None, {"pads": pads_in_order(a["pad"]), "mode": a.get("mode", "constant")})


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


def _call_along(names: str, default: Any) -> Callable[..., Facts]:
    """A call that leaves the shape and works along some axes: all of them where None is given."""

    def read(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
        a = _named(names)(args, kwargs)
        dim = a.get("dim", a.get("dims", default))
        rest = (dim, *args[2:]) if names == "input dims" and not isinstance(dim, list | tuple) else dim  # x.flip(2, 3)
        return Facts("same", None, {} if rest is None else {"dims": per_axis(rest, 1)})

    return read


def _call_layer_norm(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    shape = _named("input normalized_shape")(args, kwargs)["normalized_shape"]
    return Facts("same", None, {"normalized_shape": tuple(shape)})


def _call_batch_norm(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input running_mean running_var weight bias training")(args, kwargs)
    return Facts("same", None, over_map(bool(a.get("training")) or a.get("running_mean") is None))


def _call_instance_norm(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input running_mean running_var weight bias use_input_stats")(args, kwargs)
    return Facts("same", None, over_map(bool(a.get("use_input_stats", True))))


def _call_setitem(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    return Facts(None, None, _call_getitem(args, kwargs).settings)


def _numbers(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers among the arguments: one that was computed from a size changes with it."""
    return {"numbers": tuple(value for value in (*args, *kwargs.values()) if type(value) in (int, float))}


def _call_movedim(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    a = _named("input source destination")(args, kwargs)
    rank = a["input"].dim()
    sources, places = ([d % rank for d in per_axis(a[key], 1)] for key in ("source", "destination"))
    dims = [d for d in range(rank) if d not in sources]
    for place, source in sorted(zip(places, sources, strict=True)):
        dims.insert(place, source)
    return Facts("permute", None, {"dims": tuple(dims)})


def _call_shuffle(up: bool) -> Callable[..., Facts]:
    return lambda args, kwargs: Facts("pixel_shuffle", None, {"factor": [*args, *kwargs.values()][1], "up": up})


READERS: dict[str, Callable[..., Facts]] = {
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
    "setitem": _call_setitem,
    "batch_norm": _call_batch_norm,
    "instance_norm": _call_instance_norm,
    "group_norm": lambda args, kwargs: Facts("same", None, over_map(True)),
    "narrow": _call_narrow,
    **dict.fromkeys(
        ("softmax", "log_softmax", "softmin"), lambda args, kwargs: softmax(_BIND_DIM(args, kwargs)["dim"])
    ),
    "stack": _call_joined("stack"),
    **dict.fromkeys(("cat", "concat", "concatenate"), _call_joined("cat")),
    **dict.fromkeys(("view", "reshape"), _call_reshape),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _call_transpose),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "prod"), _call_reduce),
    **dict.fromkeys(("layer_norm", "rms_norm"), _call_layer_norm),
    **dict.fromkeys(("clamp", "clip"), lambda args, kwargs: Facts("same", None, _numbers(args, kwargs))),
    **dict.fromkeys(("movedim", "moveaxis"), _call_movedim),
    **dict.fromkeys(("cumsum", "cumprod"), _call_along("input dim", None)),
    "flip": _call_along("input dims", None),
    "roll": _call_along("input shifts dims", None),
    "normalize": _call_along("input p dim", 1),
}
for _rank in (1, 2, 3):
    READERS[f"conv{_rank}d"] = _call_conv(_rank)
    READERS[f"conv_transpose{_rank}d"] = _call_conv_transpose(_rank)
    READERS[f"max_pool{_rank}d"] = _call_pool("max_pool", _rank, _BIND_MAX)
    READERS[f"avg_pool{_rank}d"] = _call_pool("avg_pool", _rank, _BIND_AVG)
    READERS[f"lp_pool{_rank}d"] = _call_pool("lp_pool", _rank, _BIND_LP)
    READERS[f"adaptive_avg_pool{_rank}d"] = _call_adaptive(_rank)
    READERS[f"adaptive_max_pool{_rank}d"] = _call_adaptive(_rank)

BROADCAST = words(
    """
    add sub rsub mul div true_divide floor_divide rdiv remainder maximum minimum pow rpow eq ne lt le gt ge
    logical_and logical_or bitwise_and bitwise_or atan2 where lerp addcmul addcdiv
    iadd isub imul idiv itruediv ifloordiv ipow
    """
)
SAME_SHAPE = words(
    """
    relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish sigmoid hardsigmoid hardswish hardtanh tanh
    softplus softsign logsigmoid tanhshrink hardshrink softshrink threshold
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout
    local_response_norm
    contiguous clone detach to float double half bfloat16 long int bool cpu cuda type type_as data
    abs neg exp log log1p expm1 sqrt rsqrt square sin cos sign floor ceil round reciprocal erf
    nan_to_num masked_fill channel_shuffle requires_grad_ zeros_like ones_like empty_like
    full_like rand_like randn_like
    """
)
# Calls that hand back the tensor they were given: no step, the map has not moved.
BOOKKEEPING = frozenset(("requires_grad_", "retain_grad", "register_hook", "share_memory_", "grad", "_grad"))


_SIGNS_IN_PLACE = words("iadd isub imul idiv itruediv ifloordiv imod ipow iand ior ixor ilshift irshift imatmul")


def writes(kind: str) -> bool:
    """True for a call that writes into its first tensor: `add_`, `+=`, `y[…] = x`.

    >>> writes("relu_"), writes("iadd"), writes("setitem"), writes("add")
    (True, True, True, False)
    """
    return kind.endswith("_") or kind == "setitem" or kind in _SIGNS_IN_PLACE


def call_facts(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Facts:
    """What the call `func(*args, **kwargs)` does to sizes.

    >>> import torch
    >>> call_facts(torch.flatten, (torch.empty(1, 2, 3), 1), {}).settings
    {'start_dim': 1, 'end_dim': -1}
    """
    if func is Tensor.unfold:  # another operation of the same name: one axis, windows as a new axis
        return UNKNOWN
    kind = call_kind(func)
    kind = kind if kind in READERS else kind.removesuffix("_")
    if kind in BROADCAST:
        return Facts("broadcast", None, _numbers(args, kwargs))
    if kind in SAME_SHAPE:
        return SAME
    reader = READERS.get(kind)
    try:
        return UNKNOWN if reader is None else reader(args, kwargs)
    except Exception:  # called wrongly, or in a way not documented: what is read here must never stop a forward
        return UNKNOWN

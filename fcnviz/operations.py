"""What a layer does to sizes: its settings, read off the module into plain facts.

It decides no shape: torch does, and `arithmetic` writes the sum beside it. A layer that is not listed here is
traced all the same; it has no formula. (`calls` reads functional calls into the same facts.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from torch import nn

from fcnviz.records import Operation, Window


@dataclass(frozen=True, slots=True)
class Facts:
    """An operation without its shapes: what it does to sizes, its window, its other arguments."""

    operation: Operation | None = None
    window: Window | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def words(text: str) -> frozenset[str]:
    """A table of names, as it is easiest to read: words with blanks between."""
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
        window = window_of(
            rank, m.kernel_size, stride, getattr(m, "padding", 0), getattr(m, "dilation", 1), m.ceil_mode
        )
        return Facts(operation, window)

    return read


def window_of(rank: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool = False) -> Window:
    """A window over `rank` axes, from numbers or tuples as torch takes them."""
    kernel, stride, padding, dilation = (per_axis(v, rank) for v in (kernel, stride, padding, dilation))
    return Window(kernel, stride, padding, dilation, bool(ceil))


def _adaptive_pool(m: Any) -> Facts:
    return Facts("adaptive_pool", None, {"output_size": per_axis(m.output_size, int(type(m).__name__[-2]))})


def _upsample(m: Any) -> Facts:
    settings = {"size": m.size, "scale_factor": m.scale_factor, "mode": m.mode}
    corners = {"align_corners": bool(m.align_corners), "recompute_scale_factor": bool(m.recompute_scale_factor)}
    return Facts("interpolate", None, {**settings, **corners})


def _pad(m: Any) -> Facts:
    mode = type(m).__name__.removesuffix("d")[:-4].lower().removesuffix("ation")
    names = {"zero": "constant", "reflec": "reflect", "reflection": "reflect", "replic": "replicate"}
    return Facts("pad", None, {"pads": pads_in_order(m.padding), "mode": names.get(mode, mode)})


def pads_in_order(flat: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Torch lists pads from the last axis backwards; here they stand in the order of the axes."""
    flat = tuple(flat)
    return tuple(zip(flat[-2::-2], flat[-1::-2], strict=True))


def _unfold(m: Any) -> Facts:
    return Facts("unfold", window_of(2, m.kernel_size, m.stride, m.padding, m.dilation))


def _fold(m: Any) -> Facts:
    window = window_of(2, m.kernel_size, m.stride, m.padding, m.dilation)
    return Facts("fold", window, {"output_size": per_axis(m.output_size, 2)})


def _linear(m: Any) -> Facts:
    return Facts("linear", None, {"in_features": m.in_features, "out_features": m.out_features})


def _flatten(m: Any) -> Facts:
    return Facts("flatten", None, {"start_dim": m.start_dim, "end_dim": m.end_dim})


def _norm(m: Any) -> Facts:
    wanted = getattr(m, "num_features", None) or getattr(m, "num_channels", None)
    return Facts("same", None, ({"num_features": wanted} if wanted else {}) | over_map(_takes_statistics(m)))


def _takes_statistics(m: Any) -> bool:
    """True for a norm whose mean is the map's own, as in training; constants otherwise."""
    return m.training or getattr(m, "running_mean", None) is None


def over_map(whole: bool) -> dict[str, bool]:
    """The setting of a norm each of whose numbers depends on the whole map."""
    return {"over_map": True} if whole else {}


def softmax(dim: int | None) -> Facts:
    """A softmax leaves the shape as it is, provided that it has the axis."""
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
    "PixelShuffle": lambda m: Facts("pixel_shuffle", None, {"factor": m.upscale_factor, "up": True}),
    "PixelUnshuffle": lambda m: Facts("pixel_shuffle", None, {"factor": m.downscale_factor, "up": False}),
    "_NormBase": _norm,
    "GroupNorm": _norm,
    "LayerNorm": _layer_norm,
    "RMSNorm": _layer_norm,
    "Softmax": lambda m: softmax(m.dim),
    "LogSoftmax": lambda m: softmax(m.dim),
    "Softmin": lambda m: softmax(m.dim),
    "_DropoutNd": lambda m: SAME,
    "Identity": lambda m: SAME,
    "LocalResponseNorm": lambda m: SAME,
    "CrossMapLRN2d": lambda m: SAME,
    "ChannelShuffle": lambda m: SAME,
}
_RESHAPING_ACTIVATIONS = {"GLU", "MultiheadAttention"}


@lru_cache(maxsize=4096)
def _reader(cls: Any) -> Callable[[Any], Facts] | None:
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
    cls: Any = type(module)
    reader = _reader(cls)
    return UNKNOWN if reader is None else reader(module)


@lru_cache(maxsize=4096)
def is_torch_layer(cls: Any) -> bool:
    """True for a class of layer whose forward is torch's own: traced as one step. Any other forward is looked into."""
    if "is_one_step" in vars(cls):  # a layer of ours that says so itself
        return bool(cls.is_one_step)
    own = [getattr(cls, name, None) for name in ("forward", "_conv_forward")]
    return all((getattr(f, "__module__", "") or "").startswith("torch.") for f in own if f is not None)

"""Where a meta tensor may pass although a real one is refused, so that a real one has to try."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fcnviz.operations import Facts, words
from fcnviz.records import Window

_LOOKUPS = frozenset(("Embedding", "EmbeddingBag", "embedding", "embedding_bag", "one_hot"))
_FLOAT_CALLS = words(
    """
    matmul rmatmul mm bmm mv addmm baddbmm addmv einsum bilinear scaled_dot_product_attention tensordot dot
    batch_norm layer_norm group_norm instance_norm multi_head_attention_forward
    GLU glu
    """
)
_ANY_DTYPE = frozenset(("cat", "stack", "slice", "permute", "reshape", "flatten", "broadcast"))
_EVERYWHERE = frozenset((torch.float32, torch.float64))  # number types that every CPU kernel takes


def is_doubtful(
    facts: Facts, kind: str, given: Sequence[Tensor], weights: Sequence[tuple[str, Tensor]], output: Any
) -> bool:
    """True when a meta tensor may have passed where a real one is refused, so that a real one has to try.

    Meta kernels look at shapes. They let mixed number types into a matrix product, integers into float-only
    layers, empty maps into a pooling, an axis that is not there into a softmax, a dilation of 0 into a
    convolution, wrong channels and too much output padding into a transposed one; and they hand out empty maps.
    """
    if not given:
        return False
    if isinstance(output, Tensor) and output.numel() == 0:
        return True
    first, mixed = given[0].dtype, False
    for tensor in given:
        if tensor.numel() == 0:
            return True
        mixed |= tensor.dtype is not first
    if "softmax_dim" in facts.settings and _lacks_axis(given[0], facts.settings["softmax_dim"]):
        return True
    if facts.window is not None and (_is_odd(facts.window) or _is_odd_transposed(facts, facts.window, given[0])):
        return True
    if kind in _LOOKUPS:
        return first.is_floating_point
    if facts.operation in _ANY_DTYPE or not (weights or facts.operation or kind in _FLOAT_CALLS):
        return False
    for _, tensor in weights:
        mixed |= tensor.dtype is not first
    # half precision has its matrix products everywhere; trying a large one would take long
    return mixed or (first not in _EVERYWHERE and not (first.is_floating_point and (weights or kind in _FLOAT_CALLS)))


def _lacks_axis(given: Tensor, axis: int | None) -> bool:
    return axis is not None and not -given.dim() <= axis < max(given.dim(), 1)


def _is_odd(window: Window) -> bool:
    """A window that no layer should have."""
    pads = () if isinstance(window.padding, str) else window.padding
    smallest = min(map(min, (window.kernel, window.stride, window.dilation)), default=1) if window.kernel else 1
    return smallest < 1 or min(pads, default=0) < 0


def _is_odd_transposed(facts: Facts, window: Window, given: Tensor) -> bool:
    """A transposed convolution that pads its output by a stride or more, or gets other channels than it takes."""
    rank = len(window.kernel)
    if facts.operation != "conv_transpose" or given.dim() <= rank:
        return False
    axes = zip(window.output_padding, window.stride, window.dilation, strict=True)
    return given.shape[-rank - 1] != facts.settings["in_channels"] or any(o >= max(s, d) for o, s, d in axes)

"""One Linear → the convolution that has its numbers.

A Linear after a flattened C×h×w map multiplies each of the C·h·w numbers by a weight and adds up. A convolution with a
C×h×w kernel does the same sum at every place of a larger map. So the cast is a view of the weight: nothing is copied.

What this file does not do: look at the network around the Linear. That is for `fcnviz.surgery`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fcnviz.arithmetic import count
from fcnviz.conv import Conv2d
from fcnviz.errors import SurgeryError
from fcnviz.twin import like


def linear_to_conv(linear: nn.Linear, shape: Sequence[int]) -> nn.Conv2d:
    """The convolution that computes at every place of a map what `linear` computes of one flattened map.

    Weight and bias lie in the Linear's own memory: what an optimiser or a `load_state_dict` writes into one of the two
    is in the other as well. Each has its own `.grad`: d/dW of the convolution is d/dW of the Linear, reshaped. `.to()`
    and `.half()` give the layer they are called on new memory, and leave the other as it is.

    Args:
        linear: a Linear with C·h·w columns.
        shape: (C, h, w) of the map that is flattened before it.

    Raises:
        SurgeryError: the map has another count of numbers than the Linear has columns, or its weight is not a plain
            parameter.

    >>> linear = nn.Linear(512 * 7 * 7, 4096, device="meta")
    >>> linear_to_conv(linear, (512, 7, 7))
    Conv2d(512, 4096, kernel_size=(7, 7), stride=(1, 1))
    >>> linear_to_conv(linear, (512, 8, 8))
    Traceback (most recent call last):
        ...
    fcnviz.errors.SurgeryError: Linear has 25 088 columns, a 512×8×8 map has another count: 25 088 ≠ 512·8·8 = 32 768
    """
    return cast(linear, shape)


def cast(linear: nn.Linear, shape: Sequence[int], dilation: tuple[int, int] = (1, 1)) -> nn.Conv2d:
    """`linear_to_conv`, for a map of which every `dilation`-th cell is wanted."""
    _check(linear, shape)
    channels, height, width = map(int, shape)
    conv = Conv2d(
        channels, linear.out_features, (height, width), dilation=dilation, bias=linear.bias is not None, device="meta"
    )
    conv.weight = like(linear.weight, linear.weight.detach().view(conv.weight.shape))
    if linear.bias is not None:
        conv.bias = like(linear.bias, linear.bias.detach())
    return conv.train(linear.training)


def _check(linear: Any, shape: Any) -> None:
    if not isinstance(linear, nn.Linear):
        raise SurgeryError(f"linear_to_conv casts an nn.Linear, and was given {type(linear).__name__}")
    name = type(linear).__name__
    if not isinstance(shape, Sequence) or len(shape) != 3 or not all(_is_size(size) for size in shape):
        raise SurgeryError(f"{name} is cast for a map of (channels, height, width), each from 1 up, not for {shape!r}")
    if "weight" not in linear._parameters or "bias" not in linear._parameters:
        raise SurgeryError(f"the weight of {name} is computed from others: there is none whose memory could be shared")
    if is_lazy(linear.weight):
        raise SurgeryError(f"{name} has no weight yet: run it once, and it knows how many columns it has")
    if linear.weight.layout is not torch.strided:
        kind = str(linear.weight.layout).removeprefix("torch.")
        raise SurgeryError(f"the weight of {name} is {kind}: only numbers that lie in memory one by one can be shared")
    product = shape[0] * shape[1] * shape[2]
    if product != linear.in_features:
        c, h, w = shape
        have, want = count(linear.in_features), f"{c}·{h}·{w} = {count(product)}"
        raise SurgeryError(f"{name} has {have} columns, a {c}×{h}×{w} map has another count: {have} ≠ {want}")


def _is_size(size: Any) -> bool:
    return not isinstance(size, bool) and hasattr(size, "__index__") and int(size) > 0

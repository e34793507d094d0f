"""One Linear → the convolution that has its numbers.

A Linear after a flattened C×h×w map multiplies each of the C·h·w numbers by a weight and adds up. A convolution with a
C×h×w kernel does the same sum at every place of a larger map. So the cast is a view of the weight: nothing is copied.

What this file does not do: look at the network around the Linear. That is for `plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fcnviz.arithmetic import count
from fcnviz.errors import SurgeryError
from fcnviz.twin import like


class Conv2d(nn.Conv2d):
    """An `nn.Conv2d` that is fast where the kernel is large and the map small, and takes a Linear's weight from a file.

    On a CPU `conv2d` writes the whole weight anew in another order at every call: 411 MB for fc6 of VGG16. Here the
    windows of the map are copied instead, and multiplied with the weight where it lies. Wherever that does not
    apply (padding, dilation, groups, another device, more windows than the kernel has rows) it is plain `conv2d`.
    """

    is_one_step = True  # for `trace`: what goes on inside is no business of the network's

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self._is_plain and _is_quick(input, weight):
            return _on_windows(input, weight, bias, self.stride)
        return super()._conv_forward(input, weight, bias)

    @property
    def _is_plain(self) -> bool:
        return self.groups == 1 and self.dilation == (1, 1) and self.padding in ((0, 0), "valid")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        key = f"{prefix}weight"
        weight = state_dict.get(key)
        if isinstance(weight, Tensor) and weight.dim() == 2 and weight.numel() == self.weight.numel():
            state_dict = {**state_dict, key: weight.view(self.weight.shape)}  # the file's own dict stays as it is
        super()._load_from_state_dict(state_dict, prefix, *rest)


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
    product = shape[0] * shape[1] * shape[2]
    if product != linear.in_features:
        c, h, w = shape
        have, want = count(linear.in_features), f"{c}·{h}·{w} = {count(product)}"
        raise SurgeryError(f"{name} has {have} columns, a {c}×{h}×{w} map has another count: {have} ≠ {want}")


def _is_size(size: Any) -> bool:
    return not isinstance(size, bool) and hasattr(size, "__index__") and int(size) > 0


def _is_quick(input: Tensor, weight: Tensor) -> bool:
    """True for real numbers on a CPU that `conv2d` would accept, where the windows take less memory than the weight.

    Sizes are looked at last: symbolic ones must not be asked.
    """
    return (
        type(input) is Tensor
        and input.device.type == weight.device.type == "cpu"
        and not (torch.compiler.is_compiling() or torch._C._get_tracing_state())
        and input.dtype == weight.dtype
        and input.dim() == 4
        and input.shape[1] == weight.shape[1]
        and all(n >= k for n, k in zip(input.shape[2:], weight.shape[2:], strict=True))
        and input.shape[0] * (input.shape[2] - weight.shape[2] + 1) * (input.shape[3] - weight.shape[3] + 1)
        <= weight.shape[0]
        and weight.is_contiguous()
    )


def _on_windows(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int]) -> Tensor:
    """N×C×H×W → one row of C·h·w numbers for each window → N×out×H'×W'."""
    windows = input.unfold(2, weight.shape[2], stride[0]).unfold(3, weight.shape[3], stride[1])
    n, _, height, width, *_ = windows.shape
    rows = windows.permute(0, 2, 3, 1, 4, 5).reshape(n * height * width, weight[0].numel())
    multiply = _weight_as_map if len(rows) > 1 and rows.dtype == torch.float32 else F.linear
    answers = multiply(rows, weight.flatten(1), bias)
    return answers.view(n, height, width, len(weight)).permute(0, 3, 1, 2).contiguous()


def _weight_as_map(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear(rows, weight, bias)` with the parts exchanged: the rows are 1×1 kernels that pass over the weight.

    `conv2d` puts its kernels into another order, and these are few. The weight is its map, with one pixel for each
    output and the channels last in memory, which is how the CPU's convolution reads fastest: on some processors twice
    as fast as the matrix product.
    """
    pixels = weight[None, None].permute(0, 3, 1, 2)
    answers = F.conv2d(pixels, rows[:, :, None, None])[0, :, 0]
    return answers if bias is None else answers + bias

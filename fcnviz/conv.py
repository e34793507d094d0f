"""The convolution that stands where a Linear stood: a large kernel over a map with few places for it.

It has the numbers of any other convolution, within rounding, and less waiting for them.

What this file does not do: turn a Linear into one (that is `fcnviz.cast`), or change `nn.Conv2d` itself. On
a GPU, on meta, for symbolic sizes, inside a compiled or exported network, the class is an `nn.Conv2d` and no faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn


class Conv2d(nn.Conv2d):
    """An `nn.Conv2d` that is fast where the kernel is large and the map small, and takes a Linear's weight from a file.

    On a CPU `conv2d` writes the whole weight anew in another order at every call: 411 MB for fc6 of VGG16. Here the
    windows of the map are copied instead, and multiplied with the weight where it lies. Wherever that does not
    apply (padding, dilation, groups, autocast, another device, more windows than rows) it is plain `conv2d`.
    """

    is_one_step = True  # for `trace`: what goes on inside is no business of the network's
    __jit_unused_properties__ = ("_is_plain",)  # TorchScript compiles what `nn.Conv2d` does, and no more

    def forward(self, input: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            return self._quickly(input)
        return self._conv_forward(input, self.weight, self.bias)

    def _quickly(self, input: Tensor) -> Tensor:
        if self._is_plain and _is_quick(input, self.weight):
            return _on_windows(input, self.weight, self.bias, self.stride)
        return self._conv_forward(input, self.weight, self.bias)

    @property
    def _is_plain(self) -> bool:
        return self.groups == 1 and self.dilation == (1, 1) and self.padding in ((0, 0), "valid")

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        key = f"{prefix}weight"
        weight = state_dict.get(key)
        rows_and_columns = len(self.weight), math.prod(self.weight.shape[1:])
        if isinstance(weight, Tensor) and weight.shape == rows_and_columns:
            state_dict = {**state_dict, key: weight.view(self.weight.shape)}  # the file's own dict stays as it is
        super()._load_from_state_dict(state_dict, prefix, *rest)


def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None, dilation: list[int]) -> Tensor:
    """`F.conv2d` without padding and groups, as fast as the layer is; for a forward that has a weight and no layer.

    It is one call of `F.conv2d` to whoever watches calls, as `fcnviz.trace` does: then it is no faster.

    >>> conv2d(torch.ones(1, 2, 4, 5), torch.ones(3, 2, 3, 3), None, (1, 1)).shape
    torch.Size([1, 3, 2, 3])
    """
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        return _noted(input, weight, bias, dilation)
    return F.conv2d(input, weight, bias, 1, 0, dilation)


def _noted(input: Any, weight: Tensor, bias: Tensor | None, dilation: Sequence[int]) -> Any:
    """One node where torch.fx follows a forward, as it does to read a pickled one; else the numbers."""
    if isinstance(input, fx.Proxy):
        return input.tracer.create_proxy("call_function", conv2d, (input, weight, bias, dilation), {})
    return _convolved(input, weight, bias, dilation)


def _convolved(input: Tensor, weight: Tensor, bias: Tensor | None, dilation: Sequence[int]) -> Tensor:
    is_plain = tuple(dilation) == (1, 1) and not torch._C._is_torch_function_mode_enabled()
    if is_plain and _is_quick(input, weight):
        return _on_windows(input, weight, bias, (1, 1))
    return F.conv2d(input, weight, bias, 1, 0, dilation)


def _is_quick(input: Tensor, weight: Tensor) -> bool:
    """True for real numbers on a CPU that `conv2d` would accept, where the windows take less memory than the weight.

    Sizes are looked at last: symbolic ones must not be asked.
    """
    return (
        type(input) is Tensor
        and input.device.type == weight.device.type == "cpu"
        and not (torch.compiler.is_compiling() or torch._C._get_tracing_state())
        and input.dtype == weight.dtype
        and not torch.is_autocast_enabled("cpu")  # which writes the whole weight anew in another number type
        and input.dim() in (3, 4)
        and input.shape[-3] == weight.shape[1]
        and all(n >= k for n, k in zip(input.shape[-2:], weight.shape[2:], strict=True))
        and math.prod(input.shape[:-3]) * math.prod(_places(input, weight)) <= weight.shape[0]
        and weight.is_contiguous()
    )


def _places(input: Tensor, weight: Tensor) -> Iterator[int]:
    """Where a kernel that moves by one fits in, along H and W."""
    return (n - k + 1 for n, k in zip(input.shape[-2:], weight.shape[2:], strict=True))


def _on_windows(input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int]) -> Tensor:
    """N×C×H×W, or C×H×W → one row of C·h·w numbers for each window → N×out×H'×W', or out×H'×W'."""
    windows = input.unfold(-2, weight.shape[2], stride[0]).unfold(-2, weight.shape[3], stride[1]).movedim(-5, -3)
    rows = windows.flatten(-3).flatten(0, -2)
    multiply = _weight_as_map if len(rows) > 1 and rows.dtype == torch.float32 else F.linear
    answers = multiply(rows, weight.flatten(1), bias)
    return answers.view(*windows.shape[:-3], len(weight)).movedim(-1, -3).contiguous()


def _weight_as_map(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear(rows, weight, bias)` with the parts exchanged: the rows are 1×1 kernels that pass over the weight.

    `conv2d` puts its kernels into another order, and these are few. The weight is its map, with one pixel for each
    output and the channels last in memory, which is how the CPU's convolution reads fastest: on some processors twice
    as fast as the matrix product.
    """
    pixels = weight[None, None].permute(0, 3, 1, 2)
    answers = F.conv2d(pixels, rows[:, :, None, None])[0, :, 0]
    return answers if bias is None else answers + bias

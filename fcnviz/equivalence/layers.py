"""A Linear and a convolution on one input: what has to match, and the windows that both of them see.

A convolution answers at each cell from one window of its map. Every window flattened in the order C, H, W is a row that
the Linear takes, so the two can be asked the same question, and Σ|w||x| of it is one product of two matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fcnviz.arithmetic import conv_size, count
from fcnviz.equivalence.rounding import type_name
from fcnviz.errors import InputError
from fcnviz.records import Window


def absolute_bias(layer: nn.Linear) -> Tensor:
    """|b| in float64, 0 where the layer has none."""
    weight, bias = layer.weight.detach(), layer.bias
    zeros = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
    return zeros if bias is None else bias.detach().double().abs()


def absolute_sums(weight: Tensor, windows: Tensor) -> Tensor:
    """Σ|w||x| of each output (row) and window (column), in float64."""
    return weight.detach().double().abs() @ windows.detach().double().abs().T


def windows_of(conv: nn.Conv2d, image: Tensor) -> Tensor:
    """Every window that the convolution sees, one a row, flattened in the order C, H, W; cells row by row."""
    (top, bottom), (left, right) = window_of(conv).pads
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = F.pad(image, (left, right, top, bottom), mode) if any((top, bottom, left, right)) else image
    columns = F.unfold(padded, two(conv.kernel_size), dilation=two(conv.dilation), stride=two(conv.stride))
    return columns.transpose(1, 2).flatten(0, 1)


def other_weights(linear: nn.Linear, conv: nn.Conv2d) -> bool:
    """True if the two do not hold the same weights and biases, bit for bit."""
    pairs = [(linear.weight, conv.weight.flatten(1)), (linear.bias, conv.bias)]
    return any(not torch.equal(a, b) if a is not None and b is not None else a is not b for a, b in pairs)


def window_of(conv: nn.Conv2d) -> Window:
    """Kernel, stride, padding and dilation of a convolution."""
    padding = conv.padding if isinstance(conv.padding, str) else two(conv.padding)
    return Window(two(conv.kernel_size), two(conv.stride), padding, two(conv.dilation))


def two(sizes: Sequence[int]) -> tuple[int, int]:
    """The same two sizes, as a pair."""
    return sizes[0], sizes[1]


def checked(linear: nn.Linear, conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The input as a map N×C×H×W, after everything that has to match."""
    given: tuple[Any, ...] = (linear, conv, x)
    if not all(map(isinstance, given, (nn.Linear, nn.Conv2d, Tensor))):
        _point_to_layers(linear, conv)
        kinds = ", ".join(type(one).__name__ for one in given)
        raise InputError(f"compare(linear, conv, x) takes a Linear, a Conv2d and a tensor; it was given {kinds}")
    if is_lazy(linear.weight) or is_lazy(conv.weight):
        raise InputError("a lazy layer was given, which has no weights before its first input")
    _check_numbers(linear, conv, x)
    _check_weights(linear, conv)
    image = _as_map(conv, x)
    channels, sizes = image.shape[1], image.shape[2:]
    if channels != conv.in_channels:
        raise InputError(f"x is {by(x.shape)}, with {channels} channels; {conv_name(conv)} takes {conv.in_channels}")
    window = window_of(conv)
    for size, kernel, (before, after), dilation in zip(sizes, window.kernel, window.pads, window.dilation, strict=True):
        conv_size(size + before + after, kernel, dilation=dilation)
        _check_padding(conv, size, max(before, after))
    if not image.numel():
        raise InputError(f"x is {by(x.shape)}, which holds no number: there is nothing to compare")
    return image


def _check_padding(conv: nn.Conv2d, size: int, pad: int) -> None:
    """Reflected padding repeats cells of the map, all but the first; circular padding those on the other side."""
    most = {"reflect": size - 1, "circular": size}.get(conv.padding_mode, pad)
    if pad > most:
        raise InputError(f"padding of {pad} by {conv.padding_mode} was asked for; a map of {size} cells has {most}")


def _point_to_layers(*models: Any) -> None:
    if all(isinstance(model, nn.Module) and model._modules for model in models):
        raise InputError(
            "compare judges one Linear and the convolution that has its weights: the bound is known for one sum, not "
            "for a network of them. Compare two nets layer by layer: compare(net.fc, dense.fc, x), x what comes into fc"
        )


def _check_numbers(linear: nn.Linear, conv: nn.Conv2d, x: Tensor) -> None:
    tensors = {"Linear": linear.weight, "Conv2d": conv.weight, "x": x}
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided:
            raise InputError(f"{name} holds {tensor.layout} numbers, and a window is made of plain ones: .to_dense()")
    for what, of in (("number type", lambda t: type_name(t.dtype)), ("device", lambda t: str(t.device))):
        found = {name: of(tensor) for name, tensor in tensors.items()}
        if len(set(found.values())) > 1:
            listed = ", ".join(f"{name} {value}" for name, value in found.items())
            raise InputError(f"all three need the same {what}; here {listed}")
    if x.is_meta:
        raise InputError("x and the layers are on meta, where there are no numbers to compare; give both a real device")
    if x.dtype not in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        raise InputError(
            f"{type_name(x.dtype)} numbers were given; float64, float32, bfloat16 and float16 can be judged"
        )


def _check_weights(linear: nn.Linear, conv: nn.Conv2d) -> None:
    if conv.groups != 1:
        raise InputError(f"{conv_name(conv)} has {conv.groups} groups; a Linear joins every input to every output")
    columns, sizes = linear.in_features, (conv.in_channels, *two(conv.kernel_size))
    if math.prod(sizes) != columns:
        kernel = f"{'·'.join(map(str, sizes))} = {count(math.prod(sizes))}"
        raise InputError(
            f"{linear_name(linear)} has {count(columns)} columns, {conv_name(conv)} a kernel of {kernel}"
            f" numbers: {count(columns)} ≠ {count(math.prod(sizes))}"
        )
    if linear.out_features != conv.out_channels:
        outputs = f"{count(linear.out_features)} ≠ {count(conv.out_channels)}"
        raise InputError(f"{linear_name(linear)} and {conv_name(conv)} have different numbers of outputs: {outputs}")
    if not math.prod(sizes) or not conv.out_channels:
        raise InputError(f"{linear_name(linear)} has no weights: there is nothing to compare")


def _as_map(conv: nn.Conv2d, x: Tensor) -> Tensor:
    sizes = (conv.in_channels, *two(conv.kernel_size))
    if x.dim() in (3, 4):
        return x if x.dim() == 4 else x.unsqueeze(0)
    if x.dim() not in (1, 2):
        raise InputError(f"x has {x.dim()} axes; it is a map N×C×H×W or C×H×W, or rows of {count(math.prod(sizes))}")
    rows = x if x.dim() == 2 else x.unsqueeze(0)
    if rows.shape[1] != math.prod(sizes):
        kernel = f"{'·'.join(map(str, sizes))} = {count(math.prod(sizes))}"
        raise InputError(f"x is {by(x.shape)}: rows of {count(rows.shape[1])} numbers, where the layers take {kernel}")
    return rows.reshape(len(rows), *sizes)


def by(sizes: Sequence[int]) -> str:
    """Sizes as they are read: 1×512×7×7."""
    return "×".join(map(str, sizes))


def linear_name(linear: nn.Linear) -> str:
    """Linear 25088 → 4096, as a comparison calls it."""
    return f"Linear {linear.in_features} → {linear.out_features}"


def conv_name(conv: nn.Conv2d) -> str:
    """Conv2d 4096 of 512×7×7, as a comparison calls it."""
    return f"Conv2d {conv.out_channels} of {conv.in_channels}×{by(conv.kernel_size)}"

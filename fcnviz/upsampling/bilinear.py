"""Bilinear kernels: the weights with which the paper's networks go back to pixels.

One axis is enough to see it. A kernel of k cells is a tent: with f = ⌊(k + 1) / 2⌋ its weights fall by 1/f from cell to
cell, from the middle cell (k odd) or from between the two middle cells (k even). Two axes multiply.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from fcnviz.errors import InputError


def check_whole(least: int, **asked: object) -> None:
    """Refuses what is no whole number from `least` up, by its name."""
    for name, value in asked.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name}={value!r} was asked for; it is a whole number from {least} up")


def tent(kernel: int) -> tuple[Fraction, ...]:
    """The weights of one axis: 1 − |i − c| / f, with c = f − 1 for an odd kernel and f − ½ for an even one.

    Source: Long, Shelhamer & Darrell, surgery.py of their Caffe nets.

    >>> [str(weight) for weight in tent(4)], [str(weight) for weight in tent(5)]
    (['1/4', '3/4', '3/4', '1/4'], ['1/3', '2/3', '1', '2/3', '1/3'])
    """
    check_whole(1, kernel=kernel)
    f = Fraction((kernel + 1) // 2)
    centre = f - (1 if kernel % 2 else Fraction(1, 2))
    return tuple(1 - abs(i - centre) / f for i in range(kernel))


def bilinear_kernel(kernel: int, dtype: torch.dtype | None = None) -> Tensor:
    """kernel×kernel weights: products of two tents, computed exactly and rounded to float64, then to `dtype`.

    >>> bilinear_kernel(2), bilinear_kernel(3)[1]
    (tensor([[0.2500, 0.2500],
            [0.2500, 0.2500]]), tensor([0.5000, 1.0000, 0.5000]))
    """
    weights, dtype = tent(kernel), dtype or torch.get_default_dtype()
    if not dtype.is_floating_point:
        raise InputError(f"a bilinear kernel of {dtype} was asked for; its weights are fractions")
    parts = 2 * ((kernel + 1) // 2)  # each weight is a whole number of 1/parts
    whole = torch.tensor([int(weight * parts) for weight in weights], dtype=torch.float64)
    exact = torch.outer(whole, whole) / parts**2  # whole numbers below 2⁵³: the division alone may round
    return exact.to(dtype)


def kernel_of(factor: int) -> tuple[int, int]:
    """Kernel and padding with which a transposed convolution of stride `factor` resizes as `F.interpolate` does.

    The kernel is even for an even factor and odd for an odd one, so that the places of the finer cells come out as
    `align_corners=False` has them. Source: Caffe, filler.hpp, BilinearFiller.

    >>> kernel_of(2), kernel_of(3), kernel_of(32)
    ((4, 1), (5, 1), (64, 16))
    """
    check_whole(1, factor=factor)
    return 2 * factor - factor % 2, factor // 2


def upsampling(
    classes: int, kernel: int, stride: int, padding: int = 0, grouped: bool = False, device: Any = "cpu"
) -> nn.ConvTranspose2d:
    """A transposed convolution that enlarges the map of each class by itself, bilinearly.

    N×classes×h×w → N×classes×((h−1)·s − 2p + k)×((w−1)·s − 2p + k). It has no bias and is not trained
    (`requires_grad` is False), as in the authors' nets. There every class has weights to every class, all 0 but its
    own: classes²·k² numbers. `grouped` keeps the classes·k² that count.

    >>> layer = upsampling(21, 64, 32)
    >>> layer.weight.numel(), upsampling(21, 64, 32, grouped=True).weight.numel()
    (1806336, 86016)
    >>> layer(torch.rand(1, 21, 16, 16)).shape
    torch.Size([1, 21, 544, 544])

    Raises:
        InputError: classes, a kernel, a stride or a padding that is no whole number.
    """
    check_whole(1, classes=classes, kernel=kernel, stride=stride)
    check_whole(0, padding=padding)
    groups = classes if grouped else 1
    layer = nn.ConvTranspose2d(
        classes, classes, kernel, stride, padding, groups=groups, bias=False, device=device
    ).requires_grad_(False)
    fill(layer)
    return layer


@torch.no_grad()
def fill(layer: nn.ConvTranspose2d) -> None:
    """Gives a transposed convolution bilinear weights, from each channel to itself and to no other.

    They are rounded once, to the number type of the layer: fill after `.to(dtype)`, not before.

    Raises:
        InputError: a kernel that is not square, or channels that do not pair.
    """
    k, groups = layer.kernel_size, layer.groups
    if k[0] != k[1] or layer.in_channels != layer.out_channels or groups not in (1, layer.in_channels):
        raise InputError(
            f"{layer} takes no bilinear weights: a square kernel is needed, and as many channels out as in, "
            "all in one group or each in its own"
        )
    if layer.weight.is_meta:
        return  # no numbers there
    layer.weight.zero_()
    own = range(layer.in_channels)
    layer.weight[own, [0 if groups > 1 else c for c in own]] = bilinear_kernel(k[0], layer.weight.dtype).to(
        layer.weight.device
    )


def class_wise(layer: nn.ConvTranspose2d) -> nn.ConvTranspose2d:
    """The grouped form of a transposed convolution whose channels do not mix: the same numbers, fewer weights.

    Raises:
        InputError: a weight from one channel to another that is not 0; a layer on meta, where none can be looked at.
    """
    return _regrouped(layer, layer.in_channels, _only_own)


def dense(layer: nn.ConvTranspose2d) -> nn.ConvTranspose2d:
    """The form with weights from every channel to every channel, those to others 0: what the authors' files hold."""
    return _regrouped(layer, 1, _among_zeros)


_WINDOW = ("kernel_size", "stride", "padding", "output_padding", "dilation")


def _regrouped(
    layer: nn.ConvTranspose2d, groups: int, weight: Callable[[nn.ConvTranspose2d], Tensor]
) -> nn.ConvTranspose2d:
    channels = layer.in_channels
    if layer.out_channels != channels or layer.groups not in (1, channels):
        raise InputError(f"{layer} has no class-wise form: its channels do not pair, each with itself")
    settings: dict[str, Any] = {name: getattr(layer, name) for name in _WINDOW}
    made = nn.ConvTranspose2d(channels, channels, **settings, groups=groups, bias=False, device="meta")
    made.weight = nn.Parameter(weight(layer), requires_grad=layer.weight.requires_grad)
    made.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone(), layer.bias.requires_grad)
    return made.train(layer.training)


def _only_own(layer: nn.ConvTranspose2d) -> Tensor:
    weight = layer.weight.detach()
    if weight.shape[1] == 1:
        return weight.clone()
    if weight.is_meta:
        raise InputError(f"{layer} is on meta: whether its channels mix cannot be seen without numbers")
    own = torch.arange(len(weight))
    others = weight.clone()
    others[own, own] = 0
    if others.any():
        one, other, *_ = others.nonzero()[0].tolist()
        raise InputError(f"channel {one} also writes to channel {other}: no class-wise layer gives these numbers")
    return weight[own, own].unsqueeze(1)


def _among_zeros(layer: nn.ConvTranspose2d) -> Tensor:
    weight, own = layer.weight.detach(), torch.arange(layer.in_channels)
    if layer.groups == 1:
        return weight.clone()
    made = weight.new_zeros(len(own), len(own), *weight.shape[2:])
    made[own, own] = weight[:, 0]
    return made

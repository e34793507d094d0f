"""The answers of a Linear against those of a convolution, at every cell."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from fcnviz.equivalence.layers import (
    absolute_bias,
    absolute_sums,
    checked,
    conv_name,
    linear_name,
    other_weights,
    windows_of,
)
from fcnviz.equivalence.rounding import arithmetic_of, plain
from fcnviz.equivalence.verdict import Comparison, Pair, judged
from fcnviz.records import Shape


def compare(linear: nn.Linear, conv: nn.Conv2d, x: Tensor) -> Comparison:
    """Whether a convolution gives, in each cell, what the Linear gives of that cell's window.

    Args:
        linear: with one column for each number of the kernel.
        conv: in one group; any stride, padding and dilation.
        x: a map N×C×H×W (or one image C×H×W), or flat rows N×(C·h·w) of the kernel's size (or one row).
            The Linear gets every window of the map flattened in the order C, H, W.

    Returns:
        A `Comparison` of all cells. The bound takes for granted that both layers hold the same weights and biases. If
        they don't, `other_weights` is true, and mostly the verdict is "different": a change of weights that is as small
        as rounding cannot be told from it by the answers. Half and bfloat16 layers are taken to add in float32, as
        torch's do (on CUDA unless `allow_fp16_reduced_precision_reduction` or its bf16 sister lets them do otherwise).

    Raises:
        InputError: sizes, number types or devices that don't match; no numbers; a number that is not finite.
        WindowError: a map smaller than the kernel.

    >>> import torch
    >>> linear = nn.Linear(2 * 3 * 3, 5).double()
    >>> conv = nn.Conv2d(2, 5, 3).double()
    >>> _ = conv.load_state_dict({"weight": linear.weight.view(5, 2, 3, 3), "bias": linear.bias})
    >>> found = compare(linear, conv, torch.rand(1, 2, 4, 4, dtype=torch.float64))
    >>> found.shapes, found.share <= 1
    (((4, 5), (1, 5, 2, 2)), True)
    """
    image = checked(linear, conv, x)
    with plain():
        windows = windows_of(conv, image)
        answers, map_ = linear(windows), conv(image)
        found = judged(_pair(linear, conv, x, windows, answers, map_), (len(image), *map_.shape[-2:]))
        return replace(found, other_weights=other_weights(linear, conv))


def _pair(linear: nn.Linear, conv: nn.Conv2d, x: Tensor, windows: Tensor, answers: Tensor, map_: Tensor) -> Pair:
    bias = absolute_bias(linear)
    return Pair(
        names=(linear_name(linear), conv_name(conv)),
        shapes=(Shape(answers.shape), Shape(map_.shape)),
        input_shape=Shape(x.shape),
        one=answers.T,
        other=map_.transpose(0, 1).flatten(1),
        sums=lambda rows: absolute_sums(linear.weight[rows], windows) + bias[rows, None],
        bias=bias,
        roundings=linear.in_features + 1,
        arithmetic=arithmetic_of(windows),
    )

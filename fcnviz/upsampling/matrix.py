"""A convolution is one matrix, and the transposed convolution with the same weights is that matrix transposed.

Flatten the map into a column: each output cell of a convolution is a row that holds the kernel's weights at the cells
of its window and 0 elsewhere. Transposed, that row is a column: what a cell of the coarse map writes to the fine one.
It is no inverse: the two multiplied are not the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fcnviz.arithmetic import conv_size
from fcnviz.errors import InputError
from fcnviz.operations import module_facts
from fcnviz.records import Window
from fcnviz.upsampling.spread import Pair, between_all, checked_size, output_size, window_of

LARGEST = 2**26  # numbers in a matrix; 512 MB in float64


def convolution_matrix(conv: nn.Conv2d, size: Pair) -> Tensor:
    """The matrix M with conv(x) = M·x + bias, for maps of `size` flattened in the order C, H, W.

    (out·h·w) × (in·H·W), in the number type of the weight.

    Raises:
        InputError: no plain Conv2d that pads with zeros; a matrix of more than 2²⁶ numbers.
        WindowError: a kernel larger than the map.

    >>> conv = nn.Conv2d(1, 1, 2, bias=False)
    >>> _ = conv.weight.data.copy_(torch.tensor([[[[1, 2], [3, 4]]]]))
    >>> convolution_matrix(conv, (2, 3))
    tensor([[1., 2., 0., 3., 4., 0.],
            [0., 1., 2., 0., 3., 4.]])
    """
    facts = module_facts(conv)
    if not isinstance(conv, nn.Conv2d) or facts.window is None or conv.padding_mode != "zeros":
        raise InputError(f"an nn.Conv2d that pads with zeros was expected, not {conv}")
    weight = between_all(conv.weight.detach(), conv.groups)
    size = checked_size(size)
    return _filled(weight, facts.window, size, _size_after(facts.window, size))


def transposed_matrix(layer: nn.ConvTranspose2d, size: Pair) -> Tensor:
    """The matrix M with layer(x) = M·x + bias, for maps of `size` flattened in the order C, H, W.

    It is the transposed `convolution_matrix` of the convolution that has the same weight and window, which takes the
    large map to the small one (or to a larger one, whose further rows are left out, if the output padding is a stride
    or more).

    >>> layer = nn.ConvTranspose2d(1, 1, 2, bias=False)
    >>> _ = layer.weight.data.copy_(torch.tensor([[[[1, 2], [3, 4]]]]))
    >>> transposed_matrix(layer, (1, 2)).T
    tensor([[1., 2., 0., 3., 4., 0.],
            [0., 1., 2., 0., 3., 4.]])
    """
    window = window_of(layer)
    weight = between_all(layer.weight.detach(), layer.groups)
    size = checked_size(size)
    return _filled(weight, window, output_size(layer, size), size).T


def _size_after(window: Window, size: Pair) -> Pair:
    sizes = [
        conv_size(
            size[a], window.kernel[a], window.stride[a],
            window.padding if isinstance(window.padding, str) else window.padding[a], window.dilation[a],
        )
        for a in (0, 1)
    ]  # fmt: skip
    return sizes[0], sizes[1]


def _filled(weight: Tensor, window: Window, large: Pair, small: Pair) -> Tensor:
    """Row (o, y, x), column (c, Y, X): weight[o, c, a, b] where Y = y·s − p + d·a and X = x·s − p + d·b, else 0."""
    outputs, inputs = weight.shape[:2]
    if outputs * inputs * large[0] * large[1] * small[0] * small[1] > LARGEST:
        raise InputError(
            f"a matrix of {outputs}·{small[0]}·{small[1]} × {inputs}·{large[0]}·{large[1]} numbers is more than "
            "memory is for; take a smaller map"
        )
    made = weight.new_zeros(outputs, *small, inputs, *large)
    channels = torch.arange(outputs)[:, None, None, None], torch.arange(inputs)[None, None, None, :]
    for a in range(window.kernel[0]):
        for b in range(window.kernel[1]):
            y, rows = _pairs(window, 0, a, large, small)
            x, columns = _pairs(window, 1, b, large, small)
            y, rows, x, columns = y[:, None, None], rows[:, None, None], x[:, None], columns[:, None]
            made[channels[0], y, x, channels[1], rows, columns] = weight[:, None, None, :, a, b]
    return made.flatten(3).flatten(0, 2)


def _pairs(window: Window, axis: int, tap: int, large: Pair, small: Pair) -> tuple[Tensor, Tensor]:
    """Output cells of one axis whose weight `tap` lies on the map, and the cells it lies on."""
    outputs = torch.arange(small[axis])
    cells = outputs * window.stride[axis] - window.pads[axis][0] + window.dilation[axis] * tap
    inside = (cells >= 0) & (cells < large[axis])
    return outputs[inside], cells[inside]

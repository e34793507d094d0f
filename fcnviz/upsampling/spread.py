"""A transposed convolution as arithmetic: each input cell spreads a kernel, and overlapping kernels add up.

Input cell i of an axis writes its number times weight t to output cell i·s − p + d·t, for t = 0 … k − 1. Whatever falls
off the map is dropped, so that padding cuts here. Read the other way round: output cell o is the sum over all pairs
(i, t) with i·s + d·t = o + p, which are k/s of them on each axis where k is a multiple of s.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fcnviz.arithmetic import conv_transpose_size
from fcnviz.errors import InputError
from fcnviz.operations import module_facts
from fcnviz.records import Shape, Window

Pair = tuple[int, int]


class Term(NamedTuple):
    """One product: the input cell (channel, row, column), the kernel's place (row, column), the numbers."""

    cell: tuple[int, int, int]
    place: Pair
    input: float
    weight: float
    product: float


@dataclass(frozen=True, eq=False)
class Overlap:
    """One output cell of a transposed convolution: every product that falls on it, and their sum.

    Attributes:
        channel, cell: which output it is.
        map, output: C×h×w of the input, C×H×W of the output.
        window: kernel, stride, padding, dilation.
        terms: the products, input channel after input channel.
        bias: 0 where there is none.
        exact: the sum without any rounding.
        answer: what torch's layer gives.
    """

    channel: int
    cell: Pair
    map: Shape
    output: Shape
    window: Window
    terms: tuple[Term, ...]
    bias: float
    exact: Fraction
    answer: float

    def __str__(self) -> str:
        from fcnviz import handwork  # a record knows that a sheet exists, never how one looks

        return handwork.overlap_text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.overlap_html(self)


def output_size(layer: nn.ConvTranspose2d, size: Pair) -> Pair:
    """Rows and columns of what a transposed convolution makes of a map of `size`.

    >>> output_size(nn.ConvTranspose2d(21, 21, 64, 32), (16, 12))
    (544, 416)
    """
    window, size = window_of(layer), checked_size(size)
    (kernel, stride, padding, dilation), extra = _parts(window), window.output_padding
    rows, columns = (
        conv_transpose_size(size[a], kernel[a], stride[a], padding[a], dilation[a], extra[a]) for a in (0, 1)
    )
    return rows, columns


def checked_size(size: object) -> Pair:
    """Rows and columns, if that is what they are."""
    if not isinstance(size, Sequence) or len(size) != 2 or not all(isinstance(n, Integral) for n in size):
        raise InputError(f"a map of size {size!r} was asked for; it has rows and columns, such as (16, 12)")
    return int(size[0]), int(size[1])


def _parts(window: Window) -> tuple[Pair, Pair, Pair, Pair]:
    """Kernel, stride, padding and dilation, rows and columns each."""
    padding = tuple(before for before, _ in window.pads)
    kernel, stride, padding, dilation = ((p[0], p[1]) for p in (window.kernel, window.stride, padding, window.dilation))
    return kernel, stride, padding, dilation


@torch.no_grad()
def spread(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """What `layer` computes, by its definition: for each input cell a kernel is added to the output.

    C×h×w → C×H×W in the number type of `x`. One addition for each input cell: for small maps.

    Raises:
        InputError: no map of the layer's channels and number type; a layer on meta.

    >>> layer = nn.ConvTranspose2d(1, 1, 3, stride=2, bias=False)
    >>> _ = layer.weight.data.fill_(1)
    >>> spread(layer, torch.tensor([[[1.0, 10.0]]]))[0, 0]
    tensor([ 1.,  1., 11., 10., 10.])
    """
    weight = _checked(layer, x)
    kernel, stride, padding, dilation = _parts(window_of(layer))
    size = output_size(layer, (x.shape[1], x.shape[2]))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    whole = [
        max((n - 1) * s + r, p + o) for n, s, r, p, o in zip(x.shape[1:], stride, reach, padding, size, strict=True)
    ]
    made = x.new_zeros(layer.out_channels, *whole)
    for i, j in itertools.product(range(x.shape[1]), range(x.shape[2])):
        top, left = i * stride[0], j * stride[1]
        spot = made[:, top : top + reach[0] : dilation[0], left : left + reach[1] : dilation[1]]
        spot += (x[:, i, j, None, None, None] * weight).sum(0)
    made = made[:, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    return made if layer.bias is None else made + layer.bias[:, None, None]


@torch.no_grad()
def overlap(layer: nn.ConvTranspose2d, x: Tensor, cell: Pair, channel: int = 0) -> Overlap:
    """The products that fall on one output cell, to be added up by hand.

    Args:
        layer: in any number of groups.
        x: a map C×h×w.
        cell: row and column of the output.
        channel: of the output.

    Raises:
        InputError: no map of the layer's channels and number type; a cell or channel that the output has not; a number
            that is infinite or none.

    >>> layer = nn.ConvTranspose2d(1, 1, 3, stride=2, bias=False)
    >>> _ = layer.weight.data.fill_(1)
    >>> [(term.cell, term.place) for term in overlap(layer, torch.ones(1, 2, 2), (0, 2)).terms]
    [((0, 0, 0), (0, 2)), ((0, 0, 1), (0, 0))]
    """
    weight = _checked(layer, x)
    output = Shape((layer.out_channels, *output_size(layer, (x.shape[1], x.shape[2]))))
    _check_cell(channel, cell, output)
    rows, columns = (list(_written_to(layer, axis, cell[axis], x.shape[1 + axis])) for axis in (0, 1))
    terms = tuple(
        _term(x, weight, (c, i, j), (channel, a, b))
        for c in _channels(layer, channel)
        for (i, a), (j, b) in itertools.product(rows, columns)
    )
    bias = 0.0 if layer.bias is None else layer.bias[channel].item()
    _check_finite(terms, bias)
    exact = sum((Fraction(t.input) * Fraction(t.weight) for t in terms), Fraction(bias))
    answer = layer(x[None])[0, channel, cell[0], cell[1]].item()
    return Overlap(channel, cell, Shape(x.shape), output, window_of(layer), terms, bias, exact, answer)


def _check_cell(channel: object, cell: object, output: Shape) -> None:
    at = (channel, *cell) if isinstance(cell, Sequence) else (channel, cell)
    whole = [int(n) for n in at if isinstance(n, Integral)]
    if len(at) != 3 or len(whole) != 3 or not all(0 <= n < size for n, size in zip(whole, output, strict=True)):
        raise InputError(f"cell {cell} of channel {channel} was asked for; the output is {'×'.join(map(str, output))}")


def _check_finite(terms: Sequence[Term], bias: float) -> None:
    for term in terms:
        if not math.isfinite(term.product):
            raise InputError(
                f"{term.input:g} of cell {term.cell} times {term.weight:g} is {term.product:g}: no number to add up"
            )
    if not math.isfinite(bias):
        raise InputError(f"the bias is {bias:g}: no number to add up")


def _written_to(layer: nn.ConvTranspose2d, axis: int, cell: int, size: int) -> Iterator[Pair]:
    """Input cell and kernel place of all that falls on one output cell of an axis."""
    kernel, stride, padding, dilation = (part[axis] for part in _parts(window_of(layer)))
    for i in range(size):
        place, rest = divmod(cell + padding - i * stride, dilation)
        if rest == 0 and 0 <= place < kernel:
            yield i, place


def _channels(layer: nn.ConvTranspose2d, channel: int) -> range:
    """Input channels that an output channel is made of."""
    each = layer.in_channels // layer.groups
    group = channel // (layer.out_channels // layer.groups)
    return range(group * each, (group + 1) * each)


def _term(x: Tensor, weight: Tensor, cell: tuple[int, int, int], place: tuple[int, int, int]) -> Term:
    input, factor = x[cell].item(), weight[(cell[0], *place)].item()
    return Term(cell, place[1:], input, factor, input * factor + 0.0)  # + 0.0, so that no product is −0


def window_of(layer: nn.ConvTranspose2d) -> Window:
    """The window of a transposed convolution, as a trace has it."""
    window = module_facts(layer).window
    if not isinstance(layer, nn.ConvTranspose2d) or window is None:
        raise InputError(f"an nn.ConvTranspose2d was expected, not {type(layer).__name__}")
    return window


def _checked(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """The weight in×out×k×k, zeros between groups."""
    window_of(layer)
    weight = layer.weight.detach()
    is_map = isinstance(x, Tensor) and x.dim() == 3 and len(x) == layer.in_channels and x.dtype == weight.dtype
    if not is_map or weight.is_meta or x.is_meta:
        raise InputError(
            f"a map {layer.in_channels}×h×w of {weight.dtype} with numbers was expected, not {described(x)}, for "
            f"weights on {weight.device}"
        )
    return between_all(weight, layer.groups)


def described(x: object) -> str:
    """What was handed in where a map was expected."""
    return f"{tuple(x.shape)} of {x.dtype} on {x.device}" if isinstance(x, Tensor) else type(x).__name__


def between_all(weight: Tensor, groups: int) -> Tensor:
    """A weight n×(m/groups)×k×k as n×m×k×k, with zeros from each group to the others."""
    inputs, each = weight.shape[0] // groups, weight.shape[1]
    made = weight.new_zeros(len(weight), groups * each, *weight.shape[2:])
    for g in range(groups):
        own = slice(g * inputs, (g + 1) * inputs)
        made[own, g * each : (g + 1) * each] = weight[own]
    return made

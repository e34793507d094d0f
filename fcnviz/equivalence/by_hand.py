"""One answer term by term, added up as a Linear would write it and as a convolution would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fcnviz.arithmetic import count
from fcnviz.equivalence.layers import checked, conv_name, linear_name, other_weights, two, window_of, windows_of
from fcnviz.equivalence.rounding import plain, type_name
from fcnviz.errors import InputError
from fcnviz.records import Window


class Product(NamedTuple):
    """One product: the Linear's column, the kernel's place (channel, row, column), the map's cell, the numbers."""

    column: int
    place: tuple[int, int, int]
    cell: tuple[int, int]
    weight: float
    input: float
    product: float


@dataclass(frozen=True, eq=False, repr=False)
class Handwork:
    """One answer, term by term, added up as a Linear would write it and as a convolution would.

    The running sums are computed in the type in which layers add (float64 for float64, float32 for all others), one
    addition after the other. torch adds in blocks, in yet another order; its two answers are beside them.

    Attributes:
        names: of the Linear and of the convolution.
        channel, cell, image: which output it is.
        outputs, cells: how many channels there are, and how many rows and columns the answer has.
        map: C, H, W of the input.
        rows, columns: first and last-but-one row and column of the window in the map; padding counts negative.
        dtype: number type of the layers.
        weights, inputs, products: C×h×w each.
        bias: 0 where there is none.
        running: the sum after each column of the Linear, in the order C, H, W; without the bias.
        channel_sums: the sum of each channel's h×w products.
        running_channels: the sum after each channel, as the convolution adds them; without the bias.
        sums: both totals, with the bias.
        answers: what the Linear and the convolution gave.
        exact: the sum without any rounding, as near as a float64 comes.
        absolute: S = Σ|w||x| + |b|.
        other_weights: whether the convolution holds other numbers than the Linear; all sums are of the Linear's.
    """

    names: tuple[str, str]
    channel: int
    cell: tuple[int, int]
    image: int
    outputs: int
    cells: tuple[int, int]
    map: tuple[int, int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    dilation: tuple[int, int]
    dtype: str
    weights: NDArray[Any] = field(repr=False)
    inputs: NDArray[Any] = field(repr=False)
    products: NDArray[Any] = field(repr=False)
    bias: float
    running: NDArray[Any] = field(repr=False)
    channel_sums: NDArray[Any] = field(repr=False)
    running_channels: NDArray[Any] = field(repr=False)
    sums: tuple[float, float]
    answers: tuple[float, float]
    exact: float
    absolute: float
    other_weights: bool

    def __repr__(self) -> str:
        of = f"{self.names[0]} and {self.names[1]}"
        return f"Handwork(channel {self.channel}, cell {self.cell} of {of}: {self.exact:.6g})"

    def product(self, column: int) -> Product:
        """The product of one column of the Linear, with its place in the kernel and in the map."""
        c, i, j = (int(n) for n in np.unravel_index(column, self.products.shape))
        cell = (self.rows[0] + i * self.dilation[0], self.columns[0] + j * self.dilation[1])
        numbers = (float(each[c, i, j]) for each in (self.weights, self.inputs, self.products))
        return Product(column, (c, i, j), cell, *numbers)

    def largest(self, most: int = 5) -> tuple[Product, ...]:
        """The products of largest absolute value, largest first."""
        order = np.argsort(-np.abs(self.products.ravel()), kind="stable")[:most]
        return tuple(self.product(int(column)) for column in order)

    def __str__(self) -> str:
        from fcnviz import handwork

        return handwork.text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.html(self)


def by_hand(
    linear: nn.Linear, conv: nn.Conv2d, x: Tensor, channel: int = 0, cell: tuple[int, int] = (0, 0), image: int = 0
) -> Handwork:
    """One output of both layers as a sum that can be followed: window, products, running sums.

    Arguments as for `compare`; `channel`, `cell` (row, column) and `image` choose the output.

    Raises:
        InputError: what `compare` refuses, a channel, cell or image that is not there, and numbers that are not finite.

    >>> from fcnviz.equivalence import tiny_case
    >>> work = by_hand(*tiny_case(), channel=1)
    >>> [round(float(n), 1) for n in work.products.ravel()], round(work.exact, 5)
    ([1.5, 3.2, 5.1, 7.2], 19.0)
    """
    maps = checked(linear, conv, x)
    with plain():
        windows, map_ = windows_of(conv, maps), conv(maps)
        places = (len(maps), linear.out_features, *map_.shape[2:])
        _check_place(places, (image, channel, *_pair(cell)))
        row = windows[(image * places[2] + cell[0]) * places[3] + cell[1]]
        answers = linear(row[None])[0, channel].item(), map_[image, channel, cell[0], cell[1]].item()
    shape = (conv.in_channels, *two(conv.kernel_size))
    inputs, weights = (_numbers(t).reshape(shape) for t in (row, linear.weight[channel]))
    bias = 0.0 if linear.bias is None else linear.bias[channel].item()
    _check_finite(inputs, weights, bias)
    return Handwork(
        names=(linear_name(linear), conv_name(conv)),
        channel=channel,
        cell=two(cell),
        image=image,
        outputs=linear.out_features,
        cells=two(places[2:]),
        dtype=type_name(x.dtype),
        weights=weights,
        inputs=inputs,
        bias=bias,
        answers=answers,
        other_weights=other_weights(linear, conv),
        **_window_at(conv, maps, cell),
        **_added(weights, inputs, bias),
        **_without_rounding(weights, inputs, bias),
    )


def _window_at(conv: nn.Conv2d, maps: Tensor, cell: tuple[int, int]) -> dict[str, Any]:
    """The map, and which of its rows and columns the window of a cell covers."""
    window = window_of(conv)
    rows, columns = (_span(window, axis, cell[axis]) for axis in (0, 1))
    sizes = (maps.shape[1], maps.shape[2], maps.shape[3])
    return {"map": sizes, "rows": rows, "columns": columns, "dilation": two(window.dilation)}


def _pair(cell: Any) -> tuple[int, int]:
    if not isinstance(cell, tuple | list) or len(cell) != 2:
        raise InputError(f"cell {cell!r} was asked for; a cell is (row, column)")
    return cell[0], cell[1]


def _check_finite(*numbers: Any) -> None:
    if not all(np.isfinite(number).all() for number in numbers):
        raise InputError(
            "the window or the weights hold a number that is not finite, which no sum can be followed with"
        )


def _check_place(sizes: Sequence[int], asked: Sequence[int]) -> None:
    for what, size, at in zip(("image", "channel", "row", "column"), sizes, asked, strict=True):
        if not 0 <= at < size:
            raise InputError(f"{what} {at} was asked for; there are {count(size)}, numbered from 0")


def _numbers(tensor: Tensor) -> NDArray[Any]:
    """As numpy, in the type in which layers add."""
    tensor = tensor.detach().cpu()
    return (tensor if tensor.dtype == torch.float64 else tensor.float()).numpy().copy()


def _span(window: Window, axis: int, at: int) -> tuple[int, int]:
    start = at * window.stride[axis] - window.pads[axis][0]
    return start, start + window.dilation[axis] * (window.kernel[axis] - 1) + 1


def _added(weights: NDArray[Any], inputs: NDArray[Any], bias: float) -> dict[str, Any]:
    """Products, running sums and totals: column after column, and channel after channel."""
    products = weights * inputs
    running = np.add.accumulate(products.ravel())  # one addition at a time; np.sum would add in pairs
    channel_sums = np.add.accumulate(products.reshape(len(products), -1), axis=1)[:, -1]
    running_channels = np.add.accumulate(channel_sums)
    last = products.dtype.type(bias)
    return {
        "products": products,
        "running": running,
        "channel_sums": channel_sums,
        "running_channels": running_channels,
        "sums": (float(running[-1] + last), float(running_channels[-1] + last)),
    }


def _without_rounding(weights: NDArray[Any], inputs: NDArray[Any], bias: float) -> dict[str, Any]:
    pairs = [(Fraction(float(w)), Fraction(float(v))) for w, v in zip(weights.flat, inputs.flat, strict=True)]
    exact = sum((w * v for w, v in pairs), Fraction(bias))
    absolute = sum((abs(w * v) for w, v in pairs), abs(Fraction(bias)))
    return {"exact": float(exact), "absolute": float(absolute)}

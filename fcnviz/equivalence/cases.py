"""Cases to compare: a Linear, the convolution that has its weights, and an input for both."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fcnviz.equivalence.layers import by
from fcnviz.errors import InputError

Features = tuple[int, int, int]


class Case(NamedTuple):
    """A Linear, the convolution cast from it, and an input for both."""

    linear: nn.Linear
    conv: nn.Conv2d
    x: Tensor


def case_of(weight: Tensor, bias: Tensor, features: Features, x: Tensor) -> Case:
    """Both layers from one weight matrix; nothing is copied."""
    channels, h, w = features
    linear = nn.Linear(weight.shape[1], len(weight), device="meta")
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    return Case(linear, cast(linear, linear.weight.view(-1, channels, h, w)), x)


def cast(linear: nn.Linear, kernel: Tensor) -> nn.Conv2d:
    """A plain convolution with these weights, so that torch's own way of convolving is what is compared."""
    outputs, channels, h, w = kernel.shape
    conv = nn.Conv2d(channels, outputs, (h, w), bias=linear.bias is not None, device="meta")
    conv.weight = nn.Parameter(kernel.detach())
    conv.bias = linear.bias
    return conv


def check_features(features: Any, cells: Any) -> None:
    """Raises where these are no three sizes of a map and no two sizes of an answer."""
    for what, sizes, wanted in (("a map", features, "(channels, height, width)"), ("cells", cells, "(rows, columns)")):
        if not isinstance(sizes, tuple | list) or len(sizes) != wanted.count(",") + 1 or not all(map(_is_int, sizes)):
            raise InputError(f"{what} of {sizes!r} was asked for; it takes {wanted}, whole numbers")


def _is_int(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool)


def tiny_case(features: Features = (1, 2, 2), cells: tuple[int, int] = (1, 1)) -> Case:
    """A case to do on paper: a Linear with two outputs, its convolution, and an input of small whole numbers.

    For 1×2×2 it is the smallest case in print: inputs 1, 2, 3, 4, weights 1.1 … 1.8, biases 1.9 and 2.0, so that
    the answers are 14.9 and 19.0. Any other size gets whole weights and inputs. `cells` as in `exact_case`.
    4×1×1 is the same flattened, which a 1×1 convolution reads.
    Source: S. Raschka, deeplearning-models, fc-to-conv.ipynb.

    >>> linear, conv, x = tiny_case()
    >>> [[round(n, 3) for n in row] for row in linear(x.flatten(1)).tolist()], tuple(conv(x).shape)
    ([[14.9, 19.0]], (1, 2, 1, 1))
    """
    check_features(features, cells)
    if min(*features, *cells) < 1:
        raise InputError(f"a {by(features)} map in {by(cells)} cells was asked for: no size is 0")
    with torch.device("cpu"):  # whatever device torch makes tensors on by default
        return _tiny(features, cells)


def _tiny(features: Features, cells: tuple[int, int]) -> Case:
    terms, (channels, h, w) = math.prod(features), features
    sizes = (1, channels, h + cells[0] - 1, w + cells[1] - 1)
    x = (torch.arange(math.prod(sizes)) % 9 + 1).float().reshape(sizes)
    if features in ((1, 2, 2), (4, 1, 1)):
        weight = torch.tensor([[1.1, 1.2, 1.3, 1.4], [1.5, 1.6, 1.7, 1.8]])
        return case_of(weight, torch.tensor([1.9, 2.0]), features, x)
    digits = torch.arange(2 * terms).reshape(2, terms) * 5 % 7 - 3  # −3 … 3, mixed
    return case_of(digits.float(), torch.tensor([1.0, -2.0]), features, x)

"""Eight traps on the way from a map to a Linear, each shown by one call.

Three have a function here, for five `trace` is enough. Only the first two lines below say anything by themselves.

| trap | what shows it |
|---|---|
| no flatten: the message counts rows of the map, 3584 = 512·7 | `trace(nn.Sequential(features, classifier), size)` |
| a channels-last map: `view` raises, `flatten` is right | `x.view(len(x), -1)` against `x.flatten(1)` |
| the weight reshaped in the order H, W, C | `wrong_order(linear, (C, h, w), x)` |
| `view(-1, 25088)` makes 64 rows of 49 images | `images_in_rows((49, 512, 8, 8), 25088)` |
| 225 … 255 pixels are taken, and the last ones never seen | `trace(vgg16(), (1, 3, 240, 231))` |
| 1568×32 pixels are taken: as many numbers, another map | `trace(vgg16(), (1, 3, 1568, 32))` |
| adaptive pooling answers once where there is room for 2×2 | `trace(vgg16("adaptive"), (1, 3, 256, 256))` |
| that answer is the mean of the map before ReLU, at 8×8 only | `adaptive_against_mean(linear, conv, x)` |

>>> from fcnviz import models, trace
>>> net = models.vgg16()
>>> trace(nn.Sequential(net.features, net.classifier), (1, 3, 224, 224)).failure.message
'mat1 and mat2 shapes cannot be multiplied (3584x7 and 25088x4096)'
>>> x = torch.rand(2, 8, 3, 3).to(memory_format=torch.channels_last)
>>> x.view(2, -1)  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
RuntimeError: view size is not compatible with input tensor's size and stride ...
>>> torch.equal(x.flatten(1), x.contiguous().view(2, -1))
True
>>> [trace(net, (1, 3, *size)).output_shape for size in ((240, 231), (1568, 32))]
[(1, 1000), (1, 1000)]
>>> [trace(net.features, (1, 3, *size)).output_shape for size in ((240, 231), (1568, 32))]
[(1, 512, 7, 7), (1, 512, 49, 1)]
>>> [trace(models.vgg16(head), (1, 3, 256, 256)).output_shape for head in ("adaptive", "conv")]
[(1, 1000), (1, 1000, 2, 2)]
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnviz.arithmetic import count
from fcnviz.equivalence.answers import compare
from fcnviz.equivalence.cases import Features, cast
from fcnviz.equivalence.layers import (
    absolute_bias,
    absolute_sums,
    by,
    checked,
    conv_name,
    linear_name,
    two,
    windows_of,
)
from fcnviz.equivalence.rounding import arithmetic_of, plain, stored
from fcnviz.equivalence.verdict import Comparison, Pair, judged
from fcnviz.errors import InputError
from fcnviz.records import Shape


def wrong_order(linear: nn.Linear, features: Features, x: Tensor) -> Comparison:
    """The trap of reshaping in the order H, W, C: as many numbers, no error, and other answers.

    The kernel is `weight.view(out, h, w, C)` with its axes moved to (out, C, h, w): what a weight would need that had
    been trained on maps flattened channels last.

    >>> from fcnviz.equivalence import exact_case
    >>> wrong_order(*exact_case(4, (8, 2, 2)).case[:1], (8, 2, 2), torch.rand(1, 8, 2, 2)).verdict
    'different'
    """
    channels, h, w = features
    if linear.in_features != math.prod(features):
        numbers = f"{'·'.join(map(str, features))} = {count(math.prod(features))}"
        raise InputError(f"{linear_name(linear)} has {count(linear.in_features)} columns, a map of {numbers} numbers")
    kernel = linear.weight.detach().view(linear.out_features, h, w, channels).permute(0, 3, 1, 2)
    return compare(linear, cast(linear, kernel), x)


def images_in_rows(shape: Sequence[int], columns: int) -> tuple[tuple[int, ...], ...]:
    """The trap of `x.view(-1, columns)`: for each row, the images whose numbers it holds.

    Rows are one for each image only if an image has `columns` numbers. 49 images of 512×8×8 seen as rows of 25 088
    give 64 rows, nearly all of them mixed from two images, and no error.

    Raises:
        InputError: rows that the numbers don't fill, where torch raises as well.

    >>> images_in_rows((3, 8), 12), images_in_rows((3, 8), 8)
    (((0, 1), (1, 2)), ((0,), (1,), (2,)))
    """
    total, each = math.prod(shape), math.prod(shape[1:])
    if columns < 1 or not total or total % columns:
        raise InputError(f"{by(shape)} is {count(total)} numbers, which do not fill rows of {count(columns)}")
    starts = range(0, total, columns)
    return tuple(tuple(range(start // each, (start + columns - 1) // each + 1)) for start in starts)


def adaptive_against_mean(linear: nn.Linear, conv: nn.Conv2d, x: Tensor, relu: bool = False) -> Comparison:
    """Average the map to the kernel's size and ask the Linear once; or ask at each cell and average the answers.

    Both are linear in x, and equal where each way weighs every number alike: on a map one cell larger than the
    kernel (8×8 for 7×7), where adaptive pooling is a plain 2×2 average with stride 1. Not on 9×9, 10×10 or 14×14, where
    it skips pairs or overlaps unevenly; and not with `relu`, which the averages do not pass through. For a layer as
    large as fc6, float32's bound is too wide to tell a ReLU's doing from rounding (`is_usual` does); float64's is not.

    >>> from fcnviz.equivalence import tiny_case
    >>> adaptive_against_mean(*tiny_case((2, 3, 3), cells=(2, 2))).verdict != "different"
    True
    """
    image = checked(linear, conv, x)
    with plain():
        kernel = two(conv.kernel_size)
        pooled = F.adaptive_avg_pool2d(image, kernel).flatten(1)
        weights_seen = F.adaptive_avg_pool2d(image.double().abs(), kernel).flatten(1)
        map_ = conv(image)
        one, other = linear(pooled), (map_.relu() if relu else map_).mean((2, 3))
        cells, bias = math.prod(map_.shape[2:]), absolute_bias(linear)
        spread = windows_of(conv, image).double().abs().unflatten(0, (len(image), -1)).mean(1)
        most = torch.maximum(weights_seen, spread)  # one way or the other, this is what the averages are made of
        pair = Pair(
            names=(f"{linear_name(linear)} of the adaptive average", f"mean of {conv_name(conv)}, {cells} cells"),
            shapes=(Shape(one.shape), Shape(other.shape)),
            input_shape=Shape(x.shape),
            one=(one.relu() if relu else one).T,
            other=other.T,
            sums=lambda rows: absolute_sums(linear.weight[rows], most) + bias[rows, None],
            bias=bias,
            # besides the sum of the layer: the additions of an average, and its division
            roundings=linear.in_features + 1 + max(cells, math.prod(image.shape[2:])) + 2,
            arithmetic=stored(arithmetic_of(image), times=1),
        )
        return judged(pair, ())

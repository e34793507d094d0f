"""Lesson 3: a Linear layer is a convolution; its kernel, the order of its numbers, its one sum by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import torch
from torch import Tensor, nn

from fcnviz.cast import linear_to_conv
from fcnviz.equivalence import compare
from fcnviz.exercises.nets import (
    CHANNELS,
    FLATTEN,
    OUTPUTS,
    RELU,
    Net,
    by,
    features,
    image,
    linear,
    mapped,
    output,
)
from fcnviz.exercises.records import Mistake
from fcnviz.exercises.slips import Draft
from fcnviz.surgery import convolutionalize
from fcnviz.trace import trace

Sizes = tuple[int, int, int]


def _features(rng: Random, sides: tuple[int, ...] = (2, 3, 4, 5, 6, 7)) -> Sizes:
    h, w = rng.sample(sides, 2)
    return rng.choice(CHANNELS), h, w


def _code(sizes: Sizes, outputs: int) -> str:
    """A Linear after a flattened map, to paste."""
    columns = math.prod(sizes)
    return f"from torch import nn\n\nlinear = nn.Linear({columns}, {outputs})"


def _cast(sizes: Sizes, outputs: int) -> nn.Conv2d:
    return linear_to_conv(nn.Linear(math.prod(sizes), outputs, device="meta"), sizes)


def kernel_shape(rng: Random) -> Draft:
    """The shape of the weight that the cast has."""
    sizes, outputs = _features(rng), rng.choice(OUTPUTS)
    channels, h, w = sizes
    conv = _cast(sizes, outputs)
    right = tuple(conv.weight.shape)
    mistakes = (
        Mistake(
            (outputs, h, w, channels), "the channels stand last there; the order is outputs, channels, height, width"
        ),
        Mistake((channels, outputs, h, w), "inputs and outputs have changed places; a weight has its outputs first"),
        Mistake((outputs, channels, w, h), "height and width have changed places"),
        Mistake((outputs, math.prod(sizes)), "that is the Linear's weight; a convolution's has four axes"),
        Mistake((outputs, math.prod(sizes), 1, 1), "that would read a map of one cell; this one has rows and columns"),
        Mistake((channels, h, w), "that is one filter; there is one for each output"),
    )
    text = (
        f"The Linear stands after a flattened map of {by(sizes)}. As a convolution with the same numbers: what is the "
        "shape of its weight? Give all four sizes, outputs first."
    )
    advice = "The weight of a convolution is outputs × channels × rows × columns of its kernel."
    return Draft(text, "shape", (right,), _code(sizes, outputs), mistakes=mistakes, advice=advice)


def parameters(rng: Random) -> Draft:
    """The cast has as many parameters as the Linear: neither fewer nor more."""
    sizes, outputs, more = _features(rng), rng.choice(OUTPUTS), rng.randrange(1, 4)
    channels, h, w = sizes
    conv = _cast(sizes, outputs)
    found = trace(conv, (1, channels, h + more, w + more))
    weight = math.prod(conv.weight.shape)
    mistakes = (
        Mistake(weight, "that leaves the biases out: one for each output"),
        Mistake(outputs * channels + outputs, "that is a 1×1 kernel; this one covers the map that was flattened"),
        Mistake(outputs * h * w + outputs, "that leaves the channels out: each has weights of its own"),
        Mistake(found.params * (1 + more) ** 2, "that counts them anew at every place; they are shared"),
    )
    text = (
        f"The Linear stands after a flattened map of {by(sizes)}. It becomes a convolution, which then slides over a"
        f" map of {by((channels, h + more, w + more))}. How many parameters has the convolution, biases included?"
    )
    advice = (
        f"Count the weights of one output, {channels}·{h}·{w}, then of all {outputs}; then one bias for each output. "
        "The map it slides over is not in the count."
    )
    return Draft(text, "number", (found.params,), _code(sizes, outputs), mistakes=mistakes, advice=advice)


def cast_output(rng: Random) -> Draft:
    """What the cast gives on a larger map."""
    sizes, outputs = _features(rng), rng.choice(OUTPUTS)
    larger = (sizes[0], sizes[1] + rng.randrange(0, 5), sizes[2] + rng.randrange(0, 5))
    found = trace(_cast(sizes, outputs), (1, *larger))
    right = output(found)
    assert right is not None, "the map is at least the kernel"
    rows, columns = larger[1] - sizes[1], larger[2] - sizes[2]
    mistakes = (
        Mistake((outputs, rows, columns), "that forgets the first place: a window fits once before it moves"),
        Mistake((outputs, *larger[1:]), "that is the map's own size, as a 1×1 kernel leaves it"),
        Mistake((outputs, 1, 1), "that is what the map gives for which the Linear was made; this one is larger"),
        Mistake((*right[1:], right[0]), "these are the right sizes in the order H, W, C"),
        Mistake((outputs, right[2], right[1]), "height and width have changed places"),
        Mistake((sizes[0], *right[1:]), "the channels are those of the map; each output makes one channel"),
    )
    text = (
        f"The Linear was made for a flattened map of {by(sizes)}. As a convolution with the same numbers it gets a map"
        f" of {by(larger)}. What shape comes out?"
    )
    advice = f"The kernel is {sizes[1]}×{sizes[2]}, with stride 1: at how many places does it fit?"
    return Draft(text, "shape", (right,), _code(sizes, outputs), mistakes=mistakes, advice=advice)


def column(rng: Random) -> Draft:
    """Which column of the Linear meets a number of the map: seen by flattening a map of numbered cells."""
    sizes = _features(rng)
    place = tuple(rng.randrange(1, size) for size in sizes)
    numbered = torch.arange(math.prod(sizes)).reshape(1, *sizes)
    flat = numbered.flatten(1)[0]
    right = int((flat == numbered[(0, *place)]).nonzero().item())
    mistakes = (
        Mistake(right + 1, "counted from 1; indices begin at nought"),
        Mistake(_seen(numbered, place, (1, 2, 0)), "that is the order H, W, C; PyTorch lays out C, H, W"),
        Mistake(_seen(numbered, place, (0, 2, 1)), "that goes down the columns; a map is laid out row by row"),
        Mistake(_seen(numbered, place, (2, 1, 0)), "that runs through the channels fastest; PyTorch runs along a row"),
    )
    c, i, j = place
    text = (
        f"flatten lays a map of {by(sizes)} in one row of numbers for the Linear. At which index of that row, counted "
        f"from nought as Python does, lies x[{c}, {i}, {j}]: channel {c}, row {i}, column {j}?"
    )
    advice = (
        f"Before it lie {c} whole channels of {sizes[1]}·{sizes[2]} numbers, then whole rows, then numbers of its row."
    )
    code = f"import torch\n\nx = torch.rand({', '.join(map(str, sizes))})"
    return Draft(text, "number", (right,), code, mistakes=mistakes, advice=advice)


def _seen(numbered: Tensor, place: tuple[int, ...], order: tuple[int, int, int]) -> int:
    """The index of a number in a map that is flattened with its axes in another order."""
    flat = numbered[0].permute(order).flatten()
    return int((flat == numbered[(0, *place)]).nonzero().item())


VIEWS: dict[str, Callable[[Tensor, int, Sizes], Tensor]] = {
    "linear.weight.view(N, C, h, w)": lambda weight, n, s: weight.view(n, *s),
    "linear.weight.view(N, C, w, h)": lambda weight, n, s: weight.view(n, s[0], s[2], s[1]),
    "linear.weight.view(N, h, w, C)": lambda weight, n, s: weight.view(n, *s[1:], s[0]),
    "linear.weight.view(C, N, h, w)": lambda weight, n, s: weight.view(s[0], n, *s[1:]),
    "linear.weight.view(N, h, w, C).permute(0, 3, 1, 2)": lambda weight, n, s: weight.view(n, *s[1:], s[0]).permute(
        0, 3, 1, 2
    ),
    "linear.weight.view(N, C, w, h).transpose(2, 3)": lambda weight, n, s: weight.view(n, s[0], s[2], s[1]).transpose(
        2, 3
    ),
    "linear.weight.view(C, N, h, w).transpose(0, 1)": lambda weight, n, s: weight.view(s[0], n, *s[1:]).transpose(0, 1),
}
NO_ERROR = "as many numbers and no error, but compare finds other answers: "
WHY = {
    "linear.weight.view(N, C, w, h)": "its windows have the map's width for their height; they do not cover the map",
    "linear.weight.view(N, h, w, C)": "the channels stand last there; a convolution has them before rows and columns",
    "linear.weight.view(C, N, h, w)": "inputs and outputs have changed places; a weight has its outputs first",
    "linear.weight.view(N, h, w, C).permute(0, 3, 1, 2)": "that reads a row as H, W, C; flatten has laid out C, H, W",
    "linear.weight.view(N, C, w, h).transpose(2, 3)": "that reads each channel column by column; flatten goes by rows",
    "linear.weight.view(C, N, h, w).transpose(0, 1)": "that spreads the weights of one output over several",
}


def order(rng: Random) -> Draft:
    """Which reshape of the weight gives the Linear's answers: each is tried on numbers, and judged by `compare`."""
    sizes, outputs = _features(rng, (2, 3, 4, 5)), rng.choice(OUTPUTS)
    numbers = torch.Generator().manual_seed(rng.randrange(2**31))
    layer = nn.Linear(math.prod(sizes), outputs, device="meta").to_empty(device="cpu")
    for parameter in layer.parameters():
        parameter.data.normal_(generator=numbers)
    x = torch.randn(1, *sizes, generator=numbers)
    judged = {text: _judged(layer, view(layer.weight.detach(), outputs, sizes), x) for text, view in VIEWS.items()}
    names = dict(zip("NChw", map(str, (outputs, *sizes)), strict=True))
    spelled = {text: _spelled(text, names) for text in judged}
    choices = list(spelled.values())
    rng.shuffle(choices)
    right = tuple(spelled[text] for text, same in judged.items() if same)
    mistakes = tuple(Mistake(spelled[text], f"{NO_ERROR if ').' in text else ''}{why}") for text, why in WHY.items())
    text = (
        f"The Linear stands after a flattened map of {by(sizes)}. Which weight makes the convolution give its answers?"
    )
    advice = "A row of the Linear's weight holds channel after channel, each row by row."
    return Draft(text, "choice", right, _code(sizes, outputs), tuple(choices), mistakes, advice)


def _judged(layer: nn.Linear, kernel: Tensor, x: Tensor) -> bool:
    if kernel.shape[1:] != x.shape[1:]:  # it reads no map of these sizes, or not in one window
        return False
    conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], (kernel.shape[2], kernel.shape[3]), device="meta")
    conv.weight, conv.bias = nn.Parameter(kernel), nn.Parameter(layer.bias.detach())
    return compare(layer, conv, x).verdict != "different"


def _spelled(text: str, names: dict[str, str]) -> str:
    inside = text[text.index("(") : text.index(")") + 1]
    return text.replace(inside, "".join(names.get(letter, letter) for letter in inside), 1)


def second_kernel(rng: Random) -> Draft:
    """Which kernels the Linear layers of a whole classifier get when it is cast."""
    net = features(rng, pools=(1, 2))
    shape = image(rng, net, (3, 4, 5, 6), is_square=True)
    channels, side, _ = mapped(net, shape)
    hidden, outputs = rng.choice(OUTPUTS), rng.choice(OUTPUTS)
    head = (FLATTEN, linear(channels * side * side, hidden), RELU, linear(hidden, outputs))
    kernels = _kernels(net.then(*head), shape)
    cells = f"{side}×{side}"
    offered = {(cells, "1×1"): "", ("1×1", cells): "", ("1×1", "1×1"): "", (cells, cells): ""}
    choices = tuple(f"{first}, then {second}" for first, second in offered)
    right = f"{kernels[0]}, then {kernels[1]}"
    words = {
        choices[1]: "it is the first Linear that reads the map, and the second that reads one cell",
        choices[2]: "a 1×1 kernel has no more columns than channels; the first Linear reads every cell of the map",
        choices[3]: "what reaches the second Linear is one row of numbers, a map of one cell",
    }
    mistakes = tuple(Mistake(choice, why) for choice, why in words.items())
    text = f"Made for images of {by(shape)} and cast to convolutions: which kernels do the two Linear layers get?"
    advice = "A kernel covers what was flattened: how many cells does each Linear see?"
    return Draft(text, "choice", (right,), net.then(*head).code, choices, mistakes, advice)


def _kernels(net: Net, shape: tuple[int, ...]) -> list[str]:
    """The kernels of the convolutions that stand where the Linear layers stood."""
    before = len(net.places("Conv2d"))
    convs = [layer for layer in convolutionalize(net.made(), (1, *shape)).modules() if isinstance(layer, nn.Conv2d)]
    return [by(layer.kernel_size) for layer in convs[before:]]


def by_hand(rng: Random) -> Draft:
    """One sum of a Linear over a 2×2 map, to be added up on paper; Linear and convolution both compute it."""
    x = torch.tensor([rng.sample(range(1, 10), 4)], dtype=torch.float32)
    weight = torch.tensor([rng.sample(range(-4, 10), 4)], dtype=torch.float32)
    bias = rng.choice((-7, -3, 5, 11, 20))
    layer = nn.Linear(4, 1, device="meta").to_empty(device="cpu")
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(torch.tensor([float(bias)]))
    conv = linear_to_conv(layer, (1, 2, 2))
    map_ = x.reshape(1, 1, 2, 2)
    right = int(conv(map_).item())
    assert layer(x).item() == right, "whole numbers: Linear and convolution agree bit for bit"
    turned = int((map_.transpose(2, 3).flatten(1) @ weight.T).item()) + bias
    flipped = int((x.flip(1) @ weight.T).item()) + bias
    mistakes = (
        Mistake(right - bias, "that leaves the bias out"),
        Mistake(turned, "that takes the map column by column; it is flattened row by row"),
        Mistake(flipped, "that turns the kernel round; PyTorch's convolution does not"),
        Mistake(right - 2 * bias, "that takes the bias away; it is added"),
    )
    x1, x2, x3, x4 = (int(number) for number in x[0])
    code = (
        "import torch\nfrom torch import nn\n\n"
        f"x = torch.tensor([[[[{x1}., {x2}.], [{x3}., {x4}.]]]])\n"
        "linear = nn.Linear(4, 1)\n"
        f"linear.weight.data = torch.tensor({[[int(n) for n in weight[0]]]}).float()\n"
        f"linear.bias.data = torch.tensor([{bias}]).float()"
    )
    text = "What is linear(x.flatten(1)), and the same as a 2×2 convolution of x? It is one whole number."
    advice = "Four products and the bias: the first number of the map with the first weight, row by row."
    return Draft(text, "number", (right,), code, mistakes=mistakes, advice=advice)


KINDS = (kernel_shape, parameters, cast_output, column, order, second_kernel, by_hand)

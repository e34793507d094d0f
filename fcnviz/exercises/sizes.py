"""Lesson 1: a convolution does not care about size; what kernel, stride, padding, dilation and floor do to one."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from random import Random

from fcnviz.exercises.nets import (
    CHANNELS,
    RELU,
    Layer,
    Net,
    by,
    channels_into,
    conv,
    features,
    image,
    located,
    mapped,
    open_code,
    output,
    pool,
    runs,
    traced,
)
from fcnviz.exercises.records import Mistake
from fcnviz.exercises.slips import Draft, first_step, mistaken
from fcnviz.records import Shape


def shape_after(rng: Random) -> Draft:
    """The shape that comes out of a small network."""
    net = features(rng, pools=(1, 2))
    shape = image(rng, net)
    return _shape_draft(net, shape, f"An image of {by(shape)} goes in. What shape comes out?")


def _shape_draft(net: Net, shape: tuple[int, ...], text: str) -> Draft:
    right = mapped(net, shape)
    orders = [
        Mistake(
            (*right[1:], right[0]), "these are the right sizes in the order H, W, C; PyTorch has the channels first"
        ),
        Mistake((right[0], right[2], right[1]), "height and width have changed places"),
        Mistake((shape[0], *right[1:]), "the channels are those of the image; each filter makes one channel"),
    ]
    mistakes = (*orders, *mistaken(net, shape, output))
    return Draft(text, "shape", (right,), net.code, mistakes=mistakes, advice=first_step(net, shape))


def shape_of_one(rng: Random) -> Draft:
    """The shape after one convolution that has everything: stride, padding, dilation."""
    layer = conv(
        rng.choice((1, 3)),
        rng.choice(CHANNELS),
        rng.choice((3, 5, 7)),
        stride=rng.choice((1, 2, 3)),
        padding=rng.choice((0, 1, 2, 3)),
        dilation=rng.choice((1, 1, 2, 3)),
    )
    net = Net((layer,))
    shape = (channels_into(net), rng.randrange(24, 65), rng.randrange(24, 65))
    return _shape_draft(net, shape, f"An image of {by(shape)} goes in. What shape comes out?")


def weights(rng: Random) -> Draft:
    """How many parameters there are: the size of the image is not among what decides it."""
    inputs, middle, outputs = rng.choice((1, 3)), rng.choice(CHANNELS), rng.choice(CHANNELS)
    net = Net((conv(inputs, middle, rng.choice((3, 5, 7))), RELU, conv(middle, outputs, rng.choice((1, 3, 5)))))
    shape = (inputs, rng.randrange(20, 60), rng.randrange(20, 60))
    found = traced(net, shape)
    steps = [step for step in found if step.params]
    each = [[math.prod(weight.shape) for weight in step.weights] for step in steps]
    made = [math.prod(map_[2:]) for step in steps if isinstance(map_ := step.output_shape, Shape)]
    flat = sum(step.params // step.weights[0].shape[1] for step in steps)
    mistakes = (
        Mistake(sum(sizes[0] for sizes in each), "that leaves the biases out: one for each filter"),
        Mistake(steps[0].params, "that is the first convolution alone; the trace shows two"),
        Mistake(steps[1].params, "that is the second convolution alone; the trace shows two"),
        Mistake(flat, "that leaves the input channels out: a filter has a kernel for each of them"),
        Mistake(
            sum(step.params * cells for step, cells in zip(steps, made, strict=True)),
            "that counts the weights anew at every place; they are the same everywhere",
        ),
    )
    text = f"How many parameters has this network, biases included? It runs on an image of {by(shape)}."
    advice = "Each filter has input channels × kernel × kernel weights and one bias; the image's size is not in it."
    return Draft(text, "number", (found.params,), net.code, mistakes=mistakes, advice=advice)


def _cells(layer: Layer, size: int) -> int:
    return mapped(Net((layer,)), (3, size, size))[1]


def _which(
    name: str,
    size: int,
    cells: int,
    make: Callable[[int], Layer],
    tries: range,
    layer: str,
    advice: str,
    *slips: Mistake,
) -> Draft:
    """Which number makes a map of so many cells? Every one that does counts; `tries` runs towards ever smaller maps."""
    found = tuple(sorted(_solutions(size, cells, tries, make)))
    mistakes = (*slips, *_giving(make, size, range(min(tries), 13)))
    text = f"An image of {size}×{size} is to become a map of {cells}×{cells}. Which {name} does it?"
    return Draft(text, "number", found, open_code(name, layer), mistakes=mistakes, advice=advice)


def _solutions(size: int, cells: int, tries: range, make: Callable[[int], Layer]) -> Iterator[int]:
    """Every number for which the traced layer gives so many cells."""
    for number in tries:
        made = output(traced(Net((make(number),)), (3, size, size)))
        if made is None or made[1] < cells:
            return
        if made[1] == cells:
            yield number


def _giving(make: Callable[[int], Layer], size: int, tries: range) -> Iterator[Mistake]:
    """What each number would give instead, from its trace."""
    for number in tries:
        made = output(traced(Net((make(number),)), (3, size, size)))
        words = f"with it the map is {by(made[1:])}" if made else "with it the window is larger than the image"
        yield Mistake(number, words)


def kernel_for(rng: Random) -> Draft:
    """The kernel that gives a wanted size; with a stride above 1 two kernels may do, and both count."""
    size, stride, padding = rng.randrange(20, 65), rng.choice((1, 2)), rng.choice((0, 1, 2))
    outputs = rng.choice(CHANNELS)

    def make(kernel: int) -> Layer:
        return conv(3, outputs, kernel, stride=stride, padding=padding)

    cells, tries = _cells(make(rng.randrange(2, 12)), size), range(1, size + 2 * padding + 1)
    layer = f"nn.Conv2d(3, {outputs}, kernel_size=k, stride={stride}, padding={padding})"
    advice = "Put your k into the formula: ⌊(size + 2·padding − k) / stride⌋ + 1."
    shrinks = Mistake(size - cells, "that is how much the map shrinks; a kernel of 3 takes 2 cells")
    return _which("k", size, cells, make, tries, layer, advice, shrinks)


def padding_for(rng: Random) -> Draft:
    """The padding that gives a wanted size."""
    size, stride, outputs = rng.randrange(20, 65), rng.choice((1, 2, 3)), rng.choice(CHANNELS)
    kernel, dilation = rng.choice((3, 5, 7, 9)), rng.choice((1, 1, 2))

    def make(padding: int) -> Layer:
        return conv(3, outputs, kernel, stride=stride, padding=padding, dilation=dilation)

    cells, tries = _cells(make(rng.randrange(0, 9)), size), range(11, -1, -1)
    layer = f"nn.Conv2d(3, {outputs}, {kernel}, stride={stride}, padding=p, dilation={dilation})"
    return _which("p", size, cells, make, tries, layer, "The padding stands on both sides: it counts twice.")


def stride_for(rng: Random) -> Draft:
    """The stride that gives a wanted size; floor lets several strides give the same, and all of them count."""
    size, padding, kernel = rng.randrange(28, 90), rng.choice((0, 1, 2)), rng.choice((3, 5, 7))
    outputs = rng.choice(CHANNELS)

    def make(stride: int) -> Layer:
        return conv(3, outputs, kernel, stride=stride, padding=padding)

    cells, room = _cells(make(rng.randrange(2, 7)), size), size + 2 * padding
    layer = f"nn.Conv2d(3, {outputs}, {kernel}, stride=s, padding={padding})"
    advice = f"A window of {kernel} has {room - kernel} cells left to move; {cells} places are to be taken."
    return _which("s", size, cells, make, range(1, room + 1), layer, advice)


def never_read(rng: Random) -> Draft:
    """How many columns at the right floor leaves unread, counted backwards from the last cell."""
    window = rng.choice(("conv", "pool"))
    kernel, stride = rng.choice(((2, 2), (3, 3), (4, 4), (5, 4), (5, 3), (7, 4), (7, 6), (5, 5)))
    net = Net((conv(3, 8, kernel, stride=stride) if window == "conv" else pool(kernel, stride),))
    size = rng.randrange(24, 90)
    found = located(net, (3, size, size))
    region = found.region(0, tuple(cells - 1 for cells in found[0].size))
    assert region.clipped is not None, "no padding: every cell lies within the image"
    unread = size - 1 - int(region.clipped[1].last)
    cells = found[0].size[1]
    mistakes = (
        Mistake(size - cells, "that is by how much the map is narrower; one cell of it reads several columns"),
        Mistake(size % stride, "that is what the stride leaves over; the first window takes the kernel at once"),
        Mistake(size % kernel, "that is what the kernel leaves over; windows move by the stride"),
        Mistake(0, "the last window ends before the last column"),
    )
    text = f"On an image of {size}×{size}: how many columns of pixels at the right edge does no window read?"
    advice = f"The trace has {cells} windows along a row: where does the last one end?"
    return Draft(text, "number", (unread,), net.code, mistakes=mistakes, advice=advice)


def smallest_image(rng: Random) -> Draft:
    """The smallest square image that a network without Linear takes, found by tracing the sizes."""
    net = features(rng, pools=(1, 2))
    inputs = channels_into(net)
    least = 1 + bisect_left(range(1, 64), True, key=lambda size: runs(net, (inputs, size, size)))
    refused = Mistake(least - 1, f"there the trace stops: {_stop(net, (inputs, least - 1, least - 1))}")
    mistakes = [refused] if least > 1 else []
    kernels = [layer.kernel for layer in net.layers if layer.slides]
    mistakes += [Mistake(kernels[0], "that is the first kernel alone; what comes after needs cells as well")]
    text = "H = W. Which is the smallest image that runs through? Give one side in pixels."
    advice = "Go backwards: the last window needs as many cells as its kernel has, less what is padded."
    return Draft(text, "number", (least,), net.code, mistakes=tuple(mistakes), advice=advice)


def _stop(net: Net, shape: tuple[int, ...]) -> str:
    failure = traced(net, shape).failure
    assert failure is not None, "asked of a size that does not run"
    return failure.explanation


def keeps_the_size(rng: Random) -> Draft:
    """One layer of four leaves H and W as they are."""
    size, outputs = rng.randrange(24, 65), rng.choice(CHANNELS)
    drawn: dict[str, Layer] = {}
    while len(drawn) < 4 or not any(map(_keeps, drawn.values(), [size] * len(drawn))):
        kernel, dilation = rng.choice((1, 3, 5, 7)), rng.choice((1, 2))
        layer = conv(3, outputs, kernel, padding=rng.choice((0, 1, 2, 3, 4)), dilation=dilation)
        if not _keeps(layer, size) or not any(_keeps(other, size) for other in drawn.values()):
            drawn[str(layer)] = layer
        if len(drawn) > 4:
            drawn = {}
    right = tuple(text for text, layer in drawn.items() if _keeps(layer, size))
    mistakes = tuple(
        Mistake(text, f"the trace gives {by(mapped(Net((layer,)), (3, size, size))[1:])}")
        for text, layer in drawn.items()
        if text not in right
    )
    text = f"An image of {size}×{size} goes in. Which layer leaves H and W as they are?"
    advice = "A kernel takes away dilation·(kernel − 1) cells, the padding brings twice itself back."
    return Draft(text, "choice", right, choices=tuple(sorted(drawn)), mistakes=mistakes, advice=advice)


def _keeps(layer: Layer, size: int) -> bool:
    made = output(traced(Net((layer,)), (3, size, size)))
    return made is not None and made[1:] == (size, size)


KINDS = (
    shape_after,
    shape_of_one,
    weights,
    kernel_for,
    padding_for,
    stride_for,
    never_read,
    smallest_image,
    keeps_the_size,
)

"""Lesson 2: where the Linear layer breaks, and which sizes pass it."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from random import Random

from fcnviz.exercises.nets import (
    FLATTEN,
    OUTPUTS,
    Layer,
    Net,
    by,
    features,
    image,
    linear,
    mapped,
    open_code,
    output,
    runs,
    square,
    traced,
)
from fcnviz.exercises.records import Mistake
from fcnviz.exercises.slips import Draft, first_step, mistaken
from fcnviz.records import Shape, Trace


def columns(rng: Random) -> Draft:
    """How many columns the Linear needs at a size."""
    net = features(rng, pools=(1, 2, 3))
    shape = image(rng, net, is_square=rng.random() < 0.5)
    lines = [str(layer) for layer in net.layers]
    code = open_code("columns", *lines, str(FLATTEN), f"nn.Linear(columns, {rng.choice(OUTPUTS)})")
    return flattened(net, shape, f"The images are {by(shape)}. How many columns does the Linear layer need?", code)


def flattened(net: Net, shape: tuple[int, ...], text: str, code: str) -> Draft:
    """A question for the numbers in a flattened map."""
    channels, height, width = mapped(net, shape)
    right = mapped(net.then(FLATTEN), shape)[0]
    mistakes = (
        Mistake(channels, "that is the channels alone; each has a whole map of cells"),
        Mistake(height * width, "that is one channel's cells; flatten takes those of every channel"),
        Mistake(
            channels * height, f"that counts one side of the map only: there are {channels} channels of rows × columns"
        ),
        Mistake(
            channels * width, f"that counts one side of the map only: there are {channels} channels of rows × columns"
        ),
        Mistake(channels * height * height, "that takes the map for a square one of its height"),
        Mistake(channels * width * width, "that takes the map for a square one of its width"),
        Mistake(math.prod(shape), "those are the numbers of the image; the layers have changed it"),
        Mistake(channels * shape[1] * shape[2], "that has the image's own height and width"),
        *mistaken(net, shape, _count),
    )
    return Draft(text, "number", (right,), code, mistakes=mistakes, advice=first_step(net, shape))


def _count(found: Trace) -> int | None:
    """Numbers in what comes out."""
    made = output(found)
    return math.prod(made) if made else None


def _classifier(rng: Random, cells: tuple[int, ...] = (2, 3, 4, 5, 6)) -> tuple[Net, tuple[int, ...]]:
    """A network with a Linear, and a square image that it was made for."""
    net = features(rng, pools=(1, 2, 3))
    shape = image(rng, net, cells, is_square=True)
    count = mapped(net.then(FLATTEN), shape)[0]
    return net.then(FLATTEN, linear(count, rng.choice(OUTPUTS))), shape


def _head(net: Net) -> tuple[Net, Layer]:
    """What stands before flatten, and the Linear after it."""
    place = net.places("Flatten")[0]
    return Net(net.layers[:place]), net.layers[place + 1]


def message(rng: Random) -> Draft:
    """The number that PyTorch's error names for a size that the network was not made for."""
    net, _ = _classifier(rng)
    front, head = _head(net)
    failing = image(rng, front)
    while runs(net, failing):
        failing = image(rng, front)
    found = traced(net, failing)
    assert found.failure is not None, "drawn to fail"
    count = int(re.findall(r"\(1x(\d+) and", found.failure.message)[0])
    asked = found.failure.message.replace(f"1x{count} ", "1x? ")
    text = (
        f"An image of {by(failing)} goes in, and PyTorch says:\n{asked}\nWhich number stands in place of the ? there?"
    )
    draft = flattened(front, failing, text, net.code)
    columns = Mistake(head.args[0], "those are the columns of the Linear; asked is what arrives there")
    assert draft.answers == (count,), "the message counts the flattened map"
    return replace(draft, mistakes=(columns, *draft.mistakes))


def which_breaks(rng: Random) -> Draft:
    """The first layer that refuses an image: a window too large, a Linear, or none."""
    net, made_for = _classifier(rng)
    front, _ = _head(net)
    least = square(front, 1)[0], *_tight(rng, front)
    shape = rng.choice((made_for, image(rng, front), least))
    return breaking(net, shape)


def _tight(rng: Random, net: Net) -> tuple[int, int]:
    """A size at which a late window may find no cells left."""
    return rng.randrange(3, 16), rng.randrange(3, 16)


NONE = "none: it runs"


def breaking(net: Net, shape: tuple[int, ...]) -> Draft:
    """Which layer a trace stops at, as a question."""
    found = traced(net, shape)
    choices = (*(f"{i} {layer.kind}" for i, layer in enumerate(net.layers)), NONE)
    right = NONE if found.failure is None else choices[found.failure.step.index]
    mistakes = [Mistake(choices[step.index], _ran(step.kind, step.output_shape)) for step in found if step.output_shape]
    mistakes += [Mistake(choice, "the network does not get so far") for choice in choices[len(found) : -1]]
    mistakes += [Mistake(NONE, f"it does not run; the trace gets through {len(found) - 1} of {len(net.layers)} layers")]
    text = f"An image of {by(shape)} goes in. Which layer is the first that refuses it?"
    return Draft(text, "choice", (right,), net.numbered, choices, tuple(mistakes), first_step(net, shape))


def _ran(kind: str, made: object) -> str:
    sizes = f"and gives {by(made[1:])}" if isinstance(made, tuple) else ""
    return f"{kind} runs there {sizes}".strip()


def which_sizes(rng: Random) -> Draft:
    """Which of some sizes the network takes, silently: floor lets a whole range pass."""
    net, made_for = _classifier(rng)
    channels, size, _ = made_for
    sizes = sorted(_around(rng, *_passing(net, size)))
    choices = tuple(f"{h}×{w}" for h, w in sizes)
    right = tuple(text for text, pair in zip(choices, sizes, strict=True) if runs(net, (channels, *pair)))
    mistakes = tuple(Mistake(text, _at(net, (channels, *pair))) for text, pair in zip(choices, sizes, strict=True))
    text = "Which of these images, height × width, does the network take without an error?"
    _, head = _head(net)
    advice = f"The Linear has {head.args[0]} columns: which sizes give a map of so many numbers?"
    return Draft(text, "choices", (right,), net.code, choices, mistakes, advice)


def _around(rng: Random, least: int, most: int) -> set[tuple[int, int]]:
    """Six sizes: mostly some of the range that passes, and others just outside it; one draw in six has none within."""
    within = [(h, w) for h in range(least, most + 1) for w in range(least, most + 1)]
    steps = [(h, w) for h in range(-4, 5) for w in range(-4, 5)]
    near = [(least + h, most + w) for h, w in steps]
    outside = [pair for pair in near if min(pair) > 0 and not least <= min(pair) <= max(pair) <= most]
    taken = rng.sample(within, min(len(within), rng.choice((0, 1, 1, 2, 2, 3))))
    return {*taken, *rng.sample(outside, 6 - len(taken))}


def _at(net: Net, shape: tuple[int, ...]) -> str:
    found = traced(net, shape)
    if found.failure is None:
        flat = next(step for step in found if step.kind == "Flatten")
        return f"{by(shape[1:])} does pass: the map is {by(flat.input_shapes[0][1:])} there, of the right count"
    return f"{by(shape[1:])} does not pass: {found.failure.explanation}"


def made_for(rng: Random) -> Draft:
    """A square image that the network takes; every one that the trace accepts is right."""
    net, shape = _classifier(rng)
    front, head = _head(net)
    least, most = _passing(net, shape[1])
    around = (*range(max(1, least - 4), least), *range(most + 1, most + 5))
    mistakes = tuple(Mistake(size, _at(net, square(net, size))) for size in around)
    channels = mapped(front, shape)[0]
    text = "H = W. For an image of which size was this network made? Any size that it takes is right; give one side."
    advice = f"{head.args[0]} columns are {channels} channels of a square map. How many cells has its side?"
    return Draft(text, "number", tuple(range(least, most + 1)), net.code, mistakes=mistakes, advice=advice)


def _passing(net: Net, size: int) -> tuple[int, int]:
    """The first and the last square image that passes, around one that does.

    There are no others: a larger image never gives a smaller map, and a square map has the right count at one size.
    """
    least = most = size
    while runs(net, square(net, least - 1)):
        least -= 1
    while runs(net, square(net, most + 1)):
        most += 1
    return least, most


def largest_that_passes(rng: Random) -> Draft:
    """The last square size that still passes before the Linear breaks."""
    net, shape = _classifier(rng)
    least, right = _passing(net, shape[1])
    mistakes = [Mistake(size, f"{by((size, size))} passes, and so does a larger one") for size in range(least, right)]
    mistakes += [Mistake(size, _at(net, square(net, size))) for size in range(right + 1, right + 4)]
    text = (
        f"The network takes an image of {least}×{least}. Which is the largest square one that it takes? Give one side."
    )
    advice = f"Floor drops what no window reaches: from {least} on, add pixels until the map has one cell more."
    return Draft(text, "number", (right,), net.code, mistakes=tuple(mistakes), advice=advice)


def adaptive(rng: Random) -> Draft:
    """The columns of a Linear after adaptive pooling, which no image size changes."""
    front = features(rng, pools=(1, 2))
    shape, cells = image(rng, front, (4, 5, 6)), rng.choice((2, 3, 4, 5, 7))
    pooled = front.then(Layer("AdaptiveAvgPool2d", ((cells, cells),)))
    lines = [*map(str, pooled.layers), str(FLATTEN), f"nn.Linear(columns, {rng.choice(OUTPUTS)})"]
    made, channels = mapped(front, shape), mapped(front, shape)[0]
    right = mapped(pooled.then(FLATTEN), shape)[0]
    mistakes = (
        Mistake(math.prod(made), f"that is the map of {by(made)} before adaptive pooling, which averages it"),
        Mistake(channels * cells, "that counts one side of the pooled map only"),
        Mistake(cells * cells, "that is one channel's cells; flatten takes those of every channel"),
        Mistake(channels, "that is one number for each channel, as a pooling to 1×1 gives"),
    )
    text = f"The images are {by(shape)}. How many columns does the Linear layer need?"
    advice = "Adaptive pooling gives the same height and width whatever comes in; the channels stay."
    return Draft(text, "number", (right,), open_code("columns", *lines), mistakes=mistakes, advice=advice)


def silent_rows(rng: Random) -> Draft:
    """The rows that view(-1, columns) makes of a batch: no error, and images mixed."""
    net, _ = _classifier(rng)
    front, head = _head(net)
    shape = image(rng, front, (3, 4, 5, 6, 8), is_square=True)
    count, columns = mapped(front.then(FLATTEN), shape)[0], head.args[0]
    images = math.lcm(count, columns) // count * rng.choice((1, 2))
    viewed = front.then(Layer("Flatten", (0,)), Layer("Unflatten", (0, (-1, columns))), head)
    found = traced(viewed, shape, images).output_shape
    assert isinstance(found, Shape), "the rows are full: nothing is left over"
    mistakes = (
        Mistake(images, "one row for each image needs as many columns as an image's map has numbers"),
        Mistake(columns, "those are the columns of each row"),
        Mistake(count, "that is how many numbers one image's map has"),
    )
    text = (
        f"{images} images of {by(shape)} go in. Flatten(0) lays all their numbers in one line, and Unflatten cuts it"
        f" into rows, as x.view(-1, {columns}) does. How many rows come out?"
    )
    advice = f"In all there are {images * count} numbers, and {columns} in a row."
    return Draft(text, "number", (found[0],), viewed.code, mistakes=mistakes, advice=advice)


KINDS = (columns, message, which_breaks, which_sizes, made_for, largest_that_passes, adaptive, silent_rows)

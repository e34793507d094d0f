"""Lesson 4: from one answer to a map; how many answers, where they lie, what they see and cost."""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from random import Random

from torch import nn

from fcnviz.exercises.nets import (
    FLATTEN,
    OUTPUTS,
    Net,
    by,
    conv,
    features,
    image,
    linear,
    located,
    mapped,
    output,
    room,
)
from fcnviz.exercises.records import Mistake
from fcnviz.exercises.slips import Draft, first_step, mistaken
from fcnviz.patches import clean_rings, patch_cost
from fcnviz.records import Trace
from fcnviz.surgery import convolutionalize
from fcnviz.trace import trace


def classifier(rng: Random, pads: bool = True, strides: tuple[int, ...] = (1,)) -> tuple[Net, Net, tuple[int, ...]]:
    """A classifier, the same with its Linear written as a convolution, and the square image it was made for."""
    front = features(rng, pools=(1, 2, 3), pads=pads)
    stride = rng.choice(strides)
    front = front.put(0, front.layers[0].having(stride=stride if stride > 1 else None))
    shape = image(rng, front, (2, 3, 4, 5), is_square=True)
    channels, side, _ = mapped(front, shape)
    outputs = rng.choice(OUTPUTS)
    return (
        front.then(FLATTEN, linear(channels * side * side, outputs)),
        front.then(conv(channels, outputs, side)),
        shape,
    )


@lru_cache(maxsize=512)
def _dense(net: Net, made_for: tuple[int, ...]) -> nn.Module:
    return convolutionalize(net.made(), (1, *made_for))


def _answers(net: Net, made_for: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """What the cast network gives: its own trace, not that of a network like it."""
    found = output(trace(_dense(net, made_for), (1, *shape)))
    assert found is not None, "the image is large enough for one answer"
    return found


def _larger(rng: Random, net: Net, shape: tuple[int, ...], is_square: bool = False) -> tuple[int, ...]:
    jump = _jump(net, shape)
    rows, columns = (shape[1] + rng.randrange(jump, 7 * jump) for _ in range(2))
    return shape[0], rows, rows if is_square else columns


def _jump(net: Net, shape: tuple[int, ...]) -> int:
    return int(located(net, shape)[-1].placements[0].jump)


CAST = "The network was made for images of {}. Its Linear becomes a convolution with the same weights."


def map_shape(rng: Random) -> Draft:
    """The shape of the map that the cast network gives on a larger image."""
    net, dense, made_for = classifier(rng)
    shape = _larger(rng, dense, made_for)
    right = _answers(net, made_for, shape)
    front = Net(net.layers[:-2])
    before = mapped(front, shape)
    mistakes = (
        Mistake((right[0], 1, 1), "that is one answer; this image is larger than the one it was made for"),
        Mistake((right[0],), "that is one row of numbers, as the Linear gave it; a convolution gives a map"),
        Mistake(
            (right[0], *before[1:]), "that is the map before the cast Linear, whose kernel takes several of its cells"
        ),
        Mistake((right[0], right[2], right[1]), "height and width have changed places"),
        Mistake((*right[1:], right[0]), "these are the right sizes in the order H, W, C"),
        *mistaken(dense, shape, output),
    )
    text = f"{CAST.format(by(made_for))} An image of {by(shape)} goes in: what shape comes out?"
    return Draft(text, "shape", (right,), net.code, mistakes=mistakes, advice=first_step(dense, shape))


def answers(rng: Random) -> Draft:
    """How many answers the map holds."""
    net, dense, made_for = classifier(rng)
    shape = _larger(rng, dense, made_for)
    channels, rows, columns = _answers(net, made_for, shape)
    before = mapped(Net(net.layers[:-2]), shape)
    mistakes = (
        Mistake(rows, "those are the rows alone; each row has several answers"),
        Mistake(columns, "those are the columns alone; each column has several answers"),
        Mistake(rows + columns, "that adds rows and columns; they multiply"),
        Mistake(channels, "those are the numbers of one answer, one for each class"),
        Mistake(channels * rows * columns, "those are all numbers of the map; an answer has one for each class"),
        Mistake(
            before[1] * before[2], "those are the cells before the cast Linear, whose kernel takes several of them"
        ),
        *mistaken(dense, shape, _cells),
    )
    text = f"{CAST.format(by(made_for))} An image of {by(shape)} goes in: how many answers come out, one for each cell?"
    return Draft(text, "number", (rows * columns,), net.code, mistakes=mistakes, advice=first_step(dense, shape))


def _cells(found: Trace) -> int | None:
    made = output(found)
    return math.prod(made[1:]) if made else None


def jump(rng: Random) -> Draft:
    """How many pixels lie between one answer and the next."""
    net, dense, made_for = classifier(rng, strides=(1, 2, 3, 4))
    place = located(dense, made_for)[-1].placements[0]
    strides = [layer.stride for layer in dense.layers if layer.slides]
    pools = [layer for layer in dense.layers if layer.pools]
    kernels, own = math.prod(layer.kernel for layer in pools), dense.layers[0].stride
    mistakes = (
        Mistake(int(place.field), "that is how much an answer sees; the next one sees much of the same"),
        Mistake(sum(stride for stride in strides if stride > 1), "that adds the strides; they multiply"),
        Mistake(int(place.jump) // own, "that leaves the stride of the first convolution out"),
        Mistake(kernels, "those are the kernels multiplied; a window moves by its stride"),
        Mistake(made_for[1], "that is the whole image it was made for; answers lie closer together"),
        *(
            Mistake(own * math.prod(layer.stride for layer in pools[:kept]), _too_few(kept, len(pools)))
            for kept in range(len(pools))
        ),
    )
    text = f"{CAST.format(by(made_for))} On a larger image: how many pixels lie from one answer to the one beside it?"
    advice = "A cell of a pool with stride 2 is 2 cells of what comes before: go through the layers and multiply."
    return Draft(text, "number", (int(place.jump),), net.code, mistakes=mistakes, advice=advice)


def _too_few(kept: int, pools: int) -> str:
    return f"that is with {kept or 'no'} pool{'s' * (kept != 1)}; the trace shows {pools}"


def field(rng: Random) -> Draft:
    """How many pixels an answer sees along one axis, as the geometry of the trace composes it."""
    net, dense, made_for = classifier(rng)
    found = located(dense, made_for)
    right = int(found[-1].placements[0].field)
    kernels = [layer.kernel for layer in dense.layers if layer.slides]
    before = int(found[-2].placements[0].field)
    mistakes = (
        Mistake(before, "that is one cell before the last layer, whose kernel takes several of them"),
        Mistake(sum(kernels), "that adds the kernels; after a stride a cell stands for several pixels"),
        Mistake(
            sum(kernel - 1 for kernel in kernels) + 1, "that leaves the strides out: a cell stands for more pixels"
        ),
        Mistake(made_for[1], "that is the image it was made for, which need not be what the answer sees"),
        Mistake(right * right, "that is the area; asked is one side"),
        Mistake(int(found[-1].placements[0].jump), "that is how far the next answer lies away"),
    )
    text = (
        f"{CAST.format(by(made_for))} How many pixels does one answer see along a row: its receptive field, pixels of"
        " the padding included?"
    )
    advice = (
        f"The first layer's cells see {found[0].placements[0].field} pixels each. Every layer adds (kernel − 1)·jump."
    )
    return Draft(text, "number", (right,), net.code, mistakes=mistakes, advice=advice)


def first_pixel(rng: Random) -> Draft:
    """Where an answer of a network without padding begins to look."""
    net, dense, made_for = classifier(rng, pads=False)
    step = _jump(dense, made_for)
    cell = rng.randrange(2, 7)
    side = made_for[1] + step * 7
    region = located(dense, (made_for[0], side, side)).region(len(dense.layers) - 1, (0, cell))
    assert region.clipped is not None, "no padding: a cell sees pixels"
    right, last = int(region.clipped[1].first), int(region.clipped[1].last)
    mistakes = (
        Mistake(right + 1, "counted from 1; pixels are counted from nought"),
        Mistake(right - step, "that is where the answer before it begins"),
        Mistake(right + step, "that is where the answer after it begins"),
        Mistake(last, "that is the last pixel that it sees"),
        Mistake(cell * made_for[1], "that lays the windows side by side; they overlap"),
        Mistake((right + last) // 2, "that is the middle of what it sees"),
    )
    text = (
        f"{CAST.format(by(made_for))} On an image of {side}×{side}, cells and pixels counted from nought: which is the"
        f" first column of pixels that the answer in column {cell} of the map sees?"
    )
    advice = "No layer pads: cell 0 begins at pixel 0, and each cell lies one jump after the one before."
    return Draft(text, "number", (right,), net.code, mistakes=mistakes, advice=advice)


def size_for(rng: Random) -> Draft:
    """The smallest square image that gives n×n answers."""
    net, dense, made_for = classifier(rng)
    cells = rng.randrange(2, 7)
    step, least = _jump(dense, made_for), room(dense)

    def given(size: int) -> tuple[int, ...]:
        return _answers(net, made_for, (made_for[0], size, size))

    right = least + bisect_left(range(step * cells), cells, key=lambda more: given(least + more)[1])
    near = (*range(right - 3, right + 4), least, right + step, right - step)
    mistakes = [
        Mistake(size, f"that gives {by(given(size)[1:])} answers{', and so does a smaller one' * (size > right)}")
        for size in near
        if size >= least
    ]
    mistakes += [Mistake(cells * made_for[1], "that lays the images side by side; the windows overlap")]
    mistakes += [Mistake(made_for[1] * (cells - 1), "that lays the images side by side; the windows overlap")]
    text = f"{CAST.format(by(made_for))} H = W. Which is the smallest image for {cells}×{cells} answers? Give one side."
    advice = "Each answer more takes one jump of pixels more."
    return Draft(text, "number", (right,), net.code, mistakes=tuple(mistakes), advice=advice)


def cost(rng: Random) -> Draft:
    """How many times fewer multiply-adds one dense run takes than its answers one by one."""
    net, dense, made_for = classifier(rng)
    shape = _larger(rng, dense, made_for, is_square=True)
    found = patch_cost(_dense(net, made_for), (shape[1], shape[2]), made_for[1])
    area = math.prod(shape[1:]) / math.prod(made_for[1:])
    mistakes = (
        Mistake(float(found.patches), "that is how many patches there are; the dense run costs more than one of them"),
        Mistake(round(area, 1), "that is how much larger the image is, which is about what the dense run costs more"),
        Mistake(round(found.dense_macs / found.patch_macs, 1), "that is what the dense run costs against one patch"),
        Mistake(
            round(1 / found.ratio, 1), "that is the dense run in parts of the patches; asked is the other way round"
        ),
    )
    text = (
        f"{CAST.format(by(made_for))} On an image of {by(shape)} one dense run takes {found.dense_macs} multiply-adds"
        f" and gives {by(found.answers)} answers; one patch of {by(made_for)} takes {found.patch_macs}. How many times"
        " more multiply-adds does it take to run a patch for each answer?"
    )
    advice = f"{by(found.answers)} patches at {found.patch_macs} each, against one run."
    return Draft(text, "decimal", (found.ratio,), net.code, mistakes=mistakes, advice=advice)


def clean_cells(rng: Random) -> Draft:
    """How many cells of a patch's map the padding of the patch has not reached."""
    front = features(rng, pools=(1, 2))
    while not any(layer.get("padding") for layer in front.layers):
        front = features(rng, pools=(1, 2))
    shape = image(rng, front, (5, 6, 7, 8), is_square=True)
    ring = clean_rings(front.made(), shape[1])[-1]
    rows, columns = ring.rows[1] - ring.rows[0], ring.columns[1] - ring.columns[0]
    mistakes = (
        Mistake(ring.cells, "those are all cells of the map; those at the edge have seen the patch's padding"),
        Mistake(ring.cells - ring.clean, "those are the cells that the padding has reached; asked are the others"),
        Mistake(rows, "that is one side of the clean middle; it has rows and columns"),
        Mistake(columns + 1, "that is one side of the clean middle and one more"),
        Mistake(
            (ring.size[0] - 2) * (ring.size[1] - 2), "that takes one ring of cells away; follow the padding by layers"
        ),
    )
    text = (
        f"A patch of {by(shape)} is cut from the middle of a large image, so that its cells lie on cells of the whole"
        " image's maps, and run on its own. In how many cells of its last map are the numbers sure to be those of the"
        " run on the whole image, because no padding has reached them?"
    )
    advice = f"The last map has {by(ring.size)} cells. A cell is clean if all that it reads is there and clean."
    return Draft(text, "number", (ring.clean,), front.code, mistakes=mistakes, advice=advice)


KINDS = (map_shape, answers, jump, field, first_pixel, size_for, cost, clean_cells)

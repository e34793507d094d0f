"""Lesson 7: your own network; broken ones to repair, and what a layer holds and costs."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from fcnviz.exercises.linears import breaking, flattened
from fcnviz.exercises.nets import (
    CHANNELS,
    FLATTEN,
    OUTPUTS,
    RELU,
    Layer,
    Net,
    by,
    channels_into,
    conv,
    features,
    image,
    linear,
    mapped,
    pool,
    runs,
    traced,
)
from fcnviz.exercises.records import Mistake
from fcnviz.exercises.slips import Draft


def _decorated(rng: Random, net: Net) -> Net:
    """With what stands in networks of one's own and changes no size."""
    layers: list[Layer] = []
    for layer in net.layers:
        layers.append(layer)
        if layer.kind == "Conv2d":
            layers += rng.choice(((), (RELU,), (Layer("BatchNorm2d", (layer.args[1],)), RELU)))
        if layer.pools:
            layers += rng.choice(((), (), (Layer("Dropout", (0.25,)),)))
    return Net(tuple(layers))


def _own(rng: Random) -> tuple[Net, tuple[int, ...]]:
    front = features(rng, pools=(1, 2, 3), relus=False)
    shape = image(rng, front, (2, 3, 4, 5, 6), is_square=True)
    return _decorated(rng, front), shape


def columns(rng: Random) -> Draft:
    """A Linear with the wrong columns: which number repairs it for the image that comes in?"""
    front, shape = _own(rng)
    right, other = mapped(front.then(FLATTEN), shape)[0], _other_count(rng, front, shape)
    broken = front.then(FLATTEN, linear(other, rng.choice(OUTPUTS)))
    text = (
        f"Images of {by(shape)} break this network: its Linear has the columns of another size. How many must it have"
        " for these?"
    )
    draft = flattened(front, shape, text, broken.code)
    assert draft.answers == (right,), "the flattened map is what the Linear reads"
    there = Mistake(other, "those are the columns that it has; with them it breaks")
    return replace(draft, mistakes=(there, *draft.mistakes))


def _other_count(rng: Random, front: Net, shape: tuple[int, ...]) -> int:
    """How many numbers the map of another size has."""
    right = other = mapped(front.then(FLATTEN), shape)[0]
    while other == right:
        other = mapped(front.then(FLATTEN), image(rng, front, (2, 3, 4, 5, 6), is_square=True))[0]
    return other


def channels(rng: Random) -> Draft:
    """A convolution that expects other channels than it gets, after a layer that makes fewer of them."""
    fewer, times = rng.choice(((Layer("GLU", (1,)), 2), (Layer("PixelShuffle", (2,)), 4)))
    kept, second, kernel = rng.choice(CHANNELS), rng.choice(CHANNELS), rng.choice((3, 5))
    wrong = rng.choice((kept * times, second))
    net = Net((conv(3, kept * times, kernel), fewer, conv(wrong, second, 3, stride=rng.choice((1, 2))), RELU))
    shape = (3, rng.randrange(20, 60), rng.randrange(20, 60))
    found = tuple(n for n in {wrong, second, kept, kept * times, 3} if runs(_reading(net, n), shape))
    mistakes = (
        Mistake(wrong, "that is what it has; with it PyTorch refuses the map"),
        Mistake(second, "those are the channels that it makes, not those that it gets"),
        Mistake(kept * times, f"those are the channels before {fewer.kind}, which makes fewer of them"),
        Mistake(3, "those are the channels of the image; other layers stand between"),
    )
    text = (
        f"An image of {by(shape)} goes in, and layer {net.places('Conv2d')[1]} refuses what it gets. To which number"
        " must its first argument, the input channels, be changed?"
    )
    advice = f"A convolution takes as many channels as it is handed, and {fewer.kind} makes one channel of {times}."
    return Draft(text, "number", found, net.numbered, mistakes=mistakes, advice=advice)


def _reading(net: Net, inputs: int) -> Net:
    """With other input channels of the second convolution."""
    place = net.places("Conv2d")[1]
    return net.put(place, replace(net.layers[place], args=(inputs, *net.layers[place].args[1:])))


def which_breaks(rng: Random) -> Draft:
    """The first layer that refuses, in networks with other layers between; or none."""
    front, shape = _own(rng)
    count = mapped(front.then(FLATTEN), shape)[0]
    hidden, outputs = rng.sample(OUTPUTS, 2)
    net = front.then(FLATTEN, linear(count, hidden), RELU, linear(hidden, outputs))
    return breaking(_broken(rng, net), shape)


def _broken(rng: Random, net: Net) -> Net:
    """With one number changed somewhere, or none."""
    place = rng.choice([i for i, layer in enumerate(net.layers) if layer.kind in ("Conv2d", "BatchNorm2d", "Linear")])
    layer, how = net.layers[place], rng.choice(("in", "in", "none", "kernel"))
    if how == "none":
        return net
    if how == "kernel" and layer.kind == "Conv2d":
        return net.put(place, layer.with_kernel(layer.kernel + 2))
    if place == 0:
        return net
    return net.put(place, replace(layer, args=(layer.args[0] + rng.choice((2, 4)), *layer.args[1:])))


def message(rng: Random) -> Draft:
    """Which of four errors PyTorch raises; each is a real one, of a network a little different."""
    said: dict[str, str] = {}
    while len(said) < 4:
        front, shape = _own(rng)
        other = _other_count(rng, front, shape)
        net = front.then(FLATTEN, linear(other, rng.choice(OUTPUTS)))
        found = traced(net, shape)
        assert found.failure is not None, "drawn to fail"
        said = {found.failure.message: ""}
        right, head = found.failure.message, net.layers[-1]
        for words, changed in _neighbours(front, head):
            failure = traced(changed, shape).failure
            if failure is not None and failure.message.startswith("mat1") and len(said) < 4:
                said.setdefault(failure.message, words)
    choices = list(said)
    rng.shuffle(choices)
    mistakes = tuple(Mistake(one, f"PyTorch would say so {words}") for one, words in said.items() if one != right)
    text = f"An image of {by(shape)} goes in. What does PyTorch say?"
    advice = "Rows × numbers of the flattened map stand first, columns × outputs of the Linear second."
    return Draft(text, "choice", (right,), net.code, tuple(choices), mistakes, advice)


def _neighbours(front: Net, head: Layer) -> list[tuple[str, Net]]:
    """Networks a slip away, and what the slip is."""
    last = [i for i, layer in enumerate(front.layers) if layer.pools][-1]
    unpadded = Net(tuple(layer.having(padding=None) if layer.kind == "Conv2d" else layer for layer in front.layers))
    turned, wider = linear(head.args[1], head.args[0]), front.put(last, pool(3))
    return [
        ("without the last pool", front.put(last).then(FLATTEN, head)),
        ("without Flatten; here one image is one row", front.then(head)),
        ("of a Linear whose columns and outputs have changed places", front.then(FLATTEN, turned)),
        ("without the padding", unpadded.then(FLATTEN, head)),
        ("with a last pool of kernel and stride 3", wider.then(FLATTEN, head)),
        (
            "without the last pool, and with columns and outputs in each other's place",
            front.put(last).then(FLATTEN, turned),
        ),
    ]


def repair(rng: Random) -> Draft:
    """Which of four changes makes a broken network run at its size; each change is traced."""
    while True:
        front, shape = _own(rng)
        other = _other_count(rng, front, shape)
        net = front.then(FLATTEN, linear(other, rng.choice(OUTPUTS)))
        tried = list(_changes(rng, front, net.layers[-1], shape))
        rng.shuffle(tried)
        right = [words for words, changed in tried if runs(changed, shape)][:1]
        wrong = [(words, changed) for words, changed in tried if not runs(changed, shape)][:3]
        if right and len(wrong) == 3:
            break
    mistakes = tuple(Mistake(words, f"then PyTorch says: {_said(changed, shape)}") for words, changed in wrong)
    choices = tuple(sorted([*right, *(words for words, _ in wrong)]))
    text = f"An image of {by(shape)} breaks this network. Which of these changes makes it run?"
    advice = f"The Linear has {other} columns. After which change do so many numbers reach it?"
    return Draft(text, "choice", tuple(right), net.code, choices, mistakes, advice)


def _said(net: Net, shape: tuple[int, ...]) -> str:
    failure = traced(net, shape).failure
    assert failure is not None, "a change that does not help"
    return failure.message


def _changes(rng: Random, front: Net, head: Layer, shape: tuple[int, ...]) -> list[tuple[str, Net]]:
    """Changes that people try."""
    made, outputs = mapped(front, shape), head.args[1]
    side = math.isqrt(head.args[0] // made[0])
    adaptive = {cells: Layer("AdaptiveAvgPool2d", ((cells, cells),)) for cells in (side, side + 1, made[1])}
    changes = [
        (f"write {linear(columns, outputs)}", front.then(FLATTEN, linear(columns, outputs)))
        for columns in (math.prod(made), made[0], made[1] * made[2], made[0] * made[1])
    ]
    changes += [(f"put {layer} before flatten", front.then(layer, FLATTEN, head)) for layer in adaptive.values()]
    changes += [(f"put {pool()} before flatten", front.then(pool(), FLATTEN, head))]
    changes += [("take Flatten out", front.then(head))]
    return changes


def grouped(rng: Random) -> Draft:
    """How many parameters a convolution in groups has."""
    inputs, kernel, groups = rng.choice((8, 12, 16, 24, 32)), rng.choice((3, 5, 7)), rng.choice((2, 4))
    outputs = inputs * rng.choice((1, 2))
    layer = Layer("Conv2d", (inputs, outputs, kernel)).having(groups=rng.choice((groups, inputs)))
    net, shape = Net((layer,)), (inputs, rng.randrange(20, 60), rng.randrange(20, 60))
    step = traced(net, shape)[0]
    weight = math.prod(step.weights[0].shape)
    mistakes = (
        Mistake(
            traced(Net((layer.having(groups=None),)), shape).params,
            "that is without groups: a filter sees only its own",
        ),
        Mistake(weight, "that leaves the biases out: one for each filter"),
        Mistake(step.params * layer.get("groups"), "that counts each group's filters for every group"),
        Mistake(kernel * kernel * inputs // layer.get("groups") + 1, "that is one filter; there are several"),
    )
    text = f"The input is {by(shape)}. How many parameters has the layer, biases included?"
    advice = f"Each of the {outputs} filters sees the input channels of its own group alone."
    return Draft(text, "number", (step.params,), net.code, mistakes=mistakes, advice=advice)


def multiply_adds(rng: Random) -> Draft:
    """How many multiply-adds a convolution takes at a size."""
    layer = conv(rng.choice((1, 3)), rng.choice(CHANNELS), rng.choice((3, 5)), stride=rng.choice((1, 2)))
    net = Net((layer,))
    shape = (channels_into(net), rng.randrange(12, 40), rng.randrange(12, 40))
    found = traced(net, shape)
    made = mapped(net, shape)
    inputs, outputs, kernel = layer.args
    mistakes = (
        Mistake(found.macs // (made[1] * made[2]), "that is one place; the window stands at every cell of the output"),
        Mistake(found.macs // inputs, "that leaves the input channels out"),
        Mistake(found.macs // outputs, "that is one filter"),
        Mistake(found.macs // (kernel * kernel), "that leaves the kernel out"),
        Mistake(
            found.macs // (made[1] * made[2]) * shape[1] * shape[2], "that has a window at every pixel of the image"
        ),
        Mistake(found.macs + math.prod(made), "that counts the biases, which multiply nothing"),
        Mistake(2 * found.macs, "those are operations, two for each multiply-add"),
        Mistake(found.params, "those are the parameters"),
    )
    text = f"The input is {by(shape)}. How many multiply-adds does the layer take? The bias is not counted."
    advice = f"The trace gives {by(made)}; each of these numbers is one sum of products."
    return Draft(text, "number", (found.macs,), net.code, mistakes=mistakes, advice=advice)


KINDS = (columns, channels, which_breaks, message, repair, grouped, multiply_adds)

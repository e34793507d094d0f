"""Typical slips as changed networks: a wrong answer is known by being the right one of the network without its padding.

So that a hint can quote the student's number and say where it comes from, each slip is traced like the network itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fcnviz.exercises.nets import Layer, Net, traced
from fcnviz.exercises.records import Answer, Form, Mistake
from fcnviz.records import Trace


@dataclass(frozen=True, slots=True)
class Draft:
    """A question as a kind draws it; the fields are those of `Question`."""

    text: str
    form: Form
    answers: tuple[Answer, ...]
    code: str = ""
    choices: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    advice: str = ""


def slips(net: Net) -> Iterator[tuple[Net, str]]:
    """The network as somebody reads it who overlooks something, and what was overlooked."""
    yield from _pools_forgotten(net)
    yield _each(net, lambda layer: layer.having(padding=None)), "that is what comes out without the padding"
    yield _one_sided(net), "that counts the padding on one side; it stands on both"
    yield _each(net, _rounding_up), "that rounds up; where a window does not fit any more, these layers round down"
    yield _each(net, lambda layer: layer.having(ceil_mode=None)), "that rounds down; ceil_mode=True rounds up"
    yield _each(net, lambda layer: layer.having(dilation=None)), "that leaves the dilation out: taps are further apart"
    yield _each(net, _unmoved, "Conv2d"), "that leaves the size as it was at the convolutions, which change it here"
    yield _each(net, lambda layer: layer.having(stride=1)), "that leaves the strides out: windows do not move by 1 here"


def mistaken(net: Net, shape: tuple[int, ...], read: Callable[[Trace], Answer | None]) -> Iterator[Mistake]:
    """What each slip gives for the same image, read off its trace as the answer is; a slip that fails gives none."""
    for changed, words in slips(net):
        found = traced(changed, shape) if changed != net else None
        answer = read(found) if found is not None and found.failure is None else None
        if answer is not None:
            yield Mistake(answer, words)


def _each(net: Net, change: Callable[[Layer], Layer], kind: str = "") -> Net:
    """With every layer that has a window changed, or those of one kind."""
    return Net(tuple(change(layer) if layer.slides and kind in ("", layer.kind) else layer for layer in net.layers))


def _pools_forgotten(net: Net) -> Iterator[tuple[Net, str]]:
    places = [i for i, layer in enumerate(net.layers) if layer.pools]
    many = "pool" if len(places) == 1 else "pools"
    for kept in reversed(range(len(places))):
        without = set(places[kept:])
        fewer = Net(tuple(layer for i, layer in enumerate(net.layers) if i not in without))
        if fewer.layers:
            yield (
                fewer,
                f"that is what {kept or 'no'} pool{'s' * (kept != 1)} would give; the trace shows {len(places)} {many}",
            )


def _rounding_up(layer: Layer) -> Layer:
    return layer.having(ceil_mode=True) if layer.pools else layer


def _unmoved(layer: Layer) -> Layer:
    return layer.with_kernel(1).having(padding=None, dilation=None)


def _one_sided(net: Net) -> Net:
    layers: list[Layer] = []
    for layer in net.layers:
        padding = layer.get("padding", 0) if layer.slides else 0
        layers += [Layer("ZeroPad2d", ((padding, 0, padding, 0),)), layer.having(padding=None)] if padding else [layer]
    return Net(tuple(layers))


def first_step(net: Net, shape: tuple[int, ...]) -> str:
    """A hint that does not give the end away: what the first of several steps gives."""
    found = traced(net, shape)
    step = found[0]
    if len(found) < 2 or not isinstance(step.output_shape, tuple):
        return "Write the formula out for each axis: ⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1."
    return f"The trace's first step, {step.kind}, gives {'×'.join(map(str, step.output_shape[1:]))}; go on from there."

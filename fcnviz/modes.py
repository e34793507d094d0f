"""Two networks with VGG16's windows, which make 7×7 cells, and of those one answer, of images of very different sizes.

That 224×224 becomes 7×7 and one answer is said of VGG16, whose convolutions pad with 1. FCN-32s has the same windows,
but pads the image with 100. There 224×224 becomes 14×14, and 7×7 belongs to images that hardly fill a window. The
ranges are read from each network's law.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import nn

from fcnviz import models
from fcnviz.law import law
from fcnviz.records import Step
from fcnviz.upsampling.bilinear import check_whole

WIDTH = 224  # which both networks take; heights are looked at alone, since they do not depend on it


@dataclass(frozen=True)
class Mode:
    """The images of which a network makes a map of before×before cells, and of that after×after answers.

    Attributes:
        network: which one.
        pad: of its first convolution.
        before, after: cells on an axis before fc6 and behind it.
        first, last: rows (or columns) of the smallest and of the largest such image.
    """

    network: str
    pad: int
    before: int
    after: int
    first: int
    last: int


@dataclass(frozen=True)
class Modes:
    """One of each network after the other, for as many answers as were asked for."""

    each: tuple[Mode, ...]

    def __str__(self) -> str:
        from fcnviz import handwork  # a record knows that a sheet exists, never how one looks

        return handwork.modes_text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.modes_html(self)


def modes(answers: int = 2, within: int = 300) -> Modes:
    """VGG16 as a convolutional net and FCN-32s: the images that give 1×1 up to answers×answers answers.

    Args:
        answers: of fc6, on an axis.
        within: the largest height looked at; ranges that may go on behind it are left out.

    Raises:
        InputError: numbers that are no whole numbers from 1 up.

    >>> for mode in modes().each:
    ...     print(mode.network, mode.pad, mode.before, mode.after, (mode.first, mode.last))
    VGG16 1 7 1 (224, 255)
    VGG16 1 8 2 (256, 287)
    FCN-32s 100 7 1 (1, 26)
    FCN-32s 100 8 2 (27, 58)
    """
    check_whole(1, answers=answers, within=within)
    vgg = _ranges("VGG16", models.vgg16("conv"), ("features.0", "features.30", "classifier.0"), within)
    fcn = _ranges("FCN-32s", models.fcn32s(), ("conv1_1", "pool5", "fc6"), within)
    return Modes(tuple(mode for mode in (*vgg, *fcn) if mode.after <= answers and mode.last < within))


def _ranges(network: str, net: nn.Module, layers: tuple[str, str, str], within: int) -> Iterator[Mode]:
    """Heights that follow one another and make the same map: the windows of both axes are the same."""
    first, pool, fc6 = layers
    pad = _pad(net.get_submodule(first))
    found = law(net, (1, 3, "H", WIDTH), within=within)
    runs = [(h, found.at(H=h)) for h in range(1, within + 1) if found.accepts(H=h)]
    for (before, after), heights in groupby(runs, lambda run: (_rows(run[1][pool]), _rows(run[1][fc6]))):
        of = [h for h, _ in heights]
        yield Mode(network, pad, before, after, of[0], of[-1])


def _pad(layer: Any) -> int:
    return int(layer.padding[0])


def _rows(step: Step) -> int:
    shape: Any = step.output_shape
    return int(shape[2])

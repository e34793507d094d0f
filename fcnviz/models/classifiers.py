"""VGG16, AlexNet, LeNet and the net of two convolutions: one answer for one image, or a map of answers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnviz.conv import Conv2d
from fcnviz.errors import InputError
from fcnviz.models.weights import finished

VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # channels after each 3×3

Head = Literal["linear", "conv", "adaptive"]


class VGG16(nn.Sequential):
    """Thirteen 3×3 convolutions in five blocks, then three dense layers: see `vgg16`."""


class AlexNet(nn.Sequential):
    """Five convolutions of 11×11 down to 3×3, then three dense layers: see `alexnet`."""


class TwoConvolutions(nn.Sequential):
    """Two convolutions and nothing else: see `two_convolutions`."""


class LeNet(nn.Module):
    """The network of PyTorch's first tutorial, written with functions between its layers: see `lenet`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, device="meta")
        self.conv2 = nn.Conv2d(6, 16, 5, device="meta")
        self.fc1 = nn.Linear(16 * 5 * 5, 120, device="meta")
        self.fc2 = nn.Linear(120, 84, device="meta")
        self.fc3 = nn.Linear(84, 10, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def vgg16(head: Head = "linear", seed: int | None = None) -> VGG16:
    """VGG16 (Simonyan & Zisserman 2014, configuration D): 138 357 544 parameters whatever the head.

    `features` takes N×3×H×W to N×512×⌊H/32⌋×⌊W/32⌋. The head decides what happens then:

    - "linear", as in the paper: flatten, and a Linear that has 25 088 = 512·7·7 columns. N×1000, or a RuntimeError.
    - "conv": the same weights as a 7×7 and two 1×1 convolutions. N×1000×(⌊H/32⌋−6)×(⌊W/32⌋−6).
    - "adaptive", as in torchvision: average whatever map there is to 7×7 first. N×1000 at every size from 32 on.

    torchvision's `state_dict` loads into each of them; for "conv" its Linear weights are viewed as kernels.

    >>> vgg16("conv")(torch.empty(1, 3, 256, 256, device="meta")).shape
    torch.Size([1, 1000, 2, 2])

    Raises:
        InputError: for a head of another name.
    """
    features = _vgg_features(VGG16_BLOCKS)
    classifier = nn.Sequential(
        *(dense(head, 512, 4096, kernel=7), nn.ReLU(inplace=True), nn.Dropout()),
        *(dense(head, 4096, 4096), nn.ReLU(inplace=True), nn.Dropout()),
        dense(head, 4096, 1000),
    )
    return finished(VGG16(_chain(features, head, 7, classifier)), seed)


def alexnet(head: Head = "linear", seed: int | None = None) -> AlexNet:
    """AlexNet as torchvision has it (Krizhevsky 2014, one tower): 61 100 840 parameters whatever the head.

    3×224×224 → 256×6×6 → 9216 → 4096 → 4096 → 1000; heads as in `vgg16`, with 6×6 in place of 7×7. The
    torchvision `state_dict` loads. This is not Caffe's AlexNet of 2012 (96 and 256 filters in two groups, input 227,
    ceil-mode pools), which the paper on fully convolutional networks builds on.

    >>> alexnet()(torch.empty(1, 3, 224, 224, device="meta")).shape
    torch.Size([1, 1000])

    Raises:
        InputError: for a head of another name.
    """
    features = nn.Sequential(
        *(conv(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(conv(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(conv(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(conv(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(conv(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
    )
    classifier = nn.Sequential(
        *(nn.Dropout(), dense(head, 256, 4096, kernel=6), nn.ReLU(inplace=True)),
        *(nn.Dropout(), dense(head, 4096, 4096), nn.ReLU(inplace=True)),
        dense(head, 4096, 1000),
    )
    return finished(AlexNet(_chain(features, head, 6, classifier)), seed)


def two_convolutions(seed: int | None = None) -> TwoConvolutions:
    """The network of the question: N×3×H×W → N×64×(H−4)×(W−4) → N×128×(H−6)×(W−6).

    64 filters of 3×5×5 and 128 of 64×3×3: no weight knows H or W.

    >>> two_convolutions()(torch.empty(1, 3, 100, 60, device="meta")).shape
    torch.Size([1, 128, 94, 54])
    """
    layers: dict[str, nn.Module] = {"conv1": conv(3, 64, 5), "conv2": conv(64, 128, 3)}
    return finished(TwoConvolutions(OrderedDict(layers)), seed)


def lenet(seed: int | None = None) -> LeNet:
    """LeNet as in PyTorch's tutorial "Neural Networks": N×1×32×32 → N×10, 61 706 parameters.

    Its pools, ReLUs and flatten are calls in `forward`, not modules. Heights and widths of 32..35 pass.

    >>> lenet()(torch.empty(1, 1, 32, 32, device="meta")).shape
    torch.Size([1, 10])
    """
    return finished(LeNet(), seed)


def _vgg_features(blocks: Sequence[Sequence[int]]) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for block in blocks:
        for width in block:
            layers += [conv(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Conv2d:
    """A convolution that is built in no time, since it has no numbers yet."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, device="meta")


def dense(head: Head, inputs: int, outputs: int, kernel: int = 1) -> nn.Linear | nn.Conv2d:
    """A layer that sees a whole inputs×kernel×kernel map: a Linear, or the convolution with the same weights."""
    if head != "conv":
        return nn.Linear(inputs * kernel * kernel, outputs, device="meta")
    return Conv2d(inputs, outputs, kernel, device="meta")


def _chain(features: nn.Module, head: Head, size: int, classifier: nn.Module) -> OrderedDict[str, nn.Module]:
    between: dict[str, dict[str, nn.Module]] = {
        "linear": {"flatten": nn.Flatten()},
        "conv": {},
        "adaptive": {"avgpool": nn.AdaptiveAvgPool2d((size, size)), "flatten": nn.Flatten()},
    }
    if head not in between:
        raise InputError(f"head={head!r} was asked for; a head is one of {', '.join(map(repr, between))}")
    return OrderedDict(features=features, **between[head], classifier=classifier)

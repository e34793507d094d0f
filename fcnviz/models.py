"""The networks of the course, with the layer names of torchvision where torchvision has them.

A model comes on the meta device: shapes and parameter counts, no numbers, no memory. `seed=0` gives it real
random weights on the CPU, the same ones every time, and leaves torch's own random numbers where they were.
`load` fills it from a file. Every model comes in eval mode. Nothing here downloads or trains.
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnviz.conv import Conv2d
from fcnviz.errors import InputError

Head = Literal["linear", "conv", "adaptive"]
Model = TypeVar("Model", bound=nn.Module)


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
    features = _vgg_features(blocks=((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)))
    classifier = nn.Sequential(
        *(_dense(head, 512, 4096, kernel=7), nn.ReLU(inplace=True), nn.Dropout()),
        *(_dense(head, 4096, 4096), nn.ReLU(inplace=True), nn.Dropout()),
        _dense(head, 4096, 1000),
    )
    return _finish(VGG16(_chain(features, head, 7, classifier)), seed)


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
        *(_conv(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(_conv(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        *(_conv(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
        *(_conv(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(_conv(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
    )
    classifier = nn.Sequential(
        *(nn.Dropout(), _dense(head, 256, 4096, kernel=6), nn.ReLU(inplace=True)),
        *(nn.Dropout(), _dense(head, 4096, 4096), nn.ReLU(inplace=True)),
        _dense(head, 4096, 1000),
    )
    return _finish(AlexNet(_chain(features, head, 6, classifier)), seed)


def two_convolutions(seed: int | None = None) -> TwoConvolutions:
    """The network of the question: N×3×H×W → N×64×(H−4)×(W−4) → N×128×(H−6)×(W−6).

    64 filters of 3×5×5 and 128 of 64×3×3: no weight knows H or W.

    >>> two_convolutions()(torch.empty(1, 3, 100, 60, device="meta")).shape
    torch.Size([1, 128, 94, 54])
    """
    layers: dict[str, nn.Module] = {"conv1": _conv(3, 64, 5), "conv2": _conv(64, 128, 3)}
    return _finish(TwoConvolutions(OrderedDict(layers)), seed)


def lenet(seed: int | None = None) -> LeNet:
    """LeNet as in PyTorch's tutorial "Neural Networks": N×1×32×32 → N×10, 61 706 parameters.

    Its pools, ReLUs and flatten are calls in `forward`, not modules. Heights and widths of 32..35 pass.

    >>> lenet()(torch.empty(1, 1, 32, 32, device="meta")).shape
    torch.Size([1, 10])
    """
    return _finish(LeNet(), seed)


def load(model: Model, path: str | Path, sha256: str = "") -> Model:
    """Fill a model with the weights (a `state_dict`) in a file, and return it.

    A model on meta takes the file's tensors as they are, on the CPU; one with real weights keeps its device and
    dtype. Only tensors are read from the file (`weights_only=True`). `sha256` is the digest the file must have, or its
    first eight or more hex digits, such as torchvision puts into its file names.

    Raises:
        InputError: another digest; a damaged file, or one that holds more than tensors; names or shapes that are
            not the model's (what fitted has been filled in by then).
        OSError: no such file.
    """
    with Path(path).open("rb") as file:
        _check_digest(file, sha256)
        state = _read(file)
    try:
        model.load_state_dict(state, assign=any(p.is_meta for p in model.parameters()))
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{path} does not fit {type(model).__name__}: {error}") from error
    return model


def _vgg_features(blocks: Sequence[Sequence[int]]) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for block in blocks:
        for width in block:
            layers += [_conv(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, device="meta")


def _dense(head: Head, inputs: int, outputs: int, kernel: int = 1) -> nn.Linear | nn.Conv2d:
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


def _finish(model: Model, seed: int | None) -> Model:
    if seed is not None:
        _draw(model.to_empty(device="cpu"), seed)
    return model.eval()


@torch.no_grad()
def _draw(model: nn.Module, seed: int) -> None:
    """Random weights under which maps neither fade nor grow with depth (He et al. 2015, uniform), and small biases.

    A Linear and the convolution cast from it get the same numbers: same fan-in, drawn in the same order.
    """
    generator = torch.Generator().manual_seed(seed)
    fan_in = 1
    for parameter in model.parameters():
        is_weight = parameter.dim() > 1  # in each layer the weight comes before the bias
        fan_in = parameter[0].numel() if is_weight else fan_in
        bound = math.sqrt((6 if is_weight else 1) / fan_in)
        parameter.uniform_(-bound, bound, generator=generator)


def _check_digest(file: IO[bytes], wanted: str) -> None:
    if not wanted:
        return
    if len(wanted) < 8:
        raise InputError(f"sha256={wanted!r} has {len(wanted)} hex digits; eight of the 64 are the fewest that tell")
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    if not digest.hexdigest().startswith(wanted.lower()):
        raise InputError(
            f"{file.name} has the SHA-256 {digest.hexdigest()}, not {wanted}: it is not the file you meant"
        )
    file.seek(0)


def _read(file: IO[bytes]) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = "it is damaged or holds more than tensors, and only tensors are read"
        raise InputError(f"{file.name} was not loaded: {reason}") from error

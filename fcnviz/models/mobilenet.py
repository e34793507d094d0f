"""MobileNetV2 (Sandler et al. 2018), with torchvision's layer names: its weights load as they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from torch import Tensor, nn

from fcnviz.models.weights import finished

# Source: table 2 of the paper: how many times wider inside, channels, how many in a row, stride of the first.
BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
FIRST, LAST = 32, 1280  # channels


class MobileNetV2(nn.Sequential):
    """Seventeen inverted residuals between two convolutions, global pooling, one Linear: see `mobilenet_v2`."""


class InvertedResidual(nn.Module):
    """Wider, 3×3 channel by channel, narrower; added to its input where both have one shape."""

    def __init__(self, inputs: int, outputs: int, stride: int, wider: int) -> None:
        super().__init__()
        inside = inputs * wider
        self.adds = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            *([] if wider == 1 else [normed(inputs, inside, 1)]),
            normed(inside, inside, 3, stride, groups=inside),
            nn.Conv2d(inside, outputs, 1, bias=False, device="meta"),
            nn.BatchNorm2d(outputs, device="meta"),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


def mobilenet_v2(seed: int | None = None) -> MobileNetV2:
    """MobileNetV2: N×3×H×W → N×1000 at every size, since it averages the whole map; 3 504 872 parameters.

    The map before the average is N×1280×⌈H/32⌉×⌈W/32⌉. torchvision's `state_dict` loads.

    >>> import torch
    >>> mobilenet_v2()(torch.empty(1, 3, 224, 224, device="meta")).shape
    torch.Size([1, 1000])
    """
    features = nn.Sequential(normed(3, FIRST, 3, 2), *_residuals(), normed(BLOCKS[-1][1], LAST, 1))
    classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(LAST, 1000, device="meta"))
    layers = OrderedDict(
        features=features, avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=classifier
    )
    model = finished(MobileNetV2(layers), seed)
    if seed is not None:
        _begin_norms(model)
    return model


def normed(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), normed, and cut to 0..6."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False, device="meta"),
        nn.BatchNorm2d(outputs, device="meta"),
        nn.ReLU6(inplace=True),
    )


def _residuals() -> Iterator[InvertedResidual]:
    inputs = FIRST
    for wider, outputs, count, stride in BLOCKS:
        for place in range(count):
            yield InvertedResidual(inputs, outputs, 1 if place else stride, wider)
            inputs = outputs


def _begin_norms(model: nn.Module) -> None:
    """Norms begin with mean 0 and variance 1: memory that was only set aside holds anything."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()

"""The small networks of the lesson on training: classifiers of 32×32 digits, and a small FCN in three grains.

The small FCN is made as the paper's are, one step of 16 where theirs is 32: four pools, a dense layer cast to a
convolution, scores, bilinear upsampling, skips. Where theirs pads the image by 100, 8 pixels are enough: then there is
a coarse score in the middle of every 16×16 pixels. As there, no crop is typed.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from fcnviz.models.classifiers import conv
from fcnviz.models.fully_convolutional import FullyConvolutional, Skip
from fcnviz.models.transplant import from_coarser, share_classifier
from fcnviz.models.weights import finished
from fcnviz.upsampling import kernel_of, upsampling

SIDE = 32  # the size the classifiers are trained at
CHANNELS = (16, 32, 48, 64)  # of the small FCN's four blocks
WIDE = 128  # of its dense layer

STEP = 2 ** len(CHANNELS)  # pixels from one coarse score to the next
PAD = (
    STEP // 2
)  # the dense layer's 2×2 kernel makes a map of n cells one of n−1: half a step on each side brings it back

Layers = dict[str, nn.Module]
Net = TypeVar("Net", bound="SmallFCN")


class DigitNet(nn.Sequential):
    """Two convolutions, two pools, three dense layers: see `digit_net`."""


class PooledNet(nn.Sequential):
    """Four convolutions, four pools, two dense layers: see `pooled_net`."""


def digit_net(classes: int = 10, seed: int = 0) -> DigitNet:
    """A LeNet for 32×32 images, without padding: 1×32×32 → 32×5×5 → flatten 800 → 120 → 84 → classes.

    >>> import torch
    >>> digit_net()(torch.zeros(1, 1, 32, 32)).shape
    torch.Size([1, 10])
    """
    features = nn.Sequential(
        *(conv(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(conv(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2)),
    )
    classifier = nn.Sequential(
        *(nn.Linear(32 * 5 * 5, 120, device="meta"), nn.ReLU()),
        *(nn.Linear(120, 84, device="meta"), nn.ReLU()),
        nn.Linear(84, classes, device="meta"),
    )
    return finished(DigitNet(OrderedDict(features=features, flatten=nn.Flatten(), classifier=classifier)), seed)


def pooled_net(classes: int = 10, seed: int = 0) -> PooledNet:
    """What the small FCN is cast from: 1×32×32 → 64×2×2 → flatten 256 → 128 → classes.

    >>> import torch
    >>> pooled_net()(torch.zeros(1, 1, 32, 32)).shape
    torch.Size([1, 10])
    """
    dense: Layers = {
        "flatten": nn.Flatten(),
        "fc5": nn.Linear(CHANNELS[-1] * 2 * 2, WIDE, device="meta"),
        "relu5": nn.ReLU(),
        "score": nn.Linear(WIDE, classes, device="meta"),
    }
    return finished(PooledNet(OrderedDict(_blocks() | dense)), seed)


class SmallFCN(FullyConvolutional):
    """N×1×H×W → N×classes×H×W for every H, W ≥ 1.

    The image is filled up with paper, below and on the right, to a multiple of 16. So every map is twice the next, to
    the cell, whichever way pools round.
    """

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        below, right = (-size % STEP for size in (height, width))
        return super().forward(F.pad(image, (0, right, 0, below)))[:, :, :height, :width]


class Coarse(SmallFCN):
    """Scores at every 16th pixel, enlarged 16 times: the small FCN without skips."""


class OneSkip(SmallFCN):
    """With the scores of pool3 added, at every 8th pixel."""

    skips = (Skip("upscore2", "pool3", "score_pool3"),)
    last = "upscore8"


class TwoSkips(SmallFCN):
    """With the scores of pool3 and pool2 added, at every 4th pixel."""

    skips = (*OneSkip.skips, Skip("upscore_pool3", "pool2", "score_pool2"))
    last = "upscore4"


def coarse(classifier: PooledNet, classes: int) -> Coarse:
    """The classifier, cast, with new scores that are 0. Its weights are shared: a copy trains without it.

    >>> import torch
    >>> net = coarse(pooled_net(), classes=11)
    >>> net(torch.zeros(1, 1, 61, 83)).shape, net.crops
    (torch.Size([1, 11, 61, 83]), {'upscore': 8})
    """
    net = Coarse(_trunk(classes), {"upscore": _up(classes, STEP)})
    share_classifier(net, classifier, "the classifier of pooled_net()", None)
    return net.eval()


def one_skip(coarser: Coarse) -> OneSkip:
    """The coarse net with one skip: its weights shared, the new scores 0, so that it begins with what that one says."""
    classes = _classes(coarser)
    rest = _scores(classes, pool3=CHANNELS[2]) | {"upscore2": _doubled(classes), "upscore8": _up(classes, 8)}
    return _refined(OneSkip(_trunk(classes), rest), coarser)


def two_skips(coarser: OneSkip) -> TwoSkips:
    """The net of one skip with a second: its weights shared, the new scores 0."""
    classes = _classes(coarser)
    scores = _scores(classes, pool3=CHANNELS[2], pool2=CHANNELS[1])
    ups = {"upscore2": _doubled(classes), "upscore_pool3": _doubled(classes), "upscore4": _up(classes, 4)}
    return _refined(TwoSkips(_trunk(classes), scores | ups), coarser)


def _blocks(pad: int = 0) -> Layers:
    layers: Layers = {}
    for block, (inputs, outputs) in enumerate(pairwise((1, *CHANNELS)), 1):
        layers[f"conv{block}"] = conv(inputs, outputs, 3, padding=1 + (pad if block == 1 else 0))
        layers[f"relu{block}"] = nn.ReLU()
        layers[f"pool{block}"] = nn.MaxPool2d(2)
    return layers


def _trunk(classes: int) -> Layers:
    return _blocks(PAD) | {"fc5": conv(CHANNELS[-1], WIDE, 2), "relu5": nn.ReLU(), "score_fr": conv(WIDE, classes, 1)}


def _scores(classes: int, **channels: int) -> Layers:
    return {f"score_{pool}": conv(inputs, classes, 1) for pool, inputs in channels.items()}


def _up(classes: int, factor: int) -> nn.ConvTranspose2d:
    return upsampling(classes, 2 * factor, factor, grouped=True, device="meta")


def _doubled(classes: int) -> nn.ConvTranspose2d:
    kernel, padding = kernel_of(2)
    return upsampling(classes, kernel, 2, padding, grouped=True, device="meta")


def _classes(net: SmallFCN) -> int:
    score: Any = net.get_submodule("score_fr")
    return int(score.out_channels)


def _refined(net: Net, coarser: SmallFCN) -> Net:
    from_coarser(net, coarser, None)
    return net.eval()

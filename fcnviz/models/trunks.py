"""The authors' layers, by their names, from an image to coarse scores: VGG16's and those of Caffe's AlexNet."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from fcnviz.models.classifiers import VGG16_BLOCKS, conv, dense
from fcnviz.models.weights import finished
from fcnviz.upsampling.bilinear import check_whole

Layers = dict[str, nn.Module]


class CaffeAlexNet(nn.Sequential):
    """AlexNet as Caffe has it, fully convolutional: see `caffe_alexnet`."""


def caffe_alexnet(seed: int | None = None) -> CaffeAlexNet:
    """Caffe's AlexNet as a fully convolutional net: filters in two groups, pools that round up, conv1 without padding.

    227×227 gives one answer, 500×500 gives 10×10, which pools that round down would make 9×9; 60 965 224 parameters.
    Source: BVLC reference AlexNet; Long, Shelhamer & Darrell 2015, §3.1.

    >>> import torch
    >>> caffe_alexnet()(torch.empty(1, 3, 500, 500, device="meta")).shape
    torch.Size([1, 1000, 10, 10])
    """
    return finished(CaffeAlexNet(OrderedDict(alexnet_trunk(0, True, 1000, "fc8"))), seed)


def vgg16_trunk(pad: int, ceil: bool, classes: int, scores: str = "score_fr") -> Layers:
    """conv1_1 … fc7 and the scores; `pad` is conv1_1's.

    Raises:
        InputError: a pad or a number of classes that is none.
    """
    _check(pad, classes)
    layers: Layers = {}
    channels = 3
    for block, widths in enumerate(VGG16_BLOCKS, 1):
        for n, width in enumerate(widths, 1):
            padding = 1 if layers else pad
            layers[f"conv{block}_{n}"] = conv(channels, width, 3, padding=padding)
            layers[f"relu{block}_{n}"] = nn.ReLU(inplace=True)
            channels = width
        layers[f"pool{block}"] = nn.MaxPool2d(2, 2, ceil_mode=ceil)
    return layers | _dense(channels, 7, classes, scores)


def alexnet_trunk(pad: int, ceil: bool, classes: int, scores: str = "score_fr") -> Layers:
    """conv1 … fc7 and the scores, with local response normalisation after the first two pools; `pad` is conv1's.

    Raises:
        InputError: a pad or a number of classes that is none.
    """
    _check(pad, classes)
    layers = {**_rectified(1, conv(3, 96, 11, stride=4, padding=pad)), "pool1": _pool(ceil), "norm1": _norm()}
    layers |= {**_rectified(2, conv(96, 256, 5, padding=2, groups=2)), "pool2": _pool(ceil), "norm2": _norm()}
    layers |= _rectified(3, conv(256, 384, 3, padding=1))
    layers |= _rectified(4, conv(384, 384, 3, padding=1, groups=2))
    layers |= {**_rectified(5, conv(384, 256, 3, padding=1, groups=2)), "pool5": _pool(ceil)}
    return layers | _dense(256, 6, classes, scores)


def _rectified(n: int, layer: nn.Conv2d) -> Layers:
    return {f"conv{n}": layer, f"relu{n}": nn.ReLU(inplace=True)}


def _pool(ceil: bool) -> nn.Module:
    return nn.MaxPool2d(3, 2, ceil_mode=ceil)


def _norm() -> nn.Module:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)


def _dense(channels: int, kernel: int, classes: int, scores: str) -> Layers:
    layers: Layers = {"fc6": dense("conv", channels, 4096, kernel), "relu6": nn.ReLU(inplace=True)}
    layers |= {"drop6": nn.Dropout(), "fc7": dense("conv", 4096, 4096), "relu7": nn.ReLU(inplace=True)}
    return layers | {"drop7": nn.Dropout(), scores: conv(4096, classes, 1)}


def _check(pad: int, classes: int) -> None:
    check_whole(0, pad=pad)
    check_whole(1, classes=classes)

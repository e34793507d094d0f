"""FCN-32s, FCN-16s, FCN-8s and FCN-AlexNet: an answer for every pixel, with the layers of the authors' Caffe nets.

A classifier's convolutions make scores on a coarse map, transposed convolutions bring them back to pixels, and crops
lay maps on each other. No crop is typed. A map and a `Placement` (where its cells lie on the image) go the same way
through the same layers; where two meet, the placements say how many cells to cut.

Source: Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation" (CVPR 2015), and the net.py
of each of their Caffe nets. Weights are named as in those and in the PyTorch port pytorch-fcn, whose files load.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

from torch import Tensor, nn

from fcnviz.coordinates import PIXELS, Placement, crop_offset, joined
from fcnviz.errors import GeometryError, InputError
from fcnviz.models.classifiers import conv
from fcnviz.models.transplant import fill_upsamplings, from_coarser, share_classifier
from fcnviz.models.trunks import Layers, alexnet_trunk, vgg16_trunk
from fcnviz.models.weights import finished
from fcnviz.operations import module_facts
from fcnviz.upsampling import upsampling

Map = TypeVar("Map", Tensor, Placement)
Net = TypeVar("Net", bound="FullyConvolutional")


class Skip(NamedTuple):
    """A finer map that is added to the coarse scores: `upscore` enlarges those, `score` is computed from `pool`."""

    upscore: str
    pool: str
    score: str


POOL4 = Skip("upscore2", "pool4", "score_pool4")
POOL3 = Skip("upscore_pool4", "pool3", "score_pool3")


class FullyConvolutional(nn.Module):
    """A trunk of layers down to coarse scores, skips that refine them, and one layer back to pixels.

    N×3×H×W → N×classes×H×W for every H, W ≥ 1, with `pad` 100 and `ceil`. With less of either, see `fcn32s`.

    Attributes:
        trunk: names of the layers from the image to the coarse scores.
        crops: cells cut from the start of both axes of each layer's map that is cropped, by the layer's name. They are
            derived when the net is built; after a change of its layers, `net.crops = net.derived_crops()`.
    """

    skips: ClassVar[tuple[Skip, ...]] = ()
    last: ClassVar[str] = "upscore"

    def __init__(self, trunk: Layers, rest: Layers) -> None:
        super().__init__()
        for name, layer in {**trunk, **rest}.items():
            self.add_module(name, layer)
        self.trunk = tuple(trunk)
        self.crops = self.derived_crops()

    def forward(self, image: Tensor) -> Tensor:
        return self._walk(image, lambda layer, x: layer(x), self._cut, operator.add)

    def derived_crops(self) -> dict[str, int]:
        """For each cropped map, how many of its cells lie before the first cell of the map it is laid on.

        >>> fcn8s().derived_crops()
        {'score_pool4': 5, 'score_pool3': 9, 'upscore8': 31}
        """
        crops: dict[str, int] = {}

        def cut(name: str, larger: Placement, onto: Placement) -> Placement:
            offset = crop_offset(larger, onto)
            crops[name] = int(offset)
            return larger.crop(offset)  # which takes whole cells alone

        self._walk(PIXELS, placed, cut, joined)
        return crops

    def _walk(
        self,
        image: Map,
        through: Callable[[nn.Module, Map], Map],
        cut: Callable[[str, Map, Map], Map],
        add: Callable[[Map, Map], Map],
    ) -> Map:
        """One way for maps and for placements: no crop can belong to another net than the one that runs."""
        pools: dict[str, Map] = {}
        x = image
        for name in self.trunk:
            x = through(self.get_submodule(name), x)
            if any(name == skip.pool for skip in self.skips):
                pools[name] = x
        for skip in self.skips:
            x = through(self.get_submodule(skip.upscore), x)
            fine = through(self.get_submodule(skip.score), pools.pop(skip.pool))
            x = add(x, cut(skip.score, fine, x))
        return cut(self.last, through(self.get_submodule(self.last), x), image)

    def _cut(self, name: str, larger: Tensor, onto: Tensor) -> Tensor:
        start = self.crops[name]
        if start < 0:  # a negative start would count from the end of the map, and cut there without an error
            raise GeometryError(self._begins_inside(name, -start))
        return larger[:, :, start : start + onto.shape[2], start : start + onto.shape[3]]

    def _begins_inside(self, name: str, missing: int) -> str:
        first: Any = self.get_submodule(self.trunk[0])
        pad = first.padding[0]
        return (
            f"{type(self).__name__} with pad={pad} has no answer for the first {missing} rows and columns of an image: "
            f"cell 0 of {name} lies on pixel {missing}; pad={pad + missing} is the smallest that reaches pixel 0"
        )


def placed(layer: nn.Module, before: Placement) -> Placement:
    """Where the cells lie after a layer, if they lay at `before`."""
    facts = module_facts(layer)
    window = facts.window
    if window is None:
        return before
    move = before.transposed if facts.operation == "conv_transpose" else before.window
    return move(window.kernel[0], window.stride[0], window.pads[0][0], window.dilation[0])


class FCN32s(FullyConvolutional):
    """VGG16's convolutions and one step of 32 back to pixels: see `fcn32s`."""


class FCN16s(FullyConvolutional):
    """FCN-32s with the scores of pool4 added: see `fcn16s`."""

    skips = (POOL4,)
    last = "upscore16"


class FCN8s(FullyConvolutional):
    """FCN-16s with the scores of pool3 added: see `fcn8s`."""

    skips = (POOL4, POOL3)
    last = "upscore8"


class FCNAlexNet(FullyConvolutional):
    """The convolutions of Caffe's AlexNet and one step of 32 back to pixels: see `fcn_alexnet`."""


def fcn32s(
    classes: int = 21,
    *,
    pad: int = 100,
    ceil: bool = True,
    seed: int | None = None,
    from_classifier: nn.Module | None = None,
) -> FCN32s:
    """FCN-32s: N×3×H×W → N×classes×H×W; 136 152 917 parameters with 21 classes.

    VGG16 with fc6 as a 7×7 and fc7 as a 1×1 convolution, scores for each class, and one transposed convolution of
    64/32, bilinear and not trained. Its map begins before the image and ends behind it, and is cropped.

    Args:
        classes: 21 are those of PASCAL VOC, background included.
        pad: of conv1_1. The crop begins at pad − 81, so that with less than 81 there is no answer for the image's edge,
            which is refused when the net runs. With 81 … 96 fc6 refuses small images; 97 and more have answers for all.
        ceil: pools round up. With False, the default of torch's pools, many outputs are shorter than the image, and no
            error says so: a slice that reaches beyond the end is short.
        seed: random weights, as in `vgg16`; those of one seed are the same up to fc7.
        from_classifier: a VGG16, ours or torchvision's, with whichever head. Its weights become those of conv1_1 … fc7,
            in the same memory; the scores are 0, or drawn with `seed`.

    Raises:
        InputError: a pad or a number of classes that is none; a classifier that is no VGG16.

    >>> import torch
    >>> net = fcn32s()
    >>> net(torch.empty(1, 3, 500, 375, device="meta")).shape, net.crops
    (torch.Size([1, 21, 500, 375]), {'upscore': 19})
    """
    net = FCN32s(vgg16_trunk(pad, ceil, classes), {"upscore": _up(classes, 64, 32)})
    return _with_weights(net, seed, from_classifier)


def fcn16s(
    classes: int = 21,
    *,
    pad: int = 100,
    ceil: bool = True,
    seed: int | None = None,
    from_classifier: nn.Module | None = None,
    from_fcn32s: FCN32s | None = None,
) -> FCN16s:
    """FCN-16s: as `fcn32s`, and the scores of pool4, cut to fit, are added on the way back; 134 815 994 parameters.

    `from_fcn32s` takes over its weights up to score_fr, in the same memory; score_pool4 is 0 (or drawn with `seed`), so
    that the finer net begins with nearly what the coarser one says, as the authors' training did.

    >>> import torch
    >>> fcn16s()(torch.empty(1, 3, 500, 375, device="meta")).shape, fcn16s().crops
    (torch.Size([1, 21, 500, 375]), {'score_pool4': 5, 'upscore16': 27})
    """
    trunk = vgg16_trunk(pad, ceil, classes)
    rest = _scores({"score_pool4": 512}, classes) | {"upscore2": _up(classes, 4, 2), "upscore16": _up(classes, 32, 16)}
    return _with_weights(FCN16s(trunk, rest), seed, from_classifier, from_fcn32s, FCN32s)


def fcn8s(
    classes: int = 21,
    *,
    pad: int = 100,
    ceil: bool = True,
    seed: int | None = None,
    from_classifier: nn.Module | None = None,
    from_fcn16s: FCN16s | None = None,
) -> FCN8s:
    """FCN-8s: as `fcn16s`, and the scores of pool3, cut to fit, are added as well; 134 489 759 parameters.

    `from_fcn16s` takes over its weights up to score_pool4, in the same memory.

    >>> import torch
    >>> fcn8s()(torch.empty(1, 3, 500, 375, device="meta")).shape, fcn8s().crops
    (torch.Size([1, 21, 500, 375]), {'score_pool4': 5, 'score_pool3': 9, 'upscore8': 31})
    """
    trunk = vgg16_trunk(pad, ceil, classes)
    ups = {"upscore2": _up(classes, 4, 2), "upscore_pool4": _up(classes, 4, 2), "upscore8": _up(classes, 16, 8)}
    rest = _scores({"score_pool4": 512, "score_pool3": 256}, classes) | ups
    return _with_weights(FCN8s(trunk, rest), seed, from_classifier, from_fcn16s, FCN16s)


def fcn_alexnet(
    classes: int = 21,
    *,
    pad: int = 100,
    ceil: bool = True,
    seed: int | None = None,
    from_classifier: nn.Module | None = None,
) -> FCNAlexNet:
    """FCN-AlexNet: N×3×H×W → N×classes×H×W; Caffe's AlexNet (two groups, LRN) and a transposed convolution of 63/32.

    As `fcn32s`, but the crop begins at pad − 82, and 99 is the least pad with answers for every size (with 82 … 84 some
    outputs are short without an error). `from_classifier` takes a `caffe_alexnet`, not torchvision's AlexNet, which has
    other filters.

    >>> import torch
    >>> fcn_alexnet()(torch.empty(1, 3, 500, 375, device="meta")).shape, fcn_alexnet().crops
    (torch.Size([1, 21, 500, 375]), {'upscore': 18})
    """
    net = FCNAlexNet(alexnet_trunk(pad, ceil, classes), {"upscore": _up(classes, 63, 32)})
    return _with_weights(net, seed, from_classifier)


def _scores(channels: dict[str, int], classes: int) -> Layers:
    return {name: conv(inputs, classes, 1) for name, inputs in channels.items()}


def _up(classes: int, kernel: int, stride: int) -> nn.ConvTranspose2d:
    return upsampling(classes, kernel, stride, device="meta")


def _with_weights(
    net: Net,
    seed: int | None,
    classifier: nn.Module | None,
    coarser: nn.Module | None = None,
    coarser_class: type[nn.Module] = nn.Module,
) -> Net:
    if classifier is not None and coarser is not None:
        raise InputError(f"{type(net).__name__} takes its weights from a classifier or from a coarser net, not both")
    if coarser is not None:
        if not isinstance(coarser, coarser_class):
            raise InputError(f"{type(net).__name__} refines an {coarser_class.__name__}, no {type(coarser).__name__}")
        from_coarser(net, coarser, seed)
    elif classifier is not None:
        known_as = "Caffe's AlexNet" if isinstance(net, FCNAlexNet) else "VGG16"
        share_classifier(net, classifier, known_as, seed)
    else:
        finished(net, seed)
        fill_upsamplings(net)
    return net.eval()

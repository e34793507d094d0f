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
from functools import lru_cache, partial
from itertools import starmap
from typing import ClassVar, NamedTuple, TypeVar

from torch import Tensor, nn

from fcnviz.coordinates import PIXELS, Placement, crop_offset, joined
from fcnviz.errors import GeometryError, InputError
from fcnviz.models.classifiers import conv
from fcnviz.models.crops import Crop, Crops
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
        crops: cells cut from the start of both axes of each layer's map that is cropped, by the layer's name, derived
            from the layers as they are. `why_crops` says why.
    """

    skips: ClassVar[tuple[Skip, ...]] = ()
    last: ClassVar[str] = "upscore"

    def __init__(self, trunk: Layers, rest: Layers) -> None:
        super().__init__()
        for name, layer in {**trunk, **rest}.items():
            self.add_module(name, layer)
        self.trunk = tuple(trunk)
        self.why_crops()  # layers whose maps cannot be laid on each other are refused here, not at the first image

    def forward(self, image: Tensor) -> Tensor:
        if not isinstance(image, Tensor) or image.dim() != 4:
            given = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
            raise InputError(f"a tensor N×C×H×W was expected, not {given}; image[None] is a batch of one image C×H×W")
        return self._walk(image, lambda layer, x: layer(x), partial(self._cut, self.crops), operator.add)

    @property
    def crops(self) -> dict[str, int]:
        return {crop.name: crop.cells for crop in self.why_crops().each}

    def why_crops(self) -> Crops:
        """For each cropped map, where its cells lie and where those lie that it is laid on.

        Raises:
            GeometryError: maps that no cut of whole cells, the same on both axes, lays on each other.

        >>> for crop in fcn16s().why_crops().each:
        ...     print(crop.name, "on", crop.onto, crop.cells)
        score_pool4 on upscore2 5
        upscore16 on the image 27
        """
        found: list[Crop] = []

        def cut(name: str, onto: str, larger: Placement, target: Placement) -> Placement:
            found.append(Crop(name, onto, larger, target))
            return larger.crop(crop_offset(larger, target))  # which takes whole cells alone

        self._walk(PIXELS, placed, cut, joined)
        return Crops(type(self).__name__, self._pad, tuple(found))

    @property
    def _pad(self) -> int:
        return _axes(self.get_submodule(self.trunk[0]))[0].padding

    def _walk(
        self,
        image: Map,
        through: Callable[[nn.Module, Map], Map],
        cut: Callable[[str, str, Map, Map], Map],
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
            x = add(x, cut(skip.score, skip.upscore, fine, x))
        return cut(self.last, "the image", through(self.get_submodule(self.last), x), image)

    def _cut(self, crops: dict[str, int], name: str, _onto: str, larger: Tensor, onto: Tensor) -> Tensor:
        start = crops[name]
        if start < 0:  # a negative start would count from the end of the map, and cut there without an error
            raise GeometryError(
                self._begins_inside(name, -start) if name == self.last else self._begins_late(name, -start)
            )
        return larger[:, :, start : start + onto.shape[2], start : start + onto.shape[3]]

    def _begins_inside(self, name: str, missing: int) -> str:
        pad = self._pad
        return (
            f"{type(self).__name__} with pad={pad} has no answer for the first {_lines(missing)} of an image: "
            f"cell 0 of {name} lies on pixel {missing}; pad={pad + missing} is the smallest that reaches pixel 0"
        )

    def _begins_late(self, name: str, missing: int) -> str:
        """A skip's map and the coarser scores move with the image's padding alike: no pad brings them together."""
        upscore = next(skip.upscore for skip in self.skips if skip.score == name)
        padding = _axes(self.get_submodule(upscore))[0].padding
        return (
            f"{type(self).__name__} has nothing to add to the first {_lines(missing)} of {upscore}: {name} "
            f"has no cells so far out, with any pad; {upscore} with padding={padding + missing} in place of {padding} "
            "begins where they begin"
        )


def _lines(number: int) -> str:
    return "row and column" if number == 1 else f"{number} rows and columns"


class OneAxis(NamedTuple):
    """A window on one axis; of the padding what moves cells, which stands before the axis."""

    kernel: int
    stride: int
    padding: int
    dilation: int


def placed(layer: nn.Module, before: Placement) -> Placement:
    """Where the cells lie after a layer, if they lay at `before`, on rows and columns alike.

    Raises:
        GeometryError: a layer that moves cells otherwise on rows than on columns.
    """
    axes = _axes(layer)
    if not axes:
        return before
    if axes[0] != axes[1]:
        raise GeometryError(f"{layer} has one window on rows and another on columns; one crop has to serve both")
    return _moved(before, module_facts(layer).operation == "conv_transpose", axes[0])


def _axes(layer: nn.Module) -> tuple[OneAxis, ...]:
    """The window on rows and on columns; nothing if the layer has none."""
    window = module_facts(layer).window
    if window is None:
        return ()
    pads = [before for before, _ in window.pads]
    return tuple(starmap(OneAxis, zip(window.kernel, window.stride, pads, window.dilation, strict=True)))


@lru_cache(maxsize=1024)  # crops are derived in every run, so that they are those of the layers that run
def _moved(before: Placement, transposed: bool, axis: OneAxis) -> Placement:
    return before.transposed(*axis) if transposed else before.window(*axis)


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
            100 is the authors' choice, a round number above that; the crop of 19 is what follows from it.
        ceil: pools round up. With False, the default of torch's pools, many outputs are shorter than the image, and no
            error says so: a slice that reaches beyond the end is short.
        seed: random weights, as in `vgg16`; those of one seed are the same up to fc7.
        from_classifier: a VGG16, ours or torchvision's, with whichever head. Its weights become those of conv1_1 … fc7,
            in the same memory, until one of the two nets gets other memory (`.half()`, `.to("cuda")`, a copy): to go to
            another number type together, convert the classifier first. The scores are 0, or drawn with `seed`.

    With pad 100 pool5 has 7×7 cells, and fc6 one answer, for images of 1 to 26 pixels, not at 224 as in VGG16 with its
    pad of 1: `fcnviz.modes` puts the two side by side.

    Raises:
        InputError: a pad, a seed or a number of classes that is none; a classifier that is no VGG16; in a run, an image
            without a batch axis.

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
    that the finer net begins with nearly what the coarser one says, as the authors' training did. The last crop begins
    at pad − 73.

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

    `from_fcn16s` takes over its weights up to score_pool4, in the same memory. The last crop begins at pad − 69.

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

"""What an image costs: one dense run against as many patches as it gives answers, in multiply-adds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from fcnviz.errors import InputError
from fcnviz.patches.asked import Pair, by, map_size, square, traced
from fcnviz.patches.fields import grid_of, network_stride


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of one answer at a time against those of all answers at once.

    Attributes:
        image, patch: rows and columns of pixels.
        answers: rows and columns of the dense map; one patch each.
        fitting: rows and columns of patches that lie within the image, as `run_patches` runs them: fewer than answers
            where the net pads or pools beyond the image's edge; None where the net's stride is not known.
        patch_macs: of the net on one patch.
        dense_macs: of the net on the whole image.
    """

    image: Pair
    patch: Pair
    answers: Pair
    fitting: Pair | None
    patch_macs: int
    dense_macs: int

    @property
    def patches(self) -> int:
        return math.prod(self.answers)

    @property
    def patches_macs(self) -> int:
        return self.patches * self.patch_macs

    @property
    def ratio(self) -> float:
        """How many times more multiply-adds the patches take."""
        return self.patches_macs / self.dense_macs

    def __str__(self) -> str:
        from fcnviz import handwork

        return handwork.cost_text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.cost_html(self)


def patch_cost(model: nn.Module, image: int | Pair, patch: int | Pair) -> Cost:
    """What a fully convolutional net costs on an image, and on as many patches as it gives answers. Shapes only.

    Raises:
        InputError: a net that gives no map, more than one cell for a patch, or that one of the sizes breaks.

    >>> from fcnviz import models
    >>> cost = patch_cost(models.vgg16("conv"), 384, 224)
    >>> cost.answers, round(cost.ratio, 2)
    ((6, 6), 11.24)
    """
    part = traced(model, square(patch))
    one = map_size(part)
    if one != (1, 1):
        raise InputError(f"a patch of {by(square(patch))} gives {by(one)} answers; one answer was expected")
    whole = traced(model, square(image))
    return Cost(
        *(square(image), square(patch), map_size(whole)),
        fitting=_fitting(model, square(image), square(patch)),
        patch_macs=part.macs,
        dense_macs=whole.macs,
    )


def _fitting(model: nn.Module, image: Pair, patch: Pair) -> Pair | None:
    try:
        own = network_stride(model, patch)
    except InputError:
        return None
    return grid_of(image, patch, own, own)

"""The effective receptive field: how much each pixel of a cell's region counts, on real numbers.

A region says which pixels can change a cell; most of them hardly do. Many more ways lead from the middle of a region to
the cell than from its border, so that the gradient is large in the middle and fades outwards.
Source: Luo, Li, Urtasun & Zemel 2016, Understanding the effective receptive field in deep convolutional networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fcnviz.coordinates import Span
from fcnviz.errors import InputError
from fcnviz.geometry import Region, geometry
from fcnviz.records import Shape, Trace
from fcnviz.trace import trace
from fcnviz.twin import parts_of, sharing, twin

__all__ = ["EffectiveField", "effective_field"]


@dataclass(frozen=True, eq=False)
class EffectiveField:
    """How much each pixel moves one cell.

    Attributes:
        region: the cell, and the pixels that can move it.
        images: over how many images the values are averaged.
        values: mean |d cell / d pixel|, over images and the image's channels, for each pixel, float64.
    """

    region: Region
    images: int
    values: NDArray[np.float64] = field(repr=False)

    def holding(self, share: float) -> tuple[Span, ...]:
        """Along each axis the pixels, around the middle of the field, that hold a share of all it adds up to.

        The middle is where half lies before and half after.

        Raises:
            InputError: a share not above 0 and up to 1, or a field without any gradient.
        """
        if not 0 < share <= 1:
            raise InputError(f"a share of {share} was asked for; it is more than 0 and at most 1")
        if not self.values.any():
            raise InputError(f"nothing moves cell {self.region.cell} of {self.region.step}: there is no sum to share")
        axes = range(self.values.ndim)
        return tuple(_span(self.values.sum(tuple(a for a in axes if a != axis)), share) for axis in axes)


def _span(line: NDArray[np.float64], share: float) -> Span:
    """Pixels around the median of a line that hold a share of its sum."""
    sums = np.concatenate([[0.0], np.cumsum(line)]) / line.sum()
    middle = int(np.searchsorted(sums, 0.5)) - 1
    spans = ((max(0, middle - reach), min(len(line), middle + reach + 1)) for reach in range(len(line)))
    first, end = next(((a, b) for a, b in spans if sums[b] - sums[a] >= share * (1 - 1e-12)), (0, len(line)))
    return Span(Fraction(first), Fraction(end - 1))


def effective_field(
    model: nn.Module, images: Tensor, cell: Sequence[int] | None = None, step: str | None = None
) -> EffectiveField:
    """The gradients of one cell, all its channels added up, with respect to the images; their size on the average.

    A twin of the model runs, in eval mode, image by image; the model itself does not.

    Args:
        images: N×C× one to three sizes, of the model's number type; more images give a smoother field.
        cell: its place along the axes of the image; the middle one by default.
        step: name of a module whose output is asked for; the network's own output by default.

    Raises:
        InputError: no images, a step that is no module or that gives no map, a cell that is not there.
        GeometryError: a net whose cells can't be followed.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 1, 3)).double()
    >>> found = effective_field(net, torch.rand(2, 1, 15, 15, dtype=torch.float64))
    >>> bool((found.values[~found.region.pixels] == 0).all()), [int(span.size) for span in found.region.clipped]
    (True, [7, 7])
    """
    if images.dim() < 3 or not len(images) or images.is_meta:
        raise InputError(f"images {tuple(images.shape)} on {images.device} were given; N×C×H×W with numbers are needed")
    found = trace(model, (1, *images.shape[1:]))
    if found.failure:
        raise InputError(f"{found.model} does not run on {tuple(images.shape[1:])}: {found.failure.message}")
    region = geometry(found).region(_step(found, step), cell)
    parts = twin(parts_of(model), sharing)
    net = parts[0][1]
    watched = net if step is None else dict(parts)[step]
    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    for image in images:
        total += _gradient(net, watched, image[None], region.cell)
    return EffectiveField(region, len(images), (total / len(images)).numpy())


def _step(found: Trace, step: str | None) -> str:
    """The step that makes the output, or the module that was named."""
    if step is None:
        if not isinstance(found.output_shape, Shape):
            raise InputError(f"{found.model} returns {found.output_shape}; name the step whose cell is asked for")
        return found[-1].name
    modules = [one.name for one in found if not one.is_call and one.name == one.path]
    if step not in modules:
        raise InputError(
            f"{step!r} was asked for; gradients are taken at a layer of {found.model}: {', '.join(modules)}"
        )
    return step


def _gradient(net: nn.Module, watched: nn.Module, image: Tensor, cell: tuple[int, ...]) -> Tensor:
    """Mean |gradient| over the channels of one image."""
    made: list[object] = []
    hook = watched.register_forward_hook(lambda _, __, output: made.append(_kept(output)))
    pixels = image.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            net(pixels.clone())  # a copy, since the first layer may write into it
            cells = _at(made[-1], cell).sum()
            (gradient,) = (
                torch.autograd.grad(cells, pixels, materialize_grads=True) if cells.requires_grad else (pixels * 0,)
            )
    finally:
        hook.remove()
    return gradient.detach()[0].abs().mean(0).double().cpu()


def _kept(output: object) -> object:
    """A copy: a ReLU in place would change it afterwards."""
    return output.clone() if isinstance(output, Tensor) else output


def _at(made: object, cell: tuple[int, ...]) -> Tensor:
    if not isinstance(made, Tensor):
        raise InputError(f"a {type(made).__name__} came out; a gradient is one of a map")
    if made.dim() == 2 + len(cell):
        return made[0].movedim(0, -1)[cell]
    if any(cell):
        raise InputError(f"cell {cell} was asked for; what came out is {tuple(made.shape)}, without axes of an image")
    return made[0]

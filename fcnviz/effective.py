"""The effective receptive field: how much each pixel of a cell's region counts, on real numbers.

A region says which pixels can change a cell; most of them hardly do. Many more ways lead from the middle of a region to
the cell than from its border, so that the gradient is large in the middle and fades outwards.
Source: Luo, Li, Urtasun & Zemel 2016, Understanding the effective receptive field in deep convolutional networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fcnviz.coordinates import Span
from fcnviz.errors import GeometryError, InputError
from fcnviz.geometry import Region, Track, geometry
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

    def __str__(self) -> str:
        from fcnviz.geometrytable import of_effective_field  # a record knows that a view exists, never how one looks

        return of_effective_field(self)

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
        step: name of a module whose output is asked for, as a trace has it (`conv#2` where it runs a second time); the
            network's own output by default.

    Raises:
        InputError: no images, a model or images without numbers, a step that is no module or that gives no map, a cell
            that is not there, gradients that are no numbers.
        GeometryError: a net whose cells can't be followed.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 1, 3)).double()
    >>> found = effective_field(net, torch.rand(2, 1, 15, 15, dtype=torch.float64))
    >>> bool((found.values[~found.region.pixels] == 0).all()), [int(span.size) for span in found.region.clipped]
    (True, [7, 7])
    """
    _check_images(images)
    shape = (1, *images.shape[1:])
    found = trace(model, shape)
    if found.failure:
        raise InputError(f"{found.model} does not run on {tuple(images.shape[1:])}: {found.failure.message}")
    _check_weights(model, images)
    watched = _Watched(model, _checked(found, step))
    asked = trace(watched, shape)
    places = geometry(asked)
    answer = places[-1]
    made = asked[-1].sources[0]
    name = step or (found[made.step].name if made and made.step >= 0 else "the image")
    if not answer.axes:
        geometry(found).region(name)  # says which step can't be followed, and why
        raise GeometryError(f"{name} has no regions: {answer.reason}")
    region = replace(places.region(answer.index, cell), step=name)
    tracks = [axis.track for axis in answer.axes]
    net = twin(parts_of(watched), sharing)[0][1]
    total = torch.zeros(images.shape[2:], dtype=torch.float64)
    for image in images:
        total += _gradient(net, tracks, image[None], region.cell)
    if not total.isfinite().all():
        raise InputError(
            f"the gradients of cell {region.cell} of {name} are not finite: its numbers overflow somewhere"
        )
    return EffectiveField(region, len(images), (total / len(images)).numpy())


def _check_images(images: Tensor) -> None:
    given: object = images
    if not isinstance(given, Tensor):
        raise InputError(f"images were given as {type(given).__name__}; a tensor N×C×H×W is needed")
    if images.dim() < 3 or not images.numel() or images.is_meta:
        raise InputError(f"images {tuple(images.shape)} on {images.device} were given; N×C×H×W with numbers are needed")
    if not images.is_floating_point() or not images.isfinite().all():
        raise InputError(f"images of {images.dtype} were given; gradients need floating point, and no NaN or infinity")


def _check_weights(model: nn.Module, images: Tensor) -> None:
    """Numbers on both sides, of one type."""
    weights = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    empty = next((name for name, weight in weights.items() if weight.is_meta), None)
    if empty is not None:
        raise InputError(
            f"{type(model).__name__} has shapes and no numbers ({empty} is on meta), and so no gradients: build it "
            "with weights, for instance with seed=0, or load some"
        )
    types = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    if types and images.dtype not in types:
        raise InputError(f"images are {images.dtype}, the weights {_or(types)}: images.to({_or(types)}) makes them one")


def _or(types: Iterable[torch.dtype]) -> str:
    return " or ".join(sorted(map(str, types)))


def _checked(found: Trace, step: str | None) -> str | None:
    """The module that was named, if it is one that gives a map."""
    if step is None:
        if not isinstance(found.output_shape, Shape):
            raise InputError(f"{found.model} returns {found.output_shape}; name the step whose cell is asked for")
        return None
    modules = [one.name for one in found if not one.is_call and one.name.split("#")[0] == one.path]
    if step not in modules:
        raise InputError(
            f"{step!r} was asked for; gradients are taken at a layer of {found.model}: {', '.join(modules)}"
        )
    if not isinstance(found[step].output_shape, Shape):
        raise InputError(f"{step} gives {found[step].output_shape}; a gradient is one of a map")
    return step


class _Watched(nn.Module):
    """A model that returns what one step of it made, through a last step of its own.

    A trace of it says where the cells of exactly that tensor lie, whichever step made it and however it is turned.
    """

    def __init__(self, net: nn.Module, step: str | None) -> None:
        super().__init__()
        self.net, self.answer, self.step = net, nn.Identity(), step

    def forward(self, image: Tensor) -> Tensor:
        return self.answer(self.net(image) if self.step is None else self._inside(self.step, image))

    def _inside(self, step: str, image: Tensor) -> Tensor:
        path, _, call = step.partition("#")
        made: list[Tensor] = []
        module = dict(parts_of(self.net))[path]
        # a copy: a ReLU in place would change it afterwards
        hook = module.register_forward_hook(lambda _, __, output: made.append(output.clone()))
        try:
            self.net(image)
        finally:
            hook.remove()
        return made[int(call or 1) - 1]


def _gradient(net: nn.Module, tracks: Sequence[Track], image: Tensor, cell: tuple[int, ...]) -> Tensor:
    """Mean |gradient| over the channels of one image."""
    pixels = image.detach().clone().requires_grad_()
    with torch.enable_grad():
        made = net(pixels.clone())  # a copy, since the first layer may write into it
        cells = _at(made, tracks, cell).sum()
        (gradient,) = (
            torch.autograd.grad(cells, pixels, materialize_grads=True) if cells.requires_grad else (pixels * 0,)
        )
    return gradient.detach()[0].abs().mean(0).double().cpu()


def _at(made: Tensor, tracks: Sequence[Track], cell: tuple[int, ...]) -> Tensor:
    """All numbers of one cell, wherever the axes of the image lie; several may lie along one axis of the tensor."""
    for dim in {track.dim for track in tracks if track.dim is not None}:
        numbers = torch.arange(made.shape[dim], device=made.device)
        kept = torch.ones_like(numbers, dtype=torch.bool)
        for track, place in zip(tracks, cell, strict=True):
            if track.dim == dim:
                kept &= numbers // (track.inner or 1) % track.size == place
        made = made.index_select(dim, kept.nonzero()[:, 0])
    return made

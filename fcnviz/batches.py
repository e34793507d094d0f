"""Images of different sizes: one tensor cannot hold them, and what to do about it.

A fully convolutional network takes any size, but a batch is one tensor, with one height and one width. There are two
ways out. Pad the images to a common size, and let the loss ignore the pixels that were added: `padded`. Or run them one
by one, as the paper's authors did (batch 1, with a momentum of 0.99 in place of an average over images).

Padding is not free of effect: a cell whose receptive field reaches beyond its image sees the padding, and in a network
that pads its maps it sees something else than it would alone. Answers far from the added side are the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

from fcnviz.errors import InputError

IGNORE = 255  # PASCAL VOC's label for pixels that count neither as right nor as wrong

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Batch:
    """Images of different sizes in one tensor, each in the upper left corner.

    Attributes:
        images: N×C×H×W.
        labels: N×H×W, `ignore` where there is no image; None if there were none.
        mask: N×H×W, True where there is an image.
        sizes: rows and columns of each image.
        ignore: the label that a loss is to leave out (`ignore_index`).
    """

    images: Tensor = field(repr=False)
    labels: Tensor | None = field(repr=False)
    mask: Tensor = field(repr=False)
    sizes: tuple[Pair, ...]
    ignore: int

    def cropped(self, output: Tensor) -> list[Tensor]:
        """A network's output N×K×H×W (or N×H×W), cut back to the size of each image.

        Raises:
            InputError: an output of another size than the images, or no tensor.
        """
        if not isinstance(output, Tensor) or output.dim() < 3:
            shown = _by(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(f"the output is {shown}; a tensor N×K×H×W was expected")
        if len(output) != len(self.sizes) or output.shape[-2:] != self.images.shape[-2:]:
            raise InputError(
                f"the output is {_by(output.shape)}, the images {_by(self.images.shape)}: cells that are no pixels "
                "cannot be cut to images"
            )
        return [one[..., :height, :width] for one, (height, width) in zip(output, self.sizes, strict=True)]


def stacked(images: Sequence[Tensor]) -> Tensor:
    """Images C×H×W of one size as N×C×H×W.

    >>> stacked([torch.zeros(3, 4, 5), torch.zeros(3, 4, 5)]).shape
    torch.Size([2, 3, 4, 5])

    Raises:
        InputError: images of different sizes; the sentence names the two ways out.
    """
    images = _checked_images(images)
    sizes = [_size(image) for image in images]
    if len(set(sizes)) > 1:
        raise InputError(mixed(sizes))
    return torch.stack(images)


def padded(
    images: Sequence[Tensor], labels: Sequence[Tensor] | None = None, value: float = 0.0, ignore: int = IGNORE
) -> Batch:
    """Images of any sizes in one tensor of the largest height and the largest width, padded below and on the right.

    Args:
        images: C×H×W each.
        labels: H×W each, of a whole-number type; padded with `ignore`.
        value: of the added pixels; 0 is the mean colour once that has been subtracted, and what convolutions pad with.
        ignore: a whole number.

    Raises:
        InputError: no images, or one without pixels; other channels or number types; a label map that has another size
            than its image; a `value` or an `ignore` that the number type cannot hold as it is.

    >>> batch = padded([torch.ones(3, 4, 5), torch.ones(3, 2, 6)])
    >>> batch.images.shape, batch.sizes, batch.mask.sum().item()
    (torch.Size([2, 3, 4, 6]), ((4, 5), (2, 6)), 32)
    >>> [tuple(one.shape) for one in batch.cropped(batch.images)]
    [(3, 4, 5), (3, 2, 6)]
    """
    images = _checked_images(images)
    _check_value(images[0].dtype, value)
    sizes = tuple(_size(image) for image in images)
    common = _common(sizes)
    if labels is not None:
        labels = _checked_labels(labels, sizes, ignore)
    inside = [torch.ones(size, dtype=torch.bool, device=images[0].device) for size in sizes]
    return Batch(
        images=_filled(images, common, value),
        labels=None if labels is None else _filled(labels, common, ignore),
        mask=_filled(inside, common, False),
        sizes=sizes,
        ignore=ignore,
    )


def mixed(sizes: Sequence[Pair]) -> str:
    """Why images of these sizes make no batch, and the two ways out."""
    different = list(dict.fromkeys(sizes))
    *others, last = (
        map(_by, different) if len(different) < 5 else (*map(_by, different[:3]), f"{len(different) - 3} more")
    )
    named = f"{', '.join(others)} and {last}"
    return (
        f"images of {named} make no batch: a tensor has one height and one width. Two ways out: "
        f"fcnviz.batches.padded(images, labels) pads all to {_by(_common(sizes))} and marks what it added with a "
        "label for the loss to ignore; or run the images one by one, batch 1"
    )


def _checked_images(given: object) -> list[Tensor]:
    images = _listed(given, "images C×H×W")
    if not images:
        raise InputError("a list of images C×H×W was expected, at least one")
    for image in images:
        if image.dim() != 3:
            raise InputError(f"a list of images C×H×W was expected, and one of them is {tuple(image.shape)}")
        if not image.numel():
            raise InputError(f"an image is {_by(image.shape)}: it has no pixels")
    kinds = {(len(image), image.dtype, image.device) for image in images}
    if len(kinds) > 1:
        first, second, *_ = (
            f"{c} channel{'s' * (c != 1)} of {dtype} on {device}" for c, dtype, device in sorted(kinds, key=str)
        )
        raise InputError(f"images of {first} and of {second} make no batch, whatever their size")
    return images


def _listed(given: object, what: str) -> list[Tensor]:
    """Tensors from a list, a tuple or a tensor of them."""
    if isinstance(given, Tensor) and given.dim():
        return list(given)
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise InputError(f"a list of {what} was expected, not {type(given).__name__}")
    for one in given:
        if not isinstance(one, Tensor):
            raise InputError(f"a list of {what} was expected, as tensors, and one of them is {type(one).__name__}")
    return list(given)


def _check_value(dtype: torch.dtype, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not _holds(dtype, float(value)):
        raise InputError(f"value={value!r} was asked for in images of {dtype}, which cannot hold it as it is")


def _holds(dtype: torch.dtype, value: float) -> bool:
    """Whether a number type has this number, but for the rounding of fractions."""
    if dtype == torch.bool:
        return value in (0, 1)
    if dtype.is_floating_point or dtype.is_complex:
        return not math.isfinite(value) or abs(value) <= torch.finfo(dtype).max
    return value.is_integer() and torch.iinfo(dtype).min <= value <= torch.iinfo(dtype).max


def _checked_labels(given: object, sizes: Sequence[Pair], ignore: int) -> list[Tensor]:
    labels = _listed(given, "label maps H×W")
    if isinstance(ignore, bool) or not isinstance(ignore, int):
        raise InputError(f"ignore={ignore!r} was asked for; a label is a whole number")
    if len(labels) != len(sizes):
        raise InputError(f"{len(labels)} label maps were given for {len(sizes)} images")
    for label, size in zip(labels, sizes, strict=True):
        if label.dim() != 2 or _size(label) != size:
            raise InputError(f"a label map is {_by(label.shape)}, its image {_by(size)}")
        whole = not (label.is_floating_point() or label.is_complex() or label.dtype == torch.bool)
        if not whole or not _holds(label.dtype, float(ignore)):
            raise InputError(f"a label map is {label.dtype}, which cannot hold the label {ignore} as a whole number")
    kinds = sorted({f"{label.dtype} on {label.device}" for label in labels})
    if len(kinds) > 1:
        raise InputError(f"label maps of {kinds[0]} and of {kinds[1]} make no batch, whatever their size")
    return labels


def _filled(maps: Sequence[Tensor], common: Pair, value: float) -> Tensor:
    return torch.stack([F.pad(m, (0, common[1] - m.shape[-1], 0, common[0] - m.shape[-2]), value=value) for m in maps])


def _size(image: Tensor) -> Pair:
    return image.shape[-2], image.shape[-1]


def _common(sizes: Sequence[Pair]) -> Pair:
    heights, widths = zip(*sizes, strict=True)
    return max(heights), max(widths)


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))

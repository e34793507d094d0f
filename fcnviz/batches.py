"""Images of different sizes: one tensor cannot hold them, and what to do about it.

A fully convolutional network takes any size, but a batch is one tensor, with one height and one width. There are two
ways out. Pad the images to a common size, and let the loss ignore the pixels that were added: `padded`. Or run them one
by one, as the paper's authors did (batch 1, with a momentum of 0.99 in place of an average over images).

Padding is not free of effect: a cell whose receptive field reaches beyond its image sees the padding, and in a network
that pads its maps it sees something else than it would alone. Answers far from the added side are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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
            InputError: an output of another size than the images.
        """
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
    _check_images(images)
    sizes = [_size(image) for image in images]
    if len(set(sizes)) > 1:
        raise InputError(mixed(sizes))
    return torch.stack(list(images))


def padded(
    images: Sequence[Tensor], labels: Sequence[Tensor] | None = None, value: float = 0.0, ignore: int = IGNORE
) -> Batch:
    """Images of any sizes in one tensor of the largest height and the largest width, padded below and on the right.

    Args:
        images: C×H×W each.
        labels: H×W each, of a whole-number type; padded with `ignore`.
        value: of the added pixels; 0 is the mean colour once that has been subtracted, and what convolutions pad with.

    Raises:
        InputError: no images; other channels or number types; a label map that has another size than its image.

    >>> batch = padded([torch.ones(3, 4, 5), torch.ones(3, 2, 6)])
    >>> batch.images.shape, batch.sizes, batch.mask.sum().item()
    (torch.Size([2, 3, 4, 6]), ((4, 5), (2, 6)), 32)
    >>> [tuple(one.shape) for one in batch.cropped(batch.images)]
    [(3, 4, 5), (3, 2, 6)]
    """
    _check_images(images)
    sizes = tuple(_size(image) for image in images)
    common = _common(sizes)
    if labels is not None:
        _check_labels(labels, sizes, ignore)
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


def _check_images(images: Sequence[Tensor]) -> None:
    if not len(images):
        raise InputError("a list of images C×H×W was expected, at least one")
    for image in images:
        if not isinstance(image, Tensor) or image.dim() != 3:
            shown = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
            raise InputError(f"a list of images C×H×W was expected, and one of them is {shown}")
    kinds = {(len(image), image.dtype, image.device) for image in images}
    if len(kinds) > 1:
        first, second, *_ = (
            f"{c} channel{'s' * (c != 1)} of {dtype} on {device}" for c, dtype, device in sorted(kinds, key=str)
        )
        raise InputError(f"images of {first} and of {second} make no batch, whatever their size")


def _check_labels(labels: Sequence[Tensor], sizes: Sequence[Pair], ignore: int) -> None:
    if len(labels) != len(sizes):
        raise InputError(f"{len(labels)} label maps were given for {len(sizes)} images")
    for label, size in zip(labels, sizes, strict=True):
        if label.dim() != 2 or _size(label) != size:
            raise InputError(f"a label map is {_by(label.shape)}, its image {_by(size)}")
        if label.is_floating_point() or not torch.iinfo(label.dtype).min <= ignore <= torch.iinfo(label.dtype).max:
            raise InputError(f"a label map is {label.dtype}, which cannot hold the label {ignore} as a whole number")


def _filled(maps: Sequence[Tensor], common: Pair, value: float) -> Tensor:
    return torch.stack([F.pad(m, (0, common[1] - m.shape[-1], 0, common[0] - m.shape[-2]), value=value) for m in maps])


def _size(image: Tensor) -> Pair:
    return image.shape[-2], image.shape[-1]


def _common(sizes: Sequence[Pair]) -> Pair:
    heights, widths = zip(*sizes, strict=True)
    return max(heights), max(widths)


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))

"""Canvases of any size with digits on them, and a label for every pixel.

Ink is a digit's pixel, paper is background; the grey edge between them is neither, and is labelled 255, as PASCAL VOC
labels the outline of its objects: it counts neither as right nor as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fcnviz.batches import IGNORE
from fcnviz.data.digits import CLASSES, SIDE, Digits
from fcnviz.errors import InputError

BACKGROUND = CLASSES  # the class after the ten digits
PAPER, INK = 0.1, 0.5  # darker than INK is digit, lighter than PAPER is background
ROOM = 2048  # pixels of canvas for each digit, unless a number is asked for
TRIES = 200  # places that are tried for one digit


@dataclass(frozen=True)
class Placed:
    """A digit on a canvas: which one, and the row and column of its box's upper left pixel."""

    digit: int
    top: int
    left: int

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column of the middle of its box; between pixels, since the box is even."""
        return self.top + (SIDE - 1) / 2, self.left + (SIDE - 1) / 2


@dataclass(frozen=True, eq=False)
class Canvas:
    """Digits on paper.

    Attributes:
        image: 1×H×W, from 0 (paper) to 1 (ink).
        labels: H×W, 0 to 9 on ink, 10 on paper, 255 between.
        placed: the digits; their boxes do not overlap.
    """

    image: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    placed: tuple[Placed, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.image.shape[-2], self.image.shape[-1]


def canvas(digits: Digits, size: tuple[int, int], count: int | None = None, seed: int = 0) -> Canvas:
    """Digits drawn from `digits`, at places drawn from the seed; as many of `count` as found room.

    Args:
        size: rows and columns, at least one digit's box.
        count: of digits; without it, one for each 2 048 pixels, at least one.

    Raises:
        InputError: a canvas smaller than a digit, or no digits to draw from.

    >>> from fcnviz.data import digits
    >>> made = canvas(digits().test, (64, 96), count=2)
    >>> made.size, len(made.placed), made.labels.shape
    ((64, 96), 2, torch.Size([64, 96]))
    """
    return _canvas(digits, size, count, torch.Generator().manual_seed(seed))


def canvases(digits: Digits, count: int, sides: tuple[int, int] = (48, 96), seed: int = 0) -> tuple[Canvas, ...]:
    """Canvases whose heights and widths are drawn, each by itself, from `sides`, both ends included."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(sides[0], sides[1] + 1, (count, 2), generator=generator).tolist()
    return tuple(_canvas(digits, (height, width), None, generator) for height, width in sizes)


def labelled(image: Tensor, digit: int) -> Tensor:
    """Labels of a picture of one digit: the digit on ink, 10 on paper, 255 between."""
    labels = torch.full(image.shape, IGNORE, dtype=torch.long)
    labels[image < PAPER] = BACKGROUND
    labels[image > INK] = digit
    return labels


def _canvas(digits: Digits, size: tuple[int, int], count: int | None, generator: torch.Generator) -> Canvas:
    _check(digits, size)
    wanted = max(1, size[0] * size[1] // ROOM) if count is None else count
    image, labels = torch.zeros(1, *size), torch.full(size, BACKGROUND)
    chosen = torch.randint(len(digits), (wanted,), generator=generator).tolist()
    placed: list[Placed] = []
    for index in chosen:
        corner = _free(size, placed, generator)
        if corner is None:
            continue
        own = Placed(int(digits.labels[index]), *corner)
        placed.append(own)
        box = slice(own.top, own.top + SIDE), slice(own.left, own.left + SIDE)
        image[0][box], labels[box] = digits.images[index, 0], labelled(digits.images[index, 0], own.digit)
    return Canvas(image, labels, tuple(placed))


def _free(size: Sequence[int], placed: Sequence[Placed], generator: torch.Generator) -> tuple[int, int] | None:
    """A corner whose box meets no other, or None if none was found."""
    high, wide = (side - SIDE + 1 for side in size)
    tops = torch.randint(high, (TRIES,), generator=generator).tolist()
    lefts = torch.randint(wide, (TRIES,), generator=generator).tolist()
    for top, left in zip(tops, lefts, strict=True):
        if all(abs(top - one.top) >= SIDE or abs(left - one.left) >= SIDE for one in placed):
            return top, left
    return None


def _check(digits: Digits, size: Sequence[int]) -> None:
    if not len(digits):
        raise InputError("a canvas needs digits to draw from, and there are none")
    if len(size) != 2 or min(size) < SIDE:
        shown = "×".join(map(str, size))
        raise InputError(f"a canvas of {shown} was asked for; a digit's box is {SIDE}×{SIDE}, and one has to fit")

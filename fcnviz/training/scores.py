"""How good a labelling is: the paper's four numbers, from one table of counts.

Source: Long, Shelhamer & Darrell, section 5 "Metrics". n[i][j] is the number of pixels of class i that were called j.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fcnviz.batches import IGNORE
from fcnviz.errors import InputError


@dataclass(frozen=True, eq=False)
class Scores:
    """Counts and what they come to. A class that neither occurs nor is ever called has no score: means leave it out.

    Attributes:
        counts: classes×classes whole numbers; rows are the truth, columns the answer.
    """

    counts: Tensor = field(repr=False)

    @property
    def pixel_accuracy(self) -> float:
        """Σ nᵢᵢ / Σ tᵢ: the share of pixels that were called rightly."""
        return int(self.counts.diag().sum()) / int(self.counts.sum())

    @property
    def accuracies(self) -> tuple[float, ...]:
        """nᵢᵢ / tᵢ of each class; nan where a class does not occur."""
        return _listed(self.counts.diag().double() / self.counts.sum(1))

    @property
    def mean_accuracy(self) -> float:
        """The mean of `accuracies`."""
        return _mean(self.accuracies)

    @property
    def ius(self) -> tuple[float, ...]:
        """nᵢᵢ / (tᵢ + Σⱼ nⱼᵢ − nᵢᵢ) of each class: intersection over union; nan where there is no union."""
        return _listed(self._ius())

    @property
    def mean_iu(self) -> float:
        """The mean of `ius`."""
        return _mean(self.ius)

    @property
    def frequency_weighted_iu(self) -> float:
        """Σ tᵢ·IUᵢ / Σ tᵢ: classes count as much as they occur."""
        return float((self.counts.sum(1) * self._ius()).nansum()) / int(self.counts.sum())

    def __add__(self, other: Scores) -> Scores:
        return Scores(self.counts + other.counts)

    def __repr__(self) -> str:
        named = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")
        return f"Scores({', '.join(f'{name}={getattr(self, name):.3f}' for name in named)})"

    def _ius(self) -> Tensor:
        right = self.counts.diag().double()
        return right / (self.counts.sum(0) + self.counts.sum(1) - right)


def score(answer: Tensor, truth: Tensor, classes: int, ignore: int = IGNORE) -> Scores:
    """Compares two labellings of one shape; where the truth is `ignore`, nothing is counted.

    Raises:
        InputError: shapes that differ, or a label that is no class.

    >>> score(torch.tensor([[0, 0], [1, 1]]), torch.tensor([[0, 1], [1, 255]]), classes=2)
    Scores(pixel_accuracy=0.667, mean_accuracy=0.750, mean_iu=0.500, frequency_weighted_iu=0.500)
    """
    if answer.shape != truth.shape:
        raise InputError(f"the answer is {tuple(answer.shape)}, the truth {tuple(truth.shape)}: no pixel has its other")
    counted = truth != ignore
    called, known = answer[counted].long(), truth[counted].long()
    for labels in (called, known):
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise InputError(
                f"labels from {int(labels.min())} to {int(labels.max())} were found; classes are 0 to {classes - 1}"
            )
    return Scores(torch.bincount(known * classes + called, minlength=classes**2).view(classes, classes))


def total(scores: Iterable[Scores]) -> Scores:
    """The scores of all images together, as the paper counts them: pixels are added up before anything is divided.

    >>> one = score(torch.tensor([0]), torch.tensor([0]), classes=2)
    >>> total([one, one]).counts.tolist()
    [[2, 0], [0, 0]]
    """
    return Scores(torch.stack([one.counts for one in scores]).sum(0))


def _listed(values: Tensor) -> tuple[float, ...]:
    return tuple(values.tolist())


def _mean(values: Iterable[float]) -> float:
    return float(torch.tensor(list(values), dtype=torch.float64).nanmean())

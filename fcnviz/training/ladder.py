"""Coarse, one skip, two skips: the paper's ladder on canvases of mixed sizes, with a control that trained as long.

Each net begins with what the one before it says, and learns on. A finer net has then seen more steps than a coarser
one; so the coarse net is trained on as well, until it has seen as many. What skips bring is the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from fcnviz.batches import padded
from fcnviz.data import BACKGROUND, Canvas
from fcnviz.training.fit import Examples, Run, Watch, drawn, fit, steps_of
from fcnviz.training.networks import Coarse, OneSkip, PooledNet, SmallFCN, TwoSkips, coarse, one_skip, two_skips
from fcnviz.training.scores import Scores, score, total

CLASSES = BACKGROUND + 1

Net = TypeVar("Net", bound=SmallFCN)


@dataclass(frozen=True)
class Pace:
    """How long each rung learns: epochs over the canvases, canvases in a batch, and learning rates.

    Attributes:
        epochs: of each rung; the control has those of all.
        batch: canvases of different sizes, padded to the largest.
        rate: of the coarse net.
        rate_on: of what is trained on: the skips, and the control.
    """

    epochs: int = 8
    batch: int = 8
    rate: float = 1e-3
    rate_on: float = 1e-3


@dataclass(frozen=True, eq=False)
class Rung(Generic[Net]):
    """A net that labels pixels, what it learnt, and its scores on canvases it has not seen.

    Attributes:
        steps: all that its weights have seen, those of the rungs below included.
    """

    name: str
    net: Net = field(repr=False)
    run: Run
    scores: Scores
    steps: int


@dataclass(frozen=True, eq=False)
class Ladder:
    """The three rungs, and the control: the coarse net, trained on until it has seen as many steps as the last rung."""

    coarse: Rung[Coarse]
    one_skip: Rung[OneSkip]
    two_skips: Rung[TwoSkips]
    control: Rung[Coarse]

    @property
    def rungs(self) -> tuple[Rung[Any], ...]:
        """In the order of a picture: coarse, the control, one skip, two skips."""
        return self.coarse, self.control, self.one_skip, self.two_skips


def ladder(
    classifier: PooledNet,
    learnt: Sequence[Canvas],
    kept: Sequence[Canvas],
    pace: Pace = Pace(),
    seed: int = 0,
    watch: Watch | None = None,
) -> Ladder:
    """Casts the classifier and trains the four nets one after the other; the classifier stays as it is.

    Args:
        learnt: canvases of any sizes to learn from.
        kept: others, on which the nets are scored.
    """
    school = _School(learnt, kept, pace, seed, watch)
    first = school.taught("coarse", coarse(classifier, CLASSES), pace.epochs, pace.rate, None)
    second = school.taught("one skip", one_skip(first.net), pace.epochs, pace.rate_on, first)
    third = school.taught("two skips", two_skips(second.net), pace.epochs, pace.rate_on, second)
    control = school.taught("coarse, trained on", first.net, 2 * pace.epochs, pace.rate_on, first)
    return Ladder(first, second, third, control)


def answer(net: nn.Module, canvas: Canvas) -> Tensor:
    """H×W: the class of each pixel that has the highest score."""
    with torch.no_grad():
        return net(canvas.image[None])[0].argmax(0)


def scored(net: nn.Module, canvases: Iterable[Canvas]) -> Scores:
    """How the net labels canvases, each at its own size, batch 1; all pixels counted together."""
    return total(score(answer(net, one), one.labels, CLASSES) for one in canvases)


@dataclass(frozen=True)
class _School:
    """What all rungs have in common."""

    learnt: Sequence[Canvas]
    kept: Sequence[Canvas]
    pace: Pace
    seed: int
    watch: Watch | None

    def taught(self, name: str, net: Net, epochs: int, rate: float, before: Rung[Any] | None) -> Rung[Net]:
        """A copy of the net, trained: the weights it shares with the rung before stay as they are there."""
        own, steps = deepcopy(net), steps_of(len(self.learnt), self.pace.batch, epochs)
        run = fit(own, self._batches(epochs), steps, rate, watch=self.watch, name=name)
        return Rung(name, own, run, scored(own, self.kept), steps + (before.steps if before else 0))

    def _batches(self, epochs: int) -> Iterator[Examples]:
        generator = torch.Generator().manual_seed(self.seed)
        for places in drawn(len(self.learnt), self.pace.batch, epochs, generator):
            some = [self.learnt[place] for place in places]
            batch = padded([one.image for one in some], [one.labels for one in some])
            assert batch.labels is not None
            yield Examples(batch.images, batch.labels)

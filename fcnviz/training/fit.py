"""A network learns: one loop for classifiers and for nets that label pixels, watched while it runs.

The loss is cross entropy, and pixels with the label 255 are left out of it. Everything that is drawn is drawn from a
seed, so that the same call gives the same losses on the same machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnviz.batches import IGNORE
from fcnviz.errors import InputError
from fcnviz.progress import progress


@dataclass(frozen=True, eq=False)
class Examples:
    """What one step learns from: images N×C×H×W, and labels N or N×H×W."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Moment:
    """A step of the run `name` that was just taken: `step` of `of`, its loss, so many seconds after the beginning."""

    name: str
    step: int
    of: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """A training that is over: the loss of each step, and how long all took."""

    name: str
    losses: tuple[float, ...] = field(repr=False)
    seconds: float

    def mean_loss(self, part: slice) -> float:
        """The mean over some of the steps: single losses jump from batch to batch."""
        chosen = self.losses[part]
        return sum(chosen) / len(chosen)


Watch = Callable[[Moment], None]


def fit(
    net: nn.Module,
    batches: Iterable[Examples],
    steps: int,
    rate: float,
    one_cycle: bool = False,
    watch: Watch | None = None,
    name: str = "training",
) -> Run:
    """Adam on every parameter that is trainable, one step for each batch; a bar shows how far it is.

    Args:
        batches: `steps` of them.
        rate: the learning rate; with `one_cycle` the highest, which is reached after 3 of 10 steps.
        watch: called after every step.

    Raises:
        InputError: a loss that is no finite number, or fewer batches than steps.
    """
    optimiser = torch.optim.Adam((p for p in net.parameters() if p.requires_grad), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps) if one_cycle else None
    losses: list[float] = []
    began = time.perf_counter()
    was_training = net.training
    net.train()
    try:
        for examples in _shown(batches, steps, name):
            losses.append(_step(net, examples, optimiser))
            if schedule is not None:
                schedule.step()
            if watch is not None:
                watch(Moment(name, len(losses), steps, losses[-1], time.perf_counter() - began))
    finally:
        net.train(was_training)
    if len(losses) != steps:
        raise InputError(f"{name} was to take {steps} steps, and there were batches for {len(losses)}")
    return Run(name, tuple(losses), time.perf_counter() - began)


def _step(net: nn.Module, examples: Examples, optimiser: torch.optim.Optimizer) -> float:
    loss = F.cross_entropy(net(examples.images), examples.labels, ignore_index=IGNORE)
    if not torch.isfinite(loss):
        raise InputError(
            f"the loss is {loss.item()}: the learning rate is too high, or a batch has no pixel that counts"
        )
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def _shown(batches: Iterable[Examples], steps: int, name: str) -> Iterator[Examples]:
    with progress(steps, name, "steps") as advance:
        for examples in batches:
            yield examples
            advance(1)


def drawn(count: int, batch: int, epochs: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Places 0..count−1 in batches, each once in an epoch, in a new order every time; the last batch may be smaller.

    >>> [len(places) for places in drawn(5, 2, 2, torch.Generator())]
    [2, 2, 1, 2, 2, 1]
    """
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator).tolist()
        yield from (order[at : at + batch] for at in range(0, count, batch))


def steps_of(count: int, batch: int, epochs: int) -> int:
    """How many batches `drawn` gives."""
    return -(-count // batch) * epochs

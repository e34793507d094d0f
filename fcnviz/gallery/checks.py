"""What a repaired network must do. A check looks at a network and says in a sentence what is wrong, or nothing.

None of them has a tolerance: answers are compared bit for bit, and where that needs whole numbers, they are whole.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from fcnviz.arithmetic import count
from fcnviz.records import Shape
from fcnviz.trace import trace

Check: TypeAlias = Callable[[nn.Module], str]
SEED = 0  # of the weights and images, so that two people see the same


@dataclass(frozen=True)
class Finding:
    """What a network handed in is worth: its `faults` in sentences, none if it is `repaired`."""

    name: str
    faults: tuple[str, ...]

    @property
    def repaired(self) -> bool:
        return not self.faults

    @property
    def line(self) -> str:
        """
        >>> Finding("channels", ("it gives 1×8",)).line
        'channels: not yet, it gives 1×8'
        """
        return f"{self.name}: {'repaired' if self.repaired else f'not yet, {self.faults[0]}'}"


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """`make()` with the same weights each time; whoever draws numbers afterwards gets those they would have got."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return make()


def runs(shape: Sequence[int], wants: Sequence[int]) -> Check:
    """It runs on images of `shape`, and what it gives begins with the axes that are wanted."""

    def check(network: nn.Module) -> str:
        found = trace(network, tuple(shape))
        if found.failure is not None:
            return f"it stops at {found.failure.step.name}: {found.failure.message}"
        given = found.output_shape
        if not isinstance(given, Shape) or given[: len(wants)] != tuple(wants):
            return f"it gives {_by(given)}, and {_by(wants)} is wanted"
        return ""

    return check


def each_image_alone(shape: Sequence[int]) -> Check:
    """Other images in the batch change nothing in the answer for the first one.

    The batch is as large both times, so the same sums are made in the same order: equal means every bit.
    """

    def check(network: nn.Module) -> str:
        first, second = images(shape), images(shape).flip(-1)
        second[0] = first[0]
        one, other = (answers(network, batch) for batch in (first, second))
        return "" if torch.equal(one[0], other[0]) else "the answer for one image depends on the others in its batch"

    return check


def keeps_weights(make: Callable[[], nn.Module]) -> Check:
    """All weights that the broken one had are there, with their numbers, in whatever shape."""

    def check(network: nn.Module) -> str:
        there = [weight.flatten() for weight in network.parameters()]
        for name, weight in seeded(make).named_parameters():
            if not any(torch.equal(weight.flatten(), other) for other in there):
                return f"the trained numbers of {name} ({_by(weight.shape)}) are gone"
        return ""

    return check


def learns(repaired: Callable[[], nn.Module]) -> Check:
    """An optimizer is handed as many weights as the network has when it is whole."""

    def check(network: nn.Module) -> str:
        whole, there = (sum(p.numel() for p in net.parameters()) for net in (seeded(repaired), network))
        if whole == there:
            return ""
        return f"`parameters()` hands an optimizer {count(there)} of {count(whole)} weights; the others never learn"

    return check


def answers_like(make: Callable[[], nn.Module], shape: Sequence[int]) -> Check:
    """On images of that classifier's own size it says what the classifier says, bit for bit."""

    def check(network: nn.Module) -> str:
        batch = images(shape)
        right, said = answers(seeded(make), batch), answers(network, batch).flatten(1)
        if said.shape != right.shape:
            return f"on {_by(shape)} it gives {_by(said.shape)}, and the classifier {_by(right.shape)}"
        equal = int((said == right).sum())
        return "" if equal == right.numel() else f"{equal} of {right.numel()} answers are those of the classifier"

    return check


def images(shape: Sequence[int]) -> Tensor:
    """Images of whole numbers from 0 to 7."""
    drawn = torch.Generator().manual_seed(SEED)
    return torch.randint(0, 8, tuple(shape), generator=drawn).float()


def answers(network: nn.Module, batch: Tensor) -> Tensor:
    """What it says when it is used, not trained; the network itself is left alone."""
    with torch.no_grad():
        return copy.deepcopy(network).eval()(batch)


def _by(sizes: object) -> str:
    return "×".join(map(str, sizes)) if isinstance(sizes, Sequence) else str(sizes)

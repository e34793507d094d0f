"""What hangs in the gallery: what each author wanted, the broken network, and what a repaired one must do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from fcnviz.errors import InputError
from fcnviz.gallery import networks
from fcnviz.gallery.checks import (
    Check,
    Finding,
    answers_like,
    each_image_alone,
    keeps_weights,
    learns,
    runs,
    seeded,
)


@dataclass(frozen=True)
class Exhibit:
    """A broken network, and how to know a repaired one.

    Attributes:
        name: what it is called.
        wish: what its author wanted.
        shape: what goes in, batch first.
        wants: what must come out; an output may have further axes.
        raises: whether PyTorch refuses it; the others run, and are wrong.
    """

    name: str
    wish: str
    shape: tuple[int, ...]
    wants: tuple[int, ...]
    raises: bool
    _make: Callable[[], nn.Module] = field(repr=False)
    _checks: tuple[Check, ...] = field(repr=False)

    def network(self) -> nn.Module:
        """The broken network, made anew: with the same weights each time."""
        return seeded(self._make)

    def check(self, network: nn.Module) -> Finding:
        """What is still wrong with a network.

        >>> work = exhibit("shared_softmax")
        >>> net = work.network()
        >>> work.check(net).line
        'shared_softmax: not yet, the answer for one image depends on the others in its batch'
        >>> net[-1] = nn.Softmax(dim=1)
        >>> work.check(net).repaired
        True
        """
        first = runs(self.shape, self.wants)(network)
        faults = (first,) if first else tuple(filter(None, (check(network) for check in self._checks)))
        return Finding(self.name, faults)


def exhibit(name: str) -> Exhibit:
    """The one of that name.

    Raises:
        InputError: none is called so.
    """
    if name not in EXHIBITS:
        raise InputError(f"nothing called {name!r} hangs here; there are {', '.join(EXHIBITS)}")
    return EXHIBITS[name]


def _hang(
    wish: str,
    make: Callable[[], nn.Module],
    shape: tuple[int, ...],
    wants: tuple[int, ...],
    *checks: Check,
    raises: bool = True,
) -> Exhibit:
    return Exhibit(make.__name__, wish, shape, wants, raises, make, checks)


def _registered() -> nn.Module:
    net = networks.Listed()
    net.layers = nn.ModuleList(net.layers)  # type: ignore[assignment]  # this is the repair
    return net


_HUNG = (
    _hang(
        "It was trained on images of 32×32. Now images of 64×64 come, and its weights must stay.",
        *(networks.old_size, (1, 3, 64, 64), (1, 10)),
        keeps_weights(networks.old_size),
    ),
    _hang("Ten classes for images of 32×32, written just now.", networks.counted_wrong, (1, 3, 32, 32), (1, 10)),
    _hang(
        "Ten classes for images of 32×32, already trained.",
        *(networks.no_flatten, (1, 3, 32, 32), (1, 10)),
        keeps_weights(networks.no_flatten),
    ),
    _hang(
        "Four images of 32×32 in a batch, and ten numbers for each.",
        *(networks.one_row, (4, 3, 32, 32), (4, 10)),
        keeps_weights(networks.one_row),
        each_image_alone((4, 3, 32, 32)),
    ),
    _hang("Twice as high and wide in between, and 32 channels out.", networks.channels, (1, 3, 32, 32), (1, 32)),
    _hang("Six convolutions, each with a pool, for images of 32×32.", networks.too_deep, (1, 3, 32, 32), (1, 10)),
    _hang("A residual block that halves the map: 16×16×16.", networks.shortcut, (1, 3, 32, 32), (1, 16, 16, 16)),
    _hang(
        "Two classes for each pixel of an image of 45×45.",
        *(networks.skip, (1, 3, 45, 45), (1, 2, 45, 45)),
    ),
    _hang(
        "Trained on images of 28×28. Now 49 images of 32×32 come, and each wants ten numbers.",
        *(networks.mixed_batch, (49, 3, 32, 32), (49, 10)),
        keeps_weights(networks.mixed_batch),
        each_image_alone((49, 3, 32, 32)),
        raises=False,
    ),
    _hang(
        "Four images in a batch, and for each ten shares that add up to 1.",
        *(networks.shared_softmax, (4, 3, 32, 32), (4, 10)),
        each_image_alone((4, 3, 32, 32)),
        raises=False,
    ),
    _hang(
        "Three convolutions and a Linear layer, and all of them learn.",
        *(networks.plain_list, (1, 3, 32, 32), (1, 10)),
        learns(_registered),
        raises=False,
    ),
    _hang(
        "A classifier for images of 14×14, cast by hand, so that larger images give a map of its answers.",
        *(networks.wrong_order, (1, 1, 30, 30), (1, 10, 9, 9)),
        answers_like(networks.classifier, (8, 1, 14, 14)),
        raises=False,
    ),
)
EXHIBITS: Mapping[str, Exhibit] = {one.name: one for one in _HUNG}

"""A classifier of digits, trained at one size, and what it says of a canvas of any size.

The windows it learns from are 32×32. With ten classes it has to call everything a digit, empty paper too; with
eleven it also learns windows of canvases in whose middle there is no digit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnviz.batches import IGNORE
from fcnviz.coordinates import Placement
from fcnviz.data import BACKGROUND, Canvas, Digits, canvases
from fcnviz.data.digits import SIDE as BOX
from fcnviz.geometry import geometry
from fcnviz.trace import trace
from fcnviz.training.fit import Examples, Run, Watch, drawn, fit, steps_of
from fcnviz.training.networks import SIDE, digit_net

SHIFT = 2  # pixels by which a digit may lie beside the middle of a window and still be its answer
BESIDE = 8  # pixels from which on it lies beside; between the two no answer is right or wrong
WHOLE = SIDE + 2 * SHIFT  # a window from which every shifted one can be cut
BATCH = 64
RATE = 4e-3  # the highest of the cycle


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows N×1×36×36, from which 32×32 are cut, and their classes: 0 to 9, or 10 where no digit is in the middle."""

    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def middles(self) -> Tensor:
        """The 32×32 in the middle of each."""
        return self.images[:, :, SHIFT:-SHIFT, SHIFT:-SHIFT]


def windows(digits: Digits) -> Windows:
    """Each digit in the middle of its window."""
    return Windows(F.pad(digits.images, ((WHOLE - BOX) // 2,) * 4), digits.labels)


def with_background(digits: Digits, count: int, seed: int = 0) -> Windows:
    """The same, and `count` windows of canvases in which the middle of no digit lies within 8 pixels of theirs."""
    generator = torch.Generator().manual_seed(seed)
    made: list[Tensor] = []
    for one in canvases(digits, count, (2 * WHOLE, 2 * WHOLE), seed):
        made.append(_beside(one, generator))
    own = windows(digits)
    labels = torch.cat([own.labels, torch.full((count,), BACKGROUND)])
    return Windows(torch.cat([own.images, torch.stack(made)]), labels)


@dataclass(frozen=True, eq=False)
class Trained:
    """A network in eval mode, and how its training went."""

    net: nn.Module = field(repr=False)
    run: Run


def train(
    learnt: Windows, epochs: int = 12, seed: int = 0, net: nn.Module | None = None, watch: Watch | None = None
) -> Trained:
    """Trains a `digit_net` (or `net`, in place) on windows, shifted by up to 2 pixels anew whenever they are seen.

    With 10 classes, or 11 where windows of background are among them.
    """
    made: nn.Module = digit_net(int(learnt.labels.max()) + 1, seed) if net is None else net
    generator = torch.Generator().manual_seed(seed)
    batches = (_examples(learnt, places, generator) for places in drawn(len(learnt), BATCH, epochs, generator))
    run = fit(made, batches, steps_of(len(learnt), BATCH, epochs), RATE, one_cycle=True, watch=watch, name="digits")
    return Trained(made, run)


def accuracy(net: nn.Module, known: Windows) -> float:
    """The share of windows, each with its digit in the middle, that the classifier names rightly."""
    with torch.no_grad():
        return float((net(known.middles()).argmax(1) == known.labels).double().mean())


def cells(dense: nn.Module, shape: Sequence[int]) -> tuple[Placement, ...]:
    """Where the cells of a network's map lie on an image N×C×H×W: along its rows and along its columns.

    Raises:
        GeometryError: a network whose answer has no place on the image.
    """
    return geometry(trace(dense, tuple(shape)))[-1].placements


def answers(dense: nn.Module, canvas: Canvas) -> Tensor:
    """What the cast classifier says at each cell: classes×h×w, shares of the softmax."""
    with torch.no_grad():
        return dense(canvas.image[None])[0].softmax(0)


def truth(canvas: Canvas, size: Sequence[int], placed: Sequence[Placement]) -> Tensor:
    """What each cell of a map of that size should say: h×w.

    The digit whose middle is at most 2 pixels from the middle of the cell's window, on both axes; 10 where every digit
    is 8 pixels off or more; 255 between, where a digit is half in the window.
    """
    found = torch.full(tuple(size), BACKGROUND)
    rows, columns = (torch.tensor([float(at.centre(i)) for i in range(n)]) for at, n in zip(placed, size, strict=True))
    for one in canvas.placed:
        row, column = one.centre
        off = torch.maximum((rows - row).abs()[:, None], (columns - column).abs()[None])
        found[(off < BESIDE) & (found == BACKGROUND)] = IGNORE
        found[off <= SHIFT] = one.digit
    return found


@dataclass(frozen=True, eq=False)
class Reading:
    """A canvas as the cast classifier reads it.

    Attributes:
        shares: classes×h×w, the softmax at each cell.
        truth: h×w, what it should say.
    """

    shares: Tensor = field(repr=False)
    truth: Tensor = field(repr=False)

    @property
    def answer(self) -> Tensor:
        """h×w: the class with the largest share."""
        return self.shares.argmax(0)

    @property
    def sure_of_nothing(self) -> float:
        """The share of background cells at which one digit has more than 0.9."""
        digits = self.shares[:BACKGROUND].amax(0)
        return float((digits[self.truth == BACKGROUND] > 0.9).double().mean())

    @property
    def read(self) -> float:
        """The share of the cells on a digit that name it."""
        on = self.truth < BACKGROUND
        return float((self.answer[on] == self.truth[on]).double().mean())


def read(dense: nn.Module, canvas: Canvas) -> Reading:
    """The cast classifier on a canvas of any size from 32×32 on."""
    shares = answers(dense, canvas)
    return Reading(shares, truth(canvas, shares.shape[1:], cells(dense, (1, *canvas.image.shape))))


def _examples(learnt: Windows, places: list[int], generator: torch.Generator) -> Examples:
    corners = torch.randint(2 * SHIFT + 1, (len(places), 2), generator=generator).tolist()
    cut = [
        learnt.images[place, :, top : top + SIDE, left : left + SIDE]
        for place, (top, left) in zip(places, corners, strict=True)
    ]
    return Examples(torch.stack(cut), learnt.labels[places])


def _beside(canvas: Canvas, generator: torch.Generator) -> Tensor:
    """A window in which every digit is so far off that no shift brings it within 8 pixels of the middle."""
    high, wide = (side - WHOLE + 1 for side in canvas.size)
    rows, columns = (torch.arange(n) + (WHOLE - 1) / 2 for n in (high, wide))
    free = torch.ones(high, wide, dtype=torch.bool)
    for one in canvas.placed:
        row, column = one.centre
        free &= torch.maximum((rows - row).abs()[:, None], (columns - column).abs()[None]) >= BESIDE + SHIFT
    choice = free.nonzero()
    top, left = choice[int(torch.randint(len(choice), (1,), generator=generator))].tolist()
    return canvas.image[:, top : top + WHOLE, left : left + WHOLE]

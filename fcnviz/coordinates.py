"""One axis: where the cells of a map lie on the image, and which pixels they see. Exact fractions, no torch.

Pixel i has its centre at i. The cells of a map lie evenly spaced, cell i at `start + jump·i`; each layer is an even
map again, so that a whole network is one jump and one start. Maps have no end here: cells exist before cell 0 and
after the last, and pixels outside the image. What a map of a given size really reads is counted in `geometry`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Literal, NamedTuple

from fcnviz.errors import GeometryError, WindowError


class Span(NamedTuple):
    """From the first pixel to the last, both included.

    >>> Span(Fraction(-31, 2), Fraction(4))
    Span(-31/2, 4)
    """

    first: Fraction
    last: Fraction

    def __repr__(self) -> str:
        return f"Span({self.first}, {self.last})"

    @property
    def size(self) -> Fraction:
        return self.last - self.first + 1


@dataclass(frozen=True)
class Placement:
    """Where the cells of a map lie on one axis of the image.

    Attributes:
        jump: pixels from a cell to the next; below 1 where a map is finer than the image.
        start: where cell 0 has its centre.
        reach: the field of a cell, from its centre: cell i sees from `first` to `last`, of entry i mod len(reach).
            One entry, unless cells differ: of a transposed convolution with stride 2 every other cell reads other
            inputs. None for cells that see nothing, which stride > kernel makes there.
        shared: pixels that every cell sees besides, wherever it lies: those of a gate's one number, or of a mean over
            the map.

    >>> pool5 = PIXELS
    >>> for convolutions in (2, 2, 3, 3, 3):
    ...     for _ in range(convolutions):
    ...         pool5 = pool5.window(3, padding=1)
    ...     pool5 = pool5.window(2, stride=2)
    >>> print(pool5.jump, pool5.start, pool5.field, pool5.effective_padding)
    32 31/2 212 90
    >>> print(pool5.window(7).field)
    404
    """

    jump: Fraction
    start: Fraction
    reach: tuple[Span | None, ...]
    shared: Span | None = None

    def __str__(self) -> str:
        from fcnviz.geometrytable import of_placement  # a record knows that a view exists, never how one looks

        return of_placement(self)

    def __post_init__(self) -> None:
        if self.jump <= 0 or not self.reach:
            raise GeometryError(f"cells {self.jump} apart with {len(self.reach)} fields: both must be more than 0")

    @property
    def fields(self) -> tuple[Fraction, ...]:
        """Size of the receptive field in pixels, for each entry of `reach`; 0 where a cell sees nothing.

        Of cells that share pixels, the field of one that sees no others.
        """
        least = Fraction(0) if self.shared is None else self.shared.size
        return tuple(least if span is None else max(least, span.size) for span in self.reach)

    @property
    def field(self) -> Fraction:
        """Size of the receptive field in pixels; the largest, if cells differ."""
        return max(self.fields)

    @property
    def effective_padding(self) -> Fraction | None:
        """How many pixels outside the image the field of cell 0 begins; None if that cell sees nothing.

        Negative where a map is cropped so far that its first cell begins inside.
        """
        region = self.region(0)
        return None if region is None else -region.first

    def centre(self, cell: int) -> Fraction:
        """Where a cell has its centre."""
        return self.start + self.jump * cell

    def region(self, cell: int) -> Span | None:
        """First and last pixel that a cell sees, outside the image too; None for a cell that sees nothing.

        >>> [str(pixel) for pixel in PIXELS.window(3, padding=1).region(0)]
        ['-1', '1']
        """
        return hull((self._own(cell), self.shared))

    def _own(self, cell: int) -> Span | None:
        span, centre = self.reach[cell % len(self.reach)], self.centre(cell)
        return None if span is None else Span(centre + span.first, centre + span.last)

    def everywhere(self, cells: range) -> Span | None:
        """What every cell sees of a layer that reads some cells of this map for each of its own."""
        once = len(self.reach)  # what cells see moves on evenly: the first and the last see farthest
        return hull((self.shared, *(self._own(cell) for cell in {*cells[:once], *cells[-once:]})))

    def sharing(self, pixels: Span | None) -> Placement:
        """The same cells, each of which sees these pixels as well."""
        return replace(self, shared=hull((self.shared, pixels)))

    def window(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Placement:
        """Of a convolution or pooling. `padding` is in cells before the axis; those after it move no cell."""
        return self.read(windowed(kernel, stride, padding, dilation))

    def transposed(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Placement:
        """Of a transposed convolution, the inverse map; `padding` is in cells cut off before the axis.

        >>> there = PIXELS.window(4, stride=2, padding=1)
        >>> back = there.transposed(4, stride=2, padding=1)
        >>> print(back.jump, back.start, [str(field) for field in back.fields])
        1 0 ['6', '6']
        """
        return self.read(transposing(kernel, stride, padding, dilation))

    def crop(self, offset: int | Fraction) -> Placement:
        """Of a map cut after `offset` cells: its cell 0 is this one's cell `offset`. Padding is a negative cut."""
        if offset != int(offset):
            raise GeometryError(f"a cut of {offset} cells was asked for; cells are cut off whole")
        return self.read(cropping(int(offset)))

    def read(self, reading: Reading) -> Placement:
        """Of any layer that reads this map evenly.

        Raises:
            GeometryError: a reading that is uneven, or repeats so late that its cells can't be told one by one.
        """
        step, shift = reading.step, reading.shift
        if step is None:
            raise GeometryError(reading.reason)
        period = step.denominator * (len(self.reach) // math.gcd(len(self.reach), step.numerator))
        if period > LONGEST_PERIOD:
            raise GeometryError(f"its cells see alike only every {period} cells; {LONGEST_PERIOD} are followed")
        jump, start = self.jump * step, self.start + self.jump * shift
        spans = [hull(self._own(cell) for cell in reading.cells(i)) for i in range(period)]
        reach = _once(tuple(_around(start + jump * i, span) for i, span in enumerate(spans)))
        return Placement(jump, start, reach, self.everywhere(reading.everywhere))


@dataclass(frozen=True, eq=False)
class Reading:
    """Which cells of one axis of a map a layer reads: cell i of the layer reads `cells(i)`, and lies among them.

    Attributes:
        cells: the cells that cell i reads, those before and after the map too.
        step, shift: cell i lies at shift + step·i. With step = m/n in lowest terms, cells(i + n) are cells(i), each
            + m. None for a layer that reads unevenly, which has no one jump.
        reason: why it has none.
        beyond: what stands in for cells before and after the map: nothing, or other cells of it.
        everywhere: cells of the map that every cell reads besides, wherever it lies.
    """

    cells: Callable[[int], Iterable[int]]
    step: Fraction | None = None
    shift: Fraction = Fraction(0)
    reason: str = ""
    beyond: Literal["nothing", "replicate", "reflect", "circular"] = "nothing"
    everywhere: range = range(0)

    def within(self, cell: int, size: int) -> set[int]:
        """The cells that a cell reads of a map of `size` cells, without those that every cell reads."""
        inside = (_inside(read, size, self.beyond) for read in self.cells(cell))
        return {read for read in inside if read is not None}


def _inside(cell: int, size: int, beyond: str) -> int | None:
    """The cell of a map that is read where `cell` is asked for."""
    if 0 <= cell < size:
        return cell
    if beyond == "replicate":
        return min(max(cell, 0), size - 1)
    if beyond == "circular":
        return cell % size
    if beyond == "reflect":
        return -cell if cell < 0 else 2 * (size - 1) - cell
    return None


def windowed(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Reading:
    """Cell i reads cells stride·i − padding + dilation·t, for t = 0 … kernel − 1.

    >>> list(windowed(3, stride=2, padding=1).cells(4))
    [7, 8, 9]
    """
    _check_window(kernel, stride, dilation)
    first = range(-padding, -padding + dilation * kernel, dilation)
    shift = Fraction(dilation * (kernel - 1), 2) - padding
    return Reading(partial(_windowed, first, stride), Fraction(stride), shift)


def _windowed(first: range, stride: int, cell: int) -> Iterable[int]:
    return range(first.start + stride * cell, first.stop + stride * cell, first.step)


def transposing(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Reading:
    """Cell j is written to cells stride·j − padding + dilation·t, for t = 0 … kernel − 1; cell i reads what reaches it.

    >>> [list(transposing(4, stride=2, padding=1).cells(i)) for i in (4, 5)]
    [[2, 1], [3, 2]]
    """
    _check_window(kernel, stride, dilation)
    written = range(padding, padding - dilation * kernel, -dilation)
    shift = (padding - Fraction(dilation * (kernel - 1), 2)) / stride
    return Reading(partial(_transposing, written, stride), Fraction(1, stride), shift)


def _transposing(written: range, stride: int, cell: int) -> Iterable[int]:
    return ((cell + place) // stride for place in written if (cell + place) % stride == 0)


def cropping(offset: int, step: int = 1) -> Reading:
    """Cell i is cell offset + step·i."""
    return Reading(partial(_windowed, range(offset, offset + 1), step), Fraction(step), Fraction(offset))


def resizing(step: Fraction, shift: Fraction, taps: int) -> Reading:
    """Interpolation: cell i lies at x = shift + step·i and reads the `taps` cells around x, 2 for linear, 4 for cubic.

    Where x is a cell, the weights of all others are 0.

    >>> [list(resizing(Fraction(1, 2), Fraction(-1, 4), 2).cells(i)) for i in (4, 5)]
    [[1, 2], [2, 3]]
    """
    return Reading(partial(_resizing, step, shift, taps), step, shift)


def _resizing(step: Fraction, shift: Fraction, taps: int, cell: int) -> Iterable[int]:
    place = shift + step * cell
    low = math.floor(place)
    return (low,) if place == low else range(low + 1 - taps // 2, low + 1 + taps // 2)


def copying(step: Fraction, shift: Fraction = Fraction(0)) -> Reading:
    """Nearest neighbours: cell i copies cell ⌊shift + step·i⌋; it lies where that is on the average.

    Where shift + step·i is a whole number, torch's float32 may fall just below it and copy the cell before.

    >>> doubled = PIXELS.read(copying(Fraction(1, 2)))
    >>> print(doubled.jump, doubled.start)
    1/2 -1/4
    """
    lost = [(shift + step * i) % 1 for i in range(step.denominator)]
    mean = sum(lost, Fraction(0)) / len(lost)
    return Reading(partial(_copying, step, shift), step, shift - mean)


def _copying(step: Fraction, shift: Fraction, cell: int) -> Iterable[int]:
    return (math.floor(shift + step * cell),)


def nothing(cell: int) -> Iterable[int]:
    """The cells of a reading that has none of its own."""
    return ()


SAME = cropping(0)

# Two resizings by 499/249 in a row would be followed for 10⁵ cells; an image has fewer.
LONGEST_PERIOD = 1 << 13

PIXELS = Placement(Fraction(1), Fraction(0), (Span(Fraction(0), Fraction(0)),))


def joined(one: Placement, other: Placement) -> Placement:
    """Of two maps added or stacked cell on cell: each cell sees what both saw.

    Raises:
        GeometryError: the cells do not lie on each other; the sentence says by how many they are off.
    """
    if offset := crop_offset(one, other):
        raise GeometryError(f"their cells are {offset} cells apart ({offset * one.jump} pixels)")
    period = math.lcm(len(one.reach), len(other.reach))
    both = [(one.reach[i % len(one.reach)], other.reach[i % len(other.reach)]) for i in range(period)]
    reach = _once(tuple(hull(spans) for spans in both))
    return Placement(one.jump, one.start, reach, hull((one.shared, other.shared)))


def crop_offset(larger: Placement, onto: Placement) -> Fraction:
    """Cells to cut from the start of `larger`, so that its cell 0 lies on cell 0 of `onto`.

    A fraction means that no cut of whole cells does it, a negative number that `onto` is the one to cut.

    Raises:
        GeometryError: the cells of the two are not equally far apart.

    >>> coarse = PIXELS.window(3, padding=100).window(32, stride=32)
    >>> print(crop_offset(coarse.transposed(64, stride=32), PIXELS))
    115
    """
    if larger.jump != onto.jump:
        raise GeometryError(
            f"cells {larger.jump} pixels apart were to lie on cells {onto.jump} apart; no cut brings them together"
        )
    return (onto.start - larger.start) / larger.jump


def _check_window(kernel: int, stride: int, dilation: int) -> None:
    if min(kernel, stride, dilation) < 1:
        raise WindowError(
            f"kernel {kernel}, stride {stride} and dilation {dilation} were asked for; each is at least 1"
        )


SPREAD = Reading(nothing, reason="one cell is spread over the map", everywhere=range(1))


def whole(size: int) -> Reading:
    """Cell i is cell i, and reads all cells of the map besides: it is divided by their mean, say."""
    return replace(SAME, everywhere=range(size))


def _around(centre: Fraction, span: Span | None) -> Span | None:
    return span and Span(span.first - centre, span.last - centre)


def hull(spans: Iterable[Span | None]) -> Span | None:
    """From the first pixel that any of them holds to the last."""
    seen = [span for span in spans if span is not None]
    return Span(min(span.first for span in seen), max(span.last for span in seen)) if seen else None


def _once(reach: tuple[Span | None, ...]) -> tuple[Span | None, ...]:
    """The shortest part that repeats, so that equal placements are equal records."""
    lengths = (n for n in range(1, len(reach) + 1) if len(reach) % n == 0)
    return next(reach[:n] for n in lengths if reach[:n] * (len(reach) // n) == reach)

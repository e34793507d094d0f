"""A trace → where the cells of each step lie on the image, and which pixels a cell reads.

Two answers, because there are two questions. A `Placement` says where a cell lies and how far it sees if maps had no
end: jump, start and field, by composing one coordinate map after the other. `region` counts, cell by cell and backwards
through the maps as large as they are, which pixels really reach a cell: padding carries none, a floor drops some, and
holes between dilated taps show.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fcnviz.coordinates import PIXELS, SAME, SPREAD, Placement, Reading, Span, crop_offset, hull, joined
from fcnviz.errors import GeometryError, InputError
from fcnviz.geometry.links import Link, Track, carries_pixels, links, maps_of, shares_memory, writes
from fcnviz.nested import leaves
from fcnviz.records import ByName, Shape, Source, Step, Trace

NAMES = {1: "L", 2: "HW", 3: "DHW"}
IMAGE = Source(-1, 0)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the image after one step.

    Attributes:
        name: H or W; L on a line, D, H or W in a volume.
        pixels: size of the image.
        track: where it lies in the tensor, and its cells.
        placement: where the cells lie on the image; None if they have no one place there.
        reason: why not; "" for a step that is placed.
        offset: for maps that meet and do not lie on each other, the cells to cut from the start of the first; negative
            where the second is the one to cut. None elsewhere, and where their cells are not equally far apart.
        shared: what every cell sees, wherever it lies, of a map made of one cell: it lies where the map does that it
            meets. None elsewhere.
    """

    name: str
    pixels: int
    track: Track
    placement: Placement | None
    reason: str = ""
    offset: Fraction | None = None
    shared: Span | None = None

    @property
    def size(self) -> int:
        """Cells along this axis."""
        return self.track.size


@dataclass(frozen=True, slots=True)
class Located:
    """A step, and where its cells lie; of a step with several outputs the first.

    Attributes:
        axes: for each axis of the image. Empty for a step whose cells can't be followed, or that sees no pixel.
        reason: why there are none; "" if there are.
    """

    index: int
    name: str
    kind: str
    axes: tuple[Axis, ...]
    reason: str = ""

    @property
    def size(self) -> tuple[int, ...]:
        """Cells along each axis of the image."""
        return tuple(axis.size for axis in self.axes)

    @property
    def placements(self) -> tuple[Placement, ...]:
        """The placement along each axis.

        Raises:
            GeometryError: a step without one; the sentence is the reason.
        """
        reasons = [self.reason, *(axis.reason for axis in self.axes)]
        if not self.axes or any(reasons):
            raise GeometryError(f"{self.name} ({self.kind}) has no place on the image: {next(filter(None, reasons))}")
        return tuple(axis.placement for axis in self.axes if axis.placement is not None)


@dataclass(frozen=True, eq=False)
class Region:
    """What one cell of a step sees of the image.

    Attributes:
        step: name of the step.
        cell: its place along each axis.
        unclipped: first and last pixel along each axis, outside the image too, if maps had no end. None for a step
            without a placement; an axis is None where such a cell sees nothing. Padding that mirrors or repeats a map
            puts other pixels there, which `clipped` counts where they are.
        clipped: first and last pixel that the cell reads of this image; None if it reads none.
        pixels: True for each pixel that it reads; inside `clipped` there may be holes.
    """

    step: str
    cell: tuple[int, ...]
    unclipped: tuple[Span | None, ...] | None
    clipped: tuple[Span, ...] | None
    pixels: NDArray[np.bool_] = field(repr=False)

    def __str__(self) -> str:
        from fcnviz.geometrytable import of_region

        return of_region(self)


@dataclass(frozen=True, slots=True)
class _Way:
    """An input that carries pixels, and which of its cells are read along each axis."""

    source: Source
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """What is known of one output: its axes, and the ways back from it. Or why nothing is."""

    axes: tuple[Axis, ...] = ()
    ways: tuple[_Way, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Geometry(ByName[Located]):
    """Where the cells of every step of a trace lie on the image.

    `found[3]` and `found["conv1"]` give a step; `print(found)` and a notebook write the table.

    Attributes:
        model: class name of the traced model.
        image: pixels along each axis.
        steps: every step of the trace, in its order.
    """

    model: str
    image: tuple[int, ...]
    steps: tuple[Located, ...]
    _found: Mapping[Source, _Found] = field(repr=False, compare=False)

    def region(self, step: str | int, cell: Sequence[int] | None = None) -> Region:
        """What a cell of a step sees of the image; the middle one if none is named.

        Raises:
            InputError: no such step, or no such cell.
            GeometryError: a step on whose way from the image there is one whose reads are not known.

        >>> from torch import nn
        >>> from fcnviz import trace
        >>> found = geometry(trace(nn.Conv2d(1, 1, 3, padding=1), (1, 1, 8, 9)))
        >>> region = found.region(0, (0, 4))
        >>> [(str(span.first), str(span.last)) for span in region.unclipped]
        [('-1', '1'), ('3', '5')]
        >>> int(region.pixels.sum())
        6
        """
        located = self._step(step)
        if not located.axes:
            raise GeometryError(f"{located.name} ({located.kind}) has no regions: {located.reason}")
        place = tuple(size // 2 for size in located.size) if cell is None else _cell(cell, located)
        pixels = self._pixels(located, place)
        return Region(located.name, place, _unclipped(located, place), _box(pixels), pixels)

    def _step(self, step: str | int) -> Located:
        try:
            found = self[step]
        except (KeyError, IndexError, TypeError) as error:
            names = ", ".join(one.name for one in self.steps)
            raise InputError(f"step {step!r} was asked for; there are {len(self)} steps: {names}") from error
        if not isinstance(found, Located):
            raise InputError(f"steps {step} were asked for; a region is what a cell of one step sees")
        return found

    def _pixels(self, located: Located, cell: tuple[int, ...]) -> NDArray[np.bool_]:
        """Backwards from a cell: of each map the cells that reach it, at last of the image."""
        masks = {Source(located.index, 0): _only(located.size, cell)}
        pixels = np.zeros(self.image, dtype=bool)
        while masks:
            source = max(masks)  # the latest step: all that read it have been seen
            mask = masks.pop(source)
            if source == IMAGE:
                pixels = mask
                continue
            for way in self._found[source].ways:
                before = self.image if way.source == IMAGE else tuple(a.size for a in self._found[way.source].axes)
                masks[way.source] = masks.get(way.source, False) | _read(mask, way.readings, before)
        return pixels

    def __str__(self) -> str:
        from fcnviz.geometrytable import text  # a record knows that a table exists, never how one looks

        return text(self)

    def _repr_html_(self) -> str:
        from fcnviz.geometrytable import html

        return html(self)


def geometry(found: Trace) -> Geometry:
    """Where the cells of every step lie on the image, the first input of the trace, N×C× one to three sizes.

    Tensors that carry no pixels (positions, other inputs) move no cell. What batch normalisation reads is
    what it reads in the mode that was traced; in eval mode its means are constants.

    Raises:
        InputError: something else than a trace; a first input that is no image.

    >>> from torch import nn
    >>> from fcnviz import trace
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 14 * 14, 10))
    >>> rows, columns = geometry(trace(net, (1, 3, 32, 32)))["3"].placements
    >>> print(rows.jump, rows.start, rows.field)
    2 31/2 32
    """
    given: object = found
    if not isinstance(given, Trace):
        words = "geometry(trace(model, (1, 3, 256, 256)))"
        raise InputError(f"geometry was given {type(given).__name__}; it reads a trace: {words}")
    shape = found.input_shapes[0]
    if len(shape) - 2 not in NAMES:
        raise InputError(f"the first input is {_by(shape) or 'one number'}; an image N×C×H×W has cells to place")
    image = tuple(shape[2:])
    known: dict[Source, _Found] = {IMAGE: _Found(_of_image(image))}
    shares = written = False
    for step in found:
        written |= shares and writes(step)
        shares |= shares_memory(step)
        known.update(_outputs(step, known, found, written))
    return Geometry(found.model, image, tuple(_located(step, known) for step in found), known)


def _of_image(image: tuple[int, ...]) -> tuple[Axis, ...]:
    names = NAMES[len(image)]
    return tuple(Axis(names[i], n, Track(i + 2, n), PIXELS) for i, n in enumerate(image))


def _located(step: Step, known: Mapping[Source, _Found]) -> Located:
    found = known.get(Source(step.index, 0), _Found(reason="it sees no pixel of the image"))
    return Located(step.index, step.name, step.kind, found.axes, found.reason)


def _outputs(
    step: Step, known: Mapping[Source, _Found], found: Trace, written: bool
) -> Iterator[tuple[Source, _Found]]:
    """What becomes known by one step, for each of its outputs; nothing if no pixel comes in.

    Once a part of a map has been written into, a tensor that no step made may be the map, and hold pixels.
    """
    given = [source if source in known and carries_pixels(step) else None for source in step.sources]
    number_of_outputs = sum(1 for _ in leaves(step.output_shape, Shape))
    if found.failure and step is found.failure.step:
        yield Source(step.index, 0), _Found(reason="it failed")
    elif written and None in maps_of(step) and carries_pixels(step):
        for number in range(number_of_outputs):
            yield Source(step.index, number), _Found(reason=_WRITTEN)
    elif any(given):
        for number in range(number_of_outputs):
            yield Source(step.index, number), _output(step, number, given, known, found)


def _output(
    step: Step, number: int, given: Sequence[Source | None], known: Mapping[Source, _Found], trace: Trace
) -> _Found:
    lost = next((source for source in given if source and not known[source].axes), None)
    if lost is not None:
        return _Found(reason=_after(known[lost].reason, _name(lost, trace)))
    try:
        tracks = [None if source is None else tuple(axis.track for axis in known[source].axes) for source in given]
        found = links(step, number, tracks)
    except GeometryError as error:
        return _Found(reason=str(error))
    ways = [
        _Way(source, tuple(link.readings[i] or SAME for link in found))
        for i, source in enumerate(given)
        if source is not None
    ]
    inputs = {source: known[source].axes for source in given if source is not None}
    names = {source: _name(source, trace) for source in inputs}
    before = [{source: axes[i] for source, axes in inputs.items()} for i in range(len(found))]
    return _Found(tuple(_placed(link, way, names, given) for link, way in zip(found, before, strict=True)), tuple(ways))


_WRITTEN = "it reads a map of which a part was written in place, after which no step tells what stands there"


def _after(reason: str, name: str) -> str:
    return reason if reason.startswith("comes after ") else f"comes after {name}"


def _name(source: Source, trace: Trace) -> str:
    return "the image" if source.step < 0 else trace[source.step].name


def _placed(
    link: Link, before: Mapping[Source, Axis], names: Mapping[Source, str], given: Sequence[Source | None]
) -> Axis:
    """One axis after a step: each input's placement carried on, and where several meet, all on each other."""
    first = next(iter(before.values()))
    axis = Axis(first.name, first.pixels, link.track, None)
    for source, one in before.items():
        if one.placement is None and one.shared is None:
            return _without(axis, _after(one.reason, names[source]))
    ways = [(source, reading) for source, reading in zip(given, link.readings, strict=True) if source and reading]
    shared = hull(_everywhere(before[source], reading) for source, reading in ways)
    try:
        carried = [
            (names[source], place.read(reading))
            for source, reading in ways
            if (place := before[source].placement) is not None and reading is not SPREAD
        ]
    except GeometryError as error:
        return _without(axis, str(error))
    if not carried:
        return replace(_without(axis, SPREAD.reason), shared=shared)
    met = _met(axis, carried)
    return met if met.placement is None else replace(met, placement=met.placement.sharing(shared))


def _everywhere(axis: Axis, reading: Reading) -> Span | None:
    """What every cell sees of an input, wherever it lies."""
    return axis.shared if axis.placement is None else axis.placement.everywhere(reading.everywhere)


def _without(axis: Axis, reason: str, offset: Fraction | None = None) -> Axis:
    return Axis(axis.name, axis.pixels, axis.track, None, reason, offset)


def _met(axis: Axis, carried: Sequence[tuple[str, Placement]]) -> Axis:
    """All that meet in one step; the first two that do not lie on each other leave it without a place."""
    (name, whole), *others = carried
    for other, placement in others:
        if whole.jump != placement.jump:
            return _without(axis, f"cells of {name} are {whole.jump} pixels apart, those of {other} {placement.jump}")
        if offset := crop_offset(whole, placement):
            return _without(axis, _off(name, other, offset), offset)
        whole = joined(whole, placement)
    return Axis(axis.name, axis.pixels, axis.track, whole)


def _off(one: str, other: str, offset: Fraction) -> str:
    if offset.denominator > 1:
        return f"{one} and {other} lie {abs(offset)} of a cell apart, which no cut mends"
    first, second = (one, other) if offset > 0 else (other, one)
    cells = f"{abs(offset)} cell{'s' * (abs(offset) != 1)}"
    return f"{first} begins {cells} before {second}: cut {cells} from the start of {first}"


# Backwards


def _cell(asked: Sequence[int], located: Located) -> tuple[int, ...]:
    try:
        place = tuple(operator.index(i) for i in asked)
    except TypeError:
        place = ()
    if len(place) != len(located.size) or any(not 0 <= i < n for i, n in zip(place, located.size, strict=True)):
        told = tuple(asked) if isinstance(asked, tuple | list) else repr(asked)
        raise InputError(f"cell {told} of {located.name} was asked for; there are {_by(located.size)}, from 0")
    return place


def _only(size: tuple[int, ...], cell: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=bool)
    mask[cell] = True
    return mask


def _read(mask: NDArray[np.bool_], readings: Sequence[Reading], sizes: Sequence[int]) -> NDArray[np.bool_]:
    """The cells of an input that the marked cells read, axis by axis."""
    for axis, (reading, size) in enumerate(zip(readings, sizes, strict=True)):
        if reading is not SAME or size != mask.shape[axis]:
            mask = _read_along(mask, axis, reading, size)
    return mask


def _read_along(mask: NDArray[np.bool_], axis: int, reading: Reading, size: int) -> NDArray[np.bool_]:
    across = np.moveaxis(mask, axis, 0)
    found = np.zeros((size, *across.shape[1:]), dtype=bool)
    for cell in np.flatnonzero(across.reshape(len(across), -1).any(axis=1)):
        for read in reading.within(int(cell), size):
            found[read] |= across[cell]
    if len(reading.everywhere):
        found |= across.any(axis=0)  # whichever cell it is, it reads all of these
    return np.moveaxis(found, 0, axis)


def _box(pixels: NDArray[np.bool_]) -> tuple[Span, ...] | None:
    if not pixels.any():
        return None
    rows = [
        np.flatnonzero(pixels.any(axis=tuple(a for a in range(pixels.ndim) if a != axis)))
        for axis in range(pixels.ndim)
    ]
    return tuple(Span(Fraction(int(row[0])), Fraction(int(row[-1]))) for row in rows)


def _unclipped(located: Located, cell: tuple[int, ...]) -> tuple[Span | None, ...] | None:
    placed = [axis.placement for axis in located.axes if axis.placement is not None]
    if len(placed) < len(cell):
        return None
    return tuple(placement.region(i) for placement, i in zip(placed, cell, strict=True))


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))

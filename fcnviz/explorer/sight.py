"""How many pixels a cell of each step sees, and how far apart cells lie: where no size of the image changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fcnviz.errors import GeometryError
from fcnviz.geometry import Axis, Located, geometry
from fcnviz.geometrytable import number
from fcnviz.law import Law
from fcnviz.records import Trace

__all__ = ["Sight", "seen"]


@dataclass(frozen=True, slots=True)
class Sight:
    """What a cell sees: as a sentence, and in pixels on each axis of the image."""

    words: str
    field: tuple[float, ...]


def seen(found: Law) -> dict[str, Sight]:
    """The sight of each step of the main path; none for a step whose cells see more of a larger image.

    >>> from torch import nn
    >>> from fcnviz import law
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.MaxPool2d(2))
    >>> seen(law(net, (1, 3, "H", "W"), within=40))["1"]
    Sight(words='each cell sees 6×6 pixels of the image; cells lie 2 pixels apart', field=(6, 6))
    """
    small, large = map(_places, _traces(found))
    return {name: _sight(step) for name, step in large.items() if name in small and _alike(step, small[name])}


def _traces(found: Law) -> tuple[Trace, Trace]:
    """The main path at two sizes: its start and its largest, or its smallest where those share a height or width."""
    places = np.argwhere(found.region == found.paths.index(found.main))
    sums = places.sum(1)
    smallest, largest = (
        dict(zip(found.names, map(int, places[i]), strict=True)) for i in (sums.argmin(), sums.argmax())
    )
    start = found.main.start
    apart = all(start[name] != largest[name] for name in found.names)
    return found.at(**(start if apart else smallest)), found.at(**largest)


def _places(one: Trace) -> dict[str, Located]:
    """The steps whose cells have a place on the image, and all see as much."""
    try:
        steps = tuple(geometry(one))
    except GeometryError:
        return {}
    return {step.name: step for step in steps if step.axes and all(map(_has_one_field, step.axes))}


def _has_one_field(axis: Axis) -> bool:
    return axis.placement is not None and len(set(axis.placement.fields)) == 1


def _alike(one: Located, other: Located) -> bool:
    return _numbers(one) == _numbers(other)


def _numbers(step: Located) -> list[tuple[str, str]]:
    return [(number(place.field), number(place.jump)) for place in step.placements]


def _sight(step: Located) -> Sight:
    exact = [place.field for place in step.placements]
    return Sight(_words(step), tuple(int(field) if field == int(field) else float(field) for field in exact))


def _words(step: Located) -> str:
    fields, jumps = zip(*_numbers(step), strict=True)
    pixels = "pixel" if set(fields) == {"1"} else "pixels"
    far = jumps[0] if len(set(jumps)) == 1 else _by(jumps)
    apart = "" if max(step.size) == 1 else f"; cells lie {far} {'pixel' if far == '1' else 'pixels'} apart"
    return f"each cell sees {_by(fields)} {pixels} of the image{apart}"


def _by(words: Sequence[str]) -> str:
    return "×".join(words)

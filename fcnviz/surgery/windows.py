"""Whether a cell of the dense net depends on its own window of the image alone: said in words.

Two traces of the dense net are compared, at the size that the classifier was made for and at a larger one, since a
number that was computed from a size changes with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from fcnviz.errors import SurgeryError
from fcnviz.records import Failure, Shape, Step, Trace
from fcnviz.surgery.places import Effect, Finding, Places, called, followed, order_of, place_of

_TOLD: dict[Effect, tuple[str, str]] = {
    "whole": ("{} looks at the whole map", "{} look at the whole map"),
    "size": ("{} computes with the size of the map", "{} compute with the size of the map"),
    "own": ("{} brings numbers of its own to each place", "{} bring numbers of their own to each place"),
    "unknown": ("fcnviz does not know what {} does with places", "fcnviz does not know what {} do with places"),
}
_NAMED = 3


def explained(failure: Failure) -> str:
    """What torch says, and what it means, where it means two sizes that do not match."""
    has_sizes = failure.step.operation == "linear" and failure.explanation
    return f"{failure.message}; {failure.explanation}" if has_sizes else failure.message


def beyond_windows(model: str, at: Trace, grown: Trace, statistics: Collection[str] = ()) -> str:
    """What of the dense net looks beyond its window, in a sentence; "" if nothing does.

    Args:
        model: its name.
        at, grown: traces of the dense net at its own size and at a larger one.
        statistics: paths of norms that take mean and variance from the map itself.

    Raises:
        SurgeryError: a step moves places, so that the map is not the classifier's at all.
    """
    places = followed(grown, statistics)
    found = [*places.findings, *_by_size(at, grown)]
    _check_moves(model, places)
    _check_end(model, grown, places)
    if not found:
        return ""
    parts = [_said(words, [f.step for f in found if f.effect == effect]) for effect, words in _TOLD.items()]
    what = "; ".join(filter(None, parts))
    sure = "is then not" if {finding.effect for finding in found} - {"unknown"} else "may then not be"
    return f"{model} is cast, but {what}: a cell of the dense map {sure} what {model} says of that window alone"


def check_moves(model: str, at: Trace) -> None:
    """Refuses a step that moves places, before a larger map breaks it with another reason."""
    _check_moves(model, followed(at))


def _check_moves(model: str, places: Places) -> None:
    for finding in places.findings:
        if finding.effect == "moves":
            raise SurgeryError(f"{model} cannot be cast: {called(finding.step)}: {finding.why}")


def _said(words: tuple[str, str], steps: Sequence[Step]) -> str:
    names = list(dict.fromkeys(map(called, steps)))
    if not names:
        return ""
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    *most, last = [*names[:_NAMED], *more]
    return words[len(names) > 1].format(f"{', '.join(most)} and {last}" if most else last)


def _check_end(model: str, grown: Trace, places: Places) -> None:
    """Refuses a map that comes out with rows for columns."""
    consumed = {source for step in grown for source in step.sources}
    for axes in (axes for source, axes in places.axes.items() if source not in consumed and axes is not None):
        if [place_of(axis) for axis in axes][-2:] == ["w", "h"]:
            step = called(places.turned[-1]) if places.turned else model
            raise SurgeryError(f"{model} cannot be cast: {step}: its map comes out as {order_of(axes)}")


def _by_size(at: Trace, grown: Trace) -> Iterator[Finding]:
    """Steps whose settings follow the size of the map."""
    if [step.name for step in at] != [step.name for step in grown]:
        other = next((b for a, b in zip(at, grown, strict=False) if a.name != b.name), grown[-1])
        yield Finding(other, "size")
        return
    for small, large in zip(at, grown, strict=True):
        if small.sources and _by_numbers(small) != _by_numbers(large):
            yield Finding(large, "size")


def _by_numbers(step: Step) -> object:
    """What of a step may not change with the size of its map."""
    settings = step.settings
    if step.operation == "interpolate" and isinstance(step.output_shape, Shape):
        return [(b // a, a // b) for a, b in zip(step.input_shapes[0], step.output_shape, strict=True)][2:]
    return step.window, settings.get("numbers"), settings.get("pads")

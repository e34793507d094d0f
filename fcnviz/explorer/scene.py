"""Networks → the scene: everything the picture shows at any size, as one piece of JSON. Nothing in it is code.

A lane is one network. Its law travels as `lawdata` writes it, and what is said of a step or a failure as templates; so
the picture moves without Python. A network that no law follows has traces of single sizes in place of it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from torch import nn

from fcnviz import expressions, lawdata, lawtable, models, templates
from fcnviz.errors import InputError, LawError
from fcnviz.explorer.sight import seen
from fcnviz.explorer.wording import Said, Wording, sums
from fcnviz.law import Law, law
from fcnviz.nested import leaves
from fcnviz.palette import colours
from fcnviz.progress import progress
from fcnviz.records import Failure, Output, Shape, Step, Trace
from fcnviz.table import window_text
from fcnviz.trace import trace

__all__ = ["Heard", "Lane", "frozen", "grown", "lanes", "scene"]

WITHIN = 2048
PHOTO = (500, 375)  # the usual size of a photo in PASCAL VOC
NAMES = ("H", "W")


@dataclass(frozen=True)
class Heard:
    """What has been put into words, which takes seconds: of each network, and of the first layers that they share."""

    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lane:
    """One network: its law, or the reason why there is none."""

    label: str
    model: nn.Module
    shape: tuple[Any, ...]
    law: Law | None
    reason: str = ""
    heard: Heard = field(default_factory=Heard, compare=False, repr=False)

    def traced(self, size: tuple[int, int]) -> Trace:
        at = dict(zip(NAMES, size, strict=True))
        return self.law.at(**at) if self.law else trace(self.model, tuple(at.get(n, n) for n in self.shape))


def lanes(asked: Any, channels: int | None, within: int) -> tuple[Lane, ...]:
    """The networks asked for, each with its law: one, or a dict of label: network; VGG16 with two heads if None."""
    if asked is None:
        return _vgg16_twice(3 if channels is None else channels, within)
    if isinstance(asked, nn.Module):
        asked = {type(asked).__name__: asked}
    if not isinstance(asked, Mapping) or not 1 <= len(asked) <= 3:
        raise InputError(f"the explorer shows a network, or a dict of one to three, and was given {asked!r:.80}")
    heard, shape = Heard(), (1, _taken(asked.values()) if channels is None else channels, *NAMES)
    with _collecting_later():
        return tuple(_lane(str(label), model, shape, within, heard) for label, model in asked.items())


def _taken(models: Iterable[Any]) -> int:
    """The channels of the image that the first convolution takes, else those of a colour image."""
    parts = (part for model in models if isinstance(model, nn.Module) for part in model.modules())
    return next((part.in_channels for part in parts if isinstance(part, nn.Conv2d) and part.in_channels > 0), 3)


@lru_cache(maxsize=2)
def _vgg16_twice(channels: int, within: int) -> tuple[Lane, ...]:
    """Kept, since nobody else holds these networks: running the cell again costs nothing."""
    return lanes({"Linear head": models.vgg16("linear"), "Convolutional head": models.vgg16("conv")}, channels, within)


@contextmanager
def _collecting_later() -> Iterator[None]:
    """A law makes formulas by the ten thousand, and to look for garbage goes through all of torch each time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _lane(label: str, model: nn.Module, shape: tuple[Any, ...], within: int, heard: Heard) -> Lane:
    try:
        found = law(model, shape, within=within)
    except LawError as error:
        return Lane(label, model, shape, None, str(error).removeprefix("no law: "))
    if found.covered < 1:
        share = f"{100 * found.covered:.0f} % of the sizes"
        return Lane(label, model, shape, None, f"it does so many different things that a law covers {share} only")
    return Lane(label, model, shape, found, heard=heard)


def scene(
    shown: Sequence[Lane], size: tuple[int, int], within: int, presets: Sequence[tuple[int, int]] | None = None
) -> dict[str, Any]:
    """The scene of these lanes, first at `size`."""
    for one in (size, *(presets or ())):
        _check_size(one, within)
    offered = list(dict.fromkeys([size, *(_presets(shown, size, within) if presets is None else presets)]))
    with _collecting_later():
        data = [_lane_json(lane, offered) for lane in shown]
    columns = _merged(map(_names, data))
    return {
        "channels": shown[0].shape[1],
        "size": list(size),
        "within": within,
        "presets": [list(one) for one in offered],
        "columns": columns,
        "stages": _stages(columns, data),
        "lanes": data,
    }


def _check_size(size: Any, within: int) -> None:
    if not (isinstance(size, tuple | list) and len(size) == 2 and all(type(n) is int for n in size)):
        raise InputError(f"a size is two whole numbers, height and width, as (224, 224), and was given as {size!r:.60}")
    if not 1 <= min(size) <= max(size) <= within:
        raise InputError(f"the size {size[0]}×{size[1]} is not within 1 to {within}, the sizes that are decided")


# A lane


def _lane_json(lane: Lane, offered: Sequence[tuple[int, int]]) -> dict[str, Any]:
    start = {"label": lane.label, "reason": lane.reason}
    if lane.law is None:
        traces = {f"{h},{w}": frozen(lane.traced((h, w))) for h, w in offered}
        plan = _plan(one["steps"] for one in traces.values())
        return {**start, "law": None, "traces": traces, "plan": plan}
    told = lane.heard.networks
    if lane.label not in told:
        told[lane.label] = _law_json(lane.law, lane.heard.shared)
    return {**start, **told[lane.label]}


def _law_json(found: Law, known: dict[str, Any]) -> dict[str, Any]:
    """A law with everything that is said about it; `known` is what networks with the same first layers share."""
    data, sights = lawdata.to_json(found), seen(found)
    with progress(len(data["steps"]) + len(data["paths"]), "explorer", "sentences") as advance:
        heard = Wording(found, data, known, advance)
        sums_of, said_of = heard.sums(), heard.failures()
    steps = [
        _slim(row, step, words) for row, step, words in zip(data["steps"], _steps(found, data), sums_of, strict=True)
    ]
    paths = [
        {"if": path["condition"], "steps": path["steps"], "output": path["output"], "said": _said_json(said)}
        for path, said in zip(data["paths"], said_of, strict=True)
    ]
    main = found.paths.index(found.main)
    order = sorted(data["paths"], key=lambda path: path is not data["paths"][main])
    places = _merged_by([(steps[i]["name"], i) for i in path["steps"]] for path in order)
    return {
        "law": {"shapes": data["shapes"], "steps": steps, "paths": paths},
        "outcomes": _outcomes(found),
        "plan": list(places.values()),
        "sights": {
            place: [sights[name].words, list(sights[name].field)]
            for place in data["paths"][main]["steps"]
            if (name := steps[place]["name"]) in sights
        },
    }


def _steps(found: Law, data: Mapping[str, Any]) -> list[Step]:
    """For each step of the JSON the step with formulas."""
    steps: dict[int, Step] = {}
    for path, row in zip(found.paths, data["paths"], strict=True):
        steps.update(zip(row["steps"], path.formulas, strict=True))
    return [steps[place] for place in range(len(data["steps"]))]


_KEPT = ("name", "kind", "operation", "params", "macs", "inputs", "output", "weights", "window")


def _slim(row: Mapping[str, Any], step: Step, words: templates.Text | None) -> dict[str, Any]:
    """A step as the picture needs it."""
    return {
        **{key: row[key] for key in _KEPT if key in row},
        "says": window_text(_plain(step)),
        "formula": _formula(step),
        "sums": None if words is None else templates.to_json(words),
    }


def _formula(step: Step) -> str:
    """The shapes as formulas of H and W; "" where the step fails and there is nothing to come to."""
    made = " and ".join(lawtable.written(shape) for shape in step.input_shapes)
    return f"{made} → {lawtable.written(step.output_shape)}" if step.output_shape is not None else made


def _plain(step: Step) -> Step:
    """Settings that are formulas spelled out."""
    return replace(step, settings=_spelled(step.settings))


def _spelled(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _spelled(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_spelled, value))
    return expressions.text(value.tree) if hasattr(value, "tree") else value


def _said_json(said: Said | None) -> Any:
    if said is None:
        return None
    plain = {**_failure_json(said.plain), "at": list(said.at.values())}
    if said.message is None or said.explanation is None:
        return plain
    told = {"message": templates.to_json(said.message), "explanation": templates.to_json(said.explanation)}
    if not all(said.remedies):
        return {**plain, **told}  # the ways out are those at one size, and the picture says so
    remedies = [templates.to_json(text) for text in said.remedies if text is not None]
    return {**told, "remedies": remedies, "where": said.plain.where}


def _failure_json(failure: Failure) -> dict[str, Any]:
    """What is said at one size."""
    return {
        "message": [failure.message],
        "explanation": [failure.explanation],
        "remedies": [[remedy] for remedy in failure.remedies],
        "where": failure.where,
    }


def frozen(seen: Trace) -> dict[str, Any]:
    """A trace in the form of a law that holds at its own size only."""
    shapes: list[list[int]] = []
    steps = [_frozen_step(step, shapes) for step in seen]
    path = {
        "if": True,
        "steps": list(range(len(steps))),
        "output": _output(seen.output_shape, shapes),
        "said": seen.failure and _failure_json(seen.failure),
    }
    return {"shapes": shapes, "steps": steps, "paths": [path]}


def _frozen_step(step: Step, shapes: list[list[int]]) -> dict[str, Any]:
    window = step.window
    return {
        "name": step.name,
        "kind": step.kind,
        "operation": step.operation,
        "params": step.params,
        "macs": step.macs,
        "inputs": [_place(shape, shapes) for shape in step.input_shapes],
        "output": _output(step.output_shape, shapes),
        "weights": [[name, list(shape)] for name, shape in step.weights],
        "window": window and {name: getattr(window, name) for name in ("kernel", "stride", "pads", "dilation")},
        "says": window_text(step),
        "sums": [sums(step)],
    }


def _place(shape: Shape, shapes: list[list[int]]) -> int:
    shapes.append(list(shape))
    return len(shapes) - 1


def _output(output: Output, shapes: list[list[int]]) -> Any:
    if isinstance(output, Shape):
        return _place(output, shapes)
    found = [_place(shape, shapes) for shape in leaves(output, Shape)]
    return {"tuple": found} if found else None


def _outcomes(found: Law) -> list[dict[str, Any]]:
    """What becomes of which sizes, with the colours of the figures."""
    ends = [one for one in lawtable.outcomes(found) if one.count]
    runs = sum(one.step is None for one in ends)
    blue, brown = map(iter, colours(runs, len(ends) - runs))
    return [
        {
            "runs": one.step is None,
            "name": "" if one.step is None else one.step.name,
            "output": lawtable.written(one.output) if one.step is None else "",
            "rule": "" if one.condition in (None, True) else expressions.text(one.condition),
            "sizes": one.sizes,
            "colour": next(blue if one.step is None else brown),
            "paths": list(one.paths),
            "count": one.count,
            "first": _first(found, one.paths),
        }
        for one in ends
    ]


def _first(found: Law, paths: Sequence[int]) -> list[int]:
    """The size on one of these paths that needs the smallest range; of several, the one nearest to a square."""
    chosen = np.zeros(len(found.paths), bool)
    chosen[list(paths)] = True
    sides = range(1, len(found.region))
    rings = ((n, chosen[found.region[n, n:0:-1]], chosen[found.region[n:0:-1, n]]) for n in sides)
    most, high, wide = next(ring for ring in rings if (ring[1] | ring[2]).any())
    least = most - int((high | wide).argmax())
    return [most, least] if high[most - least] else [least, most]


# Columns and stages


def grown(data: Mapping[str, Any], place: int, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The scene with the steps that a lane without a law takes at yet another size; itself, if none is new."""
    own = data["lanes"][place]
    plan = _plan([own["plan"], steps])
    if len(plan) == len(own["plan"]):
        return dict(data)
    rows = [{**one, "plan": plan} if one is own else one for one in data["lanes"]]
    columns = _merged(map(_names, rows))
    return {**data, "columns": columns, "stages": _stages(columns, rows), "lanes": rows}


def _planned(lane: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All steps of a lane in one order: a plan has them, or where there is a law their places in it."""
    return [lane["law"]["steps"][place] for place in lane["plan"]] if lane["law"] else lane["plan"]


def _names(lane: Mapping[str, Any]) -> list[str]:
    return [step["name"] for step in _planned(lane)]


def _plan(orders: Iterable[Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """All steps in one order; those with fewer are sorted into those with more."""
    longest = sorted(orders, key=len, reverse=True)
    return list(_merged_by([(step["name"], step) for step in order] for order in longest).values())


def _merged(orders: Iterable[Iterable[str]]) -> list[str]:
    """All names in one order, each new one after the name it follows; what shares no name comes last."""
    return list(_merged_by([(name, name) for name in order] for order in orders).values())


def _merged_by(orders: Iterable[Iterable[tuple[str, Any]]]) -> dict[str, Any]:
    names: list[str] = []
    first: dict[str, Any] = {}
    for order in map(list, orders):
        place = 0 if any(name in first for name, _ in order) else len(names)
        for name, value in order:
            if name not in first:
                names.insert(place, name)
                first[name] = value
            place = names.index(name) + 1
    return {name: first[name] for name in names}


_SHRINKS = ("max_pool", "avg_pool", "lp_pool", "adaptive_pool")


def _stages(columns: Sequence[str], data: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring columns of one container; a pooling ends a stage."""
    ends = {step["name"] for one in data for step in _planned(one) if step.get("operation") in _SHRINKS}
    groups: list[list[str]] = []
    for name in columns:
        if not groups or groups[-1][-1] in ends or _home(groups[-1][-1]) != _home(name):
            groups.append([])
        groups[-1].append(name)
    return [{"label": _stage_label(group), "columns": len(group)} for group in groups]


def _home(name: str) -> str:
    return name.split(".")[0] if "." in name else ""


def _stage_label(names: Sequence[str]) -> str:
    home = _home(names[0])
    inner = [name.removeprefix(f"{home}.") for name in names]
    ends = inner[0] if len(inner) == 1 else f"{inner[0]}–{inner[-1]}"
    return f"{home} {ends}".strip() if all(part.isdigit() for part in inner) or not home else home


# Presets


def _presets(shown: Sequence[Lane], size: tuple[int, int], within: int) -> list[tuple[int, int]]:
    """Sizes at which something happens to these networks: a larger square that ends otherwise, a photo, a strip."""
    laws = [lane.law for lane in shown if lane.law is not None]
    larger = next((n for n in range(max(size) + 1, within + 1) if _turns(laws, (n, n), size)), None)
    found = [size]
    if larger:
        found += [(larger, larger), (size[0], larger)]
    if PHOTO[0] <= within and min(PHOTO) >= min(size):
        found += [PHOTO]
    return [*found, *_strip(laws), *_rescues(laws, found)]


def _rescues(laws: Sequence[Law], found: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """For each network that runs at none of these sizes the first one that it takes."""
    for one in laws:
        if one.accepted.any() and not any(_runs(one, size) for size in found):
            high, wide = _first(one, [i for i, path in enumerate(one.paths) if path.failure is None])
            yield high, wide


def _turns(laws: Sequence[Law], one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a network's verdict is another one at another size."""
    return any(_runs(found, one) != _runs(found, other) for found in laws)


def _runs(found: Law, size: tuple[int, int]) -> bool:
    return bool(found.accepted[size])


def _strip(laws: Sequence[Law]) -> list[tuple[int, int]]:
    """The longest image that one network takes and another refuses."""
    for found in laws:
        tall, flat = np.nonzero(found.accepted)
        if len(tall):
            i = int(np.argmax(tall / flat))
            place = (int(tall[i]), int(flat[i]))
            first = _first_like(found, place)
            if first[0] > 4 * first[1] and any(not _runs(other, first) for other in laws):
                return [first]
    return []


def _first_like(found: Law, place: tuple[int, int]) -> tuple[int, int]:
    """The smallest size of the rectangle that holds a size and is accepted."""
    height, width = place
    while width > 1 and found.accepted[height, width - 1]:
        width -= 1
    while height > 1 and found.accepted[height - 1, width]:
        height -= 1
    return height, width

"""A law as plain JSON, for whoever evaluates it without Python, and back again.

Steps, shapes and trees that several paths share are written once and named by their place in a list. Nothing in it
is code: a tree is a number, a name or a list that begins with an operator (see `expressions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from fcnviz import expressions
from fcnviz.errors import LawError
from fcnviz.records import Output, Shape, Source, Step, Weight, Window

if TYPE_CHECKING:
    from fcnviz.law import Law, Path

VERSION = 1


@dataclass
class _Table:
    """A list in which equal things stand once."""

    rows: list[Any] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def place(self, row: Any) -> int:
        key = repr(row)
        if key not in self.places:
            self.places[key] = len(self.rows)
            self.rows.append(row)
        return self.places[key]


def to_json(law: Law) -> dict[str, Any]:
    """Everything the law knows of its paths: conditions, steps with shapes as trees, the step that fails.

    The map of accepted sizes is not in it: it follows from the conditions.
    """
    shapes, steps = _Table(), _Table()
    paths = [_path(path, shapes, steps) for path in law.paths]
    return {
        "version": VERSION,
        "model": law.model,
        "mode": law.mode,
        "names": list(law.names),
        "within": dict(law.within),
        "covered": law.covered,
        "inputs": [list(s) for s in law.asked.shapes],
        "shapes": shapes.rows,
        "steps": steps.rows,
        "paths": paths,
    }


def _path(path: Path, shapes: _Table, steps: _Table) -> dict[str, Any]:
    failure = path.failure and {"message": path.failure.message, "at": dict(path.start)}
    return {
        "condition": expressions.to_json(path.condition),
        "steps": [steps.place(_step(step, shapes)) for step in path.formulas],
        "output": _output(path.output, shapes),
        "count": path.count,
        "failure": failure,
    }


def _shape(shape: Shape, shapes: _Table) -> int:
    return shapes.place([expressions.to_json(size) for size in shape])


def _output(output: Output, shapes: _Table) -> Any:
    """A shape's place; `{"tuple": …}` and `{"dict": …}` around several."""
    if isinstance(output, Shape):
        return _shape(output, shapes)
    if isinstance(output, tuple):
        parts: tuple[Any, ...] = output
        return {"tuple": [_output(part, shapes) for part in parts]}
    return {"dict": {key: _output(part, shapes) for key, part in output.items()}} if output is not None else None


def _step(step: Step, shapes: _Table) -> dict[str, Any]:
    """A step without what is empty: most have no window, no weights, no settings."""
    row = {
        "index": step.index,
        "name": step.name,
        "path": step.path,
        "kind": step.kind,
        "call": step.is_call,
        "operation": step.operation,
        "params": step.params,
        "macs": expressions.to_json(step.macs),
        "inputs": [_shape(shape, shapes) for shape in step.input_shapes],
        "output": _output(step.output_shape, shapes),
        "sources": [source and list(source) for source in step.sources],
        "weights": [[name, list(shape)] for name, shape in step.weights],
        "window": step.window and {f.name: _setting(getattr(step.window, f.name)) for f in fields(step.window)},
        "settings": {key: _setting(value) for key, value in step.settings.items()},
    }
    return {key: value for key, value in row.items() if value or key in ("index", "name", "output")}


def _setting(value: Any) -> Any:
    """A setting as JSON has it; a slice and an ellipsis are marked, and so is a formula."""
    if isinstance(value, slice):
        return {"slice": [_setting(v) for v in (value.start, value.stop, value.step)]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if hasattr(value, "tree"):
        return {"tree": expressions.to_json(value.tree)}
    if isinstance(value, tuple | list):
        return [_setting(v) for v in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


@dataclass(frozen=True)
class LawData:
    """A law read back from JSON: it evaluates shapes and verdicts, as a page does, and needs no torch.

    >>> data = {"version": 1, "names": ["H"], "shapes": [[1, "H"]], "steps": [{"index": 0, "name": "flatten",
    ...         "output": 0}], "paths": [{"condition": ["≥", "H", 3], "steps": [0], "output": 0, "failure": None}]}
    >>> LawData(data).accepts(H=2), LawData(data).accepts(H=5), LawData(data).steps(H=5)[0].output_shape
    (False, True, (1, 5))
    """

    data: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.data.get("version") != VERSION:
            raise LawError(
                f"this law is written in version {self.data.get('version')!r}; version {VERSION} is read here"
            )

    def path(self, **sizes: int) -> Mapping[str, Any] | None:
        """The path that these sizes take, as JSON; None if the law does not know them."""
        fits = (p for p in self.data["paths"] if expressions.evaluate(expressions.from_json(p["condition"]), sizes))
        return next(fits, None)

    def accepts(self, **sizes: int) -> bool:
        """True if the network runs at these sizes."""
        path = self.path(**sizes)
        return path is not None and path["failure"] is None

    def steps(self, **sizes: int) -> tuple[Step, ...]:
        """The steps at these sizes, as `Law.at` has them."""
        path = self.path(**sizes)
        return () if path is None else tuple(self._step(self.data["steps"][i], sizes) for i in path["steps"])

    def _size(self, json: Any, sizes: Mapping[str, int]) -> Any:
        return expressions.evaluate(expressions.from_json(json), sizes)

    def _shape(self, place: int, sizes: Mapping[str, int]) -> Shape:
        return Shape(self._size(tree, sizes) for tree in self.data["shapes"][place])

    def _output(self, json: Any, sizes: Mapping[str, int]) -> Output:
        if json is None:
            return None
        if isinstance(json, int):
            return self._shape(json, sizes)
        if "tuple" in json:
            return tuple(self._output(part, sizes) for part in json["tuple"])
        return {key: self._output(part, sizes) for key, part in json["dict"].items()}

    def _step(self, row: Mapping[str, Any], sizes: Mapping[str, int]) -> Step:
        return Step(
            index=row["index"],
            name=row["name"],
            path=row.get("path", ""),
            kind=row.get("kind", ""),
            operation=row.get("operation"),
            input_shapes=tuple(self._shape(place, sizes) for place in row.get("inputs", ())),
            output_shape=self._output(row["output"], sizes),
            sources=tuple(source and Source(*source) for source in row.get("sources", ())),
            weights=tuple(Weight(name, Shape(shape)) for name, shape in row.get("weights", ())),
            params=row.get("params", 0),
            macs=self._size(row.get("macs", 0), sizes),
            window=self._window(row.get("window"), sizes),
            settings={key: self._setting(value, sizes) for key, value in row.get("settings", {}).items()},
            is_call=row.get("call", False),
        )

    def _setting(self, json: Any, sizes: Mapping[str, int]) -> Any:
        if isinstance(json, Mapping):
            if "slice" in json:
                return slice(*(self._setting(v, sizes) for v in json["slice"]))
            return Ellipsis if "ellipsis" in json else self._size(json["tree"], sizes)
        return tuple(self._setting(v, sizes) for v in json) if isinstance(json, list) else json

    def _window(self, json: Mapping[str, Any] | None, sizes: Mapping[str, int]) -> Window | None:
        return None if json is None else Window(**{key: self._setting(value, sizes) for key, value in json.items()})

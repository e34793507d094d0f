"""The law of a network: every shape as a formula of named sizes, and exactly which sizes it accepts.

A forward on named sizes (see `symbolic`) holds for every size that meets the conditions it relied on. So: run it at
one size, mark every size that meets its conditions, go on at a size not yet marked, until all are. Each such pass is
a *path*: a condition, the steps as formulas, and a failure or none. Before a path counts, `trace` has to agree with
it at the size it was run at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
from torch import nn

from fcnviz import expressions
from fcnviz.errors import InputError, LawError, RealTensorNeeded
from fcnviz.expressions import Tree
from fcnviz.inputs import Asked, read
from fcnviz.nested import leaves, mapped
from fcnviz.passes import Forms, Guard, Pass, SizeForm, TensorForm, WindowForm, at_size
from fcnviz.progress import progress
from fcnviz.recorder import Operation
from fcnviz.records import Failure, Output, Shape, Step, Trace, Window
from fcnviz.requirements import Requirement, requirements
from fcnviz.trace import by_itself, said, trace
from fcnviz.twin import Parts, parts_of

PATHS = 200  # a model that needs more takes another path at nearly every size: it has no law worth reading
SIZES = 2**20  # how many sizes are decided when the caller names no limit
MOST = 2**26
START = 224


@dataclass(frozen=True)
class Path:
    """One branch of a law: all sizes for which the network does the same.

    Attributes:
        condition: a tree; the sizes that meet it take this path.
        formulas: the steps, with trees in place of sizes.
        output: what the network returns, likewise; None if it fails.
        start: a size on this path, at which `trace` has confirmed it.
        count: how many sizes of the law's range take it.
        failure: why the network stops, at the size `start`; None if it runs.
    """

    condition: Tree
    formulas: tuple[Step, ...]
    output: Output
    start: Mapping[str, int]
    count: int
    failure: Failure | None
    conditions: tuple[Tree, ...] = field(repr=False)  # one for each pass that was merged into this path
    guards: tuple[tuple[Guard, ...], ...] = field(repr=False)  # likewise, in the order they arose
    broken: Operation | None = field(repr=False)
    method: Literal["meta", "fake"] = field(repr=False)  # how `trace` runs these sizes

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps with sympy expressions in place of sizes."""
        value = _Values(expressions.to_sympy)
        return tuple(_sized(step, value) for step in self.formulas)


@dataclass(frozen=True)
class Law:
    """Every shape of a network as a formula of named sizes, and which sizes it accepts.

    Attributes:
        model: class name of the network.
        names: the named axes.
        within: the largest size decided, for each name.
        paths: the branches, those with most sizes first; they do not overlap.
        region: for every size the index of its path in `paths`, or −1; indexed by the sizes themselves
            (`region[256, 256]`), so that the cells of size 0 stand for nothing and hold −1.
        covered: the fraction of the sizes that is decided: 1.0, unless there were too many paths.
    """

    model: str
    names: tuple[str, ...]
    within: Mapping[str, int]
    paths: tuple[Path, ...]
    region: np.ndarray = field(repr=False)
    covered: float
    asked: Asked = field(repr=False)
    mode: Literal["eval", "as is"]
    method: Literal["meta", "fake"]
    parts: Parts = field(repr=False)

    def __str__(self) -> str:
        from fcnviz import lawtable  # a law knows that a table exists, never how one looks

        return lawtable.text(self)

    def _repr_html_(self) -> str:
        from fcnviz import lawtable

        return lawtable.html(self)

    def _repr_latex_(self) -> str:
        from fcnviz import lawtable

        return lawtable.latex(self)

    @cached_property
    def accepted(self) -> np.ndarray:
        """True for every size that the network takes; indexed by size, as `region`."""
        runs = np.array([path.failure is None for path in self.paths] + [False])
        return runs[self.region]

    @cached_property
    def main(self) -> Path:
        """The path to show first: of those that run (of all, if none does) the one that most sizes take."""
        return max(self.paths, key=lambda path: (path.failure is None, path.count))

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the main path, with sympy expressions in place of sizes."""
        return self.main.steps

    @cached_property
    def requirements(self) -> tuple[Requirement, ...]:
        """What the steps ask of the sizes: together they refuse every size that is refused."""
        return tuple(requirements(self))

    @cached_property
    def same_size(self) -> bool:
        """True if the output has the height and width of the input at every accepted size of the range."""
        runs = [(i, path) for i, path in enumerate(self.paths) if path.failure is None]
        return bool(runs) and all(self._keeps_size(i, path.output) for i, path in runs)

    def _keeps_size(self, index: int, output: Output) -> bool:
        given, shapes = self.asked.shapes[0], list(leaves(output, Shape))
        if len(shapes) != 1 or len(shapes[0]) != len(given) or len(given) < 3:
            return False
        places = dict(zip(self.names, np.nonzero(self.region == index), strict=True))
        pairs = zip(shapes[0][2:], given[2:], strict=True)
        return all(_equal(made, size, places) for made, size in pairs)

    def accepts(self, **sizes: int) -> bool:
        """True if the network runs at these sizes. Beyond the range the same conditions decide, or a trace.

        >>> law(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (1, 3, "H", "W"), within=64).accepts(H=1, W=4)
        True
        """
        path = self.path_at(**sizes)
        return self._traced(sizes).failure is None if path is None else path.failure is None

    def path_at(self, **sizes: int) -> Path | None:
        """The path that these sizes take; None if none of those found does."""
        place = tuple(_checked(self.names, sizes).values())
        if all(size <= self.within[name] for name, size in zip(self.names, place, strict=True)):
            index = int(self.region[place])
            return self.paths[index] if index >= 0 else None
        fits = (path for path in self.paths if any(expressions.evaluate(c, sizes) for c in path.conditions))
        return next(fits, None)

    def at(self, **sizes: int) -> Trace:
        """The trace at these sizes, from the formulas: equal to what `trace` gives, without running the network.

        >>> law(nn.Sequential(nn.Conv2d(3, 8, 5)), (1, 3, "H", "W"), within=64).at(H=32, W=40).output_shape
        (1, 8, 28, 36)
        """
        path = self.path_at(**sizes)
        if path is None or (path.broken is not None and path.broken.run is None):
            return self._traced(sizes)  # nothing found, or an error that the forward words by itself
        value = _at(sizes)
        steps = tuple(_sized(step, value) for step in path.formulas)
        failure = None if path.failure is None else self._failure(path, steps, value)
        if path.failure is not None and failure is None:
            return self._traced(sizes)
        shapes = tuple(map(value.shape, self.asked.shapes))
        return Trace(self.model, steps, shapes, _shapes(path.output, value), failure, path.method, self.mode)

    def steps_at(self, **sizes: int) -> tuple[Step, ...]:
        """The steps at these sizes, from the formulas, the one that fails among them. Nothing runs.

        >>> law(nn.Sequential(nn.Conv2d(3, 8, 5)), (1, 3, "H", "W"), within=64).steps_at(H=3, W=9)[0].input_shapes
        ((1, 3, 3, 9),)

        Raises:
            LawError: none of the paths that were found is taken at these sizes.
        """
        path = self.path_at(**sizes)
        if path is None:
            raise LawError(f"no path of this law is taken at {dict(sizes)}: {self.covered:.0%} of its range is decided")
        value = _at(sizes)
        return tuple(_sized(step, value) for step in path.formulas)

    def _failure(self, path: Path, steps: tuple[Step, ...], value: Callable[[Tree], Any]) -> Failure | None:
        """The failure in PyTorch's words at these sizes: only the operation that fails is run."""
        assert path.failure is not None and path.broken is not None
        operation = at_size(path.broken, value)
        try:
            self._broken_layer(path)(*operation.args, **operation.kwargs)
        except Exception as error:
            return replace(path.failure, step=steps[-1], message=said(error), cause=error, before=steps[:-1])
        return None

    def _broken_layer(self, path: Path) -> Callable[..., Any]:
        """What fails on a path, ready to run on its own; made once, since it is the same at every size."""
        if id(path) not in self._layers:
            assert path.broken is not None
            self._layers[id(path)] = by_itself(self.parts, self.mode == "as is", path.broken)
        return self._layers[id(path)]

    @cached_property
    def _layers(self) -> dict[int, Callable[..., Any]]:
        return {}

    def _traced(self, sizes: Mapping[str, int]) -> Trace:
        return _trace_at(self.parts[0][1], self.asked, sizes, self.mode == "as is")


def law(
    model: nn.Module, *inputs: Any, within: int | Mapping[str, int] | None = None, as_is: bool = False, **kwargs: Any
) -> Law:
    """Every shape of a network as a formula of named sizes, and exactly which sizes it accepts.

    Args:
        model: any `torch.nn.Module`; a twin of it runs.
        inputs: what forward takes, as for `trace`; a size that is a name is free: `(1, 3, "H", "W")`, or
            `("N", 3, "S", "S")` for batches of square images.
        within: sizes from 1 up to this are decided, for all names or for each.
        as_is: in the mode each module is in, as for `trace`.
        kwargs: keyword inputs of forward, as for `trace`.

    Raises:
        InputError: no name among the sizes, or an input that `trace` would refuse.
        LawError: symbols cannot follow this model; the sentence names the step and the reason.

    >>> found = law(nn.Sequential(nn.Conv2d(3, 8, 5), nn.MaxPool2d(2)), (1, 3, "H", "W"), within=64)
    >>> found.steps[-1].output_shape
    (1, 8, floor(H/2) - 2, floor(W/2) - 2)
    >>> print(*found.requirements, sep="; ")  # doctest: +ELLIPSIS
    0 (Conv2d): H ≥ 5; 0 (Conv2d): W ≥ 5; 1 (MaxPool2d): ⌊H/2⌋ − 2 ≥ 1, that is H ≥ 6; 1 (MaxPool2d): ...
    """
    asked = read(model, inputs, kwargs, named=True)
    sizes: list[Any] = [size for shape in asked.shapes for size in shape]
    names = tuple(dict.fromkeys(size for size in sizes if isinstance(size, str)))
    if not names:
        raise InputError(f"{asked.shapes[0]} names no size: law needs a free one, such as (1, 3, 'H', 'W')")
    return _Search(model, asked, _limits(names, within), as_is).law()


def _limits(names: tuple[str, ...], within: int | Mapping[str, int] | None) -> dict[str, int]:
    if within is None:
        within = math.isqrt(SIZES) if len(names) <= 2 else int(SIZES ** (1 / len(names)))
    if isinstance(within, Mapping) and set(within) != set(names):
        raise InputError(
            f"within is for {', '.join(map(str, within)) or 'nothing'}, and the sizes are {', '.join(names)}"
        )
    limits = {name: within[name] if isinstance(within, Mapping) else within for name in names}
    for name, limit in limits.items():
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InputError(f"within is {limit!r} for {name}: the largest size is a whole number from 1 up")
    if math.prod(limits.values()) > MOST:
        raise InputError(f"within {limits} there are more sizes than {MOST:,}, which is what one map can hold")
    return limits


def _checked(names: tuple[str, ...], sizes: Mapping[str, int]) -> dict[str, int]:
    if set(sizes) != set(names):
        raise InputError(f"this law is about {', '.join(names)}, and was asked about {', '.join(sizes) or 'nothing'}")
    for name, size in sizes.items():
        if isinstance(size, bool) or not hasattr(size, "__index__") or size < 1:
            raise InputError(f"{name} = {size!r} is no size: a size is a whole number from 1 up")
    return {name: int(sizes[name]) for name in names}


class _Search:
    """Finds the paths of a law, one uncovered size after the other."""

    def __init__(self, model: nn.Module, asked: Asked, limits: dict[str, int], as_is: bool) -> None:
        self.model, self.asked, self.limits, self.as_is = model, asked, limits, as_is
        self.parts, self.names = parts_of(model), tuple(limits)
        self.axes = [np.arange(limit + 1) for limit in limits.values()]
        self.path_of = np.full([limit + 1 for limit in limits.values()], -1, np.int32)
        inner = tuple(slice(1, None) for _ in limits)
        self.open = np.zeros(self.path_of.shape, bool)
        self.open[inner] = True
        self.method: Literal["meta", "fake"] = "meta"

    def law(self) -> Law:
        passes: list[tuple[dict[str, int], Pass, Trace]] = []
        total = math.prod(self.limits.values())
        with progress(total, "checking sizes") as advance:  # a path may decide one size or nearly all
            for sizes in self._uncovered():
                if len(passes) == PATHS:
                    break
                ran, seen = self._pass(sizes)
                advance(self._mark(ran, sizes, len(passes)))
                passes.append((sizes, ran, seen))
        return self._law(passes, total)

    def _uncovered(self) -> Iterator[dict[str, int]]:
        start = tuple(min(START, limit) for limit in self.limits.values())
        yield dict(zip(self.names, start, strict=True))
        flat, first = self.open.reshape(-1), 0
        while True:
            first += int(np.argmax(flat[first:]))
            if not flat[first]:
                return
            place = np.unravel_index(first, self.open.shape)
            yield {name: int(size) for name, size in zip(self.names, place, strict=True)}

    def _pass(self, sizes: dict[str, int]) -> tuple[Pass, Trace]:
        """The pass at these sizes, and the trace that confirms it."""
        from fcnviz import symbolic  # brings sympy and half of torch's compiler

        try:
            seen = _trace_at(self.model, self.asked, sizes, self.as_is)
        except RealTensorNeeded as error:
            raise LawError(f"no law: {error}") from error
        if seen.method == "fake":
            self.method = "fake"
        ran = symbolic.run(self.parts, self.asked, sizes, seen.method == "fake", self.as_is)
        _confirm(self.model, ran, seen, sizes)
        return ran, seen

    def _mark(self, ran: Pass, sizes: dict[str, int], index: int) -> int:
        """Gives the sizes that meet the guards to this path; returns how many were new."""
        conditions = list(expressions.parts(expressions.both([g.condition for g in ran.guards])))
        chosen = [self._along(axis, conditions) for axis in range(len(self.names))]
        axes = dict(zip(self.names, np.ix_(*chosen), strict=True))
        met = np.ones([len(c) for c in chosen], bool)
        for condition in conditions:
            if len(expressions.names_in(condition)) > 1:
                met &= expressions.on_grid(condition, axes)
        place = np.ix_(*chosen)
        new = met & self.open[place]
        self.path_of[place] = np.where(new, index, self.path_of[place])
        self.open[place] &= ~new
        if self.open[tuple(sizes.values())]:
            raise LawError(f"no law: {sizes} does not meet the conditions of its own pass through {self.model!r:.60}")
        return int(new.sum())

    def _along(self, axis: int, conditions: Sequence[Tree]) -> np.ndarray:
        """The sizes of one axis that meet every condition on that axis alone."""
        name, sizes = self.names[axis], self.axes[axis]
        met = sizes > 0
        for condition in conditions:
            if expressions.names_in(condition) == {name}:
                met &= expressions.on_grid(condition, {name: sizes})
        return sizes[met]

    def _law(self, passes: Sequence[tuple[dict[str, int], Pass, Trace]], total: int) -> Law:
        places = [dict(zip(self.names, np.nonzero(self.path_of == i), strict=True)) for i in range(len(passes))]
        counts = [len(place[self.names[0]]) for place in places]
        found = [_path(*one, count) for one, count in zip(passes, counts, strict=True)]
        groups = _merged(found, places)
        groups.sort(key=lambda group: -sum(counts[i] for i in group))
        new_index = np.full(len(passes) + 1, -1, np.int32)
        for new, group in enumerate(groups):
            new_index[group] = new
        paths = tuple(_union([found[i] for i in group]) for group in groups)
        mode: Literal["eval", "as is"] = "as is" if self.as_is else "eval"
        name, region, covered = type(self.model).__name__, new_index[self.path_of], sum(counts) / total
        return Law(name, self.names, self.limits, paths, region, covered, self.asked, mode, self.method, self.parts)


def _trace_at(model: nn.Module, asked: Asked, sizes: Mapping[str, int], as_is: bool) -> Trace:
    def size(shape: tuple[Any, ...]) -> tuple[int, ...]:
        return tuple(sizes.get(s, s) for s in shape)

    args, kwargs = (mapped(value, size, Shape) for value in (asked.args, asked.kwargs))
    return trace(model, *args, as_is=as_is, **kwargs)


def _confirm(model: nn.Module, ran: Pass, seen: Trace, sizes: Mapping[str, int]) -> None:
    """Raises LawError where symbols and the trace of a real size part."""
    name = type(model).__name__
    value = _at(sizes)
    for ours, theirs in zip(ran.steps, seen.steps, strict=False):
        if _sized(ours, value) != theirs:
            why = f": {said(ran.error)}" if ran.error is not None and ours is ran.steps[-1] else ""
            raise LawError(f"no law: symbols lose track of {name} at {theirs.name} ({theirs.kind}){why}")
    if len(ran.steps) != len(seen.steps) or (ran.error is None) != (seen.failure is None):
        last = (ran.steps or seen.steps)[-1]
        why = f": {said(ran.error)}" if ran.error is not None else ""
        raise LawError(f"no law: symbols lose track of {name} at {last.name} ({last.kind}){why}")


class _Values:
    """What trees are worth to `of`; each is worked out once."""

    def __init__(self, of: Callable[[Tree], Any]) -> None:
        self.of = of
        self.known: dict[Tree, Any] = {}
        self.shapes: dict[Shape, Shape] = {}

    def __call__(self, tree: Tree) -> Any:
        if type(tree) is int:
            return tree
        if tree not in self.known:
            self.known[tree] = self.of(tree)
        return self.known[tree]

    def shape(self, trees: Shape) -> Shape:
        """A whole shape: one step's output is the next one's input, so each comes twice at least."""
        made = self.shapes.get(trees)
        if made is None:
            made = self.shapes[trees] = Shape([self(tree) for tree in trees])
        return made


def _at(sizes: Mapping[str, int]) -> _Values:
    return _Values(partial(expressions.evaluate, sizes=sizes))


class _Apart(_Values):
    """Keeps every tree, in order, and leaves a 0 in its place."""

    def __init__(self) -> None:
        super().__init__(lambda tree: 0)
        self.trees: list[Tree] = []

    def __call__(self, tree: Tree) -> Any:
        self.trees.append(tree)
        return 0

    def shape(self, trees: Shape) -> Shape:
        return Shape([self(tree) for tree in trees])

    def form(self, form: TensorForm | SizeForm) -> Any:
        if isinstance(form, SizeForm):
            return self(form.tree)
        return [self(tree) for tree in (*form.shape, *form.stride)], form.dtype


def _sized(step: Step, value: _Values) -> Step:
    """A step with a value in place of every tree."""
    return Step(
        step.index,
        step.name,
        step.path,
        step.kind,
        step.operation,
        tuple(map(value.shape, step.input_shapes)),
        _shapes(step.output_shape, value),
        step.sources,
        step.weights,
        step.params,
        value(step.macs),
        _window(step.window, value) if isinstance(step.window, WindowForm) else step.window,
        _settings(step.settings, value) if isinstance(step.settings, Forms) else step.settings,
        step.is_call,
    )


def _window(window: WindowForm, value: _Values) -> Window:
    return Window(**_settings({part.name: getattr(window, part.name) for part in fields(window)}, value))


def _settings(forms: Mapping[str, Any], value: _Values) -> dict[str, Any]:
    return mapped(dict(forms), lambda form: value(form.tree), SizeForm)


def _shapes(output: Output, value: _Values) -> Output:
    return value.shape(output) if isinstance(output, Shape) else mapped(output, value.shape, Shape)


def _path(start: Mapping[str, int], ran: Pass, seen: Trace, count: int) -> Path:
    condition = expressions.both([guard.condition for guard in ran.guards])
    method: Literal["meta", "fake"] = "fake" if seen.method == "fake" else "meta"
    once = (condition,), (ran.guards,), ran.broken, method
    return Path(condition, ran.steps, ran.output, start, count, seen.failure, *once)


def _merged(paths: Sequence[Path], places: Sequence[Mapping[str, np.ndarray]]) -> list[list[int]]:
    """Which paths do the same: a path joins a larger one whose formulas give its own shapes at every size it takes.

    Such paths differ only in what torch had to know on the way, such as whether a map is one cell wide.
    """
    groups: list[list[int]] = []
    for i in sorted(range(len(paths)), key=lambda i: -paths[i].count):
        for group in groups:
            if _does_the_same(paths[group[0]], paths[i], places[i]):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _does_the_same(one: Path, other: Path, sizes: Mapping[str, np.ndarray]) -> bool:
    if one.method != other.method or _place(one) != _place(other):
        return False
    (frame, trees), (other_frame, other_trees) = _taken_apart(one), _taken_apart(other)
    if frame != other_frame:
        return False
    pairs = dict.fromkeys(zip(trees, other_trees, strict=True))
    return all(_equal(ours, theirs, sizes) for ours, theirs in pairs)


def _place(path: Path) -> str | None:
    """The caller's line that fails; None if none does."""
    return None if path.failure is None else path.failure.where


def _taken_apart(path: Path) -> tuple[Any, list[Tree]]:
    """What a path does, with 0 in place of every size, and the sizes in their order."""
    apart = _Apart()
    steps = tuple(_sized(step, apart) for step in path.formulas)
    output = _shapes(path.output, apart)
    broken = path.broken and mapped((path.broken.args, path.broken.kwargs), apart.form, TensorForm, SizeForm)
    return (steps, output, broken), apart.trees


def _equal(one: Tree, other: Tree, sizes: Mapping[str, np.ndarray]) -> bool:
    """True if two trees are worth the same at every one of these sizes."""
    return one == other or bool(np.all(expressions.on_grid(one, sizes) == expressions.on_grid(other, sizes)))


def _union(paths: Sequence[Path]) -> Path:
    """Paths that do the same, as one; the first speaks for all."""
    conditions, count = tuple(path.condition for path in paths), sum(path.count for path in paths)
    condition = conditions[0] if len(conditions) == 1 else ("or", *conditions)
    guards = tuple(path.guards[0] for path in paths)
    return replace(paths[0], condition=condition, conditions=conditions, guards=guards, count=count)

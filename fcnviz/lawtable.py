"""A law as a page to read: for the terminal, for a notebook, and in LaTeX.

All three are made from the same values: `rows` (the steps, with those that keep the size folded into the one before
them), `demands` (what steps ask of the sizes, and in which words) and `outcomes` (what becomes of which sizes). They
hold formulas as trees, which are written only at the end. Which sizes are accepted is never decided here: a condition
is shown only where it marks exactly the sizes that the law has counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fcnviz import expressions, layout
from fcnviz.arithmetic import count
from fcnviz.expressions import Tree
from fcnviz.nested import leaves, mapped
from fcnviz.records import Output, Shape, Step
from fcnviz.table import shape_text, window_text

if TYPE_CHECKING:
    from fcnviz.law import Law
    from fcnviz.requirements import Requirement

__all__ = [
    "Demand",
    "Outcome",
    "Row",
    "accepted_text",
    "broken",
    "ceiled",
    "demands",
    "html",
    "latex",
    "outcomes",
    "rows",
    "share",
    "text",
    "written",
]


@dataclass(frozen=True, slots=True)
class Row:
    """A step and those after it that keep its shape. `shape` has trees for sizes; None where the step fails."""

    first: int
    last: int
    name: str
    kinds: tuple[str, ...]
    window: str
    shape: Output
    failed: bool

    @property
    def number(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}–{self.last}"


@dataclass(frozen=True, slots=True)
class Demand:
    """What one step asks: in words, as equations, and as sizes ("" where that says no more)."""

    name: str
    kind: str
    words: str
    conditions: tuple[Tree, ...]
    sizes: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of some of the sizes: the paths that end alike.

    Attributes:
        step: where the network stops; None if it runs.
        output: what it returns, with trees for sizes.
        condition: which sizes; of those that get as far as `step`, if there is one. None where no formula says it.
        sizes: `condition` solved, as "H ≥ 5 and W ≥ 5" or "H or W < 5"; "" where no short phrase says it.
        paths: indices into the law's paths.
        example: one of the sizes.
    """

    step: Step | None
    output: Output
    condition: Tree | None
    sizes: str
    paths: tuple[int, ...]
    count: int
    example: Mapping[str, int]


# Steps


def rows(law: Law) -> tuple[Row, ...]:
    """The steps of the main path, those that keep the size filed under the step before them."""
    path, found = law.main, list[Row]()
    known = _ceilings(law)
    for step in path.formulas:
        failed = path.failure is not None and step is path.formulas[-1]
        if found and step.operation == "same" and not failed:
            found[-1] = replace(found[-1], last=step.index + 1, kinds=(*found[-1].kinds, step.kind))
        else:
            shape = None if failed else _in_trees(_as_product(step), known)
            window = window_text(replace(step, settings=_settings(step.settings)))
            number = step.index + 1
            found.append(Row(number, number, step.name, (step.kind,), window, shape, failed))
    return tuple(found)


def _settings(value: Any) -> Any:
    """Settings with formulas written out where a size among them is one."""
    if isinstance(value, Mapping):
        return {key: _settings(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_settings, value))
    return expressions.text(value.tree) if hasattr(value, "tree") else value


def _as_product(step: Step) -> Output:
    """The output; of a flattened map the product that it is, 512·⌊H/32⌋·⌊W/32⌋, where that is worth the same."""
    made = step.output_shape
    if step.operation != "flatten" or not isinstance(made, Shape) or len(made) != 2 or len(step.input_shapes) != 1:
        return made
    batch, *sizes = step.input_shapes[0]
    product: Tree = ("*", *(part for size in sizes for part in _factors(size) if part != 1))
    axes = {name: np.arange(1, 200) for name in expressions.names_in(product)}
    same = batch == made[0] and axes and np.array_equal(*[expressions.on_grid(t, axes) for t in (product, made[1])])
    return Shape((batch, cast(int, product))) if same else made


def _factors(tree: Tree) -> tuple[Tree, ...]:
    return tree[1:] if isinstance(tree, tuple) and tree[0] == "*" else (tree,)


# Ceilings: torch's own formulas know floors only


def ceiled(tree: Tree) -> Tree:
    """⌊(a + c)/m⌋ + k as one ⌈…/m⌉, which it is at every size; any other tree as it came.

    The two agree because ⌊a/m⌋ = ⌈(a − m + 1)/m⌉ for whole a and m.

    >>> expressions.text(ceiled(("+", ("//", ("-", "H", 1), 2), 1)))
    '⌈H/2⌉'
    """
    core, k = _split(tree)
    if not (isinstance(core, tuple) and core[0] == "//" and isinstance(core[2], int) and core[2] > 1):
        return tree
    a, c = _split(core[1])
    m = core[2]
    return ("⌈/⌉", _plus(a, c - m + 1 + k * m), m) if _is_whole(a) else tree


def _split(tree: Tree) -> tuple[Tree, int]:
    """A tree as something and the number added to it."""
    if not isinstance(tree, tuple) or tree[0] not in ("+", "-"):
        return tree, 0
    numbers = [part for part in tree[2:] if isinstance(part, int)]
    others = [part for part in tree[2:] if not isinstance(part, int)]
    added = sum(numbers) if tree[0] == "+" else -sum(numbers)
    if others:
        return ((tree[0], tree[1], *others), added) if numbers else (tree, 0)
    core, inner = _split(tree[1])
    return core, inner + added


def _plus(tree: Tree, number: int) -> Tree:
    return tree if number == 0 else ("+", tree, number) if number > 0 else ("-", tree, -number)


def _is_whole(tree: Tree) -> bool:
    """True if a tree of whole sizes is surely a whole number."""
    if not isinstance(tree, tuple):
        return isinstance(tree, int | str)
    return tree[0] in ("+", "-", "*", "//", "⌈/⌉", "%", "max", "min") and all(map(_is_whole, tree[1:]))


def _ceilings(law: Law) -> dict[Tree, Tree]:
    """For each floor that a step with `ceil_mode` brought in, the same with ⌈ ⌉."""
    known: dict[Tree, Tree] = {}
    for path in law.paths:
        for step in path.formulas:
            if step.window is not None and step.window.ceil and isinstance(step.output_shape, Shape):
                for size in step.output_shape:
                    _note(cast(Tree, size), known)
    return known


def _note(size: Tree, known: dict[Tree, Tree]) -> None:
    floor, k = _split(size)
    if isinstance(floor, tuple) and floor not in known:
        written = (floor[0], *(_rewritten(part, known) for part in floor[1:]))
        ceiling = ceiled(_plus(written, k))
        if ceiling != _plus(written, k):
            known[floor] = _plus(ceiling, -k)


def _rewritten(tree: Tree, known: Mapping[Tree, Tree]) -> Tree:
    """The tree with its known floors as ceilings."""
    if not known or not isinstance(tree, tuple):
        return tree
    if tree in known:
        return known[tree]
    return _plus(*_split((tree[0], *(_rewritten(part, known) for part in tree[1:]))))


def _in_trees(output: Output, known: Mapping[Tree, Tree]) -> Output:
    return cast(
        Output, mapped(output, lambda shape: Shape(cast(int, _rewritten(size, known)) for size in shape), Shape)
    )


# What steps ask


def demands(law: Law) -> tuple[Demand, ...]:
    """The requirements of the law, those of one step together, each in words."""
    steps: dict[str, list[Requirement]] = {}
    for requirement in law.requirements:
        steps.setdefault(requirement.step.name, []).append(requirement)
    return tuple(_demand(asked, _ceilings(law)) for asked in steps.values())


def _demand(asked: Sequence[Requirement], known: Mapping[Tree, Tree]) -> Demand:
    step, trees = asked[0].step, [requirement.condition for requirement in asked]
    conditions = tuple(_rewritten(tree, known) for tree in trees)
    sizes = _solved(asked)
    said = sizes == " and ".join(map(expressions.text, conditions))
    return Demand(step.name, step.kind, _words(step, trees), conditions, "" if said else sizes)


def _solved(asked: Sequence[Requirement]) -> str:
    """All requirements as sizes; "" where one of them has no short phrase."""
    phrases = list(dict.fromkeys(requirement.sizes or _plain_bound(requirement.condition) for requirement in asked))
    if len(phrases) > 1 and any("; or " in phrase for phrase in phrases):
        return ""
    return " and ".join(phrases) if all(phrases) else ""


def _plain_bound(condition: Tree) -> str:
    """A condition that says its sizes itself, H ≥ 5; "" for any other."""
    head, left, right = condition if isinstance(condition, tuple) and len(condition) == 3 else ("", "", "")
    is_bound = head in expressions.RELATIONS and isinstance(left, str) and isinstance(right, int)
    return expressions.text(condition) if is_bound else ""


def _words(step: Step, conditions: Sequence[Tree]) -> str:
    """What a step asks, as a student would say it."""
    match step.operation:
        case "conv" | "unfold":
            return "the kernel must fit"
        case "max_pool" | "avg_pool" | "lp_pool" | "adaptive_pool" | "conv_transpose" | "interpolate" | "slice":
            return "at least one cell must be left"
        case "linear":
            return "as many numbers as the Linear has columns"
        case "cat" | "stack":
            return f"{_all(step)} maps must have the same {_axes(step, conditions)}"
        case "broadcast":
            return f"{_all(step)} maps must have the same {_axes(step, conditions)}, or one of them a single cell"
        case "pad":
            whole = step.settings.get("mode") == "circular"
            return f"the padding must be {'no larger' if whole else 'smaller'} than the map"
        case "reshape" | "flatten":
            return "the numbers must fill the new shape exactly"
        case "pixel_shuffle":
            wants = "the channels" if step.settings.get("up", True) else "height and width"
            return f"{wants} must be divisible by the factor"
    return "the step works only if"


def _all(step: Step) -> str:
    return "both" if len(step.input_shapes) == 2 else "all"


_AXES = {3: ("length",), 4: ("height", "width"), 5: ("depth", "height", "width")}


def _axes(step: Step, conditions: Sequence[Tree]) -> str:
    """Of which axes the conditions speak: those where the inputs have different formulas with the same names."""
    asked = set().union(*map(expressions.names_in, conditions))
    found = []
    for place, name in enumerate(_AXES.get(len(step.input_shapes[0]), ()), start=2):
        sizes = {cast(Tree, shape[place]) for shape in step.input_shapes if len(shape) > place}
        if len(sizes) > 1 and set().union(*map(expressions.names_in, sizes)) & asked:
            found.append(name)
    return " and ".join(found) or "size"


# What becomes of which sizes


def outcomes(law: Law) -> tuple[Outcome, ...]:
    """What the sizes lead to: first where the network runs, most sizes first; then where it stops, step by step."""
    grid = _Grid(law)
    groups: dict[tuple[bool, str], list[int]] = {}
    for index, path in enumerate(law.paths):
        runs = path.failure is None
        groups.setdefault((runs, written(path.output) if runs else path.formulas[-1].name), []).append(index)
    found = [_outcome(law, grid, group) for group in groups.values()]
    return tuple(sorted(found, key=lambda one: (-1, -one.count) if one.step is None else (one.step.index, 0)))


def _outcome(law: Law, grid: _Grid, group: Sequence[int]) -> Outcome:
    paths, known = [law.paths[index] for index in group], _ceilings(law)
    step = None if paths[0].failure is None else paths[0].formulas[-1]
    chosen = _why(law, grid, group, step)
    condition = None if chosen is None else _rewritten(expressions.both(chosen), known)
    sizes = _said(law, chosen) if step is None else _stopping(condition, law.within)
    total, output = sum(path.count for path in paths), _in_trees(paths[0].output, known)
    return Outcome(step, output, condition, sizes, tuple(group), total, paths[0].start)


def _why(law: Law, grid: _Grid, group: Sequence[int], step: Step | None) -> list[Tree] | None:
    """The fewest conditions that mark the sizes of these paths among those that get as far; None if none do.

    First from the requirements, then from everything that torch asked on the way.
    """
    members, among = grid.taken(group), grid.taken(range(len(law.paths)) if step is None else _reaching(law, step))
    if step is not None and not (among & ~members).any():
        return []
    asked = [r.condition for r in law.requirements if step is None or r.step.name == step.name]
    guards = [part for index in group for one in law.paths[index].guards for g in one for part in _parts(g.condition)]
    if step is None:
        return grid.all_of(members, among, asked) or grid.all_of(members, among, [*asked, *guards])
    return (
        grid.one_of(members, among, list(map(expressions.opposite, asked)))
        or grid.all_of(members, among, guards)
        or grid.one_of(members, among, guards)
    )


def _parts(condition: Tree) -> list[Tree]:
    return list(expressions.parts(condition))


def _reaching(law: Law, step: Step) -> list[int]:
    return [i for i, path in enumerate(law.paths) if any(one.name == step.name for one in path.formulas)]


def _said(law: Law, chosen: Sequence[Tree] | None) -> str:
    if chosen is None:
        return ""
    if not chosen:
        return "every size"
    asked = [requirement for requirement in law.requirements if requirement.condition in chosen]
    return _solved(asked) if len({r.condition for r in asked}) == len(chosen) else ""


def _stopping(condition: Tree | None, within: Mapping[str, int]) -> str:
    """A rule that refuses small sizes alone, solved for the sizes of a law; "" for any other.

    >>> _stopping(("or", ("<", ("//", "H", 32), 7), ("<", ("//", "W", 32), 7)), {"H": 512, "W": 512})
    'H or W < 224'
    """
    if condition is True:
        return "all that get this far"
    every = condition[1:] if isinstance(condition, tuple) and condition[0] == "or" else (condition,)
    ways = sorted(every, key=lambda way: sorted(expressions.names_in(way)))
    ends = [_end(way, within) for way in ways]
    if not all(ends):
        return ""
    names = [" and ".join(expressions.names_in(way)) for way in ways]
    if len(set(ends)) == 1:
        return f"{' or '.join(names)} < {ends[0]}"
    return " or ".join(f"{name} < {end}" for name, end in zip(names, ends, strict=True))


def _end(condition: Tree | None, within: Mapping[str, int]) -> int:
    """The first size of an axis that a condition does not hold for, where it holds for all smaller ones alone; or 0."""
    if not isinstance(condition, tuple) or len(names := expressions.names_in(condition)) != 1:
        return 0
    (name,) = names
    limit = within[name]
    holds = np.broadcast_to(expressions.on_grid(condition, {name: np.arange(1, limit + 1)}), limit)
    end = int(holds.sum())
    return end + 1 if holds[:end].all() and 0 < end < limit else 0


class _Grid:
    """Conditions as arrays over the range of a law, without the cells of size 0; each is worked out once."""

    def __init__(self, law: Law) -> None:
        self.region = law.region[tuple(slice(1, None) for _ in law.names)]
        ranges = np.ix_(*(np.arange(1, law.within[name] + 1) for name in law.names))
        self.axes = dict(zip(law.names, ranges, strict=True))
        self.known: dict[Tree, np.ndarray] = {}

    def taken(self, paths: Iterable[int]) -> np.ndarray:
        """Where one of these paths is taken."""
        chosen = np.zeros(int(self.region.max(initial=-1)) + 2, bool)
        chosen[[index for index in paths if index < len(chosen) - 1]] = True
        return chosen[self.region]

    def holds(self, condition: Tree) -> np.ndarray:
        if condition not in self.known:
            values = expressions.on_grid(condition, self.axes)
            self.known[condition] = np.broadcast_to(values, self.region.shape)
        return self.known[condition]

    def one_of(self, members: np.ndarray, among: np.ndarray, conditions: Sequence[Tree]) -> list[Tree] | None:
        """As `all_of`, with conditions of which one has to hold: what holds elsewhere is none of them."""
        refusing = [expressions.opposite(condition) for condition in conditions]
        chosen = self.all_of(among & ~members, among, refusing)
        ways = [condition for condition, no in zip(conditions, refusing, strict=True) if no in (chosen or [])]
        ways = list(dict.fromkeys(ways))
        return chosen and ([("or", *ways)] if len(ways) > 1 else ways)

    def all_of(self, members: np.ndarray, among: np.ndarray, conditions: Sequence[Tree]) -> list[Tree] | None:
        """The fewest of these conditions that, within `among`, hold together exactly for `members`; None if none do."""
        left, chosen = among & ~members, list[Tree]()
        sound = [c for c in dict.fromkeys(conditions) if not (members & ~self.holds(c)).any()]
        while left.any():
            gains = [np.count_nonzero(left & ~self.holds(condition)) for condition in sound]
            if not any(gains):
                return None
            chosen.append(sound[int(np.argmax(gains))])
            left = left & self.holds(chosen[-1])
        needed = list(chosen)
        for condition in chosen[:-1]:  # one that was chosen early may follow from those after it
            others = [other for other in needed if other is not condition]
            if not (np.logical_and.reduce([among, *map(self.holds, others)]) & ~members).any():
                needed = others
        return [condition for condition in dict.fromkeys(conditions) if condition in needed]


# Sentences


def accepted_text(law: Law) -> str:
    """How many sizes the network takes, and which.

    >>> from torch import nn
    >>> from fcnviz.law import law
    >>> accepted_text(law(nn.Sequential(nn.Conv2d(3, 8, 5)), (1, 3, "H", "W"), within=64))
    '3\\u202f600 of 4\\u202f096 sizes run (87.9 %): H ≥ 5 and W ≥ 5'
    """
    runs = [one for one in outcomes(law) if one.step is None]
    accepted, total = sum(one.count for one in runs), _total(law)
    if accepted == total:
        return f"all {count(total)} sizes run"
    how_many = f"{count(accepted) if accepted else 'none'} of {count(total)} sizes run"
    which = runs[0].sizes if len(runs) == 1 else ""
    return f"{how_many} ({share(accepted, total)}): {which}" if which and accepted else how_many


def _total(law: Law) -> int:
    return int(np.prod([law.within[name] for name in law.names], dtype=np.int64))


def share(part: int, total: int) -> str:
    """A part in percent; never 0 or 100 unless it is.

    >>> share(1, 4), share(3072, 2048**2), share(2**20 - 1, 2**20)
    ('25 %', '< 0.1 %', '> 99.9 %')
    """
    percent = 100 * part / total
    if 0 < percent < 0.1:
        return "< 0.1 %"
    return "> 99.9 %" if 99.9 < percent < 100 else f"{count(round(percent, 1))} %"


def _circumstances(law: Law) -> str:
    inputs = ", ".join("×".join(map(str, shape)) for shape in law.asked.shapes)
    limits: dict[int, list[str]] = {}
    for name in law.names:
        limits.setdefault(law.within[name], []).append(name)
    ranges = ", ".join(f"{' and '.join(names)} from 1 to {count(limit)}" for limit, names in limits.items())
    mode = "in eval mode" if law.mode == "eval" else "each module in the mode it was in"
    return f"law of an input {inputs}, {ranges} · {mode}"


def _notes(law: Law, hand: _Hand) -> list[str]:
    """What is to be said of the law as a whole."""
    notes = [hand.words(accepted_text(law))]
    runs = [one for one in outcomes(law) if one.step is None]
    if len(runs) == 1:
        notes.append(_output_note(law, hand, runs[0]))
    elif law.same_size:
        notes.append("The output is as large as the input, at every size that runs.")
    if len({tuple(step.name for step in path.formulas) for path in law.paths if path.failure is None}) > 1:
        notes.append("The steps are not the same at every size; those that most sizes take are shown.")
    if law.covered < 1:
        decided = share(round(law.covered * _total(law)), _total(law))
        notes.append(f"Undecided: the law covers {decided} of the sizes, for there were too many paths.")
    return notes


def _output_note(law: Law, hand: _Hand, one: Outcome) -> str:
    made = f"Output: {written(one.output, hand)}"
    if law.same_size:
        return f"{made}, as large as the input at every size that runs"
    shapes = list(leaves(one.output, Shape))
    is_map = len(shapes) == 1 and len(shapes[0]) == len(law.asked.shapes[0]) > 2
    return f"{made}, not always as large as the input" if is_map else made


def _headline(one: Outcome) -> str:
    return "runs" if one.step is None else f"stops at {layout.plain(one.step.name)} ({layout.plain(one.step.kind)})"


def _condition(one: Outcome, hand: _Hand) -> str:
    if one.condition is True:
        return "every size" if one.step is None else "all of them"
    return "no short formula" if one.condition is None else hand.formula(one.condition)


def _example(one: Outcome) -> str:
    if set(one.example) == {"H", "W"}:
        return f"{one.example['H']} × {one.example['W']}"
    return ", ".join(f"{name} = {size}" for name, size in one.example.items())


def _kinds(row: Row) -> str:
    first, *others = row.kinds
    return layout.plain(", ".join([f"{first} {row.window}".rstrip(), *others]))


# Formulas and shapes, in three hands


@dataclass(frozen=True, slots=True)
class _Hand:
    formula: Callable[[Tree], str]
    words: Callable[[str], str]
    times: str = " × "
    brackets: str = "({})"


_TEXT = _Hand(expressions.text, layout.plain)
_HTML = _Hand(lambda tree: _kept(expressions.html(tree)), lambda words: _kept(escape(layout.plain(words))))


def _kept(html: str) -> str:
    """HTML in which a line never ends beside the sign of a relation."""
    return re.sub(" (=|≠|≥|≤|&lt;|&gt;) ", "\u00a0\\1\u00a0", html)


def written(output: Output, hand: _Hand = _TEXT) -> str:
    """A shape with its sizes as formulas.

    >>> written(Shape((1, 512, ("//", "H", 32), ("-", ("//", "W", 32), 6))))
    '512 × ⌊H/32⌋ × (⌊W/32⌋ − 6)'
    """
    return shape_text(_written(output, hand)).replace("×", hand.times)


def _written(output: Output, hand: _Hand) -> Output:
    if isinstance(output, Shape):
        return Shape(cast(int, _size(size, hand)) for size in output)
    if isinstance(output, dict):
        return {hand.words(str(key)): _written(part, hand) for key, part in output.items()}
    if isinstance(output, tuple):
        return tuple(_written(part, hand) for part in cast("tuple[Output, ...]", output))
    return output


def _size(tree: Any, hand: _Hand) -> str | int:
    if isinstance(tree, int):
        return tree
    return hand.brackets.format(hand.formula(tree)) if _split(tree)[1] or _is_sum(tree) else hand.formula(tree)


def _is_sum(tree: Tree) -> bool:
    return isinstance(tree, tuple) and tree[0] in ("+", "-", "%")


# The terminal

_LINE = 120


def text(law: Law) -> str:
    """The law for a terminal: what runs, the steps, what they ask, and what becomes of which sizes."""
    head = f"{layout.plain(law.model)} · {_circumstances(law)}"
    return "\n".join(
        [
            *layout.wrapped("", head),
            *(line for note in _notes(law, _TEXT) for line in broken(note, _LINE)),
            "",
            *_columns(("", "step", "kind", "shape"), [_step_cells(row) for row in rows(law)], right=(0,)),
            *_text_demands(law),
            "",
            *_columns(_PATH_HEADS, [_path_cells(one, law) for one in outcomes(law)], right=(1, 2)),
        ]
    )


_PATH_HEADS = ("what happens", "sizes", "share", "for example", "when (of the sizes that get this far)")


def _step_cells(row: Row) -> tuple[str, ...]:
    shape = "✗ stops here" if row.failed else written(row.shape)
    return row.number, layout.shortened(layout.plain(row.name), 34), layout.shortened(_kinds(row), 44), shape


def _text_demands(law: Law) -> list[str]:
    found = demands(law)
    if not found:
        return []
    cells = [(layout.shortened(layout.plain(d.name), 34), layout.plain(d.kind), d.words, _equations(d)) for d in found]
    return ["", *_columns(("step", "kind", "asks", "so that"), cells)]


def _equations(demand: Demand) -> str:
    equations = " and ".join(map(expressions.text, demand.conditions))
    return f"{equations}, that is {demand.sizes}" if demand.sizes else equations


def _path_cells(one: Outcome, law: Law) -> tuple[str, ...]:
    return _headline(one), count(one.count), share(one.count, _total(law)), _example(one), _condition(one, _TEXT)


def _columns(heads: Sequence[str], body: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Columns under each other; what does not fit into the last one goes on below."""
    widths = layout.column_widths([heads, *body])
    start = sum(widths[:-1]) + len(layout.GAP) * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(_LINE - start, 24))
    rule = layout.GAP.join("─" * width for width in widths)
    lines = [layout.aligned(heads, widths, right), rule]
    for cells in body:
        first, *more = broken(cells[-1], widths[-1])
        lines += [layout.aligned([*cells[:-1], first], widths, right), *(" " * start + line for line in more)]
    return lines


_PHRASES = re.compile(r"(?<=;) | (?=and |or |that is |× )")


def broken(words: str, width: int) -> list[str]:
    """Words in lines of a width, broken between phrases; inside one only if it is longer than a line."""
    if ", that is " in words and layout.width_of(words) > width:
        equation, sizes = words.split(", that is ")
        return broken(f"{equation},", width) + broken(f"that is {sizes}", width)
    lines = [""]
    for phrase in _PHRASES.split(words):
        pieces = [phrase] if layout.width_of(phrase) <= width else phrase.split(" ")
        for piece in pieces:
            longer = f"{lines[-1]} {piece}" if lines[-1] else piece
            if layout.width_of(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(piece)
    return lines


# The notebook: the box, the alignment and the colours are those of a trace's table

_STYLE = """
.fcnviz-law h4{margin:12px 0 2px;font-size:inherit}
.fcnviz-law p{margin:2px 8px}
.fcnviz-law table.steps{margin-top:8px}
.fcnviz-law table.steps td.formula{min-width:16em}
.fcnviz-law table.steps td.whole{white-space:nowrap}
.fcnviz-law var{font-style:italic}
.fcnviz-law table.steps tbody.runs :is(td,th):first-child{box-shadow:inset 4px 0 var(--jp-success-color1,#0072b2)}
"""


def html(law: Law) -> str:
    """The law for a notebook: three tables that can be read with and without their style."""
    name = layout.attribute(law.model)
    notes = "".join(f"<p>{note}</p>" for note in _notes(law, _HTML))
    tables = "\n".join(filter(None, [_html_steps(law), _html_demands(law), _html_paths(law)]))
    return (
        f"<style>{layout.STYLE}{_STYLE}</style>\n"
        f'<div class="fcnviz-trace fcnviz-law"><div class="scroll" style="overflow-x:auto" tabindex="0" '
        f'role="region" aria-label="Law of {name}">\n'
        f"<p><b>{_HTML.words(law.model)}</b> · {_HTML.words(_circumstances(law))}</p>{notes}\n{tables}\n"
        "</div></div>\n"
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    html: str
    kind: str = "text"  # text, right, head, formula


def _html_table(caption: str, heads: Sequence[str], body: Iterable[tuple[str, Sequence[_Cell]]]) -> str:
    lines = list(body)
    right = [cell.kind == "right" for cell in lines[0][1]]
    titles = zip(heads, right, strict=True)
    top = "".join(f'<th scope="col"{layout.side(side)}>{head}</th>' for head, side in titles)
    groups = "\n".join(_html_group(*line) for line in lines)
    return (
        f'<table class="steps"><caption style="text-align:left">{caption}</caption>\n'
        f"<thead><tr>{top}</tr></thead>\n{groups}\n</table>"
    )


def _html_group(state: str, cells: Sequence[_Cell]) -> str:
    mark = f' class="{state}"' if state else ""
    return f"<tbody{mark}><tr>{''.join(map(_html_cell, cells))}</tr></tbody>"


def _html_cell(cell: _Cell) -> str:
    side = layout.side(cell.kind == "right")
    if cell.kind == "head":
        return f'<th scope="row"{side}>{cell.html}</th>'
    classes = {"formula": ' class="formula"', "right": ' class="whole"'}.get(cell.kind, "")
    return f"<td{classes}{side}>{cell.html}</td>"


def _html_steps(law: Law) -> str:
    def cells(row: Row) -> tuple[_Cell, ...]:
        shape = "✗ stops here" if row.failed else written(row.shape, _HTML)
        name, kinds = ("✗ " if row.failed else "") + _HTML.words(row.name), escape(_kinds(row))
        return _Cell(row.number, "right"), _Cell(name, "head"), _Cell(kinds), _Cell(shape, "formula")

    found = rows(law)
    if not found:
        return ""
    return _html_table(
        "The steps, and their shapes as formulas",
        ("#", "step", "kind", "shape"),
        [("failed" if row.failed else "", cells(row)) for row in found],
    )


def _html_demands(law: Law) -> str:
    found = demands(law)
    if not found:
        return ""
    return _html_table(
        "What the steps ask of the sizes",
        ("step", "kind", "asks", "so that", "that is"),
        [("", _html_demand(demand)) for demand in found],
    )


def _html_demand(demand: Demand) -> tuple[_Cell, ...]:
    equations = " and ".join(map(_HTML.formula, demand.conditions))
    texts = (_Cell(_HTML.words(demand.kind)), _Cell(escape(demand.words)), _Cell(equations, "formula"))
    return _Cell(_HTML.words(demand.name), "head"), *texts, _Cell(_HTML.words(demand.sizes))


def _html_paths(law: Law) -> str:
    def cells(one: Outcome) -> tuple[_Cell, ...]:
        mark = "✓ " if one.step is None else "✗ "
        numbers = (count(one.count), share(one.count, _total(law)), _example(one))
        when = _Cell(_condition(one, _HTML), "formula")
        return _Cell(mark + escape(_headline(one)), "head"), *(_Cell(n, "right") for n in numbers), when

    return _html_table(
        "What becomes of the sizes",
        _PATH_HEADS,
        [("runs" if one.step is None else "", cells(one)) for one in outcomes(law)],
    )


# LaTeX: two arrays and the cases, each formula of which matplotlib can set as well

_MEANT = {
    "\\": r"\backslash ",
    "{": r"\{",
    "}": r"\}",
    "~": r"\sim ",
    "^": r"\wedge ",
    " ": r"\ ",
    "<": r"\lt ",
    ">": r"\gt ",
}


def _latex_name(words: str) -> str:
    safe = "".join(_MEANT.get(c, "\\" + c if c in "#$%&_" else c) for c in layout.plain(words))
    return rf"\mathrm{{{safe}}}"


_LATEX = _Hand(expressions.latex, _latex_name, r" \times ", r"\left( {} \right)")


def latex(law: Law) -> str:
    """The law in LaTeX between `$$`: its steps, what they ask, and its cases."""
    parts = [_latex_steps(law), _latex_demands(law), _latex_cases(law)]
    body = " \\\\[1.5ex]\n".join(filter(None, parts))
    return f"$$\n\\begin{{array}}{{l}}\n{body}\n\\end{{array}}\n$$"


def _latex_shape(output: Output) -> str:
    shapes = [written(shape, _LATEX) if shape else r"\text{one number}" for shape in leaves(output, Shape)]
    return r",\; ".join(shapes) or r"\text{none}"


def _array(columns: str, lines: Iterable[Sequence[str]]) -> str:
    body = " \\\\\n".join(" & ".join(cells) for cells in lines)
    return f"\\begin{{array}}{{{columns}}}\n{body}\n\\end{{array}}" if body else ""


def _latex_steps(law: Law) -> str:
    def cells(row: Row) -> tuple[str, ...]:
        shape = r"\text{stops here}" if row.failed else _latex_shape(row.shape)
        return _latex_name(row.name), _latex_name(", ".join(row.kinds)), shape

    return _array("lll", map(cells, rows(law)))


def _latex_demands(law: Law) -> str:
    def cells(demand: Demand) -> tuple[str, ...]:
        words = demand.words.replace("\u202f", " ")
        return _latex_name(demand.name), rf"\text{{{words}}}", expressions.latex(expressions.both([*demand.conditions]))

    return _array("lll", map(cells, demands(law)))


def _latex_cases(law: Law) -> str:
    """Refusals in the order of the steps, so that each line speaks of the sizes that get this far; then what runs."""
    runs = [one for one in outcomes(law) if one.step is None]
    stops = [one for one in outcomes(law) if one.step is not None]
    lines = [(rf"\text{{stops at }}{_latex_name(one.step.name)}", _latex_when(one)) for one in stops if one.step]
    lines += [(_latex_shape(one.output), r"\text{otherwise}" if len(runs) == 1 else _latex_when(one)) for one in runs]
    body = " \\\\\n".join(" & ".join(cells) for cells in lines)
    call = rf"{_latex_name(law.model)}({', '.join(map(expressions.latex, law.names))})"
    return f"{call} = \\begin{{cases}}\n{body}\n\\end{{cases}}"


def _latex_when(one: Outcome) -> str:
    if one.condition is True:
        return r"\text{always}"
    return r"\text{no short formula}" if one.condition is None else rf"\text{{if }} {expressions.latex(one.condition)}"

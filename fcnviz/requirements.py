"""What a law asks of the sizes, step by step, and how to say it: from its paths and the map of its region.

Nothing here knows what a layer needs. torch checks a condition before it refuses, so the conditions that a step
checked are on record; which of them are requirements, and which only torch's own branching, the sizes tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fcnviz import expressions
from fcnviz.expressions import Tree
from fcnviz.records import Step

if TYPE_CHECKING:
    from fcnviz.law import Law, Path


@dataclass(frozen=True)
class Requirement:
    """What one step asks of the sizes.

    Attributes:
        step: the step that fails where this does not hold.
        condition: a tree.
        sizes: the same as sizes, `224 ≤ H ≤ 255`; "" where that is no easier to read.
    """

    step: Step
    condition: Tree
    sizes: str

    def __str__(self) -> str:
        solved = f", that is {self.sizes}" if self.sizes else ""
        return f"{self.step.name} ({self.step.kind}): {expressions.text(self.condition)}{solved}"


def requirements(law: Law) -> Iterator[Requirement]:
    """For each step that refuses, the simplest conditions that all sizes past it meet and that explain its refusals."""
    failing = {path.formulas[-1].name: path.formulas[-1] for path in law.paths if path.failure is not None}
    for step in sorted(failing.values(), key=lambda step: step.index):
        refused = _inside(law, [_fails_at(path, step) for path in law.paths])
        past = _inside(law, [_gets_past(path, step) for path in law.paths])
        if not past.any():
            past = _inside(law, [path.failure is None for path in law.paths])  # it always refuses: another way runs
        for condition, holds in _explanation(law, step, refused, past):
            yield Requirement(step, condition, _solved(law, condition, holds))


def _fails_at(path: Path, step: Step) -> bool:
    return path.failure is not None and path.formulas[-1].name == step.name


def _place(path: Path, step: Step) -> int | None:
    """Where a step stands on a path; None if the path does not come by."""
    return next((i for i, other in enumerate(path.formulas) if other.name == step.name), None)


def _gets_past(path: Path, step: Step) -> bool:
    return _place(path, step) is not None and not _fails_at(path, step)


def _inside(law: Law, chosen: Sequence[bool]) -> np.ndarray:
    """Where one of the chosen paths is taken (size 0 left out)."""
    return np.array([*chosen, False])[law.region][tuple(slice(1, None) for _ in law.names)]


def _explanation(law: Law, step: Step, refused: np.ndarray, past: np.ndarray) -> Iterator[tuple[Tree, np.ndarray]]:
    """Conditions, simplest first, each of which refuses sizes that none before it does.

    First those that the step checked: where it let sizes pass as they stand, where it refused turned round. What
    they leave unexplained was decided on the way to the step; but where no size gets past it, nothing was decided.
    """
    found: dict[Tree, np.ndarray] = {}
    unexplained, beyond, left = refused.copy(), _wider(law), np.array(True)
    for candidates in (_checked(law, step), _decided_before(law, step) if past.any() else {}):
        if not unexplained.any():
            break
        for condition in sorted(candidates, key=lambda c: _reading_order(c, candidates[c])):
            holds, wide = _on(condition, _range(law)), _on(condition, beyond)
            if (refused & ~holds).any() and not (past & ~holds).any() and (left & ~wide).any():
                unexplained, left = unexplained & holds, left & wide
                found[condition] = holds
    yield from (_needed(found, refused & ~unexplained) if past.any() else found).items()


def _needed(found: Mapping[Tree, np.ndarray], refused: np.ndarray) -> dict[Tree, np.ndarray]:
    """Without those that refuse nothing that the others let through; the longest goes first."""
    kept = dict(found)
    for condition in sorted(found, key=lambda c: len(expressions.text(c)), reverse=True):
        others = [holds for other, holds in kept.items() if other != condition]
        if others and not (refused & np.logical_and.reduce(others)).any():
            del kept[condition]
    return kept


def _checked(law: Law, step: Step) -> dict[Tree, bool]:
    """The conditions that a step checked, and whether sizes got past it by meeting them."""
    found: dict[Tree, bool] = {}
    for path in law.paths:
        place, met = _place(path, step), not _fails_at(path, step)
        for guard in (g for guards in path.guards for g in guards if g.step == place):
            condition = guard.condition if met else expressions.opposite(guard.condition)
            for part in expressions.parts(condition):
                found[part] = found.get(part, False) or met
    return found


def _decided_before(law: Law, step: Step) -> dict[Tree, bool]:
    """The conditions that steps before had checked where this one refused, turned round."""
    found: dict[Tree, bool] = {}
    for path in (path for path in law.paths if _fails_at(path, step)):
        for guard in (g for guards in path.guards for g in guards if 0 <= g.step < len(path.formulas) - 1):
            found.update(dict.fromkeys(expressions.parts(expressions.opposite(guard.condition)), False))
    return found


def _reading_order(condition: Tree, met: bool) -> tuple[int, bool, bool, int]:
    """Few names before many, what is asked before what is excluded, what was met before what was not, short first."""
    excludes = isinstance(condition, tuple) and condition[0] in ("≠", "or", "not")
    return len(expressions.names_in(condition)), excludes, not met, len(expressions.text(condition))


Axes: TypeAlias = dict[str, np.ndarray]


def _range(law: Law) -> Axes:
    """All sizes of the range, size 0 left out."""
    return {name: np.arange(1, law.within[name] + 1) for name in law.names}


def _wider(law: Law) -> Axes:
    """The range and some sizes beyond, where one rule can be told from another that refuses the same in the range."""
    limits = law.within.items()
    return {name: np.unique(np.r_[1 : n + 1, np.linspace(n, 16 * n + 512, 40, dtype=int)]) for name, n in limits}


def _on(condition: Tree, axes: Axes) -> np.ndarray:
    """Where a condition holds."""
    grid = np.ix_(*axes.values())
    values = expressions.on_grid(condition, dict(zip(axes, grid, strict=True)))
    return np.broadcast_to(values, [len(sizes) for sizes in axes.values()])


def _solved(law: Law, condition: Tree, holds: np.ndarray) -> str:
    """The sizes that meet a condition, where they can be said and say more: `224 ≤ H ≤ 255`."""
    names = [name for name in law.names if name in expressions.names_in(condition)]
    place = tuple(slice(None) if name in names else 0 for name in law.names)
    words = sizes_in_words(holds[place], names, law.within)
    return "" if words == expressions.text(condition) else words


def sizes_in_words(holds: np.ndarray, names: Sequence[str], within: Mapping[str, int]) -> str:
    """A set of sizes, given as an array of booleans that begins at size 1; "" if no short phrase says it."""
    if len(names) == 1:
        return _along_one(np.flatnonzero(holds) + 1, names[0], within[names[0]])
    if len(names) != 2:
        return ""
    rows: dict[bytes, list[int]] = {}
    for i, row in enumerate(holds):
        if row.any():
            rows.setdefault(row.tobytes(), []).append(i + 1)
    if not 0 < len(rows) <= 3:
        return ""
    phrases = []
    for sizes in rows.values():
        one = _along_one(np.array(sizes), names[0], within[names[0]])
        other = _along_one(np.flatnonzero(holds[sizes[0] - 1]) + 1, names[1], within[names[1]])
        phrases.append(" and ".join(filter(None, (one, other))) if one and other else "")
    return "; or ".join(phrases) if all(phrases) else ""


def _along_one(sizes: np.ndarray, name: str, limit: int) -> str:
    if len(sizes) == 0:
        return ""
    first, last = int(sizes[0]), int(sizes[-1])
    steps = set(np.diff(sizes).tolist()) or {1}
    if len(steps) > 1:
        return ""
    (step,) = steps
    if step == 1:
        return _interval(name, first, last, limit)
    if len(sizes) == 2:
        return f"{name} = {first} or {last}"
    every = f"{name} = {first}, {first + step}, {first + 2 * step}, …"
    if first % step == 0:
        every = f"{name} a multiple of {step}" + (f" from {first} up" if first > step else "")
    return every if last + step > limit else f"{every} up to {last}"


def _interval(name: str, first: int, last: int, limit: int) -> str:
    if first == last:
        return f"{name} = {first}"
    if last == limit:
        return f"{name} ≥ {first}" if first > 1 else f"every {name}"
    return f"{first} ≤ {name} ≤ {last}"

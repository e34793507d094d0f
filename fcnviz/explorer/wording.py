"""What is said about a law's steps and failures, as templates: sums, PyTorch's message, its decoding, the ways out.

The speakers are `arithmetic`, PyTorch itself and `diagnosis`; `templates` listens to them at sizes all over the law's
range. What has no template is None, and the view says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from fcnviz import expressions
from fcnviz.arithmetic import agrees, formulas, line
from fcnviz.expressions import Tree
from fcnviz.law import Law, Path
from fcnviz.nested import leaves
from fcnviz.records import Failure, Shape, Step
from fcnviz.templates import Sizes, Text, learn

Heard = TypeVar("Heard")
FEW = 24  # sizes at which a step's sums are heard on each path; as many again confirm them
BESIDE = 6  # sizes on either hand of a border between two wordings
TRIED = 20_000  # sizes of a path among which they are sought
MANY = 48  # sizes at which a failure is heard; twice as many confirm it


@dataclass(frozen=True)
class Said:
    """What is said where a path stops. `at` is a size at which `plain` is said, word for word."""

    message: Text | None
    explanation: Text | None
    remedies: tuple[Text | None, ...]
    at: Sizes
    plain: Failure


def sums(step: Step) -> str:
    """The arithmetic of a step, a line for each axis: axis, symbols, numbers, and ✗ where the rule is broken.

    Nothing where it does not agree with the traced shape, or with the verdict.
    """
    written = formulas(step)
    failed = step.output_shape is None
    if not (any(not one.holds for one in written) if failed else agrees(step)):
        return ""
    return "\n".join("\t".join((one.axis, one.symbols, line(one), "" if one.holds else "✗")) for one in written)


@dataclass(frozen=True)
class Wording:
    """Listens to everything that is said about one law. `data` is the law as `lawdata` writes it.

    `known` holds what has been heard: networks with the same first layers share it. `advance` is called when a step or
    a path has been heard out.
    """

    law: Law
    data: Mapping[str, Any]
    known: dict[str, Any]
    advance: Callable[[], object] = lambda: None
    draw: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @cached_property
    def _seen(self) -> dict[tuple[int, ...], tuple[Step, ...]]:
        return {}

    def steps(self, sizes: Sizes) -> tuple[Step, ...]:
        """The steps at a size, kept: every speaker asks for them."""
        key = tuple(sizes.values())
        if key not in self._seen:
            self._seen[key] = self.law.steps_at(**sizes)
        return self._seen[key]

    def sums(self) -> list[Text | None]:
        """For each step of the law's JSON the template of its sums."""
        paths = [self.sizes(i, 2 * FEW) for i in range(len(self.law.paths))]
        where: dict[int, list[int]] = {}
        for index, path in enumerate(self.data["paths"]):
            for place in path["steps"]:
                where.setdefault(place, []).append(index)
        return list(self._advancing(self._sums(i, where[i], paths) for i in range(len(self.data["steps"]))))

    def _sums(self, place: int, on: Sequence[int], sizes: Sequence[Sequence[Sizes]]) -> Text | None:
        """A step's sums are heard on every path that comes by it."""
        path = self.law.paths[on[0]]
        until = path.formulas[: self.data["steps"][place]["index"] + 1]
        return self._once(f"sums after {until}", lambda: self._learned(until[-1], on, [sizes[i] for i in on]))

    def _once(self, key: str, learned: Callable[[], Any]) -> Any:
        if key not in self.known:
            self.known[key] = learned()
        return self.known[key]

    def _learned(self, step: Step, on: Sequence[int], paths: Sequence[Sequence[Sizes]]) -> Text | None:
        known = sorted(_sizes_of([step]), key=_length)
        return learn(
            lambda at: sums(self.steps(at)[step.index]),
            [at for sizes in paths for at in sizes[::2]],
            [at for sizes in paths for at in sizes[1::2]],
            [*known, *_windows(step), *_inner(self.law.paths[on[0]])],
            known,
            lambda at: int(self.law.region[tuple(at.values())]) in on,
        )

    def failures(self) -> list[Said | None]:
        """For each path what is said where it stops; None where it runs."""
        paths = enumerate(self.law.paths)
        return list(self._advancing(self._failure(i, path) if path.failure else None for i, path in paths))

    def _advancing(self, heard: Iterable[Heard]) -> Iterator[Heard]:
        for one in heard:
            yield one
            self.advance()

    def _failure(self, index: int, path: Path) -> Said:
        key = f"stops at {path.formulas} where {path.condition}"
        return self._once(key, lambda: _Stop(self, index, path).said())

    def sizes(self, index: int, number: int) -> Sequence[Sizes]:
        """Sizes all over a path: its start, any at all, small ones, and those just beside a multiple."""
        region, names, places = self.law.region, self.law.names, self._places[index]
        picked = [tuple(places[i]) for i in self.draw.integers(len(places), size=number)]
        limits = [self.law.within[name] for name in names]
        small = [tuple(self._small(limit) for limit in limits) for _ in range(20 * number)]
        small = [place for place in small if region[place] == index][:number]
        ends = [tuple(places[i]) for i in (*places.argmax(0), *places.argmin(0))]  # where numbers are longest
        mixed = (one for pair in _together(small, picked) for one in pair)
        found = [tuple(self.law.paths[index].start.values()), *ends, *mixed]
        kept = list(dict.fromkeys(found))[:number]
        return [dict(zip(names, map(int, place), strict=True)) for place in kept]

    @cached_property
    def _places(self) -> list[np.ndarray]:
        """For each path the sizes at which it is taken."""
        return [np.argwhere(self.law.region == index) for index in range(len(self.law.paths))]

    def beside(self, index: int, condition: Tree) -> Iterator[Sizes]:
        """Sizes of a path at which the two sides of a comparison are equal or nearly so, as many on either hand."""
        if not isinstance(condition, tuple) or condition[0] not in expressions.RELATIONS:
            return
        places = self._tried[index]
        axes = dict(zip(self.law.names, places.T, strict=True))
        left, right = (np.asarray(expressions.on_grid(side, axes), float) for side in condition[1:])
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.broadcast_to(left / right, len(places)) - 1
        ratios = np.unique(apart[np.isfinite(apart)])
        middle = int(np.searchsorted(ratios, 0))
        for ratio in ratios[max(middle - BESIDE, 0) : middle + BESIDE]:
            yield dict(zip(self.law.names, map(int, places[np.argmax(apart == ratio)]), strict=True))

    @cached_property
    def _tried(self) -> list[np.ndarray]:
        """For each path sizes all over it."""
        return [places[self.draw.integers(len(places), size=TRIED)] for places in self._places]

    def _small(self, limit: int) -> int:
        """A size, small ones as likely as large ones, often at the edge of a multiple of a power of 2."""
        size = int(limit ** self.draw.random())
        step = 2 ** int(self.draw.integers(0, 7))
        near = (size // step) * step - int(self.draw.integers(0, 2))
        return min(max(near if self.draw.random() < 0.6 else size, 1), limit)


@dataclass(frozen=True)
class _Stop:
    """Listens to what is said where one path stops."""

    wording: Wording
    index: int
    path: Path

    @cached_property
    def heard(self) -> Sequence[Sizes]:
        return self.wording.sizes(self.index, MANY)

    @cached_property
    def further(self) -> Sequence[Sizes]:
        return self.wording.sizes(self.index, 2 * MANY)

    @cached_property
    def near(self) -> list[Tree]:
        """The sizes of the maps on the way here, the last ones first."""
        return list(dict.fromkeys(_sizes_of(reversed(self.path.formulas))))

    @cached_property
    def formulas(self) -> list[Tree]:
        inner = _inner(self.path)
        known = [*self.near, *inner]
        return [*sorted(self.near, key=_length), *_windows(self.path.formulas[-1]), *inner, *_ceilings(known)]

    @cached_property
    def start(self) -> Failure:
        found = self.wording.law.at(**self.path.start).failure
        assert found is not None, "a path with a failure fails at its start"
        return found

    @cached_property
    def message(self) -> Text | None:
        """PyTorch's words; few sizes are enough, and each runs the step that fails."""
        return self._learned(self._asked, self.heard[:FEW], self.further[:FEW])

    def said(self) -> Said:
        if self.message is None:
            return Said(None, None, (), dict(self.path.start), self.start)
        kinds = _kinds(self._told(at).remedies for at in self.heard)
        return Said(
            self.message,
            self._explanation,
            tuple(self._template(partial(_of_kind, kind)) for kind in kinds),
            dict(self.path.start),
            self.start,
        )

    @cached_property
    def _explanation(self) -> Text | None:
        """Asked at its borders too: which rectangle a count of columns stands for turns on proportions seldom drawn."""
        beside = partial(self.wording.beside, self.index)
        return self._learned(lambda at: self._told(at).explanation, self.heard, self.further, beside)

    def _template(self, say: Callable[[Failure], str]) -> Text | None:
        return self._learned(lambda at: say(self._told(at)), self.heard, self.further)

    def _learned(
        self,
        say: Callable[[Sizes], str],
        heard: Sequence[Sizes],
        further: Sequence[Sizes],
        beside: Callable[[Tree], Iterable[Sizes]] = lambda condition: (),
    ) -> Text | None:
        return learn(say, heard, further, self.formulas, self.near[:6], self._is_here, beside)

    def _is_here(self, at: Sizes) -> bool:
        return bool(self.wording.law.region[tuple(at.values())] == self.index)

    def _asked(self, at: Sizes) -> str:
        failure = self.wording.law.at(**at).failure
        return "" if failure is None else failure.message

    @cached_property
    def _failures(self) -> dict[tuple[int, ...], Failure]:
        return {}

    def _told(self, at: Sizes) -> Failure:
        """The failure at a size; nothing is run for it, since PyTorch's words are known."""
        key = tuple(at.values())
        if key not in self._failures:
            assert self.message is not None
            *before, step = self.wording.steps(at)
            words = self.message.at(at)
            self._failures[key] = Failure(step, words, self.start.where, self.start.cause, tuple(before))
        return self._failures[key]


def _together(one: Sequence[Any], other: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    for i in range(max(len(one), len(other))):
        yield (*one[i : i + 1], *other[i : i + 1])


def _sizes_of(steps: Iterable[Step]) -> Iterator[Tree]:
    """The formulas among the sizes of these steps."""
    for step in steps:
        for shape in (*step.input_shapes, *leaves(step.output_shape, Shape)):
            yield from (tree for tree in shape if expressions.names_in(tree))


def _inner(path: Path) -> list[Tree]:
    """What torch compared on the way: it writes some of it into its messages."""
    found = [part for condition in path.conditions for part in _parts(condition)]
    return sorted(dict.fromkeys(found), key=_length)[:40]


def _parts(tree: Tree) -> Iterator[Tree]:
    if isinstance(tree, tuple):
        if tree[0] in ("+", "-", "*", "//", "%") and expressions.names_in(tree):
            yield tree
        for part in tree[1:]:
            yield from _parts(part)


def _windows(step: Step) -> Iterator[Tree]:
    """What a step divides: how far a window moves, or where the windows of an adaptive pooling begin and end."""
    if step.window is not None and step.input_shapes:
        sizes = step.input_shapes[0][-len(step.window.kernel) :]
        for i, (size, (before, after)) in enumerate(zip(sizes, step.window.pads, strict=False)):
            w = step.window
            yield from _floors(size, before + after - w.dilation[i] * (w.kernel[i] - 1) - 1, w.stride[i])
    asked = step.settings.get("output_size") if step.operation == "adaptive_pool" else None
    for size, wanted in zip(step.input_shapes[0][-len(asked) :], asked, strict=False) if asked else ():
        for i in range(1, wanted + 1 if isinstance(wanted, int) else 0):
            yield from _floors(("*", i, size), 0, wanted)


def _floors(size: Any, more: Any, by: Any) -> Iterator[Tree]:
    """⌊(size + more)/by⌋ and ⌈(size + more)/by⌉."""
    if expressions.names_in(size) and isinstance(more, int) and isinstance(by, int):
        yield "//", ("+", size, more), by
        yield "//", ("+", size, more + by - 1), by


def _ceilings(trees: Iterable[Tree]) -> Iterator[Tree]:
    """For each ⌊a/m⌋ the ⌈a/m⌉: what a size would have to be to divide by m."""
    for tree in trees:
        for part in _parts(tree):
            if isinstance(part, tuple) and part[0] == "//" and isinstance(part[2], int):
                yield "//", ("+", part[1], part[2] - 1), part[2]


def _length(tree: Tree) -> int:
    return len(str(tree))


def _kinds(remedies: Iterable[Sequence[str]]) -> list[str]:
    """The ways out by how they begin, in an order that all sizes agree with where they do."""
    merged: list[str] = []
    for ways in remedies:
        place = 0
        for kind in map(_kind, ways):
            if kind not in merged:
                merged.insert(place, kind)
            place = merged.index(kind) + 1
    return merged


def _kind(remedy: str) -> str:
    return " ".join(re.split(r"[\s(]+", re.sub(r"\d+", "#", remedy))[:3])


def _of_kind(kind: str, failure: Failure) -> str:
    return "\n".join(remedy for remedy in failure.remedies if _kind(remedy) == kind)

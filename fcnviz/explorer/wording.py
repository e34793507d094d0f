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
from fcnviz.templates import Sizes, Text, conditions, learn

Heard = TypeVar("Heard")
FEW = 24  # sizes at which a step's sums are heard; as many again confirm them
EACH = 4  # so many of them at least on each path that comes by the step
BESIDE = 6  # sizes on either hand of a border between two wordings
ALIKE, TIES = 2, 16  # so many of them where the two sides are as many times apart, and where they are equal
TRIED = 20_000  # sizes of a path among which they are sought, if there are not fewer maps
MANY = 48  # sizes at which a failure is heard; twice as many confirm it
NEAR = 6  # sizes of the maps before a failure, the last ones, that tell what is said of it
DIVIDING = 200  # sizes at which a count of cells may be taken for another one


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
    advance: Callable[[int], object] = lambda done: None
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
        known, each = sorted(_sizes_of([step]), key=_length), max(EACH, FEW // len(on))
        return learn(
            lambda at: sums(self.steps(at)[step.index]),
            [at for sizes in paths for at in sizes[: 2 * each : 2]],
            [at for sizes in paths for at in sizes[1 : 2 * each : 2]],
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
            self.advance(1)

    def _failure(self, index: int, path: Path) -> Said:
        key = f"stops at {path.formulas} where {path.condition}"
        return self._once(key, lambda: _Stop(self, index, path).said())

    def sizes(self, index: int, number: int) -> Sequence[Sizes]:
        """Sizes all over a path: its start, any at all, small ones, and those just beside a multiple."""
        region, names, places = self.law.region, self.law.names, self._places[index]
        picked = [tuple(places[i]) for i in self.draw.integers(len(places), size=number)]
        small = [place for place in map(tuple, self._small(20 * number)) if region[place] == index][:number]
        ends = [tuple(places[i]) for i in (*places.argmax(0), *places.argmin(0))]  # where numbers are longest
        mixed = (one for pair in _together(small, picked) for one in pair)
        found = [tuple(self.law.paths[index].start.values()), *ends, *mixed]
        kept = list(dict.fromkeys(found))[:number]
        return [dict(zip(names, map(int, place), strict=True)) for place in kept]

    @cached_property
    def _places(self) -> list[np.ndarray]:
        """For each path the sizes at which it is taken."""
        return [np.argwhere(self.law.region == index) for index in range(len(self.law.paths))]

    def beside(self, places: np.ndarray, condition: Tree) -> Iterator[Sizes]:
        """Those places at which the two sides of a comparison are equal or nearly so, as many on either hand."""
        if not isinstance(condition, tuple) or condition[0] not in expressions.RELATIONS:
            return
        axes = dict(zip(self.law.names, places.T, strict=True))
        left, right = (np.asarray(expressions.on_grid(side, axes), float) for side in condition[1:])
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.broadcast_to(left / right, len(places)) - 1
        ratios = np.unique(apart[np.isfinite(apart)])
        middle = int(np.searchsorted(ratios, 0))
        for ratio in ratios[max(middle - BESIDE, 0) : middle + BESIDE]:
            there = np.flatnonzero(apart == ratio)
            number = TIES if ratio == 0 else ALIKE  # at 5 to 1 nearly all of 5×1, 10×2, 15×3 and so on
            some = np.unique(np.linspace(0, len(there) - 1, number).astype(int))
            yield from self.named(places[there[some]])

    def maps(self, index: int, trees: Sequence[Tree]) -> np.ndarray:
        """Places of a path at which every map is met once: the smallest where the trees are worth the same.

        Where there are too many maps, or none is told apart, places anywhere on the path.
        """
        apart = [self._apart(name, trees) for name in self.law.names]
        if np.prod([len(sizes) for sizes in apart]) <= TRIED:
            grid = np.stack([part.ravel() for part in np.meshgrid(*apart, indexing="ij")], axis=1)
            grid = grid[self.law.region[tuple(grid.T)] == index]
            if len(grid):
                return grid
        return self._places[index][self.draw.integers(len(self._places[index]), size=TRIED)]

    def _apart(self, name: str, trees: Sequence[Tree]) -> np.ndarray:
        """The smallest sizes of one axis for all that its part in the trees can be worth."""
        sizes = np.arange(1, self.law.within[name] + 1)
        parts = dict.fromkeys(part for tree in trees for part in _speaking_of(tree, name))
        worth = [np.broadcast_to(expressions.on_grid(part, {name: sizes}), sizes.shape) for part in parts]
        return sizes[np.sort(np.unique(np.stack([np.zeros(len(sizes)), *worth]), axis=1, return_index=True)[1])]

    def named(self, places: Iterable[np.ndarray]) -> Iterator[Sizes]:
        for place in places:
            yield dict(zip(self.law.names, map(int, place), strict=True))

    def _small(self, number: int) -> list[list[int]]:
        """Places, small sizes as likely as large ones, often at the edge of a multiple of a power of 2."""
        limits = np.array([self.law.within[name] for name in self.law.names])
        shape = (number, len(limits))
        size, step = (limits ** self.draw.random(shape)).astype(int), 2 ** self.draw.integers(0, 7, shape)
        near = size // step * step - self.draw.integers(0, 2, shape)
        return np.clip(np.where(self.draw.random(shape) < 0.6, near, size), 1, limits).tolist()


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
            tuple(self._way_out(partial(_of_kind, kind)) for kind in kinds),
            dict(self.path.start),
            self.start,
        )

    @cached_property
    def _explanation(self) -> Text | None:
        return self._template(lambda failure: failure.explanation, self._dividing)

    def _way_out(self, say: Callable[[Failure], str]) -> Text | None:
        """Asked where the explanation turns, too."""
        turns = [] if self._explanation is None else conditions(self._explanation)
        beside = [at for condition in turns for at in self.wording.beside(self._maps, condition)]
        return self._template(say, [*self._dividing, *beside])

    def _template(self, say: Callable[[Failure], str], more: Sequence[Sizes]) -> Text | None:
        """Asked at its borders too: which rectangle a count of columns stands for turns on proportions seldom drawn."""
        beside = partial(self.wording.beside, self._maps)
        return self._learned(lambda at: say(self._told(at)), self.heard, [*self.further, *more], beside)

    @cached_property
    def _maps(self) -> np.ndarray:
        return self.wording.maps(self.index, self._last_map)

    @cached_property
    def _dividing(self) -> list[Sizes]:
        """Sizes whose maps have a number of cells that divides the columns of a Linear, as if made for them."""
        columns = self.path.formulas[-1].settings.get("in_features")
        if not columns or not self._last_map:
            return []
        axes = dict(zip(self.wording.law.names, self._maps.T, strict=True))
        cells = np.broadcast_to(expressions.on_grid(("*", 1, *self._last_map), axes), len(self._maps))
        return list(self.wording.named(self._maps[columns % np.maximum(cells, 1) == 0][:DIVIDING]))

    @cached_property
    def _last_map(self) -> tuple[Any, ...]:
        """Height and width of the last map on the way here, or what stands in their place."""
        shapes = (step.input_shapes[0][2:] for step in reversed(self.path.formulas) if step.input_shapes)
        return next((sizes for sizes in shapes if sizes), ())

    def _learned(
        self,
        say: Callable[[Sizes], str],
        heard: Sequence[Sizes],
        further: Sequence[Sizes],
        beside: Callable[[Tree], Iterable[Sizes]] = lambda condition: (),
    ) -> Text | None:
        for telling in (self._last, self.near[:NEAR]):
            found = learn(say, heard, further, self.formulas, telling, self._is_here, beside) if telling else None
            if found is not None:
                return found
        return None

    @cached_property
    def _last(self) -> list[Tree]:
        """What the failing step got and the last map: sizes of earlier maps turn at other sizes of the image."""
        got = set(_sizes_of([self.path.formulas[-1]])) | set(self._last_map)
        return [tree for tree in self.near if tree in got]

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


def _speaking_of(tree: Tree, name: str) -> Iterator[Tree]:
    """The largest parts of a tree that speak of this name alone."""
    names = expressions.names_in(tree)
    if names == {name}:
        yield tree
    elif name in names and isinstance(tree, tuple):
        for part in tree[1:]:
            yield from _speaking_of(part, name)


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

"""Sentences with numbers in them → the same sentences as data, whose numbers are formulas of the sizes.

    "the flattened map is 512·8·8 = 32 768 numbers"  at H = W = 256    is, at every size of its path,
    "the flattened map is 512·", ⌊H/32⌋, "·", ⌊W/32⌋, " = ", 512·⌊H/32⌋·⌊W/32⌋, " numbers"

Nothing here knows what a sentence means. It is heard at many sizes; what stays is text; each number that moves has to
be one of the formulas handed in, or a multiple, a sum or a product of them, at every size heard. Where the words
themselves change, a comparison of formulas has to tell which are said. What was found is then held against the speaker
at further sizes. A sentence for which nothing is found has no template: a view says so rather than guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial, reduce
from itertools import combinations
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np

from fcnviz import expressions
from fcnviz.arithmetic import count
from fcnviz.expressions import Tree

__all__ = ["Choice", "Number", "Sentence", "Text", "conditions", "learn", "to_json"]

Sizes: TypeAlias = Mapping[str, int]
ROUNDS = 12  # how often sizes at which a template was wrong may be learned from
LEAVES = 16  # a sentence that needs more wordings is not understood
DEPTH = 12
PAIRS = 4  # so many pairs of sizes are tried for each border between two wordings
RARE = 2  # a wording heard this seldom is no rule, when others are
LENGTH = 0.05  # bits that a character of a condition costs: of two that tell alike, the shorter one is the reason

# a number as `count` writes it, or in plain digits; a minus belongs to it where it cannot be a difference
_NUMBER = re.compile(r"(?:(?<![^\s(\[x·])[−-])?(?:\d{1,3}(?:\u202f\d{3})+|\d+)")


@dataclass(frozen=True, slots=True)
class Number:
    """A place in a sentence where a number follows the sizes; `grouped` as `count` writes it, else in plain digits."""

    tree: Tree
    grouped: bool

    def at(self, sizes: Sizes) -> str:
        value = expressions.evaluate(self.tree, sizes)
        return count(value) if self.grouped else str(value)


@dataclass(frozen=True, slots=True)
class Sentence:
    """Text and numbers in turn.

    >>> Sentence(("H: ", Number(("//", "H", 2), grouped=True))).at({"H": 9})
    'H: 4'
    """

    parts: tuple[str | Number, ...]

    def at(self, sizes: Sizes) -> str:
        return "".join(part if isinstance(part, str) else part.at(sizes) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Choice:
    """One text where a condition holds, another where it does not."""

    condition: Tree
    yes: Text
    no: Text

    def at(self, sizes: Sizes) -> str:
        return (self.yes if expressions.evaluate(self.condition, sizes) else self.no).at(sizes)


Text: TypeAlias = "Sentence | Choice"


def to_json(text: Text) -> Any:
    """A list of strings and numbers, `{"#": tree}` grouped and `{"d": tree}` plain; `{"if": …}` around two texts."""
    if isinstance(text, Choice):
        return {"if": expressions.to_json(text.condition), "yes": to_json(text.yes), "no": to_json(text.no)}
    return [
        part if isinstance(part, str) else {"#" if part.grouped else "d": expressions.to_json(part.tree)}
        for part in text.parts
    ]


def learn(
    say: Callable[[Sizes], str],
    sizes: Sequence[Sizes],
    further: Sequence[Sizes],
    formulas: Iterable[Tree],
    telling: Iterable[Tree] = (),
    said_there: Callable[[Sizes], bool] = lambda at: True,
    beside: Callable[[Tree], Iterable[Sizes]] = lambda condition: (),
) -> Text | None:
    """The template of what `say` says, learned at `sizes` and right at all of them and at `further` ones; or None.

    Numbers are made of `formulas`; which words are said is told by comparing two of `telling` (of all, if there is
    none), or one of them with a number. Where other words begin, the border is sought between the sizes: only sizes
    for which `said_there` holds are asked about. `beside` gives sizes at which a comparison is just decided, one way or
    the other: there the speaker is asked too.

    >>> say = lambda at: f"{at['H']} cells" if at["H"] > 1 else "one cell"
    >>> some = [{"H": h} for h in range(1, 9)]
    >>> learn(say, some, [{"H": 1000}], ["H"]).at({"H": 500})
    '500 cells'
    """
    trees = tuple(dict.fromkeys(formulas))
    asides = tuple(dict.fromkeys(telling)) or trees
    heard, said = list(sizes), [say(at) for at in sizes]
    words = [say(at) for at in further]
    for _ in range(ROUNDS):
        found = _Listener(heard, said, trees, asides).text()
        wrong = [at for at, word in zip(further, words, strict=True) if found is None or _at(found, at) != word]
        if found is not None and not wrong:
            doubtful = (at for condition in conditions(found) for at in beside(condition))
            wrong = [at for at in doubtful if _at(found, at) != say(at)]
            wrong = wrong or list(_borders(found, heard, said, say, said_there))
            if not wrong:
                return found
        new = [at for at in wrong if at not in heard][:16]
        if not new:
            return None
        heard, said = [*heard, *new], [*said, *map(say, new)]
    return None


def conditions(text: Text) -> Iterator[Tree]:
    """What tells which words of a text are said."""
    if isinstance(text, Choice):
        yield text.condition
        yield from conditions(text.yes)
        yield from conditions(text.no)


def _borders(
    text: Text, heard: Sequence[Sizes], said: Sequence[str], say: Callable[[Sizes], str], there: Callable[[Sizes], bool]
) -> Iterator[Sizes]:
    """Sizes at which the template is wrong, sought where it, or the speaker, goes over to other words."""
    frames = {i: _frame(one) for i, one in enumerate(said)}
    for i, j in _neighbours(heard, frames):
        for told in (say, partial(_at, text)):
            for at in _flip(heard[i], heard[j], partial(_frame_of, told), there):
                if _at(text, at) != say(at):
                    yield at


def _frame_of(told: Callable[[Sizes], str | None], at: Sizes) -> tuple[str, ...]:
    return _frame(told(at) or "")


@lru_cache(maxsize=1 << 12)
def _frame(said: str) -> tuple[str, ...]:
    """What stands between the numbers."""
    return tuple(_NUMBER.split(said))


def _neighbours(heard: Sequence[Sizes], frames: Mapping[int, tuple[str, ...]]) -> Iterator[tuple[int, int]]:
    """For each pair of wordings a few pairs of sizes, the nearest first, at which one and the other is said."""
    pairs: dict[tuple[tuple[str, ...], ...], list[tuple[int, int, int]]] = {}
    for i, j in combinations(frames, 2):
        if frames[i] != frames[j]:
            apart = sum(abs(heard[i][name] - heard[j][name]) for name in heard[i])
            kind = (min(frames[i], frames[j]), max(frames[i], frames[j]))
            pairs.setdefault(kind, []).append((apart, i, j))
    nearest = sorted(pair for found in pairs.values() for pair in sorted(found)[:PAIRS])
    yield from ((i, j) for _, i, j in nearest[: 4 * PAIRS])


def _flip(one: Sizes, other: Sizes, told: Callable[[Sizes], Any], there: Callable[[Sizes], bool]) -> tuple[Sizes, ...]:
    """Two neighbouring sizes between one and the other at which other words are told; none if the way leads out."""
    while max(abs(one[name] - other[name]) for name in one) > 1:
        middle = {name: (one[name] + other[name]) // 2 for name in one}
        if not there(middle):
            return ()
        one, other = (middle, other) if told(middle) == told(one) else (one, middle)
    return one, other


def _at(text: Text, sizes: Sizes) -> str | None:
    try:
        return text.at(sizes)
    except ZeroDivisionError:
        return None


@dataclass(frozen=True)
class _Listener:
    """What was said at which sizes, and the formulas that numbers may be."""

    sizes: Sequence[Sizes]
    said: Sequence[str]
    formulas: tuple[Tree, ...]
    telling: tuple[Tree, ...]

    def text(self) -> Text | None:
        frames = self._by(range(len(self.said)), lambda place: _frame(self.said[place]))
        wordings = [self._sentences(group) for group in frames.values()]
        if any(found is None for found in wordings):
            return None
        leaves = [leaf for found in wordings if found for leaf in found]
        rule = [leaf for leaf in leaves if len(leaf[1]) > RARE] or leaves
        text = self._chosen(rule, DEPTH) if len(rule) <= LEAVES else None
        if text is None or len(leaves) > 2 * LEAVES:
            return None
        return reduce(self._except_at, (leaf for leaf in leaves if leaf not in rule), text)

    def _except_at(self, text: Text, leaf: tuple[Sentence, list[int]]) -> Text:
        """What was said at a size or two only is said there only: no rule is drawn from it."""
        for place in leaf[1]:
            here: list[Tree] = [("=", tree, expressions.evaluate(tree, self.sizes[place])) for tree in self.telling[:2]]
            text = Choice(expressions.both(here), Sentence((self.said[place],)), text)
        return text

    def _by(self, places: Iterable[int], key: Callable[[int], Any]) -> dict[Any, list[int]]:
        groups: dict[Any, list[int]] = {}
        for place in places:
            groups.setdefault(key(place), []).append(place)
        return groups

    def _numbers(self, place: int) -> list[str]:
        return _NUMBER.findall(self.said[place])

    def _sentences(
        self, places: list[int], known: Mapping[int, Tree] | None = None
    ) -> list[tuple[Sentence, list[int]]] | None:
        """The sentences that these sizes share, parted by a number that no formula follows if there is one.

        A formula in `known` follows its number at more sizes than these, where it may seem to stand still.
        """
        spelled = list(zip(*map(self._numbers, places), strict=True))
        values = [[_value(word) for word in words] for words in spelled]
        trees = {i: (known or {}).get(i, self._followed(places, numbers)) for i, numbers in enumerate(values)}
        lost = [i for i, tree in trees.items() if tree is None]
        if not lost:
            slots = [_slot(trees[i], words) for i, words in enumerate(spelled)]
            return [(_sentence(_frame(self.said[places[0]]), slots), places)]
        moving = {i: tree for i, tree in trees.items() if tree is not None and expressions.names_in(tree)}
        groups = self._apart(places, min((values[i] for i in lost), key=lambda numbers: len(set(numbers))))
        if not 1 < len(groups) <= LEAVES // 2:
            return None
        found = [self._sentences(group, moving) for group in groups]
        return None if any(one is None for one in found) else [leaf for one in found if one for leaf in one]

    def _apart(self, places: Sequence[int], numbers: Sequence[int]) -> list[list[int]]:
        """Sizes at which one formula is the number, and the others; where none often is, sizes with equal numbers."""
        agreed = [self._worth(tree, places) == np.array(numbers, float) for tree in self.formulas]
        best = max(agreed, key=np.count_nonzero, default=np.zeros(len(places), bool))
        labels = best.tolist() if np.count_nonzero(best) > len(places) / 3 else numbers
        groups: dict[Any, list[int]] = {}
        for place, label in zip(places, labels, strict=True):
            groups.setdefault(label, []).append(place)
        return list(groups.values())

    def _worth(self, tree: Tree, places: Sequence[int]) -> np.ndarray:
        axes = {name: np.array([self.sizes[i][name] for i in places]) for name in self.sizes[0]}
        return np.broadcast_to(np.asarray(expressions.on_grid(tree, axes), float), (len(places),))

    def _followed(self, places: Sequence[int], numbers: Sequence[int]) -> Tree | None:
        """A constant, a formula, or the simplest thing made of formulas that is worth these numbers."""
        if len(set(numbers)) == 1:
            return numbers[0]
        wanted = np.array(numbers, float)
        worth = [(tree, self._worth(tree, places)) for tree in self.formulas]
        for tree, values in worth:
            if np.array_equal(values, wanted):
                return tree
        return next(_affine(worth, wanted), None) or next(_products(worth, wanted), None)

    def _chosen(self, leaves: Sequence[tuple[Sentence, list[int]]], depth: int) -> Text | None:
        """A comparison that parts the sentences, until one is left."""
        if len(leaves) == 1:
            return leaves[0][0]
        best = self._parting(leaves) if depth else None
        if best is None:
            return None
        condition, holds = best
        sides = [[(leaf, [i for i in at if (i in holds) is side]) for leaf, at in leaves] for side in (True, False)]
        yes, no = (self._chosen([one for one in side if one[1]], depth - 1) for side in sides)
        return None if yes is None or no is None else Choice(condition, yes, no)

    def _parting(self, leaves: Sequence[tuple[Sentence, list[int]]]) -> tuple[Tree, set[int]] | None:
        """The comparison after which most is known of which sentence is said."""
        places = [place for _, at in leaves for place in at]
        label = np.array([i for i, (_, at) in enumerate(leaves) for _ in at])
        best: tuple[float, Tree, np.ndarray] = (math.inf, True, np.ones(len(label), bool))
        for left, right in self._pairs():
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = self._worth(left, places) / self._worth(right, places)
            for doubt, low, high in _cuts(ratio, label):
                if doubt >= best[0]:
                    break
                condition = _compared(left, right, low, high)
                best = min(best, (doubt + LENGTH * len(str(condition)), condition, ratio <= low), key=itemgetter(0))
        _, condition, holds = best
        if not 0 < holds.sum() < len(label):
            return None
        return condition, {place for place, held in zip(places, holds, strict=True) if held}

    def _pairs(self) -> Iterator[tuple[Tree, Tree]]:
        for i, left in enumerate(self.telling):
            yield left, 1
            for right in self.telling[:i]:
                yield left, right


def _value(word: str) -> int:
    return int(word.replace("\u202f", "").replace("−", "-"))


def _slot(tree: Tree | None, words: Sequence[str]) -> str | Number:
    """The number's place; a number that never moves is text."""
    assert tree is not None
    if not expressions.names_in(tree):
        return words[0]
    grouped = any("\u202f" in word or "−" in word for word in words)
    return Number(tree, grouped or not any(len(word.lstrip("-")) > 3 for word in words))


def _sentence(frame: Sequence[str], slots: Sequence[str | Number]) -> Sentence:
    parts: list[str | Number] = [frame[0]]
    for slot, text in zip(slots, frame[1:], strict=True):
        if isinstance(slot, str) and isinstance(parts[-1], str):
            parts[-1] += slot + text
        else:
            parts += [slot, text]
    return Sentence(tuple(part for part in parts if part != ""))


def _affine(worth: Sequence[tuple[Tree, np.ndarray]], wanted: np.ndarray) -> Iterator[Tree]:
    """a·f + b with whole numbers a and b."""
    for tree, values in worth:
        first, other = 0, int(np.argmax(values != values[0]))
        step = values[other] - values[first]
        if step == 0 or not np.isfinite(values).all():
            continue
        a = (wanted[other] - wanted[first]) / step
        b = wanted[first] - a * values[first]
        if a == int(a) and np.array_equal(a * values + b, wanted) and a != 0:
            yield _plus(_times(int(a), tree), int(b))


def _products(worth: Sequence[tuple[Tree, np.ndarray]], wanted: np.ndarray) -> Iterator[Tree]:
    """a·f·g with a whole number a."""
    for i, (left, one) in enumerate(worth):
        for right, other in worth[: i + 1]:
            both = one * other
            if not both.all():
                continue
            a = wanted[0] / both[0]
            if a and a == int(a) and np.array_equal(a * both, wanted):
                yield _times(int(a), ("*", left, right))


def _times(factor: int, tree: Tree) -> Tree:
    return tree if factor == 1 else ("*", factor, tree)


def _plus(tree: Tree, number: int) -> Tree:
    return tree if number == 0 else ("+", tree, number) if number > 0 else ("-", tree, -number)


def _cuts(ratio: np.ndarray, label: np.ndarray) -> list[tuple[float, float, float]]:
    """Neighbouring values between which another sentence may begin, behind the doubt that a cut there leaves."""
    known = np.isfinite(ratio)
    values, place = np.unique(ratio[known], return_inverse=True)
    if len(values) < 2:
        return []
    heard = np.zeros((len(values), int(label.max()) + 1))
    np.add.at(heard, (place, label[known]), 1)
    below = heard.cumsum(0)[:-1]
    doubt = _doubt(below) + _doubt(np.bincount(label) - below)
    turns = np.flatnonzero(((heard[:-1] + heard[1:]) > 0).sum(1) > 1)
    return sorted((float(doubt[i]), float(values[i]), float(values[i + 1])) for i in turns)


def _doubt(heard: np.ndarray) -> np.ndarray:
    """Bits that are missing to know the sentence at each of these sizes; a row says how often each was heard."""
    shares = heard / np.maximum(heard.sum(1, keepdims=True), 1)
    return -np.sum(heard * np.log2(np.where(shares > 0, shares, 1)), axis=1)


def _compared(left: Tree, right: Tree, low: float, high: float) -> Tree:
    """left/right ≤ r with the simplest fraction r that is at least `low` and less than `high`; or < `high`."""
    lowest, highest = (Fraction(x).limit_denominator(10**6) for x in (low, high))
    r = _simplest(lowest, highest)
    return ("<" if r == highest else "≤", _times(r.denominator, left), _multiple(r.numerator, right))


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction with the smallest denominator from `low` to `high`.

    >>> _simplest(Fraction(5, 16), Fraction(2, 5))
    Fraction(1, 3)
    """
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    return whole - 1 + 1 / _simplest(1 / (high - whole + 1), 1 / (low - whole + 1))


def _multiple(factor: int, tree: Tree) -> Tree:
    return factor if tree == 1 else _times(factor, tree)

"""Formulas of sizes as small trees: numbers, names, and lists that begin with an operator.

    512·⌊H/32⌋ = 25 088    is    ["=", ["*", 512, ["//", "H", 32]], 25088]

A tree is plain JSON. It is evaluated here with whole numbers or with whole arrays of sizes, written as text, HTML
or LaTeX, and handed to sympy. Nothing in it is code. Division and remainder are those of Python: ⌊a/b⌋ rounds down.
"""

from __future__ import annotations

import html as escaping
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from typing import Any, TypeAlias

import numpy as np

from fcnviz.arithmetic import count

# A number, the name of an axis, or (operator, argument, …).
Tree: TypeAlias = "int | float | bool | str | tuple[Any, ...]"

RELATIONS = {"=": "≠", "≠": "=", "<": "≥", "≥": "<", ">": "≤", "≤": ">"}  # each with its opposite


def _many(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda *values: reduce(function, values)


_COMMON: dict[str, Callable[..., Any]] = {
    "+": _many(operator.add),
    "-": operator.sub,
    "*": _many(operator.mul),
    "/": operator.truediv,
    "//": operator.floordiv,
    "⌈/⌉": lambda a, b: -(-a // b),
    "%": operator.mod,
    "=": operator.eq,
    "≠": operator.ne,
    "<": operator.lt,
    "≤": operator.le,
    ">": operator.gt,
    "≥": operator.ge,
}
_ON_NUMBERS: dict[str, Callable[..., Any]] = {
    **_COMMON,
    "max": max,
    "min": min,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "round": round,
    "not": operator.not_,
    "if": lambda condition, yes, no: yes if condition else no,
}
_ON_ARRAYS: dict[str, Callable[..., Any]] = {
    **_COMMON,
    "max": _many(np.maximum),
    "min": _many(np.minimum),
    "floor": lambda a: np.floor(a).astype(np.int64),
    "ceil": lambda a: np.ceil(a).astype(np.int64),
    "trunc": lambda a: np.trunc(a).astype(np.int64),
    "round": lambda a: np.rint(a).astype(np.int64),
    "not": np.logical_not,
    "and": _many(np.logical_and),
    "or": _many(np.logical_or),
    "if": np.where,
}


def evaluate(tree: Tree, sizes: Mapping[str, int]) -> Any:
    """The value of a tree at one size; "and" and "or" stop as soon as they are decided.

    >>> evaluate(("-", ("//", "H", 32), 6), {"H": 256})
    2
    """
    if isinstance(tree, str):
        return sizes[tree]
    if not isinstance(tree, tuple):
        return tree
    head, *arguments = tree
    if head == "and":
        return all(evaluate(a, sizes) for a in arguments)
    if head == "or":
        return any(evaluate(a, sizes) for a in arguments)
    if head == "if":
        return evaluate(arguments[1] if evaluate(arguments[0], sizes) else arguments[2], sizes)
    return _ON_NUMBERS[head](*[evaluate(a, sizes) for a in arguments])


def on_grid(tree: Tree, axes: Mapping[str, np.ndarray]) -> Any:
    """The values of a tree at many sizes at once: each name an array, all of them broadcast against each other.

    Where a divisor is 0 the value means nothing, and numpy does not complain.
    """
    if isinstance(tree, str):
        return axes[tree]
    if not isinstance(tree, tuple):
        return tree
    with np.errstate(divide="ignore", invalid="ignore"):
        return _ON_ARRAYS[tree[0]](*[on_grid(a, axes) for a in tree[1:]])


def names_in(tree: Tree) -> set[str]:
    """The axes that a tree speaks of.

    >>> sorted(names_in(("*", 512, ("//", "H", 32), "W")))
    ['H', 'W']
    """
    if isinstance(tree, str):
        return {tree}
    return set().union(*map(names_in, tree[1:])) if isinstance(tree, tuple) else set()


def divisors(tree: Tree) -> Iterator[Tree]:
    """What a tree divides by and speaks of a name, inner ones first.

    >>> list(divisors(("//", "W", ("-", "H", ("//", "H", 2)))))
    [('-', 'H', ('//', 'H', 2))]
    """
    if isinstance(tree, tuple):
        for part in tree[1:]:
            yield from divisors(part)
        if tree[0] in ("/", "//", "%") and names_in(tree[2]):
            yield tree[2]


def opposite(tree: Tree) -> Tree:
    """What holds when the tree does not.

    >>> opposite(("and", ("≥", "H", 7), ("=", "W", 2)))
    ('or', ('<', 'H', 7), ('≠', 'W', 2))
    """
    if isinstance(tree, bool):
        return not tree
    assert isinstance(tree, tuple), "only a relation has an opposite"
    head, *arguments = tree
    if head in RELATIONS:
        return (RELATIONS[head], *arguments)
    if head in ("and", "or"):
        return ("or" if head == "and" else "and", *map(opposite, arguments))
    return arguments[0] if head == "not" else ("not", tree)


def both(trees: list[Tree]) -> Tree:
    """All of them, flat and each once.

    >>> both([("≥", "H", 7), ("and", ("≥", "W", 7), ("≥", "H", 7))])
    ('and', ('≥', 'H', 7), ('≥', 'W', 7))
    """
    flat = dict.fromkeys(part for tree in trees for part in parts(tree) if part is not True)
    return True if not flat else next(iter(flat)) if len(flat) == 1 else ("and", *flat)


def parts(tree: Tree) -> Iterator[Tree]:
    """What has to hold, one by one."""
    if isinstance(tree, tuple) and tree[0] == "and":
        for part in tree[1:]:
            yield from parts(part)
    else:
        yield tree


def to_json(tree: Tree) -> Any:
    """Lists in place of tuples."""
    return [to_json(part) for part in tree] if isinstance(tree, tuple) else tree


def from_json(data: Any) -> Tree:
    """The tree behind `to_json`."""
    return tuple(from_json(part) for part in data) if isinstance(data, list) else data


def text(tree: Tree) -> str:
    """As a student writes it.

    >>> text(("=", ("*", 512, ("//", "H", 32), ("//", "W", 32)), 25088))
    '512·⌊H/32⌋·⌊W/32⌋ = 25\\u202f088'
    """
    return _written(tree, _TEXT)[0]


def html(tree: Tree) -> str:
    """As text, with names in italics and everything escaped."""
    return _written(tree, _HTML)[0]


def latex(tree: Tree) -> str:
    r"""For a formula in mathematics mode.

    >>> latex(("-", ("//", "H", 32), 6))
    '\\left\\lfloor \\frac{H}{32} \\right\\rfloor - 6'
    """
    return _written(tree, _LATEX)[0]


class _Hand:
    """One way to write: how names, numbers and each operator look."""

    def __init__(self, name: Callable[[str], str], number: Callable[[Any], str], forms: Mapping[str, str]) -> None:
        self.name, self.number, self.forms = name, number, forms


_SIGNS = {"and": " and ", "or": " or ", "+": " + ", "-": " − ", "*": "·", **{r: f" {r} " for r in RELATIONS}}
_FORMS = {
    "//": "⌊{}/{}⌋",
    "/": "{}/{}",
    "floor": "⌊{}⌋",
    "ceil": "⌈{}⌉",
    "⌈/⌉": "⌈{}/{}⌉",
    "trunc": "⌊{}⌋",
    "%": "{} mod {}",
    "round": "round({})",
    "not": "not ({})",
    "if": "({1} if {0} else {2})",
    "(": "({})",
}
_TEXT = _Hand(str, lambda n: count(n) if isinstance(n, int) else f"{n:g}", {**_SIGNS, **_FORMS})
_HTML = _Hand(
    lambda name: f"<var>{escaping.escape(name)}</var>",
    _TEXT.number,
    {key: escaping.escape(form) for key, form in _TEXT.forms.items()},
)
_LATEX = _Hand(
    lambda name: name if len(name) == 1 else rf"\mathit{{{name.replace('_', chr(92) + '_')}}}",
    lambda n: f"{n:,}".replace(",", r"\,") if isinstance(n, int) else f"{n:g}",
    {
        **_TEXT.forms,
        "-": " - ",
        "*": r" \cdot ",
        "≤": r" \leq ",
        "≥": r" \geq ",
        "≠": r" \neq ",
        "and": r" \wedge ",
        "or": r" \vee ",
        "(": r"\left( {} \right)",
        "%": r"{} \;\mathrm{{mod}}\; {}",
        "//": r"\left\lfloor \frac{{{}}}{{{}}} \right\rfloor",
        "⌈/⌉": r"\left\lceil \frac{{{}}}{{{}}} \right\rceil",
        "/": r"\frac{{{}}}{{{}}}",
        "floor": r"\left\lfloor {} \right\rfloor",
        "ceil": r"\left\lceil {} \right\rceil",
    },
)
_STRENGTH = {"or": 0, "and": 1, **dict.fromkeys(RELATIONS, 2), "%": 3, "+": 4, "-": 4, "*": 5, "/": 5}
_ATOM = 6


def _written(tree: Tree, hand: _Hand) -> tuple[str, int]:
    """The text of a tree, and how strongly it holds together."""
    if isinstance(tree, str):
        return hand.name(tree), _ATOM
    if not isinstance(tree, tuple):
        return hand.number(tree), _ATOM if not isinstance(tree, bool) and tree >= 0 else _STRENGTH["-"]
    head, *arguments = tree
    strength = _STRENGTH.get(head, _ATOM)
    if head in _SIGNS:
        parts = [_inside(a, strength + (head == "-" and i > 0), hand) for i, a in enumerate(arguments)]
        return hand.forms[head].join(parts), strength
    if head in ("max", "min"):
        return f"{head}({', '.join(_written(a, hand)[0] for a in arguments)})", _ATOM
    bound = _ATOM if head in ("%", "/") or (head in ("//", "⌈/⌉") and hand is not _LATEX) else 0
    return hand.forms[head].format(*[_inside(a, bound, hand) for a in arguments]), strength


def _inside(tree: Tree, at_least: int, hand: _Hand) -> str:
    written, strength = _written(tree, hand)
    return written if strength >= at_least else hand.forms["("].format(written)


def to_sympy(tree: Tree) -> Any:
    """The tree as a sympy expression; its names are positive whole numbers.

    >>> to_sympy(("-", ("//", "H", 32), 6))
    floor(H/32) - 6
    """
    import sympy

    if isinstance(tree, str):
        return sympy.Symbol(tree, integer=True, positive=True)
    if not isinstance(tree, tuple):
        return sympy.sympify(tree)
    return _sympy_heads(sympy)[tree[0]](*map(to_sympy, tree[1:]))


def _sympy_heads(sympy: Any) -> dict[str, Callable[..., Any]]:
    half = sympy.Rational(1, 2)
    return {
        "+": sympy.Add,
        "*": sympy.Mul,
        "max": sympy.Max,
        "min": sympy.Min,
        "%": sympy.Mod,
        "-": operator.sub,
        "/": operator.truediv,
        "floor": sympy.floor,
        "ceil": sympy.ceiling,
        "//": lambda a, b: sympy.floor(a / b),
        "⌈/⌉": lambda a, b: sympy.ceiling(a / b),
        "trunc": lambda a: sympy.floor(a) if a.is_nonnegative else sympy.sign(a) * sympy.floor(abs(a)),
        "round": lambda a: sympy.floor(a + half) - sympy.Piecewise((1, sympy.Eq(sympy.Mod(a, 2), half)), (0, True)),
        "=": sympy.Eq,
        "≠": sympy.Ne,
        "<": sympy.Lt,
        "≤": sympy.Le,
        ">": sympy.Gt,
        "≥": sympy.Ge,
        "and": sympy.And,
        "or": sympy.Or,
        "not": sympy.Not,
        "if": lambda condition, yes, no: sympy.Piecewise((yes, condition), (no, True)),
    }

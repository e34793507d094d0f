"""What trees of sizes claim: one meaning, however they are evaluated, written or sent."""

from __future__ import annotations

import ast
import html.parser
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser

from fcnviz import expressions
from fcnviz.expressions import Tree, evaluate, from_json, latex, names_in, on_grid, opposite, text, to_json, to_sympy

NAMES = ("H", "W", "N")
numbers = st.one_of(st.integers(0, 40), st.integers(1, 10**6))
divisors = st.integers(1, 40)


def sums(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    """One operator more around whole numbers."""
    several = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        st.tuples(st.sampled_from(["+", "*", "max", "min"]), several).map(lambda t: (t[0], *t[1])),
        st.tuples(st.just("-"), inner, inner),
        st.tuples(st.sampled_from(["//", "%"]), inner, divisors),
        st.tuples(st.sampled_from(["floor", "ceil"]), st.tuples(st.just("/"), inner, divisors)),
    )


wholes = st.recursive(st.one_of(numbers, st.sampled_from(NAMES)), sums, max_leaves=8)
relations: st.SearchStrategy[Tree] = st.tuples(st.sampled_from(sorted(expressions.RELATIONS)), wholes, wholes)
conditions = st.recursive(
    relations,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)).map(lambda t: (t[0], *t[1])),
        st.tuples(st.just("not"), inner),
    ),
    max_leaves=4,
)
choices = st.tuples(st.just("if"), conditions, wholes, wholes)
trees = st.one_of(wholes, conditions, choices)
sizes = st.fixed_dictionaries({name: st.integers(1, 300) for name in NAMES})
SIZES = {"H": [1, 5, 32, 224, 31], "W": [1, 7, 64, 300], "N": [1, 2]}


def is_small(tree: Tree) -> bool:
    """True if every number on the way fits the 64 bits of an array of sizes."""
    if not isinstance(tree, tuple):
        return True
    return all(map(is_small, tree[1:])) and all(abs(evaluate(tree, dict.fromkeys(NAMES, s))) < 2**50 for s in (1, 300))


# One value.


@given(trees.filter(is_small))
def test_many_sizes_at_once_have_the_values_of_one_at_a_time(tree: Tree) -> None:
    grid = np.ix_(*(np.array(SIZES[name]) for name in NAMES))
    values = np.broadcast_to(on_grid(tree, dict(zip(NAMES, grid, strict=True))), [len(SIZES[n]) for n in NAMES])
    for place in np.ndindex(values.shape):
        at = {name: SIZES[name][i] for name, i in zip(NAMES, place, strict=True)}
        assert values[place] == evaluate(tree, at), (text(tree), at)


@given(wholes, sizes)
@settings(max_examples=60, deadline=None)
def test_sympy_has_the_same_value(tree: Tree, at: dict[str, int]) -> None:
    symbols = {sympy.Symbol(name, integer=True, positive=True): size for name, size in at.items()}
    assert sympy.sympify(to_sympy(tree)).subs(symbols) == evaluate(tree, at)


@given(conditions, sizes)
@settings(max_examples=40, deadline=None)
def test_sympy_gives_the_same_verdict(tree: Tree, at: dict[str, int]) -> None:
    symbols = {sympy.Symbol(name, integer=True, positive=True): size for name, size in at.items()}
    assert bool(sympy.sympify(to_sympy(tree)).subs(symbols)) is bool(evaluate(tree, at))


@given(conditions, sizes)
def test_the_opposite_holds_where_the_condition_does_not(tree: Tree, at: dict[str, int]) -> None:
    assert bool(evaluate(opposite(tree), at)) is not bool(evaluate(tree, at))
    assert bool(evaluate(opposite(opposite(tree)), at)) is bool(evaluate(tree, at))
    assert names_in(opposite(tree)) == names_in(tree)


def test_the_opposite_of_a_constant_and_of_a_relation() -> None:
    assert opposite(True) is False and opposite(False) is True
    for sign, other in expressions.RELATIONS.items():
        assert opposite((sign, "H", 3)) == (other, "H", 3) and opposite((other, "H", 3)) == (sign, "H", 3)


@given(st.lists(conditions, max_size=4), sizes)
def test_both_holds_where_all_hold_and_says_each_part_once(parts: list[Tree], at: dict[str, int]) -> None:
    joined = expressions.both(parts)
    assert bool(evaluate(joined, at)) is all(evaluate(part, at) for part in parts)
    flat = list(expressions.parts(joined))
    assert len(set(flat)) == len(flat) and not any(isinstance(p, tuple) and p[0] == "and" for p in flat)


def test_a_decided_condition_leaves_the_rest_alone() -> None:
    never = ("=", ("//", 8, ("-", "H", 4)), 2)
    assert evaluate(("and", ("≠", "H", 4), never), {"H": 4}) is False
    assert evaluate(("or", ("=", "H", 4), never), {"H": 4}) is True
    assert evaluate(("if", ("=", "H", 4), 0, ("//", 8, ("-", "H", 4))), {"H": 4}) == 0
    grid = on_grid(("and", ("≠", "H", 4), never), {"H": np.array([4, 8])})
    assert grid.tolist() == [False, True]


@pytest.mark.parametrize("value", [-7, -1, 0, 1, 7])
@pytest.mark.parametrize("head", ["floor", "ceil", "trunc", "round"])
def test_roundings_are_pythons_for_numbers_and_arrays(head: str, value: int) -> None:
    tree = (head, ("/", ("-", "H", 100), 2))
    python = {"floor": lambda x: x // 1, "ceil": lambda x: -(-x // 1), "trunc": int, "round": round}[head]
    at = {"H": 100 + value}
    assert evaluate(tree, at) == python(value / 2) == on_grid(tree, {"H": np.array([100 + value])})[0]
    assert to_sympy(tree).subs(sympy.Symbol("H", integer=True, positive=True), 100 + value) == evaluate(tree, at)


@pytest.mark.parametrize("a", range(-9, 10))
def test_division_and_remainder_are_pythons(a: int) -> None:
    shift = ("-", "H", 20)
    for b in (-4, -1, 1, 3):
        for head, value in (("//", a // b), ("%", a % b)):
            tree = (head, shift, b)
            assert evaluate(tree, {"H": 20 + a}) == value == on_grid(tree, {"H": np.array([20 + a])})[0]
            assert to_sympy(tree).subs(sympy.Symbol("H", integer=True, positive=True), 20 + a) == value


@given(trees)
def test_divisors_are_all_that_a_tree_divides_by(tree: Tree) -> None:
    assert not list(expressions.divisors(tree))  # these trees divide by numbers alone
    assert list(expressions.divisors(("//", tree, "W"))) == ["W"]
    assert list(expressions.divisors(("%", 1, ("-", "H", ("/", 2, "N"))))) == ["N", ("-", "H", ("/", 2, "N"))]


# One form.


@given(trees)
def test_json_brings_the_same_tree_back(tree: Tree) -> None:
    sent = json.dumps(to_json(tree), ensure_ascii=False)
    assert from_json(json.loads(sent)) == tree
    assert from_json(json.loads(json.dumps(to_json(tree)))) == tree


def as_python(written: str) -> str:
    """A written tree as a Python expression: the reader that a student is, with the usual order of operators."""
    written = re.sub(r"(?<=\d)\u202f(?=\d)", "", written)
    for sign, python in (
        ("·", "*"),
        ("−", "-"),
        ("≠", "!="),
        ("≤", "<="),
        ("≥", ">="),
        (" = ", " == "),
        (" mod ", " % "),
    ):
        written = written.replace(sign, python)
    return written.replace("⌊", "floor(").replace("⌋", ")").replace("⌈", "ceil(").replace("⌉", ")")


FUNCTIONS = {"floor": lambda x: x // 1, "ceil": lambda x: -(-x // 1), "max": max, "min": min, "round": round}


def read(written: str, at: Mapping[str, int]) -> Any:
    """What a reader of the text works out; fractions are exact, and a chain of relations is no tree of ours."""
    parsed = ast.parse(as_python(written), mode="eval")
    for node in ast.walk(parsed):
        assert not isinstance(node, ast.Compare) or len(node.ops) == 1, written
    exact = {name: sympy.Integer(size) for name, size in at.items()}
    code = compile(ast.fix_missing_locations(_Exact().visit(parsed)), "tree", "eval")
    return eval(code, {"__builtins__": {}, "Integer": sympy.Integer, **FUNCTIONS}, exact)


class _Exact(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Call(ast.Name("Integer", ast.Load()), [node], [])


@given(trees, sizes)
@settings(max_examples=400, deadline=None)
def test_the_text_can_be_read_in_one_way_only(tree: Tree, at: dict[str, int]) -> None:
    assert bool(read(text(tree), at) == evaluate(tree, at)), text(tree)


@pytest.mark.parametrize(
    ("tree", "written"),
    [
        (("=", ("*", 512, ("//", "H", 32), ("//", "W", 32)), 25088), "512·⌊H/32⌋·⌊W/32⌋ = 25\u202f088"),
        (("≥", ("//", "H", 32), 7), "⌊H/32⌋ ≥ 7"),
        (("-", "H", ("-", "W", 2)), "H − (W − 2)"),
        (("-", ("-", "H", "W"), 2), "H − W − 2"),
        (("*", ("+", "H", 1), "W"), "(H + 1)·W"),
        (("//", ("+", ("//", "H", 2), 1), 2), "⌊(⌊H/2⌋ + 1)/2⌋"),
        (("*", "H", ("%", "W", 2)), "H·(W mod 2)"),
        (("%", ("*", 3, "H", "W"), 48), "(3·H·W) mod 48"),
        (("+", ("%", "H", 2), 1), "(H mod 2) + 1"),
        (("=", ("%", "H", 4), 0), "H mod 4 = 0"),
        (("or", ("and", ("<", "H", 3), ("<", "W", 3)), ("=", "H", 9)), "H < 3 and W < 3 or H = 9"),
        (("and", ("or", ("<", "H", 3), ("<", "W", 3)), ("=", "H", 9)), "(H < 3 or W < 3) and H = 9"),
        (("not", ("%", "H", 2)), "not (H mod 2)"),
        (("ceil", ("/", "H", 2)), "⌈H/2⌉"),
        (("floor", ("*", 1.5, "H")), "⌊1.5·H⌋"),
        (("max", 1, ("-", "H", 4)), "max(1, H − 4)"),
        (("=", "H", -3), "H = −3"),
    ],
    ids=str,
)  # fmt: skip
def test_texts_as_a_student_writes_them(tree: Tree, written: str) -> None:
    assert text(tree) == written


class _Words(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.data = ""

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        assert not attributes
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.data += data


@given(trees)
def test_html_says_what_the_text_says(tree: Tree) -> None:
    words = _Words()
    words.feed(expressions.html(tree))
    words.close()
    assert words.data == text(tree) and set(words.tags) <= {"var"}


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a&lt;b", '"><b>', "{0}", "{}"]
)
def test_a_hostile_name_is_only_a_name(name: str) -> None:
    tree = ("and", ("<", ("//", name, 2), 3), ("≥", ("max", name, 1), ("%", name, 2)))
    words = _Words()
    words.feed(expressions.html(tree))
    words.close()
    assert set(words.tags) == {"var"} and words.data == text(tree) and name in words.data


mathtext = MathTextParser("path")


@given(trees)
@settings(max_examples=50, deadline=None)
def test_matplotlib_can_set_the_latex(tree: Tree) -> None:
    assert mathtext.parse(f"${latex(tree)}$").width > 0


@pytest.mark.parametrize(
    "tree",
    [
        ("=", ("*", 512, ("//", "H", 32), ("//", "W", 32)), 25088),
        ("or", ("≤", "height", ("%", "W", 4)), ("not", ("≠", ("ceil", ("/", "H", 2)), 3))),
        ("if", (">", "H", 3), ("trunc", ("*", 1.5, "H")), ("max", "H", ("round", ("/", "H", 3)))),
        ("≥", ("-", "H_in", 2), ("min", "W", -4)),
    ],
    ids=str,
)
def test_latex_of_every_operator_can_be_set(tree: Tree) -> None:
    assert mathtext.parse(f"${latex(tree)}$").width > 0


def test_latex_of_a_requirement() -> None:
    assert latex(("≥", ("//", "H", 32), 7)) == r"\left\lfloor \frac{H}{32} \right\rfloor \geq 7"
    assert latex(("=", ("*", 2, ("+", "H", 1)), 25088)) == r"2 \cdot \left( H + 1 \right) = 25\,088"


@pytest.mark.parametrize("tree", [("nothing", "H"), ("__import__", "os"), ("eval", "H")])
def test_an_unknown_operator_is_no_code(tree: Tree) -> None:
    with pytest.raises(KeyError):
        evaluate(tree, {"H": 1, "os": 1})
    with pytest.raises(KeyError):
        on_grid(tree, {"H": np.ones(1), "os": np.ones(1)})

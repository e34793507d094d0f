"""The pages of a law, held against golden files that were read, and against the law that they speak of."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser
from nets import Branching, UNet
from test_table import Page
from torch import nn

from fcnviz import expressions, lawtable, layout, models
from fcnviz.expressions import Tree
from fcnviz.law import Law, law
from fcnviz.records import Shape


class Tall(nn.Module):
    """One convolution for tall images, another for the others."""

    def __init__(self) -> None:
        super().__init__()
        self.tall, self.flat = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 5, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tall(x) if x.shape[2] > 32 else self.flat(x)


def ceil() -> nn.Sequential:
    pools = (nn.MaxPool2d(2, 2, ceil_mode=True), nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *pools, nn.Conv2d(4, 4, 3))


def hostile() -> nn.Sequential:
    net = nn.Sequential()
    net.add_module("<b>_#&{%", nn.Conv2d(3, 4, 3))
    net.add_module("a\nb\\^~", nn.MaxPool2d(2))
    return net


def batch() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 3))


NETS: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    "vgg16": (models.vgg16, (1, 3, "H", "W"), 2048),
    "vgg16-conv": (lambda: models.vgg16("conv"), (1, 3, "H", "W"), 256),
    "lenet": (models.lenet, (1, 1, "H", "W"), 64),
    "unet": (UNet, (1, 3, "H", "W"), 64),
    "ceil": (ceil, (1, 3, "H", "W"), 64),
    "tall": (Tall, (1, 3, "H", "W"), 48),
    "branching": (Branching, (1, 3, "H", "W"), 32),
    "batch": (batch, ("N", 3, "H", "W"), 30),
    "square": (models.alexnet, (1, 3, "S", "S"), 256),
    "one-axis": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3, 2), nn.Flatten(), nn.Linear(40, 3)), (1, 2, "L"), 64),
    "same": (lambda: nn.Conv2d(3, 4, 3, padding=1), (1, 3, "H", "W"), 16),
    "none": (lambda: nn.Sequential(nn.Conv2d(3, 4, 9)), (1, 3, "H", "W"), 8),
    "hostile": (hostile, (1, 3, "H_out", "W"), 16),
}


@cache
def found(name: str) -> Law:
    if name == "partial":
        whole = found("unet")
        region = np.where(np.arange(65)[:, None] + np.arange(65) > 80, -1, whole.region)
        counts = [int((region == i).sum()) for i in range(len(whole.paths))]
        paths = tuple(replace(path, count=number) for path, number in zip(whole.paths, counts, strict=True))
        return replace(whole, region=region, paths=paths, covered=sum(counts) / 64**2)
    model, shape, within = NETS[name]
    return law(model(), shape, within=within)


ALL = [*NETS, "partial"]


@pytest.mark.parametrize("name", sorted({*ALL} - {"none"}))
def test_text_is_as_it_was_read(name, golden):
    golden(f"law-{name}.txt", lawtable.text(found(name)))


@pytest.mark.parametrize("name", ["vgg16", "unet", "tall", "hostile", "partial"])
def test_html_is_as_it_was_read(name, golden):
    golden(f"law-{name}.html", lawtable.html(found(name)).rstrip("\n"))


@pytest.mark.parametrize("name", ["vgg16", "ceil", "tall", "hostile"])
def test_latex_is_as_it_was_read(name, golden):
    golden(f"law-{name}.tex", lawtable.latex(found(name)))


# Ceilings


def worth(tree: Tree, **sizes: int) -> Any:
    """The value of a tree that may have ⌈a/b⌉ in it."""
    if isinstance(tree, tuple) and tree[0] == "⌈/⌉":
        a, b = (worth(part, **sizes) for part in tree[1:])
        return -(-a // b)
    if isinstance(tree, tuple):
        return expressions.evaluate((tree[0], *(worth(part, **sizes) for part in tree[1:])), sizes)
    return expressions.evaluate(tree, sizes)


@given(st.integers(-50, 50), st.integers(1, 64), st.integers(-9, 9), st.integers(1, 5000))
def test_a_ceiling_is_worth_what_the_floor_was(c, m, k, size):
    for tree in (("+", ("//", ("+", "H", c), m), k), ("-", ("//", ("-", "H", c), m), k), ("//", "H", m)):
        assert worth(lawtable.ceiled(tree), H=size) == worth(tree, H=size)


@pytest.mark.parametrize(
    "tree", ["H", 7, ("*", 2, "H"), ("+", "H", 1), ("+", ("//", ("/", "H", 2), 3), 1), ("//", 9, "H")]
)
def test_what_is_no_floor_of_whole_numbers_stays(tree):
    assert lawtable.ceiled(tree) == tree


def test_ceilings_stand_where_torch_ceils_and_floors_elsewhere():
    shapes = [lawtable.written(row.shape) for row in lawtable.rows(found("ceil"))]
    assert shapes[1] == "4 × ⌈H/2⌉ × ⌈W/2⌉"
    assert "⌊" not in "".join(shapes)
    assert "⌈" not in lawtable.text(found("vgg16"))


@pytest.mark.parametrize("name", ["ceil", "lenet", "vgg16", "unet"])
def test_each_shape_shown_is_that_of_the_trace(name):
    one = found(name)
    sizes = one.main.start
    trace = one.at(**sizes)
    for row in lawtable.rows(one):
        assert Shape(worth(size, **sizes) for size in row.shape) == trace[row.name].output_shape


# What is said of the sizes


@pytest.mark.parametrize("name", ALL)
def test_every_decided_size_has_one_outcome(name):
    one, outcomes = found(name), lawtable.outcomes(found(name))
    assert sorted(i for o in outcomes for i in o.paths) == list(range(len(one.paths)))
    assert sum(o.count for o in outcomes) == int((one.region >= 0).sum())


@pytest.mark.parametrize("name", ALL)
def test_each_condition_shown_decides_as_the_law_does(name):
    one, outcomes = found(name), lawtable.outcomes(found(name))
    draw = np.random.default_rng(0)
    places = np.argwhere(one.region >= 0)
    for place in draw.choice(places, 300):
        index, sizes = int(one.region[tuple(place)]), dict(zip(one.names, map(int, place), strict=True))
        names = {step.name for step in one.paths[index].formulas}
        for outcome in outcomes:
            reached = outcome.step is None or outcome.step.name in names
            assert outcome.condition is not None
            if reached:
                assert bool(worth(outcome.condition, **sizes)) == (index in outcome.paths), (sizes, outcome.condition)


def test_the_49_cell_shapes_of_vgg16_are_found_and_said():
    said = lawtable.accepted_text(found("vgg16")).replace("\u202f", " ")
    assert said == (
        "3 072 of 4 194 304 sizes run (< 0.1 %): 32 ≤ H ≤ 63 and 1568 ≤ W ≤ 1599; or "
        "224 ≤ H ≤ 255 and 224 ≤ W ≤ 255; or 1568 ≤ H ≤ 1599 and 32 ≤ W ≤ 63"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vgg16-conv", "H ≥ 224 and W ≥ 224"),
        ("unet", "H a multiple of 4 and W a multiple of 4"),
        ("tall", "1 968 of 2 304 sizes run"),
        ("same", "all 256 sizes run"),
        ("none", "none of 64 sizes run"),
        ("one-axis", "21 ≤ L ≤ 22"),
    ],
)
def test_which_sizes_run_in_words(name, said):
    assert lawtable.accepted_text(found(name)).replace("\u202f", " ").endswith(said)


@pytest.mark.parametrize(
    ("name", "step", "words"),
    [
        ("vgg16", "classifier.0", "as many numbers as the Linear has columns"),
        ("vgg16", "features.4", "at least one cell must be left"),
        ("vgg16-conv", "classifier.0", "the kernel must fit"),
        ("unet", "cat", "both maps must have the same height and width"),
    ],
)
def test_what_a_step_asks_in_words(name, step, words):
    (demand,) = [d for d in lawtable.demands(found(name)) if d.name == step]
    assert demand.words == words


def test_an_output_as_large_as_the_input_is_told():
    assert "as large as the input at every size that runs" in lawtable.text(found("unet"))
    assert "not always as large as the input" in lawtable.text(found("vgg16-conv"))
    assert "as large as" not in lawtable.text(found("vgg16"))


def test_where_no_size_runs_the_last_line_says_all_of_them():
    (only,) = lawtable.outcomes(found("none"))
    assert (only.condition, only.count) == (True, 64)
    assert lawtable.text(found("none")).endswith("all of them")


def test_a_law_in_part_says_so():
    assert "Undecided: the law covers" in lawtable.text(found("partial"))
    assert "Undecided" not in lawtable.text(found("unet"))


def test_a_share_is_never_all_or_nothing_unless_it_is():
    assert [lawtable.share(n, 10**6) for n in (0, 1, 999_999, 10**6)] == ["0 %", "< 0.1 %", "> 99.9 %", "100 %"]


# The terminal and the notebook


@pytest.mark.parametrize("name", ALL)
def test_the_text_fits_120_characters_and_no_name_breaks_it(name):
    for line in lawtable.text(found(name)).splitlines():
        assert layout.width_of(line) <= 120
        assert line.replace("\u202f", "").isprintable()


@pytest.mark.parametrize("name", ALL)
def test_html_is_well_formed_and_brings_nothing_from_elsewhere(name):
    html = lawtable.html(found(name))
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "link", "svg", "form"}
    assert not re.search(r"https?:|url\(|@import|\bon\w+=|\bid=", html)
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")


@pytest.mark.parametrize("name", ALL)
def test_each_row_has_as_many_cells_as_there_are_heads(name):
    for one in re.findall(r"<table.*?</table>", lawtable.html(found(name)), re.DOTALL):
        assert len({len(re.findall(r"<t[hd]\b", row)) for row in re.findall(r"<tr.*?</tr>", one, re.DOTALL)}) == 1


def test_a_module_named_b_stays_text():
    page = Page(lawtable.html(found("hostile")))
    assert "<b>_#&{%" in page.text
    assert [tag for tag, _ in page.tags].count("b") == 1  # the model's name


def test_without_its_style_the_html_still_says_what_runs():
    text = Page(re.sub(r"<style>.*?</style>", "", lawtable.html(found("vgg16")), flags=re.DOTALL)).text
    assert "✓ runs" in text
    assert "✗ stops at classifier.0 (Linear)" in text


# LaTeX


@pytest.mark.parametrize("name", ALL)
def test_each_formula_is_set_by_matplotlib_as_well(name):
    one, parser = found(name), MathTextParser("agg")
    shapes = [lawtable._latex_shape(row.shape) for row in lawtable.rows(one) if not row.failed]
    conditions = [c for demand in lawtable.demands(one) for c in demand.conditions]
    conditions += [o.condition for o in lawtable.outcomes(one) if isinstance(o.condition, tuple)]
    for formula in dict.fromkeys([*shapes, *map(expressions.latex, conditions)]):
        parser.parse(f"${formula}$")


@pytest.mark.parametrize("name", ALL)
def test_latex_is_balanced(name):
    latex = lawtable.latex(found(name))
    assert latex.count("$$") == 2
    plain = re.sub(r"\\[{}]", "", latex)
    assert plain.count("{") == plain.count("}")
    assert latex.count(r"\begin") == latex.count(r"\end")
    assert latex.count(r"\left") == latex.count(r"\right")

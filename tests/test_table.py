"""The tables, held against golden files that were read, and against names that try to break them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fcnviz import layout, models, table, trace
from fcnviz.arithmetic import formulas
from fcnviz.records import Failure, Shape, Source, Step, Trace, Window


class Skip(nn.Module):
    """One level of a U-Net: it fails where a size is odd."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.bottom = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = F.relu(self.down(x))
        return torch.cat([a, self.up(self.bottom(F.max_pool2d(a, 2)))], 1)


class Odds(nn.Module):
    """Windows and outputs of many sorts."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(4, 8, (3, 5), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
        self.same = nn.Conv2d(8, 8, 4, padding="same", dilation=2)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.up = nn.ConvTranspose2d(8, 2, 3, 2, output_padding=1)
        self.norm, self.tall = nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d((6, 4))

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        y = self.norm(self.up(self.pool(self.same(self.wide(x)))))
        y = F.pad(F.interpolate(y, scale_factor=2), (1, 1, 2, 2), mode="reflect")
        small = self.tall(y)[..., 1:, :]
        return {"map": small + 1, "rows": small.flatten(1).mean(1), "axes": small.permute(0, 2, 3, 1), "none": None}


def of(*steps: Step, failure: Failure | None = None) -> Trace:
    return Trace("Net", steps, (Shape((1, 3, 8, 8)),), None, failure, "meta", "eval")


def step(
    index: int = 0, name: str = "a", kind: str = "Odd", given: tuple[int, ...] = (1, 3, 8, 8), **rest: Any
) -> Step:
    facts = {"operation": None, "input_shapes": (Shape(given),), "output_shape": Shape(given), **rest}
    return Step(index, name, name, kind, **facts)


@dataclass(frozen=True)
class Told(Failure):
    """A failure whose words are given."""

    explanation: str = ""
    remedies: tuple[str, ...] = ()


def failing(name: str = "fc", message: str = "no", explanation: str = "it broke", ways: tuple[str, ...] = ()) -> Trace:
    last = step(1, name, "Linear", (1, 192), output_shape=None)
    told = Told(last, message, "net.py, line 7", RuntimeError(), (step(),), explanation, ways)
    return of(step(), last, failure=told)


def without_place(found: Trace) -> Trace:
    """Line numbers of this file would age."""
    return replace(found, failure=replace(found.failure, where="")) if found.failure else found


HOSTILE = "<script>alert(1)</script>\n\x1b[31m\u202e&\"'`日本語"
TRACES = {
    "vgg16-224": lambda: trace(models.vgg16(), (1, 3, 224, 224)),
    "vgg16-256": lambda: trace(models.vgg16(), (1, 3, 256, 256)),
    "vgg16-conv-256x320": lambda: trace(models.vgg16("conv"), (1, 3, 256, 320)),
    "lstm": lambda: trace(nn.LSTM(10, 20), (5, 1, 10)),
    "skip": lambda: without_place(trace(Skip(), (1, 3, 30, 31))),
    "odds": lambda: trace(Odds(), (2, 4, 20, 30)),
    "one-axis": lambda: trace(nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AvgPool1d(2)), (1, 2, 11)),
    "hostile": lambda: failing(HOSTILE, f"two\nlines {HOSTILE}", f"it {HOSTILE}", ("`x < y`, try", HOSTILE)),
    "empty": lambda: trace(nn.Sequential(), (1, 3, 8, 8)),
}


@pytest.mark.parametrize("name", TRACES)
def test_text_is_as_it_was_read(name, golden):
    golden(f"{name}.txt", str(TRACES[name]()))


@pytest.mark.parametrize("name", ["vgg16-256", "lstm", "skip", "odds", "hostile", "empty"])
def test_html_is_as_it_was_read(name, golden):
    golden(f"{name}.html", TRACES[name]()._repr_html_().rstrip("\n"))


# What stands in a row


def test_a_sum_is_shown_only_where_it_comes_to_the_traced_size():
    conv = {"operation": "conv", "window": Window((3, 3), (1, 1), (0, 0), (1, 1))}
    right, wrong = step(output_shape=Shape((1, 3, 6, 6)), **conv), step(output_shape=Shape((1, 3, 7, 6)), **conv)
    assert [one.axes for one in table.rows(of(right))[0].sums] == ["H, W"]
    assert table.rows(of(wrong))[0].sums == ()


def test_height_and_width_stand_apart_where_their_numbers_differ():
    first = table.rows(trace(nn.Conv2d(3, 4, 3), (1, 3, 8, 9)))[0]
    assert [(one.axes, one.numbers[-3:]) for one in first.sums] == [("H", "= 6"), ("W", "= 7")]


@pytest.mark.parametrize("name", TRACES)
def test_each_formula_of_the_arithmetic_is_there(name):
    found = TRACES[name]()
    for row, one in zip(table.rows(found), found, strict=True):
        axes = [axis for sum in row.sums for axis in sum.axes.split(", ")]
        assert sorted(axes) in ([], sorted(formula.axis for formula in formulas(one)))


def test_a_failed_row_shows_the_rule_that_broke():
    last = table.rows(trace(models.vgg16(), (1, 3, 256, 256)))[-1]
    assert last.failed
    assert last.output == "✗"
    assert [sum.numbers.replace("\u202f", " ") for sum in last.sums] == ["32 768 ≠ 25 088"]


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (Shape((1, 512, 7, 7)), "512×7×7"),
        (Shape((2, 512, 7, 7)), "2×512×7×7"),
        (Shape((1, 4, 9, 7, 7)), "4×9×7×7"),
        (Shape((512, 7, 7)), "512×7×7"),
        (Shape((1, 25088)), "1×25088"),
        (Shape((7,)), "7"),
        (Shape(), "one number"),
        (None, "None"),
        ((), "()"),
        ((Shape((5, 1, 20)), (Shape((1, 1, 20)), None)), "(5×1×20, (1×1×20, None))"),
        ({"out": Shape((1, 21, 8, 8)), "a\nb": None}, r"{out: 21×8×8, a\nb: None}"),
        (tuple(Shape((i,)) for i in range(9)), "(0, 1, 2, … 6 more)"),
    ],
)
def test_a_shape_in_words(shape, text):
    assert table.shape_text(shape) == text


@pytest.mark.parametrize(
    ("layer", "given", "text"),
    [
        (nn.Conv2d(3, 64, 3, padding=1), (1, 3, 9, 9), "64 of 3×3×3 p1"),
        (nn.Conv2d(4, 8, (3, 5), stride=(2, 1), groups=2), (1, 4, 9, 9), "8 of 2×3×5 s2×1 in 2 groups"),
        (nn.Conv2d(4, 8, 4, padding="same", dilation=2), (1, 4, 9, 9), "8 of 4×4×4 p“same” d2"),
        (nn.ConvTranspose2d(21, 5, 64, 32), (1, 21, 2, 2), "5 of 21×64×64 s32"),
        (nn.MaxPool2d(2, ceil_mode=True), (1, 3, 9, 9), "2×2 s2 ceil"),
        (nn.Conv1d(2, 4, 3), (1, 2, 9), "4 of 2×3"),
        (nn.Linear(25088, 4096, device="meta"), (1, 25088), "25088 → 4096"),
        (nn.AdaptiveAvgPool2d((7, None)), (1, 3, 9, 9), "to 7×same"),
        (nn.Upsample(scale_factor=2), (1, 3, 9, 9), "times 2, nearest"),
        (nn.ReLU(), (1, 3), ""),
    ],
)
def test_a_window_in_words(layer, given, text):
    assert table.rows(trace(layer, given))[0].window == text


# The terminal


def test_columns_stand_under_each_other_whatever_the_script():
    lines = table.text(of(step(0, "日本語"), step(1, "e\u0301"), step(2, "plain"))).splitlines()
    places = {layout.width_of(line[: line.index("Odd")]) for line in lines if "Odd" in line}
    assert len(places) == 1


@pytest.mark.parametrize("name", sorted({*TRACES} - {"hostile"}))
def test_a_table_fits_120_characters(name):
    table_lines = [line for line in str(TRACES[name]()).splitlines() if "PyTorch says" not in line]
    assert max(map(layout.width_of, table_lines)) <= 120


def test_a_name_is_cut_no_further_than_the_line_asks_for():
    long = "encoder.blocks.17.attention.project"
    conv = {"operation": "conv", "window": Window((3, 3), (2, 2), (1, 1), (1, 1)), "kind": "Conv2d"}
    settings = {"in_channels": 2048, "out_channels": 2048}
    wide = of(step(0, long, given=(1, 2048, 112, 112), settings=settings, params=37_750_784, macs=10**11, **conv))
    assert max(map(layout.width_of, str(wide).splitlines())) == 120
    assert re.search(r"encoder\.\S*…\S*project", str(wide))
    assert long in str(of(step(0, long)))


def test_two_axes_share_a_line_where_there_is_room_and_take_two_where_not():
    conv = nn.Conv2d(3, 4, 3)
    assert re.search(r"H: .* = 6   W: .* = 7\n", str(trace(conv, (1, 3, 8, 9))))
    found = trace(nn.AdaptiveAvgPool2d((8, 7)), (1, 3, 60, 50))
    assert re.search(r"H: .*\n +W: ", str(found))


def test_the_letters_of_a_window_are_explained_where_a_window_stands():
    assert "s stride, p padding, d dilation" in str(trace(nn.Conv2d(3, 4, 3), (1, 3, 8, 8)))
    assert "s stride" not in str(trace(nn.ReLU(), (1, 3)))


def test_a_long_name_keeps_both_ends():
    line = table.text(of(step(0, "encoder." * 20 + "attention"))).splitlines()[4]
    assert line.split()[0].startswith("encoder.")
    assert "…" in line
    assert "attention" in line
    assert len(line) < 120


@pytest.mark.parametrize("part", ["name", "kind", "message", "explanation"])
def test_no_name_or_message_can_break_the_text(part):
    found = failing(**({"name": HOSTILE} if part in ("name", "kind") else {part: HOSTILE}))
    if part == "kind":
        found = of(replace(found[0], kind=HOSTILE))
    text = table.text(found)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert all(line.replace("\u202f", "").isprintable() for line in text.splitlines())


def test_a_failure_is_told_under_the_table():
    text = table.text(trace(models.vgg16(), (1, 3, 256, 256)))
    row, told = text.index("✗  classifier.0"), text.index("✗ Linear classifier.0 has")
    said = text.index("PyTorch says: mat1 and mat2 shapes cannot be multiplied (1x32768 and 25088x4096)")
    assert row < told < said < text.index("  1. resize or crop the images to 224×224")


# The notebook


class Page(HTMLParser):
    """The tags in order, checked for balance, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


@pytest.mark.parametrize("name", TRACES)
def test_html_is_well_formed_and_brings_nothing_from_elsewhere(name):
    html = TRACES[name]()._repr_html_()
    page = Page(html)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "link", "svg", "form"}
    assert not re.search(r"https?:|url\(|@import|\bon\w+=|\bid=", html)
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")


@pytest.mark.parametrize("name", TRACES)
def test_each_row_has_as_many_cells_as_there_are_heads(name):
    html = TRACES[name]()._repr_html_()
    for row in re.findall(r"<tr.*?</tr>", html, re.DOTALL):
        cells = re.findall(r"<t[hd]\b([^>]*)>", row)
        assert sum(int((re.search(r'colspan="(\d+)"', cell) or ["", "1"])[1]) for cell in cells) == 8


def test_a_module_named_script_stays_text():
    net = nn.Sequential()
    net.add_module("<script>alert(1)</script>", nn.ReLU())
    page = Page(trace(net, (1, 3))._repr_html_())
    assert "<script>alert(1)</script>" in page.text
    assert "script" not in {tag for tag, _ in page.tags}


def test_without_its_style_the_html_still_says_which_row_fails_and_why():
    html = re.sub(r"<style>.*?</style>", "", trace(models.vgg16(), (1, 3, 256, 256))._repr_html_(), flags=re.DOTALL)
    text = Page(html).text
    assert "✗ classifier.0" in text
    assert "✗ fails here" in text
    assert "PyTorch says: mat1 and mat2 shapes cannot be multiplied (1x32768 and 25088x4096)" in text


def test_the_symbols_are_listed_once():
    text = Page(trace(models.vgg16(), (1, 3, 224, 224))._repr_html_()).text
    assert text.count("Conv2d, MaxPool2d: ⌊(n + 2·p − d·(k − 1) − 1) / s⌋ + 1") == 1


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(2 * c for c in digits)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("ground", range(2), ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "paper"), [("ink", "back"), ("ink", "band"), ("soft", "band"), ("bad", "bad-back"), ("ink", "bad-back")]
)
def test_contrast_is_that_of_wcag_aa(ground, ink, paper):
    colours = {key: re.findall(rf"--{key}:(#[0-9a-f]+)", layout.STYLE)[ground] for key in (ink, paper)}
    light, dark = sorted((luminance(colour) for colour in colours.values()), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_sources_do_not_matter_to_a_table():
    bare = of(step(0), step(1, "b"))
    assert table.rows(of(step(0, sources=(Source(-1, 0),)), step(1, "b", sources=(Source(0, 0),)))) == table.rows(bare)

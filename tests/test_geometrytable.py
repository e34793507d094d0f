"""The geometry as a page: what it says, line by line, and that no name can break it."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from nets import Call, Gallery, SmallFcn, UNet
from torch import nn

from fcnviz import geometrytable, trace
from fcnviz.geometry import geometry

UNEVEN = nn.Sequential(nn.Conv2d(3, 4, (3, 5), (2, 1)), nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(196, 2))
NETS = {
    "fcn": (SmallFcn(ceil=True), (1, 3, 500, 375)),
    "unet": (UNet(), (1, 3, 32, 48)),
    "gallery": (Gallery(), (1, 3, 32, 48)),
    "uneven": (UNEVEN, (1, 3, 32, 48)),
    "apart": (Call(lambda x: nn.functional.pad(x, (3, 0, 3, 0)) + nn.functional.pad(x, (0, 3, 0, 3))), (1, 1, 9, 9)),
}


def of(name):
    net, shape = NETS[name]
    return geometry(trace(net, shape))


@pytest.mark.parametrize("name", NETS)
def test_the_table_is_as_it_was_read(name, golden):
    golden(f"geometry-{name}.txt", str(of(name)))


@pytest.mark.parametrize("name", NETS)
def test_a_terminal_has_room_for_every_line(name):
    assert max(map(len, str(of(name)).splitlines())) <= 120


@pytest.mark.parametrize("name", NETS)
def test_the_notebook_says_what_the_terminal_says(name):
    page = re.sub(r"<style>.*?</style>", "", of(name)._repr_html_(), flags=re.S)
    cells = [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", page, re.S)]
    for row in geometrytable.rows(of(name)):
        said = row.reason or row.start
        assert said in cells and row.name in cells
    assert page.count("<tbody>") == page.count("</tbody>") == len(geometrytable.rows(of(name)))


def test_axes_with_the_same_numbers_share_a_line():
    rows = geometrytable.rows(of("uneven"))
    assert [(row.name, row.axes, row.jump, row.field) for row in rows][:2] == [
        ("0", "H", "2", "3"),
        ("", "W", "1", "5"),
    ]
    assert [row.axes for row in geometrytable.rows(of("unet"))] == ["H, W"] * len(of("unet"))


def test_fields_that_differ_from_cell_to_cell_show_the_least_and_the_most():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.ConvTranspose2d(1, 1, 3, 2, 1))
    assert geometrytable.rows(geometry(trace(net, (1, 1, 9, 9))))[1].field == "3–5"


def test_numbers_are_whole_halves_quarters_or_fractions():
    numbers = [geometrytable.number(Fraction(n, d)) for n, d in ((-31, 2), (3, 4), (-4, 3), (0, 1), (-99, 1))]
    assert numbers == ["−15.5", "0.75", "−4/3", "0", "−99"]


def test_no_name_can_break_the_page():
    net = nn.Sequential()
    net.add_module("<b>&\n\x1b[31m", nn.Conv2d(1, 1, 3))
    found = geometry(trace(net, (1, 1, 9, 9)))
    assert "<b>&\n" not in str(found) and "\x1b" not in str(found)
    assert "&lt;b&gt;&amp;\\n\\x1b[31m" in found._repr_html_()

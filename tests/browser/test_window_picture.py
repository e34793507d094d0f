"""The picture of a window, moved by a student; and on the image what one cell of the chosen step sees."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from torch import nn

from fcnviz.explorer import save_page
from fcnviz.explorer.page import source

HIGH, WIDE = 7, 6
LAYERS = {
    "padding": nn.Conv2d(3, 4, 3, padding=1),
    "stride": nn.Conv2d(3, 4, (3, 2), stride=(2, 3), padding=(0, 1)),
    "gaps": nn.Conv2d(3, 4, 3, dilation=(2, 1), padding="same"),
    "even": nn.Conv2d(3, 4, 2, padding="same"),
    "mean": nn.AvgPool2d(3, 2, padding=1),
    "max": nn.MaxPool2d(2, ceil_mode=True),
    "sparse": nn.MaxPool2d(2, 1, padding=1, dilation=3),
}
FAR_HIGH, FAR_WIDE = 40, 31  # of which only a part is drawn
FAR = f"#h={FAR_HIGH}&w={FAR_WIDE}"
CELL = 12  # pixels of a cell drawn in full size


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("windows")
    paths = {name: save_page(folder / f"{name}.html", net, (HIGH, WIDE), within=40) for name, net in LAYERS.items()}
    paths["wide"] = save_page(folder / "wide.html", nn.Conv2d(3, 4, 3, padding=100), (20, 24), within=40, presets=[])
    net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.MaxPool2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1))
    paths["net"] = save_page(folder / "net.html", net, (24, 12), within=40, presets=[(24, 12), (5, 5), (4, 4), (9, 6)])
    return paths


@pytest.fixture
def opened(browser, saved):
    contexts, errors = [], []

    def show(name, link="", still=True, **more):
        more = {"viewport": {"width": 1280, "height": 900}, **more}
        contexts.append(browser.new_context(reduced_motion="reduce" if still else "no-preference", **more))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(f"{saved.get(name, name).as_uri()}{link}")
        expect(page.locator(".lane .face[width]").first).to_be_visible()
        return page

    yield show
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def opened_for(opened, tmp_path):
    def show(nets, size, within=None, **more):
        path = save_page(tmp_path / "page.html", nets, size, within=within or max(size), presets=[])
        return opened(path, **more)

    return show


def told(page):
    return page.locator(".reads").all_inner_texts()


def place(page):
    """Row and column of the output that the line names."""
    return tuple(int(re.match(r"(?:output row|column) (\d+) ← ", line)[1]) for line in told(page))


def grids(page):
    """Rows and columns that are drawn of the map and its padding, and of the output."""
    sizes = "all => all.map(e => ['height', 'width'].map(key => Math.round(e[key].baseVal.value)))"
    found = page.locator(".slide :is(.pad, .output) rect:first-child").evaluate_all(sizes)
    return [(high // CELL, wide // CELL) for high, wide in found]


def middle(page, grid, row, column):
    """The middle of a cell, counted from 1, of the map with its padding (`pad`) or of the output."""
    box = page.locator(f".slide .{grid} rect").first.bounding_box()
    return box["x"] + (column - 0.5) * CELL, box["y"] + (row - 0.5) * CELL


def listed(line):
    """The rows or columns of the map that a line names."""
    found = re.search(r"(?:row|column)s? (\d+)(?:–(\d+))?(?: in steps of (\d+))?", line.split(" ← ")[1])
    if found is None:
        return []
    first, last, step = (int(part) if part else None for part in found.groups())
    return list(range(first, (last or first) + 1, step or 1))


def read(layer, axis, size=(HIGH, WIDE)):
    """Of torch: for each row (axis 2) or column (axis 3) of the output those of the map that it depends on."""
    for weight in layer.parameters():
        nn.init.constant_(weight, float(weight.dim() > 1))
    reached = []
    for cell in range(size[axis - 2]):
        x = torch.zeros(1, 3, *size)
        x.select(axis, cell).fill_(1)
        reached.append(layer(x)[0].sum((0, 5 - axis - 1)) > 0)
    return [[i + 1 for i, row in enumerate(reached) if row[made]] for made in range(len(reached[0]))]


@pytest.mark.parametrize("name", LAYERS)
def test_the_line_names_the_rows_and_columns_that_a_cell_depends_on(opened, name):
    page = opened(name)
    rows, columns = (read(LAYERS[name], axis) for axis in (2, 3))
    down, across = grids(page)[1]
    page.locator(".slide").focus()
    seen = 0
    for y in range(down):
        for x in range(across):
            assert place(page) == (y + 1, x + 1)
            assert [listed(line) for line in told(page)] == [rows[y], columns[x]]
            seen += 1
            page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        for _ in range(across):
            page.keyboard.press("ArrowLeft")
    assert seen == down * across > 1


@pytest.mark.parametrize(
    ("name", "keys", "lines"),
    [
        ("padding", [], ["output row 1 ← padding, rows 1–2", "column 1 ← padding, columns 1–2"]),
        ("padding", ["End"], ["output row 7 ← rows 6–7, padding", "column 6 ← columns 5–6, padding"]),
        ("stride", ["ArrowDown", "ArrowRight"], ["output row 2 ← rows 3–5", "column 2 ← columns 3–4"]),
        ("gaps", ["End"], ["output row 7 ← rows 5–7 in steps of 2, padding", "column 6 ← columns 5–6, padding"]),
        ("even", ["End"], ["output row 7 ← row 7, padding", "column 6 ← column 6, padding"]),
        ("max", ["End"], ["output row 4 ← row 7, beyond the edge", "column 3 ← columns 5–6"]),
        ("sparse", [], ["output row 1 ← padding, row 3", "column 1 ← padding, column 3"]),
    ],
)
def test_padding_gaps_and_what_hangs_over_are_said(opened, name, keys, lines):
    page = opened(name)
    page.locator(".slide").focus()
    for key in keys:
        page.keyboard.press(key)
    assert told(page) == lines


@pytest.mark.parametrize("name", LAYERS)
def test_the_window_stands_on_the_cells_that_the_line_names(opened, name):
    page = opened(name)
    page.locator(".slide").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    drawn, first = page.locator(".slide .input rect").bounding_box(), page.locator(".slide .window").bounding_box()
    made, output = page.locator(".slide .made").bounding_box(), page.locator(".slide .output rect").bounding_box()
    for line, start, size in zip(told(page), "yx", ("height", "width"), strict=True):
        cells = listed(line)
        begins, ends = first[start] - drawn[start], first[start] + first[size] - drawn[start]
        if "padding, " not in line:
            assert begins == pytest.approx((cells[0] - 1) * CELL, abs=1.01)
        if not line.endswith(("padding", "edge")):
            assert ends == pytest.approx(cells[-1] * CELL, abs=1.01)
        assert made[start] - output[start] == pytest.approx(CELL * (place(page)[start == "x"] - 1), abs=1.01)


@pytest.mark.parametrize("width", [1280, 1920])
@pytest.mark.parametrize("name", ["padding", "stride", "gaps"])
def test_pointing_at_a_cell_of_the_output_moves_the_window_there(opened, name, width):
    page = opened(name, viewport={"width": width, "height": 900})
    zoom = page.locator(".slide").evaluate("e => e.getBoundingClientRect().width / e.width.baseVal.value")
    box = page.locator(".slide .output rect").first.bounding_box()
    down, across = grids(page)[1]
    for y in range(down):
        for x in range(across):
            page.mouse.move(box["x"] + (x + 0.5) * CELL * zoom, box["y"] + (y + 0.5) * CELL * zoom)
            assert place(page) == (y + 1, x + 1)


@pytest.mark.parametrize("name", ["padding", "stride", "gaps", "max"])
def test_pointing_at_a_cell_of_the_map_moves_the_window_over_it_or_next_to_it(opened, name):
    page = opened(name)
    (down, across), made = grids(page)
    stride = LAYERS[name].stride if isinstance(LAYERS[name].stride, tuple) else (LAYERS[name].stride,) * 2
    window = page.locator(".slide .window")
    spans = [round(window.evaluate(f"e => e.{key}.baseVal.value")) // CELL for key in ("height", "width")]
    for y in range(1, down + 1):
        for x in range(1, across + 1):
            page.mouse.move(*middle(page, "pad", y, x))
            for cell, at, span, step, places in zip((y, x), stands(page), spans, stride, made, strict=True):
                assert away(cell, at, span) == min(away(cell, place * step, span) for place in range(places))


def stands(page):
    """Rows and columns of the drawn map before the window."""
    moved = page.locator(".slide .window").evaluate("e => e.style.transform")
    x, y = (float(part) for part in re.findall(r"([\d.]+)px", moved))
    return round(y / CELL), round(x / CELL)


def away(cell, before, span):
    """How many cells a cell lies beside a window; none, where it is covered."""
    return max(before + 1 - cell, cell - before - span, 0)


def test_beside_the_cells_nothing_moves(opened):
    page = opened("padding")
    page.mouse.move(*middle(page, "output", 3, 2))
    box = page.locator(".slide").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 3, box["y"] + box["height"] - 3)
    assert place(page) == (3, 2)


def test_arrow_keys_stop_at_the_edges(opened):
    page = opened("padding")
    page.locator(".slide").focus()
    down, across = grids(page)[1]
    for key, end in (("ArrowUp", (1, 1)), ("ArrowLeft", (1, 1)), ("ArrowRight", (1, across))):
        for _ in range(across + 2):
            page.keyboard.press(key)
        assert place(page) == end
    page.keyboard.press("End")
    page.keyboard.press("ArrowDown")
    assert place(page) == (down, across)
    page.keyboard.press("Home")
    assert place(page) == (1, 1)


@pytest.mark.parametrize("take", ["mouse", "key"])
def test_the_playing_stops_as_soon_as_the_student_takes_over(opened, take):
    page = opened("padding", still=False)
    before = place(page)
    page.wait_for_function("before => document.querySelector('.reads').parentNode.innerText !== before", arg=before)
    page.wait_for_timeout(900)
    assert page.get_by_role("status").inner_text() == "", "what plays is not told"
    if take == "mouse":
        page.mouse.move(*middle(page, "output", 5, 4))
    else:
        page.locator(".slide").focus()
        page.keyboard.press("End")
    taken = place(page)
    page.wait_for_timeout(900)
    assert place(page) == taken
    expect(page.get_by_role("status")).to_have_text("; ".join(told(page)))


def test_a_click_and_enter_play_again_until_the_pointer_goes_on(opened):
    page = opened("padding", still=False)
    page.mouse.move(*middle(page, "output", 5, 4))
    page.mouse.down()
    page.mouse.up()
    expect(page.locator(".reads").nth(1)).to_contain_text("column 2")
    page.mouse.move(*middle(page, "output", 6, 4))
    assert place(page) == (6, 4)
    page.keyboard.press("Enter")
    expect(page.locator(".reads").nth(1)).to_contain_text("column 3")


def test_a_finger_points_and_does_not_play(opened):
    page = opened("padding", still=False, has_touch=True, viewport={"width": 390, "height": 800})
    page.locator(".slide").scroll_into_view_if_needed()
    page.touchscreen.tap(*middle(page, "output", 4, 3))
    page.wait_for_timeout(900)
    assert place(page) == (4, 3)


def test_what_fails_or_stands_in_one_place_only_cannot_be_moved(opened):
    page = opened("net", "#h=4&w=4&step=0")
    slide = page.locator(".slide.broken")
    assert slide.get_attribute("tabindex") is None and slide.get_attribute("aria-hidden") == "true"
    assert told(page) == []
    page.get_by_role("button", name="5×5", exact=True).click()
    slide = page.locator(".slide:not(.broken)")
    assert slide.get_attribute("tabindex") is None and slide.get_attribute("aria-hidden") == "true"
    assert told(page) == ["output row 1 ← rows 1–5", "column 1 ← columns 1–5"]


@pytest.mark.parametrize("width", [390, 848, 1280, 1920])
@pytest.mark.parametrize("name", ["gaps", "max", "sparse"])
def test_nothing_jumps_when_the_line_gets_longer(opened, name, width):
    page = opened(name, viewport={"width": width, "height": 900})
    page.locator(".slide").focus()
    boxes, lines = set(), set()
    for key in ["Home", *["ArrowDown", "ArrowRight"] * 6, "End"]:
        page.keyboard.press(key)
        lines.add(tuple(map(len, told(page))))
        parts = [".hint", ".sums article", ".facts", ".slide"]
        boxes.add(tuple(tuple(page.locator(part).first.bounding_box().values()) for part in parts))
    assert len(boxes) == 1 < len(lines)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["padding", "gaps", "net"])
def test_axe_finds_nothing(opened, name, scheme):
    page = opened(name, color_scheme=scheme)
    page.locator(".slide").focus()
    page.keyboard.press("ArrowRight")
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    expect(page.get_by_role("application", name="The window on its map")).to_be_focused()


COUNTED = """const set = window.setInterval, clear = window.clearInterval, running = new Set();
window.setInterval = (...asked) => { const id = set(...asked); running.add(id); return id; };
window.clearInterval = (id) => { running.delete(id); clear(id); };
window.running = () => running.size;"""
TWICE = """async ({code, scene}) => {
    const js = await import(URL.createObjectURL(new Blob([code], {type: "text/javascript"})));
    const model = { get: (name) => ({ scene, height: scene.size[0], width: scene.size[1], step: 0 })[name],
        set() {}, on() {}, off() {}, save_changes() {} };
    window.close = [0, 1].map(() => {
        const el = document.body.appendChild(document.createElement("div"));
        return js.default.render({ model, el });
    });
}"""


def test_two_on_one_page_leave_each_other_alone_and_leave_nothing_behind(browser, saved):
    text = saved["padding"].read_text("utf-8")
    scene = json.loads(re.findall(r'id="scene">(.*?)</script>', text, re.S)[0])
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.set_content("<!doctype html><body></body>")
    page.add_style_tag(content=source("explorer.css"))
    page.evaluate(COUNTED)
    page.evaluate(TWICE, {"code": source("explorer.js"), "scene": scene})
    expect(page.locator(".slide")).to_have_count(2)
    assert page.evaluate("running()") == 2
    page.locator(".slide").nth(1).focus()
    page.keyboard.press("End")
    assert page.evaluate("running()") == 1, "the other one plays on"
    assert page.locator(".reads").nth(2).inner_text().startswith("output row 7")
    assert not page.locator(".reads").nth(0).inner_text().startswith("output row 7")
    page.evaluate("window.close.forEach((close) => close())")
    assert page.evaluate("running()") == 0
    assert page.evaluate("document.body.textContent.trim()") == ""
    page.close()


# --- Of a large map, part after part


def parts(page):
    """The rectangles of the picture in cells, counted from the corner of the padded map: top, left, bottom, right."""
    kinds = "all => all.map(e => { const b = e.getBoundingClientRect(); return [b.top, b.left, b.bottom, b.right]; })"
    named = {"pad": ".pad rect", "map": ".input rect", "window": ".window", "output": ".output rect", "made": ".made"}
    found = {name: page.locator(f".slide {which}").evaluate_all(kinds)[0] for name, which in named.items()}
    top, left = found["pad"][:2]
    return {
        name: [(edge - (left if i % 2 else top)) / CELL for i, edge in enumerate(edges)]
        for name, edges in found.items()
    }


def holds(outer, inner):
    rim = 0.2  # of a cell: half the width of a stroke
    return all(inner[i] >= outer[i] - rim and inner[i + 2] <= outer[i + 2] + rim for i in (0, 1))


@pytest.mark.parametrize("name", LAYERS)
def test_arrow_keys_walk_a_large_map_from_end_to_end(opened, name):
    page, layer = opened(name, FAR), LAYERS[name]
    rows, columns = (read(layer, axis, (FAR_HIGH, FAR_WIDE)) for axis in (2, 3))
    down, across = grids(page)[1]
    assert len(rows) > down and len(columns) > across, "some of it is out of sight"
    lengths, rooms = [], page.locator(".reads").evaluate_all("all => all.map(e => e.dataset.room)")
    page.locator(".slide").focus()
    for y in range(len(rows)):
        assert place(page) == (y + 1, 1)
        assert listed(told(page)[0]) == rows[y]
        lengths.append(tuple(map(len, told(page))))
        page.keyboard.press("ArrowDown")
    for x in range(len(columns)):
        assert place(page) == (len(rows), x + 1)
        assert listed(told(page)[1]) == columns[x]
        lengths.append(tuple(map(len, told(page))))
        page.keyboard.press("ArrowRight")
    for x in reversed(range(len(columns))):
        assert place(page) == (len(rows), x + 1)
        page.keyboard.press("ArrowLeft")
    most = [max(axis) for axis in zip(*lengths, strict=True)]
    assert list(map(len, rooms)) == most, "room for the longest line was kept from the first"


def steps(layer, key, axis):
    value = getattr(layer, key)
    return value[axis] if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", ["padding", "stride", "mean", "sparse", "max"])
def test_wherever_it_goes_window_map_and_output_fit_together(opened, name):
    page, layer = opened(name, FAR), LAYERS[name]
    page.locator(".slide").focus()
    firsts = set()
    for key in ["Home", *["ArrowDown", "ArrowRight"] * 24, "End", *["ArrowLeft", "ArrowUp"] * 24]:
        page.keyboard.press(key)
        drawn = parts(page)
        assert holds(drawn["output"], drawn["made"])
        if name != "max":  # whose last window hangs over the edge
            assert holds(drawn["pad"], drawn["window"])
        for axis, size in enumerate((FAR_HIGH, FAR_WIDE)):
            stride, before = (steps(layer, key, axis) for key in ("stride", "padding"))
            made = round(drawn["made"][axis] - drawn["output"][axis])
            out_of_sight = stride * (place(page)[axis] - 1 - made)
            assert drawn["window"][axis] == pytest.approx(made * stride, abs=0.2)
            assert drawn["map"][axis] == pytest.approx(max(before - out_of_sight, 0), abs=0.2)
            end = min(before + size - out_of_sight, drawn["pad"][axis + 2])
            assert drawn["map"][axis + 2] == pytest.approx(end, abs=0.2)
        firsts.add(tuple(round(edge) for edge in drawn["map"]))
    assert len(firsts) > 2, "several parts were drawn"


@pytest.mark.parametrize("finger", [False, True])
def test_the_dots_lead_to_the_next_part_and_back(opened, finger):
    page = opened("padding", FAR, still=False, has_touch=finger)
    press = (lambda dots: dots.tap()) if finger else (lambda dots: dots.click())
    across = grids(page)[1][1]
    dots = page.locator(".slide .onward")
    expect(dots).to_have_count(4)  # below and beside the map, and the output
    press(dots.filter(has_text="…").last)
    assert place(page)[1] == across + 1
    expect(page.get_by_role("status")).to_have_text("; ".join(told(page)))
    page.wait_for_timeout(900)
    assert place(page)[1] == across + 1, "nothing plays"
    further = dots.filter(has_text="…")
    for _ in range(FAR_WIDE):
        if further.count() > 1:  # the last part has one way only, back
            press(further.last)
    assert FAR_WIDE - across < place(page)[1] <= FAR_WIDE
    press(further)
    assert across < place(page)[1] <= FAR_WIDE - across
    for _ in range(FAR_WIDE):
        if place(page)[1] > across:
            press(further.first)
    expect(dots).to_have_count(4)


def test_a_click_plays_the_part_that_is_in_sight(opened):
    page = opened("padding", FAR, still=False)
    page.locator(".slide").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    (down, across), played = grids(page)[1], set()
    for _ in range(12):
        played.add(place(page))
        page.wait_for_timeout(200)
    assert len(played) > 3
    assert all(y > FAR_HIGH - down and x > FAR_WIDE - across for y, x in played)


def test_another_size_begins_at_the_corner_again(opened):
    page = opened("padding", FAR)
    page.locator(".slide").focus()
    page.keyboard.press("End")
    slider = page.get_by_role("slider", name="Width of the image")
    slider.focus()
    slider.press("ArrowLeft")
    assert place(page) == (1, 1)
    page.locator(".slide").evaluate("e => e.dataset.same = 'yes'")
    slider.press("ArrowLeft")
    assert page.locator(".slide").get_attribute("data-same") == "yes", "drawn the same, it is not drawn again"
    page.locator(".slide").focus()
    page.keyboard.press("End")
    assert place(page)[1] == FAR_WIDE - 2, "and knows how large the map is"
    assert told(page)[1].endswith(f"← columns {FAR_WIDE - 3}–{FAR_WIDE - 2}, padding")


def test_wide_padding_is_shown_where_the_map_begins(opened):
    page = opened("wide")
    drawn = parts(page)
    assert 0 < drawn["map"][0] < drawn["pad"][2] - 3
    assert told(page) == ["output row 99 ← padding, row 1", "column 99 ← padding, column 1"]
    page.locator(".slide").focus()
    page.keyboard.press("Home")
    assert told(page) == ["output row 1 ← padding", "column 1 ← padding"]
    page.keyboard.press("End")
    assert told(page) == ["output row 218 ← padding", "column 222 ← padding"]


def extent(page, which):
    """Height and width of a rectangle of the picture."""
    sizes = "e => ['height', 'width'].map(key => e[key].baseVal.value)"
    return page.locator(f".slide {which}").first.evaluate(sizes)


@pytest.mark.parametrize("size", [(16, 224), (224, 224)])
def test_with_one_place_in_sight_the_window_stays_on_the_map(opened_for, size):
    page = opened_for(nn.Conv2d(3, 8, 16, stride=16), size, still=False)
    assert extent(page, ".made") == extent(page, ".output rect")
    page.wait_for_timeout(1000)
    assert place(page) == (1, 1)
    drawn = parts(page)
    assert holds(drawn["pad"], drawn["window"]) and holds(drawn["output"], drawn["made"])


def test_all_nine_cells_of_a_window_with_wide_gaps_are_drawn(opened_for):
    page = opened_for(nn.Conv2d(3, 8, 3, padding=36, dilation=36), (64, 64))
    assert page.locator(".slide .taps").get_attribute("d").count("M") == 9
    for key in ("Home", "End"):
        page.locator(".slide").press(key)
        drawn = parts(page)
        assert holds(drawn["pad"], drawn["window"])


def test_a_wide_window_keeps_its_proportion(opened_for):
    page = opened_for(nn.Conv2d(3, 4, (60, 33), padding=(20, 3)), (40, 31))
    high, wide = extent(page, ".window")
    assert high / wide == pytest.approx(60 / 33)
    drawn = parts(page)
    assert holds(drawn["pad"], drawn["window"])


def test_a_window_that_is_too_large_is_drawn_as_large_as_it_is(opened_for):
    page = opened_for(nn.Conv2d(3, 4, 40), (10, 90))
    assert page.locator(".slide.broken").count() == 1
    (high, wide), (rows, columns) = extent(page, ".window"), extent(page, ".pad rect")
    assert (high / rows, wide / columns) == pytest.approx((40 / 10, 1))
    assert page.locator(".block.failed .window").evaluate("e => e.height.baseVal.value") > 0
    expect(page.locator(".slide .more text")).to_have_text("…")
    assert page.locator(".slide .onward").count() == 0, "there is no other part to go to"


@pytest.mark.parametrize(("cells", "pictures"), [(150, 1), (151, 0)])
@pytest.mark.parametrize("wide", [149, 160])
def test_wider_than_150_cells_there_is_no_picture(opened_for, cells, pictures, wide):
    page = opened_for(nn.Conv2d(3, 4, (1, cells)), (4, wide))
    assert page.locator(".slide").count() == pictures


def test_the_cells_that_no_stride_comes_to_are_drawn_at_the_far_end(opened_for):
    page = opened_for(nn.Conv2d(3, 4, 7, stride=2, padding=3), (224, 224))
    dots, onward = page.locator(".slide .more text"), page.locator(".slide .onward")
    assert dots.count() == onward.count() == 4
    page.locator(".slide").press("End")
    assert place(page) == (112, 112)
    drawn = parts(page)
    for axis in (0, 1):
        assert drawn["pad"][axis + 2] == pytest.approx(drawn["window"][axis + 2] + 1, abs=0.2)
        assert drawn["pad"][axis + 2] == pytest.approx(drawn["map"][axis + 2] + 3, abs=0.2)
    boxes = [dots.nth(i).bounding_box() for i in range(dots.count())]
    pad = page.locator(".slide .pad rect").bounding_box()
    assert len(boxes) == onward.count() == 2
    assert all(box["x"] < pad["x"] or box["y"] < pad["y"] for box in boxes)


@pytest.mark.parametrize(
    ("net", "size", "words"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(144, 10)), (4, 9), "4×9"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(196, 10)), (9, 9), "7×7"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(144, 10)), (9, 9), "6×6"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(2), nn.Linear(36, 10)), (6, 6), None),
    ],
)
def test_of_a_linear_those_cells_are_dashed_that_it_has_columns_for(opened_for, net, size, words):
    page = opened_for(net, size, link="#step=2")
    expect(page.locator(".where")).to_have_text("3 of 3")
    counted = page.locator(".counted")
    assert counted.count() == (words is not None)
    if words:
        expect(counted).to_contain_text(f"dashed: {words} cells, as many as there are columns for")
        high, wide = map(int, words.split("×"))
        assert extent(page, ".columns") == pytest.approx([high * CELL, wide * CELL])


def by_another_width(page):
    was = page.locator(".lanes-box").bounding_box()["width"]
    page.set_viewport_size({"width": 1200, "height": 900})
    page.wait_for_function("was => document.querySelector('.lanes-box').clientWidth < was - 60", arg=was)
    page.wait_for_timeout(100)


def by_the_table(page):
    button = page.get_by_role("button", name="table")
    for _ in range(2):
        button.evaluate("e => e.click()")


@pytest.mark.parametrize("redraw", [by_another_width, by_the_table])
def test_a_walk_outlives_a_redraw(opened, redraw):
    page = opened("padding", FAR)
    slide = page.locator(".slide")
    slide.press("End")
    words, drawn = told(page), parts(page)
    redraw(page)
    expect(slide).to_be_focused()
    assert told(page) == words
    assert parts(page) == drawn
    page.keyboard.press("ArrowUp")
    assert place(page) == (FAR_HIGH - 1, FAR_WIDE)
    page.evaluate("location.hash = '#h=39&w=31'")
    expect(page.locator(".reads").first).to_contain_text("output row 1 ")
    assert place(page) == (1, 1)
    expect(slide).to_be_focused()


@pytest.mark.parametrize("way", ["played", "chosen"])
def test_focus_goes_on_to_the_next_picture(opened, way):
    page = opened("net")
    if way == "played":
        page.get_by_role("button", name="play step").click()
        page.locator(".slide").focus()
    else:
        page.locator(".slide").focus()
        page.evaluate("location.hash = '#step=1'")
    expect(page.locator(".where")).to_have_text("2 of 5")
    expect(page.locator(".slide")).to_be_focused()
    page.keyboard.press("ArrowRight")
    assert place(page) == (1, 2)


def test_where_no_picture_follows_focus_stays_with_the_steps(opened_for):
    page = opened_for(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)), (12, 12))
    page.locator(".slide").focus()
    page.evaluate("location.hash = '#step=1'")
    expect(page.locator(".lanes")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".where")).to_have_text("3 of 3")


def test_nothing_jumps_on_a_map_that_is_drawn_like_a_smaller_one(opened_for):
    page = opened_for(nn.Conv2d(3, 4, 5, padding=2), (60, 60), within=2048)
    page.locator(".slide").evaluate("e => e.dataset.same = 'yes'")
    page.evaluate("location.hash = '#h=2048&w=2048'")
    expect(page.get_by_role("spinbutton", name="Width")).to_have_value("2048")
    assert page.locator(".slide").get_attribute("data-same") == "yes"
    page.locator(".slide").focus()
    heights = {page.locator(".line").bounding_box()["height"]}
    for key in ("ArrowDown", "End"):
        page.keyboard.press(key)
        heights.add(page.locator(".line").bounding_box()["height"])
    assert place(page) == (2048, 2048)
    assert len(heights) == 1


def test_where_channels_do_not_match_no_window_is_drawn(opened_for):
    page = opened_for(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3)), (24, 24), link="#step=1")
    expect(page.locator(".step article.failed")).to_be_visible()
    assert page.locator(".slide").count() == 0
    window = page.locator(".block.failed .window")
    assert window.evaluate("e => e.width.baseVal.value") == 0


def test_of_two_networks_that_say_the_same_one_picture_plays(opened_for):
    nets = {label: nn.Conv2d(3, 4, 3, padding=1) for label in ("one", "other")}
    page = opened_for(nets, (7, 6), still=False)
    page.add_init_script(COUNTED)
    page.reload()
    expect(page.locator(".slide")).to_have_count(1)
    assert page.evaluate("window.running()") == 1
    page.locator(".slide").press("End")
    assert page.evaluate("window.running()") == 0
    page.keyboard.press("Enter")
    assert page.evaluate("window.running()") == 1


# --- What a cell sees, on the image


def frame(page):
    """Height and width of the frame as parts of the image; None where there is none."""
    if page.locator(".image .sight").get_attribute("visibility") == "hidden":
        return None
    keys = "e => ['y', 'height', 'x', 'width'].map(key => e[key].baseVal.value)"
    mine, image = page.locator(".image").evaluate(  # both in one frame of a glide
        f"e => ['.sight', '.face'].map(kind => e.querySelector(kind)).map({keys})"
    )
    for start in (0, 2):
        assert mine[start] + mine[start + 1] / 2 == pytest.approx(image[start] + image[start + 1] / 2, abs=0.1)
    return mine[1] / image[1], mine[3] / image[3]


def near(*parts):
    return pytest.approx(parts, abs=0.01)


def test_a_frame_on_the_image_shows_how_much_a_cell_sees(opened):
    page = opened("net", "#h=24&w=12&step=0")
    assert frame(page) == near(5 / 24, 5 / 12)
    page.get_by_role("button", name="next step").click()
    assert frame(page) == near(6 / 24, 6 / 12)
    field = page.get_by_role("spinbutton", name="Height of the image, typed")
    field.fill("40")
    field.press("Enter")
    assert frame(page) == near(6 / 40, 6 / 12)


def test_the_frame_follows_while_the_image_glides(opened):
    page = opened("net", "#h=24&w=12&step=1", still=False)
    page.get_by_role("button", name="9×6", exact=True).click()
    assert frame(page) == near(6 / 9, 6 / 6), "at once, whatever the image's size on its way"
    page.wait_for_timeout(600)
    assert frame(page) == near(6 / 9, 6 / 6)


def test_the_frame_ends_where_the_image_ends(opened):
    page = opened("net", "#h=5&w=5&step=0")
    assert frame(page) == near(1, 1)
    page.evaluate("location.hash = '#h=6&w=40&step=1'")
    expect(page.get_by_role("spinbutton", name="Width")).to_have_value("40")
    assert frame(page) == near(1, 6 / 40)


@pytest.mark.parametrize("step", ["3", "4"])
def test_where_a_cell_sees_the_whole_of_any_image_there_is_no_frame(opened, step):
    page = opened("net", f"#h=24&w=12&step={step}")
    assert frame(page) is None


def test_a_step_that_fails_has_no_frame(opened):
    assert frame(opened("net", "#h=4&w=4&step=0")) is None


def test_the_key_says_what_the_frame_is(opened):
    expect(opened("net").locator(".key")).to_contain_text("dashed on the image: what one cell of the chosen step sees")


def test_a_step_that_sees_the_same_writes_nothing_anew(opened):
    page = opened("net", "#h=24&w=12&step=1")
    page.evaluate(
        """() => { window.written = [];
            new MutationObserver(all => all.forEach(one => written.push(one.attributeName)))
                .observe(document.querySelector(".image .sight"), {attributes: true}); }"""
    )
    page.get_by_role("button", name="next step").click()
    page.wait_for_timeout(100)
    assert page.evaluate("written") == []
    page.get_by_role("button", name="first step").click()
    page.wait_for_timeout(100)
    assert Counter(page.evaluate("written")) == Counter(["x", "y", "width", "height"])


# --- In JupyterLab

NOTEBOOK = """
from torch import nn
from fcnviz.explorer import Explorer
Explorer(nn.Conv2d(3, 4, 3, padding=1), (7, 6), within=40, presets=[])
"""


def test_in_jupyterlab_the_arrow_keys_move_the_window_and_no_cell(lab):
    cell = {"cell_type": "code", "source": NOTEBOOK, "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}
    data = json.dumps({"type": "notebook", "format": "json", "content": content}).encode()
    lab.server.request("PUT", "api/contents/window.ipynb", data)
    lab.open("window.ipynb")
    lab.run_all()
    slide = lab.page.locator(".fcnviz-explorer .slide")
    expect(slide).to_be_visible()
    cells = lab.page.locator(".jp-Notebook .jp-Cell").count()
    slide.click(position={"x": 20, "y": 20})
    for key in ("Home", "ArrowDown", "ArrowRight", "ArrowRight", "b"):
        lab.page.keyboard.press(key)
    assert told(lab.page) == ["output row 2 ← rows 1–3", "column 3 ← columns 2–4"]
    assert lab.page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert (lab.errors, lab.external) == ([], [])

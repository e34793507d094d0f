"""The first notebook in JupyterLab, moved by mouse and keyboard as a student moves it."""

import re

import pytest
from playwright.sync_api import expect


@pytest.fixture(scope="module")
def opened(lab):
    lab.open("00_start.ipynb")
    lab.run_all()
    return lab


@pytest.fixture
def view(opened):
    """The explorer at 224 × 224, square, at its first layer; nothing may have gone wrong when a test ends."""
    shown = opened.page.locator(".fcnviz-sizes")
    shown.get_by_role("button", name="224 × 224").click()
    expect(shown.get_by_role("checkbox", name="square")).to_be_checked()
    slider(shown, 2).press("Home")
    expect_row(shown, "classifier.0", "Linear 1×4096 Conv2d 7×7 4096×1×1")
    number_of_cells = opened.page.locator(".jp-Notebook .jp-Cell").count()
    yield shown
    assert opened.page.locator(".jp-Notebook .jp-Cell").count() == number_of_cells
    assert opened.errors == []
    assert opened.external == []


BREAK = "✗ 25 088 ≠ 32 768 = 512·8·8 Conv2d 7×7 4096×2×2"
MESSAGE = "RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x32768 and 25088x4096)"


def expect_row(view, layer, text):
    row = view.get_by_role("row").filter(has=view.page.get_by_role("rowheader", name=layer, exact=True)).first
    expect(row).to_have_text(re.compile(r"\s*".join(map(re.escape, [layer, *text.split()]))))


def expect_size(view, height, width):
    fields = view.locator(".fcnviz-axis input")
    expect(fields.nth(0)).to_have_value(str(height))
    expect(fields.nth(1)).to_have_value(str(width))


def slider(view, number):
    """Height, width or layer, in this order."""
    return view.get_by_role("slider").nth(number)


def type_size(view, axis, size):
    field = view.locator(".fcnviz-axis input").nth(axis)
    field.fill(str(size))
    field.press("Enter")


def test_the_preset_256_breaks_the_linear_head_and_224_heals_it(view):
    view.get_by_role("button", name="256 × 256").click()
    expect_row(view, "classifier.0", BREAK)
    expect(view).to_contain_text(MESSAGE)
    expect_row(view, "classifier.6", "Linear not reached Conv2d 1×1 1000×2×2")
    view.get_by_role("button", name="224 × 224").click()
    expect_row(view, "classifier.0", "Linear 1×4096 Conv2d 7×7 4096×1×1")
    expect(view).not_to_contain_text("RuntimeError")


def test_the_failed_row_is_red_and_nothing_else_in_the_table_is(view):
    view.get_by_role("button", name="256 × 256").click()
    red = view.locator(".fcnviz-strip .fcnviz-bad")
    expect(red).to_have_count(1)
    red_part, green_part, blue_part = map(
        int, re.findall(r"\d+", red.evaluate("e => getComputedStyle(e).boxShadow"))[:3]
    )
    assert red_part > 2 * max(green_part, blue_part)


def test_the_keyboard_moves_height_and_width_together_while_square(view):
    slider(view, 0).focus()
    for _ in range(32):
        view.page.keyboard.press("ArrowRight")
    expect_size(view, 256, 256)
    expect_row(view, "classifier.0", BREAK)
    view.page.keyboard.press("ArrowLeft")
    expect_size(view, 255, 255)
    expect_row(view, "classifier.0", "Linear 1×4096 Conv2d 7×7 4096×1×1")


def test_the_mouse_drags_a_slider_and_the_rows_follow(view):
    handle = slider(view, 0)
    track = view.locator(".fcnviz-axis .noUi-target").first.bounding_box()
    box = handle.bounding_box()
    view.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    view.page.mouse.down()
    view.page.mouse.move(track["x"] + 0.8 * track["width"], box["y"] + box["height"] / 2, steps=12)
    view.page.mouse.up()
    height = round(float(handle.get_attribute("aria-valuenow")))
    assert height > 350
    expect_size(view, height, height)
    expect_row(view, "input", f"image 3×{height}×{height} image 3×{height}×{height}")
    cells = height // 32
    expect_row(view, "classifier.0", f"✗ 25 088 ≠ {512 * cells**2:,} = 512·{cells}·{cells} Conv2d".replace(",", " "))


def test_without_square_the_axes_move_apart(view):
    view.get_by_role("checkbox", name="square").uncheck()
    slider(view, 1).focus()
    for _ in range(32):
        view.page.keyboard.press("ArrowRight")
    expect_size(view, 224, 256)
    expect_row(view, "classifier.0", "✗ 25 088 ≠ 28 672 = 512·7·8 Conv2d 7×7 4096×1×2")
    view.get_by_role("checkbox", name="square").check()
    expect_size(view, 224, 224)


def test_the_strip_of_49_cells_passes_on_the_left_and_is_refused_on_the_right(view):
    view.get_by_role("button", name="1568 × 32").click()
    expect_size(view, 1568, 32)
    expect(view.get_by_role("checkbox", name="square")).not_to_be_checked()
    expect_row(view, "features.30", "MaxPool2d 2×2 512×49×1 MaxPool2d 2×2 512×49×1")
    expect_row(view, "classifier.0", "Linear 1×4096 ✗ 7×7 window, 49×1 map")


def test_silly_sizes_are_explained_and_heal(view):
    view.get_by_role("checkbox", name="square").uncheck()
    type_size(view, 0, 1)
    type_size(view, 1, 2000)
    expect_row(view, "features.4", "✗ 2×2 window, 1×2000 map ✗ 2×2 window, 1×2000 map")
    expect(view).to_contain_text("the image is too low")
    type_size(view, 1, 99999)
    expect_size(view, 1, 2048)
    expect(view.locator(".fcnviz-note").nth(1)).to_have_text("99999 → 2048")
    type_size(view, 0, 0)
    expect_size(view, 1, 2048)
    expect(view.locator(".fcnviz-note").nth(0)).to_have_text("0 → 1")


def test_numbers_that_are_not_whole_are_read_as_they_are_typed(view):
    field, note = view.locator(".fcnviz-axis input").first, view.locator(".fcnviz-note").first
    expect(note).to_have_text("1–2048")
    for typed, size, said in (("300.7", 301, "300.7 → 301"), ("3e2", 300, "1–2048"), ("", 300, "1–2048")):
        field.press("ControlOrMeta+a")
        field.press("Delete")
        field.press_sequentially(typed)
        field.press("Enter")
        expect(view.locator(".fcnviz-axis input").nth(1)).to_have_value(str(size))
        expect_row(view, "input", f"image 3×{size}×{size} image 3×{size}×{size}")
        expect(note).to_have_text(said)


def test_at_the_ends_the_stepper_greys_out_what_leads_nowhere(view):
    expect(view.locator(".fcnviz-stepper")).to_contain_text("of 22")
    for name, dead in (("last", ("next", "last")), ("first", ("first", "back"))):
        view.get_by_role("button", name=name, exact=True).click()
        for move in ("first", "back", "next", "last"):
            button = view.get_by_role("button", name=move, exact=True)
            expect(button).to_be_disabled() if move in dead else expect(button).to_be_enabled()
    view.page.keyboard.press("x")  # the button that had the focus is grey by now
    expect(view).to_be_visible()


@pytest.mark.parametrize(("height", "width"), [(2048, 2048), (1024, 1500), (1500, 2048)])
def test_no_size_is_cut_off(view, height, width):
    view.get_by_role("checkbox", name="square").uncheck()
    type_size(view, 0, height)
    type_size(view, 1, width)
    expect_row(view, "input", f"image 3×{height}×{width} image 3×{height}×{width}")
    cut = view.locator(".fcnviz-strip td").evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)"
    )
    assert cut == []


def test_on_a_small_laptop_the_red_row_is_in_sight_together_with_the_presets(opened, view):
    opened.page.set_viewport_size({"width": 1366, "height": 768})
    view.get_by_role("button", name="256 × 256").click()
    expect_row(view, "classifier.0", BREAK)
    view.evaluate("e => e.scrollIntoView({block: 'start'})")
    for part in (view.get_by_role("button", name="224 × 224"), view.locator(".fcnviz-strip .fcnviz-bad")):
        expect(part).to_be_in_viewport(ratio=1)
    opened.page.set_viewport_size({"width": 1280, "height": 900})


def test_the_stepper_walks_the_arithmetic_by_button_and_by_key(view):
    sums = view.locator(".fcnviz-sums")
    expect(sums).to_contain_text("Linear head and Convolutional head · features.0")
    expect(sums).to_contain_text("⌊(224 + 2·1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 224")
    view.get_by_role("button", name="next", exact=True).click()
    expect(sums).to_contain_text("· features.2")
    view.get_by_role("button", name="next", exact=True).press("Space")
    expect(sums).to_contain_text("⌊(224 + 2·0 − 1·(2 − 1) − 1) / 2⌋ + 1 = 112")
    slider(view, 2).focus()
    view.page.keyboard.press("ArrowRight")
    expect(sums).to_contain_text("· features.5")
    view.get_by_role("button", name="back", exact=True).click()
    expect(sums).to_contain_text("· features.4")
    view.get_by_role("button", name="last", exact=True).click()
    expect(sums).to_contain_text("Convolutional head · classifier.6")


def test_a_stray_key_on_a_button_does_not_take_the_explorer_away(view):
    view.get_by_role("button", name="next", exact=True).press("x")  # JupyterLab's key for cutting a cell
    expect(view).to_be_visible()


def test_arrow_keys_step_the_number_in_a_field(view):
    view.locator(".fcnviz-axis input").first.focus()
    view.page.keyboard.press("ArrowUp")
    expect_size(view, 225, 225)


def test_the_tables_of_the_notebook_need_no_scrolling(opened, view):
    opened.page.set_viewport_size({"width": 1280, "height": 900})
    fits = opened.page.locator(".fcnviz-trace .scroll").evaluate_all(
        "all => all.map(e => e.scrollWidth <= e.clientWidth)"
    )
    assert fits == [True, True]


def test_thousands_are_written_in_one_style_all_over_the_notebook(opened):
    cells = "[...window.jupyterapp.shell.currentWidget.content.model.cells].map(cell => cell.toJSON())"
    text = opened.page.evaluate(f"() => JSON.stringify({cells})")
    assert "138\u202f357\u202f544 weights on the left" in text
    assert "25\u202f088 columns, 32\u202f768 numbers" in text
    assert re.findall(r"\b\d{1,3},\d{3}\b", text) == []


def test_where_the_networks_part_the_stepper_shows_both_sides_of_the_break(view):
    view.get_by_role("button", name="where they part").click()
    view.get_by_role("button", name="256 × 256").click()
    sums = view.locator(".fcnviz-sums")
    expect(sums).to_contain_text("✗ 25 088 ≠ 32 768")
    expect(sums).to_contain_text("1×32768 = 512·8·8")
    expect(sums).to_contain_text("⌊(8 + 2·0 − 1·(7 − 1) − 1) / 1⌋ + 1 = 2")
    expect(sums).to_contain_text("weight 4096×512×7×7, bias 4096")


@pytest.mark.parametrize("width", [1280, 1366, 1440, 1680, 1920])
def test_the_view_stays_in_its_place_whatever_is_shown(view, width):
    view.page.set_viewport_size({"width": width, "height": 900})
    tops, widths, heights = set(), set(), set()
    for preset in ("224 × 224", "256 × 256", "224 × 256", "1568 × 32"):
        view.get_by_role("button", name=preset).click()
        height, wide = preset.split(" × ")
        expect_row(view, "input", f"image 3×{height}×{wide}")
        box, outside = view.locator(".fcnviz-strip table").bounding_box(), view.bounding_box()
        tops.add(round(box["y"] - outside["y"]))
        widths.add(round(box["width"]))
        heights.add(round(outside["height"]))
        assert view.evaluate("e => e.scrollWidth <= e.clientWidth")
    assert (len(tops), len(widths), len(heights)) == (1, 1, 1)


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_text_stands_out_in_either_theme(opened, view, theme):
    opened.theme(theme)
    view.get_by_role("button", name="256 × 256").click()
    view.get_by_role("button", name="where they part").click()
    expect(view.locator(".fcnviz-sums")).to_contain_text("✗ 25 088 ≠ 32 768")  # the last piece to be written
    parts = (".fcnviz-cards .fcnviz-why", ".fcnviz-strip .fcnviz-bad", ".fcnviz-strip .fcnviz-never")
    for part in (*parts, ".fcnviz-sums i", ".fcnviz-sums .fcnviz-bad i", ".fcnviz-sums .fcnviz-bad th"):
        expect(view.locator(part).first).to_be_visible()
        assert view.locator(part).first.evaluate(CONTRAST) >= 4.5, part


# The contrast ratio of WCAG 2: tints are laid over each other down to the first solid background.
CONTRAST = """element => {
    const parse = css => { const n = css.match(/[0-9.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
    const over = (top, under) => top.map((v, i) => i < 3 ? v * top[3] + under[i] * (1 - top[3]) : 1);
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(parse(getComputedStyle(e).backgroundColor));
    const back = layers.reduce((under, top) => over(top, under), [255, 255, 255, 1]);
    const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const [a, b] = [light(over(parse(getComputedStyle(element).color), back)), light(back)];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
}"""

"""The first notebook in JupyterLab: the explorer as a student moves it, and the notebook around it."""

import re

import pytest
from playwright.sync_api import expect

LAPTOP = {"width": 1366, "height": 768}
WINDOW = {"width": 1280, "height": 900}
UPPER, LOWER = "Linear head", "Convolutional head"
DECODED = "Linear classifier.0 has 25 088 columns = 512·7·7, but the flattened map is 512·8·8 = 32 768 numbers"
MESSAGE = "PyTorch: mat1 and mat2 shapes cannot be multiplied (1x32768 and 25088x4096)"
RED = ".block.failed .mark"


@pytest.fixture(scope="module")
def opened(lab):
    lab.open("00_start.ipynb")
    lab.run_all()
    return lab


@pytest.fixture
def view(opened):
    """The explorer at 224 × 224, square, at its first step; nothing may have gone wrong when a test ends."""
    opened.page.set_viewport_size(WINDOW)
    shown = opened.page.locator(".fcnviz-explorer")
    press(shown, "224×224")
    shown.get_by_role("button", name="sliders up to 512").click()
    if shown.get_by_role("button", name="first step").is_enabled():
        press(shown, "first step")
    expect_step(shown, "features.0")
    expect_size(shown, 224, 224)
    number_of_cells = opened.page.locator(".jp-Notebook .jp-Cell").count()
    yield shown
    assert opened.page.locator(".jp-Notebook .jp-Cell").count() == number_of_cells
    assert opened.errors == []
    assert opened.external == []


def press(view, name):
    view.get_by_role("button", name=name, exact=True).click()


def field(view, axis):
    return view.get_by_role("spinbutton", name=axis)


def slider(view, axis):
    return view.get_by_role("slider", name=f"{axis} of the image")


def lane(view, label):
    return view.get_by_role("region", name=label, exact=True)


def chosen(view):
    """What is written of the selected step."""
    return view.get_by_role("region", name="The selected step")


def expect_text(part, text):
    """Thousands are parted by a narrow space, which is a space here."""
    expect(part).to_contain_text(re.compile(re.escape(text).replace(r"\ ", r"\s")))


def expect_size(view, height, width):
    expect(field(view, "Height")).to_have_value(str(height))
    expect(field(view, "Width")).to_have_value(str(width))


def expect_step(view, name):
    expect(chosen(view).get_by_role("heading", level=2)).to_have_text(name)


def type_size(view, axis, size):
    field(view, axis).fill(str(size))
    field(view, axis).press("Enter")


def drag(view, start, end):
    view.page.mouse.move(*start)
    view.page.mouse.down()
    view.page.mouse.move(*end, steps=12)
    view.page.mouse.up()


def test_256_stops_the_upper_lane_and_the_lower_goes_on(view):
    press(view, "256×256")
    expect_text(lane(view, UPPER), DECODED)
    expect_text(lane(view, UPPER), MESSAGE)
    expect(lane(view, LOWER).locator(".block").last.locator(".label:not(:empty)")).to_have_text(["1000", "2 2"])
    press(view, "224×224")
    expect(lane(view, UPPER)).not_to_contain_text("PyTorch")
    expect_text(lane(view, UPPER), "1×1000 · one answer for the whole image")


def test_a_click_on_the_red_cross_shows_both_sides_of_the_break(view):
    press(view, "256×256")
    lane(view, UPPER).locator(".block.failed .hit").click()
    expect_step(view, "classifier.0")
    for text in ("1×32768 → ✗ stops here", "✗ 32 768 ≠ 25 088", "512×8×8 → 4096×2×2", "weight 4096×512×7×7, bias 4096"):
        expect_text(chosen(view), text)
    expect_text(view.get_by_role("region", name="Ways out"), "nn.Conv2d(512, 4096, kernel_size=7)")


def test_the_keyboard_moves_height_and_width_together_while_square(view):
    slider(view, "Height").focus()
    for _ in range(32):
        view.page.keyboard.press("ArrowRight")
    expect_size(view, 256, 256)
    expect_text(lane(view, UPPER), MESSAGE)
    view.page.keyboard.press("ArrowLeft")
    expect_size(view, 255, 255)
    expect(lane(view, UPPER)).not_to_contain_text("PyTorch")
    field(view, "Height").focus()
    view.page.keyboard.press("ArrowUp")
    expect_text(lane(view, UPPER), MESSAGE)


def test_the_mouse_drags_a_slider_and_both_lanes_follow(view):
    box = slider(view, "Height").bounding_box()
    middle = box["y"] + box["height"] / 2
    drag(view, (box["x"] + box["width"] * 224 / 512, middle), (box["x"] + box["width"] * 0.8, middle))
    height = int(field(view, "Height").input_value())
    assert 380 < height < 440
    expect_size(view, height, height)
    cells = height // 32
    numbers = f"{512 * cells**2:,}".replace(",", " ")
    expect_text(lane(view, UPPER), f"the flattened map is 512·{cells}·{cells} = {numbers} numbers")
    expect_text(lane(view, LOWER), f"1000×{cells - 6}×{cells - 6}")


@pytest.mark.parametrize("width", [1280, 1366, 1920])
def test_the_mouse_drags_the_cross_of_a_plane_and_the_image_is_square_no_more(view, width):
    view.page.set_viewport_size({"width": width, "height": 900})
    area = view.get_by_role("application", name=f"Sizes that {LOWER} takes")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    drag(view, (box["x"] + 40, box["y"] + 40), (box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2))
    height, width = (int(field(view, axis).input_value()) for axis in ("Height", "Width"))
    assert abs(height - 256) <= 3 and abs(width - 384) <= 3
    expect(view.get_by_role("button", name="keep the image square")).to_have_attribute("aria-pressed", "false")
    expect_text(lane(view, LOWER), f"1000×{height // 32 - 6}×{width // 32 - 6}")


def test_unlocked_the_axes_move_apart_and_locked_again_the_width_follows(view):
    lock = view.get_by_role("button", name="keep the image square")
    lock.click()
    slider(view, "Width").focus()
    for _ in range(32):
        view.page.keyboard.press("ArrowRight")
    expect_size(view, 224, 256)
    expect_text(lane(view, UPPER), "512·7·8 = 28 672 numbers: 25 088 ≠ 28 672")
    expect_text(lane(view, LOWER), "1000×1×2 · 1 × 2 = 2 answers")
    lock.click()
    expect_size(view, 224, 224)


def test_the_strip_of_49_cells_passes_above_and_is_refused_below(view):
    press(view, "1568×32")
    expect_size(view, 1568, 32)
    expect_text(lane(view, UPPER), "1×1000 · one answer for the whole image")
    expect(lane(view, LOWER).locator(".block.failed")).to_have_count(1)
    expect_text(lane(view, LOWER), "49×1")
    expect(view.get_by_role("button", name="sliders up to 2048")).to_have_attribute("aria-pressed", "true")


def test_silly_sizes_are_read_refused_or_brought_into_range(view):
    for typed, size in (("0", 1), ("", 1), ("-5", 1), ("300.7", 301), ("3e2", 300), ("99999", 2048)):
        type_size(view, "Height", typed)
        expect_size(view, size, size)


def test_an_image_of_one_row_is_explained_in_both_lanes(view):
    view.get_by_role("button", name="keep the image square").click()
    type_size(view, "Height", 1)
    for label in (UPPER, LOWER):
        expect_text(lane(view, label), "the image is too low")
        expect(lane(view, label).locator(".block.failed")).to_have_count(1)


def test_the_stepper_walks_by_button_and_by_key(view):
    expect_text(chosen(view), "⌊(224 + 2·1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 224")
    press(view, "next step")
    expect_step(view, "features.1")
    view.get_by_role("button", name="next step").press("Space")
    expect_step(view, "features.2")
    view.get_by_role("group", name="Networks, step by step").focus()
    view.page.keyboard.press("ArrowRight")
    view.page.keyboard.press("ArrowRight")
    expect_step(view, "features.4")
    expect_text(chosen(view), "⌊(224 + 2·0 − 1·(2 − 1) − 1) / 2⌋ + 1 = 112")
    view.page.keyboard.press("ArrowLeft")
    expect_step(view, "features.3")
    press(view, "last step")
    expect_step(view, "classifier.6")
    expect(view.get_by_role("button", name="next step")).to_be_disabled()


@pytest.mark.parametrize("key", ["x", "b", "d", "Enter"])
def test_a_key_that_jupyterlab_knows_stays_in_the_explorer(view, key):
    view.get_by_role("button", name="next step").focus()
    view.page.keyboard.press(key)
    view.page.keyboard.press(key)
    expect(view).to_be_visible()


def test_the_table_says_the_same_and_goes_with_the_size(view):
    press(view, "Table")
    press(view, "256×256")
    table = view.get_by_role("region", name="All steps as a table")
    row = table.get_by_role("row").filter(has=view.page.get_by_role("rowheader", name="classifier.0", exact=True))
    expect_text(row, "✗ stops here")
    expect_text(row, "4096×2×2")
    expect_text(table.get_by_role("row").filter(has_text="image"), "3×256×256")
    press(view, "224×224")
    expect_text(row, "4096×1×1")
    press(view, "Table")
    expect(table).to_be_hidden()


def test_on_a_small_laptop_the_red_cross_is_in_sight_together_with_the_presets(view):
    view.page.set_viewport_size(LAPTOP)
    press(view, "256×256")
    view.evaluate("e => e.scrollIntoView({block: 'start'})")
    last = lane(view, LOWER).locator(".hit").last  # as high as the lane, with the numbers
    for part in (view.get_by_role("button", name="224×224"), view.locator(RED), last):
        expect(part).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("width", [1280, 1366, 1680, 1920])
def test_every_lane_stays_in_its_place_and_nothing_hangs_over(view, width):
    view.page.set_viewport_size({"width": width, "height": 900})
    view.get_by_role("button", name="sliders up to 2048").click()
    tops = set()
    for preset in ("224×224", "256×256", "224×256", "500×375", "1568×32"):
        press(view, preset)
        tops.add(lane(view, LOWER).bounding_box()["y"] - view.bounding_box()["y"])
        assert view.evaluate("e => e.scrollWidth <= e.clientWidth")
        assert view.locator(".lanes").evaluate("e => e.scrollWidth <= e.clientWidth")
    assert max(tops) - min(tops) < 0.1


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_text_stands_out_in_either_theme(opened, view, theme):
    opened.theme(theme)
    press(view, "256×256")
    lane(view, UPPER).locator(".block.failed .hit").click()
    expect_step(view, "classifier.0")
    kinds = "b.s, b.c, .bad, .soft, .said, .second, .never, .formula, .rule, .now, .key, figcaption, li, h2, h3, button"
    weak = view.locator(kinds).evaluate_all(f"all => all.map(e => [({CONTRAST})(e), e.outerHTML.slice(0, 80)])")
    assert len(weak) > 40
    assert [one for one in weak if one[0] < 4.5] == []


# The contrast ratio of WCAG 2: tints are laid over each other down to the first solid background. What can't be
# pressed is exempt, and so is what is not shown.
CONTRAST = """element => {
    if (element.disabled || !element.getClientRects().length) return 21;
    const parse = css => { const n = css.match(/[0-9.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
    const over = (top, under) => top.map((v, i) => i < 3 ? v * top[3] + under[i] * (1 - top[3]) : 1);
    const layers = [], look = getComputedStyle(element);
    for (let e = element; e; e = e.parentElement) layers.unshift(parse(getComputedStyle(e).backgroundColor));
    const back = layers.reduce((under, top) => over(top, under), [255, 255, 255, 1]);
    const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const ink = element instanceof SVGElement ? look.fill : look.color;
    const [a, b] = [light(over(parse(ink), back)), light(back)];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
}"""


def test_the_tables_of_the_notebook_need_no_scrolling(opened, view):
    fits = opened.page.locator(".fcnviz-trace .scroll").evaluate_all(
        "all => all.map(e => e.scrollWidth <= e.clientWidth)"
    )
    assert fits == [True, True]


def test_thousands_are_written_in_one_style_all_over_the_notebook(opened):
    cells = "[...window.jupyterapp.shell.currentWidget.content.model.cells].map(cell => cell.toJSON())"
    shown = "o => [o.text, o.data?.['text/plain'], o.data?.['text/html']?.replace(/<iframe.*<.iframe>/s, '')]"
    text = opened.page.evaluate(f"() => JSON.stringify({cells}.map(c => [c.source, (c.outputs ?? []).map({shown})]))")
    assert "138\u202f357\u202f544 weights in the upper lane" in text
    assert "25\u202f088 columns, 32\u202f768 numbers" in text
    assert re.findall(r"\b\d{1,3},\d{3}\b", text) == []

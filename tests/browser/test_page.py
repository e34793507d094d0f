"""The saved page, opened from a disk: mouse, keyboard, the break, the table, without scripts, and for every eye."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from torch import nn

from fcnviz import models, trace
from fcnviz.arithmetic import count
from fcnviz.explorer import save_page

BREAK = "Linear classifier.0 has 25 088 columns = 512·7·7, but the flattened map is 512·8·8 = 32 768 numbers"
MESSAGE = "mat1 and mat2 shapes cannot be multiplied (1x32768 and 25088x4096)"
EVIL = "</script><img src=x onerror='document.title=1'>"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return save_page(tmp_path_factory.mktemp("page") / "explorer.html")


class Opened:
    """A page and everything that went wrong on it."""

    def __init__(self, context, path, link=""):
        self.page, self.path, self.errors, self.asked = context.new_page(), path, [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(f"{path.as_uri()}{link}")
        self.laid_out()

    def laid_out(self):
        """Waits for the first picture: a page may be loaded before it is laid out. Without scripts there is none."""
        drawn, still = ".block .face[width]", "#explorer > :not(.fcnviz-explorer)"
        self.page.locator(f"{drawn}, {still}").first.wait_for(state="attached")

    def lane(self, label):
        return self.page.get_by_role("region", name=label, exact=True)

    def block(self, label, number):
        """The block of a step, counted from 1; 0 is the image."""
        return self.lane(label).locator(".block").nth(number)


@pytest.fixture
def opened(browser, saved):
    """The page at 224 × 224; nothing may have gone wrong and nothing been asked for when a test ends."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    shown = Opened(context, saved)
    yield shown
    assert shown.errors == []
    assert [url for url in shown.asked if not url.startswith((saved.as_uri(), "data:"))] == []
    context.close()


def field(page, axis):
    return page.get_by_role("spinbutton", name=axis)


def press_preset(page, size):
    page.get_by_role("button", name=size, exact=True).click()


def numbers_of(block):
    return "\n".join(block.locator(".label:not(:empty)").all_text_contents()).split("\n")


def test_256_breaks_the_linear_head_and_the_other_goes_on(opened):
    press_preset(opened.page, "256×256")
    expect(opened.lane("Linear head")).to_contain_text(BREAK.replace(" 0", "\u202f0").replace("2 7", "2\u202f7"))
    expect(opened.lane("Linear head")).to_contain_text(MESSAGE)
    expect(opened.lane("Convolutional head")).to_contain_text("1000×2×2 · 2 × 2 = 4 answers")
    press_preset(opened.page, "224×224")
    expect(opened.lane("Linear head")).not_to_contain_text(MESSAGE)


def test_the_failing_block_is_red_and_later_ones_are_ghosts(opened):
    press_preset(opened.page, "256×256")
    lane = opened.lane("Linear head")
    expect(lane.locator(".block.failed")).to_have_count(1)
    expect(lane.locator(".block.ghost")).to_have_count(6)
    expect(lane.locator(".never")).to_be_visible()
    red, green, blue = map(
        int, re.findall(r"\d+", lane.locator(".failed .mark").evaluate("e => getComputedStyle(e).fill"))
    )
    assert red > 2 * max(green, blue)
    expect(opened.lane("Convolutional head").locator(".ghost, .failed")).to_have_count(0)


def test_sizes_pressed_faster_than_blocks_glide_leave_no_error(opened):
    """`opened` asserts that the console is empty: a frame may have begun before the press that asked for it."""
    for size in ["256×256", "1568×32", "500×375", "224×224"] * 6:
        press_preset(opened.page, size)
    opened.page.wait_for_timeout(600)
    assert numbers_of(opened.block("Linear head", 0)) == ["3", "224", "224"]


def test_the_words_of_a_break_stay_in_sight_on_a_phone(browser, saved):
    context = browser.new_context(viewport={"width": 390, "height": 800})
    shown = Opened(context, saved, "#h=256&w=256&step=classifier.0")
    shown.page.wait_for_timeout(200)
    assert shown.page.locator(".lanes").evaluate("e => e.scrollLeft") > 0
    head = shown.lane("Linear head").locator(".head").bounding_box()
    assert head["x"] >= 0 and head["x"] + head["width"] <= 390
    back = shown.lane("Linear head").evaluate("e => e.clientWidth - e.parentNode.scrollWidth")
    assert back >= -1
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_the_lanes_are_whole_and_dark_on_white(browser, saved, scheme):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    shown = Opened(context, saved, "#h=256&w=256&step=classifier.0")
    shown.page.set_viewport_size({"width": 720, "height": 1000})
    shown.page.emulate_media(media="print", color_scheme=scheme)
    shown.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    failed = shown.block("Linear head", 33).bounding_box()
    assert shown.lane("Linear head").locator(".failed").count() == 1
    assert failed["x"] + failed["width"] <= 720
    explorer = shown.page.locator(".fcnviz-explorer")
    ink, back = (
        explorer.evaluate(f"e => getComputedStyle(e).{key}.match(/\\d+/g).slice(0, 3).map(Number)")
        for key in ("color", "backgroundColor")
    )
    assert (ink, back) == ([0, 0, 0], [255, 255, 255])
    context.close()


def test_another_button_of_the_mouse_leaves_the_size(opened):
    opened.page.get_by_role("application", name="Sizes that").first.click(button="right", position={"x": 20, "y": 20})
    expect(field(opened.page, "Height")).to_have_value("224")


def test_a_square_from_the_address_is_locked_again(opened):
    lock = opened.page.get_by_role("button", name="keep the image square")
    opened.page.evaluate("location.hash = '#h=300&w=200'")
    expect(lock).to_have_attribute("aria-pressed", "false")
    opened.page.evaluate("location.hash = '#h=256&w=256'")
    expect(field(opened.page, "Width")).to_have_value("256")
    expect(lock).to_have_attribute("aria-pressed", "true")


def test_each_block_has_the_numbers_of_its_map(opened):
    press_preset(opened.page, "500×375")
    lane = opened.lane("Convolutional head")
    shown = [numbers_of(one) for one in lane.locator(".block").all()]
    assert shown[0] == ["3", "500", "375"]
    assert shown[5] == ["64", "250", "187"]
    assert shown[-1] == ["1000", "9", "5"]


def test_a_block_grows_with_its_map(opened):
    face = opened.block("Linear head", 1).locator(".face")
    before = face.bounding_box()
    field(opened.page, "Height").fill("448")
    field(opened.page, "Height").press("Enter")
    expect(field(opened.page, "Width")).to_have_value("448")
    opened.page.wait_for_timeout(600)
    after = face.bounding_box()
    assert after["height"] / before["height"] == pytest.approx(2**0.4, rel=0.05)
    assert after["width"] / before["width"] == pytest.approx(2**0.4, rel=0.05)


def test_arrow_keys_move_a_slider_and_nothing_waits(opened):
    slider = opened.page.get_by_role("slider", name="Height of the image")
    slider.focus()
    for _ in range(32):
        opened.page.keyboard.press("ArrowRight")
    expect(field(opened.page, "Height")).to_have_value("256")
    expect(opened.lane("Linear head")).to_contain_text(MESSAGE)
    opened.page.keyboard.press("ArrowLeft")
    expect(opened.lane("Linear head")).not_to_contain_text(MESSAGE)


def test_a_plate_that_is_not_seen_takes_no_click(opened):
    press_preset(opened.page, "256×256")
    plates = opened.lane("Linear head").locator(".ghost.plate")
    assert plates.count() > 1
    caught = plates.locator(".hit").evaluate_all(
        """all => all.map((e) => e.getBoundingClientRect())
            .map((box) => document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2))
            .filter((under) => under.closest(".ghost.plate")).length"""
    )
    assert caught == 0


AT_ONCE = """(field, [name, size]) => {
    field.value = size;
    field.dispatchEvent(new Event(name));
    return [".block.image .label.s", ".planes .now", ".flow"].map((one) =>
        document.querySelector(one).textContent);
}"""


@pytest.mark.parametrize(
    ("role", "event", "size", "end"), [("slider", "input", 225, "runs"), ("spinbutton", "change", 600, "stops at")]
)
def test_the_next_frame_says_the_same_everywhere(opened, role, event, size, end):
    """Also where a size lies beyond the sliders' range, which then grows."""
    image, plane, flow = opened.page.get_by_role(role, name="Height").evaluate(AT_ONCE, [event, size])
    assert image == f"{size}\n{size}"
    assert plane.startswith(f"{size}×{size} {end}")
    assert flow == f"3×{size}×{size} → 64×{size}×{size}"


def test_the_mouse_drags_a_slider(opened):
    slider = opened.page.get_by_role("slider", name="Width of the image")
    box = slider.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * 224 / 512, box["y"] + box["height"] / 2)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2, steps=8)
    opened.page.mouse.up()
    assert 380 < int(field(opened.page, "Width").input_value()) < 440
    expect(field(opened.page, "Height")).to_have_value(field(opened.page, "Width").input_value())


def test_unlocked_the_axes_move_apart(opened):
    opened.page.get_by_role("button", name="keep the image square").click()
    opened.page.get_by_role("slider", name="Width of the image").focus()
    for _ in range(32):
        opened.page.keyboard.press("ArrowRight")
    expect(field(opened.page, "Height")).to_have_value("224")
    expect(field(opened.page, "Width")).to_have_value("256")
    expect(opened.lane("Convolutional head")).to_contain_text("1000×1×2")


def test_a_point_of_the_plane_is_dragged(opened):
    area = opened.page.get_by_role("application", name="Sizes that").first
    box = area.bounding_box()
    opened.page.mouse.move(box["x"] + 40, box["y"] + 40)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4, steps=6)
    opened.page.mouse.up()
    assert abs(int(field(opened.page, "Width").input_value()) - 256) <= 3
    assert abs(int(field(opened.page, "Height").input_value()) - 384) <= 3
    area.focus()
    height = int(field(opened.page, "Height").input_value())
    opened.page.keyboard.press("ArrowUp")
    expect(field(opened.page, "Height")).to_have_value(str(height + 1))


def test_the_stepper_walks_through_the_steps(opened):
    chosen = opened.page.get_by_role("region", name="The selected step")
    opened.page.get_by_role("button", name="last step").click()
    expect(chosen.get_by_role("heading", level=2)).to_have_text("classifier.6")
    opened.page.get_by_role("button", name="back step").click()
    expect(chosen.get_by_role("heading", level=2)).to_have_text("classifier.5")
    opened.page.get_by_role("button", name="first step").click()
    expect(chosen).to_contain_text("⌊(224 + 2·1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 224")
    expect(opened.page.get_by_role("button", name="back step")).to_be_disabled()
    opened.page.get_by_role("group", name="Networks, step by step").focus()
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("ArrowRight")
    expect(chosen.get_by_role("heading", level=2)).to_have_text("features.2")


@pytest.mark.parametrize("size", [(224, 224), (256, 320)])
@pytest.mark.parametrize("name", ["features.0", "classifier.0"])
def test_the_selected_step_says_what_of_it_follows_the_size(opened, name, size):
    opened.page.evaluate("link => { location.hash = link; }", f"#h={size[0]}&w={size[1]}&step={name}")
    [step] = [one for one in trace(models.vgg16("conv"), (1, 3, *size)).steps if one.name == name]
    facts = opened.page.locator(".step article").filter(has_text="Convolutional head").locator(".weights")
    shapes = ["×".join(map(str, weight.shape)) for weight in step.weights]
    names = [f"{weight.name} {shape}" for weight, shape in zip(step.weights, shapes, strict=True)]
    expect(facts).to_contain_text(f"{', '.join(names)} · none of these numbers follows H or W")
    expect(facts).to_contain_text(f"{count(step.params)} parameters · {count(step.macs)} multiply-adds")
    expect(facts).to_contain_text(re.compile(r"(each cell|a cell) sees \d+×\d+ pixels of the image"))
    expect(facts.locator("b.c")).to_have_text([*shapes, count(step.params)])
    expect(facts.locator("b.s").first).to_have_text(count(step.macs))


def test_arrow_keys_walk_from_the_page_and_from_the_buttons_of_the_stepper(opened):
    opened.page.keyboard.press("ArrowRight")
    expect(chosen(opened.page)).to_have_text("features.1")
    opened.page.get_by_role("button", name="next step").click()
    opened.page.keyboard.press("ArrowRight")
    expect(chosen(opened.page)).to_have_text("features.3")
    opened.page.keyboard.press("End")
    expect(opened.page.get_by_role("button", name="next step")).to_be_disabled()
    opened.page.keyboard.press("ArrowLeft")
    expect(chosen(opened.page)).to_have_text("classifier.5")


def test_arrow_keys_that_move_something_else_leave_the_step(opened):
    opened.page.get_by_role("slider", name="Height").focus()
    opened.page.keyboard.press("ArrowRight")
    expect(field(opened.page, "Height")).to_have_value("225")
    expect(chosen(opened.page)).to_have_text("features.0")


def test_playing_walks_and_stops_when_asked(opened):
    opened.page.get_by_role("button", name="play step").click()
    expect(opened.page.get_by_role("heading", level=2, name="features.1")).to_be_visible()
    opened.page.get_by_role("button", name="pause").click()
    expect(opened.page.get_by_role("button", name="play step")).to_be_visible()


def test_a_click_on_a_block_chooses_its_step(opened):
    opened.block("Convolutional head", 31).locator(".hit").click()
    expect(opened.page.get_by_role("heading", level=2)).to_contain_text(["features.30", "Which sizes"])


def test_the_window_stands_in_four_places_on_eight_by_eight(opened):
    opened.page.emulate_media(reduced_motion="no-preference")
    opened.page.goto(f"{opened.path.as_uri()}#h=256&w=256&step=classifier.0")
    opened.page.reload()
    opened.laid_out()
    places = opened.page.evaluate(
        """() => new Promise(done => {
            const slide = document.querySelector(".slide:not(.broken)"), places = new Set();
            places.add(slide.querySelector("rect.window").style.transform);
            setTimeout(() => done([...places]), 6000);
            const watcher = new MutationObserver(changes => {
                for (const {target} of changes) if (target.matches("rect.window")) places.add(target.style.transform);
                if (places.size === 4) done([...places]);
            });
            watcher.observe(slide, {attributes: true, subtree: true});
            slide.dispatchEvent(new MouseEvent("click"));
        })"""
    )
    assert len(places) == 4


def test_nothing_moves_by_itself_for_those_who_want_no_motion(opened):
    opened.page.emulate_media(reduced_motion="reduce")
    opened.page.goto(f"{opened.path.as_uri()}#h=256&w=256&step=classifier.0")
    opened.page.reload()
    opened.laid_out()
    opened.page.wait_for_timeout(300)  # and painted
    before = opened.page.screenshot()
    opened.page.wait_for_timeout(900)
    assert opened.page.screenshot() == before


GLIDED = """button => new Promise(done => {
    const face = document.querySelector(".block.image .face"), widths = new Set([face.getAttribute("width")]);
    const watcher = new MutationObserver(() => widths.add(face.getAttribute("width")));
    watcher.observe(face, {attributes: true});
    button.click();
    setTimeout(() => { watcher.disconnect(); done([...widths].map(Number)); }, 1500);
})"""


def test_maps_grow_in_small_steps_or_at_once_for_those_who_want_no_motion(opened):
    opened.page.emulate_media(reduced_motion="no-preference")
    widths = opened.page.get_by_role("button", name="256×256").evaluate(GLIDED)
    assert len(widths) > 2 and widths == sorted(widths)
    opened.page.emulate_media(reduced_motion="reduce")
    back = opened.page.get_by_role("button", name="224×224", exact=True).evaluate(GLIDED)
    assert back == [widths[-1], widths[0]]


def test_the_table_says_the_same_and_can_be_walked(opened):
    press_preset(opened.page, "256×256")
    opened.page.get_by_role("button", name="Table").click()
    table = opened.page.get_by_role("table").first
    row = table.get_by_role("row").filter(has=opened.page.get_by_role("button", name="classifier.0", exact=True))
    expect(row).to_contain_text("Linear 25088 → 4096")
    expect(row).to_contain_text("✗ stops here")
    expect(row).to_contain_text("4096×2×2")
    expect(table).to_contain_text("not reached")
    table.get_by_role("button", name="classifier.0", exact=True).click()
    expect(opened.page.get_by_role("region", name="The selected step")).to_contain_text("4096×512×7×7")
    assert opened.page.evaluate("document.activeElement.textContent") == "classifier.0"


def test_an_address_holds_the_size_and_the_step(opened):
    opened.page.goto(f"{opened.path.as_uri()}#h=256&w=224&step=classifier.3")
    opened.page.reload()
    expect(field(opened.page, "Height")).to_have_value("256")
    expect(field(opened.page, "Width")).to_have_value("224")
    expect(opened.page.get_by_role("heading", level=2, name="classifier.3")).to_be_visible()
    press_preset(opened.page, "500×375")
    expect(opened.page).to_have_url(re.compile("#h=500&w=375&step=classifier.3$"))


@pytest.mark.parametrize("step", ["fc6", "nowhere", "", "constructor", "0", "%E0%A4%A", "features.0,classifier.3"])
def test_a_step_that_is_not_there_is_passed_over_in_silence(browser, saved, step):
    context = browser.new_context()
    shown = Opened(context, saved, f"#h=256&w=256&step={step}")
    expect(field(shown.page, "Height")).to_have_value("256")
    expect(chosen(shown.page)).to_have_text("features.0")
    shown.page.evaluate("location.hash = '#step=classifier.3'")
    expect(chosen(shown.page)).to_have_text("classifier.3")
    shown.page.evaluate("step => { location.hash = `#h=300&step=${step}`; }", step)
    expect(field(shown.page, "Height")).to_have_value("300")
    expect(chosen(shown.page)).to_have_text("classifier.3")
    assert shown.errors == []
    context.close()


def chosen(page):
    return page.get_by_role("region", name="The selected step").get_by_role("heading", level=2)


@pytest.mark.parametrize("make", [models.fcn32s, models.fcn8s, models.fcn_alexnet])
def test_a_page_of_a_fully_convolutional_net_is_opened_at_fc6(browser, tmp_path, make):
    context = browser.new_context()
    shown = Opened(context, save_page(tmp_path / "page.html", make(), within=512), "#h=256&w=320&step=fc6")
    expect(chosen(shown.page)).to_have_text("fc6")
    expect(shown.page.get_by_role("region", name="The selected step")).to_contain_text("Conv2d 4096 of")
    expect(field(shown.page, "Height")).to_have_value("256")
    shown.page.evaluate("location.hash = '#h=9999&w=-3&step=fc7'")
    expect(chosen(shown.page)).to_have_text("fc7")
    expect(field(shown.page, "Height")).to_have_value("512")
    expect(field(shown.page, "Width")).to_have_value("1")
    assert shown.errors == []
    context.close()


def test_an_address_counts_even_where_it_is_written_over_before_it_is_told(opened):
    opened.page.evaluate("location.hash = '#h=300&w=200'; history.replaceState(null, '', '#h=224&w=224')")
    expect(field(opened.page, "Height")).to_have_value("300")
    expect(field(opened.page, "Width")).to_have_value("200")


def test_a_long_reason_ends_beside_the_ways_out(opened):
    press_preset(opened.page, "1568×32")
    rest = "5 steps before it (features.4, features.9, …, features.30) have made the image 32 times smaller"
    expect(opened.lane("Convolutional head")).to_contain_text("and the window covers 7×7")
    expect(opened.lane("Convolutional head")).not_to_contain_text("steps before it")
    expect(opened.page.get_by_role("region", name="Ways out")).to_contain_text(rest)


def test_silly_sizes_are_refused_by_the_field_and_by_the_networks(opened):
    opened.page.get_by_role("button", name="keep the image square").click()
    field(opened.page, "Height").fill("0")
    field(opened.page, "Height").press("Enter")
    field(opened.page, "Width").fill("99999")
    field(opened.page, "Width").press("Enter")
    expect(field(opened.page, "Width")).to_have_value("2048")
    beyond = opened.page.get_by_text("99999 is too large: 2048 at most", exact=True)
    expect(beyond).to_be_visible()
    expect(opened.page.get_by_role("status")).to_contain_text("99999 is too large: 2048 at most. 1 × 2048. Linear head")
    expect(opened.page.get_by_text("0 is too small: 1 at least", exact=True)).to_be_visible()
    assert violations(opened.page) == []
    field(opened.page, "Width").press("ArrowDown")
    field(opened.page, "Width").press("Enter")
    expect(beyond).to_have_count(0)
    field(opened.page, "Height").fill("1")
    field(opened.page, "Height").press("Enter")
    expect(opened.lane("Linear head")).to_contain_text("the image is too low: at MaxPool2d features.4")


def test_escape_takes_back_what_was_typed(opened):
    field(opened.page, "Height").fill("77")
    field(opened.page, "Height").press("Escape")
    expect(field(opened.page, "Height")).to_have_value("224")
    expect(opened.page.get_by_role("slider", name="Height")).to_have_value("224")


def test_ways_out_of_one_step_say_where_the_whole_network_runs(opened):
    opened.page.get_by_role("button", name="keep the image square").click()
    for axis in ("Height", "Width"):
        field(opened.page, axis).fill("16")
        field(opened.page, axis).press("Enter")
    ways = opened.page.get_by_role("region", name="Ways out")
    expect(ways).to_contain_text("use images of at least 32×32")
    expect(ways).to_contain_text("Convolutional head as a whole runs where H ≥ 224 and W ≥ 224.")


def test_a_cell_that_sees_more_than_the_image_says_so(opened):
    press_preset(opened.page, "256×256")
    opened.block("Convolutional head", 33).click()
    sums = opened.page.locator(".sums")
    expect(sums).to_contain_text("sees 404×404 pixels of the image; cells lie 32 pixels apart, the same at every size")
    expect(sums).to_contain_text("this image has 256×256, the rest is padding")


class Sequences(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4)

    def forward(self, x):
        return self.lstm(x)


@pytest.mark.parametrize(
    "net",
    [
        Sequences(),
        nn.ReLU(),
        nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(16, 8, 3)),
        nn.Sequential(nn.Conv2d(3, 8, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1568, 10)),
        nn.Conv2d(3, 4, 3, padding=100),
    ],
    ids=["refused at once", "bars only", "channels", "last", "mostly padding"],
)
def test_odd_networks_are_drawn_whole_and_without_an_error(browser, tmp_path, net):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    shown = Opened(context, save_page(tmp_path / "odd.html", net, within=256), "#h=200&w=200")
    lanes = shown.page.locator(".lanes")
    expect(lanes.locator(".block .face").first).to_be_visible()
    room = lanes.bounding_box()
    for part in lanes.locator(".block :is(.face, .top, .flank, .mark)").all():
        box = part.bounding_box()
        assert box is None or (room["x"] <= box["x"] and box["x"] + box["width"] <= room["x"] + room["width"])
    assert shown.errors == []
    context.close()


@pytest.mark.parametrize("landscape", [False, True])
def test_on_paper_the_table_is_not_cut_off(browser, saved, landscape):
    wide, high = (1123, 794) if landscape else (794, 1123)  # A4 in CSS pixels, without its margins
    context = browser.new_context(viewport={"width": wide - 76, "height": high - 76})
    shown = Opened(context, saved, "#h=256&w=256")
    shown.page.get_by_role("button", name="Table").click()
    shown.page.emulate_media(media="print")
    assert shown.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_the_sentence_that_changes_is_told(opened):
    press_preset(opened.page, "256×256")
    expect(opened.page.get_by_role("status")).to_contain_text("Linear head stops at classifier.0")
    opened.page.get_by_role("button", name="next step").click()
    expect(opened.page.get_by_role("status")).to_contain_text("Step 2 of 39, features.1. Linear head: ReLU")


def test_what_is_hidden_from_readers_says_so(opened):
    assert set(opened.page.locator("[aria-hidden]").evaluate_all("all => all.map(e => e.ariaHidden)")) == {"true"}


@pytest.mark.parametrize(
    ("link", "height", "width"),
    [("#h=3.7&w=30", "4", "30"), ("#h=99999&w=0", "2048", "1"), ("#h=two&w=", "224", "224"), ("#h=-5", "1", "224")],
)
def test_an_address_takes_what_the_field_takes(browser, saved, link, height, width):
    context = browser.new_context()
    shown = Opened(context, saved, link)
    expect(field(shown.page, "Height")).to_have_value(height)
    expect(field(shown.page, "Width")).to_have_value(width)
    assert shown.errors == []
    context.close()


STATES = ["", "#h=256&w=256&step=classifier.0", "#h=1568&w=32&step=features.30", "#h=1&w=1&step=features.4"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(browser, saved, state, scheme):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    shown = Opened(context, saved, state)
    shown.page.wait_for_timeout(300)
    assert violations(shown.page) == []
    shown.page.get_by_role("button", name="Table").click()
    assert violations(shown.page) == []
    context.close()


def violations(page):
    found = Axe().run(page).response["violations"]
    return [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found]


@pytest.mark.parametrize("width", [390, 768, 1920])
def test_nothing_hangs_over_the_edge(browser, saved, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    shown = Opened(context, saved, "#h=256&w=256&step=classifier.0")
    shown.page.wait_for_timeout(200)
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_the_lanes_fit_a_laptop(browser, saved):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    shown = Opened(context, saved)
    shown.page.wait_for_timeout(200)
    assert shown.page.locator(".lanes").evaluate("e => e.scrollWidth <= e.clientWidth")
    context.close()


def test_three_networks_stand_on_the_same_image(browser, tmp_path):
    averaged = nn.Sequential()
    for name, part in models.vgg16().named_children():
        if name == "flatten":
            averaged.add_module("avgpool", nn.AdaptiveAvgPool2d(7))
        averaged.add_module(name, part)
    nets = {"first": models.vgg16(), "second": averaged, "third": models.vgg16("conv")}
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    shown = Opened(context, save_page(tmp_path / "page.html", nets, within=512), "#h=256&w=256&step=classifier.0")
    for label, said in (("first", MESSAGE), ("second", "1×1000 · one answer"), ("third", "1000×2×2 · 2 × 2 = 4")):
        expect(shown.lane(label)).to_contain_text(said)
        expect(shown.page.locator(".step article").filter(has_text=label)).to_have_count(1)
        expect(shown.page.locator(".plane").filter(has_text=label)).to_have_count(1)
    assert shown.page.locator(".lanes").evaluate("e => e.scrollWidth <= e.clientWidth")
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert violations(shown.page) == []
    assert shown.errors == []
    context.close()


def test_without_scripts_there_is_a_picture_and_a_table(browser, saved):
    context = browser.new_context(java_script_enabled=False)
    shown = Opened(context, saved)
    expect(shown.page.get_by_role("img")).to_be_visible()
    expect(shown.page.get_by_role("row")).to_have_count(40)
    expect(shown.page.get_by_role("cell", name="Linear 1×4096").first).to_be_visible()
    context.close()


def test_names_of_users_are_shown_as_text(browser, tmp_path):
    net = nn.Sequential()
    net.add_module("<img src=x onerror='self[`name`]=2'>", nn.Conv2d(3, 4, 3))
    net.add_module("flatten", nn.Flatten())
    net.add_module("</script>", nn.Linear(4 * 14 * 14, 2))
    context = browser.new_context()
    shown = Opened(context, save_page(tmp_path / "page.html", {EVIL: net}, (17, 17), within=32, title=EVIL))
    expect(shown.page.get_by_role("heading", level=1)).to_have_text(EVIL)
    expect(shown.lane(EVIL)).to_contain_text("</script>")
    shown.page.get_by_role("button", name="Table").click()
    expect(shown.page.get_by_role("table").first).to_contain_text("<img src=x onerror='self[`name`]=2'>")
    assert (shown.page.title(), shown.page.evaluate("self.name")) == (EVIL, "")
    assert shown.page.locator("#explorer img").count() == shown.page.locator("#explorer .area > img").count() == 1
    assert shown.errors == []
    context.close()

"""Windows of every width: the table of a trace in a notebook beside its files, the explorer from phone to wall."""

from math import ceil

import pytest
from playwright.sync_api import expect
from torch import nn

from fcnviz import models, trace
from fcnviz.explorer import save_page

NARROW = {"width": 828, "height": 900}
NUMBERS = """all => all.flatMap((e) => {
    const text = document.createRange(), size = parseFloat(getComputedStyle(e).fontSize);
    text.selectNodeContents(e);
    return [...text.getClientRects()].map((line) => [Math.round(line.y), line.x, line.width, size]);
})"""


def long_names():
    net = nn.Sequential()
    net.add_module("encoder_" * 18, nn.Conv2d(3, 512, 3, stride=2, padding=1))
    net.add_module("head", nn.Conv2d(4, 8, 3))
    return net


@pytest.fixture
def shown(browser):
    context = browser.new_context(viewport=NARROW)
    page = context.new_page()

    def show(found):
        page.set_content(f"<body style='margin:0;font-family:DejaVu Sans'>{found._repr_html_()}</body>")
        return page

    yield show
    context.close()


@pytest.mark.parametrize("size", [(256, 256), (256, 320), (224, 224)])
def test_vgg16_needs_no_scrolling(shown, size):
    page = shown(trace(models.vgg16(), (1, 3, *size)))
    assert page.locator(".scroll").evaluate("e => e.scrollWidth <= e.clientWidth")


def test_the_reason_stands_in_sight_where_a_table_is_wider_than_the_window(shown):
    page = shown(trace(long_names(), (1, 3, 64, 64)))
    assert page.locator(".scroll").evaluate("e => e.scrollWidth > e.clientWidth")
    for part in page.locator(".why div").all():
        assert part.bounding_box()["x"] + part.bounding_box()["width"] <= NARROW["width"]
    page.locator(".scroll").evaluate("e => e.scrollLeft = 400")
    assert page.locator(".why div").first.bounding_box()["x"] >= 0


def test_a_sum_is_never_broken_in_two(shown):
    page = shown(trace(models.vgg16("conv"), (1, 3, 256, 320)))
    heights = page.locator(".sums td > span").evaluate_all("all => all.map(e => e.getClientRects().length)")
    assert set(heights) == {1}


# --- The explorer

SIZES = ["#h=224&w=224", "#h=256&w=256", "#h=500&w=375", "#h=1568&w=32", "#h=1&w=1", "#h=31&w=512", "#h=2048&w=2048"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_page(tmp_path_factory.mktemp("page") / "explorer.html")


@pytest.fixture
def explorer(browser, saved):
    """The page in a window of this width, magnified as a browser does it: fewer pixels, each of them larger."""
    contexts = []

    def show(width, zoom=1.0, link="", height=900):
        window = {"width": round(width / zoom), "height": round(height / zoom)}
        contexts.append(browser.new_context(viewport=window, device_scale_factor=zoom, reduced_motion="reduce"))
        page = contexts[-1].new_page()
        page.goto(f"{saved.as_uri()}{link}")
        expect(page.locator(".lane .face[width]").first).to_be_visible()
        return page

    yield show
    for context in contexts:
        context.close()


def go(page, link):
    page.evaluate("link => { location.hash = link; }", link)
    height, width = link.removeprefix("#h=").split("&w=")
    for axis, size in (("Height", height), ("Width", width)):
        expect(page.get_by_role("spinbutton", name=axis)).to_have_value(size)


@pytest.mark.parametrize("room", [848, 880, 1000, 1248, 1334, 1888])
def test_both_lanes_of_vgg16_stand_side_by_side_without_scrolling(explorer, room):
    page = explorer(room + 32)  # what the page leaves on both sides
    assert page.locator(".fcnviz-explorer").evaluate("e => e.clientWidth") == room
    for link in SIZES:
        go(page, link)
        assert page.locator(".lanes").evaluate("e => e.scrollWidth <= e.clientWidth"), link


@pytest.mark.parametrize("room", [848, 1248])
def test_the_numbers_below_the_blocks_can_be_read_and_do_not_touch(explorer, room):
    page = explorer(room + 32)
    for link in SIZES:
        go(page, link)
        for lane in page.locator(".lane").all():
            boxes = lane.locator(".label:not(:empty)").evaluate_all(NUMBERS)
            assert min(size for *_, size in boxes) >= 10.5
            for (y, x, wide, _), (below, right, *_) in zip(sorted(boxes), sorted(boxes)[1:], strict=False):
                assert below > y or right >= x + wide, link
    stages = page.locator(".stage").evaluate_all("all => all.map(e => parseFloat(getComputedStyle(e).fontSize))")
    assert min(stages) >= 10.5


@pytest.mark.parametrize("width", [390, 912, 1280, 1366, 1920])
def test_nothing_above_the_planes_moves_with_the_size(explorer, width):
    page = explorer(width)
    page.get_by_role("button", name="sliders up to 2048").click()
    tops = set()
    for link in SIZES:
        go(page, link)
        parts = [page.locator(".lane").nth(1), *page.get_by_role("application", name="Sizes that").all()]
        tops.add(tuple(round(part.bounding_box()["y"] + page.evaluate("scrollY"), 1) for part in parts))
    assert len(tops) == 1


def test_on_a_projector_the_planes_grow_with_the_window_and_no_sum_is_broken(explorer):
    edges = []
    for width in (1280, 1920):
        page = explorer(width, link="#h=256&w=256&step=classifier.0")
        expect(page.locator(".numbers")).to_have_count(2)
        edges.append(page.get_by_role("application", name="Sizes that").first.bounding_box()["width"])
        high = page.locator(".numbers td, .flow").evaluate_all(
            "all => all.map(e => e.getBoundingClientRect().height / parseFloat(getComputedStyle(e).fontSize))"
        )
        assert max(high) < 2, "one line"
    assert edges[1] / edges[0] > 0.95 * 1920 / 1280


@pytest.mark.parametrize("zoom", [0.67, 1.0, 2.0])
@pytest.mark.parametrize("width", [1280, 1366])
def test_a_drag_on_a_plane_ends_at_the_size_under_the_pointer(explorer, width, zoom):
    page = explorer(width, zoom)
    area = page.get_by_role("application", name="Sizes that").last
    area.scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 7)")
    drag_to(page, area, (0.4375, 0.4375), (0.75, 0.5))
    drag_to(page, area, (0.75, 0.5), (0.1, 0.9))


def test_a_drag_at_the_end_of_a_page_that_gets_shorter_is_exact(explorer):
    page = explorer(1280, link="#h=256&w=256&step=classifier.0", height=500)
    page.evaluate("scrollTo(0, 120)")
    drag_to(page, page.get_by_role("application", name="Sizes that").first, (0.5, 0.5), (0.4599, 0.4599))
    assert page.locator(".why").count() == 0


def drag_to(page, area, start, end):
    """From one place of a plane to another, in parts of its width and height; afterwards it stands where it stood."""
    box = area.locator("img").bounding_box()
    (x, y), (to_x, to_y) = (
        (box["x"] + across * box["width"], box["y"] + (1 - up) * box["height"]) for across, up in (start, end)
    )
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(to_x, to_y, steps=12)
    assert area.locator("img").bounding_box() == box
    for axis, part in (("Width", end[0]), ("Height", end[1])):
        assert abs(int(page.get_by_role("spinbutton", name=axis).input_value()) - ceil(512 * part)) <= 1
    page.mouse.up()

"""The planes of sizes: what each colour means can be read, pointed at, gone to, and found again by any eye."""

import re
from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from torch import nn

from fcnviz.explorer import save_page

LINEAR, CONV = "Linear head", "Convolutional head"
EVIL = "<img src=x onerror='document.title=1'>"
SIZES = [(224, 224), (256, 256), (31, 512), (1, 1), (3, 400), (12, 12), (100, 7), (1568, 32), (2048, 2048)]

PIXELS = """async (image) => {
    await image.decode();
    const {naturalWidth: width, naturalHeight: height} = image;
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, width, height);
}"""
COLOURS = f"""async (image) => {{
    const {{data}} = await ({PIXELS})(image), found = new Set();
    for (let i = 0; i < data.length; i += 4) found.add(`rgb(${{data[i]}}, ${{data[i + 1]}}, ${{data[i + 2]}})`);
    return [...found];
}}"""
COLOUR = f"""async ([image, x, y]) => {{
    const {{data, width, height}} = await ({PIXELS})(image);
    const start = 4 * (Math.floor((1 - y) * height) * width + Math.floor(x * width));
    return [...data.slice(start, start + 4)];
}}"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_page(tmp_path_factory.mktemp("page") / "explorer.html")


@pytest.fixture
def opened(browser):
    """A page in a window; nothing may have gone wrong on it when a test ends."""
    contexts, errors = [], []

    def show(path, link="", width=1280, **how):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce", **how))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(f"{path.as_uri()}{link}")
        expect(page.locator(".area img[src]")).to_have_count(page.locator(".area").count())
        return page

    yield show
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def own(opened, tmp_path):
    """A page of a network of one's own."""
    return lambda net, within=512, link="", label="net": opened(
        save_page(tmp_path / "own.html", {label: net}, (32, 32), within=within), link
    )


def plane(page, label):
    return page.locator(".plane").filter(has=page.locator("figcaption", has_text=label))


def rows(part):
    return part.locator(".item").all()


def go(page, height, width):
    """By the address, as soon as it tells the present size: one that stays the same is not heard of."""
    sizes = "[...document.querySelectorAll('input[type=number]')].map(e => e.value).join('&w=')"
    page.wait_for_function(f"() => !location.hash || location.hash.startsWith(`#h=${{{sizes}}}`)")
    page.evaluate("link => { location.hash = link; }", f"#h={height}&w={width}")
    expect_size(page, height, width)


def expect_size(page, height, width):
    for axis, size in (("Height", height), ("Width", width)):
        expect(page.get_by_role("spinbutton", name=axis)).to_have_value(str(size))


def size_of(page):
    return tuple(int(page.get_by_role("spinbutton", name=axis).input_value()) for axis in ("Height", "Width"))


def fate(part):
    return part.locator(".now b").text_content()


def marked(part):
    """What the marked row says of the present size, as the line above the legend says it."""
    (row,) = part.locator("[aria-current]").all()
    return row.text_content().split(":")[0].removeprefix("✓ ").removeprefix("✗ ").removeprefix("? ")


@pytest.mark.parametrize("link", ["", "#h=600&w=600"])
def test_each_colour_of_a_plane_has_a_row_that_says_what_becomes_of_its_sizes(opened, saved, link):
    page = opened(saved, link)
    for part in (plane(page, LINEAR), plane(page, CONV)):
        legend = part.locator(".swatch").evaluate_all("all => all.map(e => e.style.backgroundColor)")
        drawn = part.locator(".area img").evaluate(COLOURS)
        assert len(drawn) > 4 and set(drawn) <= set(legend)
        assert len(set(legend)) == len(legend) == 7
    texts = [" ".join(row.text_content().split()) for row in rows(plane(page, CONV))]
    assert "✓ runs: H ≥ 224 and W ≥ 224" in texts
    assert "✗ stops at classifier.0: H or W < 224" in texts
    assert "✗ stops at features.30: H or W < 32" in texts
    assert "✓ runs: 512·⌊H/32⌋·⌊W/32⌋ = 25 088" in [
        " ".join(row.text_content().split()) for row in rows(plane(page, LINEAR))
    ]


def test_a_plane_is_blue_where_the_network_runs(opened, saved):
    page = opened(saved)
    image = plane(page, CONV).locator(".area img").element_handle()
    assert image.get_property("naturalWidth").json_value() == 352  # two points for each pixel, for sharp screens
    assert page.evaluate(COLOUR, [image, 0.6, 0.6]) == [0, 114, 178, 255]
    assert page.evaluate(COLOUR, [image, 0.3, 0.6])[2] < 230


def test_the_row_of_the_present_size_is_marked_by_more_than_colour(opened, saved):
    page = opened(saved)
    for height, width in SIZES:
        go(page, height, width)
        for part in (plane(page, LINEAR), plane(page, CONV)):
            assert marked(part) == fate(part)
            dots = part.locator(".swatch").evaluate_all("all => all.map(e => getComputedStyle(e, '::after').content)")
            assert sorted(dots) == ['""', *["none"] * 6]


def test_the_smallest_regions_are_folded_and_the_fold_is_marked_where_the_size_lies_in_it(opened, saved):
    page = opened(saved)
    part = plane(page, CONV)
    fold = part.locator("summary")
    expect(fold).to_have_text("2 more, smaller")
    plain = fold.evaluate("e => getComputedStyle(e).backgroundColor")
    go(page, 1, 1)
    assert fold.evaluate("e => getComputedStyle(e).backgroundColor") != plain
    assert [row.is_visible() for row in rows(part)] == [True] * 5 + [False] * 2
    fold.click()
    expect(part.locator("[aria-current]")).to_contain_text("features.4")
    expect(part.locator("[aria-current]")).to_be_visible()
    assert fold.evaluate("e => getComputedStyle(e).backgroundColor") == plain


def test_a_row_pointed_at_lets_its_region_stand_out_and_paints_the_plane_not_anew(opened, saved):
    page = opened(saved)
    part = plane(page, CONV)
    maps = part.locator(".area img")
    before = maps.get_attribute("src")
    part.get_by_role("button", name="runs").hover()
    expect(maps).to_have_count(2)
    places = [(0.8, 0.8), (0.3, 0.8), (0.8, 0.02)]
    assert [is_veiled(page, maps.nth(1), *at) for at in places] == [False, True, True]
    assert maps.first.get_attribute("src") == before
    part.get_by_role("button", name="classifier.0").focus()
    assert [is_veiled(page, maps.nth(1), *at) for at in places] == [True, False, True]
    page.locator("h1").hover()
    part.get_by_role("button", name="classifier.0").blur()
    expect(maps).to_have_count(1)


def is_veiled(page, veil, x, y):
    return page.evaluate(COLOUR, [veil.element_handle(), x, y])[3] > 0


@pytest.mark.parametrize("label", [LINEAR, CONV])
@pytest.mark.parametrize("start", [(256, 256), (40, 400), (1, 1)])
def test_each_row_leads_to_a_size_of_its_region(opened, saved, label, start):
    page = opened(saved)
    part = plane(page, label)
    part.locator("summary").click()
    for row in rows(part):
        go(page, *start)
        row.click()
        expect(row).to_have_attribute("aria-current", "true")
        assert marked(part) == fate(part)
        assert max(size_of(page)) <= 512


@pytest.mark.parametrize(
    ("label", "row", "start", "end"),
    [
        (LINEAR, "runs", (256, 256), (255, 255)),
        (CONV, "runs", (100, 300), (224, 300)),
        (CONV, "classifier.0", (300, 300), (300, 223)),
        (CONV, "features.30", (256, 256), (256, 31)),
        (CONV, "features.30", (40, 400), (31, 400)),
        (CONV, "runs", (250, 300), (250, 300)),
    ],
)
def test_a_row_leads_as_near_as_its_region_comes(opened, saved, label, row, start, end):
    page = opened(saved, "#h={}&w={}".format(*start))
    button = plane(page, label).get_by_role("button", name=row)
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-current", "true")
    expect_size(page, *end)


def test_gaps_are_stepped_over_on_the_way_to_the_nearest_multiple(own):
    net = nn.Sequential(nn.Unflatten(2, (-1, 16)), nn.Flatten(2, 3), nn.Unflatten(3, (-1, 16)))
    page = own(net, link="#h=250&w=333")
    page.get_by_role("button", name="runs").click()
    expect_size(page, 240, 320)


def test_the_plane_says_what_becomes_of_the_size_under_the_pointer(opened, saved):
    page = opened(saved)
    part = plane(page, LINEAR)
    area, box = part.get_by_role("application"), part.locator(".area img").bounding_box()
    for across, up in ((0.6, 0.6), (0.46, 0.46), (0.5, 0.04), (0.02, 0.7)):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + (1 - up) * box["height"])
        height, width, said = re.fullmatch(r"(\d+)×(\d+): (.+)", area.get_attribute("title")).groups()
        (under,) = part.locator(".under").all()
        expect_size(page, 224, 224)
        page.mouse.down()
        page.mouse.up()
        expect_size(page, height, width)
        assert said == fate(part)
        expect(under).to_have_attribute("aria-current", "true")
        go(page, 224, 224)
    page.locator("h1").hover()
    expect(part.locator(".under")).to_have_count(0)


def test_only_regions_within_reach_have_rows(own):
    page = own(nn.MaxPool2d(600), within=2048)
    assert [row.text_content() for row in rows(page)] == ["✗ stops at MaxPool2d: H or W < 600"]
    expect(page.locator(".legend")).to_contain_text("no size up to 512 runs")
    page.get_by_role("button", name="sliders up to 2048").click()
    expect(page.get_by_role("button", name="runs: H ≥ 600 and W ≥ 600")).to_be_visible()
    expect(page.locator(".legend")).not_to_contain_text("no size")


def test_what_runs_in_several_ways_says_what_comes_out(own):
    class Either(nn.Module):
        def forward(self, x):
            return x[:, :, ::2] if x.shape[2] > 100 else x

    page = own(Either())
    texts = [row.text_content() for row in rows(page)]
    assert texts == ["✓ runs → 3 × ⌊(H + 1)/2⌋ × W: H > 100", "✓ runs → 3 × H × W: H ≤ 100"]


def test_names_of_users_are_text_in_the_legend(own):
    net = nn.Sequential()
    net.add_module(EVIL.replace(".", "·"), nn.Conv2d(3, 4, 5))
    page = own(net, label=EVIL)
    assert EVIL.replace(".", "·") in page.locator(".legend").text_content()
    assert page.locator("img").count() == page.locator(".area > img").count() == 1


@pytest.mark.parametrize("width", [390, 912, 1280])
def test_a_legend_stands_still_while_a_size_is_dragged(opened, saved, width):
    page = opened(saved, width=width)
    page.get_by_role("button", name="sliders up to 2048").click()
    places = set()
    for height, wide in SIZES:
        go(page, height, wide)
        parts = page.locator(".item:visible, .area").all()
        places.add(tuple(round(part.bounding_box()["y"] + page.evaluate("scrollY"), 1) for part in parts))
    assert len(places) == 1


@pytest.mark.parametrize("width", [390, 880, 1280, 1920])
def test_rows_lie_below_each_other_within_their_plane(opened, saved, width):
    page = opened(saved, "#h=256&w=256", width=width)
    for label in (LINEAR, CONV):
        part = plane(page, label)
        outer, boxes = part.bounding_box(), [row.bounding_box() for row in rows(part) if row.is_visible()]
        assert all(box["x"] + box["width"] <= outer["x"] + outer["width"] + 1 for box in boxes)
        assert all(box["height"] >= 24 for box in boxes), "large enough for a finger"
        assert all(one["y"] + one["height"] <= other["y"] for one, other in pairwise(boxes))
        assert part.locator(".item:visible").evaluate_all("all => all.every(e => e.scrollWidth <= e.clientWidth)")


def test_on_paper_nothing_is_folded(opened, saved):
    page = opened(saved, "#h=1&w=1")
    page.emulate_media(media="print")
    assert all(row.is_visible() for row in rows(plane(page, LINEAR)))


def test_on_paper_a_long_legend_is_whole(own):
    page = own(nn.Sequential(*[nn.Conv2d(3, 3, 3, 1 + (i % 4 == 0)) for i in range(24)]))
    page.emulate_media(media="print")
    lists = page.locator(".legend ul").evaluate_all("all => all.map(e => [e.scrollHeight, e.clientHeight])")
    assert max(high for high, _ in lists) > 400 and all(high <= room for high, room in lists)


def test_a_plane_that_is_left_speaks_of_no_other_size(opened, saved):
    page = opened(saved)
    area = plane(page, LINEAR).get_by_role("application")
    area.hover()
    expect(area).to_have_attribute("title", re.compile(".*stops at.*"))
    page.mouse.move(2, 2)
    expect(area).to_have_attribute("title", "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_an_open_legend(opened, saved, scheme):
    page = opened(saved, "#h=1&w=1", color_scheme=scheme)
    for fold in page.locator("summary").all():
        fold.click()
    page.get_by_role("button", name="features.9").last.hover()
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found] == []

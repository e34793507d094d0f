"""The table of a trace in a window as narrow as a notebook beside its file browser at 1280 pixels."""

import pytest
from torch import nn

from fcnviz import models, trace

NARROW = {"width": 828, "height": 900}


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

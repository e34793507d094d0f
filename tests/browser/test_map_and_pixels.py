"""Lessons 4 and 5 in JupyterLab: every cell runs, pictures have words, and the map is read by keyboard."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

LESSONS = {"map": "04_from_one_answer_to_a_map.ipynb", "pixels": "05_back_to_pixels.ipynb"}


@pytest.fixture(scope="module", params=LESSONS)
def lesson(lab, request):
    """A lesson that has been run; opening and running it costs half a minute."""
    lab.errors.clear()
    lab.external.clear()
    lab.open(LESSONS[request.param])
    lab.run_all()
    return request.param


def test_every_cell_runs_and_every_picture_has_words_and_a_caption(lab, lesson):
    pictures = lab.page.locator(".jp-OutputArea-output figure")
    assert pictures.count() >= 3
    for picture in pictures.all():
        assert len(picture.locator("img").get_attribute("alt") or "") > 40
        expect(picture.locator("figcaption")).not_to_be_empty()
    assert lab.errors == [] and lab.external == []


def test_pictures_are_cards_that_fit_their_cell_on_a_dark_page_too(lab, lesson):
    lab.theme("JupyterLab Dark")
    try:
        for picture in lab.page.locator(".jp-OutputArea-output figure img").all():
            paper = picture.evaluate("e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).borderStyle]")
            assert paper == ["rgb(255, 255, 255)", "solid"]
            assert picture.evaluate("e => e.clientWidth <= e.closest('.jp-OutputArea-output').clientWidth")
    finally:
        lab.theme("JupyterLab Light")


@pytest.mark.parametrize("lesson", ["map"], indirect=True)
def test_axe_finds_nothing_in_the_map_under_sliders(lab, lesson):
    lab.page.locator(".fcnviz-answers").scroll_into_view_if_needed()
    expect(lab.page.get_by_role("slider", name="row of the map")).to_have_count(1)
    found = Axe().run(lab.page, context=".fcnviz-answers").response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:160]) for one in found] == []


@pytest.mark.parametrize("lesson", ["pixels"], indirect=True)
def test_the_crops_and_the_two_networks_stand_in_tables(lab, lesson):
    shown = lab.page.locator(".jp-OutputArea-output")
    expect(shown.filter(has_text="upscore, cut 19").first).to_contain_text("(0 − (−19)) / 1 = 19")
    expect(shown.filter(has_text="score_pool3, cut 9").first).to_contain_text("upscore8, cut 31")
    expect(shown.filter(has_text="height and width of the image").first).to_contain_text("27 … 58")


@pytest.mark.parametrize("lesson", ["map"], indirect=True)
def test_arrow_keys_go_from_answer_to_answer_and_the_picture_follows(lab, lesson):
    view, cells = lab.page.locator(".fcnviz-answers"), lab.page.locator(".jp-Notebook .jp-Cell").count()
    view.scroll_into_view_if_needed()
    expect(view).to_contain_text("row 0, column 0")
    expect(view).to_contain_text("Egyptian cat")
    before = view.locator("img").get_attribute("src")
    column = view.get_by_role("slider", name="column of the map")
    column.focus()
    for _ in range(14):
        lab.page.keyboard.press("ArrowRight")
    expect(view).to_contain_text("row 0, column 14", timeout=20_000)
    expect(view).to_contain_text("espresso")
    expect(view.get_by_role("img")).to_have_accessible_name(
        re.compile(r"around the patch of row 0, column 14, .*espresso")
    )
    assert view.locator("img").get_attribute("src") != before
    assert lab.page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert lab.errors == [] and lab.external == []

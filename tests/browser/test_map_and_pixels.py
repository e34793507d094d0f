"""Lessons 4 and 5 in JupyterLab: every cell runs, pictures have words, and the map is read by keyboard."""

import pytest
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


@pytest.mark.parametrize("lesson", ["map"], indirect=True)
def test_arrow_keys_go_from_answer_to_answer_and_the_picture_follows(lab, lesson):
    view, cells = lab.page.locator(".fcnviz-answers"), lab.page.locator(".jp-Notebook .jp-Cell").count()
    view.scroll_into_view_if_needed()
    expect(view).to_contain_text("row 0, column 0")
    expect(view).to_contain_text("Egyptian cat")
    before = view.locator("img").get_attribute("src")
    column = view.get_by_role("slider").nth(1)
    column.focus()
    for _ in range(18):
        lab.page.keyboard.press("ArrowRight")
    expect(view).to_contain_text("row 0, column 18", timeout=20_000)
    expect(view).to_contain_text("espresso")
    assert view.locator("img").get_attribute("src") != before
    assert lab.page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert lab.errors == [] and lab.external == []

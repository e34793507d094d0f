"""Lessons 1 to 3 in JupyterLab: every cell runs, pictures have words, sliders and questions work by keyboard."""

import re

import pytest
from playwright.sync_api import expect

LESSONS = {
    "sizes": "01_a_convolution_does_not_care_about_size.ipynb",
    "linear": "02_where_the_linear_layer_breaks.ipynb",
    "cast": "03_a_linear_layer_is_a_convolution.ipynb",
}


def opened(lab, lesson):
    lab.errors.clear()
    lab.external.clear()
    lab.open(LESSONS[lesson])
    lab.run_all()
    return lab.page


def nothing_went_wrong(lab):
    assert lab.errors == []
    assert lab.external == []


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_cell_runs_and_every_picture_has_words_and_a_caption(lab, lesson):
    page = opened(lab, lesson)
    pictures = page.locator(".jp-OutputArea-output figure")
    assert pictures.count() >= 3
    for picture in pictures.all():
        assert len(picture.locator("img").get_attribute("alt") or "") > 40
        expect(picture.locator("figcaption")).not_to_be_empty()
    nothing_went_wrong(lab)


def test_the_window_moves_by_keyboard(lab):
    page = opened(lab, "sizes")
    view = page.locator(".fcnviz-windows")
    kernel, cells = view.get_by_role("slider", name="kernel k"), page.locator(".jp-Notebook .jp-Cell").count()
    expect(view).to_contain_text("nn.Conv2d(1, 1, 3)")
    kernel.focus()
    page.keyboard.press("ArrowRight")
    expect(view).to_contain_text("nn.Conv2d(1, 1, 4)")
    expect(view).to_contain_text("+ 1 = 9")
    view.get_by_role("slider").nth(2).press("ArrowRight")
    view.get_by_role("radio", name="pooling, floor").or_(
        view.get_by_role("button", name="pooling, floor")
    ).first.click()
    expect(view).to_contain_text(re.compile(r"nn\.MaxPool2d\(4, stride=2\)"))
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
    nothing_went_wrong(lab)


def test_a_question_is_answered_by_keyboard(lab):
    page = opened(lab, "linear")
    quiz = page.locator(".fcnviz-quiz").first
    field = quiz.locator(".fcnviz-field input")
    field.click()
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    expect(quiz).to_contain_text("0 of 1 right")
    expect(quiz.get_by_role("status")).to_contain_text("✗")
    field.fill("")
    page.keyboard.press("Enter")
    expect(quiz.get_by_role("status")).to_contain_text("Type an answer.")
    asked = quiz.locator(".fcnviz-asked").inner_text()
    quiz.get_by_role("button", name="Next question").press("Enter")
    expect(quiz.locator(".fcnviz-asked")).not_to_have_text(asked)
    expect(field).to_be_focused()
    nothing_went_wrong(lab)

"""Lessons 6 and 7 in JupyterLab: a curve that is drawn and kept, broken networks and what is asked of one's own."""

import re

import pytest
from playwright.sync_api import expect

LESSONS = {"training": "06_train_small_test_big.ipynb", "own": "07_your_own_network.ipynb"}


def opened(lab, lesson):
    lab.errors.clear()
    lab.external.clear()
    lab.open(LESSONS[lesson])
    return lab.page


def nothing_went_wrong(lab):
    assert lab.errors == [] and lab.external == []


@pytest.fixture(scope="module")
def own(lab):
    page = opened(lab, "own")
    lab.run_all()
    return page


CELLS = "window.jupyterapp.shell.currentWidget.content.model.cells"


def sources(lab):
    return lab.page.evaluate(f"() => [...{CELLS}].map(cell => cell.sharedModel.getSource())")


def write(lab, at, source):
    lab.page.evaluate(f"([at, source]) => {CELLS}.get(at).sharedModel.setSource(source)", [at, source])


def place_of(lab, words):
    """The first cell whose source holds these words, counted from 0."""
    return next(at for at, source in enumerate(sources(lab)) if words in source)


def run_next(lab):
    """Run the cell where the cursor is, as a student does who goes on step by step; does not wait for it."""
    lab.page.evaluate("() => void window.jupyterapp.commands.execute('notebook:run-cell-and-select-next')")


def test_the_loss_is_drawn_while_the_network_learns_and_stays_as_a_picture(lab):
    page = opened(lab, "training")
    learns = place_of(lab, "curve.show()")
    shown = page.locator(".jp-Notebook .jp-Cell").nth(learns)
    write(lab, learns, sources(lab)[learns].replace("watch=curve", "epochs=4, watch=curve"))
    for _ in range(learns + 1):
        run_next(lab)
    live, kept = shown.locator(".widget-html img"), shown.locator("figure img")
    expect(live).to_have_attribute("alt", re.compile(r"digits: from \d\S* to .* steps"), timeout=120_000)
    expect(shown).to_contain_text(re.compile(r"digits: step \d+ of 252, \d+ s"))
    expect(kept).to_have_attribute("alt", re.compile(r"digits: from \d.* in 252 steps"), timeout=240_000)
    expect(shown.locator("figcaption")).to_contain_text("Thin, the loss of each step.")
    assert live.count() == 0  # the picture has taken its place
    assert lab.raised() == []
    nothing_went_wrong(lab)


def test_every_cell_on_ones_own_network_runs_and_every_picture_has_words(lab, own):
    pictures = own.locator(".jp-RenderedHTMLCommon figure")
    assert pictures.count() >= 2
    for picture in pictures.all():
        assert len(picture.locator("img").get_attribute("alt") or "") > 40
        expect(picture.locator("figcaption")).not_to_be_empty()
    expect(own.locator(".fcnviz-explorer")).to_have_count(1)
    nothing_went_wrong(lab)


def test_a_question_about_ones_own_network_is_answered_by_keyboard(lab, own):
    quiz, cells = own.locator(".fcnviz-quiz").last, own.locator(".jp-Notebook .jp-Cell").count()
    quiz.locator(".fcnviz-field input").click()
    own.keyboard.type("1")
    own.keyboard.press("Enter")
    expect(quiz).to_contain_text("0 of 1 right")
    expect(quiz.get_by_role("status")).to_contain_text("✗")
    assert own.locator(".jp-Notebook .jp-Cell").count() == cells
    nothing_went_wrong(lab)


def test_the_repairs_are_folded_until_they_are_opened(lab, own):
    folded = own.locator("details", has_text="One repair for each")
    expect(folded.locator("p").first).not_to_be_visible()
    folded.locator("summary").click()
    expect(folded.locator("p").first).to_be_visible()
    nothing_went_wrong(lab)


def test_another_network_put_in_place_of_lenet_is_asked_the_same(lab, own):
    at = place_of(lab, "yours = models.lenet()")
    source = "yours = gallery.exhibit('skip').network()\nrefused, made_for = (1, 3, 45, 45), (1, 3, 44, 44)\n"
    write(lab, at, f"{source}trace(yours, refused)")
    lab.run_all()
    expect(own.locator(".jp-Notebook .jp-Cell").nth(at)).to_contain_text("height 45 ≠ 44")
    nothing_went_wrong(lab)


def test_a_network_that_runs_nowhere_is_told_so_and_the_lesson_goes_on(lab, own):
    at = place_of(lab, "trace(yours, refused)")
    source = "yours = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(7, 2))\n"
    write(lab, at, f"{source}refused = made_for = (1, 1, 28, 28)\ntrace(yours, refused)")
    lab.run_all()
    cells = own.locator(".jp-Notebook .jp-Cell")
    expect(cells.nth(at)).to_contain_text("Linear 2 has 7 columns")
    expect(cells.nth(place_of(lab, "yours_cast ="))).to_contain_text("7 columns")
    expect(cells.nth(place_of(lab, "reasons = []"))).to_contain_text("You said ?.")
    nothing_went_wrong(lab)

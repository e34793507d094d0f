"""The explorer in JupyterLab: both sides of the wire, its keys, and what a saved notebook shows without a kernel."""

from __future__ import annotations

import copy
import json

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from nbconvert import HTMLExporter
from playwright.sync_api import expect

MAKE = """
from torch import nn
from fcnviz.explorer import Explorer
def net(*head):
    return nn.Sequential(nn.Conv2d(3, 8, 5), nn.MaxPool2d(4), *head)
heads = {"Linear": net(nn.Flatten(), nn.Linear(392, 10)), "Conv": net(nn.Conv2d(8, 10, 7))}
view = Explorer(heads, (32, 32), within=64)
view
"""


def notebook(*cells):
    code = [{"cell_type": "code", "source": c, "metadata": {}, "outputs": [], "execution_count": None} for c in cells]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": code, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}


def put(lab, name, content):
    data = json.dumps({"type": "notebook", "format": "json", "content": content}).encode()
    lab.server.request("PUT", f"api/contents/{name}", data)


def saved(lab, name):
    return json.loads(lab.server.request("GET", f"api/contents/{name}"))["content"]


def python(lab, code):
    """What the notebook's kernel prints."""
    return lab.page.evaluate(
        """async code => {
            const kernel = window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel, said = [];
            const run = kernel.requestExecute({code});
            run.onIOPub = message => said.push(message.content.text ?? message.content.evalue ?? "");
            await run.done;
            return said.join("").trim();
        }""",
        code,
    )


def settled(lab, code, wanted):
    """Python says what is wanted as soon as the last change has come over the wire."""
    for _ in range(20):
        if (said := python(lab, code)) == wanted:
            return
        lab.page.wait_for_timeout(100)
    assert said == wanted


@pytest.fixture(scope="module")
def opened(lab):
    lab.page.set_viewport_size({"width": 1500, "height": 1000})
    put(lab, "explorer.ipynb", notebook(MAKE))
    lab.open("explorer.ipynb")
    lab.run_all()
    expect(lab.page.locator(".fcnviz-explorer")).to_be_visible()
    return lab


@pytest.fixture
def view(opened):
    """The explorer at 32 × 32 and its first step."""
    python(opened, "view.height, view.width, view.step = 32, 32, 0")
    shown = opened.page.locator(".fcnviz-explorer")
    expect(field(shown, "Height")).to_have_value("32")
    expect(field(shown, "Width")).to_have_value("32")
    yield shown
    assert opened.errors == []
    assert opened.external == []


def field(shown, axis):
    return shown.get_by_role("spinbutton", name=axis)


def test_python_sees_what_the_keyboard_does_and_no_cell_moves(opened, view):
    cells = opened.page.locator(".jp-Notebook .jp-Cell").count()
    lock = view.get_by_role("button", name="keep the image square")
    if lock.get_attribute("aria-pressed") == "false":
        lock.click()
    view.get_by_role("slider", name="Height").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "b", "ArrowLeft"):
        opened.page.keyboard.press(key)
    expect(field(view, "Height")).to_have_value("34")
    settled(opened, "print(view.height, view.width)", "34 34")
    assert opened.page.locator(".jp-Notebook .jp-Cell").count() == cells


def test_the_page_shows_what_python_sets(opened, view):
    python(opened, "view.height = 40")
    expect(field(view, "Height")).to_have_value("40")
    expect(view.get_by_role("region", name="Linear", exact=True)).to_contain_text("mat1 and mat2 shapes cannot be")
    python(opened, "view.selected = '2'")
    expect(view.get_by_role("heading", level=2).first).to_have_text("2")


def test_python_sets_a_square_and_the_lock_holds(opened, view):
    python(opened, "view.height, view.width = 40, 41; view.width = 40")
    expect(field(view, "Width")).to_have_value("40")
    expect(view.get_by_role("button", name="keep the image square")).to_have_attribute("aria-pressed", "true")


def test_a_cell_of_text_chooses_the_step_while_the_kernel_is_busy(opened, view):
    python(
        opened, "import ipywidgets; word = ipywidgets.Text('0'); ipywidgets.jslink((word, 'value'), (view, 'selected'))"
    )
    python(opened, "word.value = '2'")
    expect(view.get_by_role("heading", level=2).first).to_have_text("2")
    settled(opened, "print(view.step)", "2")


def test_python_sees_the_step(opened, view):
    view.get_by_role("button", name="next step").click()
    view.get_by_role("button", name="next step").click()
    settled(opened, "print(view.step, view.selected)", "2 2")


def test_a_cell_of_numbers_follows(opened, view):
    python(
        opened, "import ipywidgets; shown = ipywidgets.IntText(); ipywidgets.jslink((view, 'height'), (shown, 'value'))"
    )
    python(opened, "seen = []; view.observe(lambda change: seen.append(change['new']), 'height')")
    view.get_by_role("slider", name="Height").focus()
    opened.page.keyboard.press("ArrowRight")
    expect(field(view, "Height")).to_have_value("33")
    settled(opened, "print(seen)", "[33]")


def test_it_moves_while_the_kernel_is_busy(opened, view):
    opened.page.evaluate(
        """() => void window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel
            .requestExecute({code: "import time; time.sleep(4)"})"""
    )
    view.get_by_role("slider", name="Height").focus()
    opened.page.keyboard.press("ArrowRight")
    expect(field(view, "Height")).to_have_value("33", timeout=500)
    opened.wait_until_idle()


def test_two_explorers_do_not_disturb_each_other_and_running_again_leaves_one(opened, view):
    again = "async () => await window.jupyterapp.commands.execute('notebook:run-all-cells')"
    opened.page.evaluate(again)
    opened.wait_until_idle()
    expect(opened.page.locator(".fcnviz-explorer")).to_have_count(1)
    opened.page.evaluate(
        """async () => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            notebook.model.sharedModel.insertCell(1, {cell_type: 'code', source: 'view'});
        }"""
    )
    opened.page.evaluate(again)
    opened.wait_until_idle()
    both = opened.page.locator(".fcnviz-explorer")
    expect(both).to_have_count(2)
    both.nth(0).get_by_role("button", name="Table").click()
    expect(both.nth(0).get_by_role("table").first).to_be_visible()
    expect(both.nth(1).locator(".table")).to_be_hidden()
    opened.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.deleteCell(1)")
    expect(both).to_have_count(1)
    both.get_by_role("button", name="Table").click()
    python(opened, "view.height = 41")
    expect(field(both, "Height")).to_have_value("41")


def test_axe_finds_nothing_in_the_widget(opened, view):
    found = Axe().run(opened.page, context=".fcnviz-explorer").response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:160]) for one in found] == []


def test_the_themes_colours_are_taken(opened, view):
    ink = "e => getComputedStyle(e).color"
    assert view.evaluate(ink) == "rgb(27, 27, 27)"
    opened.theme("JupyterLab Dark")
    assert view.evaluate(ink) == "rgb(232, 232, 232)"
    opened.theme("JupyterLab Light")


LAWLESS = """
from torch import nn
from fcnviz.explorer import Explorer
class Rooted(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
    def forward(self, x):
        return self.conv(x[..., : int(x.shape[3] ** 0.5)])
Explorer(Rooted(), (64, 64), within=128)
"""


def test_without_a_law_python_is_asked_and_the_view_says_so(opened):
    put(opened, "lawless.ipynb", notebook(LAWLESS))
    opened.open("lawless.ipynb")
    opened.run_all()
    shown = opened.page.locator(".fcnviz-explorer")
    expect(shown).to_contain_text("4×64×8")
    expect(shown).to_contain_text("no law: ")
    field(shown, "Height").fill("100")
    field(shown, "Height").press("Enter")
    expect(shown).to_contain_text("4×100×10")
    opened.open("explorer.ipynb")
    opened.run_all()


@pytest.fixture(scope="module")
def kept(opened):
    """The notebook as JupyterLab saves it."""
    opened.page.evaluate("async () => await window.jupyterapp.commands.execute('docmanager:save')")
    found = saved(opened, "explorer.ipynb")
    assert "widgets" not in found["metadata"]
    return found


def test_a_saved_notebook_that_is_not_trusted_shows_the_picture(opened, kept):
    kept = copy.deepcopy(kept)
    for cell in kept["cells"]:
        cell["metadata"].pop("trusted", None)
        cell["source"] += "# from elsewhere"  # what was run here is trusted by what it says
    put(opened, "foreign.ipynb", kept)
    opened.open("foreign.ipynb")
    image = opened.page.get_by_role("img", name="An image of")
    expect(image).to_be_visible()
    assert image.evaluate("e => e.complete && e.naturalWidth") > 300
    expect(opened.page.locator("iframe[srcdoc]")).to_have_count(0)


SLOW = """
import time
from torch import nn
from fcnviz.explorer import Explorer
asked = []
class Slow(Explorer):
    def _asked(self, *message):
        asked.append(message)
        time.sleep(0.4)
        super()._asked(*message)
class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.odd = nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2)
    def forward(self, x):
        x = self.conv(x[..., : int(x.shape[3] ** 0.5)])
        return self.odd(x) if x.shape[2] % 2 else x
slow = Slow({"Odd": Odd()}, (20, 20), within=400, presets=[])
slow
"""


def test_without_a_law_only_the_last_size_is_asked_for_and_new_steps_appear(lab):
    put(lab, "slow.ipynb", notebook(SLOW))
    lab.open("slow.ipynb")
    lab.run_all()
    shown = lab.page.locator(".fcnviz-explorer").last
    lane = shown.get_by_role("region", name="Odd", exact=True)
    expect(lane.locator(".block")).to_have_count(3)
    before = len(lab.errors)
    shown.get_by_role("slider", name="Height").focus()
    for _ in range(15):
        lab.page.keyboard.press("ArrowRight")
    expect(shown.get_by_role("status")).to_contain_text("Odd runs: 4×17×2.")
    assert int(python(lab, "print(len(asked))")) <= 4
    expect(lane.locator(".block")).to_have_count(4)
    settled(lab, "print(slow.scene['columns'][1:], slow.step)", "['conv', 'odd'] 0")
    assert lab.errors[before:] == []


def test_an_exported_notebook_holds_the_page(browser, kept, tmp_path):
    html, _ = HTMLExporter(template_name="basic").from_notebook_node(nbformat.from_dict(kept))
    (tmp_path / "exported.html").write_text(f"<!doctype html><title>exported</title>{html}", "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "exported.html").as_uri())
    frame = page.frame_locator("iframe[title='fcnviz explorer']")
    expect(frame.locator(".fcnviz-explorer")).to_be_visible()
    frame.get_by_role("button", name="next step").click()
    expect(frame.get_by_role("heading", level=2).first).to_have_text("1")
    expect(page.get_by_role("img", name="An image of").first).to_be_hidden()
    page.close()

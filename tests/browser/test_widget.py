"""The explorer in JupyterLab: both sides of the wire, its keys, and what a saved notebook shows without a kernel."""

from __future__ import annotations

import copy
import json
from itertools import pairwise
from statistics import median

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from nbconvert import HTMLExporter
from playwright.sync_api import expect
from torch import nn

from fcnviz.explorer import Explorer

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
    shown = opened.page.locator(".fcnviz-explorer")
    settled(opened, "print(view.height)", field(shown, "Height").input_value())  # what the test before did last
    python(opened, "view.height, view.width, view.step = 32, 32, 0")
    expect(field(shown, "Height")).to_have_value("32")
    expect(field(shown, "Width")).to_have_value("32")
    expect(chosen(shown)).to_have_text("0")
    yield shown
    assert opened.errors == []
    assert opened.external == []


def chosen(shown):
    """The name of the selected step."""
    return shown.get_by_role("region", name="The selected step").get_by_role("heading", level=2)


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


HEAR = """() => {
    const kernel = window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
    window.sent = [performance.now()];
    kernel.anyMessage.connect((_, { msg, direction }) => {
        if (direction === "send" && msg.header.msg_type === "comm_msg") window.sent.push(performance.now());
    });
}"""


def test_python_hears_of_a_held_key_at_most_ten_times_a_second_and_of_its_last_size(opened, view):
    opened.page.evaluate(HEAR)
    view.get_by_role("slider", name="Height").focus()
    for _ in range(30):
        opened.page.keyboard.press("ArrowRight")
    expect(field(view, "Height")).to_have_value("62")
    settled(opened, "print(view.height)", "62")
    start, *sent = opened.page.evaluate("window.sent")
    assert sent and len(sent) <= 1 + (sent[-1] - start) / 100


STYLED = "disabled-by-default-devtools.timeline"  # tells how many elements each new picture has styled anew


def test_a_key_has_nothing_of_jupyterlab_styled_anew(opened, view):
    """Where styles ask what stands below an element, whatever changes there has all of its ancestors asked again."""
    browser, slider = opened.page.context.browser, view.get_by_role("slider", name="Height")
    field(view, "Height").fill("35")
    field(view, "Height").press("Enter")
    expect(view.locator(".lane.stops")).to_have_count(0)
    slider.focus()
    opened.page.wait_for_timeout(500)  # what JupyterLab does when it is told
    browser.start_tracing(page=opened.page, categories=["devtools.timeline", STYLED])
    opened.page.keyboard.press("ArrowRight")
    expect(view.locator(".lane.stops")).to_have_count(1)
    opened.page.evaluate("() => new Promise((then) => requestAnimationFrame(() => setTimeout(then)))")
    events = json.loads(browser.stop_tracing())["traceEvents"]
    pressed = min(one["ts"] for one in events if one["args"].get("data", {}).get("type") == "keydown")
    styled = [one for one in events if one["name"] == "UpdateLayoutTree" and one["ts"] >= pressed]
    above = view.evaluate("e => { let n = 0; while ((e = e.parentElement)) n++; return n; }")
    assert above > 10
    assert styled[0]["args"]["elementCount"] <= 4


def test_the_page_shows_what_python_sets(opened, view):
    python(opened, "view.height = 40")
    expect(field(view, "Height")).to_have_value("40")
    expect(view.get_by_role("region", name="Linear", exact=True)).to_contain_text("mat1 and mat2 shapes cannot be")
    python(opened, "view.selected = '2'")
    expect(chosen(view)).to_have_text("2")


def test_what_python_has_set_is_not_told_back_to_it(opened, view):
    """What is told comes late, and would undo what Python has set since."""
    python(opened, "view.selected = '2'")
    expect(chosen(view)).to_have_text("2")
    python(opened, "view.step = 1")
    opened.page.wait_for_timeout(700)  # by when everything is told
    assert python(opened, "print(view.step, view.selected)") == "1 1"
    expect(chosen(view)).to_have_text("1")


AHEAD = """(slider) => new Promise((then) => {
    const kernel = window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
    const move = () => { slider.value = Number(slider.value) + 1; slider.dispatchEvent(new Event("input")); };
    const heard = (_, { msg, direction }) => {
        if (msg.header.msg_type !== "comm_msg") return;
        if (direction === "send") queueMicrotask(move);
        else if (msg.content.data.method !== "echo_update") return;
        else {
            kernel.anyMessage.disconnect(heard);
            const { height } = msg.content.data.state;
            setTimeout(() => then([height, Number(slider.value)]), 50);
        }
    };
    kernel.anyMessage.connect(heard);
    move();
})"""


def test_the_answer_to_what_was_told_does_not_undo_what_came_after_it(opened, view):
    """JupyterLab has each message answered with the values that stood in it."""
    answered, shown = view.get_by_role("slider", name="Height").evaluate(AHEAD)
    assert (answered, shown) == (33, 34)
    expect(field(view, "Width")).to_have_value("34")
    settled(opened, "print(view.height, view.width)", "34 34")


def test_python_sets_a_square_and_the_lock_holds(opened, view):
    python(opened, "view.height, view.width = 40, 41; view.width = 40")
    expect(field(view, "Width")).to_have_value("40")
    expect(view.get_by_role("button", name="keep the image square")).to_have_attribute("aria-pressed", "true")


def test_a_cell_of_text_chooses_the_step_while_the_kernel_is_busy(opened, view):
    python(
        opened, "import ipywidgets; word = ipywidgets.Text('0'); ipywidgets.jslink((word, 'value'), (view, 'selected'))"
    )
    python(opened, "word.value = '2'")
    expect(chosen(view)).to_have_text("2")
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
    expect(opened.page.locator(".fcnviz-explorer")).to_be_visible()
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
    expect(opened.page.locator(".jp-OutputArea-output").last).to_have_text("")
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


@pytest.mark.parametrize("template", ["basic", "lab"])
def test_an_exported_notebook_holds_the_page(browser, kept, tmp_path, template):
    html, _ = HTMLExporter(template_name=template).from_notebook_node(nbformat.from_dict(kept))
    (tmp_path / "exported.html").write_text(f"<!doctype html><title>exported</title>{html}", "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "exported.html").as_uri())
    frame = page.frame_locator("iframe[title='fcnviz explorer']")
    expect(frame.locator(".fcnviz-explorer")).to_be_visible()
    frame.get_by_role("button", name="next step").click()
    expect(chosen(frame)).to_have_text("1")
    expect(page.get_by_role("img", name="An image of").first).to_be_hidden()
    page.close()


OTHER = 'other = Explorer({"Other": net(nn.Flatten(), nn.Linear(8, 4))}, (9, 10), within=20)\nother'


@pytest.fixture
def pair(lab):
    """A notebook with two explorers, on a fresh kernel."""
    lab.page.set_viewport_size({"width": 1500, "height": 2400})
    put(lab, "pair.ipynb", notebook(MAKE, OTHER))
    lab.open("pair.ipynb")
    lab.run_all()
    shown = lab.page.locator(".fcnviz-explorer")
    expect(shown).to_have_count(2)
    before = len(lab.errors)
    yield shown
    assert lab.errors[before:] == []


def test_two_explorers_hear_and_move_each_for_itself(lab, pair):
    first, second = pair.nth(0), pair.nth(1)
    first.get_by_role("slider", name="Height").focus()
    lab.page.keyboard.press("ArrowRight")
    second.get_by_role("button", name="last step").click()
    second.get_by_role("application", name="Sizes that").focus()
    lab.page.keyboard.press("ArrowUp")
    settled(lab, "print(view.height, view.width, view.step)", "33 33 0")
    settled(lab, "print(other.height, other.width, other.step)", "10 10 3")
    expect(chosen(first)).to_have_text("0")
    expect(chosen(second)).to_have_text("3")
    expect(field(first, "Height")).to_have_value("33")
    expect(field(second, "Height")).to_have_value("10")
    assert lab.page.locator(".fcnviz-explorer [id]").count() == 0, "a name that holds for the whole page"


@pytest.mark.parametrize("closing", ["notebook:clear-cell-output", "notebook:delete-cell", "notebook:run-all-cells"])
def test_nothing_holds_an_explorer_whose_output_is_closed(lab, pair, closing):
    """A listener of the window, an observer or a timer that was left would keep its elements alive."""
    lab.page.evaluate(
        """() => {
            const [first, second] = document.querySelectorAll(".fcnviz-explorer");
            for (const name of ["play", "preset"]) second.querySelector(`button.${name}`).click();
            [self.kept, self.gone] = [first, second].map(shown => new WeakRef(shown));
            window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1;
        }"""
    )
    lab.page.evaluate("async command => await window.jupyterapp.commands.execute(command)", closing)
    lab.wait_until_idle()
    alive(lab)
    assert lab.page.evaluate("() => self.gone.deref() === undefined")
    assert lab.page.evaluate("() => Boolean(self.kept.deref())") == (closing != "notebook:run-all-cells")


def test_two_explorers_in_an_exported_notebook_keep_to_their_frames(browser, tmp_path):
    shown = [Explorer(nn.Conv2d(3, 4, 5), size, within=64) for size in ((20, 30), (40, 41))]
    cells = [nbformat.v4.new_code_cell("view", outputs=[displayed(one)]) for one in shown]
    html, _ = HTMLExporter(template_name="basic").from_notebook_node(nbformat.v4.new_notebook(cells=cells))
    (tmp_path / "two.html").write_text(f"<!doctype html><title>two</title>{html}", "utf-8")
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(f"{(tmp_path / 'two.html').as_uri()}#h=7&w=7")
    frames = page.locator("iframe[title='fcnviz explorer']")
    expect(frames).to_have_count(2)
    first, second = (frames.nth(i).content_frame for i in range(2))
    expect(field(second, "Height")).to_have_value("40")  # a frame out of sight is not laid out
    second.get_by_role("slider", name="Height").focus()
    page.keyboard.press("ArrowRight")
    second.get_by_role("button", name="Table").click()
    page.wait_for_timeout(400)  # longer than an address waits to be written
    expect(field(second, "Height")).to_have_value("41")
    assert [field(first, axis).input_value() for axis in ("Height", "Width")] == ["20", "30"]
    expect(first.locator(".table")).to_be_hidden()
    assert page.url.endswith("#h=7&w=7")
    assert errors == []
    page.close()


def displayed(view):
    """What a cell that shows a widget leaves in its notebook."""
    data, _ = view._repr_mimebundle_()
    return nbformat.v4.new_output("display_data", data)


def test_a_trusted_notebook_without_its_kernel_shows_the_page(lab, pair):
    """JupyterLab shows a widget by its kernel alone and takes no other part of that output."""
    pages = lab.page.locator("iframe[title='fcnviz explorer']")
    expect(pages).to_have_count(0)
    lab.page.evaluate("async () => await window.jupyterapp.commands.execute('docmanager:save')")
    before = len(lab.errors)
    lab.open("pair.ipynb")
    expect(lab.page.get_by_text("Error displaying widget: model not found")).to_have_count(2)
    expect(lab.page.get_by_text("Error displaying widget: model not found").first).to_be_hidden()
    for i, size in enumerate(("32", "9")):
        pages.nth(i).scroll_into_view_if_needed()
        expect(pages.nth(i)).to_be_visible()
        expect(field(pages.nth(i).content_frame, "Height")).to_have_value(size)
    assert all("widget model not found" in error for error in lab.errors[before:])
    del lab.errors[before:]
    lab.run_all()
    expect(pair).to_have_count(2)
    expect(pages).to_have_count(0)


def test_a_closed_explorer_is_shown_as_text(lab):
    put(lab, "closed.ipynb", notebook(f"{MAKE}\nview.close()\nview"))
    lab.open("closed.ipynb")
    lab.run_all()
    expect(lab.page.locator(".jp-OutputArea-output").last).to_contain_text("An image of 32×32: Linear gives 1×10;")


RUNS, EMPTY = (
    5,
    """
import anywidget
class Empty(anywidget.AnyWidget):
    _esm = "export default {render({el}) { el.className = 'empty-widget'; el.textContent = 'empty'; }}"
Empty()
""",
)


def alive(lab):
    """Listeners and nodes of the whole page that garbage collection leaves."""
    wire = lab.page.context.new_cdp_session(lab.page)
    wire.send("Performance.enable")
    for _ in range(3):
        wire.send("HeapProfiler.collectGarbage")
        lab.page.wait_for_timeout(200)
    counts = {one["name"]: one["value"] for one in wire.send("Performance.getMetrics")["metrics"]}
    wire.detach()
    return counts["JSEventListeners"], counts["Nodes"]


def grown(lab, code, shown):
    """Listeners and nodes that a few runs of a cell leave; JupyterLab adds many of its own, once, in any round."""
    put(lab, "again.ipynb", notebook(code))
    lab.open("again.ipynb")
    counts = []
    for _ in range(6):
        for _ in range(RUNS):
            lab.run_all()
            expect(lab.page.locator(shown)).to_be_visible()
        counts.append(alive(lab))
    rounds = [[after - before for before, after in zip(*two, strict=True)] for two in pairwise(counts[1:])]
    return [median(each) for each in zip(*rounds, strict=True)]


def test_running_the_cell_again_and_again_leaves_no_more_than_an_empty_widget_does(lab):
    """The wire of every widget that was ever shown is kept on both sides, by ipywidgets and anywidget."""
    listeners, nodes = grown(lab, MAKE, ".fcnviz-explorer")
    empty_listeners, empty_nodes = grown(lab, EMPTY, ".empty-widget")
    assert listeners - empty_listeners < RUNS, "one listener more for each run"
    assert nodes - empty_nodes < RUNS, "one node more for each run"

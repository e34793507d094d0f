"""A small site in a real browser, opened from a disk: it asks for nothing, and nothing on it is a dead hole."""

from __future__ import annotations

import re

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import expect

from fcnviz.site import build

NET = "net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 4 * 4, 2))"
FIRST = (
    new_markdown_cell("# The first\n\n**The question.** Which sizes?\n\nThen read [the second](01_second.ipynb)."),
    new_code_cell(f"from torch import nn\nfrom fcnviz import law, trace\n{NET}"),
    new_code_cell('guess = "?"\nprint(f"You said {guess}. It is {6 * 7}.")'),
    new_code_cell("trace(net, (1, 3, 9, 9))"),
    new_code_cell("found = law(net, (1, 3, 'H', 'W'), within=16)\nfound"),
    new_code_cell(
        "from fcnviz import figures\n"
        "figures.captioned(figures.accepted_sizes(found), figures.alt(found), 'The sizes that it takes.')"
    ),
)
SECOND = (
    new_markdown_cell("# The second\n\nWith things that move."),
    new_code_cell(f"from torch import nn\nfrom fcnviz.explorer import Explorer\n{NET}"),
    new_code_cell("Explorer(net, (8, 8), within=32)"),
    new_code_cell("from fcnviz.exercises import exercise\nexercise('7.columns', seed=0)"),
    new_code_cell("from fcnviz.windowsliders import WindowSliders\nWindowSliders()"),
    new_code_cell("from tqdm.auto import tqdm\nfor _ in tqdm(range(3), leave=False): pass"),
    new_code_cell("exercise('2.which_breaks', seed=0)"),
    new_code_cell("from fcnviz import trace\ntrace(net, (1, 3, 8, 8))"),
    new_code_cell("trace(net, (1, 3, 9, 8))"),
)
PAGES = ("index", "00_first", "01_second", "explorer")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lessons")
    for name, cells in (("00_first", FIRST), ("01_second", SECOND)):
        nbformat.write(new_notebook(cells=list(cells)), folder / f"{name}.ipynb")
    return build(folder / "out", folder).parent


class Visit:
    """A page of the site, and everything that went wrong on it or was asked for."""

    def __init__(self, context, site):
        self.page, self.site, self.errors, self.asked = context.new_page(), site, [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else 0)
        self.page.on("request", lambda request: self.asked.append(request.url))

    def open(self, name):
        self.page.goto((self.site / f"{name}.html").as_uri())
        return self.page

    @property
    def outside(self):
        mine = (self.site.as_uri(), "data:", "blob:", "about:")
        return [url for url in self.asked if not url.startswith(mine)]


@pytest.fixture(params=["light", "dark"])
def visit(browser, site, request):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=request.param)
    opened = Visit(context, site)
    yield opened
    assert opened.errors == []
    assert opened.outside == []
    context.close()


def test_every_lesson_is_reached_from_the_index_and_leads_on_and_back(visit):
    page = visit.open("index")
    expect(page.get_by_role("listitem").filter(has_text="Which sizes?")).to_be_visible()
    page.get_by_role("link", name="The first").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The first")
    page.get_by_role("link", name="the second", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The second")
    page.get_by_role("link", name="← The first").first.click()
    page.get_by_role("link", name="All lessons").first.click()
    page.get_by_role("link", name="Open the explorer").click()
    expect(page.get_by_role("region", name="Linear head", exact=True)).to_be_visible()


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_of_the_site(visit, name):
    links = visit.open(name).eval_on_selector_all("a[href]", "all => all.map(a => a.getAttribute('href'))")
    assert links or name == "explorer"
    assert [link for link in links if not (visit.site / link.split("#")[0]).is_file()] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_has_words_and_is_really_there(visit, name):
    page = visit.open(name)
    expect(page.locator("img:not([src])")).to_have_count(0)  # the explorer draws its own when it has time
    page.evaluate("Promise.all([...document.images].map(i => i.decode()))")
    wrong = "all => all.filter(i => !i.getAttribute('alt')?.trim() || !i.complete || !i.naturalWidth).length"
    assert page.eval_on_selector_all("img", wrong) == 0
    if name != "index":
        assert page.locator("img, iframe, svg").count() > 0


def test_an_answer_stays_folded_until_it_is_opened(visit):
    page = visit.open("00_first")
    expect(page.get_by_text("It is 42.")).to_be_hidden()
    page.get_by_text("Guess first, then open").click()
    expect(page.get_by_text("It is 42.", exact=True)).to_be_visible()  # and nothing of a guess that nobody made


def test_the_explorer_in_its_frame_moves_without_a_kernel(visit):
    frame = visit.open("01_second").frame_locator("iframe")
    lane = frame.get_by_role("region", name="Sequential", exact=True)
    expect(lane).not_to_contain_text("mat1 and mat2")
    frame.get_by_role("spinbutton", name="Height").fill("10")
    frame.get_by_role("spinbutton", name="Height").press("Enter")
    expect(lane).to_contain_text("mat1 and mat2 shapes cannot be multiplied (1x100 and 64x2)")


def test_what_needs_a_kernel_is_there_in_words_and_says_that_it_stands_still(visit):
    page = visit.open("01_second")
    expect(page.get_by_text("Here it stands still.")).to_have_count(3)
    expect(page.get_by_text("break this network: its Linear has the columns of another size")).to_be_visible()
    expect(page.get_by_text("VBox(")).to_have_count(0)
    assert page.locator(".shown").count() == 6  # the bar of progress is gone


def test_a_question_without_a_kernel_has_its_choices_and_its_answer_folded(visit):
    asked = visit.open("01_second").locator(".fcnviz-quiz").last
    assert asked.get_by_role("listitem").count() >= 3
    answer = asked.locator("details p")
    expect(answer).to_be_hidden()
    asked.locator("summary").press("Enter")
    expect(answer).to_be_visible()


def test_what_is_written_grows_with_the_pictures_for_those_who_sit_far_away(browser, site):
    """A caption, a table and the picture, on a wide page and on a narrow one."""
    sizes = {}
    for width in (1280, 1920):
        context = browser.new_context(viewport={"width": width, "height": 900})
        page = Visit(context, site).open("00_first")
        letters = "e => parseFloat(getComputedStyle(e).fontSize)"
        sizes[width] = [page.locator(each).last.evaluate(letters) for each in ("figcaption", ".fcnviz-trace td")]
        sizes[width].append(page.locator("figure img").evaluate("e => e.clientWidth"))
        context.close()
    assert all(large >= 1.2 * small for small, large in zip(*sizes.values(), strict=True)), sizes


@pytest.mark.parametrize("name", ["index", "00_first", "01_second"])
def test_axe_finds_nothing(visit, name):
    page = visit.open(name)
    for fold in page.locator("summary").all():
        fold.click()
    page.wait_for_timeout(200)
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []


@pytest.mark.parametrize("width", [390, 768, 1920])
@pytest.mark.parametrize("name", ["index", "00_first", "01_second"])
def test_nothing_hangs_over_the_edge(browser, site, name, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = Visit(context, site).open(name)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_where_no_script_may_run_the_frame_shows_a_picture_and_a_table(browser, site, tmp_path):
    """A frame inherits what its page forbids: here, everything."""
    text = (site / "01_second.html").read_text("utf-8")
    (tmp_path / "01_second.html").write_text(re.sub("script-src 'sha256[^;]*;", "script-src 'none';", text, count=1))
    context = browser.new_context()
    frame = Visit(context, tmp_path).open("01_second").frame_locator("iframe")
    expect(frame.get_by_role("img")).to_be_visible()
    expect(frame.get_by_role("row")).to_have_count(5)
    context.close()


def test_a_script_that_is_not_the_explorers_does_not_run(browser, site, tmp_path):
    """The policy of the page, and not luck: the same page with a script more."""
    page_text = (site / "01_second.html").read_text("utf-8")
    (tmp_path / "01_second.html").write_text(page_text.replace("<main>", "<main><script>document.title = 1</script>"))
    context = browser.new_context()
    visited = Visit(context, tmp_path)
    assert visited.open("01_second").title() == "The second · fcnviz"
    assert any("Content Security Policy" in said for said in visited.errors)
    context.close()

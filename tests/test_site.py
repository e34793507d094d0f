"""The site: what a notebook's cells become, what a page may do, and what is refused."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fcnviz.__main__ import main
from fcnviz.errors import SiteError
from fcnviz.site import build
from fcnviz.site.cells import STILL, WIDGET, body, first_words, title
from fcnviz.site.pages import Lesson, index, lesson_page

HERE = Path(__file__).parent
PIXEL = b"\x89PNG\r\n\x1a\n"


def ran(source, *outputs):
    """A cell with what came out of it."""
    return new_code_cell(source, outputs=list(outputs))


def shown(html="", plain="plain", **more):
    data = {"text/plain": plain, **({"text/html": html} if html else {}), **more}
    return new_output("execute_result", data=data)


def page_of(*cells, folder=HERE):
    return body(new_notebook(cells=list(cells)), folder)


def write(folder, name, *cells):
    nbformat.write(new_notebook(cells=list(cells)), folder / name)


# --- cells


def test_text_code_and_what_came_out_stand_in_their_order():
    found = page_of(new_markdown_cell("# Head\n\nWords."), ran("a = 1 < 2\na", shown(plain="True")))
    parts = ["<h1>Head</h1>", "<p>Words.</p>", "&lt;", "True</pre>"]
    places = [found.index(part) for part in parts]
    assert places == sorted(places)


def test_code_and_printed_text_are_shown_and_never_read_as_html():
    evil = "<script>x</script>"
    found = page_of(ran(f"'{evil}'", new_output("stream", name="stdout", text=evil), shown(plain=evil)))
    assert "<script" not in found
    assert found.count("&lt;/script&gt;") >= 2


def test_text_that_was_printed_in_pieces_is_one():
    pieces = [new_output("stream", name="stdout", text=text) for text in ("one\n", "two\n")]
    assert "one\ntwo</pre>" in page_of(ran("go()", *pieces))


def test_html_is_preferred_to_plain_text():
    found = page_of(ran("t", shown("<b>rich</b>", "poor")))
    assert "<b>rich</b>" in found and "poor" not in found


def test_what_was_to_be_guessed_is_folded():
    folded, open_ = (page_of(ran(source, shown())) for source in ('guess = "?"\nf(guess)', "f(answer)"))
    assert "<details" in folded and "<details" not in open_


def test_code_that_is_hidden_in_the_notebook_is_folded():
    cell = ran("assert answer == 404")
    cell.metadata["jupyter"] = {"source_hidden": True}
    found = page_of(cell)
    assert found.index("<details") < found.index("404") < found.index("</details>")


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("You said ?. It is 404.", "It is 404."),
        ("3. You said ?, and it is 15.", "3. It is 15."),
        ("8 × 8: you said ?, and it is 2 × 2", "8 × 8: it is 2 × 2"),
        ("You said ?×?. The network says 8×8.", "The network says 8×8."),
        ("7: you said ? ? ? ? ?, and it is 7", "7: it is 7"),
        ("You said ? · ? · ?, and it is 1 · 512 · 7.", "It is 1 · 512 · 7."),
        ("You said ? %. Relative error: 75%.", "Relative error: 75%."),
        ("You said: ?. The length", "The length"),
        ("You said ?; most weights: Linear 8", "Most weights: Linear 8"),
        ("You said {'jump': '?', 'at 224': '? × ?'}. At 224", "At 224"),
        ("You said ('?', '?').\nsums", "sums"),
        ("mean IU 0.226   you said ?\nmean IU 0.271   you said ?", "mean IU 0.226\nmean IU 0.271"),
    ],
)
def test_a_guess_that_nobody_made_is_not_spoken_of(said, left):
    printed = new_output("stream", name="stdout", text=f"{said}\n")
    assert f'<pre class="said">{left}</pre>' in page_of(ran('guess = "?"', printed))


def test_a_cell_that_speaks_of_a_guess_only_shows_nothing():
    assert '<pre class="said">' not in page_of(ran("f()", new_output("stream", name="stdout", text="You said ?.\n")))


@pytest.mark.parametrize("said", ["You said 404. It is 404.", "8 × 8: you said 1 × 1, and it is 2 × 2", "Is it so?"])
def test_a_guess_that_was_made_is_told(said):
    assert said in page_of(ran("show()", new_output("stream", name="stdout", text=said)))


def test_captions_do_not_speak_of_a_guess_that_nobody_made():
    caption = "<figcaption>You said ?. 5 windows fit.</figcaption>"
    assert "<figcaption>5 windows fit.</figcaption>" in page_of(ran("f()", shown(caption)))


def test_regions_of_one_name_are_told_apart():
    regions = [f'<div role="region" aria-label="Trace of {name}">' for name in ("A", "B", "A", "A")]
    names = re.findall('aria-label="([^"]+)"', page_of(*(ran("t", shown(region)) for region in regions)))
    assert names == ["Trace of A", "Trace of B", "Trace of A, number 2", "Trace of A, number 3"]


def test_a_widget_stands_still_and_says_so_and_one_in_a_frame_does_not_have_to():
    model = {WIDGET: {"model_id": "1"}}
    still, framed = (page_of(ran("w", shown(html, **model))) for html in ("<p>words</p>", "<iframe></iframe>"))
    assert STILL in still and STILL not in framed


def test_a_bar_of_progress_leaves_nothing_behind():
    assert page_of(ran("law(net)", shown(plain="law: 77%", **{WIDGET: {"model_id": "1"}}))).count("<div") == 0


def test_a_picture_without_words_is_refused():
    with pytest.raises(SiteError, match=r"cell .* shows a picture without an alternative text"):
        page_of(ran("plt.plot()", shown(**{"image/png": "AAAA"})))


def test_links_between_notebooks_lead_to_their_pages():
    found = page_of(new_markdown_cell("[on](02_more.ipynb) and [there](02_more.ipynb#part)"))
    assert 'href="02_more.html"' in found and 'href="02_more.html#part"' in found


def test_pictures_of_the_text_lie_in_the_page(tmp_path):
    (tmp_path / "a.png").write_bytes(PIXEL)
    assert 'src="data:image/png;base64,' in page_of(new_markdown_cell("![words](a.png)"), folder=tmp_path)


@pytest.mark.parametrize("source", ["not_there.png", "https://example.org/a.png"])
def test_a_picture_that_is_not_beside_the_notebook_is_refused(source, tmp_path):
    with pytest.raises(SiteError, match=f"shows the picture {re.escape(source)}, and beside it there is none"):
        page_of(new_markdown_cell(f"![words]({source})"), folder=tmp_path)


def test_the_title_is_the_first_heading_and_the_question_the_first_paragraph():
    notebook = new_notebook(cells=[new_markdown_cell("# On *size*\n\n**The question.** Why\n`7`?\n\nMore.")])
    assert (title(notebook), first_words(notebook)) == ("On size", "Why 7?")


def test_a_notebook_without_a_title_is_refused():
    with pytest.raises(SiteError, match="no heading"):
        title(new_notebook(cells=[new_markdown_cell("Words only.")]))


# --- pages


def policy(page):
    return re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]


def test_a_page_may_load_nothing_and_run_nothing():
    page = lesson_page(Lesson(7, "a.html", "A", "Why?", "<p>words</p>"), None, None)
    assert "default-src 'none'; script-src 'none';" in policy(page)
    assert "img-src data:;" in policy(page)


def test_a_page_with_a_frame_lets_its_script_run_and_no_other():
    frame = '<iframe srcdoc="&lt;meta content=&quot;script-src &#x27;sha256-abc+/=&#x27;&quot;&gt;"></iframe>'
    page = lesson_page(Lesson(7, "a.html", "A", "Why?", frame), None, None)
    assert "script-src 'sha256-abc+/=';" in policy(page)


def test_lessons_keep_the_numbers_of_their_notebooks():
    page = index([Lesson(number, f"{number}.html", "A", "Why?", "") for number in (0, 7)])
    assert [int(number) for number in re.findall(r'<li value="(\d+)">', page)] == [0, 7]


def test_titles_are_shown_as_text_in_every_place():
    evil = Lesson(7, "a.html", "<script>A</script>", "<b>Why?</b>", "")
    for page in (index([evil]), lesson_page(evil, evil, evil)):
        assert "<script>A" not in page and "<b>Why" not in page


# --- building


def test_a_notebook_that_raises_is_no_page(tmp_path):
    write(tmp_path, "00_a.ipynb", new_markdown_cell("# A"), new_code_cell("1 / 0"))
    with pytest.raises(SiteError, match="00_a.ipynb does not run: ZeroDivisionError: division by zero"):
        build(tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_notebooks_is_refused_on_the_command_line(tmp_path, capsys):
    assert main(["site", str(tmp_path / "out"), "--notebooks", str(tmp_path)]) == 2
    assert "there are no notebooks in" in capsys.readouterr().err


def test_the_command_line_brings_what_runs_notebooks_only_when_it_is_asked():
    code = "import sys, fcnviz.__main__; assert not {'nbclient', 'mistune', 'pygments'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

"""A notebook that has run → HTML: its text, its code, and what came out.

No script of a cell is run on a page. What moves in the notebook stands still here, except the explorer, which brings a
page of its own in a frame. Nobody has guessed here: what a notebook says of a guess that is still "?" is left out.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mistune
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from fcnviz.errors import SiteError
from fcnviz.layout import attribute, escaped

__all__ = ["body", "first_words", "title"]

WIDGET = "application/vnd.jupyter.widget-view+json"
STILL = (
    "<p class='still'>In the notebook this answers to mouse and keyboard. Here it stands still."
    " What moves without Python is <a href='explorer.html'>the explorer</a>.</p>"
)
_OPEN = r"\?(?:[ ×·]+\?)*(?: %)?|[({][^(){}]*\?[^(){}]*[)}]"  # a guess as the notebooks have it before anyone guesses
_UNSAID = re.compile(rf"([Yy])ou said:? (?:{_OPEN})(?:(?:, and |; )(\w)|\.\s?|(?=\n|$))")
_MARKDOWN = mistune.create_markdown(escape=False, plugins=["table"])


def title(notebook: Any) -> str:
    """The first heading of a notebook, as plain text.

    Raises:
        SiteError: it has none.
    """
    return _plain(_after_title(notebook)[0])


def first_words(notebook: Any) -> str:
    """The first paragraph below the title, as plain text: what the lesson asks."""
    parts = re.split(r"\n\s*\n", _after_title(notebook)[1].strip())
    return _plain(parts[0]).removeprefix("The question. ")


def _after_title(notebook: Any) -> tuple[str, str]:
    """The first heading, and the text below it."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.search(r"^# (.+)$", text, re.M)
    if found is None:
        raise SiteError("a notebook has no heading `# …`, and its page needs a title")
    return found[1], text[found.end() :]


def _plain(markdown: str) -> str:
    """Without the marks of emphasis and code, on one line."""
    return " ".join(re.sub(r"[*`]", "", markdown).split())


def body(notebook: Any, folder: Path) -> str:
    """All cells, one under the other; `folder` is where pictures of the text lie."""
    return _told_apart("\n".join(_cell(cell, folder) for cell in notebook.cells))


def _told_apart(html: str) -> str:
    """Tables of the same name get a number: one who jumps from region to region hears only the names."""
    seen = Counter[str]()

    def named(found: re.Match[str]) -> str:
        seen[found[0]] += 1
        return found[0] if seen[found[0]] == 1 else f'{found[1]}, number {seen[found[0]]}"'

    return re.sub(r'(role="region"\s+aria-label="[^"]*)"', named, html)


def _cell(cell: Any, folder: Path) -> str:
    if cell.cell_type == "markdown":
        return f'<div class="text">{_linked(str(_MARKDOWN(cell.source)), folder)}</div>'
    if cell.cell_type != "code" or not cell.source.strip():
        return ""
    code = highlight(cell.source, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip()
    told = f'<pre class="code"><code>{code}</code></pre>'
    if cell.metadata.get("jupyter", {}).get("source_hidden"):  # it holds what the reader was asked to guess
        return f'<details class="shown"><summary>What must hold</summary>{told}</details>{_shown(cell)}'
    return f"{told}{_shown(cell)}"


def _shown(cell: Any) -> str:
    """What came out. Where the reader was asked to guess, it is folded: guess first here too."""
    parts = "".join(_outputs(cell))
    if not parts:
        return ""
    if re.search(r"\bguess(es)?\b", cell.source):
        return f'<details class="shown"><summary>Guess first, then open</summary>{parts}</details>'
    return f'<div class="shown">{parts}</div>'


def _outputs(cell: Any) -> Iterator[str]:
    """Each output as HTML; text that was printed in pieces is one."""
    printed = ""
    for output in cell.outputs:
        if output.output_type == "stream":
            printed += output.text
            continue
        yield _printed(printed)
        printed = ""
        yield _data(output.data, cell.get("id", "")) if "data" in output else ""
    yield _printed(printed)


def _printed(text: str) -> str:
    said = re.sub(r" +$", "", _heard(text), flags=re.M)
    return f'<pre class="said">{escaped(said.rstrip())}</pre>' if said.strip() else ""


def _heard(text: str) -> str:
    """Without "You said ?": what follows it begins the sentence.

    >>> _heard("3. You said ?, and it is 15."), _heard("8 × 8: you said ? %. 3 of 4")
    ('3. It is 15.', '8 × 8: 3 of 4')
    """
    return _UNSAID.sub(_begun, text)


def _begun(found: re.Match[str]) -> str:
    first = found[2] or ""
    return first.upper() if found[1] == "Y" else first


def _data(data: Any, where: str) -> str:
    """The richest form that stands on its own. A widget without one is a bar of progress that has ended."""
    if "text/html" in data:
        html = _heard(data["text/html"])
        return f"{STILL}{html}" if html and WIDGET in data and "<iframe" not in html else html
    if WIDGET in data:
        return ""
    if any(kind.startswith("image/") for kind in data):
        raise SiteError(f"cell {where} shows a picture without an alternative text; `figures.captioned` gives it one")
    return _printed(data.get("text/plain", ""))


def _linked(html: str, folder: Path) -> str:
    """Links to notebooks as links to their pages, pictures put into the page."""
    html = re.sub(r'href="([\w./-]+)\.ipynb(#[^"]*)?"', r'href="\1.html\2"', html)
    return re.sub(r'(<img[^>]*?src=")([^"]+)"', lambda found: f'{found[1]}{_inside(found[2], folder)}"', html)


def _inside(source: str, folder: Path) -> str:
    """A picture as an address that holds it.

    Raises:
        SiteError: it is not there, or lies somewhere else than beside the notebook.
    """
    if source.startswith("data:"):
        return source
    file = folder / source
    if urlsplit(source).scheme or not file.is_file():
        raise SiteError(f"a notebook shows the picture {source}, and beside it there is none")
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return attribute(f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}")

"""A page of the site: its head, what it may load and run, and the way to the others.

A page may load nothing. It runs no script either, except those of explorers in frames, named by their digests: a frame
inherits what its page forbids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from importlib.resources import files

from fcnviz.layout import STYLE, attribute, escaped

__all__ = ["INDEX", "Lesson", "index", "lesson_page"]

INDEX = "index.html"
NAME = "fcnviz"
EXPLORER = "explorer.html"


@dataclass(frozen=True)
class Lesson:
    """A notebook that has run: its number, the name of its page, its title, what it asks, and its cells as HTML."""

    number: int
    page: str
    title: str
    asks: str
    body: str


def lesson_page(lesson: Lesson, before: Lesson | None, after: Lesson | None) -> str:
    """The page of a lesson, with the way back and on."""
    way = _way(before, after)
    top, bottom = (f'<nav aria-label="{name}">{way}</nav>' for name in ("Lessons", "Lessons, again"))
    return _page(f"{lesson.title} · {NAME}", f"{top}<main>{lesson.body}</main>{bottom}")


def _way(before: Lesson | None, after: Lesson | None) -> str:
    links = [f'<a href="{INDEX}">All lessons</a>']
    links += [f'<a href="{attribute(before.page)}" rel="prev">← {escaped(before.title)}</a>'] if before else []
    links += [f'<a href="{attribute(after.page)}" rel="next">{escaped(after.title)} →</a>'] if after else []
    return "".join(links)


def index(lessons: Sequence[Lesson]) -> str:
    """The first page: every lesson with what it asks, and the explorer."""
    rows = "".join(map(_entry, lessons))
    explorer = f'<p class="explorer"><a href="{EXPLORER}">Open the explorer</a></p>'
    words = "".join(f"<p>{text}</p>" for text in _WORDS)
    heads = "<h1>What does the size of an image decide?</h1>", "<h2>Lessons</h2>"
    return _page(NAME, f"<main>{heads[0]}{words}{explorer}{heads[1]}<ol class='lessons'>{rows}</ol></main>")


def _entry(lesson: Lesson) -> str:
    link = f'<a href="{attribute(lesson.page)}">{escaped(lesson.title)}</a>'
    return f'<li value="{lesson.number}">{link}<p>{escaped(lesson.asks)}</p></li>'


_WORDS = (
    "Drag an image’s height and width and watch every layer of a real network follow, until a Linear layer breaks and"
    " a convolution does not.",
    "Below are the lessons as they ran. Where you are asked to guess, the answer is folded: guess, then open it. To"
    " change what runs, open the notebooks themselves: <code>make lab</code>.",
)


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_allowed(body)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _allowed(body: str) -> str:
    """What the page may do: show pictures that lie in it, and run the scripts that frames in it have named."""
    digests = sorted(set(re.findall(r"script-src '(sha256-[\w+/=]+)'", unescape(body))))
    scripts = " ".join(f"'{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _style() -> str:
    return f"{files('fcnviz.site').joinpath('site.css').read_text('utf-8')}{STYLE}"

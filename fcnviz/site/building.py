"""Runs the notebooks and writes the site."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from fcnviz.errors import SiteError
from fcnviz.explorer.page import save_page
from fcnviz.progress import progress
from fcnviz.site.cells import body, first_words, title
from fcnviz.site.pages import EXPLORER, INDEX, Lesson, index, lesson_page

__all__ = ["build"]

SECONDS = 600  # for one cell: the lesson that trains takes minutes on a small machine


def build(out: str | Path, notebooks: str | Path = "notebooks") -> Path:
    """Run each notebook of a folder and write the site: `index.html`, a page for each, and the explorer.

    Files of that name are replaced; others in the folder stay. Returns the path of the first page.

    Raises:
        SiteError: no notebooks, one whose cells raise, one without a title, or a picture without words for it.
        OSError: a file cannot be read or written.
    """
    out, folder = Path(out), Path(notebooks)
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        raise SiteError(f"there are no notebooks in {folder}; they are named as 00_start.ipynb is")
    lessons = list(_run_all(paths))
    out.mkdir(parents=True, exist_ok=True)
    for lesson, (before, after) in zip(lessons, _neighbours(lessons), strict=True):
        (out / lesson.page).write_text(lesson_page(lesson, before, after), encoding="utf-8")
    save_page(out / EXPLORER)
    (out / INDEX).write_text(index(lessons), encoding="utf-8")
    return out / INDEX


def _run_all(paths: Sequence[Path]) -> Iterator[Lesson]:
    with progress(len(paths), "lessons", "lessons") as advance:
        for path in paths:
            yield _lesson(path)
            advance(1)


def _neighbours(lessons: Iterable[Lesson]) -> Iterable[tuple[Lesson | None, Lesson | None]]:
    with_ends = [None, *lessons, None]
    return [(before, after) for (before, _), (_, after) in pairwise(pairwise(with_ends))]


def _lesson(path: Path) -> Lesson:
    """One notebook, run from a clean kernel."""
    notebook = _run(path)
    number = int(path.stem.split("_")[0])
    return Lesson(number, f"{path.stem}.html", title(notebook), first_words(notebook), body(notebook, path.parent))


def _run(path: Path) -> Any:
    """No state of widgets is stored: the page shows what a widget says of itself without a kernel."""
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(path.parent)}}
    try:
        return NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            store_widget_state=False,
            resources=place,
            extra_arguments=["--log-level=ERROR"],  # a kernel warns of its own sockets, once for each lesson
        ).execute()
    except CellExecutionError as error:
        raise SiteError(f"{path.name} does not run: {error.ename}: {error.evalue}") from error

"""Every notebook runs from top to bottom on a clean kernel, and is committed as it should be."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9]*.ipynb"))
in_each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_is_a_first_one_and_all_are_numbered():
    assert "00_start.ipynb" in [path.name for path in NOTEBOOKS]
    assert set(NOTEBOOKS) == set(FOLDER.glob("*.ipynb"))


def code_of(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@in_each_notebook
def test_runs_from_top_to_bottom(path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": str(FOLDER)}},
    ).execute()
    # an exception in a callback of a widget raises in no cell
    assert [o.text for c in notebook.cells for o in c.get("outputs", ()) if o.get("name") == "stderr"] == []


@in_each_notebook
def test_is_committed_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None)


@in_each_notebook
def test_no_cell_is_empty(path):
    assert all(cell.source.strip() for cell in nbformat.read(path, as_version=4).cells)


@in_each_notebook
def test_cells_are_short_and_define_no_functions(path):
    for source in code_of(path):
        assert len(source.splitlines()) <= 8, source
        assert not re.search(r"^\s*(async\s+def|def|class)\s", source, re.M), source


@in_each_notebook
def test_no_cell_that_asks_for_a_guess_says_in_an_assertion_what_comes_out(path):
    asking = [source for source in code_of(path) if re.search(r"^guess(es)?\b.*=", source, re.M)]
    assert not [source for source in asking if re.search(r"^assert ", source, re.M)]


@in_each_notebook
def test_the_first_line_of_a_hidden_cell_which_jupyterlab_shows_tells_nothing(path):
    cells = nbformat.read(path, as_version=4).cells
    hidden = [cell.source for cell in cells if cell.metadata.get("jupyter", {}).get("source_hidden")]
    assert all(source.startswith("# What must hold") for source in hidden)


@in_each_notebook
def test_ends_in_an_assertion(path):
    assert "assert " in code_of(path)[-1]

"""A bar is there while work takes long, and is gone when it ends: in a terminal, and in a notebook that is saved."""

import re

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from fcnviz.progress import progress

WORK = """
import time
from fcnviz.progress import progress
with progress(30, "working", "steps") as advance:
    for _ in range(30):
        time.sleep({seconds})
        advance(1)
"""


def executed(code, seen=None):
    """The outputs of a cell as they are saved; `seen` is called with each output while the cell runs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    client = NotebookClient(notebook, timeout=300, kernel_name="python3")
    known = client.process_message

    def noted(message, cell, index):
        if seen is not None and message["msg_type"] in ("display_data", "update_display_data"):
            seen.append(message["content"]["data"])
        return known(message, cell, index)

    client.process_message = noted
    client.execute()
    return notebook


def test_a_saved_notebook_holds_nothing_of_a_bar():
    seen = []
    notebook = executed(WORK.format(seconds=0.1), seen)
    assert any("working:" in data.get("text/plain", "") for data in seen), "a student sees a bar"
    (output,) = notebook.cells[0].outputs
    assert output.data == {"text/html": ""}
    assert "widgets" not in notebook.metadata or not notebook.metadata.widgets
    nbformat.validate(notebook)
    page, _ = HTMLExporter(template_name="basic", exclude_input=True).from_notebook_node(notebook)
    assert re.sub(r"<[^>]*>", "", page).strip() == ""


def test_short_work_shows_nothing():
    assert executed(WORK.format(seconds=0)).cells[0].outputs == []


def test_a_terminal_is_left_clean(capsys, monkeypatch):
    monkeypatch.setattr("fcnviz.progress.DELAY", 0)
    with progress(3, "counting") as advance:
        advance(1)
    written = capsys.readouterr().err
    assert "counting" in written and written.split("\r")[-2].strip() == ""


def test_a_bar_goes_when_the_work_raises(capsys):
    with pytest.raises(ValueError, match="no"), progress(3, "counting"):
        raise ValueError("no")
    assert capsys.readouterr().err == ""

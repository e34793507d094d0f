"""The benchmarks run and fill their tables. No time is asserted here: a number of a busy machine means nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
HEADING = re.compile(r"^\| (\S.*?) *\| measured +\|", re.M)


@pytest.fixture(scope="module")
def report():
    command = [sys.executable, FOLDER / "trace.py", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pasted():
    return (FOLDER / "README.md").read_text("utf-8")


def first_cells(text):
    """The first cell of each row, without the numbers that `--quick` makes smaller."""
    return [
        re.sub(r"[\d,]+ (?=steps|levels)", "", line.split("|")[1].strip())
        for line in text.splitlines()
        if line[:1] == "|"
    ]


def test_the_first_line_names_machine_and_versions(report):
    for name in ("CPU cores", "Python", "fcnviz", "torch", "torchinfo"):
        assert re.search(rf"{name}.*\d|\d.*{name}", report.splitlines()[0])


def test_every_row_holds_a_number_or_a_verdict(report):
    rows = [
        line for line in report.splitlines() if line.startswith("| ") and "measured" not in line and "---" not in line
    ]
    assert len(rows) > 20
    assert [row for row in rows if not re.search(r"\d|none", row.split("|", 2)[2])] == []


def test_the_tables_that_are_pasted_are_the_ones_that_are_printed(report, pasted):
    assert HEADING.findall(report) == HEADING.findall(pasted)
    assert [cell for cell in first_cells(report) if "---" not in cell] == [
        cell for cell in first_cells(pasted) if "---" not in cell
    ]


def test_the_benchmark_of_the_law_fills_its_table():
    command = [sys.executable, FOLDER / "law.py", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 4 * 7
    assert all(re.search(r"\d", measured) for _, _, measured, *_ in rows)

"""The benchmarks run and fill their tables. No time is asserted here: a number of a busy machine means nothing."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from fcnviz import models
from fcnviz.patches import patch_cost

FOLDER = Path(__file__).parents[1] / "benchmarks"
BROWSER = runpy.run_path(str(Path(__file__).parent / "browser" / "conftest.py"))["find_browser"]()
HEADING = re.compile(r"^\| (\S.*?) *\| measured +\|", re.M)


def quickly(name):
    command = [sys.executable, FOLDER / name, "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def report():
    return quickly("trace.py")


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
    rows = [line.split("|")[1:-1] for line in quickly("law.py").splitlines()[2:]]
    assert len(rows) == 4 * 7
    assert all(re.search(r"\d", measured) for _, _, measured, *_ in rows)


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no browser to open the page in")
def test_the_benchmark_of_the_explorer_fills_its_tables():
    found, pasted = tables(quickly("explorer.py")), tables((FOLDER / "explorer.md").read_text("utf-8"))
    assert all(re.fullmatch(r"[\d.]+ ms", row["measured"]) for rows in found.values() for row in rows)
    bounds = [row["wanted"] for rows in found.values() for row in rows if row["wanted"]]
    assert bounds == ["≤ 16", "≤ 16", "≤ 16", "≥ 20", "≤ 16", "≤ 300"]
    assert without_times(found) == without_times(pasted)


def without_times(found):
    return {heading: [(row["what"], row["wanted"]) for row in rows] for heading, rows in found.items()}


def tables(text):
    """Each table as {heading: rows}; a row is {column: cell}, with `what` for the first one."""
    found = {}
    for block in re.findall(r"(?:^\|.*\n)+", text + "\n", re.M):
        heading, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()]
        found[heading[0]] = [dict(zip(["what", *heading[1:]], row, strict=True)) for row in rows]
    return found


def without_numbers(text):
    return re.sub(r"\d+", "#", text)


@pytest.mark.parametrize("name", ["surgery.py", "patches.py"])
def test_what_the_cast_and_a_dense_run_save_is_told_as_it_is_pasted(name):
    """`--quick` takes smaller images, and not all of them."""
    told, known = tables(quickly(name)), tables((FOLDER / "surgery.md").read_text("utf-8"))
    pasted = {without_numbers(heading): rows for heading, rows in known.items()}
    assert told
    for heading, rows in told.items():
        there = pasted[without_numbers(heading)]
        for row, same in zip(rows, there, strict=True):
            assert row.keys() - {"middle half"} == same.keys() - {"middle half"}
            assert [without_numbers(row["what"]), row.get("wanted")] == [
                without_numbers(same["what"]),
                same.get("wanted"),
            ]
            assert re.fullmatch(r"\d+\.\d\d ms", row["measured"]) and float(row["ratio"]) > 0


def test_what_is_pasted_holds_what_is_wanted():
    """Not a measurement of this machine: the file may not claim what its numbers deny."""
    rows = [row for table in tables((FOLDER / "surgery.md").read_text("utf-8")).values() for row in table]
    bounds = [(row["wanted"], float(row["ratio"])) for row in rows if row.get("wanted")]
    assert len(bounds) == 5
    assert all(ratio <= float(b[2:]) if b[0] == "≤" else ratio >= float(b[2:]) for b, ratio in bounds)


def test_dense_runs_are_compared_in_multiply_adds_as_they_are_counted():
    found = tables((FOLDER / "surgery.md").read_text("utf-8"))
    for net, image, patch in (
        (models.caffe_alexnet(), 500, 227),
        (models.vgg16("conv"), 256, 224),
        (models.vgg16("conv"), 384, 224),
    ):
        name = type(net).__name__.removeprefix("Caffe")
        rows, cost = found[f"{name}, {image}×{image} against patches of {patch}"], patch_cost(net, image, patch)
        wanted = [(cost.dense_macs, 1), (cost.dense_macs, 1)] + [(cost.patches_macs, cost.ratio)] * (len(rows) - 2)
        assert [row["multiply-adds"] for row in rows] == [f"{m / 1e9:.3f} G ({times:.2f}×)" for m, times in wanted]

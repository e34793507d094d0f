"""Golden files: what a view wrote once and a person has read. The style sheet is left out; it stands in the source.

`pytest --regenerate` writes them anew; read the difference before you commit it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write tests/golden anew instead of comparing with it")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with the golden file of that name, or writes it."""

    def check(name: str, text: str) -> None:
        file, text = GOLDEN / name, re.sub(r"(?s)<style>.*?</style>", "<style>…</style>", text)
        if request.config.getoption("--regenerate"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text + "\n", encoding="utf-8")
        assert file.is_file(), f"{file.name} does not exist; pytest --regenerate writes it"
        assert text + "\n" == file.read_text(encoding="utf-8"), (
            f"{file.name} differs; pytest --regenerate writes it anew"
        )

    return check

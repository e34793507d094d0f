"""A bar for work that takes longer than a second. It leaves nothing behind, in a terminal or in a saved notebook.

tqdm writes it. In a notebook its line is an output that is written anew each time and emptied at the end; the widget
that tqdm would show there is saved as a line of text that stands still for ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["progress"]

DELAY = 1.0  # seconds of work without a bar
SHARE = "{desc} {percentage:3.0f}%|{bar}| {elapsed}"


@contextmanager
def progress(total: int, what: str, unit: str = "") -> Iterator[Callable[[int], object]]:
    """Yields what is to be called with the number of units done since the last call.

    Without a unit the bar foretells no end: for work whose parts take very different times.

    >>> with progress(3, "counting") as advance:
    ...     for i in range(3):
    ...         advance(1)
    """
    from tqdm.std import tqdm  # only here, so that importing the package stays cheap

    shown: dict[str, Any] = {"unit": f" {unit}"} if unit else {"bar_format": SHARE}
    if _in_notebook():
        shown["file"] = _Line()
    with tqdm(total=total, desc=what, delay=DELAY, leave=False, **shown) as bar:
        yield bar.update


def _in_notebook() -> bool:
    """Whether a kernel runs this; nothing is imported to find out."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


class _Line:
    """A file for tqdm: what is written last is what a cell shows; blanks empty it."""

    def __init__(self) -> None:
        self.handle: Any = None

    def write(self, text: str) -> None:
        from IPython.display import display

        line = text.strip()
        data = {"text/plain": line} if line else {"text/html": ""}  # nothing at all would not be drawn over
        if self.handle is not None:
            self.handle.update(data, raw=True)
        elif line:
            self.handle = display(data, raw=True, display_id=True)

    def flush(self) -> None:
        """Nothing is held back."""

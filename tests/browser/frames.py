"""What is drawn is drawn in two frames: the networks, and then what is read below them."""

from __future__ import annotations

from playwright.sync_api import Page

FRAME = "() => new Promise((then) => requestAnimationFrame(() => setTimeout(then)))"


def all_drawn(page: Page) -> None:
    """Waits until both frames have been drawn."""
    for _ in range(2):
        page.evaluate(FRAME)

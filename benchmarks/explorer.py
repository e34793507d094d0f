"""How long a student waits: from a key to the painted frame, beside the same step through Python and matplotlib.

    python benchmarks/explorer.py            # a minute
    python benchmarks/explorer.py --quick    # only to see that it runs; the numbers mean nothing

The page runs in Chromium or Chrome, found as the browser tests find it, without waiting for the screen's next refresh.
The peer's row is its Python side alone: one trace of each network and one redrawn figure as PNG, the least that
ipywidgets with matplotlib has to do; the way to the browser and back comes on top. No kernel takes part in the page, so
a busy one changes nothing: tests/browser/test_widget.py shows that in JupyterLab.
"""

from __future__ import annotations

import io
import runpy
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from playwright.sync_api import Page, sync_playwright
from timing import Row, machine, seconds, table

from fcnviz import models, trace
from fcnviz.explorer import save_page
from fcnviz.records import Shape

BROWSERS = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "browser" / "conftest.py"))
UNLIMITED = ("--disable-frame-rate-limit", "--disable-gpu-vsync")

WATCH = """() => {
    window.waited = [];
    addEventListener("keydown", (event) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => window.waited.push(performance.now() - event.timeStamp);
        channel.port2.postMessage(0);
    }), true);
}"""
OPENING = """new MutationObserver((_, watcher) => {
    if (!document.querySelector(".fcnviz-explorer .block .face[width]")) return;
    watcher.disconnect();
    requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => { window.opened = performance.now(); };
        channel.port2.postMessage(0);
    });
}).observe(document, { childList: true, subtree: true, attributes: true })"""


def main(quick: bool) -> None:
    heads = {"Linear head": models.vgg16("linear"), "Convolutional head": models.vgg16("conv")}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        path = save_page(Path(folder) / "page.html", heads, within=256 if quick else 2048)
        program = BROWSERS["find_browser"]()
        browser = play.chromium.launch(executable_path=program, args=[*BROWSERS["QUIET"], *UNLIMITED])
        paints = [first_paint(browser.new_page(), path) for _ in range(3 if quick else 15)]
        keys = key_presses(browser.new_page(), path, 20 if quick else 400)
        browser.close()
    peer = python_side(heads, 3 if quick else 60)
    print(machine(), "", sep="\n")
    print(table("From a key to the painted frame, VGG16 twice", waits(keys, peer)), "", sep="\n")
    print(table("The page opens", [Row("networks painted, median", f"{median(paints):.0f} ms", wanted="≤ 300")]))


def first_paint(page: Page, path: Path) -> float:
    """Milliseconds from asking for the page to the first frame with the networks in it."""
    page.add_init_script(OPENING)
    page.goto(path.as_uri())
    while (found := page.evaluate("window.opened")) is None:
        page.wait_for_timeout(20)
    page.close()
    return float(found)


def key_presses(page: Page, path: Path, number: int) -> list[float]:
    """Milliseconds from each key to its frame; the sizes go up and down, through accepted and refused ones."""
    page.goto(path.as_uri())
    page.evaluate(WATCH)
    page.get_by_role("slider", name="Height of the image").focus()
    for i in range(number):
        page.keyboard.press("ArrowRight" if i % 80 < 40 else "ArrowLeft")
    page.wait_for_timeout(300)
    return [float(one) for one in page.evaluate("window.waited")]


def python_side(heads: dict[str, Any], number: int) -> list[float]:
    """Milliseconds of the same step in Python: shapes by `trace`, bars of heights and widths, one PNG."""
    figure, axes = plt.subplots(2, 1, figsize=(12, 4))
    return [1000 * seconds(redraw(figure, axes, heads, 224 + i % 40)) for i in range(number + 2)][2:]


def redraw(figure: Any, axes: Sequence[Any], heads: dict[str, Any], size: int) -> Callable[[], None]:
    def step() -> None:
        for ax, model in zip(axes, heads.values(), strict=True):
            ax.clear()
            heights = list(map(height, trace(model, (1, 3, size, size))))
            ax.bar(range(len(heights)), heights)
        figure.savefig(io.BytesIO(), format="png")

    return step


def height(step: Any) -> int:
    shape = step.output_shape
    return shape[2] if isinstance(shape, Shape) and len(shape) == 4 else 1


def waits(keys: list[float], peer: list[float]) -> list[Row]:
    ratio = median(peer) / median(keys)
    return [
        Row("explorer, median", f"{median(keys):.1f} ms", "1.00"),
        Row("explorer, 95 of 100 are shorter", f"{quantiles(keys, n=20)[-1]:.1f} ms", wanted="≤ 16"),
        Row("ipywidgets with matplotlib, Python side only", f"{median(peer):.1f} ms", f"{ratio:.1f}", wanted="≥ 20"),
    ]


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])

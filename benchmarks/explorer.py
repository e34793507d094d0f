"""How long a student waits: from a key to the painted picture, beside the same picture by ipywidgets and matplotlib.

    python benchmarks/explorer.py            # two minutes
    python benchmarks/explorer.py --quick    # only to see that it runs; the numbers mean nothing

Page and JupyterLab run in Chromium or Chrome, found as the browser tests find it, without waiting for the screen's next
refresh. What is timed, and how: explorer.md.
"""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from timing import Row, machine, table
from websocket import create_connection

from fcnviz import models
from fcnviz.explorer import save_page

BROWSERS = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "browser" / "conftest.py"))
UNLIMITED = ("--disable-frame-rate-limit", "--disable-gpu-vsync")
PORT = BROWSERS["free_port"]()
CODES = {"ArrowLeft": 37, "ArrowRight": 39}
BUSY = 2  # seconds for which the kernel takes no other work
REPEAT = 33  # milliseconds from key to key, as a keyboard repeats one that is held down
ROUND = 80  # keys: 40 sizes up, and down again to where they began
FIRST = 40  # keys that do not count, while the browser still compiles

PAINTED = """(then) => requestAnimationFrame(() => scheduler.postTask(then, { priority: "user-blocking" }))"""
WATCH = f"""() => {{
    const note = ({{ timeStamp }}) => ({PAINTED})(() => window.waited.push(performance.now() - timeStamp));
    if (!window.waited) addEventListener("keydown", note, true);
    window.waited = [];
}}"""
WATCH_IMAGE = f"""() => {{
    const shown = () => [...document.querySelectorAll(".jp-OutputArea img")].at(-1);
    let pressed = null, before = shown().src;
    addEventListener("keydown", (event) => {{ pressed = event.timeStamp; }}, true);
    new MutationObserver(async () => {{
        const image = shown(), start = pressed;
        if (start === null || !image || image.src === before) return;
        [before, pressed] = [image.src, null];
        await image.decode();
        ({PAINTED})(() => window.seen(performance.now() - start));
    }}).observe(document.body, {{ childList: true, subtree: true, attributes: true, attributeFilter: ["src"] }});
}}"""
OPENING = f"""new MutationObserver((_, watcher) => {{
    if (!document.querySelector(".fcnviz-explorer .block .face[width]")) return;
    watcher.disconnect();
    ({PAINTED})(() => {{ window.opened = performance.now(); }});
}}).observe(document, {{ childList: true, subtree: true, attributes: true }})"""
LATE = 'new Promise((_, fail) => setTimeout(() => fail(Error("no picture within a minute")), 60_000))'
WORK = """async (code) => {
    const kernel = window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
    await new Promise((busy) => { kernel.requestExecute({ code }).onIOPub = busy; });
}"""

HEADS = """
from fcnviz import models, trace
heads = {"Linear head": models.vgg16("linear"), "Convolutional head": models.vgg16("conv")}
"""
EXPLORER = """
from fcnviz.explorer import Explorer
Explorer(heads, (224, 224), within={within})
"""
PEER = """
%matplotlib inline
import ipywidgets
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

def draw(size):
    figure, axes = plt.subplots(2, 1, figsize=(12, 5))
    for ax, (name, model) in zip(axes, heads.items()):
        seen = trace(model, (1, 3, size, size))
        for place, step in enumerate(seen):
            shape = step.output_shape or step.input_shapes[0]
            high, wide = (shape[2:] if len(shape) == 4 else (1, 1))
            colour = "#0072b2" if step.output_shape else "#b01030"
            ax.add_patch(Rectangle((place, -high**0.4 / 2), min(wide**0.4 / 12, 0.9), high**0.4, color=colour))
            ax.text(place, -7, "×".join(map(str, shape[1:])), rotation=90, fontsize=7, va="top")
        ax.set(xlim=(0, len(seen)), ylim=(-16, 7), title=seen.failure.explanation if seen.failure else name)
        ax.axis("off")
    plt.show()

size = ipywidgets.IntSlider(224, 1, 2048)
ipywidgets.VBox([size, ipywidgets.interactive_output(draw, {"size": size})])
"""


def main(quick: bool) -> None:
    with sync_playwright() as play:
        program, args = BROWSERS["find_browser"](), [*BROWSERS["QUIET"], *UNLIMITED, f"--remote-debugging-port={PORT}"]
        browser = play.chromium.launch(executable_path=program, args=args)
        page = list(on_the_page(browser, quick))
        lab = list(in_jupyterlab(browser, quick))
        browser.close()
    print(machine(), "", sep="\n")
    print(table("In JupyterLab: from a key to the painted picture, VGG16 twice", lab), "", sep="\n")
    print(table("On a page of its own", page))


# A page of its own


def on_the_page(browser: Browser, quick: bool) -> Iterator[Row]:
    heads = {"Linear head": models.vgg16("linear"), "Convolutional head": models.vgg16("conv")}
    with tempfile.TemporaryDirectory() as folder:
        path = save_page(Path(folder) / "page.html", heads, within=272 if quick else 2048)
        paints = [first_paint(browser.new_page(), path) for _ in range(3 if quick else 15)]
        opened = browser.new_page()
        opened.goto(path.as_uri())
        keys = explorer_keys(opened, 1 if quick else 6)
        opened.close()
    yield from told("explorer", keys)
    yield Row("the page opens: networks painted, median", f"{median(paints):.1f} ms", wanted="≤ 300")


def first_paint(page: Page, path: Path) -> float:
    """Milliseconds from asking for the page to the first frame with the networks in it."""
    page.add_init_script(OPENING)
    page.goto(path.as_uri())
    while (found := page.evaluate("window.opened")) is None:
        page.wait_for_timeout(20)
    page.close()
    return float(found)


def explorer_keys(page: Page, rounds: int) -> list[float]:
    """Milliseconds from each key to the frame that follows it.

    The sizes go up and down, through accepted and refused ones.
    """
    page.evaluate(WATCH)
    slider = page.get_by_role("slider", name="Height of the image")
    slider.focus()
    start = slider.input_value()
    with keyboard(page) as press:
        for i in range(rounds * ROUND):
            press(up_or_down(i))
            time.sleep(REPEAT / 1000)
    page.wait_for_timeout(300)
    waited = page.evaluate("window.waited")
    assert len(waited) == rounds * ROUND, "a key was lost"
    assert slider.input_value() == start, "a key was undone"
    return [float(one) for one in waited][FIRST:]


def up_or_down(i: int) -> str:
    return "ArrowRight" if i % ROUND < ROUND / 2 else "ArrowLeft"


@contextmanager
def keyboard(page: Page) -> Iterator[Callable[[str], None]]:
    """Presses keys as a keyboard does, which takes no part of the machine's time and waits for no answer.

    Playwright's own wakes two programs at each key, while the browser draws.
    """
    session = page.context.new_cdp_session(page)
    target = session.send("Target.getTargetInfo")["targetInfo"]["targetId"]
    session.detach()
    numbers = count(1)
    with closing(create_connection(f"ws://127.0.0.1:{PORT}/devtools/page/{target}", suppress_origin=True)) as line:

        def press(key: str) -> None:
            params = {"type": "rawKeyDown", "key": key, "code": key, "windowsVirtualKeyCode": CODES[key]}
            line.send(json.dumps({"id": next(numbers), "method": "Input.dispatchKeyEvent", "params": params}))

        yield press


# JupyterLab


def in_jupyterlab(browser: Browser, quick: bool) -> Iterator[Row]:
    with jupyterlab(
        {"explorer": (HEADS, EXPLORER.format(within=272 if quick else 2048)), "peer": (HEADS, PEER)}
    ) as server:
        idle, *busy = measured(browser, server, "explorer", lambda page: explorer_in_lab(page, 1 if quick else 6))
        peer, frozen = measured(browser, server, "peer", lambda page: peer_in_lab(page, 4 if quick else 60))
    usual = median(idle)
    yield from told("explorer", idle, ratio=1.0)
    for what, keys in zip(("kernel waits", "kernel computes"), busy, strict=True):
        yield from told(f"explorer, {what}", keys)
    ratio = median(peer) / usual
    yield Row("ipywidgets with matplotlib, median", f"{median(peer):.1f} ms", f"{ratio:.2f}", wanted="≥ 20")
    what = f"ipywidgets with matplotlib, kernel waits for {BUSY} s"
    yield Row(what, f"{frozen:.1f} ms", f"{frozen / usual:.2f}")


@contextmanager
def jupyterlab(notebooks: dict[str, tuple[str, ...]]) -> Iterator[Any]:
    """A JupyterLab of its own, with these notebooks in it."""
    home, port = Path(tempfile.mkdtemp()), BROWSERS["free_port"]()
    (home / "notebooks").mkdir()
    for name, cells in notebooks.items():
        (home / "notebooks" / f"{name}.ipynb").write_text(json.dumps(notebook(cells)), "utf-8")
    with (home / "log.txt").open("w") as log:
        start = BROWSERS["command"](home / "notebooks", port)
        process = subprocess.Popen(start, env=BROWSERS["own_folders"](home), stdout=log, stderr=subprocess.STDOUT)
    server = BROWSERS["Server"](f"http://127.0.0.1:{port}/")
    try:
        wait_for(lambda: server.is_up() or process.poll() is not None, 120)
        assert process.poll() is None, (home / "log.txt").read_text()
        yield server
        server.end_sessions()
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(home, ignore_errors=True)


def notebook(cells: tuple[str, ...]) -> dict[str, Any]:
    empty: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    code = [{**empty, "source": cell.strip()} for cell in cells]
    return {"cells": code, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"waited for {seconds} s")
        time.sleep(0.05)


def measured(browser: Browser, server: Any, name: str, keys: Callable[[Page], tuple[Any, ...]]) -> tuple[Any, ...]:
    """Milliseconds of each key on a fresh kernel that has run the notebook: when it is idle, and while it is busy."""
    context = browser.new_context(viewport={"width": 1500, "height": 1000})
    lab = BROWSERS["Lab"](context.new_page(), server)
    lab.open(f"{name}.ipynb")
    lab.run_all()
    try:
        return keys(lab.page)
    finally:
        context.close()


def explorer_in_lab(page: Page, rounds: int) -> tuple[list[float], ...]:
    page.locator(".fcnviz-explorer .block .face[width]").first.wait_for(timeout=120_000)
    idle = explorer_keys(page, rounds)
    page.evaluate(WORK, f"import time; time.sleep({2 * REPEAT / 1000 * rounds * ROUND})")
    waits = explorer_keys(page, rounds)
    page.evaluate(WORK, "while True: sum(range(1000))")  # until the kernel is ended
    return idle, waits, explorer_keys(page, rounds)


def peer_in_lab(page: Page, number: int) -> tuple[list[float], float]:
    page.locator(".jp-OutputArea img").last.wait_for(timeout=120_000)
    page.evaluate(WATCH_IMAGE)
    handle = page.locator(".noUi-handle")
    with keyboard(page) as press:
        idle = [pressed(page, handle, press, i) for i in range(number + 2)][2:]
        page.evaluate(WORK, f"import time; time.sleep({BUSY})")
        return idle, pressed(page, handle, press, 0)


def pressed(page: Page, handle: Any, press: Callable[[str], None], i: int) -> float:
    """Milliseconds of one key; the next one waits until its picture is there."""
    page.evaluate("() => { window.shown = new Promise((seen) => { window.seen = seen; }); }")
    handle.focus()
    press(up_or_down(i))
    took = float(page.evaluate(f"Promise.race([window.shown, {LATE}])"))
    page.wait_for_timeout(50)
    return took


def told(what: str, keys: list[float], ratio: float | None = None) -> Iterator[Row]:
    yield Row(f"{what}, median", f"{median(keys):.1f} ms", "" if ratio is None else f"{ratio:.2f}")
    yield Row(f"{what}, 95 of 100 are shorter", f"{longest(keys):.1f} ms", wanted="≤ 16")


def longest(keys: list[float]) -> float:
    """What 95 of 100 are shorter than."""
    return quantiles(keys, n=20)[-1]


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])

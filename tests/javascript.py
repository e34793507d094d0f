"""explorer.js asked directly, without a page: by node if there is one, else by the browser of the browser tests."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

MODULE = Path(__file__).parents[1] / "fcnviz" / "explorer" / "explorer.js"


def asked(expression: str, data: Any, folder: Path) -> Any:
    """The value of `expression`, in which `js` is the module and `data` is what was handed over."""
    node = shutil.which("node")
    return _by_node(node, expression, data, folder) if node else _by_browser(expression, data)


def _by_node(node: str, expression: str, data: Any, folder: Path) -> Any:
    module, script = folder / "explorer.mjs", folder / "ask.mjs"
    module.write_text(MODULE.read_text("utf-8"), "utf-8")
    (folder / "data.json").write_text(json.dumps(data), "utf-8")
    script.write_text(
        'import * as js from "./explorer.mjs";\nimport { readFileSync } from "node:fs";\n'
        'const data = JSON.parse(readFileSync(new URL("./data.json", import.meta.url), "utf8"));\n'
        f"process.stdout.write(JSON.stringify({expression}));\n",
        "utf-8",
    )
    done = subprocess.run([node, script], capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _by_browser(expression: str, data: Any) -> Any:
    from playwright.sync_api import sync_playwright

    browsers = runpy.run_path(str(Path(__file__).parent / "browser" / "conftest.py"))
    program = browsers["find_browser"]()
    if program is None:
        pytest.skip("neither node nor a browser to run explorer.js")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=list(browsers["QUIET"]))
        page = browser.new_page()
        source = (
            "async ({code, data}) => { const url = URL.createObjectURL(new Blob([code], {type: 'text/javascript'}));"
        )
        ask = f"{source} const js = await import(url); return {expression}; }}"
        value = page.evaluate(ask, {"code": MODULE.read_text("utf-8"), "data": data})
        browser.close()
    return value

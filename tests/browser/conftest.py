"""A real JupyterLab in a real browser: Chromium or Chrome found on this machine, nothing downloaded.

`FCNVIZ_CHROMIUM` names the browser's program where it is not found by itself. Without a browser these tests are
skipped and say so; with `FCNVIZ_BROWSER=required` they fail instead.

Notebooks are opened from a copy, so that no run changes a committed file.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TOKEN = "fcnviz"
INSTALL = "install Chromium or Chrome (Debian: apt install chromium), or set FCNVIZ_CHROMIUM to its program"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"%ProgramFiles%\Google\Chrome\Application\chrome.exe",
    r"%ProgramFiles(x86)%\Google\Chrome\Application\chrome.exe",
    r"%LocalAppData%\Google\Chrome\Application\chrome.exe",
    r"%ProgramFiles(x86)%\Microsoft\Edge\Application\msedge.exe",
)
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SETTINGS: dict[str, dict[str, Any]] = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
}


HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("browser")


def find_browser() -> str | None:
    """The program of a Chromium-like browser on this machine, or None."""
    named = os.environ.get("FCNVIZ_CHROMIUM")
    if named:
        return shutil.which(named)
    found = (shutil.which(program) for program in PROGRAMS)
    placed = (shutil.which(os.path.expandvars(place)) for place in PLACES)
    return next((program for program in (*found, *placed) if program), None)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    program = find_browser()
    if program is None:
        missing = pytest.fail if os.environ.get("FCNVIZ_BROWSER") == "required" else pytest.skip
        missing(f"no browser for the browser tests: {INSTALL}")
    return {"headless": True, **browser_type_launch_args, "executable_path": program, "args": list(QUIET)}


@dataclass(frozen=True)
class Server:
    """A running JupyterLab."""

    url: str

    def request(self, method: str, path: str, data: bytes | None = None) -> bytes:
        asked = urllib.request.Request(f"{self.url}{path}", data, method=method)
        asked.add_header("Authorization", f"token {TOKEN}")
        asked.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.read()

    def end_sessions(self) -> None:
        """Shut down every kernel: a stale one would keep widgets of an earlier test."""
        for session in json.loads(self.request("GET", "api/sessions")):
            self.request("DELETE", f"api/sessions/{session['id']}")

    def is_up(self) -> bool:
        try:
            self.request("GET", "api/status")
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_settings(folder: Path) -> None:
    for plugin, values in SETTINGS.items():
        file = folder / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")


def own_folders(home: Path) -> dict[str, str]:
    """An environment in which Jupyter reads and writes nothing of the user's."""
    write_settings(home / "settings")
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    return {**os.environ, **{name: str(home / folder) for name, folder in folders.items()}}


def command(root: Path, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1"),
        *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}"),
        *("--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"),
    ]


@pytest.fixture(scope="session")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("jupyter")
    shutil.copytree(NOTEBOOKS, home / "notebooks", ignore=shutil.ignore_patterns(".*"))
    port = free_port()
    with (home / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command(home / "notebooks", port), env=own_folders(home), stdout=log, stderr=subprocess.STDOUT
        )
    running = Server(f"http://127.0.0.1:{port}/")
    try:
        deadline = time.monotonic() + 60
        while not running.is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"JupyterLab did not start:\n{(home / 'log.txt').read_text()}")
            time.sleep(0.2)
        yield running
        running.end_sessions()
    finally:
        process.terminate()
        process.wait(timeout=30)


@dataclass
class Lab:
    """One browser page with JupyterLab in it, and everything that went wrong on it."""

    page: Page
    server: Server
    errors: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.note_request(request.url))
        self.page.on("websocket", lambda websocket: self.note_request(websocket.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def note_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.server.url).netloc:
            self.external.append(url)

    def open(self, notebook: str) -> None:
        """Open a notebook on a fresh kernel; returns when the kernel is ready."""
        self.server.end_sessions()
        self.page.goto(f"{self.server.url}lab/tree/{notebook}?token={TOKEN}&reset")
        current = "window.jupyterapp?.shell.currentWidget?.context?.path === path"
        self.page.wait_for_function(f"path => {current}", arg=notebook, timeout=60_000)
        self.page.evaluate("async () => await window.jupyterapp.shell.currentWidget.context.sessionContext.ready")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def run_all(self) -> None:
        """Run every cell; fails if one of them raised."""
        self.page.evaluate("async () => await window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.wait_until_idle()
        assert self.raised() == []

    def wait_until_idle(self) -> None:
        status = "window.jupyterapp.shell.currentWidget.context.sessionContext.session?.kernel?.status"
        self.page.wait_for_function(f"() => {status} === 'idle'", timeout=120_000)

    def raised(self) -> list[str]:
        """The errors of cells that raised."""
        outputs = "window.jupyterapp.shell.currentWidget.content.model.cells"
        return self.page.evaluate(
            f"""() => [...{outputs}].flatMap(cell => cell.toJSON().outputs ?? [])
                .filter(output => output.output_type === 'error').map(output => output.ename + ': ' + output.evalue)"""
        )

    def theme(self, name: str) -> None:
        """Change JupyterLab's theme: "JupyterLab Light" or "JupyterLab Dark"."""
        change = "async theme => await window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
        self.page.evaluate(change, name)
        light = "true" if "Light" in name else "false"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")


@pytest.fixture(scope="module")
def lab(browser: Browser, server: Server) -> Iterator[Lab]:
    """One page for all tests of a file: opening a notebook costs seconds."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = Lab(context.new_page(), server)
    yield opened
    context.close()

"""The explorer as one HTML file: no server, no network, no Python. It works from a disk, and offline.

The page may run one script and use one style sheet, both named by their digest, and may load nothing at all. Scene and
names lie in it as JSON with <, > and & written as escapes: nothing in them can end the script or begin another.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from fcnviz import layout
from fcnviz.explorer.scene import WITHIN, lanes, scene
from fcnviz.explorer.still import still

__all__ = ["html", "save_page", "source"]


def source(name: str) -> str:
    """The text of a file of the explorer."""
    return files("fcnviz.explorer").joinpath(name).read_text("utf-8")


def save_page(
    path: str | Path,
    models: Any = None,
    size: tuple[int, int] = (224, 224),
    *,
    within: int = WITHIN,
    channels: int | None = None,
    presets: Sequence[tuple[int, int]] | None = None,
    title: str = "What does the size of an image decide?",
) -> Path:
    """Write the explorer of `models` to an HTML file, and return its path.

    Args:
        path: the file; an existing one is replaced.
        models: a network, or a dict of label: network, up to three; VGG16 with its two heads if None.
        size: height and width shown first.
        within: heights and widths from 1 up to this can be chosen.
        channels: channels of the image; if None, those that the first convolution takes.
        presets: sizes offered as buttons; if None, sizes at which something happens to these networks.
        title: heading and title of the page.

    Raises:
        InputError: no network, or a size outside the range.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")
    shown = lanes(models, channels, within)
    data = scene(shown, size, within, presets)
    path.write_text(html(data, still(shown, data["columns"], size).html, title), encoding="utf-8")
    return path


def html(data: Mapping[str, Any], static: str, title: str) -> str:
    """A page around a scene; `static` is what stands in it where scripts do not run."""
    script = f"{source('explorer.js')}{source('page.js')}"
    style = f"{_PAGE}{source('explorer.css')}"
    allowed = f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:"
    name = layout.escaped(layout.plain(title))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"{allowed}; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n<h1>{name}</h1>\n"
        f'<div id="explorer">{static}</div>\n</main>\n'
        f'<script type="application/json" id="scene">{embedded(data)}</script>\n'
        f'<script type="module">{script}</script>\n</body>\n</html>\n'
    )


def embedded(data: Any) -> str:
    """JSON that can stand inside a script element.

    >>> embedded({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


_PAGE = """
@media screen { :root { color-scheme: light dark; } }
body { margin: 0; background: #fff; color: #1b1b1b; font: 14px/1.45 system-ui, sans-serif; }
main { max-width: 2200px; margin: 0 auto; padding: 10px 16px 24px; }
h1 { font-size: 20px; margin: 2px 0 10px; overflow-wrap: anywhere; }
#explorer > img { max-width: 100%; height: auto; }
#explorer > table { border-collapse: collapse; }
#explorer > table :is(th, td, caption) { padding: 1px 18px 1px 0; text-align: left; }
@media screen and (prefers-color-scheme: dark) { body { background: #151618; color: #e8e8e8; } }
"""

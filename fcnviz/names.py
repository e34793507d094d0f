"""Names that a screen reader speaks, for what ipywidgets leaves nameless: the handles of sliders, and a picture.

ipywidgets writes the description of a slider beside it, and ties the two together for the eye alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anywidget
import traitlets

__all__ = ["Names"]


class Names(anywidget.AnyWidget):
    """Nothing to be seen: it names what stands in the same box.

    Args:
        box: the class of the box, as `add_class` gave it.
        sliders: a name for each, in the order in which they stand.
        picture: the image of the box in words; "" leaves it as it is.

    >>> Names("fcnviz-windows", ["size n", "kernel k"])
    names of size n, kernel k
    """

    _esm = Path(__file__).with_name("names.js").read_text("utf-8")
    box = traitlets.Unicode().tag(sync=True)
    sliders = traitlets.List(traitlets.Unicode()).tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)

    def __init__(self, box: str, sliders: Iterable[str], picture: str = "") -> None:
        super().__init__(box=box, sliders=list(sliders), picture=picture)

    def __repr__(self) -> str:
        return f"names of {', '.join(self.sliders)}"

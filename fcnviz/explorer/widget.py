"""The explorer in a notebook: a widget whose height, width and step are traits, on both sides of the wire.

The picture moves without Python. Python is asked for a trace only where a network has no law.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import anywidget
import traitlets
from IPython.display import display

from fcnviz.errors import FcnvizError
from fcnviz.explorer import page
from fcnviz.explorer.scene import WITHIN, Heard, Lane, frozen, grown, lanes, scene
from fcnviz.explorer.still import Still, still
from fcnviz.twin import on_meta, parts_of, twin

__all__ = ["Explorer"]

WIDGET = "application/vnd.jupyter.widget-view+json"
TALL, LANE = 750, 260  # pixels of the frame in a saved notebook, and for each network: the page at 1280 pixels

# The picture is for where styles are taken out. In JupyterLab the page gives way to a widget that lives or is on its
# way, and the widget, once it is marked as not found, to the page; which waits until it can know of a widget.
# Each :has() names what it is asked of and looks no deeper than it must: what changes below it has it asked again.
GIVES_WAY = """
.MARK .image { display: none; }
.jp-OutputArea .MARK { animation: MARK 0.3s; }
@keyframes MARK { from, to { display: none; } }
.jp-OutputArea-child:has(> * > .MARK):has(+ * > .jp-OutputArea-output.lm-Panel:not(.jupyter-widgets)),
.jp-OutputArea-child:has(> * > .MARK) + .jp-OutputArea-child:has(> .jupyter-widgets) { display: none; }
"""


class Explorer(anywidget.AnyWidget):
    """Networks under one image size: every step as a box that follows H and W, and why a network stops.

    Args:
        models: a network, or a dict of label: network, up to three; VGG16 with its two heads if None.
        size: height and width shown first.
        within: heights and widths from 1 up to this can be chosen.
        channels: channels of the image; if None, those that the first convolution takes.
        presets: sizes offered as buttons; if None, sizes at which something happens to these networks.

    `height`, `width`, `step` (counted from 0) and `selected` (the name of that step) can be read, set, observed and
    linked.

    In a saved notebook it is the interactive page, wherever the widget's kernel is gone: opened again in JupyterLab, or
    exported to HTML; and a picture where the notebook is not trusted.

    Raises:
        InputError: no network, or a size outside the range.
        TraitError: a trait is set to a size outside the range, or to a step that is none.

    >>> from torch import nn
    >>> view = Explorer(nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), nn.Linear(6272, 10)), (32, 32), within=64)
    >>> view.height = 33
    >>> view
    An image of 33×32: Sequential stops at 2.
    """

    _esm = page.source("explorer.js")
    _css = page.source("explorer.css")
    scene = traitlets.Dict(read_only=True).tag(sync=True)
    height = traitlets.Int(1).tag(sync=True)
    width = traitlets.Int(1).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)
    saved = traitlets.Unicode(read_only=True).tag(sync=True)

    def __init__(
        self,
        models: Any = None,
        size: tuple[int, int] = (224, 224),
        *,
        within: int = WITHIN,
        channels: int | None = None,
        presets: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        found = lanes(models, channels, within)
        shown = scene(found, size, within, presets)
        super().__init__()
        self._lanes = tuple(_weightless(lane, size) for lane in found)
        self.set_trait("scene", shown)
        self.set_trait("saved", f"fcnviz-{self.model_id}")
        self.height, self.width, self.selected = *size, shown["columns"][0]
        self.on_msg(self._asked)

    @traitlets.validate("height", "width")
    def _size_within(self, proposal: Mapping[str, Any]) -> int:
        size, most = proposal["value"], self.scene.get("within", 1)
        if not 1 <= size <= most:
            raise traitlets.TraitError(f"{proposal['trait'].name} = {size}: sizes from 1 to {most} are shown here")
        return size

    @traitlets.validate("step")
    def _step_there(self, proposal: Mapping[str, Any]) -> int:
        step, columns = proposal["value"], self.scene.get("columns", [""])
        if not 0 <= step < len(columns):
            raise traitlets.TraitError(f"step = {step}: there are steps 0 to {len(columns) - 1}")
        return step

    @traitlets.validate("selected")
    def _name_there(self, proposal: Mapping[str, Any]) -> str:
        name, columns = proposal["value"], self.scene.get("columns", [""])
        if name not in columns:
            raise traitlets.TraitError(f"no step is named {name!r}; there are {', '.join(columns)}")
        return name

    @traitlets.observe("step")
    def _name_follows(self, change: Mapping[str, Any]) -> None:
        self.selected = self.scene["columns"][change["new"]]

    @traitlets.observe("selected")
    def _step_follows(self, change: Mapping[str, Any]) -> None:
        self.step = self.scene["columns"].index(change["new"])

    def _asked(self, _: Any, content: Any, buffers: Any) -> None:
        """The picture asks for the trace of a network at a size."""
        lane, height, width = (content[key] for key in ("ask", "height", "width"))
        answer: dict[str, Any] = {"lane": lane, "height": height, "width": width}
        try:
            answer["law"] = frozen(self._lanes[lane].traced((height, width)))
            self._grow(lane, answer["law"]["steps"])
        except FcnvizError as error:
            answer["error"] = str(error)
        self.send(answer)

    def _grow(self, lane: int, steps: Sequence[Mapping[str, Any]]) -> None:
        """Steps that were in no trace before become columns; the selected one stays selected."""
        new = grown(self.scene, lane, steps)
        if new["columns"] != self.scene["columns"]:
            self.set_trait("scene", new)
            self.step = new["columns"].index(self.selected)

    def _still(self) -> Still:
        return still(self._lanes, self.scene["columns"], (self.height, self.width))

    def __repr__(self) -> str:
        return self._still().summary

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget; where it cannot be shown, the page in a frame; where no script may run, its picture."""
        data, about = super()._repr_mimebundle_(**kwargs) or ({}, {})
        here = self._still()
        return {**data, "text/plain": here.text, "text/html": self._saved(here)}, about

    def _ipython_display_(self) -> None:
        """Two outputs, for JupyterLab looks at no other part of an output that holds a widget it may show."""
        if self._repr_mimebundle_ is None:
            raise NotImplementedError  # a closed widget has nothing to show but its repr
        data, about = self._repr_mimebundle_()
        widget = data.pop(WIDGET)
        display(data, raw=True)
        display({WIDGET: widget, "text/plain": "", "text/html": ""}, metadata=about, raw=True)

    def _saved(self, here: Still) -> str:
        data = {**self.scene, "size": [self.height, self.width], "step": self.step}
        whole = escape(page.html(data, here.html, "fcnviz explorer"), quote=True)
        return (
            f"<style>{GIVES_WAY.replace('MARK', self.saved)}</style>"
            f"<div class='{self.saved}'><div class='image'>{here.image}</div>"
            f"<iframe title='fcnviz explorer' sandbox='allow-scripts' srcdoc=\"{whole}\" "
            f"style='width:100%;height:{TALL + LANE * len(self._lanes)}px;border:0'></iframe></div>"
        )


def _weightless(lane: Lane, size: tuple[int, int]) -> Lane:
    """The same lane with a twin that stores no numbers: a notebook keeps every widget that was ever shown."""
    if lane.law is not None:
        light = twin(lane.law.parts, on_meta, keep_mode=True)
        return replace(lane, model=light[0][1], law=replace(lane.law, parts=light), heard=Heard())
    if lane.traced(size).method == "real":
        return lane  # its shapes depend on its weights
    return replace(lane, model=twin(parts_of(lane.model), on_meta, keep_mode=True)[0][1])

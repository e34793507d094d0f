"""One window under sliders: size, kernel, stride, padding and dilation, where each window stands, and what comes out.

The layer is a real one and its size the traced one. A layer that PyTorch refuses is shown with the reason.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import partial
from html import escape
from typing import Any

import ipywidgets as ipw
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from fcnviz.arithmetic import formulas, line
from fcnviz.exercises.nets import Layer, Net, conv, pool, traced
from fcnviz.figures.windows import unread, windows, windows_alt
from fcnviz.records import Step, Trace

__all__ = ["WindowSliders"]

KINDS = ("convolution", "pooling, floor", "pooling, ceil")
RANGES: Mapping[str, tuple[int, int, str]] = {
    "size": (1, 16, "size n"),
    "kernel": (1, 7, "kernel k"),
    "stride": (1, 5, "stride s"),
    "padding": (0, 3, "padding p"),
    "dilation": (1, 3, "dilation d"),
}
HEARD_ONLY = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"  # an image widget has no alt
ROWS = 22  # the most windows there can be: 16 cells, 3 of padding on either side, a kernel of 1
PLACES = 22
LEAST_ROWS = 13


class WindowSliders(ipw.VBox):  # type: ignore[misc]
    """A layer's window under sliders, along one axis.

    `size`, `kernel`, `stride`, `padding`, `dilation` and `kind` are what is shown: move the sliders, or `show` others.

    >>> view = WindowSliders(size=12, kernel=3, stride=2)
    >>> view
    nn.Conv2d(1, 1, 3, stride=2): 12 → 5
    >>> view.show(kind="pooling, ceil")
    >>> view
    nn.MaxPool2d(3, stride=2, ceil_mode=True): 12 → 6
    """

    def __init__(
        self,
        size: int = 12,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        kind: str = KINDS[0],
    ) -> None:
        first = {"size": size, "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        self.sliders = {name: _slider(name, value) for name, value in first.items()}
        self.kinds = ipw.ToggleButtons(options=KINDS, value=kind, description="layer", tooltips=KINDS)
        self.words, self.picture = ipw.HTML(), ipw.Image(format="png", width=768)
        self.figure = Figure(figsize=(8, 6.2))  # one for all: a new one each time would take longer than the drawing
        self.ax = self.figure.add_axes((0.03, 0.06, 0.8, 0.89))
        for control in (*self.sliders.values(), self.kinds):
            control.observe(partial(self._draw), "value")
        controls = ipw.HBox(list(self.sliders.values()), layout=ipw.Layout(flex_flow="row wrap"))
        super().__init__([self.kinds, controls, self.words, self.picture])
        self.add_class("fcnviz-windows")
        self._draw()

    def show(self, kind: str | None = None, **sizes: int) -> None:
        """Set some of the controls; the others stay."""
        if kind is not None:
            self.kinds.value = kind
        for name, value in sizes.items():
            self.sliders[name].value = value

    @property
    def layer(self) -> Layer:
        """The layer that the controls describe."""
        at = {name: slider.value for name, slider in self.sliders.items()}
        named = {name: at[name] for name, usual in (("padding", 0), ("dilation", 1)) if at[name] != usual}
        if self.kinds.value == KINDS[0]:
            return conv(1, 1, at["kernel"], stride=at["stride"], **named)
        return pool(at["kernel"], at["stride"], self.kinds.value == KINDS[2]).having(**named)

    @property
    def trace(self) -> Trace:
        size = self.sliders["size"].value
        return traced(Net((self.layer,)), (1, size, size))

    def _draw(self, _: object = None) -> None:
        found, code = self.trace, escape(str(self.layer))
        step = found[-1]
        if found.failure:
            self.words.value = f"<code>{code}</code><br>✗ {escape(found.failure.explanation)}"
        else:
            sums, told = escape(_sum_of(step)), escape(windows_alt(step))
            self.words.value = (
                f"<code>{code}</code><br>{sums}<br>{unread(step)}<span style='{HEARD_ONLY}'>{told}</span>"
            )
            self._paint(step)
        self.picture.layout.visibility = "hidden" if found.failure else "visible"

    def _paint(self, step: Step) -> None:
        self.ax.clear()
        windows(step, ax=self.ax)
        left = self.ax.get_xlim()[0]
        self.ax.set(xlim=(left, left + PLACES), ylim=(ROWS, -1.75))
        drawn = io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=144, bbox_inches=self._shown())
        self.picture.value = drawn.getvalue()

    def _shown(self) -> Bbox:
        """The part of the figure with something in it: at least so much that the page below seldom moves."""
        wide, high = self.figure.get_size_inches()
        box = self.ax.get_position()
        inches = box.height * high / (ROWS + 1.75)  # of a line
        lines = max(LEAST_ROWS, *(patch.get_y() + 3 for patch in self.ax.patches if isinstance(patch, Rectangle)))
        return Bbox([[0, max(0, box.y1 * high - (1.75 + lines) * inches)], [wide, high]])

    def __repr__(self) -> str:
        found = self.trace
        made = "✗" if found.failure else found[-1].output_shape[-1]  # type: ignore[index]  # a map
        return f"{self.layer}: {self.sliders['size'].value} → {made}"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Where no widget can live, what it says."""
        seen = base64.b64encode(self.picture.value).decode("ascii")
        alt = "" if self.trace.failure else escape(windows_alt(self.trace[-1]))
        image = (
            f'<br><img alt="{alt}" src="data:image/png;base64,{seen}" style="width:768px;max-width:100%">'
            if alt
            else ""
        )
        still = f'<div class="fcnviz-windows">{self.words.value}{image}</div>'
        return {**super()._repr_mimebundle_(**kwargs), "text/plain": repr(self), "text/html": still}


def _slider(name: str, value: int) -> ipw.IntSlider:
    low, high, words = RANGES[name]
    return ipw.IntSlider(value, low, high, description=words, tooltip=words, layout=ipw.Layout(width="260px"))


def _sum_of(step: Step) -> str:
    """The arithmetic of one axis, in symbols and in numbers."""
    formula = next(formula for formula in formulas(step) if formula.axis == "W")
    return f"{formula.symbols.replace('W', 'n')}  =  {line(formula)}"

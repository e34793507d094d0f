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
from fcnviz.figures.canvas import FONT, RUNS
from fcnviz.figures.captioned import growing
from fcnviz.figures.windows import unread, windows, windows_alt
from fcnviz.names import Names
from fcnviz.records import Failure, Step, Trace

__all__ = ["WindowSliders"]

KINDS = ("convolution", "pooling, floor", "pooling, ceil")
RANGES: Mapping[str, tuple[int, int, str]] = {
    "size": (1, 16, "size n"),
    "kernel": (1, 7, "kernel k"),
    "stride": (1, 5, "stride s"),
    "padding": (0, 3, "padding p"),
    "dilation": (1, 3, "dilation d"),
}
ROWS = 25  # the most windows there can be, 22: 16 cells, 3 of padding on either side, a kernel of 1; and the output
PLACES = 22
LEAST_ROWS = 10
WIDE = 768  # pixels of the picture on the page
ONE_LINE = "<div style='overflow-x:auto;white-space:nowrap'>{}</div>"
BOX = "fcnviz-windows"
BLUES = "The two blues only tell neighbours apart."


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
        self.words, self.picture = ipw.HTML(), ipw.HTML()  # an image widget would have no alternative text
        self.figure = Figure(figsize=(8, 7))  # one for all: a new one each time would take longer than the drawing
        self.ax = self.figure.add_axes((0.03, 0.06, 0.8, 0.89))
        for name, slider in self.sliders.items():
            slider.observe(partial(_name, slider, name), "value")
        for control in (*self.sliders.values(), self.kinds):
            control.observe(partial(self._draw), "value")
        controls = ipw.HBox(list(self.sliders.values()), layout=ipw.Layout(flex_flow="row wrap"))
        names = Names(BOX, [RANGES[name][2] for name in self.sliders])
        super().__init__([self.kinds, controls, self.words, self.picture, names])
        self.add_class(BOX)
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
            self.words.value = f"<code>{code}</code>{_refusal(found.failure)}"
        else:
            sums = "".join(ONE_LINE.format(escape(line)) for line in _sum_of(step))
            self.words.value = f"<code>{code}</code>{sums}{unread(step)} {BLUES}"
            self._paint(step)
        self.picture.layout.display = "none" if found.failure else None

    def _paint(self, step: Step) -> None:
        self.ax.clear()
        windows(step, ax=self.ax)
        self._add_output(step)
        left = self.ax.get_xlim()[0]
        self.ax.set(xlim=(left, left + PLACES), ylim=(ROWS, -1.75))
        drawn = io.BytesIO()
        part = self._shown()
        self.figure.savefig(drawn, format="png", dpi=144, bbox_inches=part)
        self.png = drawn.getvalue()
        self.picture.value = _image(self.png, windows_alt(step), round(WIDE * part.height / part.width))

    def _add_output(self, step: Step) -> None:
        """The cells that come out, in a row under the windows that make them."""
        made = int(step.output_shape[-1])  # type: ignore[index, arg-type]  # a map
        left, top = self.ax.get_xlim()[0], made + 0.6
        for cell in range(made):
            self.ax.add_patch(Rectangle((left + cell, top), 1, 1, fc=RUNS[cell % 2], ec="#555", lw=0.8))
            box = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.85}
            self.ax.text(left + cell + 0.5, top + 0.5, str(cell), fontsize=FONT - 1, ha="center", va="center", bbox=box)
        self.ax.text(left + made + 0.3, top + 0.5, "what comes out", fontsize=FONT, ha="left", va="center")
        legend = self.ax.get_legend()
        if legend is not None:
            legend.set_bbox_to_anchor((left, top + 1.2), transform=self.ax.transData)

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
        image = "" if self.trace.failure else self.picture.value
        still = f'<div class="{BOX}">{self.words.value}{image}</div>'
        return {**super()._repr_mimebundle_(**kwargs), "text/plain": repr(self), "text/html": still}


def _slider(name: str, value: int) -> ipw.IntSlider:
    """A slider whose label holds its number: the number that ipywidgets puts beside it is a tab stop without a name."""
    low, high, words = RANGES[name]
    slider = ipw.IntSlider(
        value, low, high, tooltip=words, readout=False,
        layout=ipw.Layout(flex="1 1 300px", width="auto", max_width="420px"), style={"description_width": "8em"},
    )  # fmt: skip
    _name(slider, name)
    return slider


def _name(slider: ipw.IntSlider, name: str, _: object = None) -> None:
    slider.description = f"{RANGES[name][2]} = {slider.value}"


def _refusal(failure: Failure) -> str:
    """Why there is no picture, in our words and in PyTorch's."""
    said = escape(failure.message.splitlines()[0])
    alike = "Rows and columns are alike here: what holds along one axis holds along the other."
    return f"<br>✗ {escape(failure.explanation)}<br>PyTorch says: <code>{said}</code><br>{alike}"


def _image(png: bytes, alt: str, high: int) -> str:
    """The picture as a page shows it; its size stands there, so that nothing below it jumps while it is decoded."""
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    size = f'width="{WIDE}" height="{high}" style="width:{growing(WIDE)};max-width:100%;height:auto"'
    return f'<img alt="{escape(alt)}" src="{source}" {size}>'


def _sum_of(step: Step) -> tuple[str, ...]:
    """The arithmetic of one axis in symbols, in numbers, and what ceil mode drops, windows counted from 0."""
    formula = next(formula for formula in formulas(step) if formula.axis == "W")
    symbols, (dropped, _, numbers) = formula.symbols.rpartition(": ")[2], line(formula).rpartition(": ")
    lines = symbols.replace("W", "n"), f"= {numbers}"
    if not dropped or step.window is None:
        return lines
    stride, pad, size = step.window.stride[-1], step.window.pads[-1][0], step.input_shapes[0][-1]
    at = f"{formula.result}·{stride} ≥ {size} + {pad}"
    return (
        *lines,
        f"The “− 1”: window {formula.result}, counted from 0, would start at {at}, past the map; it is dropped.",
    )

"""A dense map under two sliders: which cell, where its patch lies on the image, and what the cell says.

The map is a record of numbers that was computed once: moving a slider runs no network.
"""

from __future__ import annotations

import base64
import io
from functools import partial
from html import escape
from typing import Any

import ipywidgets as ipw
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from fcnviz.data import Guess, fitted, guesses
from fcnviz.errors import InputError
from fcnviz.figures.canvas import RUNS, STOPS
from fcnviz.figures.captioned import growing
from fcnviz.names import Names

__all__ = ["AnswerSliders"]

WIDE, DOTS = 730, 96  # pixels of the picture, and how many to the inch
BOX = "fcnviz-answers"
SLIDERS = {"row": "row of the map", "column": "column of the map"}
BLOCKS = 20  # of a bar for a share of 1


class AnswerSliders(ipw.VBox):  # type: ignore[misc]
    """The answers of a classifier over an image 3×H×W, cell by cell.

    Args:
        image: 3×H×W from 0 to 1.
        scores: 1000×h×w, of a network that has ImageNet's classes.
        patch: side of the image that the classifier was made for.
        stride: pixels from one cell to the next.

    Raises:
        InputError: a map whose last patch does not lie within the image.

    >>> import torch
    >>> view = AnswerSliders(torch.zeros(3, 64, 96), torch.eye(1000)[:, :6].view(1000, 2, 3), 32, 32)
    >>> view.show(row=1, column=2)
    >>> view
    row 1, column 2, pixels 32–63 × 64–95: electric ray
    """

    def __init__(self, image: Tensor, scores: Tensor, patch: int, stride: int) -> None:
        self.image, self.scores, self.patch, self.stride = image, scores, patch, stride
        _check(image, scores, patch, stride)
        rows, columns = scores.shape[1:]
        self.row, self.column = _slider("row", rows), _slider("column", columns)
        self.names = Names(BOX, SLIDERS.values())
        self.words, self.picture = ipw.HTML(), ipw.Image(format="png", width=WIDE, layout=_large())
        high = round(WIDE * image.shape[1] / image.shape[2])
        self.figure = Figure(figsize=(WIDE / DOTS, high / DOTS), dpi=DOTS)  # one for all: a new one takes longer
        self.box, self.cell = self._prepare()
        for slider in (self.row, self.column):
            slider.observe(partial(self._draw), "value")
        super().__init__([ipw.HBox([self.row, self.column]), self.words, self.picture, self.names])
        self.add_class(BOX)
        self._draw()

    def show(self, row: int, column: int) -> None:
        """Choose a cell."""
        self.row.value, self.column.value = row, column

    @property
    def guesses(self) -> tuple[Guess, ...]:
        """What the chosen cell says: its three best guesses."""
        return guesses(self.scores[:, self.row.value, self.column.value])

    def _prepare(self) -> tuple[Rectangle, Rectangle]:
        """The image, a dot where each patch has its middle, and the two boxes that move."""
        ax = self.figure.add_axes((0, 0, 1, 1))
        high, wide = self.image.shape[1:]
        shown = fitted(self.image, (round(WIDE * high / wide), WIDE))  # pixel on pixel: nothing to resample later
        ax.imshow(shown.permute(1, 2, 0).numpy(), extent=(0, wide, high, 0), interpolation="nearest")
        ax.set_axis_off()
        rows, columns = self.scores.shape[1:]
        down, across = ([self.patch / 2 + self.stride * cell for cell in range(cells)] for cells in (rows, columns))
        ax.scatter(across * rows, np.repeat(down, columns), s=7, color="white", edgecolors="black", linewidths=0.5)
        box = Rectangle((0, 0), self.patch, self.patch, fill=False, ec=STOPS[3], lw=4)
        cell = Rectangle((0, 0), self.stride, self.stride, fill=False, ec=RUNS[1], lw=3)
        return ax.add_patch(box), ax.add_patch(cell)  # type: ignore[return-value]  # each as it was given

    def _draw(self, _: object = None) -> None:
        top, left = self.stride * self.row.value, self.stride * self.column.value
        inset = (self.patch - self.stride) / 2
        self.box.set_xy((left, top))
        self.cell.set_xy((left + inset, top + inset))
        self.picture.value = self._png(compress_level=1)  # large, and drawn at once
        self.words.value = f"{escape(self._place)}<table>{''.join(map(_line, self.guesses))}</table>"
        self.names.picture = self._alt

    @property
    def _alt(self) -> str:
        return f"The image with a box around the patch of {self!r}."

    def _png(self, compress_level: int) -> bytes:
        drawn = io.BytesIO()
        self.figure.savefig(drawn, format="png", dpi=DOTS, pil_kwargs={"compress_level": compress_level})
        return drawn.getvalue()

    @property
    def _place(self) -> str:
        top, left = self.stride * self.row.value, self.stride * self.column.value
        rows, columns = f"{top}–{top + self.patch - 1}", f"{left}–{left + self.patch - 1}"
        return f"row {self.row.value}, column {self.column.value}, pixels {rows} × {columns}"

    def __repr__(self) -> str:
        return f"{self._place}: {self.guesses[0].name}"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Where no widget can live, what it says and shows."""
        image = base64.b64encode(self._png(compress_level=9)).decode("ascii")
        still = (
            f'<div class="{BOX}">{self.words.value}'
            f'<img alt="{escape(self._alt)}" src="data:image/png;base64,{image}"'
            f' style="width:{WIDE}px;width:{growing(WIDE)};max-width:100%"></div>'
        )
        return {**super()._repr_mimebundle_(**kwargs), "text/plain": repr(self), "text/html": still}


def _check(image: Tensor, scores: Tensor, patch: int, stride: int) -> None:
    last = [patch + stride * (cells - 1) for cells in scores.shape[1:]]
    if scores.dim() != 3 or any(end > size for end, size in zip(last, image.shape[1:], strict=True)):
        has, asked = ("×".join(map(str, one.shape)) for one in (image, scores))
        raise InputError(f"a map of {asked} with patches of {patch}, {stride} apart, does not lie on an image of {has}")


def _large() -> ipw.Layout:
    return ipw.Layout(width=growing(WIDE), max_width="100%")


def _slider(name: str, cells: int) -> ipw.IntSlider:
    """A slider whose number stands in the line below: ipywidgets' own would be a tab stop without a name."""
    layout = ipw.Layout(width="340px")
    return ipw.IntSlider(0, 0, cells - 1, description=name, tooltip=SLIDERS[name], readout=False, layout=layout)


def _line(guess: Guess) -> str:
    bar = "█" * round(BLOCKS * guess.share)
    return (
        f"<tr><td>{escape(guess.name)}</td><td style='text-align:right;padding:0 .6em'>{guess.share:.2f}</td>"
        f"<td style='text-align:left;color:{RUNS[0]}' aria-hidden='true'>{bar}</td></tr>"
    )

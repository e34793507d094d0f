"""The loss, drawn while a network learns: a picture in a notebook that is drawn anew up to twice a second.

It lives as long as the kernel. `keep` puts a picture in its place, which a saved notebook and a page hold as well.
Without a notebook it does nothing but remember: `fit(…, watch=LiveCurve())` works there too.
"""

from __future__ import annotations

import base64
import io
import time
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fcnviz.figures.captioned import captioned
from fcnviz.figures.learning import losses, losses_alt

if TYPE_CHECKING:
    from fcnviz.training.fit import Moment

EVERY = 0.5  # seconds, at least, from one drawing to the next
SHARE = 0.05  # of the time goes to drawing, at most: the training needs the rest
INCHES = (7, 3.2)


class LiveCurve(ipw.VBox):  # type: ignore[misc]
    """Curves of the loss, one for each run it is handed to as `watch`; show it first, train, and keep it.

    >>> from fcnviz.training.fit import Moment
    >>> curve = LiveCurve()
    >>> curve(Moment("digits", 1, 1, 2.25, 0.0))
    >>> curve
    Curves of the loss. digits: from 2.25 to 2.25 in 1 steps.
    """

    def __init__(self) -> None:
        self.runs: dict[str, list[float]] = {}
        self._figure = Figure(figsize=INCHES, layout="constrained")
        FigureCanvasAgg(self._figure)
        self._ax = self._figure.add_subplot()
        self._next = 0.0
        self._place: Any = None
        self.picture, self.line = ipw.HTML(), ipw.Label()
        super().__init__([self.picture, self.line])
        self._draw()

    def __call__(self, moment: Moment) -> None:
        """Takes in one step; a run that begins again under the same name replaces the one before."""
        if moment.step == 1:
            self.runs[moment.name], self._next = [], 0.0
        self.runs[moment.name].append(moment.loss)
        if moment.step == moment.of or moment.seconds >= self._next:
            self.line.value = f"{moment.name}: step {moment.step} of {moment.of}, {moment.seconds:.0f} s"
            began = time.perf_counter()
            self._draw()
            self._next = moment.seconds + max(EVERY, (time.perf_counter() - began) / SHARE)

    def show(self) -> None:
        """Shows it in the cell that runs, at the place where `keep` will put the picture."""
        from IPython.display import display  # only here: without a notebook there need be no IPython

        self._place = display(self, display_id=True)

    def keep(self, caption: str) -> None:
        """Puts a picture of the curves, with a caption, where it was shown."""
        kept = captioned(losses(self.runs), losses_alt(self.runs), caption)
        if self._place is not None:
            self._place.update(kept)

    def __repr__(self) -> str:
        return losses_alt(self.runs)

    def _draw(self) -> None:
        self._ax.clear()
        losses(self.runs, self._ax)
        target = io.BytesIO()
        self._figure.savefig(target, format="png", dpi=96)
        image = base64.b64encode(target.getvalue()).decode("ascii")
        wide = round(96 * INCHES[0])
        self.picture.value = (
            f'<img alt="{escape(losses_alt(self.runs))}" src="data:image/png;base64,{image}" '
            f'style="width:{wide}px;max-width:100%;height:auto">'
        )

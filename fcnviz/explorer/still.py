"""The explorer standing still, at one size: as text, and as HTML for pages whose scripts do not run."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from fcnviz import layout
from fcnviz.explorer.picture import alt, svg
from fcnviz.explorer.scene import Lane
from fcnviz.records import Step, Trace
from fcnviz.table import shape_text

__all__ = ["Still", "still"]


@dataclass(frozen=True)
class Still:
    """Networks at one size. `columns` are the names of all steps, in order."""

    lanes: tuple[Lane, ...]
    traces: tuple[Trace, ...]
    columns: tuple[str, ...]
    size: tuple[int, int]

    @property
    def summary(self) -> str:
        """What comes out, in a line."""
        return alt(self.lanes, self.traces, self.size)

    @property
    def text(self) -> str:
        """A table: a line for each step, a column for each network."""
        lines = [self._heads(), *self._rows()]
        widths = layout.column_widths(lines)
        return "\n".join([self.summary, *(layout.aligned(line, widths, right=()) for line in lines)])

    @property
    def image(self) -> str:
        """The picture as an <img> that needs nothing else; a notebook that is not trusted keeps it."""
        drawn = svg(self.lanes, self.traces, self.columns, self.summary)
        data = base64.b64encode(drawn.encode()).decode()
        return f'<img alt="{layout.attribute(self.summary)}" src="data:image/svg+xml;base64,{data}">'

    @property
    def html(self) -> str:
        """Picture and table."""
        heads = "".join(f'<th scope="col">{layout.escaped(head)}</th>' for head in self._heads())
        body = "".join(
            f'<tr><th scope="row">{layout.escaped(row[0])}</th>'
            + "".join(f"<td>{layout.escaped(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in self._rows()
        )
        caption = f"<caption>{layout.escaped(self.summary)}</caption>"
        return f"{self.image}<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"

    def _heads(self) -> list[str]:
        return ["step", *(layout.plain(lane.label) for lane in self.lanes)]

    def _rows(self) -> list[list[str]]:
        steps = [{step.name: step for step in seen} for seen in self.traces]
        return [[layout.plain(name), *(_cell(one.get(name)) for one in steps)] for name in self.columns]


def _cell(step: Step | None) -> str:
    if step is None:
        return "–"
    return f"{step.kind} {'✗ stops here' if step.output_shape is None else shape_text(step.output_shape)}"


def still(shown: Sequence[Lane], columns: Sequence[str], size: tuple[int, int]) -> Still:
    """These networks at this size."""
    return Still(tuple(shown), tuple(lane.traced(size) for lane in shown), tuple(columns), size)

"""Where the cells of each step lie, as a table: for the terminal, and for a notebook.

Both are made from `rows`: a line for each step, and for axes that differ a line each. Halves stand as 15.5, other
fractions as 4/3. A step without a place shows the reason in its stead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from fcnviz import layout
from fcnviz.arithmetic import count

if TYPE_CHECKING:
    from fcnviz.coordinates import Placement, Span
    from fcnviz.effective import EffectiveField
    from fcnviz.geometry import Axis, Geometry, Located, Region

__all__ = ["Row", "html", "of_effective_field", "of_placement", "of_region", "rows", "text"]


@dataclass(frozen=True, slots=True)
class Row:
    """A step on the axes that share these numbers; where they have none, `reason` is not empty.

    `number` and `name` are "" on a step's second line.
    """

    number: str
    name: str
    kind: str
    cells: str
    axes: str
    jump: str
    start: str
    field: str
    padding: str
    reason: str = ""


def rows(found: Geometry) -> tuple[Row, ...]:
    """The steps as text, in order."""
    return tuple(row for step in found for row in _rows(step))


def _rows(step: Located) -> Iterable[Row]:
    head = str(step.index + 1), layout.plain(step.name), layout.plain(step.kind), "×".join(map(str, step.size))
    if not step.axes:
        yield Row(*head, "", "", "", "", "", layout.plain(step.reason))
    for group in _alike(step.axes):
        yield Row(*head, ", ".join(axis.name for axis in group), *_numbers(group[0]))
        head = "", "", "", ""


def _alike(axes: Sequence[Axis]) -> list[list[Axis]]:
    """The axes, those with the same numbers together."""
    groups: dict[tuple[Placement | None, str], list[Axis]] = {}
    for axis in axes:
        groups.setdefault((axis.placement, axis.reason), []).append(axis)
    return list(groups.values())


def _numbers(axis: Axis) -> tuple[str, str, str, str, str]:
    place = axis.placement
    if place is None:
        return "", "", "", "", layout.plain(axis.reason)
    padding = place.effective_padding
    return (number(place.jump), number(place.start), _field(place), "" if padding is None else number(padding), "")


def _field(place: Placement) -> str:
    least, most = min(place.fields), max(place.fields)
    return number(most) if least == most else f"{number(least)}–{number(most)}"


def number(value: Fraction) -> str:
    """A fraction as people read it.

    >>> number(Fraction(404)), number(Fraction(-31, 2)), number(Fraction(4, 3))
    ('404', '−15.5', '4/3')
    """
    size = abs(value)
    digits = count(float(size)) if size.denominator in (1, 2, 4) else f"{size.numerator}/{size.denominator}"
    return f"−{digits}" if value < 0 else digits


def of_placement(place: Placement) -> str:
    """A placement in a line.

    >>> from fcnviz.coordinates import PIXELS
    >>> print(PIXELS.window(3, padding=1).window(2, stride=2))
    cells 2 pixels apart, the first at 0.5; each sees 4 pixels
    """
    besides = "" if place.shared is None else f", and all of them pixels {_from(place.shared)}"
    pixels = "pixel" if _field(place) == "1" else "pixels"
    apart = "pixel" if place.jump == 1 else "pixels"
    return f"cells {number(place.jump)} {apart} apart, the first at {number(place.start)}; " + (
        f"each sees {_field(place)} {pixels}{besides}"
    )


def of_region(region: Region) -> str:
    """A region in a line: what is read of the image, and how far the field goes on outside."""
    cell = "(" + ", ".join(map(str, region.cell)) + ")"
    if region.clipped is None:
        return f"{layout.plain(region.step)}, cell {cell}: sees no pixel of the image"
    read, box = int(region.pixels.sum()), math.prod(int(span.size) for span in region.clipped)
    holes = "" if read == box else f", {count(read)} of them read"
    said = f"{_axes(region.clipped)}{holes}"
    if region.unclipped is not None and None not in region.unclipped and region.unclipped != region.clipped:
        said += f"; if the image had no end, {_axes(span for span in region.unclipped if span)}"
    return f"{layout.plain(region.step)}, cell {cell}: {said}"


def _axes(spans: Iterable[Span]) -> str:
    """The axes with their sizes: "pixels 38…249 × 70…281 (212×212)"."""
    spans = tuple(spans)
    return f"pixels {' × '.join(map(_from, spans))} ({'×'.join(number(span.size) for span in spans)})"


def _from(span: Span) -> str:
    return f"{number(span.first)}…{number(span.last)}"


def of_effective_field(found: EffectiveField) -> str:
    """An effective field in a line."""
    peak = ", ".join(map(str, np.unravel_index(int(found.values.argmax()), found.values.shape)))
    images = f"{count(found.images)} image{'s' * (found.images != 1)}"
    return f"mean gradient over {images}, largest {found.values.max():.3g} at pixel ({peak}); {of_region(found.region)}"


_HEADS = ("#", "step", "kind", "cells", "axis", "jump", "start", "field", "outside")
_RIGHT = (0, 3, 5, 6, 7, 8)
_WIDEST = (6, 40, 22, 18, 8, 14, 14, 14, 14)
_MEANING = (
    "In pixels of the image: jump, from a cell to the next; start, the centre of cell 0; field, what a cell sees; "
    "outside, how far before the image cell 0 begins to see"
)


def text(found: Geometry) -> str:
    """The table for a terminal; a reason stands in the place of the numbers."""
    lines = rows(found)
    cells = [tuple(map(layout.shortened, _cells(row), _WIDEST)) for row in lines]
    widths = layout.column_widths([_HEADS, *cells])
    rule = layout.GAP.join("─" * width for width in widths)
    return "\n".join(
        [
            *layout.wrapped("", _title(found)),
            *layout.wrapped("", _MEANING),
            "",
            layout.aligned(_HEADS, widths, _RIGHT),
            rule,
            *(line for row, own in zip(lines, cells, strict=True) for line in _lines(row, own, widths)),
            rule,
        ]
    )


def _cells(row: Row) -> tuple[str, ...]:
    return row.number, row.name, row.kind, row.cells, row.axes, row.jump, row.start, row.field, row.padding


def _lines(row: Row, cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """A step's line; its reason beside it if there is room, else below."""
    line = layout.aligned(cells, widths, _RIGHT)
    if not row.reason:
        return [line]
    indent = sum(widths[:5]) + 5 * len(layout.GAP)
    beside = line + " " * (indent - layout.width_of(line)) + row.reason
    if layout.width_of(beside) <= layout.LINE:
        return [beside]
    hang = " " * (sum(widths[:2]) + 2 * len(layout.GAP))
    return [line, *(hang + part for part in layout.wrapped("", row.reason))]


def _title(found: Geometry) -> str:
    return f"{layout.plain(found.model)} · image {'×'.join(map(str, found.image))} · where its cells lie"


def html(found: Geometry) -> str:
    """The table for a notebook: one `<table>` in a box that scrolls sideways, readable with and without its style."""
    heads = "".join(f'<th scope="col"{layout.side(i in _RIGHT)}>{head}</th>' for i, head in enumerate(_HEADS))
    body = "\n".join(_html_row(row) for row in rows(found))
    return (
        f"<style>{layout.STYLE}</style>\n"
        '<div class="fcnviz-trace"><div class="scroll" style="overflow-x:auto" tabindex="0" role="region" '
        f'aria-label="Geometry of {layout.attribute(found.model)}">\n'
        f'<table class="steps">\n<caption style="text-align:left"><b>{layout.escaped(_title(found))}</b><br>'
        f"{layout.escaped(_MEANING)}</caption>\n<thead><tr>{heads}</tr></thead>\n{body}\n</table></div></div>\n"
    )


def _html_row(row: Row) -> str:
    number, name, *rest = _cells(row)
    shown = rest[:3] if row.reason else rest
    cells = [
        f'<td class="number"{layout.side(True)}>{number}</td>',
        f'<th scope="row"{layout.side(False)}>{layout.escaped(name)}</th>',
        *(f'<td class="short"{layout.side(i + 2 in _RIGHT)}>{layout.escaped(c)}</td>' for i, c in enumerate(shown)),
    ]
    if row.reason:
        cells.append(f'<td colspan="4"{layout.side(False)}>{layout.escaped(row.reason)}</td>')
    return f"<tbody><tr>{''.join(cells)}</tr></tbody>"

"""Sums by hand, crops and verdicts as text and HTML: what `equivalence`, `upsampling` and `models` have found.

A sum of few products is written whole, as a student does it on paper: each factor, each product, the total. Of a long
one there are the largest products and the running sum at some places, added up as a Linear and as a convolution. In a
record every number stands in full; here most are cut to six digits, and the answers are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from fcnviz.arithmetic import count

if TYPE_CHECKING:
    from fcnviz.equivalence import Comparison, Handwork, Proof
    from fcnviz.models.crops import Crop, Crops
    from fcnviz.modes import Modes
    from fcnviz.patches import Cost, PatchRun, Rings
    from fcnviz.upsampling import Border, Overlap

__all__ = [
    *("Sheet", "border_html", "border_text", "comparison_html", "comparison_text", "cost_html", "cost_text"),
    *("crops_html", "crops_text", "html", "modes_html", "modes_text"),
    *("overlap_html", "overlap_sheet", "overlap_text", "patches_html", "patches_text", "proof_html", "proof_text"),
    *("rings_html", "rings_text", "sheet", "text"),
]

ON_PAPER = 32  # a sum of at most so many products is written whole
LARGEST = 5
LINE = 116
IMAGE = "the image"  # what the last crop of a network is laid on, by this name


@dataclass(frozen=True, slots=True)
class Grid:
    """A small table: a title, heads, and rows of texts."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One answer in words: what is computed, then tables, then sums, each line a text."""

    title: str
    facts: tuple[str, ...]
    grids: tuple[Grid, ...]
    sums: tuple[tuple[str, tuple[str, ...]], ...]
    answers: tuple[str, ...]


def sheet(work: Handwork) -> Sheet:
    """A record turned into texts, the same for the terminal and the notebook."""
    short = work.products.size <= ON_PAPER
    return Sheet(
        title=f"Output channel {work.channel}, cell {work.cell}, of {work.names[0]} and of {work.names[1]}",
        facts=_facts(work),
        grids=_maps(work) if short else (_largest(work), _milestones(work)),
        sums=_whole_sums(work) if short else (),
        answers=_answers(work),
    )


def _facts(work: Handwork) -> tuple[str, ...]:
    c, h, w = work.products.shape
    last = work.rows[1] - 1, work.columns[1] - 1
    window = f"{_range('row', work.rows[0], last[0])} and {_range('column', work.columns[0], last[1])}"
    return (
        f"The window: {window} of each channel of the {_by(work.map)} map",
        f"{c}·{h}·{w} = {count(work.products.size)} products and a bias; column = channel·{h * w} + row·{w} + column",
    )


def _range(what: str, first: int, last: int) -> str:
    return f"{what} {count(first)}" if first == last else f"{what}s {count(first)} to {count(last)}"


def _by(sizes: Iterable[int]) -> str:
    return "×".join(map(str, sizes))


def _short(number: float) -> str:
    return f"{number + 0.0:.6g}".replace("-", "−")  # −0 + 0 is 0


def _rough(number: float) -> str:
    """What differs from run to run, to two digits."""
    return f"{number:.2g}".replace("-", "−")


def _factor(number: float) -> str:
    return f"({_short(number)})" if number < 0 else _short(number)


# A sum on paper


def _maps(work: Handwork) -> tuple[Grid, ...]:
    """The window and the kernel, channel by channel."""
    grids = []
    for c in range(len(work.products)):
        of = f" of channel {c}" if len(work.products) > 1 else ""
        for title, numbers in ((f"The window{of}", work.inputs[c]), (f"The kernel{of}", work.weights[c])):
            grids.append(Grid(title, (), tuple(tuple(map(_short, row)) for row in numbers.tolist())))
    return tuple(grids)


def _whole_sums(work: Handwork) -> tuple[tuple[str, tuple[str, ...]], ...]:
    _, h, w = work.products.shape
    pairs = [f"{_factor(a)}·{_factor(b)}" for a, b in zip(work.weights.flat, work.inputs.flat, strict=True)]
    products = [_factor(p) for p in work.products.flat]
    bias = [_factor(work.bias)]
    linear = (" + ".join(pairs + bias), f"= {' + '.join(products + bias)}", f"= {_short(work.sums[0])}")
    each = [
        f"channel {n}: {' + '.join(pairs[n * h * w : (n + 1) * h * w])} = {_short(total)}"
        for n, total in enumerate(work.channel_sums.tolist())
    ]
    total = f"{' + '.join([*map(_factor, work.channel_sums.tolist()), *bias])} = {_short(work.sums[1])}"
    return ("As a Linear: one row, column after column", linear), (
        "As a convolution: the sum of each channel, then their sum",
        (*each, total),
    )


# The gist of a long sum


def _largest(work: Handwork) -> Grid:
    rows = [
        (
            count(product.column),
            ", ".join(map(count, product.place)),
            ", ".join(map(count, product.cell)),
            f"{_factor(product.weight)}·{_factor(product.input)}",
            _short(product.product),
        )
        for product in work.largest(LARGEST)
    ]
    heads = ("column", "channel, row, column", "cell of the map", "weight·input", "product")
    return Grid("The largest products", heads, tuple(rows))


def _milestones(work: Handwork) -> Grid:
    """Running sums where as many channels are done: the same products, added in two orders."""
    each = work.products[0].size
    total = len(work.running_channels)
    powers = {4**n for n in range(20) if 4**n < total}
    rows = [
        (
            count(n),
            count(n * each),
            _full(work.running[n * each - 1].item(), work),
            _full(work.running_channels[n - 1].item(), work),
        )
        for n in sorted({*powers, total})
    ]
    rows.append(("+ bias", "", _full(work.sums[0], work), _full(work.sums[1], work)))
    heads = ("channels", "products", "as a Linear, column after column", "as a convolution, channel after channel")
    return Grid("The running sum", heads, tuple(rows))


def _full(number: float, work: Handwork) -> str:
    """A number with as many digits as tell it from its neighbours."""
    digits = 17 if work.dtype == "float64" else 9
    return f"{number:.{digits}g}".replace("-", "−")


def _answers(work: Handwork) -> tuple[str, ...]:
    linear, conv = work.answers
    names = [f"{name} answers" for name in work.names] + ["The stored numbers, added without rounding"]
    numbers = [_full(linear, work), _full(conv, work), f"{work.exact:.17g}".replace("-", "−")]
    lines = [f"{name}: {number}" for name, number in zip(names, numbers, strict=True)]
    measure = f"S = Σ|w||x| + |b| = {_short(work.absolute)}: the size against which rounding is measured"
    return (*lines, measure, *((_OTHER_WEIGHTS,) if work.other_weights else ()))


_OTHER_WEIGHTS = (
    "The two layers do not hold the same numbers: all sums here are of the Linear's, and Conv2d answers with its own"
)


# Terminal and notebook


def text(work: Handwork) -> str:
    """The sheet for a terminal."""
    return _page_text(sheet(work))


def _page_text(page: Sheet) -> str:
    lines = [page.title, *page.facts]
    for grid in page.grids:
        lines += ["", grid.title, *_columns(grid)]
    for title, sums in page.sums:
        lines += ["", title, *(part for one in sums for part in _folded(one))]
    return "\n".join([*lines, "", *page.answers])


def _columns(grid: Grid) -> list[str]:
    rows = [grid.heads, *grid.rows] if grid.heads else list(grid.rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _folded(line: str) -> list[str]:
    """A sum on several lines if it is long, broken before a plus."""
    lines, current = [], ""
    for part in line.split(" + "):
        joined = f"{current} + {part}" if current else part
        if current and len(joined) > LINE:
            lines.append(current)
            joined = f"  + {part}"
        current = joined
    return ["  " + one for one in [*lines, current]]


def html(work: Handwork) -> str:
    """The sheet for a notebook; alignment stands in style attributes, which a notebook keeps."""
    page = sheet(work)
    summary = "<summary>All digits, and what is rounded</summary>"
    return _page_html(page, f"<details>{summary}{_lines_html(page.answers)}</details>")


def _lines_html(lines: Sequence[str]) -> str:
    return f"<p>{'<br>'.join(map(_escape, lines))}</p>"


def _page_html(page: Sheet, last: str) -> str:
    parts = [f"<p><b>{_escape(page.title)}</b><br>{'<br>'.join(map(_escape, page.facts))}</p>"]
    parts += [f'<div style="display:flex;flex-wrap:wrap;gap:0 2em">{"".join(map(_table, page.grids))}</div>']
    for title, sums in page.sums:
        parts.append(f"<p><b>{_escape(title)}</b><br>{'<br>'.join(map(_escape, sums))}</p>")
    parts.append(last)
    return f'<div class="fcnviz-sum">{"".join(parts)}</div>\n'


def _table(grid: Grid) -> str:
    right = ' style="text-align:right;padding:1px 6px"'
    heads = "".join(f'<th scope="col"{right}>{_escape(head)}</th>' for head in grid.heads)
    body = "".join("<tr>" + "".join(f"<td{right}>{_escape(cell)}</td>" for cell in row) + "</tr>" for row in grid.rows)
    head = f"<thead><tr>{heads}</tr></thead>" if heads else ""
    caption = f'<caption style="text-align:left;white-space:nowrap">{_escape(grid.title)}</caption>'
    return f"<table>{caption}{head}<tbody>{body}</tbody></table>"


def _escape(words: str) -> str:
    return escape(words, quote=False)


# Kernels that overlap


def overlap_sheet(found: Overlap) -> Sheet:
    """One output cell of a transposed convolution: which input cells reach it, with which weight, and the sum."""
    short = len(found.terms) <= ON_PAPER
    return Sheet(
        title=f"Output channel {found.channel}, cell {found.cell}, of a transposed convolution",
        facts=_overlap_facts(found),
        grids=(_overlap_terms(found),),
        sums=(("The sum", _overlap_sum(found)),) if short else (),
        answers=(
            f"The layer answers: {found.answer:.17g}".replace("-", "−"),
            f"The stored numbers, added without rounding: {float(found.exact):.17g}".replace("-", "−"),
        ),
    )


def _overlap_facts(found: Overlap) -> tuple[str, ...]:
    each = [_axis_rule(found, axis) for axis in (0, 1)]
    rule = f"cell {each[0]}, of both axes" if each[0] == each[1] else f"row {each[0]}, and to column {each[1]}"
    places = [f"{name} {place}" for name, place in zip(("row", "column"), found.cell, strict=True)]
    return (
        f"Input cell i, times weight t of the kernel, goes to output {rule}",
        f"To {' and '.join(places)} of the {_by(found.output)} output, {count(len(found.terms))} products go",
    )


def _axis_rule(found: Overlap, axis: int) -> str:
    """i·s − p + d·t with the numbers put in."""
    window = found.window
    stride, pad, dilation = window.stride[axis], window.pads[axis][0], window.dilation[axis]
    tap = "t" if dilation == 1 else f"{dilation}·t"
    last = window.kernel[axis] - 1
    return f"{stride}·i{f' − {pad}' if pad else ''} + {tap} (t = 0 … {last})"


def _overlap_terms(found: Overlap) -> Grid:
    """The products; of more than a page of them, the largest."""
    terms, title = found.terms, "The products"
    if len(terms) > ON_PAPER:
        terms, title = tuple(sorted(terms, key=lambda t: -abs(t.product))[:LARGEST]), "The largest products"
    rows = [
        (_listed(t.cell), _listed(t.place), f"{_factor(t.input)}·{_factor(t.weight)}", _short(t.product)) for t in terms
    ]
    return Grid(title, ("input channel, row, column", "kernel row, column", "input·weight", "product"), tuple(rows))


def _listed(place: Iterable[int]) -> str:
    return ", ".join(map(count, place))


def _overlap_sum(found: Overlap) -> tuple[str, ...]:
    bias = [_factor(found.bias)] if found.bias else []
    products = [_factor(t.product) for t in found.terms] + bias
    return (f"{' + '.join(products) or '0'} = {_short(float(found.exact))}",)


def overlap_text(found: Overlap) -> str:
    """The sheet for a terminal."""
    return _page_text(overlap_sheet(found))


def overlap_html(found: Overlap) -> str:
    """The sheet for a notebook."""
    page = overlap_sheet(found)
    return _page_html(page, _lines_html(page.answers))


def border_text(found: Border) -> str:
    """A map enlarged in two ways, in a few lines: equal inside, and by how much not at the border."""
    return "\n".join(": ".join(filter(None, line)) for line in _border_lines(found))


def border_html(found: Border) -> str:
    """The same as a small table."""
    return _two_columns(_border_lines(found))


def _border_lines(found: Border) -> Sequence[tuple[str, str]]:
    inside, difference = found.inside(found.difference), found.difference
    finer = f"{found.factor} times finer" if found.factor > 1 else "no finer than it was"
    equal = f"{count(int((inside == 0).sum()))} of {count(inside.numel())}"
    most = [_short(float(part.abs().max())) if part.numel() else "0" for part in (inside, difference)]
    return (
        (f"A {_by(found.shape)} map, {finer}: transposed convolution against interpolation", ""),
        (f"cells inside, {found.width} or more from each edge, equal bit for bit", equal),
        ("largest difference inside", most[0]),
        ("largest difference with the border", most[1]),
        ("weights of a cell sum to", _weight_sums(found)),
    )


def _weight_sums(found: Border) -> str:
    """From the least to the largest inside, with every digit: only there are they 1, and only where nothing rounds."""
    inside = found.inside(found.weights)
    ends = dict.fromkeys((float(inside.min()), float(inside.max()))) if inside.numel() else ()
    parts = [f"{' to '.join(f'{end:.17g}' for end in ends)} inside" if ends else "no cell is inside"]
    parts += [f"down to {_short(float(found.weights.min()))} in a corner"] if found.width else []
    return ", ".join(parts)


# Crops


def crops_text(found: Crops) -> str:
    """Where the cells lie that are laid on each other, and how many are cut, in a line for each crop."""
    return "\n".join(": ".join(filter(None, line)) for line in _crop_lines(found))


def crops_html(found: Crops) -> str:
    """The same as a small table."""
    return _two_columns(_crop_lines(found))


def _crop_lines(found: Crops) -> Sequence[tuple[str, str]]:
    last, least = found.each[-1], found.least_pad
    rule = f"pad {'−' if least >= 0 else '+'} {count(abs(least))}"
    return (
        (f"{found.network} with pad={found.pad}: why each map is cut", ""),
        *((f"{crop.name}, cut {_short(crop.cells)}", _crop_reason(crop)) for crop in found.each),
        (
            f"{last.name} with another pad",
            f"the cut is {rule}, so that pad={max(least, 0)} is the smallest that reaches pixel 0",
        ),
    )


def _crop_reason(crop: Crop) -> str:
    """(where the other's cell 0 lies − where its own lies) / jump, with the numbers put in."""
    own, other, jump = (float(n) for n in (crop.larger.start, crop.target.start, crop.larger.jump))
    there = f"{crop.onto} begins" if crop.onto == IMAGE else f"cell 0 of {crop.onto}"
    return (
        f"cell 0 on pixel {_short(own)}, {there} on {_short(other)}, cells {_short(jump)} apart: "
        f"({_short(other)} − {_factor(own)}) / {_short(jump)} = {_short(crop.cells)}"
    )


# Two networks with one window


def modes_text(found: Modes) -> str:
    """Which images make which map, a line for each."""
    grid = _modes(found)
    return "\n".join([grid.title, *_columns(grid)])


def modes_html(found: Modes) -> str:
    """The same as a table."""
    return f'<div class="fcnviz-sum">{_table(_modes(found))}</div>\n'


def _modes(found: Modes) -> Grid:
    heads = ("network", "padding of its first layer", "map before fc6", "answers", "height and width of the image")
    rows = [
        (mode.network, count(mode.pad), _by((mode.before,) * 2), _by((mode.after,) * 2), f"{mode.first} … {mode.last}")
        for mode in found.each
    ]
    return Grid("The same window of 7×7 at images of other sizes", heads, tuple(rows))


# Verdicts


def comparison_text(comparison: Comparison) -> str:
    """A comparison as a few lines: what, how far apart, how far rounding may go, and the verdict."""
    return "\n".join(": ".join(filter(None, line)) for line in _comparison_lines(comparison))


def comparison_html(comparison: Comparison) -> str:
    """The same as a small table."""
    return _two_columns(_comparison_lines(comparison))


def _comparison_lines(found: Comparison) -> Sequence[tuple[str, str]]:
    shapes = " and ".join(_by(shape) for shape in found.shapes)
    most = f"{_short(found.difference)}, where answers go up to {_short(found.scale)}"
    bound = f"2·γₙ·Σ|w||x| ≤ {_short(found.bound)}, with n = {count(found.roundings)} and u = {_power(found.unit)}"
    return (
        (f"{found.names[0]} against {found.names[1]}", ""),
        ("answers", f"{shapes}, {found.dtype}, of an input {_by(found.input_shape)}"),
        ("equal bit for bit", f"{count(found.equal)} of {count(found.outputs)}"),
        ("largest difference", most),
        ("relative error", _short(found.relative_error)),
        ("what rounding can do", bound),
        ("largest part of its bound", _short(found.share)),
        ("in ε·Σ|w||x|", _short(found.eps) + _doubt(found)),
        ("verdict", found.verdict + (", but the layers do not hold the same numbers" if found.other_weights else "")),
    )


def _doubt(found: Comparison) -> str:
    if found.verdict != "within rounding" or found.is_usual:
        return ""
    return f", more than √n = {_short(math.sqrt(found.roundings))}: unusual for rounding; look again in float64"


def _power(unit: float) -> str:
    return "2" + f"{math.log2(unit):.0f}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def proof_text(proof: Proof) -> str:
    """Why no sum can be rounded, in two lines."""
    return "\n".join(": ".join(line) for line in _proof_lines(proof))


def proof_html(proof: Proof) -> str:
    """The same as a small table."""
    return _two_columns(_proof_lines(proof))


def _proof_lines(proof: Proof) -> Sequence[tuple[str, str]]:
    factors = f"{count(proof.terms)}·{count(proof.weight)}·{count(proof.input)} + {count(proof.bias)}"
    sign = "<" if proof.holds else "≥"
    power = f"{count(proof.limit)} = {_power(float(proof.limit))}"
    exact = "every order of summation is exact" if proof.holds else "nothing is proved"
    return (
        (
            "whole numbers",
            f"{count(proof.terms)} products of |w| ≤ {count(proof.weight)} and |x| ≤ {count(proof.input)}",
        ),
        ("no partial sum exceeds", f"{factors} = {count(proof.largest)} {sign} {power}: {exact}"),
    )


# Patches


def patches_text(run: PatchRun) -> str:
    """A run on every patch, in a few lines: how far apart from the dense map, and at what cost."""
    return "\n".join(": ".join(filter(None, line)) for line in _patch_lines(run))


def patches_html(run: PatchRun) -> str:
    """The same as a small table."""
    return _two_columns(_patch_lines(run))


def _patch_lines(run: PatchRun) -> Sequence[tuple[str, str]]:
    each, far = _by(run.patch), f"{_by(run.stride)} pixels apart"
    return (
        (f"{_by(run.grid)} patches of {each}, {far}, against one run on {_by(run.image)}", ""),
        ("cells equal bit for bit", f"{count(int(run.equal.sum()))} of {count(run.equal.size)}"),
        ("verdicts", _verdicts(run)),
        ("cells with the same largest channel", f"{count(int(run.same_top.sum()))} of {count(run.same_top.size)}"),
        ("largest difference", f"{_rough(float(run.differences.max()))}, {_rough(run.eps)} ε of the largest answer"),
        ("relative error of a patch", f"at most {_rough(float(run.relative_errors.max()))}"),
        ("multiply-adds", _times(math.prod(run.grid) * run.patch_macs, run.dense_macs)),
        ("seconds", f"{_rough(run.patches_seconds)} against {_rough(run.dense_seconds)}"),
    )


def _verdicts(run: PatchRun) -> str:
    """How many cells of each verdict there are, in the words of the record."""
    names, counts = np.unique(run.verdicts, return_counts=True)
    return ", ".join(f"{count(int(n))} {name}" for name, n in zip(names.tolist(), counts, strict=True))


def rings_text(found: Rings) -> str:
    """How many cells of each map no padding of the patch has reached, a line for each step."""
    grid = _rings(found)
    return "\n".join([grid.title, *_columns(grid)])


def rings_html(found: Rings) -> str:
    """The same as a table."""
    return f'<div class="fcnviz-sum">{_table(_rings(found))}</div>\n'


def _rings(found: Rings) -> Grid:
    rows = [
        (
            ring.name,
            ring.kind,
            _by(ring.size),
            f"{count(ring.clean)}/{count(ring.cells)}",
            _span(ring.rows),
            _span(ring.columns),
        )
        for ring in found
    ]
    heads = ("step", "kind", "map", "clean cells", "rows", "columns")
    return Grid(f"A patch of {_by(found.patch)}: the cells that its own padding has not reached", heads, tuple(rows))


def _span(cells: tuple[int, int]) -> str:
    first, stop = cells
    return f"{first} … {stop - 1}" if first < stop else "none"


def cost_text(cost: Cost) -> str:
    """What patches cost, against one dense run, in a few lines."""
    return "\n".join(": ".join(filter(None, line)) for line in _cost_lines(cost))


def cost_html(cost: Cost) -> str:
    """The same as a small table."""
    return _two_columns(_cost_lines(cost))


def _cost_lines(cost: Cost) -> Sequence[tuple[str, str]]:
    fitting = "not known" if cost.fitting is None else _by(cost.fitting)
    return (
        (
            f"{_by(cost.answers)} answers: as many patches of {_by(cost.patch)}, against one run on {_by(cost.image)}",
            "",
        ),
        ("patches that lie within the image", fitting),
        ("multiply-adds", _times(cost.patches_macs, cost.dense_macs)),
    )


def _times(patches: int, dense: int) -> str:
    return f"{count(patches)} for the patches, {count(dense)} for the one run: {patches / dense:.2f} times as many"


def _two_columns(lines: Iterable[tuple[str, str]]) -> str:
    left = ' style="text-align:left"'
    rows = "".join(
        f'<tr><th scope="row"{left}>{_escape(name)}</th><td{left}>{_escape(value)}</td></tr>'
        if value
        else f'<tr><th colspan="2" scope="colgroup"{left}>{_escape(name)}</th></tr>'
        for name, value in lines
    )
    return f'<table class="fcnviz-verdict"><tbody>{rows}</tbody></table>\n'

"""A trace as a table: for the terminal, and for a notebook.

Both are made from `rows`, which turns steps into plain text, and both write the sums of a step on a line of their own
under it: so a table of VGG16 fits 120 characters, and a notebook beside its file browser. A sum is shown only where it
agrees with the traced shape; a step whose arithmetic fcnviz does not know shows its shapes and no sum.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import cast

from fcnviz import arithmetic
from fcnviz.arithmetic import count, line
from fcnviz.records import Failure, Output, Shape, Step, Trace

__all__ = ["Row", "Sum", "html", "rows", "shape_text", "text", "window_text"]


@dataclass(frozen=True, slots=True)
class Sum:
    """One line of arithmetic, for every axis that it holds for.

    `axes` is "H, W" where both have the same numbers; `numbers` is "⌊(224 + 2·1 − …)/1⌋ + 1 = 224".
    """

    axes: str
    symbols: str
    numbers: str


@dataclass(frozen=True, slots=True)
class Row:
    """One step in words. Control characters are spelled out; nothing is escaped for HTML."""

    number: str
    name: str
    kind: str
    window: str
    weights: str
    sums: tuple[Sum, ...]
    input: str
    output: str
    params: str
    macs: str
    failed: bool


def rows(trace: Trace) -> tuple[Row, ...]:
    """The steps of `trace` as text, in order; the failed one, if any, is the last."""
    failed = trace.failure.step if trace.failure else None
    return tuple(_row(step, failed=step is failed or step == failed) for step in trace)


def _row(step: Step, failed: bool) -> Row:
    return Row(
        number=str(step.index + 1),
        name=_plain(step.name),
        kind=_plain(step.kind),
        window=_plain(window_text(step)),
        weights=_plain(", ".join(f"{weight.name} {_by(weight.shape)}" for weight in step.weights)),
        sums=_sums(step, failed),
        input=_some([shape_text(shape) for shape in step.input_shapes]) or "nothing",
        output="✗" if failed else shape_text(step.output_shape),
        params=count(step.params) if step.params else "",
        macs=count(step.macs) if step.macs else "",
        failed=failed,
    )


def _sums(step: Step, failed: bool) -> tuple[Sum, ...]:
    """The sums of `step`, axes with the same numbers together.

    None where they don't agree with the traced shape, or with the verdict: a failed step shows the rule that broke.
    """
    formulas = arithmetic.formulas(step)
    if not (any(not formula.holds for formula in formulas) if failed else arithmetic.agrees(step)):
        return ()
    axes: dict[tuple[str, str], list[str]] = {}
    for formula in formulas:
        symbols = (
            formula.symbols.replace(formula.axis, "n") if formula.axis in ("H", "W", "D", "L") else formula.symbols
        )
        axes.setdefault((symbols, line(formula)), []).append(formula.axis)
    return tuple(Sum(", ".join(filter(None, names)), symbols, numbers) for (symbols, numbers), names in axes.items())


# Words for shapes and windows


def shape_text(shape: Output) -> str:
    """A shape as the course writes it: C×H×W for one image; the batch is shown where it is not 1, or is no image's.

    >>> shape_text(Shape((1, 512, 7, 7))), shape_text(Shape((2, 512, 7, 7))), shape_text(Shape((1, 25088)))
    ('512×7×7', '2×512×7×7', '1×25088')
    >>> shape_text((Shape((5, 1, 20)), None)), shape_text({"out": Shape((1, 21, 8, 8))}), shape_text(Shape())
    ('(5×1×20, None)', '{out: 21×8×8}', 'one number')
    """
    if isinstance(shape, Shape):
        one_image = len(shape) > 3 and shape[0] == 1
        return _by(shape[1:] if one_image else shape) or "one number"
    if isinstance(shape, dict):
        return f"{{{_some([f'{_plain(str(key))}: {shape_text(value)}' for key, value in shape.items()])}}}"
    if isinstance(shape, tuple):
        parts = cast("tuple[Output, ...]", shape)
        return f"({_some([shape_text(part) for part in parts])})"
    return "None"


def _some(parts: Sequence[str], most: int = 4) -> str:
    """The parts in a row; of many only the first, and how many more."""
    if len(parts) <= most:
        return ", ".join(parts)
    return f"{', '.join(parts[: most - 1])}, … {len(parts) - most + 1} more"


def window_text(step: Step) -> str:
    """What slides over the map, and how many of them: "64 of 3×3×3 p1"; for a Linear "25088 → 4096"."""
    settings = step.settings
    match step.operation:
        case "conv" | "conv_transpose" | "max_pool" | "avg_pool" | "lp_pool" | "unfold" | "fold":
            return " ".join([_filters(step), *_window_letters(step)])
        case "linear":
            return f"{settings.get('in_features')} → {settings.get('out_features')}"
        case "adaptive_pool":
            return f"to {_per_axis(settings.get('output_size'))}"
        case "interpolate":
            size, factor = settings.get("size"), settings.get("scale_factor")
            how = f"to {_per_axis(size)}" if size else f"times {_factor(factor)}"
            return f"{how}, {settings['mode']}" if "mode" in settings else how
        case "pixel_shuffle":
            return f"{'times' if settings.get('up', True) else 'by'} {settings.get('factor')}"
        case "cat" | "stack":
            return f"along axis {settings.get('dim', 0)}"
        case "reduce":
            return f"over {_axes_text(settings.get('dims'))}"
        case "permute":
            return f"axes {_axes_text(settings.get('dims')).removeprefix('axes ')}"
        case "pad":
            return f"{settings.get('mode', 'constant')} {_pads_text(settings.get('pads'))}".strip()
    return ""


def _filters(step: Step) -> str:
    """Filters and what each of them sees, "64 of 3×3×3"; for a pooling just "2×2"."""
    kernel = _by(step.window.kernel) if step.window else ""
    wants, makes = step.settings.get("in_channels"), step.settings.get("out_channels")
    if not wants or not makes or not step.window:
        return kernel
    return f"{makes} of {wants // step.window.groups}×{kernel}"


def _window_letters(step: Step) -> tuple[str, ...]:
    """Stride, padding and the rest, by the letters of the formulas; only what differs from a plain window's."""
    window = step.window
    if window is None:
        return ()
    pooling = step.operation in ("max_pool", "avg_pool", "lp_pool")
    words = [f"s{_one(window.stride)}"] if pooling or set(window.stride) != {1} else []
    if isinstance(window.padding, str):
        words += [f"p“{window.padding}”"]
    elif any(window.padding):
        words += [f"p{_one(window.padding)}"]
    words += [f"d{_one(window.dilation)}"] if set(window.dilation) != {1} else []
    words += [f"o{_one(window.output_padding)}"] if any(window.output_padding) else []
    words += [f"in {window.groups} groups"] if window.groups > 1 else []
    return (*words, "ceil") if window.ceil else tuple(words)


def _one(numbers: Sequence[int]) -> str:
    """One number where all are equal, else all of them."""
    return str(numbers[0]) if len(set(numbers)) == 1 else _by(numbers)


def _per_axis(value: object) -> str:
    """What was asked for each axis: "7×7", "2" (for 2.0), "7×same" where None leaves an axis as it was."""
    if isinstance(value, float):
        return count(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _by("same" if size is None else _per_axis(size) for size in value)
    return str(value)


def _factor(value: object) -> str:
    return _per_axis(value[0] if isinstance(value, Sequence) and len(set(value)) == 1 else value)


def _axes_text(dims: object) -> str:
    if dims is None:
        return "all axes"
    return (
        f"axes {', '.join(map(str, dims))}"
        if isinstance(dims, Sequence) and len(dims) > 1
        else f"axis {_per_axis(dims)}"
    )


def _pads_text(pads: object) -> str:
    pairs = list(pads) if isinstance(pads, Sequence) else []
    numbers = [n for pair in pairs for n in (pair if isinstance(pair, Sequence) else (pair,))]
    return _one(numbers) if len(set(numbers)) == 1 else ", ".join(map(str, pairs)).replace(",)", ")")


def _by(sizes: Iterable[object]) -> str:
    return "×".join(map(str, sizes))


def _plain(text: str) -> str:
    """`text` with control characters, line ends and direction marks spelled out, so that no name can break a row."""
    return "".join(c if c.isprintable() or c in "\u202f\u00a0" else c.encode("unicode_escape").decode() for c in text)


def _circumstances(trace: Trace) -> str:
    inputs = ", ".join(_by(shape) or "one number" for shape in trace.input_shapes) or "none"
    how = {
        "meta": "shapes only, nothing computed (meta tensors)",
        "fake": "shapes only, nothing computed (fake tensors)",
        "real": "numbers computed (real tensors)",
    }[trace.method]
    mode = "in eval mode" if trace.mode == "eval" else "each module in the mode it was in"
    return f"input {inputs} · {how}, {mode}"


def _totals(trace: Trace) -> str:
    steps = f"{count(len(trace))} step{'' if len(trace) == 1 else 's'}"
    if trace.failure:
        return f"{steps}, stopped at {_plain(trace.failure.step.name)}"
    return f"{steps}, output {shape_text(trace.output_shape)}"


_MARK = "✗"
_LETTERS = "s stride, p padding, d dilation, o output padding"


# The terminal

_HEADS = ("", "step", "kind", "window", "input → output", "parameters", "MACs")
_RIGHT = (5, 6)
_WIDEST = (1, 44, 24, 44, 48, 18, 22)
_SHORTEST_NAME = 16
_LINE = 120
_GAP = "  "


def text(trace: Trace) -> str:
    """The table for a terminal: a line for each step, and its sums on the line below."""
    lines = rows(trace)
    totals = ("",) * 5 + (count(trace.params), count(trace.macs))
    body = _narrowed([_text_cells(row) for row in lines], totals)
    widths = _widths([_HEADS, *body, totals])
    rule = _GAP.join("─" * width for width in widths)
    room = sum(widths[1:5]) + 3 * len(_GAP)  # the words about the totals may run over the columns in the middle
    last = (widths[0] * " ", _cut(_totals(trace), room), *totals[5:])
    return "\n".join(
        [
            *_wrapped("", f"{_plain(trace.model)} · {_circumstances(trace)}"),
            *([f"In a window: {_LETTERS}"] if any(step.window for step in trace) else []),
            "",
            _aligned(_HEADS, widths),
            rule,
            *(line for row, cells in zip(lines, body, strict=True) for line in _step_lines(row, cells, widths)),
            rule,
            _aligned(last, (widths[0], room, *widths[5:]), right=(2, 3)),
            *(_failure_lines(trace.failure) if trace.failure else ()),
        ]
    )


def _text_cells(row: Row) -> tuple[str, ...]:
    mark, shapes = _MARK if row.failed else "", f"{row.input} → {row.output}"
    return tuple(map(_cut, (mark, row.name, row.kind, row.window, shapes, row.params, row.macs), _WIDEST))


def _narrowed(body: Sequence[tuple[str, ...]], totals: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The cells with names cut as far as a line of 120 characters asks for, and not so far that they tell nothing."""
    widths = _widths([_HEADS, *body, totals])
    over = max(0, sum(widths) + len(_GAP) * (len(widths) - 1) - _LINE)
    name = max(_SHORTEST_NAME, widths[1] - over)
    return [(cells[0], _cut(cells[1], name), *cells[2:]) for cells in body]


def _step_lines(row: Row, cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The line of a step and, from the column of kinds on, its sums: on one line if there is room."""
    start = " " * (sum(widths[:2]) + 2 * len(_GAP))
    sums = [f"{sum.axes}: {sum.numbers}" if sum.axes else sum.numbers for sum in row.sums]
    together = start + "   ".join(sums)
    apart = [start + sum for sum in sums]
    return [_aligned(cells, widths), *([together] if sums and _width(together) <= _LINE else apart)]


def _widths(lines: Iterable[Sequence[str]]) -> list[int]:
    return [max(map(_width, column)) for column in zip(*lines, strict=True)]


def _aligned(cells: Sequence[str], widths: Sequence[int], right: Sequence[int] = _RIGHT) -> str:
    padded = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - _width(cell))
        padded.append(space + cell if column in right else cell + space)
    return _GAP.join(padded).rstrip()


def _width(text: str) -> int:
    """Cells that `text` takes in a terminal: wide East Asian characters and emoji two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, its middle left out if need be: both ends of a dotted path tell something."""
    if _width(text) <= width:
        return text
    head, tail = text, text
    while _width(head) > (width - 1) // 2:
        head = head[:-1]
    while _width(tail) > width - 1 - _width(head):
        tail = tail[1:]
    return f"{head}…{tail}"


def _failure_lines(failure: Failure) -> list[str]:
    said = [_plain(line) for line in failure.message.splitlines()] or [""]
    lines = ["", *_wrapped(f"{_MARK} ", _plain(failure.explanation)), *_wrapped("  PyTorch says: ", said[0])]
    lines += [f"  {line}" for line in said[1:]]
    if failure.where:
        lines += _wrapped("  called from: ", _plain(failure.where))
    if failure.remedies:
        lines += ["  Ways out:"]
    for number, remedy in enumerate(failure.remedies, 1):
        lines += _wrapped(f"  {number}. ", _plain(remedy))
    return lines


def _wrapped(start: str, words: str) -> list[str]:
    """`words` in lines of at most 118 characters, code between backticks kept together."""
    hang = " " * (len(start) if len(start) < 8 else 4)
    whole = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), words)
    lines = textwrap.wrap(whole, 118, initial_indent=start, subsequent_indent=hang, break_long_words=False)
    return [text.replace("\0", " ") for text in lines] or [start.rstrip()]


# The notebook
#
# JupyterLab removes <style>, role and aria-label from outputs that it does not trust, and then right-aligns cells. So
# alignment and scrolling stand in style attributes, which it keeps; colour is left to <style> and always has a word or
# a mark beside it.

_STYLE = """
.fcnviz-trace{--ink:#1b1b1b;--soft:#595959;--rule:#d4d4d4;--back:#fff;--band:#f5f5f5;--bad:#a40e26;--bad-back:#fdecee}
@media (prefers-color-scheme:dark){body:not([data-jp-theme-light]) .fcnviz-trace{--ink:#e6e6e6;--soft:#ababab;
--rule:#4a4a4a;--back:#161616;--band:#202020;--bad:#ffb4ba;--bad-back:#471218}}
body[data-jp-theme-light=false] .fcnviz-trace{--bad:#ffb4ba;--bad-back:#471218}
body[data-jp-theme-light] .fcnviz-trace{--ink:var(--jp-content-font-color1);--soft:var(--jp-content-font-color1);
--rule:var(--jp-border-color2);--back:var(--jp-layout-color0);--band:var(--jp-rendermime-table-row-background)}
.fcnviz-trace{color:var(--ink);background:var(--back);font-size:13px;line-height:1.4}
.fcnviz-trace .scroll{overflow-x:auto;container-type:inline-size}
.fcnviz-trace table.steps{border-collapse:collapse;margin:0;font-size:inherit;font-variant-numeric:tabular-nums}
.fcnviz-trace table.steps caption{padding:4px 8px 8px;color:var(--soft);white-space:normal}
.fcnviz-trace table.steps caption b{color:var(--ink)}
.fcnviz-trace table.steps :is(td,th){padding:2px 7px;border:0;vertical-align:top;font-weight:400}
.fcnviz-trace table.steps th{white-space:nowrap}
.fcnviz-trace table.steps thead th{border-bottom:2px solid var(--rule);font-weight:600;vertical-align:bottom}
.fcnviz-trace table.steps tbody tr{background:var(--back)}
.fcnviz-trace table.steps tbody:nth-of-type(even) tr{background:var(--band)}
.fcnviz-trace table.steps tbody th{font-weight:600}
.fcnviz-trace table.steps tr.sums td{padding-top:0}
.fcnviz-trace .sums td>span{display:inline-block;margin-right:1.6em;white-space:nowrap}
.fcnviz-trace table.steps tfoot :is(td,th){border-top:2px solid var(--rule);font-weight:600}
.fcnviz-trace .axis,.fcnviz-trace .number{color:var(--soft)}
.fcnviz-trace table.steps tbody.failed tr{background:var(--bad-back);color:var(--bad)}
.fcnviz-trace table.steps tbody.failed *{color:inherit}
.fcnviz-trace table.steps tbody.failed :is(td,th):first-child{box-shadow:inset 4px 0 var(--bad)}
.fcnviz-trace table.steps tr.why td{padding:4px 14px 10px}
.fcnviz-trace .why div{position:sticky;left:14px;max-width:72em;max-width:min(72em,100cqw - 28px);padding:1px 0}
.fcnviz-trace table.steps tbody.failed .why :is(div,ol,li,code){color:var(--ink)}
.fcnviz-trace table.steps tbody.failed .why b,.fcnviz-trace table.steps tbody.failed .why b *{color:var(--bad)}
.fcnviz-trace .why ol{margin:2px 0 0;padding-left:1.6em}
.fcnviz-trace .why code{background:none;padding:0;font-size:inherit;white-space:pre-wrap}
.fcnviz-trace details{padding:6px 10px;color:var(--ink)}
.fcnviz-trace summary{cursor:pointer}
.fcnviz-trace details ul{margin:4px 0;padding-left:1.4em}
"""


def html(trace: Trace) -> str:
    """The table for a notebook: one `<table>` in a box that scrolls sideways, readable with and without its style."""
    lines = rows(trace)
    body = "\n".join(_html_step(row, trace.failure if row.failed else None) for row in lines)
    return (
        f"<style>{_STYLE}</style>\n"
        f'<div class="fcnviz-trace"><div class="scroll" style="overflow-x:auto" tabindex="0" role="region" '
        f'aria-label="Trace of {_attribute(trace.model)}">\n'
        f'<table class="steps">\n{_html_head(trace)}\n{body}\n{_html_foot(trace)}\n</table>'
        "</div>"
        f"{_html_symbols(lines)}</div>\n"
    )


_HTML_HEADS = ("#", "step", "kind", "window", "input", "output", "parameters", "MACs")
_HTML_RIGHT = ("#", "parameters", "MACs")


def _html_head(trace: Trace) -> str:
    heads = "".join(f'<th scope="col"{_side(head in _HTML_RIGHT)}>{head}</th>' for head in _HTML_HEADS)
    model, rest = _escape(_plain(trace.model)), _escape(_circumstances(trace))
    return f'<caption style="text-align:left"><b>{model}</b> · {rest}</caption>\n<thead><tr>{heads}</tr></thead>'


def _side(right: bool) -> str:
    return f' style="text-align:{"right" if right else "left"}"'


def _html_step(row: Row, failure: Failure | None) -> str:
    """A step as a group of rows: its facts, its sums, and why it failed."""
    sums = "".join(map(_html_sum, row.sums))
    parts = [
        _html_row(row),
        f'<tr class="sums"><td></td><td></td><td colspan="6"{_side(False)}>{sums}</td></tr>' if sums else "",
        _html_failure(failure) if failure else "",
    ]
    failed = ' class="failed"' if row.failed else ""
    return f"<tbody{failed}>{''.join(parts)}</tbody>"


def _html_row(row: Row) -> str:
    mark = f"{_MARK} " if row.failed else ""
    title = f' title="{_attribute(row.weights)}"' if row.weights else ""
    cells = (
        f'<td class="number"{_side(True)}>{row.number}</td>',
        f'<th scope="row"{_side(False)}>{mark}{_escape(row.name)}</th>',
        f"<td{_side(False)}>{_escape(row.kind)}</td>",
        f"<td{_side(False)}{title}>{_escape(row.window)}</td>",
        f"<td{_side(False)}>{_escape(row.input)}</td>",
        f"<td{_side(False)}>{'✗ fails here' if row.failed else _escape(row.output)}</td>",
        f"<td{_side(True)}>{row.params}</td>",
        f"<td{_side(True)}>{row.macs}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"


def _html_sum(sum: Sum) -> str:
    axes = f'<span class="axis">{_escape(sum.axes)}:</span> ' if sum.axes else ""
    return f'<span title="{_attribute(sum.symbols)}">{axes}{_escape(sum.numbers)}</span> '


def _html_failure(failure: Failure) -> str:
    where = f"<div>Called from {_escape(_plain(failure.where))}</div>" if failure.where else ""
    ways = "".join(f"<li>{_html_code(_plain(remedy))}</li>" for remedy in failure.remedies)
    said = "<br>".join(_escape(_plain(line)) for line in failure.message.splitlines())
    return (
        f'<tr class="why"><td colspan="8"{_side(False)}>'
        f"<div><b>{_MARK} {_html_code(_plain(failure.explanation))}</b></div>"
        f"<div>PyTorch says: <code>{said}</code></div>{where}"
        + (f"<div>Ways out:<ol>{ways}</ol></div>" if ways else "")
        + "</td></tr>"
    )


def _html_foot(trace: Trace) -> str:
    return (
        f'<tfoot><tr><td></td><th scope="row" colspan="5"{_side(False)}>{_escape(_totals(trace))}</th>'
        f"<td{_side(True)}>{count(trace.params)}</td><td{_side(True)}>{count(trace.macs)}</td></tr></tfoot>"
    )


def _html_symbols(lines: Iterable[Row]) -> str:
    """Each formula once, in symbols, with the kinds of step that use it."""
    kinds: dict[str, dict[str, None]] = {}
    for row in lines:
        for sum in row.sums:
            if len(sum.symbols) > 1:  # an axis that only moves is no sum
                kinds.setdefault(sum.symbols, {})[row.kind] = None
    if not kinds:
        return ""
    items = "".join(f"<li>{_escape(', '.join(names))}: {_escape(symbols)}</li>" for symbols, names in kinds.items())
    return (
        f"\n<details><summary>The sums in symbols</summary><ul>{items}</ul>"
        f"<div>n, H, W, …: the size of an axis; k kernel, {_LETTERS}</div></details>"
    )


def _escape(text: str) -> str:
    return escape(text, quote=False)


def _attribute(text: str) -> str:
    return escape(_plain(text), quote=True)


def _html_code(text: str) -> str:
    """`text` escaped, what stands between backticks set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _escape(text))

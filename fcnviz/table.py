"""A trace as a table: for the terminal, and for a notebook.

Both are made from `rows`, which turns steps into plain text, and both write the sums of a step on a line of their own
under it: so a table of VGG16 fits 120 characters, and a notebook beside its file browser. A sum is shown only where it
agrees with the traced shape; a step whose arithmetic fcnviz does not know shows its shapes and no sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from fcnviz import arithmetic, layout
from fcnviz.arithmetic import count, line
from fcnviz.records import Failure, Output, Shape, Step, Trace

__all__ = ["Row", "Sum", "failure_html", "html", "rows", "shape_text", "text", "window_text"]


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
        name=layout.plain(step.name),
        kind=layout.plain(step.kind),
        window=layout.plain(window_text(step)),
        weights=layout.plain(", ".join(f"{weight.name} {_by(weight.shape)}" for weight in step.weights)),
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
        return f"{{{_some([f'{layout.plain(str(key))}: {shape_text(value)}' for key, value in shape.items()])}}}"
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
        return f"{steps}, stopped at {layout.plain(trace.failure.step.name)}"
    return f"{steps}, output {shape_text(trace.output_shape)}"


_MARK = "✗"
_LETTERS = "s stride, p padding, d dilation, o output padding"


# The terminal

_HEADS = ("", "step", "kind", "window", "input → output", "parameters", "MACs")
_RIGHT = (5, 6)
_WIDEST = (1, 44, 24, 44, 48, 18, 22)
_SHORTEST_NAME = 16


def text(trace: Trace) -> str:
    """The table for a terminal: a line for each step, and its sums on the line below."""
    lines = rows(trace)
    totals = ("",) * 5 + (count(trace.params), count(trace.macs))
    body = _narrowed([_text_cells(row) for row in lines], totals)
    widths = layout.column_widths([_HEADS, *body, totals])
    rule = layout.GAP.join("─" * width for width in widths)
    room = sum(widths[1:5]) + 3 * len(layout.GAP)  # the words about the totals may run over the columns in the middle
    last = (widths[0] * " ", layout.shortened(_totals(trace), room), *totals[5:])
    return "\n".join(
        [
            *layout.wrapped("", f"{layout.plain(trace.model)} · {_circumstances(trace)}"),
            *([f"In a window: {_LETTERS}"] if any(step.window for step in trace) else []),
            "",
            layout.aligned(_HEADS, widths, _RIGHT),
            rule,
            *(line for row, cells in zip(lines, body, strict=True) for line in _step_lines(row, cells, widths)),
            rule,
            layout.aligned(last, (widths[0], room, *widths[5:]), right=(2, 3)),
            *(_failure_lines(trace.failure) if trace.failure else ()),
        ]
    )


def _text_cells(row: Row) -> tuple[str, ...]:
    mark, shapes = _MARK if row.failed else "", f"{row.input} → {row.output}"
    return tuple(map(layout.shortened, (mark, row.name, row.kind, row.window, shapes, row.params, row.macs), _WIDEST))


def _narrowed(body: Sequence[tuple[str, ...]], totals: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The cells with names cut as far as a line of 120 characters asks for, and not so far that they tell nothing."""
    widths = layout.column_widths([_HEADS, *body, totals])
    over = max(0, sum(widths) + len(layout.GAP) * (len(widths) - 1) - layout.LINE)
    name = max(_SHORTEST_NAME, widths[1] - over)
    return [(cells[0], layout.shortened(cells[1], name), *cells[2:]) for cells in body]


def _step_lines(row: Row, cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The line of a step and, from the column of kinds on, its sums: on one line if there is room."""
    start = " " * (sum(widths[:2]) + 2 * len(layout.GAP))
    sums = [f"{sum.axes}: {sum.numbers}" if sum.axes else sum.numbers for sum in row.sums]
    together = start + "   ".join(sums)
    apart = [start + sum for sum in sums]
    return [
        layout.aligned(cells, widths, _RIGHT),
        *([together] if sums and layout.width_of(together) <= layout.LINE else apart),
    ]


def _failure_lines(failure: Failure) -> list[str]:
    said = [layout.plain(line) for line in failure.message.splitlines()] or [""]
    lines = [
        "",
        *layout.wrapped(f"{_MARK} ", layout.plain(failure.explanation)),
        *layout.wrapped("  PyTorch says: ", said[0]),
    ]
    lines += [f"  {line}" for line in said[1:]]
    if failure.where:
        lines += layout.wrapped("  called from: ", layout.plain(failure.where))
    if failure.remedies:
        lines += ["  Ways out:"]
    for number, remedy in enumerate(failure.remedies, 1):
        lines += layout.wrapped(f"  {number}. ", layout.plain(remedy))
    return lines


# The notebook
#
# JupyterLab removes <style>, role and aria-label from outputs that it does not trust, and then right-aligns cells. So
# alignment and scrolling stand in style attributes, which it keeps; colour is left to <style> and always has a word or
# a mark beside it.


def html(trace: Trace) -> str:
    """The table for a notebook: one `<table>` in a box that scrolls sideways, readable with and without its style."""
    lines = rows(trace)
    body = "\n".join(_html_step(row, trace.failure if row.failed else None) for row in lines)
    return (
        f"<style>{layout.STYLE}</style>\n"
        f'<div class="fcnviz-trace"><div class="scroll" style="overflow-x:auto" tabindex="0" role="region" '
        f'aria-label="Trace of {layout.attribute(trace.model)}">\n'
        f'<table class="steps">\n{_html_head(trace)}\n{body}\n{_html_foot(trace)}\n</table>'
        "</div>"
        f"{_html_symbols(lines)}</div>\n"
    )


_HTML_HEADS = ("#", "step", "kind", "window", "input", "output", "parameters", "MACs")
_HTML_RIGHT = ("#", "parameters", "MACs")


def _html_head(trace: Trace) -> str:
    heads = "".join(f'<th scope="col"{layout.side(head in _HTML_RIGHT)}>{head}</th>' for head in _HTML_HEADS)
    model, rest = layout.escaped(layout.plain(trace.model)), layout.escaped(_circumstances(trace))
    return f'<caption style="text-align:left"><b>{model}</b> · {rest}</caption>\n<thead><tr>{heads}</tr></thead>'


def _html_step(row: Row, failure: Failure | None) -> str:
    """A step as a group of rows: its facts, its sums, and why it failed."""
    sums = "".join(map(_html_sum, row.sums))
    parts = [
        _html_row(row),
        f'<tr class="sums"><td></td><td></td><td colspan="6"{layout.side(False)}>{sums}</td></tr>' if sums else "",
        _html_failure(failure) if failure else "",
    ]
    failed = ' class="failed"' if row.failed else ""
    return f"<tbody{failed}>{''.join(parts)}</tbody>"


def _html_row(row: Row) -> str:
    mark = f"{_MARK} " if row.failed else ""
    title = f' title="{layout.attribute(row.weights)}"' if row.weights else ""
    cells = (
        f'<td class="number"{layout.side(True)}>{row.number}</td>',
        f'<th scope="row"{layout.side(False)}>{mark}{layout.escaped(row.name)}</th>',
        f"<td{layout.side(False)}>{layout.escaped(row.kind)}</td>",
        f"<td{layout.side(False)}{title}>{layout.escaped(row.window)}</td>",
        f"<td{layout.side(False)}>{layout.escaped(row.input)}</td>",
        f"<td{layout.side(False)}>{'✗ fails here' if row.failed else layout.escaped(row.output)}</td>",
        f"<td{layout.side(True)}>{row.params}</td>",
        f"<td{layout.side(True)}>{row.macs}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"


def _html_sum(sum: Sum) -> str:
    axes = f'<span class="axis">{layout.escaped(sum.axes)}:</span> ' if sum.axes else ""
    return f'<span title="{layout.attribute(sum.symbols)}">{axes}{layout.escaped(sum.numbers)}</span> '


def _html_failure(failure: Failure) -> str:
    return f'<tr class="why"><td colspan="8"{layout.side(False)}>{_html_reasons(failure)}</td></tr>'


def failure_html(failure: Failure) -> str:
    """What a table of steps says below the one that failed, by itself."""
    return f'<div class="fcnviz-failure">{_html_reasons(failure)}</div>\n'


def _html_reasons(failure: Failure) -> str:
    where = f"<div>Called from {layout.escaped(layout.plain(failure.where))}</div>" if failure.where else ""
    ways = "".join(f"<li>{layout.with_code(layout.plain(remedy))}</li>" for remedy in failure.remedies)
    said = "<br>".join(layout.escaped(layout.plain(line)) for line in failure.message.splitlines())
    return (
        f"<div><b>{_MARK} {layout.with_code(layout.plain(failure.explanation))}</b></div>"
        f"<div>PyTorch says: <code>{said}</code></div>{where}"
        + (f"<div>Ways out:<ol>{ways}</ol></div>" if ways else "")
    )


def _html_foot(trace: Trace) -> str:
    return (
        f'<tfoot><tr><td></td><th scope="row" colspan="5"{layout.side(False)}>{layout.escaped(_totals(trace))}</th>'
        f"<td{layout.side(True)}>{count(trace.params)}</td><td{layout.side(True)}>{count(trace.macs)}</td></tr></tfoot>"
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
    items = "".join(
        f"<li>{layout.escaped(', '.join(names))}: {layout.escaped(symbols)}</li>" for symbols, names in kinds.items()
    )
    return (
        f"\n<details><summary>The sums in symbols</summary><ul>{items}</ul>"
        f"<div>n, H, W, …: the size of an axis; k kernel, {_LETTERS}</div></details>"
    )

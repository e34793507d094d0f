"""Networks side by side under two sliders, the image's height and width: the classroom view of the first notebook.

Every number shown is read from traces and from the arithmetic; nothing is decided here. The view holds ipywidgets and
no torch: at each size it asks `trace` once for each network and writes three pieces of HTML.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import pairwise
from typing import Any

import ipywidgets as ipw
import traitlets

from fcnviz.arithmetic import Formula, agrees, count, formulas, line
from fcnviz.errors import InputError
from fcnviz.records import Output, Shape, Step, Trace, Window
from fcnviz.table import shape_text, window_text
from fcnviz.trace import trace

PRESETS = ((224, 224), (256, 256), (224, 256), (1568, 32))
SLIDER_MAX = 512  # the sliders stay finer than one size per pixel; larger sizes are typed
SIZE_MAX = 2048
RANGE = f"1–{SIZE_MAX}"
LONG = 11  # characters of a shape that the strip has room for in its usual type

# By name: a step that may change a size, followed by the steps after it that keep it (ReLU, Dropout, …).
Rows = dict[str, tuple[Step, ...]]


@dataclass(frozen=True)
class Lane:
    """One network at one size. `plan` has the rows of a size that passes: what was never reached is known by it."""

    label: str
    trace: Trace
    plan: Rows
    rows: Rows

    @property
    def failing(self) -> str | None:
        """The row in which the failing step stands: the last one."""
        return next(reversed(self.rows)) if self.trace.failure else None


class SizeExplorer(ipw.VBox):  # type: ignore[misc]
    """Sliders for the height and width of an image, and what becomes of it in each of `models`, a dict of label: model.

    `size` is the height and width shown, `row` the place in `names` of the layer whose arithmetic is written out:
    set them from Python, or move the sliders.

    Raises:
        InputError: no dict of models, or a model that cannot take an image of `channels` channels.

    >>> from fcnviz import models
    >>> view = SizeExplorer({"Linear head": models.vgg16(), "Convolutional head": models.vgg16("conv")})
    >>> view.size = (256, 256)
    >>> view
    3×256×256 · Linear head: stops at classifier.0 · Convolutional head: 1000×2×2
    """

    size = traitlets.Tuple(traitlets.Int(min=1, max=SIZE_MAX), traitlets.Int(min=1, max=SIZE_MAX))
    row = traitlets.Int()

    def __init__(self, models: Mapping[str, Any], size: tuple[int, int] = (224, 224), channels: int = 3) -> None:
        if not isinstance(models, Mapping) or not models:
            raise InputError(
                f"models has to be a dict such as {{'my network': net}}, but it is {type(models).__name__}"
            )
        self.models, self.channels = dict(models), channels
        self.plans = {label: self._plan(model, size) for label, model in self.models.items()}
        self.names = merge(self.plans.values())
        self.parting = parting(self.names, tuple(self.plans.values()))
        self.cards, self.strip, self.sums = (_named(ipw.HTML(), part) for part in ("cards", "strip", "sums"))
        body = _named(ipw.HBox([self.strip, ipw.VBox([self._stepper(), self.sums])]), "body")
        super().__init__([ipw.HTML(STYLE), self._size_controls(), self.cards, body], size=size)
        _named(self, "sizes")
        if len(self.models) == 1:
            _named(self, "alone")
        self.observe(self._show_size, "size")
        self.observe(self._show_row, "row")
        self._show_size()

    def _plan(self, model: Any, size: tuple[int, int]) -> Rows:
        tried = [self._trace(model, at) for at in (size, *PRESETS)]
        return rows_of(next((t for t in tried if t.failure is None), tried[0]))

    def _trace(self, model: Any, size: tuple[int, int]) -> Trace:
        return trace(model, (1, self.channels, *size))

    def _size_controls(self) -> ipw.HBox:
        axes = ("Height H", "Width W")
        self.sliders = [ipw.IntSlider(1, 1, SLIDER_MAX, description=a, readout=False, tooltip=a) for a in axes]
        # a field of whole numbers drops the point of 22.7 and the e of 3e2 as they are typed
        self.fields = [ipw.FloatText(1, step=1, tooltip=f"{a}: a whole number, {RANGE}") for a in axes]
        self.notes = [_named(ipw.Label(RANGE), "note") for _ in axes]
        self.square = ipw.Checkbox(True, description="square", tooltip="keep W equal to H", indent=False)
        self.presets = [_button(f"{h} × {w}", partial(self._preset, (h, w))) for h, w in PRESETS]
        for axis in (0, 1):
            self.sliders[axis].observe(partial(self._slid, axis), "value")
            self.fields[axis].observe(partial(self._typed, axis), "value")
        self.square.observe(lambda _: self._resize(0, self.size[0]), "value")
        pairs = [_named(ipw.HBox(o), "axis") for o in zip(self.sliders, self.fields, self.notes, strict=True)]
        return _named(ipw.HBox([*pairs, ipw.HBox([self.square, *self.presets])]), "controls")

    def _stepper(self) -> ipw.VBox:
        last, parting = len(self.names) - 1, self.names.index(self.parting[-1]) if self.parting else 0
        self.row_slider = ipw.IntSlider(1, 1, last + 1, description="Layer", tooltip="the layer written out below")
        self.total = ipw.Label(f"of {last + 1}")
        traitlets.link((self, "row"), (self.row_slider, "value"), (lambda row: row + 1, lambda value: value - 1))
        moves = {
            "first": lambda: 0,
            "back": lambda: self.row - 1,
            "next": lambda: self.row + 1,
            "last": lambda: last,
            **({"where they part": lambda: parting} if self.parting else {}),
        }
        told = {"where they part": f"the first layer that is not of the same kind on all sides: {self.names[parting]}"}
        self.moves = {
            text: _button(text, lambda to=to: self.set_trait("row", to()), told.get(text, f"{text} layer"))
            for text, to in moves.items()
        }
        slider = ipw.HBox([self.row_slider, self.total])
        return _named(ipw.VBox([slider, ipw.HBox(list(self.moves.values()))]), "stepper")

    @traitlets.validate("row")
    def _within(self, proposal: Mapping[str, Any]) -> int:
        return max(0, min(proposal["value"], len(self.names) - 1))

    def _preset(self, size: tuple[int, int]) -> None:
        self.size = size
        self.square.value = size[0] == size[1]

    def _typed(self, axis: int, change: Mapping[str, Any]) -> None:
        """Take the nearest size there is, and say so where it is not the one that was typed."""
        typed = change["new"]
        size = math.floor(min(max(typed, 1), SIZE_MAX) + 0.5)
        if size != typed:
            self.fields[axis].value = size  # comes back here
            self.notes[axis].value = f"{typed:g} → {size}".replace("-", "−")
        elif size != self.size[axis]:
            self._resize(axis, size)

    def _slid(self, axis: int, change: Mapping[str, Any]) -> None:
        if change["new"] != min(self.size[axis], SLIDER_MAX):
            self._resize(axis, change["new"])

    def _resize(self, axis: int, size: int) -> None:
        other = size if self.square.value else self.size[1 - axis]
        self.size = (size, other) if axis == 0 else (other, size)

    def _show_size(self, _: object = None) -> None:
        if self.size[0] != self.size[1]:
            self.square.value = False
        for slider, field, note, size in zip(self.sliders, self.fields, self.notes, self.size, strict=True):
            slider.value, field.value, note.value = min(size, SLIDER_MAX), size, RANGE
        traces = {label: self._trace(model, self.size) for label, model in self.models.items()}
        self.lanes = [Lane(label, t, self.plans[label], rows_of(t)) for label, t in traces.items()]
        self.cards.value = cards_html(self.lanes, self.parting)
        self._show_row()

    def _show_row(self, _: object = None) -> None:
        chosen = self.names[self.row]
        for text, end in (("first", 0), ("back", 0), ("next", len(self.names) - 1), ("last", len(self.names) - 1)):
            self.moves[text].disabled = self.row == end
        self.strip.value = strip_html(self.lanes, self.names, chosen)
        self.sums.value = sums_html(self.lanes, chosen)

    def __repr__(self) -> str:
        image = shape_text(Shape((1, self.channels, *self.size)))
        return " · ".join([image, *(f"{lane.label}: {ending(lane)}" for lane in self.lanes)])

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Where no widget can live, the same as HTML, standing still."""
        strip = f"<div class='fcnviz-strip'>{self.strip.value}</div>"
        still = f"{STYLE}<div class='fcnviz-sizes'>{self.cards.value}{strip}</div>"
        return {**super()._repr_mimebundle_(**kwargs), "text/plain": repr(self), "text/html": still}


def _named(widget: Any, part: str) -> Any:
    return widget.add_class(f"fcnviz-{part}")


def _button(text: str, action: Any, told: str = "") -> ipw.Button:
    button = ipw.Button(description=text, tooltip=told or text)
    button.on_click(lambda _: action())
    return button


def rows_of(trace: Trace) -> Rows:
    """The steps of a trace by name, those that keep the size filed under the step before them."""
    rows: Rows = {}
    for step in trace:
        kept_by = next(reversed(rows)) if rows and step.operation == "same" else None
        if kept_by is None:
            rows[step.name] = (step,)
        else:
            rows[kept_by] += (step,)
    return rows


def merge(orders: Iterable[Iterable[str]]) -> list[str]:
    """All names in one order, each new one after the name it follows.

    >>> merge([["a", "flatten", "b"], ["a", "b", "c"]])
    ['a', 'flatten', 'b', 'c']
    """
    merged: list[str] = []
    for order in orders:
        place = 0
        for name in order:
            if name not in merged:
                merged.insert(place, name)
            place = merged.index(name) + 1
    return merged


def parting(names: Sequence[str], plans: Sequence[Rows]) -> tuple[str, ...]:
    """The last row that all networks have in common, and the first one that has another kind in another network."""
    shared = [name for name in names if all(name in plan for plan in plans)]
    for before, name in pairwise(shared):
        if len({plan[name][0].kind for plan in plans}) > 1:
            return before, name
    return ()


def ending(lane: Lane) -> str:
    """What comes out, in a few words."""
    failure = lane.trace.failure
    return f"stops at {failure.step.name}" if failure else shape_text(lane.trace.output_shape)


def cards_html(lanes: Sequence[Lane], parting: Sequence[str]) -> str:
    """One card for each network: through which maps it goes, and whether it answers."""
    return f"<div class='fcnviz-row'>{''.join(_card(lane, parting) for lane in lanes)}</div>"


def _card(lane: Lane, parting: Sequence[str]) -> str:
    failure = lane.trace.failure
    state, mark = ("bad", "✗") if failure else ("good", "✓")
    maps = [lane.rows[name][0].output_shape for name in parting if name in lane.rows and name != lane.failing]
    path = [_shape(lane.trace.input_shapes[0]), *map(_shape, maps)]
    path.append(f"<b>✗ {escape(failure.step.name)}</b>" if failure else f"<b>{_shape(lane.trace.output_shape)}</b>")
    said = f"{type(failure.cause).__name__}: {failure.message}" if failure else ""
    why = f"{escape(failure.explanation)}</p><p><code>{escape(said)}</code>" if failure else _answers(lane)
    return (
        f"<section class='fcnviz-{state}' aria-label='{escape(lane.label)}'>"
        f"<h4><span>{mark}</span> {escape(lane.label)}</h4><p>{' → '.join(path)}</p>"
        f"<p class='fcnviz-why'>{why}</p></section>"
    )


def _shape(shape: Output) -> str:
    return escape(shape_text(shape))


def _answers(lane: Lane) -> str:
    """How many answers the output holds: one for the image, or one for each cell of a map."""
    shape = lane.trace.output_shape
    if not isinstance(shape, Shape) or len(shape) not in (2, 4):
        return "It runs."
    if len(shape) == 2:
        return f"It runs: one answer for the whole image.{_rearranged(lane)}"
    high, wide = shape[2:]
    answers = f"{count(high * wide)} answer{'' if high * wide == 1 else 's'}"
    return f"It runs: {high} × {wide} = {answers}, one for each cell of the map.{_cells_html(high, wide)}"


def _rearranged(lane: Lane) -> str:
    """What a Linear layer cannot see: another map whose numbers, laid in one row, are as many."""
    for name, (step, *_) in lane.rows.items():
        shape = step.output_shape
        in_one_row = step.operation in ("flatten", "reshape") and isinstance(shape, Shape) and len(shape) == 2
        if name not in lane.plan or not in_one_row:
            continue
        now, usual = (tuple(at.input_shapes[0][1:]) for at in (step, lane.plan[name][0]))
        if now != usual and math.prod(now) == math.prod(usual):
            products = f"{_dotted(now)} = {count(math.prod(now))} = {_dotted(usual)}"
            maps = f"{_by(now[1:])}, not {_by(usual[1:])}"
            return f"<br>But its map is {maps}: {products}, as many numbers, another geometry."
    return ""


def _cells_html(high: int, wide: int) -> str:
    """The cells of a small map as squares, in the room that a card keeps for what a failure has to say."""
    side = min(18, 70 // max(1, high), 350 // max(1, wide))  # pixels
    if side < 4:
        return ""
    size = f"width:{wide * side + 1}px;height:{high * side + 1}px;background-size:{side}px {side}px"
    return f"<span class='fcnviz-cells' aria-hidden='true' style='{size}'></span>"


def strip_html(lanes: Sequence[Lane], names: Sequence[str], chosen: str) -> str:
    """A table: a row for each layer, two columns for each network; what failed in red, what was not reached in grey."""
    heads = "".join(f"<th scope='col' colspan='2'>{escape(lane.label)}</th>" for lane in lanes)
    kinds = {kind_text(steps[0]) for lane in lanes for steps in lane.plan.values()}
    name, kind = _width(names, 7.7, len(lanes)), _width(kinds, 8.8, len(lanes))
    columns = f"<col style='width:{name}em'>" + f"<col style='width:{kind}em'><col style='width:8.6em'>" * len(lanes)
    width = round(name + (kind + 8.6) * len(lanes), 1)
    image = "".join(f"<td>image</td>{_size_cell(lane.trace.input_shapes[0])}" for lane in lanes)
    body = "".join(_strip_row(lanes, name, name == chosen) for name in names)
    return (
        f"<table style='width:{width}em'><colgroup>{columns}</colgroup>"
        f"<thead><tr><th scope='col'>layer</th>{heads}</tr></thead>"
        f"<tbody><tr><th scope='row'>input</th>{image}</tr>{body}</tbody></table>"
    )


def _width(texts: Iterable[str], usual: float, lanes: int) -> float:
    """Width of a column in em, the same at every size; one network alone has room for longer names."""
    longest = max(map(len, texts), default=0)
    return usual if lanes > 1 else min(max(usual, round(0.66 * longest + 2, 1)), 16)


def _strip_row(lanes: Sequence[Lane], name: str, chosen: bool) -> str:
    mark = " class='fcnviz-chosen' aria-current='step'" if chosen else ""
    cells = "".join(_strip_cells(lane, name) for lane in lanes)
    return f"<tr{mark}><th scope='row' title='{escape(name)}'>{escape(name)}</th>{cells}</tr>"


def _strip_cells(lane: Lane, name: str) -> str:
    if name == lane.failing:
        said = clash(lane.trace)
        small = " fcnviz-long" if len(said) > 2 * LONG + 4 else ""
        return f"<td colspan='2' class='fcnviz-bad{small}' title='{escape(said)}'>✗ {escape(said)}</td>"
    if name in lane.rows:
        step = lane.rows[name][0]
        kind = escape(kind_text(step))
        return f"<td title='{kind}'>{kind}</td>{_size_cell(step.output_shape)}"
    if name in lane.plan:
        kind = escape(kind_text(lane.plan[name][0]))
        return f"<td class='fcnviz-never'>{kind}</td><td class='fcnviz-never'>not reached</td>"
    return "<td class='fcnviz-never'>–</td><td></td>"


def _size_cell(shape: Output) -> str:
    small = " class='fcnviz-long'" if len(shape_text(shape)) > LONG else ""
    return f"<td{small} title='{_shape(shape)}'>{_shape(shape)}</td>"


def clash(trace: Trace) -> str:
    """What does not fit, as short as it can be said: 25 088 ≠ 32 768 = 512·8·8."""
    assert trace.failure is not None
    step = trace.failure.step
    if step.operation == "linear" and step.input_shapes and step.input_shapes[0][-1] != step.settings["in_features"]:
        columns, numbers = count(step.settings["in_features"]), count(step.input_shapes[0][-1])
        return f"{columns} ≠ {numbers}{_as_product(trace, step)}"
    broken = next((formula for formula in formulas(step) if not formula.holds), None)
    if broken and step.window and broken.axis in "DHWL":
        window, cells = step.window.kernel, step.input_shapes[0][-len(step.window.kernel) :]
        return f"{_by(window)} window, {_by(cells)} map"
    return f"{broken.axis}: {line(broken)}" if broken else f"{step.kind} stops here"


def _as_product(trace: Trace, step: Step) -> str:
    """The sizes of the map that was flattened into this step's input."""
    source = step.sources[0] if step.sources else None
    while source is not None and source.step >= 0:
        step = trace[source.step]
        if step.operation in ("flatten", "reshape"):
            return f" = {_dotted(step.input_shapes[0][1:])}"
        source = step.sources[0] if step.operation == "same" else None
    return ""


def sums_html(lanes: Sequence[Lane], name: str) -> str:
    """The arithmetic of one layer in every network; told once where networks agree."""
    told: dict[str, list[str]] = {}
    for lane in lanes:
        told.setdefault(_sum(lane, name), []).append(lane.label)
    blocks = (
        f"<section><h4>{escape(' and '.join(labels))} · {escape(name)}</h4>{text}</section>"
        for text, labels in told.items()
    )
    return "".join(blocks)


def _sum(lane: Lane, name: str) -> str:
    if name not in lane.rows:
        reason = f"not reached: stopped at {lane.failing}" if name in lane.plan else "no such layer in this network"
        return f"<p class='fcnviz-never'>{escape(reason)}</p>"
    step, failed = lane.rows[name][0], name == lane.failing
    facts = [
        ("in", _in_text(lane.trace, step)),
        ("layer", escape(_layer_text(step))),
        ("letters", _letters_html(step.window)),
        *(("", _formula_html(f, step)) for f in (formulas(step) if step.output_shape is None or agrees(step) else ())),
        ("weights", _weights_text(step)),
        ("out", _out_text(lane, name)),
    ]
    rows = "".join(_fact_html(label, text) for label, text in facts if text)
    return f"<table class='{'fcnviz-bad' if failed else ''}'>{rows}</table>"


def _fact_html(label: str, text: str) -> str:
    """A row with its label; a sum is long, and has the row to itself."""
    return f"<tr><th scope='row'>{label}</th><td>{text}</td></tr>" if label else f"<tr><td colspan='2'>{text}</td></tr>"


def _in_text(trace: Trace, step: Step) -> str:
    product = _as_product(trace, step) if step.operation == "linear" else ""
    laid = f"{product}, the map laid in one row" if product else ""
    return " and ".join(map(_shape, step.input_shapes)) + laid


def _layer_text(step: Step) -> str:
    """The kind, and what it asks of its input."""
    settings = step.settings
    if step.operation == "linear":
        return f"{step.kind}, {count(settings['in_features'])} columns, {count(settings['out_features'])} rows"
    if step.window is None:
        return f"{step.kind} {window_text(step)}"
    filters, channels = settings.get("out_channels"), settings.get("in_channels")
    seen = f", {filters} filters of {channels // step.window.groups}×" if filters and channels else " "
    return f"{step.kind}{seen}{_by(step.window.kernel)}"


_LETTERS = {"k": "kernel", "s": "stride", "p": "padding", "d": "dilation", "o": "output padding"}


def _letters_html(window: Window | None) -> str:
    """The numbers behind the letters of a sum: k = 3, s = 1, p = 1, d = 1."""
    if window is None:
        return ""
    values = (window.kernel, window.stride, window.padding, window.dilation, window.output_padding)
    asked = {letter: value for letter, value in zip(_LETTERS, values, strict=True) if value}
    numbers = ", ".join(f"{letter} = {_one(value)}" for letter, value in asked.items())
    return f"<span title='{', '.join(_LETTERS[letter] for letter in asked)}'>{escape(numbers)}</span>"


def _one(value: tuple[int, ...] | str) -> str:
    return value if isinstance(value, str) else str(value[0]) if len(set(value)) == 1 else _by(value)


def _out_text(lane: Lane, name: str) -> str:
    step, *keeping = lane.rows[name]
    refused = keeping.pop() if keeping and name == lane.failing else None
    if name == lane.failing and refused is None:
        return "<b>✗ nothing</b>"
    kept = f", kept by {' and '.join(s.kind for s in keeping)}" if keeping else ""
    return (
        f"<b>{_shape(step.output_shape)}</b>{escape(kept)}{escape(f', ✗ refused by {refused.kind}' if refused else '')}"
    )


def _formula_html(formula: Formula, step: Step) -> str:
    mark = "" if formula.holds else "✗ "
    axis = "" if formula.symbols.startswith(f"{formula.axis} ") else f"<b>{escape(formula.axis)}</b> "
    symbols, numbers = formula.symbols, line(formula)
    if step.operation == "linear":
        symbols, numbers = _columns_first(symbols), _columns_first(numbers)
    return f"{axis}<i>{escape(symbols)}</i><br>{mark}{escape(numbers)}"


def _columns_first(relation: str) -> str:
    """A relation the other way round, as the strip above says it: columns = n → rows."""
    return re.sub("^(.+?) ([=≠]) (.+?)(?= →|$)", r"\3 \2 \1", relation)


def _weights_text(step: Step) -> str:
    if not step.weights:
        return "none"
    shapes = ", ".join(f"{escape(weight.name)} {_shape(weight.shape)}" for weight in step.weights)
    return f"{shapes}<br>the same for every H and W"


def kind_text(step: Step) -> str:
    """The kind, with its kernel where it has one."""
    return f"{step.kind} {_by(step.window.kernel)}" if step.window else step.kind


def _by(sizes: Iterable[int]) -> str:
    return "×".join(map(str, sizes))


def _dotted(sizes: Iterable[int]) -> str:
    return "·".join(map(str, sizes))


# Tints over the theme's own background serve light and dark; a mark or a word stands beside every colour.
STYLE = """<style>
.fcnviz-sizes {
  --bad: #cc3311; --bad-tint: rgba(204, 51, 17, .16); --good: #0077bb; --good-tint: rgba(0, 119, 187, .11);
  --line: var(--jp-border-color2, #bbb); --dim: var(--jp-ui-font-color2, #666);
  container-type: inline-size; width: 100%; max-width: 1600px; padding: 4px 0; overflow: hidden;
}
body[data-jp-theme-light=false] .fcnviz-sizes {--bad-tint: rgba(220, 60, 25, .38); --good-tint: rgba(0, 119, 187, .28)}
.fcnviz-sizes {font-size: 12.5px; line-height: 1.45}
.fcnviz-sizes :is(.widget-html, .widget-html-content) {height: auto; font-size: inherit; line-height: inherit}
.fcnviz-sizes :is(h4, p) {margin: 0}
.fcnviz-sizes h4 {font-size: 1.15em}
.fcnviz-sizes .jupyter-button {width: auto; padding: 0 9px}
.fcnviz-controls {flex-flow: row wrap; gap: 2px 16px; align-items: center}
.fcnviz-controls .widget-checkbox {width: auto; margin-right: 12px}
.fcnviz-axis {flex: 1 1 360px}
.fcnviz-axis .widget-hslider, .fcnviz-stepper .widget-hslider {flex: 1 1 auto; width: auto}
.fcnviz-axis .widget-text {width: 80px; margin-left: 8px}
.fcnviz-sizes .fcnviz-axis .fcnviz-note {width: 92px; margin-left: 4px; font-size: .88em}
.fcnviz-sizes .widget-hslider .widget-label {width: auto; margin-right: 12px}
.fcnviz-row {display: flex; flex-wrap: wrap; gap: 10px}
.fcnviz-row section {flex: 1 1 360px; min-width: 0; min-height: 12.4em; padding: 4px 12px; border-left: 6px solid}
.fcnviz-row p {line-height: 1.3}
.fcnviz-row .fcnviz-good {border-color: var(--good); background: var(--good-tint)}
.fcnviz-row .fcnviz-bad {border-color: var(--bad); background: var(--bad-tint)}
.fcnviz-row .fcnviz-why::first-letter {text-transform: uppercase}
.fcnviz-cells {
  display: block; margin-top: 6px; border: solid var(--good); border-width: 1px 0 0 1px; box-sizing: border-box;
  background-image: linear-gradient(to left, var(--good) 1px, transparent 1px),
    linear-gradient(to top, var(--good) 1px, transparent 1px);
}
.fcnviz-row code {white-space: pre-wrap; background: none; color: inherit; font-size: .9em}
.fcnviz-body {flex-flow: row wrap; gap: 10px 18px; align-items: flex-start}
.fcnviz-body > .widget-vbox {flex: 1 1 300px; min-width: 0}
.fcnviz-sizes table {border-collapse: collapse; margin: 0; border: none; font-size: inherit}
.fcnviz-sizes table :is(td, th) {
  padding: 1px 4px; text-align: left; vertical-align: top; font-size: inherit; font-variant-numeric: tabular-nums;
}
.fcnviz-sizes table tr {background: none}
.fcnviz-sizes i {color: var(--dim); font-style: normal}
.fcnviz-sizes tbody th {font-weight: 400}
.fcnviz-strip table {table-layout: fixed; font-size: 12px; line-height: 1.3}
.fcnviz-strip table :is(td, th) {padding: 0 4px}
.fcnviz-strip table .fcnviz-long {font-size: .84em; letter-spacing: -.02em}
.fcnviz-strip table :is(td, th) {overflow: hidden; white-space: nowrap; text-overflow: ellipsis}
.fcnviz-strip tr {border-bottom: 1px solid var(--line)}
.fcnviz-strip table tr > :first-child {padding-left: 16px; position: relative}
.fcnviz-strip .fcnviz-chosen > :first-child {background: var(--good-tint)}
.fcnviz-strip .fcnviz-chosen > :first-child::before {content: "▸"; position: absolute; left: 3px}
.fcnviz-strip .fcnviz-bad {background: var(--bad-tint); font-weight: 700; box-shadow: inset 4px 0 var(--bad)}
.fcnviz-sizes .fcnviz-never {color: var(--dim); font-style: italic}
.fcnviz-stepper .widget-readout {min-width: 2.5em}
.fcnviz-stepper .widget-hbox:last-child {flex-wrap: wrap}
.fcnviz-sums {min-height: 30em}
.fcnviz-sums table {line-height: 1.35}
.fcnviz-sums table :is(td, th) {padding: 0 4px}
.fcnviz-sums td > b:first-child {display: inline-block; min-width: 1.2em}
.fcnviz-sums th {color: var(--dim)}
.fcnviz-sums section {margin-bottom: 8px}
.fcnviz-sums table.fcnviz-bad {background: var(--bad-tint)}
.fcnviz-sums table.fcnviz-bad :is(i, th) {color: inherit}
@container (min-width: 900px) {
  .fcnviz-row section {min-height: 11.4em}
}
@container (min-width: 1300px) {
  .fcnviz-sizes :is(.widget-html, .widget-html-content, .widget-label, .jupyter-button, input) {font-size: 15px}
  .fcnviz-strip table {font-size: 14px}
  .fcnviz-row section {min-height: 10.6em}
}
.fcnviz-alone .fcnviz-row section {min-height: 9.4em}
.fcnviz-alone .fcnviz-sums {min-height: 16em}
</style>"""

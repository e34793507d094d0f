"""One axis: what a window does to a size, written out. No torch in here.

What this file does not do: it decides nothing. torch decides every shape; the formulas are there to be read, and a view
shows one only where `agrees` has held it against the traced shape.

In reading order: how an axis is written down (`_Axis`: its rules, its symbols, its numbers); then each kind of window,
as one small function that both the size functions and `formulas` use, so that what is computed and what is written
cannot drift apart; then one writer for each operation of a `Step`.

Letters: n (or H, W, …) the size, k kernel, s stride, p padding, d dilation, o output padding, r a factor.
"""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from fcnviz.errors import WindowError
from fcnviz.records import Output, Shape, Step, Window

__all__ = [
    "BrokenRule",
    "Formula",
    "adaptive_windows",
    "agrees",
    "block_count",
    "conv_size",
    "conv_transpose_size",
    "count",
    "formulas",
    "interpolate_size",
    "line",
    "pad_size",
    "pool_size",
    "slice_size",
]

LISTED = 8  # this many adaptive windows are written one by one; of more, the first three and the last


@dataclass(frozen=True, slots=True)
class Formula:
    """The arithmetic of one axis of one step.

    Attributes:
        axis: "H", "W", "L", "D", "C", …, or "n" for a count of numbers.
        symbols: the rule: `⌊(H + 2·p − d·(k − 1) − 1) / s⌋ + 1`.
        numbers: the rule with the numbers put in; where a rule broke, up to the relation that is false: `… = 0 < 1`.
        result: what the arithmetic comes to; where a rule broke, the number that broke it.
        place: which axis of the output it is (may count from the end); None stands for the count of all its numbers.
        problem: empty, or the sentence that says what was asked, what was there and which rule broke.
    """

    axis: str
    symbols: str
    numbers: str
    result: int
    place: int | None = None
    problem: str = ""

    @property
    def holds(self) -> bool:
        return not self.problem


def count(number: float) -> str:
    """A number as the views write it: thousands apart by a narrow no-break space, a real minus sign.

    >>> count(25088).replace("\u202f", "_"), count(-1), count(0.5), count(2.0)
    ('25_088', '−1', '0.5', '2')
    """
    text = f"{int(number):,}".replace(",", "\u202f") if number == int(number) else repr(number)
    return text.replace("-", "−")


def line(formula: Formula) -> str:
    """The numbers and what they come to. A broken rule, an arrow and a bare number say so already.

    >>> line(Formula("H", "H + p₁ + p₂", "224 + 100 + 100", 424))
    '224 + 100 + 100 = 424'
    >>> line(Formula("n", "n = columns", "8 ≠ 7", 8, problem="a layer with 7 columns got 8 numbers"))
    '8 ≠ 7'
    """
    complete = not formula.holds or "→" in formula.numbers or formula.numbers == count(formula.result)
    return formula.numbers if complete else f"{formula.numbers} = {count(formula.result)}"


class BrokenRule(WindowError):
    """A rule that does not hold: the sentence for whoever calls, its `formula` for whoever shows it."""

    def __init__(self, formula: Formula) -> None:
        super().__init__(formula.problem)
        self.formula = formula


# each relation, and how its opposite is written
_RELATIONS: dict[str, tuple[Callable[[int, int], bool], str]] = {
    "≥": (operator.ge, "<"),
    "≤": (operator.le, ">"),
    "<": (operator.lt, "≥"),
    "=": (operator.eq, "≠"),
}


@cache
def _sides(relation: str) -> list[str]:
    """Left side, sign, right side; kept, since a search for sizes asks for the same few again and again."""
    return re.split(" ([≥≤<=]) ", relation)


class _Where(NamedTuple):
    """Name of an axis, and its place in the output."""

    name: str
    place: int | None = None


_ALONE = _Where("n")


@dataclass(frozen=True)
class _Axis:
    """One axis while its arithmetic is done: what was asked of it, and the number behind each letter.

    A text such as `({n} − 1)·{s}` becomes symbols `(H − 1)·s` or numbers `(7 − 1)·2`.
    """

    where: _Where
    task: str
    values: Mapping[str, float]

    def symbols(self, text: str) -> str:
        return text.replace("{n}", self.where.name).replace("{", "").replace("}", "")

    def numbers(self, text: str) -> str:
        return re.sub(r"{(.+?)}", lambda letter: count(self.values[letter[1]]), text)

    def formula(self, text: str, result: int) -> Formula:
        return Formula(self.where.name, self.symbols(text), self.numbers(text), result, self.where.place)

    def require(self, text: str, left: int, right: int, rule: str) -> None:
        """Raise BrokenRule if the relation in `text`, between the values `left` and `right`, does not hold."""
        first, sign, second = _sides(text)
        holds, opposite = _RELATIONS[sign]
        if not holds(left, right):
            numbers = f"{self._worked(first, left)} {opposite} {self._worked(second, right)}"
            problem = f"{self.task}: {rule}, {self.symbols(text)}, but {numbers}"
            raise BrokenRule(Formula(self.where.name, self.symbols(text), numbers, left, self.where.place, problem))

    def _worked(self, text: str, value: int) -> str:
        numbers = self.numbers(text)
        return numbers if numbers == count(value) else f"{numbers} = {count(value)}"


class _Slide(NamedTuple):
    """A window as one axis sees it."""

    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    same: bool = False
    ceil: bool = False
    output_padding: int = 0

    def room(self, size: int) -> int:
        """How far the first window can move: everything padded, less the span of one window."""
        return size + self.before + self.after - self.dilation * (self.kernel - 1) - 1

    def room_text(self) -> str:
        pads = "2·{p}" if self.before == self.after else "{p₁} + {p₂}"
        return f"({{n}} + {pads} − {{d}}·({{k}} − 1) − 1)"

    def __str__(self) -> str:
        even = self.before == self.after
        padding = str(self.before) if even else f"{self.before} before and {self.after} after"
        return f"kernel {self.kernel}, stride {self.stride}, padding {padding} and dilation {self.dilation}"


def _along(window: Window, i: int) -> _Slide:
    (before, after), same = window.pads[i], window.padding == "same"
    output_padding = window.output_padding[i] if window.output_padding else 0
    return _Slide(
        window.kernel[i], window.stride[i], before, after, window.dilation[i], same, window.ceil, output_padding
    )


def _window_axis(where: _Where, what: str, size: int, w: _Slide) -> _Axis:
    """The axis under a window, after the rules that every window has to meet."""
    least = min(w.before, w.after)
    values = {"n": size, "k": w.kernel, "s": w.stride, "d": w.dilation, "o": w.output_padding}
    axis = _Axis(where, f"{what} with {w} over {size} cells", {**values, "p": least, "p₁": w.before, "p₂": w.after})
    axis.require("{n} ≥ 1", size, 1, "there has to be a cell")
    axis.require("{k} ≥ 1", w.kernel, 1, "a kernel has at least one cell")
    axis.require("{s} ≥ 1", w.stride, 1, "a window moves on by at least one cell")
    axis.require("{d} ≥ 1", w.dilation, 1, "the cells of a kernel lie at least one cell apart")
    axis.require("{p} ≥ 0", least, 0, "padding cannot be negative")
    return axis


def _conv(where: _Where, size: int, w: _Slide, what: str = "a convolution") -> Formula:
    axis = _window_axis(where, what, size, w)
    if w.same:
        axis.require("{s} = 1", w.stride, 1, 'padding "same" goes with stride 1 only')
    text, result = f"⌊{w.room_text()} / {{s}}⌋ + 1", w.room(size) // w.stride + 1
    axis.require(f"{text} ≥ 1", result, 1, "one whole window has to fit")
    return axis.formula(text, result)


def _conv_transpose(where: _Where, size: int, w: _Slide) -> Formula:
    axis, limit = _window_axis(where, "a transposed convolution", size, w), max(w.stride, w.dilation)
    axis.require("{o} ≥ 0", w.output_padding, 0, "output padding cannot be negative")
    axis.require("{o} < max({s}, {d})", w.output_padding, limit, "output padding is less than stride or dilation")
    text = "({n} − 1)·{s} − 2·{p} + {d}·({k} − 1) + {o} + 1"
    result = (size - 1) * w.stride - 2 * w.before + w.dilation * (w.kernel - 1) + w.output_padding + 1
    axis.require(f"{text} ≥ 1", result, 1, "something has to be left after the padding is cut off")
    return axis.formula(text, result)


def _pool(where: _Where, size: int, w: _Slide, inside: bool = False) -> Formula:
    axis = _window_axis(where, "pooling", size, w)
    axis.require("2·{p} ≤ {k}", 2 * w.before, w.kernel, "padding is at most half of the kernel")
    if inside:
        axis.require("{k} ≤ {n}", w.kernel, size, "the kernel of a 3-D average has to fit without padding")
    text, strides = f"⌊{w.room_text()} / {{s}}⌋ + 1", w.room(size) // w.stride
    if w.ceil:
        text, strides = f"⌈{w.room_text()} / {{s}}⌉ + 1", -(-w.room(size) // w.stride)
    axis.require(f"{text} ≥ 1", strides + 1, 1, "one window has to fit")
    if w.ceil and strides * w.stride >= size + w.before:
        return _dropped(axis, text, strides)
    return axis.formula(text, strides + 1)


def _dropped(axis: _Axis, text: str, strides: int) -> Formula:
    """A last window that would start beyond the input and the padding before it does not count."""
    axis = replace(axis, values={**axis.values, "m": strides + 1})
    reason = "window {m} would start at ({m} − 1)·{s} ≥ {n} + {p} and is dropped"
    return axis.formula(f"{reason}: {text} − 1", strides)


def conv_size(size: int, kernel: int, stride: int = 1, padding: int | str = 0, dilation: int = 1) -> int:
    """Cells after a convolution: ⌊(n + 2·p − d·(k − 1) − 1) / s⌋ + 1.

    `padding` may be "same" or "valid". Raises WindowError where torch refuses. Source: torch.nn.Conv2d.

    >>> conv_size(256, 3, padding=1), conv_size(227, 11, stride=4), conv_size(8, 4, padding="same")
    (256, 55, 8)
    >>> conv_size(6, 7)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    fcnviz.arithmetic.BrokenRule: a convolution with kernel 7, ... over 6 cells: one whole window has to fit, ...
    """
    words = padding if isinstance(padding, str) else (padding,)
    return _conv(_ALONE, size, _along(Window((kernel,), (stride,), words, (dilation,)), 0)).result


def conv_transpose_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """Cells after a transposed convolution: (n − 1)·s − 2·p + d·(k − 1) + o + 1.

    Raises WindowError where torch refuses real tensors, and for a result of 0 cells, which one CPU backend refuses and
    another returns as an empty map. Source: torch.nn.ConvTranspose2d.

    >>> conv_transpose_size(16, kernel=64, stride=32)
    544
    """
    w = _Slide(kernel, stride, padding, padding, dilation, output_padding=output_padding)
    return _conv_transpose(_ALONE, size, w).result


def pool_size(
    size: int, kernel: int, stride: int, padding: int = 0, dilation: int = 1, ceil: bool = False, inside: bool = False
) -> int:
    """Cells after pooling; with `ceil` a last window may hang over the end, if it starts inside or in the padding.

    `inside` adds the rule of 3-D averages that a kernel fits without padding. Raises WindowError where torch refuses.
    Source: torch.nn.MaxPool2d.

    >>> pool_size(7, 2, 2), pool_size(7, 2, 2, ceil=True), pool_size(3, 1, 4, ceil=True)
    (3, 4, 1)
    """
    return _pool(_ALONE, size, _Slide(kernel, stride, padding, padding, dilation, ceil=ceil), inside).result


def block_count(sizes: Sequence[int], window: Window) -> int:
    """Blocks that unfold cuts, and that fold puts back into a map of these sizes: one for each place of the window.

    Raises WindowError where torch refuses. Source: torch.nn.Unfold.

    >>> block_count((4, 6), Window(kernel=(2, 2), stride=(1, 2), padding=(0, 0), dilation=(1, 1)))
    9
    """
    return _blocks(_ALONE, _spatial_names(len(sizes)), sizes, window).result


def _blocks(where: _Where, names: Sequence[str], sizes: Sequence[int], window: Window) -> Formula:
    axes = enumerate(zip(names, sizes, strict=True))
    each = [_conv(_Where(name), size, _along(window, i), "cutting blocks") for i, (name, size) in axes]
    symbols = " · ".join(f"({one.symbols})" for one in each)
    numbers = " · ".join(f"({one.numbers})" for one in each)
    return Formula(where.name, symbols, numbers, math.prod(one.result for one in each), where.place)


def adaptive_windows(size: int, output: int) -> list[tuple[int, int]]:
    """The cells [start, stop) that each output cell of an adaptive pooling reads. They overlap and may be uneven.

    Raises WindowError where torch refuses, and for the average of no cells at all, which torch calls nan.
    Source: ATen/native/AdaptivePooling.h.

    >>> adaptive_windows(10, 7)
    [(0, 2), (1, 3), (2, 5), (4, 6), (5, 8), (7, 9), (8, 10)]
    """
    _adaptive(_ALONE, size, output)
    return [(i * size // output, -(-(i + 1) * size // output)) for i in range(output)]


def _adaptive(where: _Where, size: int, output: int) -> Formula:
    axis = _Axis(where, f"adaptive pooling of {size} cells to {output}", {"n": size, "m": output})
    axis.require("{n} ≥ 1", size, 1, "there has to be a cell")
    axis.require("{m} ≥ 0", output, 0, "a size cannot be negative")
    return axis.formula("{n} → {m}: window i is [⌊i·{n} / {m}⌋, ⌈(i + 1)·{n} / {m}⌉)", output)


def _listed(windows: Sequence[tuple[int, int]]) -> str:
    texts = [f"[{count(start)},{count(stop)})" for start, stop in windows]
    return " ".join(texts if len(texts) <= LISTED else [*texts[:3], "…", texts[-1]])


def slice_size(size: int, start: int | None = None, stop: int | None = None, step: int = 1) -> int:
    """Cells of `x[start:stop:step]`: stop − start, cut to what is there. A slice that asks for too much never raises.

    Raises WindowError for a step that torch refuses: Python's slices go backwards, torch's do not.

    >>> slice_size(544, 19, 19 + 500), slice_size(493, 0, 500), slice_size(8, -3), slice_size(8, 1, None, 3)
    (500, 493, 3, 3)
    """
    return _slice(_ALONE, size, slice(start, stop, step)).result


def _slice(where: _Where, size: int, asked: slice) -> Formula:
    step = 1 if asked.step is None else asked.step
    values = {"n": size, "start": _far(asked.start), "stop": _far(asked.stop), "step": step}
    axis = _Axis(where, f"the slice {_spelled(asked)} of {size} cells", values)
    axis.require("{step} ≥ 1", step, 1, "torch slices forwards only")
    start, stop, _ = asked.indices(size)
    first = "0" if asked.start is None else _bound("start", asked.start, size)
    text = f"{'{n}' if asked.stop is None else _bound('stop', asked.stop, size)} − {first}"
    text = f"max({text}, 0)" if stop < start else text
    return axis.formula(text if step == 1 else f"⌈({text}) / {{step}}⌉", -(-max(stop - start, 0) // step))


def _far(bound: int | None) -> int:
    return abs(bound or 0)


def _spelled(asked: slice) -> str:
    parts = [asked.start, asked.stop] + [asked.step] * (asked.step is not None)
    return ":".join("" if part is None else str(part) for part in parts)


def _bound(name: str, bound: int, size: int) -> str:
    """The text of one end of a slice: a negative one counts from the end, one outside is moved to the edge."""
    if bound < -size:
        return f"max({{n}} − {{{name}}}, 0)"
    if bound < 0:
        return f"({{n}} − {{{name}}})"
    return f"min({{{name}}}, {{n}})" if bound > size else f"{{{name}}}"


def interpolate_size(size: int, output: int | None = None, scale: float | None = None, mode: str = "nearest") -> int:
    """Cells after upsampling to `output` cells, or by `scale`: ⌊n·scale⌋, the product being a float as in torch.

    Raises WindowError where torch refuses. Source: torch.nn.functional.interpolate.

    >>> interpolate_size(7, output=224), interpolate_size(7, scale=2), interpolate_size(100, scale=0.29)
    (224, 14, 28)
    """
    return _interpolate(_ALONE, size, output, scale, mode).result


def _interpolate(where: _Where, size: int, output: int | None, scale: float | None, mode: str) -> Formula:
    values: dict[str, float] = {"n": size, "size": output or 0, "scale": scale or 0}
    task = f"resizing {size} cells " + (f"to {output}" if scale is None else f"{scale} times")
    axis = _Axis(where, task, values)
    axis.require("{n} ≥ 1", size, 1, "there has to be a cell")
    text, result = ("{size}", output or 0) if scale is None else ("⌊{n} · {scale}⌋", math.floor(size * scale))
    least = 0 if mode == "area" else 1  # "area" is adaptive pooling, which may come to no cells
    axis.require(f"{text} ≥ {least}", result, least, "a map has cells")
    return axis.formula(text, result)


def pad_size(size: int, before: int, after: int, mode: str = "constant") -> int:
    """Cells after padding, n + p₁ + p₂; a negative padding cuts cells off.

    Raises WindowError where torch refuses: "reflect" needs a cell more than it mirrors, "circular" as many as it
    repeats. Source: torch.nn.functional.pad.

    >>> pad_size(224, 100, 100), pad_size(8, -1, -2)
    (424, 5)
    """
    return _pad(_ALONE, size, before, after, mode).result


def _pad(where: _Where, size: int, before: int, after: int, mode: str) -> Formula:
    cut = -min(before, 0) - min(after, 0)
    values = {"n": size, "p₁": abs(before), "p₂": abs(after), "cut": cut}
    axis = _Axis(where, f"{mode} padding of {size} cells by {before} before and {after} after", values)
    axis.require("{cut} ≤ {n}", cut, size, "no more can be cut off than there is")
    for letter, pad in (("p₁", before), ("p₂", after)):
        if mode == "reflect":
            axis.require(f"{{{letter}}} < {{n}}", pad, size, "a mirror shows the cells beside the border cell")
        if mode == "circular":
            axis.require(f"{{{letter}}} ≤ {{n}}", pad, size, "the cells go round once")
    text = "{n}" + "".join(f" {'−' if pad < 0 else '+'} {{{p}}}" for p, pad in (("p₁", before), ("p₂", after)))
    if mode in ("reflect", "replicate"):
        axis.require("{n} ≥ 1", size, 1, "there has to be a cell to repeat")
        axis.require(f"{text} ≥ 1", size + before + after, 1, "a map has cells")
    return axis.formula(text, size + before + after)


def formulas(step: Step) -> tuple[Formula, ...]:
    """The arithmetic of a step, axis by axis: up to the rule that broke, and nothing for an operation without any.

    >>> window = Window(kernel=(3, 3), stride=(1, 1), padding=(1, 0), dilation=(1, 1))
    >>> step = Step(0, "0", "0", "Conv2d", "conv", (Shape((1, 3, 256, 2)),), None, window=window)
    >>> for formula in formulas(step):
    ...     print(formula.axis, line(formula))
    H ⌊(256 + 2·1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 256
    W ⌊(2 + 2·0 − 1·(3 − 1) − 1) / 1⌋ + 1 = 0 < 1
    """
    written: list[Formula] = []
    try:
        for formula in _writer(step)(step):
            written.append(formula)
    except BrokenRule as broken:
        written.append(broken.formula)
    return tuple(written)


def agrees(step: Step) -> bool:
    """Whether every formula of the step comes to the traced size; True also where there is no formula.

    >>> agrees(Step(0, "flatten", "", "flatten", "flatten", (Shape((1, 512, 8, 8)),), Shape((1, 32768)),
    ...             settings={"start_dim": 1, "end_dim": -1}))
    True
    """
    shape = _first(step.output_shape)
    return shape is not None and all(one.holds and one.result == _size_at(shape, one.place) for one in formulas(step))


def _first(output: Output) -> Shape | None:
    """The shape that the formulas are about: pooling may return its indices besides."""
    while isinstance(output, tuple) and not isinstance(output, Shape):
        output = output[0] if output else None
    return output if isinstance(output, Shape) else None


def _size_at(shape: Shape, place: int | None) -> int | None:
    if place is None:
        return math.prod(shape)
    return shape[place] if -len(shape) <= place < len(shape) else None


_NAMES = ("", "n", "NC", "NCL", "NCHW", "NCDHW")  # of the axes of a tensor, by their number
_SPATIAL = ("", "L", "HW", "DHW")
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _names(rank: int) -> Sequence[str]:
    return _NAMES[rank] if rank < len(_NAMES) else _indexed("n", range(rank))


def _spatial_names(rank: int) -> Sequence[str]:
    return _SPATIAL[rank] if rank < len(_SPATIAL) else _indexed("n", range(rank))


def _indexed(letter: str, numbers: Iterable[int]) -> list[str]:
    return [letter + str(number).translate(_SUBSCRIPTS) for number in numbers]


def _product(names: Iterable[str]) -> str:
    return "·".join(f"{{{name}}}" for name in names) or "1"


def _windows(step: Step) -> Iterator[tuple[_Where, int, _Slide]]:
    """Place, size and window of each spatial axis; none where the window does not go with the number of axes."""
    window, shape = step.window, step.input_shapes[0]
    if window is None or not _readable(window):
        return
    rank = len(window.kernel)
    if len(shape) in (rank + 1, rank + 2):
        for i, name in enumerate(_spatial_names(rank)):
            yield _Where(name, i - rank), shape[i - rank], _along(window, i)


def _readable(window: Window) -> bool:
    """A call that failed may have asked for a word torch does not know, or for two strides on three axes."""
    if isinstance(window.padding, str):
        lengths = {len(window.kernel), len(window.stride), len(window.dilation)}
        return window.padding in ("same", "valid") and len(lengths) == 1
    return len({len(window.kernel), len(window.stride), len(window.dilation), len(window.padding)}) == 1


def _channels(step: Step) -> None:
    """Raise BrokenRule if the map has not the channels that the layer's weights were made for."""
    rank, wanted = len(step.window.kernel) if step.window else 0, step.settings.get("in_channels")
    if wanted is not None and len(step.input_shapes[0]) > rank:
        have = step.input_shapes[0][-rank - 1]
        axis = _Axis(_Where("C", -rank - 1), f"{step.kind} over {have} channels", {"n": have, "in_channels": wanted})
        axis.require("{n} = {in_channels}", have, wanted, "each filter has a slice for each channel")


def _write_conv(step: Step) -> Iterator[Formula]:
    _channels(step)
    for where, size, window in _windows(step):
        yield _conv(where, size, window)


def _write_conv_transpose(step: Step) -> Iterator[Formula]:
    _channels(step)
    for where, size, window in _windows(step):
        yield _conv_transpose(where, size, window)


def _write_pool(step: Step) -> Iterator[Formula]:
    windows = list(_windows(step))
    for where, size, window in windows:
        yield _pool(where, size, window, inside=step.operation != "max_pool" and len(windows) == 3)


def _write_adaptive_pool(step: Step) -> Iterator[Formula]:
    asked, shape = step.settings["output_size"], step.input_shapes[0]
    if len(shape) not in (len(asked) + 1, len(asked) + 2):
        return
    for i, name in enumerate(_spatial_names(len(asked)), start=-len(asked)):
        output = shape[i] if asked[i] is None else asked[i]
        formula = _adaptive(_Where(name, i), shape[i], output)
        windows = _listed(adaptive_windows(shape[i], output))
        yield replace(formula, numbers=f"{count(shape[i])} → {count(output)}: windows {windows}")


def _write_flatten(step: Step) -> Iterator[Formula]:
    shape, (first, last) = step.input_shapes[0], (step.settings["start_dim"], step.settings["end_dim"])
    rank = max(len(shape), 1)  # a single number counts as one axis
    if not (-rank <= first < rank and -rank <= last < rank):
        return
    first, last, names = first % rank, last % rank, _names(len(shape))
    axis = _Axis(_Where("n", first), f"flatten of {tuple(shape)}", {**_values(shape), "start": first, "end": last})
    axis.require("{start} ≤ {end}", first, last, "the first axis comes before the last")
    yield axis.formula(_product(names[first : last + 1]), math.prod(shape[first : last + 1]))


def _values(shape: Sequence[int]) -> dict[str, float]:
    return dict(zip(_names(len(shape)), shape, strict=True))


def _write_reshape(step: Step) -> Iterator[Formula]:
    """What goes in comes out, in other rows: −1 becomes what is left of the count."""
    shape, sizes = step.input_shapes[0], tuple(step.settings["sizes"])
    free, names = sizes.count(-1), _indexed("n", range(len(sizes)))
    known = {name: size for name, size in zip(names, sizes, strict=True) if size != -1}
    axis = _Axis(_Where("n"), f"{step.kind} of {tuple(shape)} to {sizes}", {**known, **_values(shape), "free": free})
    axis.require("{free} ≤ 1", free, 1, "one size at most can be left open as −1")
    for name, size in known.items():
        axis.require(f"{{{name}}} ≥ 0", size, 0, "a size cannot be negative")
    count_in, count_known, text = math.prod(shape), math.prod(known.values()), _product(_values(shape))
    if not free:
        axis.require(f"{text} = {_product(known)}", count_in, count_known, "as many numbers come out as go in")
        yield axis.formula(text, count_in)
        return
    axis = replace(axis, where=_Where("n", sizes.index(-1)))
    axis.require(f"{_product(known)} ≥ 1", count_known, 1, "nothing says what −1 stands for")
    divisor = _product(known) if len(known) < 2 else f"({_product(known)})"
    axis.require(f"({text}) mod {divisor} = 0", count_in % count_known, 0, "the numbers have to fill whole rows")
    yield axis.formula(f"{text} / {divisor}" if known else text, count_in // count_known)


def _write_linear(step: Step) -> Iterator[Formula]:
    if step.input_shapes[0]:
        have, columns, rows = step.input_shapes[0][-1], step.settings["in_features"], step.settings["out_features"]
        task = f"a Linear layer with {count(columns)} columns, on rows of {count(have)} numbers"
        axis = _Axis(_Where("n", -1), task, {"n": have, "columns": columns, "rows": rows})
        axis.require("{n} = {columns}", have, columns, "each number meets one column of the weights")
        yield axis.formula("{n} = {columns} → {rows}", rows)


def _write_cat(step: Step) -> Iterator[Formula]:
    shapes = [shape for shape in step.input_shapes if shape != (0,)] or [step.input_shapes[0]]  # torch skips (0,) too
    dim = _same_but(step, shapes, step.settings["dim"])
    if dim is not None:
        name, sizes = _names(len(shapes[0]))[dim], [shape[dim] for shape in shapes]
        few = len(sizes) <= 3
        symbols = " + ".join(_indexed(name, range(1, len(sizes) + 1))) if few else f"{name}₁ + … + {name}ₙ"
        numbers = " + ".join(map(count, sizes) if few else _runs(sizes))
        yield Formula(name, symbols, numbers, sum(sizes), dim)


def _same_but(step: Step, shapes: Sequence[Shape], dim: int) -> int | None:
    """`dim` counted from the front, after the rule that the other sizes are equal; None where the axes don't match."""
    rank = len(shapes[0])
    if not -rank <= dim < rank or any(len(shape) != rank for shape in shapes):
        return None
    for i, shape in itertools.product(range(rank), shapes):
        axis = _Axis(
            _Where(_names(rank)[i], i), f"{step.kind} of {_all(shapes)}", {"n": shapes[0][i], "other": shape[i]}
        )
        if i != dim % rank:
            axis.require("{n} = {other}", shapes[0][i], shape[i], "the other sizes are equal")
    return dim % rank


def _all(shapes: Sequence[Shape]) -> str:
    return ", ".join(str(tuple(shape)) for shape in shapes)


def _runs(sizes: Sequence[int]) -> list[str]:
    """Equal neighbours counted together: 64 + 3·32."""
    runs = [(size, len(list(run))) for size, run in itertools.groupby(sizes)]
    return [count(size) if times == 1 else f"{times}·{count(size)}" for size, times in runs]


def _write_stack(step: Step) -> Iterator[Formula]:
    shapes, dim = step.input_shapes, step.settings["dim"]
    rank = len(shapes[0]) + 1
    if -rank <= dim < rank and len({len(shape) for shape in shapes}) == 1:
        _same_but(step, [Shape((1, *shape)) for shape in shapes], 0)
        yield Formula("new axis", "tensors", count(len(shapes)), len(shapes), dim % rank)


def _write_broadcast(step: Step) -> Iterator[Formula]:
    """Where sizes differ, one of them is 1 and is repeated."""
    shapes = [*step.input_shapes, *(weight.shape for weight in step.weights)]
    rank = max(len(shape) for shape in shapes)
    for i in range(-rank, 0):
        sizes = [shape[i] for shape in shapes if len(shape) >= -i]
        if len(set(sizes)) > 1:
            yield _stretch(_Where(_names(rank)[i], i), sizes, f"{step.kind} of {_all(shapes)}")


def _stretch(where: _Where, sizes: Sequence[int], task: str) -> Formula:
    large, *others = sorted(set(sizes), key=lambda size: (size == 1, sizes.index(size)))
    axis = _Axis(where, task, {"n": large, "other": others[0]})
    if others[0] != 1:
        axis.require("{n} = {other}", large, others[0], "sizes are equal, or one of them is 1 and is repeated")
    return axis.formula("max({n}, {other})" if large else "{n}·{other}", large)


def _write_slice(step: Step) -> Iterator[Formula]:
    shape, place, source = step.input_shapes[0], 0, 0
    for entry in _entries(step.settings["index"], len(shape)):
        if entry is not None:
            name, size = _names(len(shape))[source], shape[source]
            source += 1
        if isinstance(entry, int):
            _pick(_Where(name), size, entry)
            continue
        if entry is not None and entry != slice(None):
            yield _slice(_Where(name, place), size, entry)
        place += 1


def _entries(index: Sequence[Any], rank: int) -> list[slice | int | None]:
    """One entry for each axis, the ellipsis spelled out; empty for an index that fcnviz can't read or torch refuses."""
    plain = all(entry is None or entry is ... or isinstance(entry, slice) or type(entry) is int for entry in index)
    missing = rank - sum(entry is not None and entry is not ... for entry in index)
    if not plain or missing < 0 or sum(entry is ... for entry in index) > 1:
        return []
    at = next((i for i, entry in enumerate(index) if entry is ...), len(index))
    return [*index[:at], *[slice(None)] * missing, *index[at + 1 :]]


def _pick(where: _Where, size: int, i: int) -> None:
    axis = _Axis(where, f"number {i} of {size}", {"n": size, "i": i})
    if i < 0:
        axis.require("0 ≤ {n} + {i}", 0, size + i, "counting from the end stops at the first")
    axis.require("{i} < {n}", i, size, "counting starts at 0")


def _write_interpolate(step: Step) -> Iterator[Formula]:
    shape, size, scale = step.input_shapes[0], step.settings["size"], step.settings["scale_factor"]
    rank = len(shape) - 2
    sizes, scales = _per_axis(size, rank), _per_axis(scale, rank)
    finite = all(asked is None or math.isfinite(asked) for asked in (*sizes, *scales))
    if finite and len(sizes) == len(scales) == rank and (size is None) != (scale is None):
        for i, name in enumerate(_spatial_names(rank), start=-rank):
            yield _interpolate(_Where(name, i), shape[i], sizes[i], scales[i], step.settings["mode"])


def _per_axis(value: Any, rank: int) -> Sequence[Any]:
    """One value for each axis: torch takes a single one for all."""
    return value if isinstance(value, Sequence) else (value,) * rank


def _write_unfold(step: Step) -> Iterator[Formula]:
    names, sizes = _named_sizes(step)
    if step.window and sizes:
        c, k = step.input_shapes[0][-len(sizes) - 1], step.window.kernel
        blocks = _blocks(_Where("L", -1), names, sizes, step.window)
        axis = _Axis(_Where("C", -2), "unfold", {"n": c, **_kernel_values(k)})
        yield axis.formula("{n}·" + _product(_kernel_values(k)), c * math.prod(k))
        yield blocks


def _named_sizes(step: Step) -> tuple[list[str], list[int]]:
    windows = list(_windows(step))
    return [where.name for where, _, _ in windows], [size for _, size, _ in windows]


def _kernel_values(kernel: Sequence[int]) -> dict[str, float]:
    return dict(zip(_indexed("k", range(1, len(kernel) + 1)), kernel, strict=True))


def _write_fold(step: Step) -> Iterator[Formula]:
    shape, window, sizes = step.input_shapes[0], step.window, step.settings["output_size"]
    if window is None or len(shape) not in (2, 3) or len(sizes) != len(window.kernel):
        return
    c, k, names = shape[-2], math.prod(window.kernel), _spatial_names(len(sizes))
    task = f"fold of {tuple(shape)} to {tuple(sizes)}"
    axis = _Axis(_Where("C", -len(sizes) - 1), task, {"n": c, **_kernel_values(window.kernel)})
    divisor = f"({_product(_kernel_values(window.kernel))})"
    blocks = _blocks(_Where("L"), names, sizes, window)
    axis.require(f"{{n}} mod {divisor} = 0", c % k, 0, "each column holds whole blocks")
    if blocks.result != shape[-1]:
        numbers = f"{blocks.numbers} = {count(blocks.result)} ≠ {count(shape[-1])}"
        problem = f"{task}: there is one column for each block, {blocks.symbols} = L, but {numbers}"
        raise BrokenRule(replace(blocks, symbols=f"{blocks.symbols} = L", numbers=numbers, problem=problem))
    yield axis.formula(f"{{n}} / {divisor}", c // k)
    for i, name in enumerate(names, start=-len(sizes)):
        yield Formula(name, "size", count(sizes[i]), sizes[i], i)


def _write_pad(step: Step) -> Iterator[Formula]:
    shape, pads = step.input_shapes[0], step.settings["pads"]
    if len(pads) <= len(shape):
        for i, (before, after) in enumerate(pads, start=-len(pads)):
            yield _pad(_Where(_names(len(shape))[i], i), shape[i], before, after, step.settings["mode"])


def _write_permute(step: Step) -> Iterator[Formula]:
    shape, dims = step.input_shapes[0], step.settings["dims"]
    names = _names(len(shape))
    if sorted(dim % len(shape) for dim in dims if -len(shape) <= dim < len(shape)) == list(range(len(shape))):
        for place, dim in enumerate(dims):
            if names[dim] != names[place]:
                yield Formula(names[place], names[dim], count(shape[dim]), shape[dim], place)


def _write_reduce(step: Step) -> Iterator[Formula]:
    """Many cells become one; an axis that goes altogether leaves nothing to write."""
    shape = step.input_shapes[0]
    for dim in step.settings["dims"] if step.settings["keepdim"] else ():
        if dim < len(shape):
            name = _names(len(shape))[dim]
            yield Formula(name, f"{name} → 1", f"{count(shape[dim])} → 1", 1, dim)


def _write_pixel_shuffle(step: Step) -> Iterator[Formula]:
    """Up: r² channels become r × r cells. Down: the other way round."""
    shape, r, up = step.input_shapes[0], step.settings["factor"], step.settings["up"]
    for place, name in zip((-3, -2, -1), "CHW", strict=True) if len(shape) >= 3 else ():
        power, shrinks = (2, up) if name == "C" else (1, not up)
        axis = _Axis(_Where(name, place), f"{step.kind} of {tuple(shape)} by {r}", {"n": shape[place], "r": r})
        axis.require("{r} ≥ 1", r, 1, "a factor is at least 1")
        yield (_divided if shrinks else _multiplied)(axis, shape[place], r, power)


_POWERS = {1: "{r}", 2: "{r}²"}


def _multiplied(axis: _Axis, n: int, r: int, power: int) -> Formula:
    return axis.formula(f"{{n}}·{_POWERS[power]}", n * r**power)


def _divided(axis: _Axis, n: int, r: int, power: int) -> Formula:
    axis.require(f"{{n}} mod {_POWERS[power]} = 0", n % r**power, 0, "nothing may be left over")
    return axis.formula(f"{{n}} / {_POWERS[power]}", n // r**power)


_WRITERS: dict[str | None, Callable[[Step], Iterator[Formula]]] = {
    "adaptive_pool": _write_adaptive_pool,
    "avg_pool": _write_pool,
    "broadcast": _write_broadcast,
    "cat": _write_cat,
    "conv": _write_conv,
    "conv_transpose": _write_conv_transpose,
    "flatten": _write_flatten,
    "fold": _write_fold,
    "interpolate": _write_interpolate,
    "linear": _write_linear,
    "lp_pool": _write_pool,
    "max_pool": _write_pool,
    "pad": _write_pad,
    "permute": _write_permute,
    "pixel_shuffle": _write_pixel_shuffle,
    "reduce": _write_reduce,
    "reshape": _write_reshape,
    "slice": _write_slice,
    "stack": _write_stack,
    "unfold": _write_unfold,
}


def _writer(step: Step) -> Callable[[Step], Iterator[Formula]]:
    return _WRITERS.get(step.operation, _nothing) if step.input_shapes else _nothing


def _nothing(step: Step) -> Iterator[Formula]:
    return iter(())

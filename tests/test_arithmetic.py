"""The arithmetic held against torch: the sizes, the verdicts, and the texts, which are worked out again as they stand.

Sizes come from the meta device. Its kernels accept some windows that real tensors are refused for (negative padding, a
map without cells, wrong channels), so wherever the arithmetic refuses and meta does not, the CPU has the word.
"""

import ast
import math
import re
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fcnviz import arithmetic
from fcnviz.arithmetic import (
    Formula,
    adaptive_windows,
    agrees,
    block_count,
    conv_size,
    conv_transpose_size,
    count,
    formulas,
    interpolate_size,
    line,
    pad_size,
    pool_size,
    slice_size,
)
from fcnviz.errors import WindowError
from fcnviz.records import Shape, Step, Weight, Window


class Case(NamedTuple):
    """One call: the step as it would be traced, and what torch does, as a function of the device."""

    step: Step
    call: object
    written: int | None = None  # formulas to expect where nothing breaks, if that is certain

    def __repr__(self):
        step = self.step
        return f"{step.kind}{[tuple(s) for s in step.input_shapes]} {step.window or ''} {dict(step.settings)}"


def step_of(operation, shapes, window=None, kind="", output=None, weights=(), **given):
    shapes = tuple(Shape(shape) for shape in shapes)
    return Step(
        0, "s", "s", kind or operation, operation, shapes, output, weights=weights, window=window, settings=given
    )


def torch_shape(case, device):
    try:
        return Shape(case.call(device).shape)
    except (RuntimeError, ValueError, IndexError, ZeroDivisionError, TypeError):  # the last two from meta's own checks
        return None


def check(case):
    """The arithmetic says what torch says; True if both accept."""
    written, shape = formulas(case.step), torch_shape(case, "meta")
    accepted = all(formula.holds for formula in written)
    if shape is not None and not accepted:
        shape = torch_shape(case, "cpu")
    assert accepted == (shape is not None), f"{case!r}: torch gives {shape}, the arithmetic {written}"
    for formula in written:
        assert is_true(formula), f"{case!r}: not true as written: {formula}"
    if accepted:
        assert agrees(replace(case.step, output_shape=shape)), (
            f"{case!r}: torch gives {shape}, the arithmetic {written}"
        )
        assert case.written in (None, len(written)), f"{case!r}: {written}"
    return accepted


def hold(cases, legal=5000, illegal=100, batch=10, batches=740):
    """Check random cases, at least so many that torch accepts and refuses; hypothesis shrinks one that fails."""
    tally = Counter()

    @settings(max_examples=batches, deadline=None, database=None, derandomize=True, suppress_health_check=HealthCheck)
    @given(st.lists(cases, min_size=batch, max_size=batch))
    def each(drawn):
        tally.update(check(case) for case in drawn)

    each()
    assert tally[True] >= legal, tally
    assert tally[False] >= illegal, tally


SIGNS = str.maketrans({"\u202f": "", "−": "-", "·": "*", "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")"})
WORDS = {"²": "**2", "≥": ">=", "≤": "<=", "≠": "!=", " = ": " == ", " mod ": " % "}
NAMES = {"floor": math.floor, "ceil": math.ceil, "max": max, "min": min}


def work_out(text):
    """The value of a written sum, or the truth of a written relation.

    >>> work_out("⌊(7 − 2) / 2⌋ + 1"), work_out("⌊(2 − 3) / 1⌋ + 1 = 0 < 1")
    (3, True)
    """
    text = text.translate(SIGNS)
    for sign, python in WORDS.items():
        text = text.replace(sign, python)
    return eval(compile(ast.parse(text, mode="eval"), "written", "eval"), {"__builtins__": {}}, NAMES)


def is_true(formula):
    """Whether the numbers of a formula, worked out as they are written, come to its result."""
    text = formula.numbers
    if not formula.holds:
        return work_out(text) is True
    if dropped := re.fullmatch(r"window (\S+) would start at (.+) and is dropped: (.+)", text):
        return work_out(dropped[2]) is True and work_out(dropped[3]) == formula.result == work_out(dropped[1]) - 1
    if adaptive := re.fullmatch(r"(\S+) → (\S+): windows (.*)", text):
        return work_out(adaptive[2]) == formula.result and windows_are(
            work_out(adaptive[1]), formula.result, adaptive[3]
        )
    if "→" in text:
        first, last = text.split(" → ")
        return work_out(first) is not False and work_out(last) == formula.result
    return work_out(text) == formula.result


def windows_are(size, output, text):
    listed = [tuple(map(work_out, pair.strip("[)").split(","))) for pair in text.split() if pair != "…"]
    start = [(math.floor(i * size / output), math.ceil((i + 1) * size / output)) for i in range(output)]
    return listed == (start if output <= 8 else [*start[:3], start[-1]])


def numbers(low, high, *odd):
    """A number between low and high; about once in fifty one of the odd ones."""
    usual = list(range(low, high + 1))
    return st.sampled_from(usual * (1 + 50 * len(odd) // len(usual)) + list(odd))


def axes(rank, *strategies):
    """A tuple for each strategy, with one number for each axis."""
    return st.tuples(*(st.tuples(*[each] * rank) for each in strategies))


def by_rank(make):
    return st.one_of(*(make(rank) for rank in (1, 2, 3)))


def sizes(rank):
    """Every third one small, where rules break; 0 seldom."""
    large = list(range(1, 41 if rank == 3 else 301))
    return st.sampled_from(list(range(1, 13)) * (len(large) // 24) + large + [0] * (len(large) // 40))


def conv(rank):
    op, channels = getattr(F, f"conv{rank}d"), st.sampled_from([(4, 4, 1)] * 6 + [(4, 4, 2), (4, 4, 4), (3, 4, 1)])
    drawn = axes(
        rank,
        sizes(rank),
        numbers(1, 7, 0),
        numbers(1, 9, 0, -1),
        numbers(0, 9, -1),
        st.sampled_from([1] * 30 + [2, 3, 4] * 8 + [0]),
    )

    def case(a, c):
        (n, k, s, p, d), (have, wanted, groups) = a, c
        step = step_of("conv", [(2, have, *n)], Window(k, s, p, d, groups=groups), in_channels=wanted, out_channels=8)
        weight = (8, wanted // groups, *k)
        return Case(step, lambda on: op(zeros(step, on), torch.zeros(weight, device=on), None, s, p, d, groups), rank)

    return st.builds(case, drawn, channels)


def worded_conv(rank):
    op = getattr(F, f"conv{rank}d")
    drawn = axes(rank, st.integers(1, 60), st.integers(1, 8), st.sampled_from([1] * 9 + [2]), st.integers(1, 4))

    def case(a, word):
        n, k, s, d = a
        step = step_of("conv", [(1, 1, *n)], Window(k, s, word, d), in_channels=1, out_channels=1)
        return Case(step, lambda on: op(zeros(step, on), torch.zeros((1, 1, *k), device=on), None, s, word, d), rank)

    return st.builds(case, drawn, st.sampled_from(["same", "valid"]))


def conv_transpose(rank):
    op = getattr(F, f"conv_transpose{rank}d")
    drawn = axes(
        rank,
        numbers(1, 40, 0),
        numbers(1, 9, 0),
        numbers(1, 7, 0, -1),
        numbers(0, 5, -1),
        st.integers(1, 4),
        st.sampled_from([0] * 12 + [1] * 6 + [2, 3, -1]),
    )

    def case(a, have):
        n, k, s, p, d, o = a
        # 0 cells left, like dilation 0: one CPU backend refuses, another returns a map without cells
        n = tuple(n[i] + (conv_transpose_room(*(each[i] for each in a)) == 0) for i in range(rank))
        window = Window(k, s, p, d, output_padding=o)
        step = step_of("conv_transpose", [(2, have, *n)], window, in_channels=3, out_channels=2)
        return Case(step, lambda on: op(zeros(step, on), torch.zeros((3, 2, *k), device=on), None, s, p, o, 1, d), rank)

    return st.builds(case, drawn, st.sampled_from([3] * 15 + [2]))


def conv_transpose_room(n, k, s, p, d, o):
    return (n - 1) * s - 2 * p + d * (k - 1) + o + 1


POOL_PADS = st.sampled_from([0] * 60 + [1] * 20 + [2] * 6 + [3, 4, -1])


def max_pool(rank):
    op = getattr(F, f"max_pool{rank}d")
    drawn = axes(
        rank,
        sizes(rank),
        numbers(1, 6, 0),
        numbers(1, 9, 0, -1),
        POOL_PADS,
        st.sampled_from([1] * 30 + [2, 3] * 8 + [0]),
    )

    def case(a, ceil):
        n, k, s, p, d = a
        step = step_of("max_pool", [(2, 3, *n)], Window(k, s, p, d, ceil=ceil))
        return Case(step, lambda on: op(zeros(step, on), k, s, p, d, ceil_mode=ceil), rank)

    return st.builds(case, drawn, st.booleans())


def avg_pool(rank):
    op = getattr(F, f"avg_pool{rank}d")
    drawn = axes(rank, sizes(rank), numbers(1, 6, 0), numbers(1, 9, 0, -1), POOL_PADS)

    def case(a, ceil):
        n, k, s, p = a
        step = step_of("avg_pool", [(2, 3, *n)], Window(k, s, p, (1,) * rank, ceil=ceil))
        return Case(step, lambda on: op(zeros(step, on), k, s, p, ceil), rank)

    return st.builds(case, drawn, st.booleans())


def lp_pool(rank):
    op = getattr(F, f"lp_pool{rank}d")

    def case(a, ceil):
        n, k, s = a
        step = step_of("lp_pool", [(2, 3, *n)], Window(k, s, (0,) * rank, (1,) * rank, ceil=ceil))
        plain = (k[0], s[0]) if rank == 1 else (k, s)
        return Case(step, lambda on: op(zeros(step, on), 2.0, *plain, ceil_mode=ceil), rank)

    return st.builds(case, axes(rank, sizes(rank), numbers(1, 7, 0), numbers(1, 9, 0, -1)), st.booleans())


def adaptive_pool(rank):
    ops = [getattr(F, f"adaptive_{kind}_pool{rank}d") for kind in ("avg", "max")]
    asked = st.one_of(numbers(1, 20, 0, -1), st.none())

    def case(a, op):
        n, m = a
        # meta and CPU answer nan, or nothing, for an average of no cells: the only verdict that is not torch's
        n = tuple(max(size, 1) for size in n) if op is ops[0] else n
        step = step_of("adaptive_pool", [(2, 3, *n)], output_size=m)
        size = [own if new is None else new for own, new in zip(n, m, strict=True)]
        return Case(step, lambda on: op(zeros(step, on), size), rank)

    return st.builds(case, axes(rank, sizes(rank), asked), st.sampled_from(ops))


def unfold():
    drawn = axes(2, sizes(2), numbers(1, 5, 0), numbers(1, 6, 0, -1), numbers(0, 5, -1), numbers(1, 3, 0))

    def case(a):
        n, k, s, p, d = a
        step = step_of("unfold", [(2, 3, *n)], Window(k, s, p, d))
        return Case(step, lambda on: F.unfold(zeros(step, on), k, d, p, s), 2)

    return st.builds(case, drawn)


def fold():
    drawn = axes(2, st.integers(1, 30), st.integers(1, 4), st.integers(1, 5), st.integers(0, 3), st.integers(1, 3))

    def case(a, channels, wrong):
        n, k, s, p, d = a
        window = Window(k, s, p, d)
        blocks = math.prod((n[i] + 2 * p[i] - d[i] * (k[i] - 1) - 1) // s[i] + 1 for i in (0, 1))
        step = step_of(
            "fold", [(2, channels * math.prod(k) + wrong[0], max(blocks + wrong[1], 1))], window, output_size=n
        )
        return Case(step, lambda on: F.fold(zeros(step, on), n, k, d, p, s), 3)

    return st.builds(case, drawn, st.integers(1, 3), st.sampled_from([(0, 0)] * 9 + [(1, 0), (0, 1)]))


def modes(rank):
    """Mostly "nearest": on meta the others are put together from many small calls, a hundred times slower."""
    slow = {1: ["linear"], 2: ["bilinear", "bicubic"], 3: ["trilinear"]}[rank]
    return st.sampled_from(["nearest"] * 30 + ["nearest-exact"] * 5 + ["area", *slow])


def interpolate_to(rank):
    def case(a, mode):
        n, m = (tuple(max(size, 1) for size in a[0]), a[1]) if mode == "area" else a
        step = step_of("interpolate", [(2, 3, *n)], size=m, scale_factor=None, mode=mode)
        return Case(step, lambda on: F.interpolate(zeros(step, on), size=m, mode=mode), rank)

    return st.builds(case, axes(rank, sizes(rank), numbers(1, 40, 0, -1)), modes(rank))


def interpolate_by(rank):
    ratios = st.builds(lambda a, b: a / b, st.integers(1, 60), st.integers(1, 60))
    hundredths = st.builds(lambda a: a / 100, st.integers(1, 400))
    scale = st.one_of(ratios, hundredths, st.floats(0.02, 4), st.sampled_from([2.0, 0.5, 0.0, -1.0]))

    def case(a, mode):
        n, m = (tuple(max(size, 1) for size in a[0]), a[1]) if mode == "area" else a
        step = step_of("interpolate", [(1, 1, *n)], size=None, scale_factor=m, mode=mode)
        return Case(step, lambda on: F.interpolate(zeros(step, on), scale_factor=m, mode=mode), rank)

    return st.builds(case, axes(rank, sizes(rank), scale), modes(rank))


def pad(rank):
    """Padding and cropping for "constant"; padding alone for the other modes, which torch crops by accident."""

    def case(a, mode):
        n, before, after = a
        if mode != "constant":
            n, before, after = (tuple(max(v, least) for v in vs) for vs, least in ((n, 1), (before, 0), (after, 0)))
        step = step_of("pad", [(2, 3, *n)], pads=tuple(zip(before, after, strict=True)), mode=mode)
        flat = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
        return Case(step, lambda on: F.pad(zeros(step, on), flat, mode), rank)

    mode = st.sampled_from(["constant", "reflect", "replicate", "circular"])
    return st.builds(case, axes(rank, sizes(rank), numbers(0, 9, -3), numbers(0, 9, -3, -9)), mode)


def slices():
    ends = st.one_of(st.none(), st.integers(-30, 30))
    cut = st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, 3, 7] * 9 + [0, -1]))
    entry = st.one_of(cut, cut.map(lambda kept: kept), st.none(), st.integers(-3, 8))
    index = st.tuples(st.lists(entry, max_size=2), st.sampled_from([[], [...]]), st.lists(entry, max_size=2))

    def case(shape, parts):
        # with too many entries fcnviz writes nothing down: torch has said why
        entries, room = [*parts[0], *parts[1], *parts[2]], len(shape)
        while sum(e is not None and e is not ... for e in entries) > room:
            entries.pop()
        step = step_of("slice", [shape], index=tuple(entries))
        return Case(step, lambda on: zeros(step, on)[tuple(entries)])

    return st.builds(case, st.lists(st.integers(1, 25), min_size=1, max_size=4), index)


def zeros(step, device, which=0):
    return torch.zeros(step.input_shapes[which], device=device)


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(by_rank(conv), id="conv"),
        pytest.param(by_rank(worded_conv), id="conv with words"),
        pytest.param(by_rank(conv_transpose), id="conv_transpose"),
        pytest.param(by_rank(max_pool), id="max_pool"),
        pytest.param(by_rank(avg_pool), id="avg_pool"),
        pytest.param(by_rank(lp_pool), id="lp_pool"),
        pytest.param(by_rank(adaptive_pool), id="adaptive_pool"),
        pytest.param(unfold(), id="unfold"),
        pytest.param(fold(), id="fold"),
        pytest.param(by_rank(interpolate_to), id="interpolate to a size"),
        pytest.param(by_rank(interpolate_by), id="interpolate by a scale"),
        pytest.param(by_rank(pad), id="pad"),
        pytest.param(slices(), id="slice"),
    ],
)
def test_arithmetic_and_torch_agree_on_sizes_and_verdicts(cases):
    hold(cases)

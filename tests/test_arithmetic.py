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
from hypothesis import HealthCheck, given, seed, settings
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


def hold(cases, legal=5000, illegal=50):
    """Check random cases until torch has accepted so many, ten at a time; hypothesis shrinks one that fails."""
    tally = Counter()

    def each(drawn):
        tally.update(check(case) for case in drawn)

    for start in range(100):
        plan = settings(max_examples=100, deadline=None, database=None, suppress_health_check=HealthCheck)
        plan(seed(start)(given(st.lists(cases, min_size=10, max_size=10))(each)))()
        if tally[True] >= legal:
            break
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
    return st.one_of(*(make(rank) for rank in (1, 1, 2, 2, 3)))


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


WINDOWS = {
    "conv": by_rank(conv),
    "conv with words": by_rank(worded_conv),
    "conv_transpose": by_rank(conv_transpose),
    "max_pool": by_rank(max_pool),
    "avg_pool": by_rank(avg_pool),
    "adaptive_pool": by_rank(adaptive_pool),
    "unfold": unfold(),
    "interpolate to a size": by_rank(interpolate_to),
    "interpolate by a scale": by_rank(interpolate_by),
    "pad": by_rank(pad),
    "slice": slices(),
}


@pytest.mark.parametrize("kind", WINDOWS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_arithmetic_and_torch_agree_on_5000_windows_and_on_what_is_refused(kind):
    hold(WINDOWS[kind])


@pytest.mark.parametrize("cases", [by_rank(lp_pool), fold()], ids=["lp_pool", "fold"])
def test_arithmetic_and_torch_agree_on_what_is_slow_on_meta(cases):
    hold(cases, legal=1000)


def shapes(low=1, high=5, top=9):
    return st.lists(st.integers(1, top), min_size=low, max_size=high)


def flatten():
    def case(shape, first, last):
        step = step_of("flatten", [shape], start_dim=first, end_dim=last)
        rank = len(shape)
        if not (-rank <= first < rank and -rank <= last < rank):
            return flatten_of([3, 4], 1, 0)
        return flatten_of(shape, first, last, step)

    return st.builds(case, shapes(), st.integers(-3, 4), st.sampled_from([-1, -1, -1, 0, 1, 2, 3, -2]))


def flatten_of(shape, first, last, step=None):
    step = step or step_of("flatten", [shape], start_dim=first, end_dim=last)
    return Case(step, lambda on: torch.flatten(zeros(step, on), first, last), 1)


def reshape():
    def case(shape, cuts, open_at, spoil):
        sizes, left = [], math.prod(shape)
        for cut in cuts:
            sizes.append(math.gcd(left, cut))
            left //= sizes[-1]
        sizes.append(left)
        if open_at < len(sizes):
            sizes[open_at] = -1
        sizes[0] = {0: sizes[0], 1: sizes[0] + 1, 2: -1, 3: -2, 4: 0}[spoil]
        step = step_of("reshape", [shape], sizes=tuple(sizes))
        return Case(step, lambda on: zeros(step, on).reshape(sizes), 1)

    cuts = st.lists(st.sampled_from([1, 2, 3, 4, 6, 8, 12]), max_size=3)
    return st.builds(case, shapes(), cuts, st.integers(0, 5), st.sampled_from([0] * 8 + [1, 2, 3, 4]))


def linear():
    def case(lead, have, columns, rows):
        step = step_of("linear", [[*lead, have]], in_features=columns or have, out_features=rows)
        return Case(step, lambda on: F.linear(zeros(step, on), torch.zeros(rows, columns or have, device=on)), 1)

    return st.builds(case, shapes(0, 3), st.integers(1, 99), st.sampled_from([None] * 4 + [7]), st.integers(1, 99))


def cat(operation, join):
    def case(shape, dim, others, spoil):
        dim %= len(shape)
        all_shapes = [list(shape)]
        for other in others:
            all_shapes.append(list(shape))
            all_shapes[-1][dim] = other if operation == "cat" else shape[dim]
        all_shapes[-1][spoil % len(shape)] += spoil >= 8
        step = step_of(operation, all_shapes, dim=dim - len(shape) * (spoil == 1 and operation == "cat"))
        return Case(
            step, lambda on: join([zeros(step, on, i) for i in range(len(all_shapes))], step.settings["dim"]), 1
        )

    return st.builds(case, shapes(), st.integers(0, 4), st.lists(st.integers(1, 4), max_size=9), st.integers(0, 9))


def broadcast():
    def case(shape, kept, keeps, weighs):
        other = [size if keep < 5 else 1 + (keep == 9) for size, keep in zip(shape, keeps, strict=False)]
        other = other[max(len(other) - kept, 0) :] if len(other) == len(shape) else []
        weights = (Weight("scale", Shape(other)),) if weighs else ()
        step = step_of("broadcast", [shape] if weighs else [shape, other], weights=weights)
        return Case(step, lambda on: zeros(step, on) * torch.zeros(other, device=on))

    return st.builds(case, shapes(), st.integers(0, 5), shapes(5, 5), st.booleans())


def permute():
    return st.permutations(range(4)).map(lambda dims: permute_of((2, 3, 5, 7), tuple(dims)))


def permute_of(shape, dims):
    step = step_of("permute", [shape], dims=dims)
    return Case(step, lambda on: zeros(step, on).permute(dims))


def reduce():
    def case(shape, dims, keep):
        dims = tuple(dim for dim in sorted(dims) if dim < len(shape)) or (0,)
        step = step_of("reduce", [shape], dims=dims, keepdim=keep)
        return Case(step, lambda on: zeros(step, on).mean(dims, keepdim=keep), len(dims) if keep else 0)

    return st.builds(case, shapes(), st.sets(st.integers(0, 4), max_size=3), st.booleans())


def pixel_shuffle():
    def case(lead, c, h, w, r, up):
        op = F.pixel_shuffle if up else F.pixel_unshuffle
        step = step_of("pixel_shuffle", [[*lead, c, h, w]], factor=r, up=up)
        return Case(step, lambda on: op(zeros(step, on), r), 3)

    small = st.integers(1, 24)
    return st.builds(case, shapes(0, 2), small, small, small, st.sampled_from([1, 2, 2, 3, 4, 0]), st.booleans())


OTHERS = {
    "flatten": flatten(),
    "reshape": reshape(),
    "linear": linear(),
    "cat": cat("cat", torch.cat),
    "stack": cat("stack", torch.stack),
    "broadcast": broadcast(),
    "pixel_shuffle": pixel_shuffle(),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_arithmetic_and_torch_agree_on_what_has_no_window(kind):
    hold(OTHERS[kind], legal=400)


@pytest.mark.parametrize("cases", [permute(), reduce()], ids=["permute", "reduce"])
def test_arithmetic_and_torch_agree_on_what_cannot_be_refused(cases):
    hold(cases, legal=24, illegal=0)


def refused(size_of, *args, **kwargs):
    try:
        return size_of(*args, **kwargs)
    except WindowError:
        return None


def cpu_size(call, *args, **kwargs):
    try:
        return call(*args, **kwargs).shape[-1]
    except RuntimeError:
        return None


TINY = list(product((0, 1, 2, 3, 5), (0, 1, 2, 3), (-1, 0, 1, 2, 7), (-1, 0, 1, 2), (0, 1, 2)))


def test_every_tiny_window_gets_the_verdict_of_real_tensors():
    for n, k, s, p, d in TINY:
        args = f"size {n}, kernel {k}, stride {s}, padding {p}, dilation {d}"
        x, slide = torch.zeros(1, 1, n), (s, p)
        assert refused(conv_size, n, k, s, p, d) == cpu_size(F.conv1d, x, torch.zeros(1, 1, k), None, *slide, d), args
        for ceil in (False, True):
            pooled = cpu_size(F.max_pool1d, x, k, *slide, d, ceil_mode=ceil)
            assert refused(pool_size, n, k, s, p, d, ceil) == pooled, f"{args}, ceil {ceil}"
        for o in (-1, 0, 1, 2):
            transposed = cpu_size(F.conv_transpose1d, x, torch.zeros(1, 1, k), None, *slide, o, 1, d)
            assert refused(conv_transpose_size, n, k, s, p, d, o) == transposed, f"{args}, output padding {o}"


def test_a_3d_average_wants_its_kernel_inside_and_other_poolings_do_not():
    with pytest.raises(RuntimeError, match="smaller than kernel size"):
        F.avg_pool3d(torch.zeros(1, 1, 2, 2, 2), 3, 1, 1)
    assert refused(pool_size, 2, 3, 1, 1, inside=True) is None
    assert F.avg_pool2d(torch.zeros(1, 1, 2, 2), 3, 1, 1).shape[-1] == pool_size(2, 3, 1, 1) == 2


def conv_step(shape, k, s, p, **kwargs):
    return step_of("conv", [shape], Window((k, k), (s, s), (p, p), (1, 1)), **kwargs)


def shown(step):
    return [(one.axis, one.symbols, line(one).replace("\u202f", " ")) for one in formulas(step)]


def test_a_convolution_is_written_out_for_height_and_width_apart():
    assert shown(conv_step((1, 3, 256, 224), 3, 1, 1)) == [
        ("H", "⌊(H + 2·p − d·(k − 1) − 1) / s⌋ + 1", "⌊(256 + 2·1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 256"),
        ("W", "⌊(W + 2·p − d·(k − 1) − 1) / s⌋ + 1", "⌊(224 + 2·1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 224"),
    ]


def test_uneven_padding_is_written_side_by_side():
    step = step_of("conv", [(1, 1, 8)], Window((4,), (1,), "same", (1,)))
    assert shown(step) == [
        ("L", "⌊(L + p₁ + p₂ − d·(k − 1) − 1) / s⌋ + 1", "⌊(8 + 1 + 2 − 1·(4 − 1) − 1) / 1⌋ + 1 = 8")
    ]


def test_a_dropped_window_says_why():
    step = step_of("max_pool", [(1, 1, 5)], Window((2,), (3,), (1,), (1,), ceil=True))
    assert shown(step)[0][2] == (
        "window 3 would start at (3 − 1)·3 ≥ 5 + 1 and is dropped: ⌈(5 + 2·1 − 1·(2 − 1) − 1) / 3⌉ + 1 − 1 = 2"
    )
    assert F.max_pool1d(torch.zeros(1, 1, 5), 2, 3, 1, ceil_mode=True).shape == (1, 1, 2)


@pytest.mark.parametrize(
    ("step", "texts"),
    [
        (step_of("flatten", [(1, 512, 8, 8)], start_dim=1, end_dim=-1), ["512·8·8 = 32 768"]),
        (step_of("linear", [(1, 25088)], in_features=25088, out_features=4096), ["25 088 = 25 088 → 4 096"]),
        (step_of("linear", [(1, 32768)], in_features=25088, out_features=4096), ["32 768 ≠ 25 088"]),
        (step_of("linear", [(1, 512, 7, 7)], in_features=25088, out_features=4096), ["7 ≠ 25 088"]),
        (step_of("reshape", [(49, 512, 8, 8)], sizes=(-1, 25088)), ["49·512·8·8 / 25 088 = 64"]),
        (step_of("cat", [(1, 64, 7, 7)] + [(1, 32, 7, 7)] * 4, dim=1), ["64 + 4·32 = 192"]),
        (step_of("cat", [(1, 64, 7, 7), (1, 64, 8, 7)], dim=1), ["7 ≠ 8"]),
        (step_of("broadcast", [(1, 8, 7, 7), (1, 8, 1, 7)]), ["max(7, 1) = 7"]),
        (step_of("broadcast", [(1, 8, 70, 70), (1, 8, 68, 70)]), ["70 ≠ 68"]),
        (step_of("slice", [(1, 21, 544, 544)], index=(..., slice(19, 519))), ["519 − 19 = 500"]),
        (step_of("slice", [(1, 21, 512, 512)], index=(..., slice(19, 519))), ["min(519, 512) − 19 = 493"]),
        (step_of("slice", [(1, 5, 9)], index=(0, slice(None), slice(-4, None, 3))), ["⌈(9 − (9 − 4)) / 3⌉ = 2"]),
        (step_of("slice", [(1, 5)], index=(0, 5)), ["5 ≥ 5"]),
        (step_of("adaptive_pool", [(512, 10)], output_size=(2,)), ["10 → 2: windows [0,5) [5,10)"]),
        (step_of("adaptive_pool", [(512, 20)], output_size=(10,)), ["20 → 10: windows [0,2) [2,4) [4,6) … [18,20)"]),
        (step_of("pad", [(1, 3, 224)], pads=((100, -3),), mode="constant"), ["224 + 100 − 3 = 321"]),
        (step_of("interpolate", [(1, 3, 100)], size=None, scale_factor=(0.29,), mode="nearest"), ["⌊100 · 0.29⌋ = 28"]),
        (step_of("interpolate", [(1, 3, 100)], size=None, scale_factor=2.0, mode="nearest"), ["⌊100 · 2⌋ = 200"]),
        (step_of("interpolate", [(1, 3, 100)], size=64, scale_factor=None, mode="nearest"), ["64"]),
        (step_of("pixel_shuffle", [(8, 3, 3)], factor=2, up=True), ["8 / 2² = 2", "3·2 = 6", "3·2 = 6"]),
        (conv_step((1, 4, 8, 8), 3, 1, 0, in_channels=3), ["4 ≠ 3"]),
        (
            conv_step((1, 3, 8, 2), 3, 1, 0),
            ["⌊(8 + 2·0 − 1·(3 − 1) − 1) / 1⌋ + 1 = 6", "⌊(2 + 2·0 − 1·(3 − 1) − 1) / 1⌋ + 1 = 0 < 1"],
        ),
    ],
)
def test_what_a_reader_sees(step, texts):
    assert [text for _, _, text in shown(step)] == texts


def test_the_count_of_a_view_has_narrow_no_break_spaces():
    assert count(25088) == "25\u202f088"
    assert count(138357544) == "138\u202f357\u202f544"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: conv_size(6, 7),
            "a convolution with kernel 7, stride 1, padding 0 and dilation 1 over 6 cells: one whole window has to "
            "fit, ⌊(n + 2·p − d·(k − 1) − 1) / s⌋ + 1 ≥ 1, but ⌊(6 + 2·0 − 1·(7 − 1) − 1) / 1⌋ + 1 = 0 < 1",
        ),
        (
            lambda: pool_size(8, 3, 2, padding=2),
            "pooling with kernel 3, stride 2, padding 2 and dilation 1 over 8 cells: padding is at most half of the "
            "kernel, 2·p ≤ k, but 2·2 = 4 > 3",
        ),
        (
            lambda: conv_transpose_size(7, 4, 2, output_padding=2),
            "a transposed convolution with kernel 4, stride 2, padding 0 and dilation 1 over 7 cells: output padding "
            "is less than stride or dilation, o < max(s, d), but 2 ≥ max(2, 1) = 2",
        ),
        (
            lambda: conv_size(8, 3, 2, "same"),
            "a convolution with kernel 3, stride 2, padding 1 and dilation 1 over 8 cells: "
            'padding "same" goes with stride 1 only, s = 1, but 2 ≠ 1',
        ),
        (
            lambda: pad_size(3, 3, 0, "reflect"),
            "reflect padding of 3 cells by 3 before and 0 after: a mirror shows the cells beside the border cell, "
            "p₁ < n, but 3 ≥ 3",
        ),
        (
            lambda: slice_size(8, 5, 2, -1),
            "the slice 5:2:-1 of 8 cells: torch slices forwards only, step ≥ 1, but −1 < 1",
        ),
        (
            lambda: adaptive_windows(0, 7),
            "adaptive pooling of 0 cells to 7: there has to be a cell, n ≥ 1, but 0 < 1",
        ),
        (
            lambda: interpolate_size(3, scale=0.2),
            "resizing 3 cells 0.2 times: a map has cells, ⌊n · scale⌋ ≥ 1, but ⌊3 · 0.2⌋ = 0 < 1",
        ),
    ],
)
def test_a_refusal_says_what_was_asked_what_was_there_and_which_rule_broke(call, sentence):
    with pytest.raises(WindowError) as refusal:
        call()
    assert str(refusal.value) == sentence


def test_the_sentence_of_a_broken_linear_names_both_numbers():
    (formula,) = formulas(step_of("linear", [(1, 32768)], in_features=25088, out_features=4096))
    assert formula.problem.replace("\u202f", " ") == (
        "a Linear layer with 25 088 columns, on rows of 32 768 numbers: "
        "each number meets one column of the weights, n = columns, but 32 768 ≠ 25 088"
    )
    assert (formula.result, formula.holds) == (32768, False)


def test_vgg16_halves_five_times_and_fc6_takes_what_is_left():
    for size in range(32, 600):
        cells = size
        for convolutions in (2, 2, 3, 3, 3):
            for _ in range(convolutions):
                cells = conv_size(cells, 3, padding=1)
            cells = pool_size(cells, 2, 2)
        assert cells == size // 32
        assert refused(conv_size, cells, 7) == (cells - 6 if cells >= 7 else None)


def test_fcn32s_at_500_goes_698_349_175_88_44_22_16_544():
    sizes = [conv_size(500, 3, padding=100)]
    for _ in range(5):
        sizes.append(pool_size(sizes[-1], 2, 2, ceil=True))
    sizes.append(conv_size(sizes[-1], 7))
    sizes.append(conv_transpose_size(sizes[-1], 64, 32))
    assert sizes == [698, 349, 175, 88, 44, 22, 16, 544]
    assert slice_size(544, 19, 19 + 500) == 500


def test_fcn8s_at_500_comes_back_to_568():
    two = conv_transpose_size(16, 4, 2)
    four = conv_transpose_size(two, 4, 2)
    assert (two, four, conv_transpose_size(four, 16, 8), conv_transpose_size(two, 32, 16)) == (34, 70, 568, 560)


def test_without_padding_404_pixels_come_to_one_answer():
    sizes, cells = [], 404
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            cells = conv_size(cells, 3)
            sizes.append(cells)
        cells = pool_size(cells, 2, 2)
        sizes.append(cells)
    assert sizes == [402, 400, 200, 198, 196, 98, 96, 94, 92, 46, 44, 42, 40, 20, 18, 16, 14, 7]
    assert conv_size(cells, 7) == 1


def fcn32s(size, ceil):
    cells = conv_size(size, 3, padding=100)
    for _ in range(5):
        cells = pool_size(cells, 2, 2, ceil=ceil)
    return slice_size(conv_transpose_size(conv_size(cells, 7), 64, 32), 19, 19 + size)


def test_fcn32s_returns_every_size_with_ceil_and_with_floor_735_are_short_and_25_refused():
    assert all(fcn32s(size, ceil=True) == size for size in range(1, 2001))
    floor = {size: refused(fcn32s, size, ceil=False) for size in range(1, 2001)}
    assert [size for size, cells in floor.items() if cells is None] == list(range(1, 26))
    assert sum(cells is not None and cells < size for size, cells in floor.items()) == 735
    assert (floor[500], floor[375]) == (493, 365)


def test_adaptive_windows_are_what_torch_averages():
    for size, output in product(range(1, 16), range(1, 12)):
        x = torch.rand(size, dtype=torch.float64)
        means = torch.stack([x[start:stop].mean() for start, stop in adaptive_windows(size, output)])
        assert torch.allclose(F.adaptive_avg_pool1d(x[None], output)[0], means, rtol=1e-14)


def test_blocks_are_the_columns_of_unfold():
    window = Window((2, 3), (1, 2), (0, 1), (1, 1))
    assert block_count((4, 6), window) == F.unfold(torch.zeros(1, 1, 4, 6), (2, 3), 1, (0, 1), (1, 2)).shape[-1]


def test_what_fcnviz_does_not_know_has_no_formula():
    for operation in (None, "same", "fft"):
        step = step_of(operation, [(1, 3, 8, 8)], output=Shape((1, 3, 8, 8)))
        assert formulas(step) == ()
        assert agrees(step)


def test_formulas_disagree_with_a_shape_that_is_not_theirs():
    step = conv_step((1, 3, 8, 8), 3, 1, 0)
    assert agrees(replace(step, output_shape=Shape((1, 9, 6, 6))))
    assert not agrees(replace(step, output_shape=Shape((1, 9, 6, 7))))
    assert not agrees(replace(step, output_shape=Shape(())))
    assert not agrees(step)


def test_pooling_that_returns_its_indices_too_is_held_to_the_map():
    step = step_of("max_pool", [(1, 3, 8)], Window((2,), (2,), (0,), (1,)))
    assert agrees(replace(step, output_shape=(Shape((1, 3, 4)), Shape((1, 3, 4)))))


ODD_STEPS = [
    step_of("conv", [], Window((3,), (1,), (0,), (1,))),
    step_of("conv", [()], Window((3,), (1,), (0,), (1,)), in_channels=3),
    step_of("conv", [(5,)], Window((3, 3), (1, 1), (0, 0), (1, 1)), in_channels=3),
    step_of("conv", [(1, 3, 8, 8)], Window((3, 3), (1, 1, 1), (0, 0), (1, 1)), in_channels=3),
    step_of("conv", [(1, 3, 8, 8)], Window((3, 3), (1, 1), "full", (1, 1)), in_channels=3),
    step_of("max_pool", [(1, 3, 8)], None),
    step_of("linear", [()], in_features=3, out_features=4),
    step_of("flatten", [(2, 3)], start_dim=4, end_dim=-1),
    step_of("flatten", [()], start_dim=0, end_dim=-1),
    step_of("cat", [(2, 3), (2, 3, 4)], dim=1),
    step_of("cat", [(0,), (2, 3)], dim=-1),
    step_of("cat", [(0,)], dim=0),
    step_of("cat", [(2, 3)], dim=7),
    step_of("stack", [(2, 3), (2,)], dim=0),
    step_of("broadcast", [(), ()]),
    step_of("slice", [(2, 3)], index=(0, 0, 0)),
    step_of("slice", [(2, 3)], index=(True, [0])),
    step_of("reshape", [()], sizes=()),
    step_of("reshape", [(0, 3)], sizes=(-1, 0)),
    step_of("fold", [(4,)], Window((2, 2), (1, 1), (0, 0), (1, 1)), output_size=(4, 4)),
    step_of("unfold", [(4,)], Window((2, 2), (1, 1), (0, 0), (1, 1))),
    step_of("interpolate", [(1, 3, 8)], size=(4, 4), scale_factor=None, mode="nearest"),
    step_of("interpolate", [(1, 3, 8)], size=None, scale_factor=None, mode="nearest"),
    step_of("interpolate", [(8,)], size=4, scale_factor=None, mode="nearest"),
    step_of("interpolate", [(1, 3, 8)], size=None, scale_factor=(float("nan"),), mode="nearest"),
    step_of("interpolate", [(1, 3, 8)], size=None, scale_factor=(float("inf"),), mode="nearest"),
    step_of("pad", [(8,)], pads=((1, 1), (1, 1)), mode="constant"),
    step_of("permute", [(2, 3)], dims=(0, 0)),
    step_of("permute", [(2, 3)], dims=(0, 5)),
    step_of("reduce", [(2, 3)], dims=(4,), keepdim=True),
    step_of("pixel_shuffle", [(2, 3)], factor=2, up=True),
    step_of("adaptive_pool", [(2,)], output_size=(3, 3)),
]


@pytest.mark.parametrize("step", ODD_STEPS, ids=lambda step: f"{step.operation} {[*map(tuple, step.input_shapes)]}")
def test_a_failed_step_never_makes_the_formulas_fail(step):
    for formula in formulas(step):
        assert isinstance(formula, Formula)
        assert is_true(formula)


def test_arithmetic_knows_nothing_of_torch():
    tree = ast.parse(Path(arithmetic.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(name.split(".")[0] == "torch" for name in names)

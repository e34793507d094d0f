"""What `compare` claims: its verdict is the bound's, the bound is sound, and whole numbers leave no doubt at all."""

from __future__ import annotations

import itertools
import math
import re
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnviz import models, trace
from fcnviz.equivalence import (
    Case,
    adaptive_against_mean,
    by_hand,
    compare,
    compare_gradients,
    exact_case,
    images_in_rows,
    prove_exact,
    tiny_case,
    wrong_order,
)
from fcnviz.equivalence.rounding import arithmetic_of
from fcnviz.equivalence.verdict import Pair, judged
from fcnviz.errors import FcnvizError, InputError, WindowError
from fcnviz.records import Shape
from fcnviz.surgery import linear_to_conv

TYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
FEATURES = (16, 3, 5)


def test_where_torch_makes_tensors_by_default_is_no_matter() -> None:
    """On a device that holds no numbers nothing could be equal."""
    small, linear = case(), exact_case(3, (4, 2, 2)).case
    with torch.device("meta"):
        assert exact_case(3, (4, 2, 2)).comparison.verdict == "bit-equal"
        assert by_hand(*tiny_case()).answers[0] == pytest.approx(14.9)
        assert compare(*small).verdict != "different"
        assert compare_gradients(*linear).verdict != "different"


def test_layers_on_two_devices_are_refused_and_both_are_named() -> None:
    linear, conv, x = case()
    for three in ((linear.to("meta"), conv, x), (linear, conv, x.to("meta"))):
        with pytest.raises(InputError, match="all three need the same device; here Linear meta, Conv2d cpu"):
            compare(*three)


def case(
    features: tuple[int, int, int] = FEATURES,
    size: tuple[int, int] | None = None,
    outputs: int = 6,
    batch: int = 2,
    dtype: torch.dtype = torch.float32,
    bias: bool = True,
    seed: int = 0,
    **window: object,
) -> Case:
    """Random layers that share their numbers, and random maps."""
    channels, h, w = features
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        linear = nn.Linear(channels * h * w, outputs, bias=bias).to(dtype)
        conv = nn.Conv2d(channels, outputs, (h, w), bias=bias, **window).to(dtype)
        x = torch.randn(batch, channels, *(size or (h, w))).relu().to(dtype)
    conv.weight = nn.Parameter(linear.weight.detach().view(outputs, channels, h, w))
    conv.bias = linear.bias
    return Case(linear, conv, x)


class Fc6(NamedTuple):
    """The first outputs of a layer, and a map of 7×7 and one of 8×8."""

    linear: nn.Linear
    conv: nn.Conv2d
    seven: Tensor
    eight: Tensor

    def first(self, outputs: int) -> Fc6:
        linear, conv = nn.Linear(25_088, outputs, device="meta"), nn.Conv2d(512, outputs, 7, device="meta")
        linear.weight, linear.bias = (nn.Parameter(p.detach()[:outputs]) for p in self.linear.parameters())
        conv.weight, conv.bias = (nn.Parameter(p.detach()[:outputs]) for p in self.conv.parameters())
        return self._replace(linear=linear, conv=conv)


@pytest.fixture(scope="module")
def fc6() -> Fc6:
    """The real layer: VGG16's fc6 on what VGG16 makes of a random image of 224 and of 256 pixels."""
    model = models.vgg16(seed=0)
    linear, generator = model.classifier[0], torch.Generator().manual_seed(0)
    conv = nn.Conv2d(512, 4096, 7, device="meta")
    conv.weight, conv.bias = nn.Parameter(linear.weight.detach().view(4096, 512, 7, 7)), linear.bias
    with torch.no_grad():
        maps = [model.features(torch.rand(1, 3, side, side, generator=generator)) for side in (224, 256)]
    return Fc6(linear, conv, *maps)


# The verdict


@pytest.mark.parametrize("size", [(3, 5), (4, 7), (9, 6)])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_the_cast_is_within_rounding_at_every_cell_in_every_number_type(dtype, size):
    found = compare(*case(size=size, dtype=dtype))
    rows, columns = size[0] - 2, size[1] - 4
    assert found.verdict in ("bit-equal", "within rounding")
    assert found.shapes == ((2 * rows * columns, 6), (2, 6, rows, columns))
    assert found.cells.shape == (2, rows, columns)
    assert found.cells.max() == found.difference
    assert found.outputs == 2 * 6 * rows * columns
    assert found.dtype == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize(
    "window",
    [
        {"stride": 2},
        {"stride": (1, 3), "padding": (2, 1)},
        {"dilation": 2},
        {"padding": "same"},
        {"padding": 1, "padding_mode": "reflect"},
    ],
    ids=str,
)
def test_the_linear_sees_the_windows_that_the_convolution_sees(window):
    found = compare(*case(size=(9, 12), dtype=torch.float64, **window))
    assert found.verdict in ("bit-equal", "within rounding")
    assert found.is_usual


def test_flat_rows_one_image_and_a_batch_are_the_same_input():
    linear, conv, x = case()
    assert compare(linear, conv, x.flatten(1)) == compare(linear, conv, x.flatten(1).clone())
    for given, shape in ((x, (2, 16, 3, 5)), (x.flatten(1), (2, 240)), (x[0], (16, 3, 5)), (x[0].flatten(), (240,))):
        found = compare(linear, conv, given)
        assert found.verdict != "different"
        assert found.input_shape == shape


def test_a_layer_without_bias_is_compared_too():
    assert compare(*case(bias=False)).verdict != "different"


def test_numbers_that_are_not_the_same_are_called_different():
    linear, conv, x = case()
    conv.bias = nn.Parameter(linear.bias + 0.01)
    found = compare(linear, conv, x)
    assert found.verdict == "different"
    assert found.share > 1
    assert 0.0099 < found.difference < 0.0101


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_the_bound_is_twice_gamma_n_times_the_sum_of_absolute_products(dtype):
    linear, conv, x = case(dtype=dtype, batch=1)
    found = compare(linear, conv, x)
    n, u = 16 * 3 * 5 + 1, {torch.float64: 2.0**-53}.get(dtype, 2.0**-24)
    sums = F.linear(x.flatten(1).double().abs(), linear.weight.double().abs(), linear.bias.double().abs())
    bound = (2 * n * u / (1 - n * u) * sums.max()).item()
    assert (found.roundings, found.unit) == (n, u)
    if dtype in (torch.float64, torch.float32):
        assert found.bound == pytest.approx(bound, rel=1e-9)
    else:  # one rounding more on either side, when the float32 sum is stored
        assert bound < found.bound < bound + 4 * torch.finfo(dtype).eps * sums.max()


@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("mkldnn", [True, False])
def test_each_way_is_within_half_the_bound_of_the_exact_sum(dtype, mkldnn):
    """The bound is sound for each way alone, with oneDNN's kernels and with torch's own."""
    with torch.backends.mkldnn.flags(enabled=mkldnn):
        linear, conv, x = case((64, 7, 7), (8, 8), dtype=dtype)
        exact = Case(*(layer.double() for layer in case((64, 7, 7), (8, 8), dtype=dtype)[:2]), x.double())
        wanted = exact.conv(exact.x)
        sums = F.conv2d(exact.x.abs(), exact.conv.weight.abs(), exact.conv.bias.abs())
        n, u = 64 * 49 + 1, 2.0**-24
        rounded = torch.finfo(dtype).eps * (wanted.abs() + sums * n * u) if dtype != torch.float32 else 0
        assert ((conv(x).double() - wanted).abs() <= n * u / (1 - n * u) * sums + rounded).all()
        assert compare(linear, conv, x).verdict != "different"


def test_lower_precision_that_torch_was_allowed_widens_the_bound():
    usual = compare(*case())
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        allowed = compare(*case())
    finally:
        torch.set_float32_matmul_precision(before)
    assert allowed.bound > 100 * usual.bound
    assert allowed.verdict != "different"


def test_autocast_does_not_change_what_is_compared():
    plain = compare(*case())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert compare(*case()) == plain


def test_tiny_numbers_are_no_difference_either():
    linear, conv, x = case()
    assert compare(linear, conv, x * 1e-42).verdict != "different"  # products far below the smallest float32


def answers_of(one: float, other: float, terms: int, size: float, dtype: torch.dtype) -> Pair:
    """One output, computed two ways from so many products whose sizes add up to `size`."""
    return Pair(
        *(("one", "other"), (Shape((1, 1)), Shape((1, 1))), Shape((1, terms))),
        one=torch.tensor([[one]], dtype=dtype),
        other=torch.tensor([[other]], dtype=dtype),
        sums=lambda rows: torch.tensor([[size]], dtype=torch.float64),
        bias=torch.zeros(1),
        roundings=terms,
        arithmetic=arithmetic_of(torch.zeros(1, dtype=dtype)),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_each_product_may_vanish_below_the_smallest_number_and_no_more_than_that(dtype):
    """Some processors round to 0 whatever is smaller than the smallest normal number: one way may lose all products."""
    tiny, terms = torch.finfo(dtype).tiny, 64
    for lost, verdict in ((terms, "within rounding"), (2 * terms, "within rounding"), (2 * terms + 1, "different")):
        assert judged(answers_of(0.0, lost * tiny, terms, 0.0, dtype), ()).verdict == verdict


def test_an_answer_in_half_precision_may_lose_what_is_below_its_own_smallest_number():
    small = torch.finfo(torch.float16).smallest_normal * torch.finfo(torch.float16).eps  # the smallest of all
    for steps, verdict in ((1, "within rounding"), (2, "within rounding"), (3, "different")):
        assert judged(answers_of(0.0, steps * small, 64, 0.0, torch.float16), ()).verdict == verdict


@pytest.mark.parametrize(("one", "other", "verdict"), [
    (math.nan, math.nan, "bit-equal"), (math.nan, 1.0, "different"), (1.0, math.nan, "different"),
    (math.inf, math.inf, "bit-equal"), (math.inf, -math.inf, "different"), (math.inf, 1.0, "different"),
    (0.0, -0.0, "bit-equal"),
])  # fmt: skip
def test_what_is_no_number_both_ways_is_equal_and_otherwise_different(one, other, verdict):
    found = judged(answers_of(one, other, 64, 1.0, torch.float16), ())
    assert found.verdict == verdict and (found.equal == 1) == (verdict == "bit-equal")
    assert verdict == "bit-equal" or found.difference == math.inf


def test_gradients_are_bounded_by_their_own_number_of_terms():
    """A weight's gradient has a product for each window of each image; partial sums may be stored image by image."""
    for batch, dtype in itertools.product((1, 3), (torch.float64, torch.bfloat16)):
        layers = case(size=(6, 9), batch=batch, dtype=dtype)
        found = compare_gradients(*layers, seed=5)
        cells = (6 - 3 + 1) * (9 - 5 + 1)
        assert found.roundings == batch * cells + 1
        back = torch.randn(batch, 6, 4, 5, generator=torch.Generator().manual_seed(5)).to(dtype).double()
        windows = F.unfold(layers.x.double(), (3, 5))
        sums = torch.einsum("bol,bkl->ok", back.flatten(2).abs(), windows.abs())
        unit = 2.0**-53 if dtype == torch.float64 else 2.0**-24
        stored = 0.0 if dtype == torch.float64 else batch * 2.0**-8
        gamma = (1 + stored) ** 2 / (1 - found.roundings * unit) - 1
        answers = 4 * (1 + gamma) * 2.0**-8 / (1 - 2.0**-8) ** 2 if stored else 0.0  # two, each of two more roundings
        assert 2 * gamma <= found.bound / sums.max().item() <= (2 * gamma + answers) * (1 + 1e-9)


def test_an_overflow_on_one_side_is_no_rounding():
    linear, conv, x = case(dtype=torch.float16)
    with torch.no_grad():
        conv.weight.mul_(0)
        conv.weight[0, 0, 0, 0] = linear.weight[0, 0] = 60000
        conv.bias, x[0, 0, 0, 0] = nn.Parameter(torch.zeros_like(linear.bias)), 1
        linear.weight[0, 1:3], x[0, 0, 0, 1:3] = 60000, 1
    assert compare(linear, conv, x).verdict == "different"


def test_other_weights_are_told_even_where_the_bound_cannot_see_them():
    linear, conv, x = case()
    assert not compare(linear, conv, x).other_weights
    conv.weight = nn.Parameter(conv.weight.detach() * (1 + 2**-16))
    found = compare(linear, conv, x)
    assert found.verdict == "within rounding" and found.other_weights
    assert "within rounding, but the layers do not hold the same numbers" in str(found)
    assert compare(linear, case(bias=False).conv, x).other_weights


def test_the_verdict_shows_at_the_prompt():
    assert repr(compare(*case())).startswith("Comparison(Linear 240 → 6 against Conv2d 6 of 16×3×5: within rounding, ")
    assert "bit-equal" in repr(exact_case(2, (2, 2, 2)))
    assert repr(by_hand(*tiny_case())).endswith("of Linear 4 → 2 and Conv2d 2 of 1×2×2: 14.9)")


def test_nothing_of_the_layers_changes():
    linear, conv, x = case()
    before = [t.clone() for t in (linear.weight, linear.bias, x)]
    state = torch.get_rng_state()
    for one in (compare, compare_gradients):
        one(linear, conv, x)
    assert all(torch.equal(a, b) for a, b in zip(before, (linear.weight, linear.bias, x), strict=True))
    assert linear.weight.grad is conv.weight.grad is None
    assert linear.weight.requires_grad and torch.equal(state, torch.get_rng_state())


def test_the_cast_that_the_package_makes_is_the_same_layer():
    linear, _, x = case(size=(6, 9))
    found = compare(linear, linear_to_conv(linear, FEATURES), x)
    assert found.verdict in ("bit-equal", "within rounding") and found.is_usual


# At the real size


def test_fc6_is_within_rounding_and_a_few_eps_at_both_sizes(fc6):
    for layers, maps, cells in ((fc6, fc6.seven, (1, 1, 1)), (fc6.first(512), fc6.eight, (1, 2, 2))):
        found = compare(layers.linear, layers.conv, maps)
        assert found.verdict == "within rounding"
        assert found.cells.shape == cells
        assert found.roundings == 25_089
        assert found.share < 1e-3 and found.is_usual and found.eps < 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_whole_numbers_are_bit_equal_at_full_size(dtype):
    found = exact_case(dtype=dtype)
    assert found.comparison.verdict == "bit-equal"
    assert found.comparison.outputs == 4096 and found.proof.terms == 25_088
    assert found.proof.largest < found.proof.limit == {torch.float32: 2**24, torch.float64: 2**53}[dtype]


def test_the_wrong_order_is_wrong_by_as_much_as_the_answers_themselves(fc6):
    found = wrong_order(fc6.first(512).linear, (512, 7, 7), fc6.seven)
    assert found.verdict == "different" and found.equal < 10
    assert found.relative_error == pytest.approx(1.11, abs=0.02)


def test_fc6_by_hand_adds_up_both_ways(fc6):
    fc6 = fc6.first(512)
    work = by_hand(fc6.linear, fc6.conv, fc6.eight, channel=17, cell=(0, 1))
    assert work.products.shape == (512, 7, 7)
    assert (work.rows, work.columns, work.map) == ((0, 7), (1, 8), (512, 8, 8))
    assert np.array_equal(work.inputs, fc6.eight[0, :, 0:7, 1:8].numpy())
    bound = 25_089 * 2.0**-24 / (1 - 25_089 * 2.0**-24) * work.absolute
    assert all(abs(sum_ - work.exact) <= bound for sum_ in (*work.sums, *work.answers))
    assert work.sums[0] != work.sums[1]  # the same numbers in another order
    lines = str(work).splitlines()
    assert max(map(len, lines)) <= 120
    assert "25\u202f088 products" in str(work) and len(lines) < 40


def test_the_gradient_of_the_kernel_is_the_linears_reshaped():
    for size in ((3, 5), (6, 9)):
        found = compare_gradients(*case(size=size))
        assert found.verdict != "different"
        assert found.shapes == ((6, 240), (6, 16, 3, 5))
    assert compare_gradients(*case(batch=1)).verdict == "bit-equal"  # one product each: nothing to add up


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_gradients_agree_in_every_number_type(dtype):
    assert compare_gradients(*case((32, 7, 7), (10, 10), batch=4, dtype=dtype)).verdict != "different"


def test_a_frozen_layer_has_a_gradient_to_compare_too():
    linear, conv, x = case()
    for layer in (linear, conv):
        layer.requires_grad_(False)
    with torch.inference_mode(False):
        assert compare_gradients(linear, conv, x).verdict != "different"


def test_gradients_are_compared_in_inference_mode_too():
    with torch.inference_mode():
        assert compare_gradients(*case(size=(6, 9))).verdict != "different"


def test_another_kernel_has_another_gradient():
    linear, conv, x = case(size=(6, 9))
    conv.stride = (2, 2)
    shifted = nn.Conv2d(16, 6, (3, 5), stride=2)
    shifted.weight, shifted.bias = nn.Parameter(conv.weight.detach().flip(3)), conv.bias
    assert compare_gradients(linear, shifted, x).verdict != "different"  # dL/dW does not depend on W
    assert compare(linear, shifted, x).verdict == "different"


# Whole numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("features", [(1, 1, 1), (3, 2, 4), (256, 6, 6)])
def test_whole_numbers_are_bit_equal_at_any_size_and_in_every_cell(features, dtype):
    found = exact_case(12, features, cells=(2, 3), dtype=dtype)
    assert found.comparison.verdict == "bit-equal" and found.comparison.difference == 0
    assert found.comparison.shapes[1] == (1, 12, 2, 3)
    assert found.proof.holds


def test_the_proof_bounds_every_partial_sum_in_every_order():
    found = exact_case(4, (8, 3, 3))
    linear, _, x = found.case
    products = (linear.weight * x.flatten()).double()
    for seed in range(5):
        order = torch.randperm(72, generator=torch.Generator().manual_seed(seed))
        assert products[:, order].cumsum(1).abs().max() <= found.proof.largest < found.proof.limit
    assert products.abs().sum(1).max() <= found.proof.largest


def test_a_linear_gives_its_sizes_and_keeps_its_weights():
    linear = case(dtype=torch.float64).linear
    before = linear.weight.clone()
    found = exact_case(linear, FEATURES)
    assert found.comparison.dtype == "float64" and found.comparison.names[0] == "Linear 240 → 6"
    assert torch.equal(linear.weight, before)


def test_nothing_is_proved_of_broken_numbers_or_of_sums_too_long():
    linear, _, x = case()
    with pytest.raises(InputError, match="a weight is not a whole number, so sums may be rounded"):
        prove_exact(linear, x)
    with pytest.raises(
        InputError, match="bfloat16 holds every whole number up to 256 only, and a sum of 25.088 products"
    ):
        exact_case(dtype=torch.bfloat16)
    with torch.no_grad():
        linear.weight.fill_(1000)
        linear.bias.fill_(1)
    assert not prove_exact(linear, torch.full((1, 240), 1000.0)).holds
    assert "= 2²⁴: nothing is proved" in str(prove_exact(linear, torch.full((1, 240), 1000.0)))


def filled(weight: float, x: float, bias: float, dtype: torch.dtype = torch.float32) -> tuple[nn.Linear, Tensor]:
    linear = nn.Linear(3, 2).to(dtype)
    with torch.no_grad():
        linear.weight.fill_(weight)
        linear.bias.fill_(bias)
    return linear, torch.full((1, 3), x, dtype=dtype)


def test_the_proof_counts_the_bias_and_stops_at_the_first_gap():
    assert prove_exact(*filled(2, 5, -7)).largest == 3 * 2 * 5 + 7
    assert prove_exact(*filled(0, 0, 2**24 - 1)).holds
    assert not prove_exact(*filled(0, 0, 2**24)).holds
    assert exact_case(2, (1, 1, 1)).proof.weight <= 256


def test_the_narrower_of_two_types_is_proved():
    linear, _ = filled(2, 5, 1)
    assert prove_exact(linear, torch.ones(1, 3, dtype=torch.float64)).limit == 2**24


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda: prove_exact(*filled(1, float("inf"), 0)), "the input holds a number that is not finite"),
        (lambda: prove_exact(*filled(1.5, 1, 0)), "a weight is not a whole number"),
        (lambda: prove_exact(*filled(1, 1.5, 0)), "an input is not a whole number"),
        (
            lambda: prove_exact(filled(1, 1, 0)[0], torch.ones(1, 4)),
            "x is 1×4, and Linear 3 → 2 takes rows of 3 numbers",
        ),
        (lambda: prove_exact(filled(1, 1, 0)[0], torch.empty(0, 3)), "the input has no numbers"),
        (lambda: prove_exact(filled(1, 1, 0)[0].to("meta"), torch.ones(1, 3)), "the weight has no numbers"),
        (lambda: prove_exact(filled(1, 1, 0)[0], torch.ones(1, 3).int()), "int32 numbers were asked for"),
        (lambda: exact_case(2, (1, 2, 2), dtype=torch.int32), "int32 numbers were asked for"),
        (lambda: exact_case(2, (2, 2)), r"a map of \(2, 2\) was asked for; it takes \(channels, height, width\)"),
        (lambda: exact_case(2, 16), "a map of 16 was asked for"),
        (lambda: tiny_case(4), "a map of 4 was asked for"),
        (lambda: tiny_case(cells=(1.0, 1)), r"cells of \(1.0, 1\) was asked for; it takes \(rows, columns\)"),
        (lambda: by_hand(*tiny_case(), cell=1), r"cell 1 was asked for; a cell is \(row, column\)"),
        (lambda: by_hand(*tiny_case(), cell=(0, 0, 0)), r"cell \(0, 0, 0\) was asked for"),
        (lambda: by_hand(*tiny_case()[:2], torch.full((1, 1, 2, 2), torch.nan)), "a number that is not finite"),
    ],
)
def test_what_cannot_be_proved_or_followed_is_refused(ask, sentence):
    with pytest.raises(InputError, match=sentence):
        ask()


def test_bfloat16_counts_far_enough_for_short_sums():
    assert exact_case(3, (4, 2, 2), cells=(2, 2), dtype=torch.bfloat16).comparison.verdict == "bit-equal"


# By hand


def test_the_smallest_case_in_print_three_ways():
    square, flat = tiny_case(), tiny_case((4, 1, 1))
    answers = [square.linear(square.x.flatten(1)), square.conv(square.x), flat.conv(flat.x)]
    for answer in answers:
        assert answer.flatten().tolist() == pytest.approx([14.9, 19.0], abs=1e-6)
    assert square.conv.weight.shape == (2, 1, 2, 2) and flat.conv.weight.shape == (2, 4, 1, 1)


def test_the_smallest_case_is_written_as_on_paper():
    written = str(by_hand(*tiny_case()))
    for line in (
        "1.1·1 + 1.2·2 + 1.3·3 + 1.4·4 + 1.9",
        "= 1.1 + 2.4 + 3.9 + 5.6 + 1.9",
        "= 14.9",
        "channel 0: 1.1·1 + 1.2·2 + 1.3·3 + 1.4·4 = 13",
        "13 + 1.9 = 14.9",
    ):
        assert f"  {line}" in written.splitlines()


@pytest.mark.parametrize(("features", "cells"), [((1, 2, 2), (1, 1)), ((2, 3, 3), (1, 1)), ((2, 3, 3), (2, 2))])
def test_what_is_on_paper_comes_out_right(features, cells):
    """Every sum in the text is read back and computed again with Python's own numbers."""
    for channel in (0, 1):
        case_ = tiny_case(features, cells)
        work = by_hand(*case_, channel=channel, cell=(cells[0] - 1, cells[1] - 1))
        text = re.sub(r"\n +\+ ", " + ", str(work)).replace("−", "-").replace("·", "*")
        linear = re.search(r"column after column\n +(.*)\n +=(.*)\n +=(.*)", text)
        assert linear is not None
        values = [eval(part) for part in linear.groups()]
        assert values == pytest.approx([work.exact] * 3)
        by_channel = [
            line.split(": ")[-1].split(" = ") for line in text.splitlines() if re.match(r" +\S.* = [-\d.]+$", line)
        ]
        assert len(by_channel) == features[0] + 1
        assert all(eval(left) == pytest.approx(float(right)) for left, right in by_channel)
        assert max(map(len, str(work).splitlines())) <= 120


def test_sums_of_other_weights_say_whose_they_are():
    linear, conv, x = tiny_case()
    assert "do not hold the same numbers" not in str(by_hand(linear, conv, x))
    conv.weight = nn.Parameter(conv.weight.detach().flip(3))
    work = by_hand(linear, conv, x)
    assert work.other_weights and "all sums here are of the Linear's" in str(work)


def test_zero_has_no_sign_on_paper():
    linear, conv, _ = tiny_case((1, 1, 2))
    assert "−0" not in str(by_hand(linear, conv, -torch.zeros(1, 1, 1, 2)))


def test_each_product_knows_its_place():
    linear, conv, x = case(size=(4, 7))
    work = by_hand(linear, conv, x, channel=5, cell=(1, 2), image=1)
    for product in work.largest(7):
        c, i, j = product.place
        assert product.column == c * 15 + i * 5 + j
        assert product.weight == conv.weight[5, c, i, j] == linear.weight[5, product.column]
        assert product.input == x[1, c, product.cell[0], product.cell[1]]
    sizes = [abs(product.product) for product in work.largest(240)]
    assert sizes == sorted(sizes, reverse=True)
    assert work.answers[1] == conv(x)[1, 5, 1, 2]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_running_sums_end_at_the_answer(dtype):
    work = by_hand(*case(size=(4, 7), dtype=dtype), cell=(1, 1))
    slack = (241 * 2.0**-24 + torch.finfo(dtype).eps) * work.absolute
    assert all(abs(total - work.exact) <= slack for total in (*work.sums, *work.answers))
    assert len(work.running) == 240 and len(work.running_channels) == 16
    assert work._repr_html_().count("<table>") == 2


def test_padding_and_dilation_show_in_the_window():
    work = by_hand(*case(size=(9, 12), padding=2, dilation=2), cell=(0, 0))
    assert (work.rows, work.columns) == ((-2, 3), (-2, 7))
    assert work.inputs[0, 0, 0] == 0


def test_a_place_that_is_not_there_is_refused():
    for place, words in (
        ({"channel": 6}, "channel 6 was asked for; there are 6, numbered from 0"),
        ({"cell": (1, 0)}, "row 1 was asked for; there are 1"),
        ({"image": -1}, "image -1 was asked for; there are 2"),
    ):
        with pytest.raises(InputError, match=words):
            by_hand(*case(), **place)


def test_views_are_escaped_and_say_the_verdict():
    found = compare(*case(size=(4, 7)))
    assert found.verdict in str(found) and found.verdict in found._repr_html_()
    assert "<script" not in by_hand(*case())._repr_html_()
    assert "every order of summation is exact" in str(exact_case(2, (2, 2, 2)))


# The traps


def test_the_wrong_order_raises_nothing_and_is_wrong():
    linear, _, x = case()
    assert linear.weight.view(6, 3, 5, 16).permute(0, 3, 1, 2).shape == (6, 16, 3, 5)
    assert wrong_order(linear, FEATURES, x).verdict == "different"
    one_channel = case((1, 3, 5))
    assert wrong_order(one_channel.linear, (1, 3, 5), one_channel.x).verdict != "different"  # nothing to mix up


def test_view_turns_49_images_into_64_rows():
    maps = torch.arange(49.0).reshape(49, 1, 1, 1).expand(49, 512, 8, 8)
    rows = maps.reshape(-1, 25_088)
    assert rows.shape == (64, 25_088)
    mixed = images_in_rows(maps.shape, 25_088)
    assert [tuple(row.unique().int().tolist()) for row in rows] == list(mixed)
    assert sum(len(images) > 1 for images in mixed) == 48  # the other 16 hold a part of one image
    assert images_in_rows((49, 512, 7, 7), 25_088) == tuple((n,) for n in range(49))
    with pytest.raises(InputError, match="do not fill rows"):
        images_in_rows((48, 512, 8, 8), 25_088)


def test_without_flatten_the_message_holds_3584():
    model = models.vgg16()
    found = trace(nn.Sequential(model.features, model.classifier), (1, 3, 224, 224))
    assert found.failure is not None
    assert found.failure.message == "mat1 and mat2 shapes cannot be multiplied (3584x7 and 25088x4096)"


def test_channels_last_refuses_view_and_flatten_is_right():
    x = torch.rand(2, 16, 3, 5)
    last = x.to(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        last.view(2, -1)
    assert torch.equal(last.flatten(1), x.flatten(1))
    linear, conv, _ = case()
    assert compare(linear, conv, last).verdict != "different"


@pytest.mark.parametrize("size", [(225, 224), (255, 255), (240, 231), (1568, 32)])
def test_other_sizes_pass_the_linear_head_silently(size):
    assert trace(models.vgg16(), (1, 3, *size)).output_shape == (1, 1000)


def test_a_long_map_passes_the_linear_and_not_the_convolution():
    assert trace(models.vgg16().features, (1, 3, 1568, 32)).output_shape == (1, 512, 49, 1)
    found = trace(models.vgg16("conv"), (1, 3, 1568, 32))
    assert found.failure is not None and "Kernel size can't be greater" in found.failure.message
    linear, conv, _ = case((2, 3, 3))
    with pytest.raises(WindowError, match="one whole window has to fit"):
        compare(linear, conv, torch.rand(1, 2, 9, 1))


def test_adaptive_pooling_answers_once_where_the_convolution_answers_four_times():
    assert trace(models.vgg16("adaptive"), (1, 3, 256, 256)).output_shape == (1, 1000)
    assert trace(models.vgg16("conv"), (1, 3, 256, 256)).output_shape == (1, 1000, 2, 2)


def test_the_adaptive_answer_is_the_mean_of_the_map_at_8_and_only_before_relu():
    def found(side, relu=False):
        return adaptive_against_mean(*case((64, 7, 7), (side, side), dtype=torch.float64), relu=relu)

    assert [found(side).verdict == "different" for side in (7, 8, 9, 10, 14)] == [False, False, True, True, True]
    assert found(8, relu=True).verdict == "different"
    assert found(7, relu=True).verdict != "different"  # one cell: its own mean


def test_at_full_size_float32_can_tell_by_the_usual_error_only(fc6):
    some = fc6.first(512)
    before = adaptive_against_mean(some.linear, some.conv, some.eight)
    after = adaptive_against_mean(some.linear, some.conv, some.eight, relu=True)
    assert before.verdict == "within rounding" and before.is_usual
    assert not after.is_usual and after.eps > 1000
    assert "look again in float64" in str(after) or after.verdict == "different"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_adaptive_answer_agrees_in_small_types_too(dtype):
    assert adaptive_against_mean(*case((64, 7, 7), (8, 8), dtype=dtype)).verdict != "different"


# What can't be compared


def error_of(*given: object) -> str:
    with pytest.raises(FcnvizError) as caught:
        compare(*given)
    return str(caught.value).replace("\u202f", " ")


def test_sizes_that_do_not_match_are_named_with_both_products():
    fc6, conv = nn.Linear(25_088, 4096, device="meta"), nn.Conv2d(512, 4096, 8, device="meta")
    words = error_of(fc6, conv, torch.empty(1, 512, 8, 8, device="meta"))
    assert "on meta, where there are no numbers" in words
    linear, conv, x = case()
    words = error_of(linear, nn.Conv2d(16, 6, 4), x)
    assert words == ("Linear 240 → 6 has 240 columns, Conv2d 6 of 16×4×4 a kernel of 16·4·4 = 256 numbers: 240 ≠ 256")
    assert "different numbers of outputs: 6 ≠ 7" in error_of(linear, nn.Conv2d(16, 7, (3, 5)), x)
    words = error_of(linear, conv, torch.rand(2, 250))
    assert words == "x is 2×250: rows of 250 numbers, where the layers take 16·3·5 = 240"
    assert "with 15 channels; Conv2d 6 of 16×3×5 takes 16" in error_of(linear, conv, torch.rand(1, 15, 3, 5))
    assert "one whole window has to fit" in error_of(linear, conv, torch.rand(1, 16, 2, 5))
    assert "has 2 groups" in error_of(linear, nn.Conv2d(32, 6, (3, 5), groups=2), x)
    assert "x has 5 axes" in error_of(linear, conv, x[None])


def test_number_types_devices_and_things_that_are_no_layers():
    linear, conv, x = case()
    assert error_of(linear, conv, x.double()) == (
        "all three need the same number type; here Linear float32, Conv2d float32, x float64"
    )
    assert "the same device; here Linear cpu, Conv2d cpu, x meta" in error_of(linear, conv, x.to("meta"))
    assert "takes a Linear, a Conv2d and a tensor; it was given Conv2d, Linear, Tensor" in error_of(conv, linear, x)
    assert "no weights before its first input" in error_of(nn.LazyLinear(6), conv, x)
    assert "not finite" in error_of(linear, conv, x * float("inf"))


def test_whole_networks_are_pointed_to_their_layers():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    dense = nn.Sequential(nn.Identity(), nn.Conv2d(1, 2, 2))
    assert "Compare two nets layer by layer: compare(net.fc, dense.fc, x)" in error_of(
        net, dense, torch.rand(1, 1, 2, 2)
    )


def test_padding_that_the_map_cannot_fill_is_refused():
    linear, conv, x = case(padding=(4, 1), padding_mode="circular")
    assert "padding of 4 by circular was asked for; a map of 3 cells has 3" in error_of(linear, conv, x)
    linear, conv, x = case(padding=(3, 1), padding_mode="reflect")
    assert "padding of 3 by reflect was asked for; a map of 3 cells has 2" in error_of(linear, conv, x)


def test_sparse_weights_are_refused():
    linear, conv, x = case()
    linear.weight = nn.Parameter(linear.weight.detach().to_sparse())
    assert "Linear holds torch.sparse_coo numbers" in error_of(linear, conv, x)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_nothing_is_no_comparison():
    linear, conv, x = case()
    assert "holds no number" in error_of(linear, conv, x[:0])
    assert "has no weights" in error_of(nn.Linear(0, 6), nn.Conv2d(0, 6, 3), torch.rand(1, 0, 3, 3))
    for ask in (lambda: exact_case(0, (1, 2, 2)), lambda: exact_case(2, (0, 7, 7)), lambda: tiny_case((2, 0, 2))):
        with pytest.raises(InputError, match="no size is 0"):
            ask()

"""The way back to pixels: bilinear kernels are exact, and a transposed convolution is the sum and the matrix it is said
to be."""

import itertools
import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnviz import handwork, upsampling
from fcnviz.errors import InputError, WindowError

POWERS = [1, 2, 4, 8, 16, 32]


def whole_numbers(*shape: int, seed: int = 0) -> Tensor:
    """Float64 numbers whose sums and products are exact in any order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-9, 10, shape, generator=generator).double()


def transposed_layer(seed: int) -> tuple[nn.ConvTranspose2d, Tensor]:
    """A transposed convolution of random settings with whole numbers in it, and a map for it."""
    draw = random.Random(seed)
    groups = draw.choice([1, 1, 2, 3])
    kernel, stride, dilation = ([draw.randint(1, most) for _ in "hw"] for most in (5, 4, 3))
    extra = [draw.randint(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)]
    size = [draw.randint(1, 5) for _ in "hw"]
    reach = [(n - 1) * s + d * (k - 1) for n, s, d, k in zip(size, stride, dilation, kernel, strict=True)]
    padding = [draw.randint(0, r // 2) for r in reach]
    channels = [groups * draw.randint(1, 2) for _ in range(2)]
    bias = draw.random() < 0.5
    layer = nn.ConvTranspose2d(*channels, kernel, stride, padding, extra, groups, bias, dilation).double()
    for number, parameter in enumerate(layer.parameters()):
        parameter.data = whole_numbers(*parameter.shape, seed=seed + number)
    return layer, whole_numbers(channels[0], *size, seed=-seed)


def interpolation_weights(size: int, factor: int, cell: int) -> dict[int, Fraction]:
    """Which cells `F.interpolate(align_corners=False)` mixes for a finer cell, in fractions, from its definition."""
    place = Fraction(2 * cell + 1, 2 * factor) - Fraction(1, 2)
    first = math.floor(place)
    parts = {first: 1 - (place - first), first + 1: place - first}
    return {i: part for i, part in parts.items() if part and 0 <= i < size}


# Kernels


@pytest.mark.parametrize("kernel", range(1, 66))
def test_the_kernel_is_the_one_of_the_authors(kernel: int) -> None:
    factor = (kernel + 1) // 2
    centre = factor - 1 if kernel % 2 == 1 else factor - 0.5
    rows, columns = np.ogrid[:kernel, :kernel]
    theirs = (1 - abs(rows - centre) / factor) * (1 - abs(columns - centre) / factor)
    assert np.abs(upsampling.bilinear_kernel(kernel, torch.float64).numpy() - theirs).max() < 1e-15


def test_a_kernel_of_four_is_a_quarter_and_three_quarters() -> None:
    assert upsampling.tent(4) == (Fraction(1, 4), Fraction(3, 4), Fraction(3, 4), Fraction(1, 4))
    assert upsampling.tent(1) == (1,) and upsampling.tent(2) == (Fraction(1, 2),) * 2


@pytest.mark.parametrize("stride", range(1, 40))
@pytest.mark.parametrize("odd", [0, 1])
def test_a_kernel_sums_to_the_cells_that_it_makes(stride: int, odd: int) -> None:
    assert sum(upsampling.tent(2 * stride - odd)) == stride
    kernel = upsampling.bilinear_kernel(2 * stride - odd, torch.float64)
    assert kernel.sum().item() == pytest.approx(stride**2, rel=1e-15)


@pytest.mark.parametrize("kernel", [2, 4, 16, 32, 63, 64])
def test_the_kernels_of_the_networks_are_exact_in_float32(kernel: int) -> None:
    weights = upsampling.tent(kernel)
    exact = [[float(a * b) for b in weights] for a in weights]
    assert upsampling.bilinear_kernel(kernel).double().tolist() == exact


@pytest.mark.parametrize("kernel", [0, -2, 2.0, True, "4"])
def test_no_kernel_has_a_size_that_is_no_whole_number(kernel: object) -> None:
    with pytest.raises(InputError, match="whole number from 1 up"):
        upsampling.tent(kernel)
    with pytest.raises(InputError, match="whole number from 1 up"):
        upsampling.kernel_of(kernel)
    with pytest.raises(InputError, match=f"kernel={kernel!r} was asked for"):
        upsampling.upsampling(2, kernel, 2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((0, 4, 2), "classes=0 was asked for; it is a whole number from 1 up"),
        ((2, 4, 0), "stride=0 was asked for; it is a whole number from 1 up"),
        ((2, 4, 2, -1), "padding=-1 was asked for; it is a whole number from 0 up"),
        ((2, 4, 2, 1.5), "padding=1.5 was asked for"),
    ],
)
def test_no_layer_has_settings_that_torch_could_not_run(given: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        upsampling.upsampling(*given)


def test_a_kernel_of_whole_numbers_is_no_kernel() -> None:
    with pytest.raises(InputError, match="its weights are fractions"):
        upsampling.bilinear_kernel(4, torch.int64)


# Layers


def test_each_class_is_enlarged_by_itself_and_no_weight_is_trained() -> None:
    layer = upsampling.upsampling(3, 4, 2)
    assert not layer.weight.requires_grad and layer.bias is None
    for one, other in itertools.product(range(3), repeat=2):
        expected = upsampling.bilinear_kernel(4) if one == other else torch.zeros(4, 4)
        assert torch.equal(layer.weight[one, other], expected)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (16, 8), (32, 16), (63, 32), (64, 32)])
def test_class_wise_and_dense_layers_give_the_same_numbers(kernel: int, stride: int) -> None:
    dense = upsampling.upsampling(5, kernel, stride).double()
    grouped = upsampling.upsampling(5, kernel, stride, grouped=True).double()
    x = whole_numbers(2, 5, 4, 3)
    assert torch.equal(dense(x), grouped(x))
    assert torch.equal(upsampling.class_wise(dense).weight, grouped.weight)
    assert torch.equal(upsampling.dense(grouped).weight, dense.weight)
    assert torch.equal(upsampling.class_wise(dense)(x), upsampling.dense(grouped)(x))
    assert dense.weight.numel() == 5 * grouped.weight.numel()


def test_the_other_form_keeps_settings_bias_and_mode() -> None:
    layer = nn.ConvTranspose2d(3, 3, (4, 3), 2, 1, 1, groups=3).double().train()
    x = whole_numbers(1, 3, 4, 5)
    other = upsampling.dense(layer)
    torch.testing.assert_close(other(x), layer(x), rtol=1e-14, atol=1e-14)
    assert other.training and other.weight.requires_grad and torch.equal(other.bias, layer.bias)
    assert other.bias.data_ptr() != layer.bias.data_ptr()
    assert torch.equal(upsampling.dense(other).weight, other.weight)
    assert torch.equal(upsampling.class_wise(layer).weight, layer.weight)


@pytest.mark.parametrize("trained", [False, True])
def test_the_other_form_is_trained_where_the_layer_is(trained: bool) -> None:
    layer = nn.ConvTranspose2d(3, 3, 3, groups=3)
    layer.weight.requires_grad_(trained)
    layer.bias.requires_grad_(not trained)
    for other in (
        upsampling.dense(layer),
        upsampling.class_wise(layer),
        upsampling.class_wise(upsampling.dense(layer)),
    ):
        assert other.weight.requires_grad is trained and other.bias.requires_grad is not trained


def test_channels_that_mix_have_no_class_wise_form() -> None:
    layer = upsampling.upsampling(3, 4, 2)
    layer.weight.data[2, 1, 0, 0] = 1e-30
    with pytest.raises(InputError, match="channel 2 also writes to channel 1"):
        upsampling.class_wise(layer)
    with pytest.raises(InputError, match="is on meta: whether its channels mix cannot be seen"):
        upsampling.class_wise(upsampling.upsampling(3, 4, 2, device="meta"))
    with pytest.raises(InputError, match="do not pair"):
        upsampling.class_wise(nn.ConvTranspose2d(2, 4, 3))


@pytest.mark.parametrize(
    "layer", [nn.ConvTranspose2d(2, 3, 4), nn.ConvTranspose2d(2, 2, (4, 3)), nn.ConvTranspose2d(4, 4, 3, groups=2)]
)
def test_only_square_kernels_and_paired_channels_are_filled(layer: nn.ConvTranspose2d) -> None:
    with pytest.raises(InputError, match="takes no bilinear weights"):
        upsampling.fill(layer)


# Against interpolation


@pytest.mark.parametrize("factor", POWERS)
def test_inside_it_is_interpolation_bit_for_bit(factor: int) -> None:
    x = whole_numbers(2, 4, 5)
    found = upsampling.against_interpolate(x, factor)
    assert found.shape == (2, 4 * factor, 5 * factor) == tuple(found.interpolated.shape)
    assert torch.equal(found.inside(found.transposed), found.inside(found.interpolated))
    assert found.width == factor // 2
    assert found.inside(found.transposed).numel() == 2 * (3 * factor + factor % 2) * (4 * factor + factor % 2)


@pytest.mark.parametrize("factor", [3, 5, 6, 7, 10, 12, 31])
def test_at_other_factors_the_weights_are_the_same_fractions(factor: int) -> None:
    size = 4
    kernel, padding = upsampling.kernel_of(factor)
    tent = upsampling.tent(kernel)
    for cell in range(factor // 2, size * factor - factor // 2):
        ours = {i: tent[t] for i in range(size) if 0 <= (t := cell + padding - i * factor) < kernel and tent[t]}
        assert ours == interpolation_weights(size, factor, cell)
    found = upsampling.against_interpolate(torch.rand(1, size, size, dtype=torch.float64), factor)
    rounding = 4 * size * torch.finfo(torch.float64).eps  # of a place below `size`, on two axes, and of four products
    assert found.inside(found.difference).abs().max() < rounding
    assert (found.inside(found.weights) - 1).abs().max() < rounding


@pytest.mark.parametrize("factor", [3, 5, 6, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_are_rounded_once_to_the_number_type_of_the_map(factor: int, dtype: torch.dtype) -> None:
    x = torch.zeros(1, 3, 3, dtype=dtype)
    x[0, 1, 1] = 1
    kernel, padding = upsampling.kernel_of(factor)
    found = upsampling.against_interpolate(x, factor).transposed[0]
    first = factor - padding
    cut = found[first : first + kernel, first : first + kernel]
    assert torch.equal(cut, upsampling.bilinear_kernel(kernel, dtype))


@pytest.mark.parametrize("factor", POWERS[1:])
def test_at_the_border_the_weights_no_longer_sum_to_one(factor: int) -> None:
    x = whole_numbers(2, 4, 5) + 100
    found = upsampling.against_interpolate(x, factor)
    assert (found.inside(found.weights) == 1).all()
    outside = torch.ones_like(found.weights, dtype=torch.bool)
    found.inside(outside)[:] = False
    assert (found.weights[outside] < 1).all() and (found.difference[:, outside] < 0).all()
    assert found.weights[0, 0].item() == float((Fraction(factor + 1, 2 * factor)) ** 2)
    assert torch.equal(found.transposed[:, 0, 0], found.interpolated[:, 0, 0] * found.weights[0, 0])


def test_the_odd_kernel_of_fcn_alexnet_is_interpolation_from_corner_to_corner() -> None:
    layer, x = upsampling.upsampling(1, 63, 32, 31).double(), whole_numbers(1, 1, 4, 5)
    theirs = F.interpolate(x, size=(97, 129), mode="bilinear", align_corners=True)
    assert layer(x).shape == theirs.shape
    assert (layer(x) - theirs).abs().max() < 1e-14


def test_only_a_map_of_floating_numbers_is_enlarged() -> None:
    maps = [torch.ones(4, 4), torch.ones(1, 4, 4, dtype=torch.int64), torch.ones(1, 4, 4, device="meta")]
    for x in (*maps, torch.ones(0, 4, 4), torch.ones(1, 0, 4), np.ones((1, 4, 4)), [[1.0]]):
        with pytest.raises(InputError, match="a map C×h×w of floating numbers"):
            upsampling.against_interpolate(x, 2)


# The sum


@pytest.mark.parametrize("seed", range(120))
def test_spreading_kernels_is_what_torch_computes(seed: int) -> None:
    layer, x = transposed_layer(seed)
    theirs = F.conv_transpose2d(
        x[None], layer.weight, layer.bias, layer.stride, layer.padding, layer.output_padding, layer.groups,
        layer.dilation,
    )[0]  # fmt: skip
    assert torch.equal(upsampling.spread(layer, x), theirs)


@pytest.mark.parametrize("seed", range(30))
def test_the_terms_of_every_cell_add_up_to_the_answer(seed: int) -> None:
    layer, x = transposed_layer(seed)
    answers = layer(x[None])[0].detach()
    cells = list(itertools.product(*map(range, answers.shape)))
    for channel, row, column in random.Random(seed).sample(cells, min(25, len(cells))):
        found = upsampling.overlap(layer, x, (row, column), channel)
        total = found.bias + sum(term.input * term.weight for term in found.terms)
        assert found.exact == total == found.answer == answers[channel, row, column].item()
        assert all(term.product == term.input * term.weight for term in found.terms)
        assert all(term.input == x[term.cell].item() for term in found.terms)
        assert found.output == tuple(answers.shape) and found.map == tuple(x.shape)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (6, 2), (64, 32), (6, 3)])
def test_inside_k_over_s_cells_reach_each_output_on_each_axis(kernel: int, stride: int) -> None:
    layer, x = upsampling.upsampling(1, kernel, stride), torch.rand(1, 5, 5)
    middle = stride * 2 + kernel // 2
    assert len(upsampling.overlap(layer, x, (middle, middle + 1)).terms) == (kernel // stride) ** 2
    assert len(upsampling.overlap(layer, x, (0, 0)).terms) == 1


def test_a_stride_larger_than_the_kernel_leaves_cells_that_nothing_reaches() -> None:
    layer = nn.ConvTranspose2d(1, 1, 2, stride=3, bias=False)
    found = upsampling.overlap(layer, torch.ones(1, 2, 2), (2, 0))
    assert found.terms == () and found.exact == 0 == found.answer
    assert "0 = 0" in str(found)


def test_cells_and_maps_that_are_not_there_are_refused() -> None:
    layer, x = nn.ConvTranspose2d(2, 3, 4, 2), torch.ones(2, 3, 3)
    with pytest.raises(InputError, match=r"cell \(8, 0\) of channel 0 was asked for; the output is 3×8×8"):
        upsampling.overlap(layer, x, (8, 0))
    with pytest.raises(InputError, match="channel 3 was asked for"):
        upsampling.overlap(layer, x, (0, 0), 3)
    for cell in ((0,), 0, (0.5, 0), (0, 0, 0), "00", None, (-1, 0)):
        with pytest.raises(InputError, match=r"cell .* of channel 0 was asked for; the output is 3×8×8"):
            upsampling.overlap(layer, x, cell)
    with pytest.raises(InputError, match="channel a was asked for"):
        upsampling.overlap(layer, x, (0, 0), "a")
    for wrong in (torch.ones(1, 3, 3), torch.ones(3, 3), x.double(), x.to("meta"), x.numpy(), [[1.0]]):
        with pytest.raises(InputError, match="a map 2×h×w of torch.float32 with numbers was expected"):
            upsampling.spread(layer, wrong)
    with pytest.raises(InputError, match="an nn.ConvTranspose2d was expected, not Conv2d"):
        upsampling.spread(nn.Conv2d(2, 3, 4), x)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_added_by_hand(number: float) -> None:
    layer, x = upsampling.upsampling(1, 4, 2), torch.ones(1, 3, 3)
    x[0, 2, 2] = number
    assert upsampling.overlap(layer, x, (0, 0)).answer == 0.0625  # which it does not reach
    with pytest.raises(InputError, match=r"of cell \(0, 2, 2\) times 0.0625 is .*: no number to add up"):
        upsampling.overlap(layer, x, (7, 7))
    biased = nn.ConvTranspose2d(1, 1, 2)
    biased.bias.data.fill_(number)
    with pytest.raises(InputError, match=r"the bias is .*: no number to add up"):
        upsampling.overlap(biased, torch.ones(1, 2, 2), (0, 0))


# The matrix


@pytest.mark.parametrize("seed", range(120))
def test_the_matrix_multiplies_as_the_layer_computes(seed: int) -> None:
    layer, x = transposed_layer(seed)
    answers = layer(x[None])[0]
    found = upsampling.transposed_matrix(layer, tuple(x.shape[1:])) @ x.flatten()
    bias = 0 if layer.bias is None else layer.bias[:, None, None]
    assert torch.equal(found.view_as(answers) + bias, answers)


@pytest.mark.parametrize("seed", range(120))
def test_it_is_the_transposed_matrix_of_the_convolution_with_the_same_weights(seed: int) -> None:
    layer, x = transposed_layer(seed)
    conv = nn.Conv2d(
        layer.out_channels, layer.in_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
        layer.groups, bias=False,
    ).double()  # fmt: skip
    conv.weight.data = layer.weight.data
    large, (height, width) = layer(x[None]).shape[2:], x.shape[1:]
    map_ = whole_numbers(layer.out_channels, *large, seed=seed)
    small = conv(map_[None])[0]
    forwards = upsampling.convolution_matrix(conv, tuple(large))
    assert torch.equal((forwards @ map_.flatten()).view_as(small), small)
    rows = forwards.view(*small.shape, -1)[:, :height, :width]  # an output padding ≥ stride leaves room for more cells
    assert torch.equal(upsampling.transposed_matrix(layer, (height, width)), rows.flatten(0, 2).T)


def test_there_and_back_is_not_where_one_was() -> None:
    conv = nn.Conv2d(1, 1, 3, 2, bias=False).double()
    conv.weight.data = whole_numbers(1, 1, 3, 3)
    there = upsampling.convolution_matrix(conv, (7, 7))
    assert not torch.equal(there @ there.T, torch.eye(9, dtype=torch.float64))


def test_same_padding_and_groups_have_their_matrix() -> None:
    for conv in (nn.Conv2d(2, 3, (5, 3), padding="same"), nn.Conv2d(4, 2, 3, 2, 1, groups=2)):
        conv = conv.double()
        conv.weight.data = whole_numbers(*conv.weight.shape)
        x = whole_numbers(conv.in_channels, 6, 7)
        answers = conv(x[None])[0]
        found = (upsampling.convolution_matrix(conv, (6, 7)) @ x.flatten()).view_as(answers)
        torch.testing.assert_close(found + conv.bias[:, None, None], answers, rtol=1e-15, atol=1e-15)


def test_what_has_no_matrix_is_refused() -> None:
    with pytest.raises(WindowError):
        upsampling.convolution_matrix(nn.Conv2d(1, 1, 3), (2, 2))
    with pytest.raises(InputError, match="pads with zeros"):
        upsampling.convolution_matrix(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), (4, 4))
    for size in (5, (5,), (5, 5.0), "55", None):
        with pytest.raises(InputError, match="was asked for; it has rows and columns"):
            upsampling.convolution_matrix(nn.Conv2d(1, 1, 3), size)
        with pytest.raises(InputError, match="was asked for; it has rows and columns"):
            upsampling.transposed_matrix(nn.ConvTranspose2d(1, 1, 3), size)
    with pytest.raises(InputError, match="take a smaller map"):
        upsampling.transposed_matrix(nn.ConvTranspose2d(21, 21, 64, 32, device="meta"), (16, 16))


# On paper


def test_the_sheet_writes_every_product_and_the_sum() -> None:
    layer, x = upsampling.upsampling(1, 4, 2, 1), torch.arange(9.0).view(1, 3, 3)
    found = upsampling.overlap(layer, x, (2, 3))
    page = str(found)
    assert "output cell 2·i − 1 + t (t = 0 … 3), of both axes" in page
    assert "row 2 and column 3 of the 1×6×6 output, 4 products go" in page
    assert "0.1875 + 0.125 + 2.25 + 0.9375 = 3.5" in page
    assert [line.split() for line in page.splitlines() if "·0." in line] == [
        ["0,", "0,", "1", "3,", "2", "1·0.1875", "0.1875"],
        ["0,", "0,", "2", "3,", "0", "2·0.0625", "0.125"],
        ["0,", "1,", "1", "1,", "2", "4·0.5625", "2.25"],
        ["0,", "1,", "2", "1,", "0", "5·0.1875", "0.9375"],
    ]
    html = found._repr_html_()
    assert html == handwork.overlap_html(found)
    assert html.count("<tr>") == 5 and "0.1875 + 0.125 + 2.25 + 0.9375 = 3.5" in html


def test_a_long_sum_shows_its_largest_products() -> None:
    layer = nn.ConvTranspose2d(40, 1, (2, 3), (1, 2), (0, 1), dilation=(2, 1))
    found = upsampling.overlap(layer, torch.randn(40, 4, 4), (3, 2))
    page = str(found)
    assert len(found.terms) > handwork.ON_PAPER
    assert "output row 1·i + 2·t (t = 0 … 1), and to column 2·i − 1 + t (t = 0 … 2)" in page
    largest = max(found.terms, key=lambda term: abs(term.product))
    assert "The largest products" in page and f"{abs(largest.product):.6g}" in page and "The sum" not in page


def test_the_border_is_told_in_numbers() -> None:
    found = upsampling.against_interpolate(whole_numbers(2, 4, 5), 4)
    page = str(found)
    assert page.splitlines()[0].startswith("A 2×16×20 map, 4 times finer")
    assert "equal bit for bit: 384 of 384" in page and "down to 0.390625 in a corner" in page
    assert "384 of 384" in found._repr_html_() and "sum to: 1 inside, down to" in page


def test_the_border_sheet_says_only_what_is_so() -> None:
    same = str(upsampling.against_interpolate(whole_numbers(2, 4, 5), 1))
    assert "no finer than it was" in same and same.endswith("sum to: 1 inside")
    one_cell = str(upsampling.against_interpolate(whole_numbers(1, 1, 1), 4))
    assert "0 of 0" in one_cell and "no cell is inside, down to 0.390625" in one_cell
    found = upsampling.against_interpolate(whole_numbers(1, 4, 5), 12)
    inside = found.inside(found.weights)
    assert inside.min() < 1 and f"sum to: {inside.min().item():.17g} to {inside.max().item():.17g} inside" in str(found)

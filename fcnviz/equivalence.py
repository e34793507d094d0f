"""The same numbers computed in two ways, and whether the difference is more than rounding.

A Linear and the convolution cast from it multiply the same pairs of numbers and add them up in another order, so in
floating point they may differ in the last bits. How far, is known before anything runs: a sum of n rounded products
misses the exact one by at most γₙ·Σ|w||x| with γₙ = n·u/(1 − n·u), whatever the order of summation (Higham, *Accuracy
and Stability of Numerical Algorithms*, §3.1), so two of them differ by at most twice that. `compare` judges by this
bound, output by output, and by no tolerance that somebody has picked.

In reading order: how a layer computes (`_Arithmetic`), the verdict (`Comparison`), the comparison itself, a case in
which every order of summation is exact, the same sums term by term, and the traps. The views are in `handwork`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import starmap
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fcnviz.arithmetic import conv_size, count
from fcnviz.errors import InputError
from fcnviz.records import Shape, Window

__all__ = [
    "Case",
    "Comparison",
    "ExactCase",
    "Handwork",
    "Product",
    "Proof",
    "adaptive_against_mean",
    "by_hand",
    "compare",
    "compare_gradients",
    "exact_case",
    "images_in_rows",
    "prove_exact",
    "tiny_case",
    "wrong_order",
]

Verdict = Literal["bit-equal", "within rounding", "different"]
Features = tuple[int, int, int]

CHUNK = 256  # rows of weights whose sums of absolute products are held at a time: fc6 in float64 would take 0.8 GB


# How a layer computes


@dataclass(frozen=True)
class _Arithmetic:
    """What is rounded while a layer computes: u is the largest relative error of one rounding to nearest.

    Attributes:
        dtype: of weights, inputs and answers.
        unit: u of the running sum. bfloat16 and half are multiplied exactly and summed in float32.
        unit_in: u with which weights and inputs are rounded first (TF32 and its like); 0 where they are not.
        unit_out: u with which the sum is rounded into the answer; 0 where the sum has the answer's type already.
    """

    dtype: torch.dtype
    unit: float
    unit_in: float = 0.0
    unit_out: float = 0.0

    def gamma(self, roundings: int) -> float:
        """γₙ, the largest relative error of n roundings one after the other."""
        product = roundings * self.unit
        if product >= 1:
            least = f"{count(roundings)} roundings of {_name(self.dtype)} sums"
            raise InputError(f"{least} were asked for: n·u = {product:.3g} is not below 1, so nothing bounds the error")
        return product / (1 - product)

    def bound(self, roundings: int, sums: Tensor, answers: Sequence[Tensor], bias: Tensor) -> Tensor:
        """How far two answers may lie apart, each of them `roundings` roundings away from the exact one.

        `sums` are Σ|w||x| + |b|. An answer of fewer bits than the sum is rounded at most twice more: before the bias is
        added, and after. The last term stands for products too small for the type, which may be rounded to 0.
        """
        gamma = (1 + self.unit_in) ** 2 * (1 + self.gamma(roundings)) - 1
        # `sums` is itself a float64 sum; what rounding may have taken from it is put back
        bound = 2 * gamma * sums / (1 - (roundings + 2) * 2.0**-53)
        for answer in answers if self.unit_out else ():
            bound = bound + 2 * self.unit_out * (answer.abs() + bias) / (1 - self.unit_out) ** 2
        tiny = torch.finfo(torch.float64 if self.dtype == torch.float64 else torch.float32).tiny
        return bound + 2 * roundings * tiny + (4 * torch.finfo(self.dtype).smallest_normal * self.unit_out)


def _arithmetic(tensor: Tensor) -> _Arithmetic:
    """The arithmetic of layers on this tensor's device, with torch's settings as they are now."""
    dtype, unit = tensor.dtype, torch.finfo(tensor.dtype).eps / 2
    cuts = tensor.is_cuda and dtype != torch.float64  # tensor cores cut bits off, which costs up to 2·u
    single = 2.0**-23 if cuts else 2.0**-24
    if dtype in (torch.bfloat16, torch.float16):
        return _Arithmetic(dtype, single, unit_out=unit)
    if dtype == torch.float32:
        return _Arithmetic(dtype, single, unit_in=_unit_in(tensor.is_cuda))
    return _Arithmetic(dtype, unit)


def _stored(arithmetic: _Arithmetic, times: int) -> _Arithmetic:
    """The same where partial sums, too, are stored in the answer's type: (1 + u)ᵗ⁺¹ ≤ (1 + t·u)²."""
    return replace(arithmetic, unit_in=max(arithmetic.unit_in, times * arithmetic.unit_out))


_UNITS_IN = {"tf32": 2.0**-10, "bf16": 2.0**-8}


def _unit_in(on_cuda: bool) -> float:
    """How float32 layers may round their inputs: torch allows TF32 in CUDA convolutions unless told otherwise."""
    backends: Any = torch.backends
    asked = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn, backends)
    if not on_cuda:
        asked = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn, backends)
    return max(_UNITS_IN.get(str(getattr(one, "fp32_precision", None)), 0.0) for one in asked)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@contextmanager
def _plain() -> Iterator[None]:
    """No gradients, and no autocast that would change the type of the numbers."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


# The verdict


@dataclass(frozen=True)
class Comparison:
    """Two computations of the same numbers, and whether rounding can explain how they differ.

    Attributes:
        names: what was computed, one way and the other.
        shapes: the answers' shapes, as each way gives them.
        input_shape: what both were given.
        dtype: number type of weights, inputs and answers, as torch names it.
        outputs: how many pairs of numbers were compared.
        equal: how many of them have the same bits. A zero's sign does not count: it tells what was added first.
        difference: the largest |Δ|.
        relative_difference: the largest |Δ| over the largest |answer|.
        relative_error: ‖Δ‖ / ‖answers‖, over all of them.
        scale: the largest |answer| of the first way.
        roundings: n, the terms of one sum and one more for the bias.
        unit: u, the largest relative error of one rounding of the running sum.
        bound: the largest bound on |Δ| of any output: 2·γₙ·Σ|w||x|, the bias among the terms.
        share: |Δ| over its own bound, for the output that comes nearest to it; above 1 it cannot be rounding.
        eps: |Δ| in units of ε·Σ|w||x|, for the output with most; ε = 2·u of the answers' type.
        cells: the largest |Δ| of each cell, images × rows × columns; one number where there are no cells.
        verdict: "bit-equal", "within rounding" (each |Δ| ≤ its bound), "different".
    """

    names: tuple[str, str]
    shapes: tuple[Shape, Shape]
    input_shape: Shape
    dtype: str
    outputs: int
    equal: int
    difference: float
    relative_difference: float
    relative_error: float
    scale: float
    roundings: int
    unit: float
    bound: float
    share: float
    eps: float
    cells: NDArray[np.float64] = field(repr=False, compare=False)

    @property
    def verdict(self) -> Verdict:
        if self.equal == self.outputs:
            return "bit-equal"
        return "within rounding" if self.share <= 1 else "different"

    @property
    def is_usual(self) -> bool:
        """Whether |Δ| is as small as rounding nearly always leaves it: up to √n·ε·Σ|w||x|.

        The bound holds even if all n errors point one way. They don't, and then they grow as √n (Higham & Mary 2019),
        so a pair that is within rounding and not usual deserves a second look in float64. It decides no verdict.
        """
        return self.eps <= math.sqrt(self.roundings)

    def __str__(self) -> str:
        from fcnviz import handwork  # a record knows that a view exists, never how one looks

        return handwork.comparison_text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.comparison_html(self)


@dataclass(frozen=True)
class _Pair:
    """What is compared: two matrices, a row for each output channel, and all that bounds their difference.

    `sums(rows)` gives Σ|w||x| + |b| of some rows in float64; `bias` has |b| of each row.
    """

    names: tuple[str, str]
    shapes: tuple[Shape, Shape]
    input_shape: Shape
    one: Tensor
    other: Tensor
    sums: Callable[[slice], Tensor]
    bias: Tensor
    roundings: int
    arithmetic: _Arithmetic


class _Part(NamedTuple):
    """What some rows of a pair come to."""

    equal: int
    cells: Tensor
    scale: float
    squares: float
    answers: float
    bound: float
    share: float
    eps: float


def _judged(pair: _Pair, cells: Sequence[int]) -> Comparison:
    """The verdict on a pair whose columns are the cells of maps of these sizes (none: they are no cells)."""
    rows = range(0, len(pair.one), CHUNK)
    parts = [_part(pair, slice(start, start + CHUNK)) for start in rows]
    worst = torch.stack([part.cells for part in parts]).amax(0)
    difference, scale = worst.max().item(), max(part.scale for part in parts)
    squares, answers = sum(part.squares for part in parts), sum(part.answers for part in parts)
    return Comparison(
        pair.names,
        pair.shapes,
        pair.input_shape,
        _name(pair.arithmetic.dtype),
        outputs=pair.one.numel(),
        equal=sum(part.equal for part in parts),
        difference=difference,
        relative_difference=_ratio(difference, scale),
        relative_error=_ratio(math.sqrt(squares), math.sqrt(answers)),
        scale=scale,
        roundings=pair.roundings,
        unit=pair.arithmetic.unit,
        bound=max(part.bound for part in parts),
        share=max(part.share for part in parts),
        eps=max(part.eps for part in parts),
        cells=(worst.reshape(tuple(cells)) if cells else worst.max()).cpu().numpy(),
    )


def _part(pair: _Pair, rows: slice) -> _Part:
    one, other = pair.one[rows], pair.other[rows]
    first, second = one.double(), other.double()
    same = (first == second) | (first.isnan() & second.isnan())
    apart = torch.where(same, 0.0, (first - second).abs()).nan_to_num(math.inf, math.inf)
    sums = pair.sums(rows)
    if not sums.isfinite().all():
        raise InputError("the weights or x hold numbers that are not finite, or too large to add: no bound holds")
    bias = pair.bias[rows].double()[:, None]
    bound = pair.arithmetic.bound(pair.roundings, sums, (first, second), bias)
    share = torch.where(apart.isinf(), math.inf, apart / bound)  # an overflow is not a rounding
    eps = torch.where(apart == 0, 0.0, apart / (torch.finfo(one.dtype).eps * sums))
    return _Part(
        equal=int(same.sum()),
        cells=apart.amax(0),
        scale=first.abs().max().item(),
        squares=apart.square().sum().item(),
        answers=first.square().sum().item(),
        bound=bound.max().item(),
        share=share.max().item(),
        eps=eps.max().item(),
    )


def _ratio(part: float, whole: float) -> float:
    if part == 0:
        return 0.0
    return part / whole if whole else math.inf


# Linear against convolution


def compare(linear: nn.Linear, conv: nn.Conv2d, x: Tensor) -> Comparison:
    """Whether a convolution gives, in each cell, what the Linear gives of that cell's window.

    Args:
        linear: with one column for each number of the kernel.
        conv: in one group; any stride, padding and dilation.
        x: a map N×C×H×W (or one image C×H×W), or flat rows N×(C·h·w) of the kernel's size (or one row).
            The Linear gets every window of the map flattened in the order C, H, W.

    Returns:
        A `Comparison` of all cells. The bound takes for granted that both layers hold the same weights and biases; if
        they don't, the verdict is "different". Half and bfloat16 layers are taken to add in float32, as torch's do
        (on CUDA unless `allow_fp16_reduced_precision_reduction` or its bf16 sister lets them do otherwise).

    Raises:
        InputError: sizes, number types or devices that don't match; no numbers; a number that is not finite.
        WindowError: a map smaller than the kernel.

    >>> linear = nn.Linear(2 * 3 * 3, 5).double()
    >>> conv = nn.Conv2d(2, 5, 3).double()
    >>> _ = conv.load_state_dict({"weight": linear.weight.view(5, 2, 3, 3), "bias": linear.bias})
    >>> found = compare(linear, conv, torch.rand(1, 2, 4, 4, dtype=torch.float64))
    >>> found.shapes, found.share <= 1
    (((4, 5), (1, 5, 2, 2)), True)
    """
    image = _checked(linear, conv, x)
    with _plain():
        windows = _windows(conv, image)
        answers, map_ = linear(windows), conv(image)
        return _judged(_pair(linear, conv, x, windows, answers, map_), (len(image), *map_.shape[-2:]))


def _pair(linear: nn.Linear, conv: nn.Conv2d, x: Tensor, windows: Tensor, answers: Tensor, map_: Tensor) -> _Pair:
    bias = _bias(linear)
    return _Pair(
        names=(_linear_name(linear), _conv_name(conv)),
        shapes=(Shape(answers.shape), Shape(map_.shape)),
        input_shape=Shape(x.shape),
        one=answers.T,
        other=map_.transpose(0, 1).flatten(1),
        sums=lambda rows: _absolute_sums(linear.weight[rows], windows) + bias[rows, None],
        bias=bias,
        roundings=linear.in_features + 1,
        arithmetic=_arithmetic(windows),
    )


def _bias(layer: nn.Linear) -> Tensor:
    """|b| in float64, 0 where the layer has none."""
    weight, bias = layer.weight.detach(), layer.bias
    zeros = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
    return zeros if bias is None else bias.detach().double().abs()


def _absolute_sums(weight: Tensor, windows: Tensor) -> Tensor:
    """Σ|w||x| of each output (row) and window (column), in float64."""
    return weight.detach().double().abs() @ windows.detach().double().abs().T


def _windows(conv: nn.Conv2d, image: Tensor) -> Tensor:
    """Every window that the convolution sees, one a row, flattened in the order C, H, W; cells row by row."""
    (top, bottom), (left, right) = _window(conv).pads
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = F.pad(image, (left, right, top, bottom), mode) if any((top, bottom, left, right)) else image
    columns = F.unfold(padded, _two(conv.kernel_size), dilation=_two(conv.dilation), stride=_two(conv.stride))
    return columns.transpose(1, 2).flatten(0, 1)


def _window(conv: nn.Conv2d) -> Window:
    padding = conv.padding if isinstance(conv.padding, str) else _two(conv.padding)
    return Window(_two(conv.kernel_size), _two(conv.stride), padding, _two(conv.dilation))


def _two(sizes: Sequence[int]) -> tuple[int, int]:
    return sizes[0], sizes[1]


def _checked(linear: nn.Linear, conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The input as a map N×C×H×W, after everything that has to match."""
    given: tuple[Any, ...] = (linear, conv, x)
    if not all(map(isinstance, given, (nn.Linear, nn.Conv2d, Tensor))):
        kinds = ", ".join(type(one).__name__ for one in given)
        raise InputError(f"compare(linear, conv, x) takes a Linear, a Conv2d and a tensor; it was given {kinds}")
    if is_lazy(linear.weight) or is_lazy(conv.weight):
        raise InputError("a lazy layer was given, which has no weights before its first input")
    _check_numbers(linear, conv, x)
    _check_weights(linear, conv)
    image = _as_map(conv, x)
    channels, sizes = image.shape[1], image.shape[2:]
    if channels != conv.in_channels:
        raise InputError(f"x is {_by(x.shape)}, with {channels} channels; {_conv_name(conv)} takes {conv.in_channels}")
    window = _window(conv)
    for size, kernel, (before, after), dilation in zip(sizes, window.kernel, window.pads, window.dilation, strict=True):
        conv_size(size + before + after, kernel, dilation=dilation)
    if not image.numel():
        raise InputError(f"x is {_by(x.shape)}, which holds no number: there is nothing to compare")
    return image


def _check_numbers(linear: nn.Linear, conv: nn.Conv2d, x: Tensor) -> None:
    tensors = {"Linear": linear.weight, "Conv2d": conv.weight, "x": x}
    for what, of in (("number type", lambda t: _name(t.dtype)), ("device", lambda t: str(t.device))):
        found = {name: of(tensor) for name, tensor in tensors.items()}
        if len(set(found.values())) > 1:
            listed = ", ".join(f"{name} {value}" for name, value in found.items())
            raise InputError(f"all three need the same {what}; here {listed}")
    if x.is_meta:
        raise InputError("x and the layers are on meta, where there are no numbers to compare; give both a real device")
    if x.dtype not in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        raise InputError(f"{_name(x.dtype)} numbers were given; float64, float32, bfloat16 and float16 can be judged")


def _check_weights(linear: nn.Linear, conv: nn.Conv2d) -> None:
    if conv.groups != 1:
        raise InputError(f"{_conv_name(conv)} has {conv.groups} groups; a Linear joins every input to every output")
    columns, sizes = linear.in_features, (conv.in_channels, *_two(conv.kernel_size))
    if math.prod(sizes) != columns:
        kernel = f"{'·'.join(map(str, sizes))} = {count(math.prod(sizes))}"
        raise InputError(
            f"{_linear_name(linear)} has {count(columns)} columns, {_conv_name(conv)} a kernel of {kernel}"
            f" numbers: {count(columns)} ≠ {count(math.prod(sizes))}"
        )
    if linear.out_features != conv.out_channels:
        outputs = f"{count(linear.out_features)} ≠ {count(conv.out_channels)}"
        raise InputError(f"{_linear_name(linear)} and {_conv_name(conv)} have different numbers of outputs: {outputs}")
    if not math.prod(sizes) or not conv.out_channels:
        raise InputError(f"{_linear_name(linear)} has no weights: there is nothing to compare")


def _as_map(conv: nn.Conv2d, x: Tensor) -> Tensor:
    sizes = (conv.in_channels, *_two(conv.kernel_size))
    if x.dim() in (3, 4):
        return x if x.dim() == 4 else x.unsqueeze(0)
    if x.dim() not in (1, 2):
        raise InputError(f"x has {x.dim()} axes; it is a map N×C×H×W or C×H×W, or rows of {count(math.prod(sizes))}")
    rows = x if x.dim() == 2 else x.unsqueeze(0)
    if rows.shape[1] != math.prod(sizes):
        kernel = f"{'·'.join(map(str, sizes))} = {count(math.prod(sizes))}"
        raise InputError(f"x is {_by(x.shape)}: rows of {count(rows.shape[1])} numbers, where the layers take {kernel}")
    return rows.reshape(len(rows), *sizes)


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


def _linear_name(linear: nn.Linear) -> str:
    return f"Linear {linear.in_features} → {linear.out_features}"


def _conv_name(conv: nn.Conv2d) -> str:
    return f"Conv2d {conv.out_channels} of {conv.in_channels}×{_by(conv.kernel_size)}"


def compare_gradients(linear: nn.Linear, conv: nn.Conv2d, x: Tensor, seed: int = 0) -> Comparison:
    """Whether the gradient of the kernel is that of the Linear's weight, reshaped.

    Both layers answer to x; the same random numbers, drawn from `seed`, stand for what comes back from the loss. An
    entry of dL/dW is a sum with one term for each window. Neither layer's `.grad` is touched.

    >>> linear = nn.Linear(4, 2)
    >>> conv = nn.Conv2d(1, 2, 2)
    >>> _ = conv.load_state_dict({"weight": linear.weight.view(2, 1, 2, 2), "bias": linear.bias})
    >>> compare_gradients(linear, conv, torch.rand(1, 1, 2, 2)).verdict
    'bit-equal'
    """
    image = _checked(linear, conv, x)
    with _plain():
        windows = _windows(conv, image)
        sizes = conv(image).shape
        generator = torch.Generator().manual_seed(seed)
        back = torch.randn(sizes, generator=generator).to(image)
        rows = back.transpose(0, 1).flatten(1)  # outputs × windows
    one = _gradient(linear, windows, rows.T)
    other = _gradient(conv, image, back)
    pair = _Pair(
        names=(f"dL/dW of {_linear_name(linear)}", f"dL/dW of {_conv_name(conv)}"),
        shapes=(Shape(one.shape), Shape(other.shape)),
        input_shape=Shape(x.shape),
        one=one,
        other=other.flatten(1),
        sums=lambda some: rows[some].double().abs() @ windows.double().abs(),
        bias=torch.zeros(len(one), device=one.device),
        roundings=len(windows) + 1,
        arithmetic=_stored(_arithmetic(windows), times=len(image)),  # torch may add up image after image
    )
    return _judged(pair, ())


def _gradient(layer: nn.Linear | nn.Conv2d, x: Tensor, back: Tensor) -> Tensor:
    """dL/dW of one layer, on a copy of its weight's handle, so that frozen layers and `.grad` stay as they are."""
    with torch.enable_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        weight = layer.weight.detach().requires_grad_()
        answers = torch.func.functional_call(layer, {"weight": weight}, (x.detach(),))
        return torch.autograd.grad(answers, weight, back)[0]


# A case in which every order of summation is exact


@dataclass(frozen=True)
class Proof:
    """Why no order of summation can round: no partial sum of whole numbers reaches the first gap between numbers.

    Attributes:
        terms: products in one sum.
        weight, input, bias: the largest absolute value of each; all of them are whole.
        largest: terms·weight·input + bias, which no partial sum can exceed.
        limit: below it the type holds every whole number: 2²⁴ in float32, 2⁵³ in float64.
    """

    terms: int
    weight: int
    input: int
    bias: int
    largest: int
    limit: int

    @property
    def holds(self) -> bool:
        return self.largest < self.limit

    def __str__(self) -> str:
        from fcnviz import handwork

        return handwork.proof_text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.proof_html(self)


class Case(NamedTuple):
    """A Linear, the convolution cast from it, and an input for both."""

    linear: nn.Linear
    conv: nn.Conv2d
    x: Tensor


@dataclass(frozen=True)
class ExactCase:
    """A comparison that has to be bit-equal, the proof of that, and what was compared."""

    proof: Proof
    comparison: Comparison
    case: Case = field(repr=False, compare=False)

    def __str__(self) -> str:
        from fcnviz import handwork

        return f"{handwork.proof_text(self.proof)}\n{handwork.comparison_text(self.comparison)}"

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.proof_html(self.proof) + handwork.comparison_html(self.comparison)


def prove_exact(linear: nn.Linear, x: Tensor) -> Proof:
    """The bound on every partial sum of this layer over x, from the largest numbers there are.

    It speaks of sums of products, in any order. A convolution by Fourier transform or by Winograd's trick computes with
    other numbers; torch takes neither for a kernel that covers its map on a CPU.

    Raises:
        InputError: a weight, bias or input that is not whole.

    >>> prove_exact(tiny_case((2, 3, 3)).linear, tiny_case((2, 3, 3)).x).largest < 2**24
    True
    """
    bias = linear.bias if linear.bias is not None else linear.weight.new_zeros(1)
    largest = {"weight": linear.weight, "input": x, "bias": bias}
    weight, input_, bias_ = starmap(_largest_whole, largest.items())
    limit = _counts_to(x.dtype)
    return Proof(linear.in_features, weight, input_, bias_, linear.in_features * weight * input_ + bias_, limit)


def _largest_whole(what: str, tensor: Tensor) -> int:
    tensor = tensor.detach()
    if not all(torch.equal(rows, rows.trunc()) for rows in tensor.split(CHUNK)):
        raise InputError(f"a {what} is not a whole number, so sums may be rounded: nothing can be proved this way")
    smallest, largest = tensor.aminmax()
    return int(max(abs(smallest.item()), abs(largest.item())))


def _counts_to(dtype: torch.dtype) -> int:
    """The type holds every whole number up to this one, and not the next."""
    return int(2 / torch.finfo(dtype).eps)


def exact_case(
    outputs: int | nn.Linear = 4096,
    features: Features = (512, 7, 7),
    cells: tuple[int, int] = (1, 1),
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> ExactCase:
    """Linear against convolution on whole numbers so small that every order of summation is exact: bit for bit equal.

    Args:
        outputs: how many; or a Linear, whose sizes and number type are taken (its weights are left alone).
        features: C, h, w of the map that the Linear was made for. The default is fc6 of VGG16, which takes 0.4 GB.
        cells: rows and columns of the answer: (2, 2) lets the convolution slide over a map one cell larger each way.
        dtype: float32 or float64; a smaller type counts too few numbers for long sums.
        seed: of the whole numbers; torch's own random numbers stay where they were.

    Raises:
        InputError: sizes that don't match, or too many terms for the type.

    >>> found = exact_case(8, (16, 3, 3), cells=(2, 2))
    >>> found.proof.holds, found.comparison.verdict
    (True, 'bit-equal')
    """
    terms = math.prod(features)
    if isinstance(outputs, nn.Linear):
        if outputs.in_features != terms:
            raise InputError(
                f"{_linear_name(outputs)} has {count(outputs.in_features)} columns, a map of "
                f"{'·'.join(map(str, features))} has {count(terms)} numbers"
            )
        dtype = outputs.weight.dtype
        outputs = outputs.out_features
    if min(outputs, *features, *cells) < 1:
        raise InputError(
            f"{outputs} outputs of a {_by(features)} map in {_by(cells)} cells were asked for: no size is 0"
        )
    case = _whole_case(outputs, features, cells, dtype, _largest_factor(terms, dtype), seed)
    proof = prove_exact(case.linear, case.x)
    return ExactCase(proof, compare(*case), case)


MOST = 256  # a larger factor shows nothing more, and this one is exact in every type, whatever a layer rounds first


def _largest_factor(terms: int, dtype: torch.dtype) -> int:
    """The largest m with terms·m·m + m below what the type counts to."""
    limit = _counts_to(dtype)
    most = math.isqrt((limit - 1) // (terms + 1))
    if most < 1:
        counts = f"{_name(dtype)} holds every whole number up to {count(limit)}"
        raise InputError(f"{counts} only, and a sum of {count(terms)} products of ±1 may reach {count(terms)}")
    return min(most, MOST)


def _whole_case(
    outputs: int, features: Features, cells: Sequence[int], dtype: torch.dtype, most: int, seed: int
) -> Case:
    generator = torch.Generator().manual_seed(seed)
    channels, h, w = features

    def drawn(*shape: int) -> Tensor:
        return torch.randint(-most, most + 1, shape, generator=generator, dtype=dtype)

    weight, bias = drawn(outputs, channels * h * w), drawn(outputs)
    x = drawn(1, channels, h + cells[0] - 1, w + cells[1] - 1)
    return _case(weight, bias, features, x)


def _case(weight: Tensor, bias: Tensor, features: Features, x: Tensor) -> Case:
    channels, h, w = features
    linear = nn.Linear(weight.shape[1], len(weight), device="meta")
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    return Case(linear, _cast(linear, linear.weight.view(-1, channels, h, w)), x)


def _cast(linear: nn.Linear, kernel: Tensor) -> nn.Conv2d:
    """A plain convolution with these weights, so that torch's own way of convolving is what is compared."""
    outputs, channels, h, w = kernel.shape
    conv = nn.Conv2d(channels, outputs, (h, w), bias=linear.bias is not None, device="meta")
    conv.weight = nn.Parameter(kernel.detach())
    conv.bias = linear.bias
    return conv


# By hand


class Product(NamedTuple):
    """One product: the Linear's column, the kernel's place (channel, row, column), the map's cell, the numbers."""

    column: int
    place: tuple[int, int, int]
    cell: tuple[int, int]
    weight: float
    input: float
    product: float


@dataclass(frozen=True, eq=False)
class Handwork:
    """One answer, term by term, added up as a Linear would write it and as a convolution would.

    The running sums are computed in the type in which layers add (float64 for float64, float32 for all others), one
    addition after the other. torch adds in blocks, in yet another order; its two answers are beside them.

    Attributes:
        names: of the Linear and of the convolution.
        channel, cell, image: which output it is.
        outputs, cells: how many channels there are, and how many rows and columns the answer has.
        map: C, H, W of the input.
        rows, columns: first and last-but-one row and column of the window in the map; padding counts negative.
        dtype: number type of the layers.
        weights, inputs, products: C×h×w each.
        bias: 0 where there is none.
        running: the sum after each column of the Linear, in the order C, H, W; without the bias.
        channel_sums: the sum of each channel's h×w products.
        running_channels: the sum after each channel, as the convolution adds them; without the bias.
        sums: both totals, with the bias.
        answers: what the Linear and the convolution gave.
        exact: the sum without any rounding, as near as a float64 comes.
        absolute: S = Σ|w||x| + |b|.
    """

    names: tuple[str, str]
    channel: int
    cell: tuple[int, int]
    image: int
    outputs: int
    cells: tuple[int, int]
    map: tuple[int, int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    dilation: tuple[int, int]
    dtype: str
    weights: NDArray[Any] = field(repr=False)
    inputs: NDArray[Any] = field(repr=False)
    products: NDArray[Any] = field(repr=False)
    bias: float
    running: NDArray[Any] = field(repr=False)
    channel_sums: NDArray[Any] = field(repr=False)
    running_channels: NDArray[Any] = field(repr=False)
    sums: tuple[float, float]
    answers: tuple[float, float]
    exact: float
    absolute: float

    def product(self, column: int) -> Product:
        """The product of one column of the Linear, with its place in the kernel and in the map."""
        c, i, j = (int(n) for n in np.unravel_index(column, self.products.shape))
        cell = (self.rows[0] + i * self.dilation[0], self.columns[0] + j * self.dilation[1])
        numbers = (float(each[c, i, j]) for each in (self.weights, self.inputs, self.products))
        return Product(column, (c, i, j), cell, *numbers)

    def largest(self, most: int = 5) -> tuple[Product, ...]:
        """The products of largest absolute value, largest first."""
        order = np.argsort(-np.abs(self.products.ravel()), kind="stable")[:most]
        return tuple(self.product(int(column)) for column in order)

    def __str__(self) -> str:
        from fcnviz import handwork

        return handwork.text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.html(self)


def by_hand(
    linear: nn.Linear, conv: nn.Conv2d, x: Tensor, channel: int = 0, cell: tuple[int, int] = (0, 0), image: int = 0
) -> Handwork:
    """One output of both layers as a sum that can be followed: window, products, running sums.

    Arguments as for `compare`; `channel`, `cell` (row, column) and `image` choose the output.

    Raises:
        InputError: what `compare` refuses, and a channel, cell or image that is not there.

    >>> work = by_hand(*tiny_case(), channel=1)
    >>> [round(float(n), 1) for n in work.products.ravel()], round(work.exact, 5)
    ([1.5, 3.2, 5.1, 7.2], 19.0)
    """
    maps = _checked(linear, conv, x)
    with _plain():
        windows, map_ = _windows(conv, maps), conv(maps)
        places = (len(maps), linear.out_features, *map_.shape[2:])
        _check_place(places, (image, channel, *cell))
        row = windows[(image * places[2] + cell[0]) * places[3] + cell[1]]
        answers = linear(row[None])[0, channel].item(), map_[image, channel, cell[0], cell[1]].item()
    window, shape = _window(conv), (conv.in_channels, *_two(conv.kernel_size))
    inputs, weights = (_numbers(t).reshape(shape) for t in (row, linear.weight[channel]))
    bias = 0.0 if linear.bias is None else linear.bias[channel].item()
    return Handwork(
        names=(_linear_name(linear), _conv_name(conv)),
        channel=channel,
        cell=_two(cell),
        image=image,
        outputs=linear.out_features,
        cells=_two(places[2:]),
        map=(maps.shape[1], maps.shape[2], maps.shape[3]),
        rows=_span(window, 0, cell[0]),
        columns=_span(window, 1, cell[1]),
        dilation=_two(window.dilation),
        dtype=_name(x.dtype),
        weights=weights,
        inputs=inputs,
        bias=bias,
        answers=answers,
        **_added(weights, inputs, bias),
        **_without_rounding(weights, inputs, bias),
    )


def _check_place(sizes: Sequence[int], asked: Sequence[int]) -> None:
    for what, size, at in zip(("image", "channel", "row", "column"), sizes, asked, strict=True):
        if not 0 <= at < size:
            raise InputError(f"{what} {at} was asked for; there are {count(size)}, numbered from 0")


def _numbers(tensor: Tensor) -> NDArray[Any]:
    """As numpy, in the type in which layers add."""
    tensor = tensor.detach().cpu()
    return (tensor if tensor.dtype == torch.float64 else tensor.float()).numpy().copy()


def _span(window: Window, axis: int, at: int) -> tuple[int, int]:
    start = at * window.stride[axis] - window.pads[axis][0]
    return start, start + window.dilation[axis] * (window.kernel[axis] - 1) + 1


def _added(weights: NDArray[Any], inputs: NDArray[Any], bias: float) -> dict[str, Any]:
    """Products, running sums and totals: column after column, and channel after channel."""
    products = weights * inputs
    running = np.add.accumulate(products.ravel())  # one addition at a time; np.sum would add in pairs
    channel_sums = np.add.accumulate(products.reshape(len(products), -1), axis=1)[:, -1]
    running_channels = np.add.accumulate(channel_sums)
    last = products.dtype.type(bias)
    return {
        "products": products,
        "running": running,
        "channel_sums": channel_sums,
        "running_channels": running_channels,
        "sums": (float(running[-1] + last), float(running_channels[-1] + last)),
    }


def _without_rounding(weights: NDArray[Any], inputs: NDArray[Any], bias: float) -> dict[str, Any]:
    pairs = [(Fraction(float(w)), Fraction(float(v))) for w, v in zip(weights.flat, inputs.flat, strict=True)]
    exact = sum((w * v for w, v in pairs), Fraction(bias))
    absolute = sum((abs(w * v) for w, v in pairs), abs(Fraction(bias)))
    return {"exact": float(exact), "absolute": float(absolute)}


def tiny_case(features: Features = (1, 2, 2), cells: tuple[int, int] = (1, 1)) -> Case:
    """A case to do on paper: a Linear with two outputs, its convolution, and an input of small whole numbers.

    For 1×2×2 it is the smallest case in print: inputs 1, 2, 3, 4, weights 1.1 … 1.8, biases 1.9 and 2.0, so that
    the answers are 14.9 and 19.0. Any other size gets whole weights and inputs. `cells` as in `exact_case`.
    4×1×1 is the same flattened, which a 1×1 convolution reads.
    Source: S. Raschka, deeplearning-models, fc-to-conv.ipynb.

    >>> linear, conv, x = tiny_case()
    >>> [[round(n, 3) for n in row] for row in linear(x.flatten(1)).tolist()], tuple(conv(x).shape)
    ([[14.9, 19.0]], (1, 2, 1, 1))
    """
    if min(*features, *cells) < 1:
        raise InputError(f"a {_by(features)} map in {_by(cells)} cells was asked for: no size is 0")
    terms, (channels, h, w) = math.prod(features), features
    sizes = (1, channels, h + cells[0] - 1, w + cells[1] - 1)
    x = (torch.arange(math.prod(sizes)) % 9 + 1).float().reshape(sizes)
    if features in ((1, 2, 2), (4, 1, 1)):
        weight = torch.tensor([[1.1, 1.2, 1.3, 1.4], [1.5, 1.6, 1.7, 1.8]])
        return _case(weight, torch.tensor([1.9, 2.0]), features, x)
    digits = torch.arange(2 * terms).reshape(2, terms) * 5 % 7 - 3  # −3 … 3, mixed
    return _case(digits.float(), torch.tensor([1.0, -2.0]), features, x)


# The traps


def wrong_order(linear: nn.Linear, features: Features, x: Tensor) -> Comparison:
    """The trap of reshaping in the order H, W, C: as many numbers, no error, and other answers.

    The kernel is `weight.view(out, h, w, C)` with its axes moved to (out, C, h, w): what a weight would need that had
    been trained on maps flattened channels last.

    >>> wrong_order(*exact_case(4, (8, 2, 2)).case[:1], (8, 2, 2), torch.rand(1, 8, 2, 2)).verdict
    'different'
    """
    channels, h, w = features
    if linear.in_features != math.prod(features):
        numbers = f"{'·'.join(map(str, features))} = {count(math.prod(features))}"
        raise InputError(f"{_linear_name(linear)} has {count(linear.in_features)} columns, a map of {numbers} numbers")
    kernel = linear.weight.detach().view(linear.out_features, h, w, channels).permute(0, 3, 1, 2)
    return compare(linear, _cast(linear, kernel), x)


def images_in_rows(shape: Sequence[int], columns: int) -> tuple[tuple[int, ...], ...]:
    """The trap of `x.view(-1, columns)`: for each row, the images whose numbers it holds.

    Rows are one for each image only if an image has `columns` numbers. 49 images of 512×8×8 seen as rows of 25 088
    give 64 rows, nearly all of them mixed from two images, and no error.

    Raises:
        InputError: rows that the numbers don't fill, where torch raises as well.

    >>> images_in_rows((3, 8), 12), images_in_rows((3, 8), 8)
    (((0, 1), (1, 2)), ((0,), (1,), (2,)))
    """
    total, each = math.prod(shape), math.prod(shape[1:])
    if columns < 1 or not total or total % columns:
        raise InputError(f"{_by(shape)} is {count(total)} numbers, which do not fill rows of {count(columns)}")
    starts = range(0, total, columns)
    return tuple(tuple(range(start // each, (start + columns - 1) // each + 1)) for start in starts)


def adaptive_against_mean(linear: nn.Linear, conv: nn.Conv2d, x: Tensor, relu: bool = False) -> Comparison:
    """Average the map to the kernel's size and ask the Linear once; or ask at each cell and average the answers.

    Both are linear in x, and equal where each way weighs every number alike: on a map one cell larger than the
    kernel (8×8 for 7×7), where adaptive pooling is a plain 2×2 average with stride 1. Not on 9×9, 10×10 or 14×14, where
    it skips pairs or overlaps unevenly; and not with `relu`, which the averages do not pass through. For a layer as
    large as fc6, float32's bound is too wide to tell a ReLU's doing from rounding (`is_usual` does); float64's is not.

    >>> adaptive_against_mean(*tiny_case((2, 3, 3), cells=(2, 2))).verdict != "different"
    True
    """
    image = _checked(linear, conv, x)
    with _plain():
        kernel = _two(conv.kernel_size)
        pooled = F.adaptive_avg_pool2d(image, kernel).flatten(1)
        weights_seen = F.adaptive_avg_pool2d(image.double().abs(), kernel).flatten(1)
        map_ = conv(image)
        one, other = linear(pooled), (map_.relu() if relu else map_).mean((2, 3))
        cells, bias = math.prod(map_.shape[2:]), _bias(linear)
        spread = _windows(conv, image).double().abs().unflatten(0, (len(image), -1)).mean(1)
        most = torch.maximum(weights_seen, spread)  # one way or the other, this is what the averages are made of
        pair = _Pair(
            names=(f"{_linear_name(linear)} of the adaptive average", f"mean of {_conv_name(conv)}, {cells} cells"),
            shapes=(Shape(one.shape), Shape(other.shape)),
            input_shape=Shape(x.shape),
            one=(one.relu() if relu else one).T,
            other=other.T,
            sums=lambda rows: _absolute_sums(linear.weight[rows], most) + bias[rows, None],
            bias=bias,
            # besides the sum of the layer: the additions of an average, and its division
            roundings=linear.in_features + 1 + max(cells, math.prod(image.shape[2:])) + 2,
            arithmetic=_stored(_arithmetic(image), times=1),
        )
        return _judged(pair, ())

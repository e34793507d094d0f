"""A case in which every order of summation is exact, so that the answers have to be equal bit for bit.

Whole numbers are added without rounding as long as no partial sum reaches the first whole number that the type lacks.
`prove_exact` bounds every partial sum; `exact_case` draws numbers small enough, and compares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import starmap

import torch
from torch import Tensor, nn

from fcnviz.arithmetic import count
from fcnviz.equivalence.answers import compare
from fcnviz.equivalence.cases import Case, Features, case_of, check_features
from fcnviz.equivalence.layers import by, linear_name
from fcnviz.equivalence.rounding import type_name
from fcnviz.equivalence.verdict import CHUNK, Comparison
from fcnviz.errors import InputError

TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
MOST = 256  # a larger factor shows nothing more, and this one is exact in every type, whatever a layer rounds first


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


@dataclass(frozen=True, repr=False)
class ExactCase:
    """A comparison that has to be bit-equal, the proof of that, and what was compared."""

    proof: Proof
    comparison: Comparison
    case: Case = field(compare=False)

    def __repr__(self) -> str:
        return f"ExactCase({self.proof!r}, {self.comparison!r})"

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
        InputError: a weight, bias or input that is not whole or has no numbers, a type that is not floating point, or
            rows of another length than the Linear has columns.

    >>> from fcnviz.equivalence import tiny_case
    >>> prove_exact(tiny_case((2, 3, 3)).linear, tiny_case((2, 3, 3)).x).largest < 2**24
    True
    """
    bias = linear.bias if linear.bias is not None else linear.weight.new_zeros(1)
    largest = {"weight": linear.weight, "input": x, "bias": bias}
    _check_rows(linear, x)
    weight, input_, bias_ = starmap(_largest_whole, largest.items())
    limit = min(_counts_to(tensor.dtype) for tensor in largest.values())
    return Proof(linear.in_features, weight, input_, bias_, linear.in_features * weight * input_ + bias_, limit)


def _check_rows(linear: nn.Linear, x: Tensor) -> None:
    if x.dim() < 3 and x.numel() and x.shape[-1] != linear.in_features:
        columns = count(linear.in_features)
        raise InputError(f"x is {by(x.shape)}, and {linear_name(linear)} takes rows of {columns} numbers")


def _largest_whole(what: str, tensor: Tensor) -> int:
    tensor = tensor.detach()
    if tensor.is_meta or not tensor.numel():
        raise InputError(f"the {what} has no numbers, so nothing can be proved of them")
    if not tensor.isfinite().all():
        raise InputError(f"the {what} holds a number that is not finite, and no sum of it is exact")
    if not all(torch.equal(rows, rows.trunc()) for rows in tensor.split(CHUNK)):
        article = "an" if what == "input" else "a"
        raise InputError(
            f"{article} {what} is not a whole number, so sums may be rounded: nothing can be proved this way"
        )
    smallest, largest = tensor.aminmax()
    return int(max(abs(smallest.item()), abs(largest.item())))


def _counts_to(dtype: torch.dtype) -> int:
    """The type holds every whole number up to this one, and not the next."""
    if dtype not in TYPES:
        names = ", ".join(map(type_name, TYPES))
        raise InputError(f"{type_name(dtype)} numbers were asked for; layers are proved in {names}")
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
    check_features(features, cells)
    terms = math.prod(features)
    if isinstance(outputs, nn.Linear):
        if outputs.in_features != terms:
            raise InputError(
                f"{linear_name(outputs)} has {count(outputs.in_features)} columns, a map of "
                f"{'·'.join(map(str, features))} has {count(terms)} numbers"
            )
        dtype = outputs.weight.dtype
        outputs = outputs.out_features
    if min(outputs, *features, *cells) < 1:
        raise InputError(f"{outputs} outputs of a {by(features)} map in {by(cells)} cells were asked for: no size is 0")
    case = _whole_case(outputs, features, cells, dtype, _largest_factor(terms, dtype), seed)
    proof = prove_exact(case.linear, case.x)
    return ExactCase(proof, compare(*case), case)


def _largest_factor(terms: int, dtype: torch.dtype) -> int:
    """The largest m with terms·m·m + m below what the type counts to."""
    limit = _counts_to(dtype)
    most = math.isqrt((limit - 1) // (terms + 1))
    if most < 1:
        counts = f"{type_name(dtype)} holds every whole number up to {count(limit)}"
        raise InputError(f"{counts} only, and a sum of {count(terms)} products of ±1 may reach {count(terms)}")
    return min(most, MOST)


def _whole_case(
    outputs: int, features: Features, cells: Sequence[int], dtype: torch.dtype, most: int, seed: int
) -> Case:
    generator = torch.Generator("cpu").manual_seed(seed)
    channels, h, w = features

    def drawn(*shape: int) -> Tensor:
        return torch.randint(-most, most + 1, shape, generator=generator, dtype=dtype, device="cpu")

    weight, bias = drawn(outputs, channels * h * w), drawn(outputs)
    x = drawn(1, channels, h + cells[0] - 1, w + cells[1] - 1)
    return case_of(weight, bias, features, x)

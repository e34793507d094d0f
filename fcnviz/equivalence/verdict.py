"""Two matrices of answers and the bound on their difference → bit-equal, within rounding or different.

It is judged output by output, a few rows of weights at a time. This file knows no layers: whoever compares brings the
answers and the sums of absolute terms as a `Pair`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcnviz.equivalence.rounding import Arithmetic, type_name
from fcnviz.errors import InputError
from fcnviz.records import Shape

Verdict = Literal["bit-equal", "within rounding", "different"]

CHUNK = 256  # rows of weights whose sums of absolute products are held at a time: fc6 in float64 would take 0.8 GB


@dataclass(frozen=True, repr=False)
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
        other_weights: whether two layers were compared whose weights or biases are not the same bit for bit. The bound
            is for one set of numbers: a small difference of weights can stay within it.
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
    cells: NDArray[np.float64] = field(compare=False)
    other_weights: bool = False

    def __repr__(self) -> str:
        return f"Comparison({self.names[0]} against {self.names[1]}: {self.verdict}, difference {self.difference:.3g})"

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
class Pair:
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
    arithmetic: Arithmetic


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


def judged(pair: Pair, cells: Sequence[int]) -> Comparison:
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
        type_name(pair.arithmetic.dtype),
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


def _part(pair: Pair, rows: slice) -> _Part:
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

"""How far two sums of the same terms may lie apart: what is rounded while a layer computes, and the bound from it.

Unit roundoffs are those of the tensor's type and device and of torch's settings at that moment: TF32, bfloat16 and half
are rounded at other places than float32 and float64. What the terms are, and what becomes of the bound, is `verdict`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fcnviz.arithmetic import count
from fcnviz.errors import InputError


@dataclass(frozen=True)
class Arithmetic:
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
            least = f"{count(roundings)} roundings of {type_name(self.dtype)} sums"
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


def arithmetic_of(tensor: Tensor) -> Arithmetic:
    """The arithmetic of layers on this tensor's device, with torch's settings as they are now."""
    dtype, unit = tensor.dtype, torch.finfo(tensor.dtype).eps / 2
    cuts = tensor.is_cuda and dtype != torch.float64  # tensor cores cut bits off, which costs up to 2·u
    single = 2.0**-23 if cuts else 2.0**-24
    if dtype in (torch.bfloat16, torch.float16):
        return Arithmetic(dtype, single, unit_out=unit)
    if dtype == torch.float32:
        return Arithmetic(dtype, single, unit_in=_unit_in(tensor.is_cuda))
    return Arithmetic(dtype, unit)


def stored(arithmetic: Arithmetic, times: int) -> Arithmetic:
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


def type_name(dtype: torch.dtype) -> str:
    """As torch names it, without `torch.`."""
    return str(dtype).removeprefix("torch.")


@contextmanager
def plain() -> Iterator[None]:
    """No gradients, and no autocast that would change the type of the numbers."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield

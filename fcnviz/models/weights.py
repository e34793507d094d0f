"""Random weights from a seed: the same numbers every time, and torch's own random numbers left where they were."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import nn

from fcnviz.errors import InputError

SEEDS = 2**64  # torch takes no more

Model = TypeVar("Model", bound=nn.Module)


def finished(model: Model, seed: int | None) -> Model:
    """A model built on meta, in eval mode: as it is, or with weights drawn on the CPU.

    Raises:
        InputError: a seed that is none.
    """
    if seed is not None:
        draw(model.to_empty(device="cpu").parameters(), seed)
    return model.eval()


def _generator(seed: int) -> torch.Generator:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEEDS:
        raise InputError(f"seed={seed!r} was asked for; it is None or a whole number from 0 to 2⁶⁴ − 1")
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def draw(parameters: Iterable[nn.Parameter], seed: int) -> None:
    """Random weights under which maps neither fade nor grow with depth (He et al. 2015, uniform), and small biases.

    A Linear and the convolution cast from it get the same numbers: same fan-in, drawn in the same order.
    """
    generator = _generator(seed)
    fan_in = 1
    for parameter in parameters:
        is_weight = parameter.dim() > 1  # in each layer the weight comes before the bias
        fan_in = parameter[0].numel() if is_weight else fan_in
        bound = math.sqrt((6 if is_weight else 1) / fan_in)
        parameter.uniform_(-bound, bound, generator=generator)

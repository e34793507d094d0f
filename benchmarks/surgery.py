"""What the cast fc6 of VGG16 costs beside the Linear and plain conv2d: python benchmarks/surgery.py [--quick]

What is compared is called in turn, A B C A B C …, in one process, so that a slow moment of the machine hits all alike.
A ratio is the median over these rounds of one time divided by the other of the same round.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timing import Row, compared, in_turn, machine, table
from torch import Tensor, nn

from fcnviz.surgery import linear_to_conv

MAP = (512, 7, 7)


@dataclass(frozen=True)
class Effort:
    """How much of everything: enough to be steady, or just enough to see that it runs."""

    outputs: int
    rounds: int
    training_rounds: int


FULL = Effort(outputs=4096, rounds=20, training_rounds=5)
QUICK = Effort(outputs=64, rounds=2, training_rounds=1)


def filled(outputs: int) -> nn.Linear:
    """fc6: 512·7·7 → 4096, 411 MB in float32."""
    torch.manual_seed(0)
    return nn.Linear(MAP[0] * MAP[1] * MAP[2], outputs)


def plainly(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, conv.weight, conv.bias)


def flattened(linear: nn.Linear, x: Tensor) -> Tensor:
    return linear(x.flatten(1))


def with_gradients(call: Callable[[Tensor], Tensor], x: Tensor) -> Any:
    return call(x).sum().backward()


def side_by_side(linear: nn.Linear, side: int, rounds: int, batch: tuple[int, ...] = (1,)) -> dict[str, list[float]]:
    conv = linear_to_conv(linear, MAP)
    calls: dict[str, Callable[[Tensor], Tensor]] = {"cast": conv, "plain conv2d": partial(plainly, conv)}
    if side == MAP[1]:
        calls["Linear"] = partial(flattened, linear)
    with torch.no_grad():
        return in_turn(calls, [torch.rand(*batch, MAP[0], side, side) for _ in range(rounds + 2)])


def one_window(linear: nn.Linear, effort: Effort) -> Iterable[Row]:
    times = side_by_side(linear, MAP[1], effort.rounds)
    return compared(times, "Linear", {"cast": "≤ 1.3"})


def windows(side: int, linear: nn.Linear, effort: Effort, batch: tuple[int, ...] = (1,)) -> Iterable[Row]:
    times = side_by_side(linear, side, effort.rounds, batch)
    return compared(times, "cast", {"plain conv2d": "≥ 2"})


def training(linear: nn.Linear, effort: Effort) -> Iterable[Row]:
    conv = linear_to_conv(linear, MAP)
    calls = {"cast": partial(with_gradients, conv), "plain conv2d": partial(with_gradients, partial(plainly, conv))}
    times = in_turn(calls, [torch.rand(1, MAP[0], 8, 8) for _ in range(effort.training_rounds + 2)])
    return compared(times, "cast", {})


PARTS: dict[str, Callable[[nn.Linear, Effort], Iterable[Row]]] = {
    "fc6 on 512×7×7, one answer": one_window,
    "fc6 on 512×8×8, 2×2 answers": partial(windows, 8),
    "fc6 on 512×16×16, 10×10 answers": partial(windows, 16),
    "fc6 on 512×8×8, an image without a batch axis": partial(windows, 8, batch=()),
    "fc6 on 512×8×8, forward and backward": training,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that it runs; the numbers mean nothing")
    effort = QUICK if parser.parse_args().quick else FULL
    linear = filled(effort.outputs)
    print(machine())
    for title, part in PARTS.items():
        print("", table(title, list(part(linear, effort))), sep="\n", flush=True)


if __name__ == "__main__":
    main()

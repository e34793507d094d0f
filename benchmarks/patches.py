"""What one dense run saves over a run on every patch: python benchmarks/patches.py [--quick]

The paper's example (Long, Shelhamer & Darrell 2015, §3.1) and VGG16 at three sizes. What is compared is called in turn,
A B C A B C …, in one process; a ratio is the median over these rounds. Multiply-adds are counted from shapes.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

import fcnviz
from fcnviz import models
from fcnviz.patches import caffe_alexnet, patch_cost


@dataclass(frozen=True)
class Case:
    """A net, an image, and its patches; the bound is what the paper claims for the first."""

    what: str
    build: Callable[[], nn.Module]
    image: int
    patch: int
    batches: Sequence[int]
    wanted: str = ""


CASES = (
    Case("AlexNet, 500×500 against patches of 227", lambda: caffe_alexnet(seed=0), 500, 227, (16, 1), "≥ 5"),
    Case("VGG16, 256×256 against patches of 224", lambda: models.vgg16("conv", seed=0), 256, 224, (4,)),
    Case("VGG16, 384×384 against patches of 224", lambda: models.vgg16("conv", seed=0), 384, 224, (16,)),
)
QUICK = (Case("AlexNet, 259×259 against patches of 227", lambda: caffe_alexnet(seed=0), 259, 227, (4,)),)
ROUNDS = 5


def seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def in_batches(net: nn.Module, patches: Tensor, batch: int) -> None:
    for some in patches.split(batch):
        net(some)


def measured(case: Case, rounds: int) -> list[tuple[str, ...]]:
    """A row for the dense run, and one for the patches in batches of each size; random pixels, one patch an answer."""
    net, cost = case.build(), patch_cost(case.build(), case.image, case.patch)
    image, patches = torch.rand(1, 3, case.image, case.image), torch.rand(cost.patches, 3, case.patch, case.patch)
    calls: list[Callable[[], object]] = [lambda: net(image)]
    calls += [lambda batch=batch: in_batches(net, patches, batch) for batch in case.batches]
    times = [[seconds(call) for call in calls] for _ in range(rounds + 1)][1:]  # the first round warms up
    rows = [("one dense run", f"{cost.dense_macs / 1e9:.3f}", "1.00", f"{median(t[0] for t in times):.3f}", "1.00", "")]
    for place, batch in enumerate(case.batches, 1):
        took = median(t[place] for t in times)
        ratio = median(t[place] / t[0] for t in times)
        wanted = case.wanted if batch > 1 else ""
        what = f"{cost.patches} patches, " + ("one by one" if batch == 1 else f"in batches of {batch}")
        macs = f"{cost.patches_macs / 1e9:.3f}", f"{cost.ratio:.2f}"
        rows.append((what, *macs, f"{took:.3f}", f"{ratio:.2f}", wanted))
    return rows


def table(title: str, rows: Sequence[tuple[str, ...]]) -> str:
    cells = [(title, "GMAC", "ratio", "seconds", "ratio", "wanted"), *rows]
    kept = [column for column in zip(*cells, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in kept]
    lines = [[c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in zip(*kept, strict=True)]
    lines.insert(1, ["-" * w for w in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = f"fcnviz {fcnviz.__version__}, torch {torch.__version__}"
    threads = f"{torch.get_num_threads()} threads"
    return f"{cores} CPU cores, {threads}, {platform.system()}, Python {platform.python_version()}, {versions}"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that it runs; the numbers mean nothing")
    quick = parser.parse_args().quick
    print(machine())
    for case in QUICK if quick else CASES:
        print("", table(case.what, measured(case, 1 if quick else ROUNDS)), sep="\n", flush=True)


if __name__ == "__main__":
    main()

"""What `trace` costs beside a bare forward, plain hooks and torchinfo: python benchmarks/trace.py [--quick]

What is compared is called in turn, A B C A B C …, in one process, so that a slow moment of the machine hits all alike.
A ratio is the median over these rounds of one time divided by the other of the same round.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torchinfo
from timing import Row, compared, in_turn, machine, seconds, table
from torch import nn

import fcnviz
from fcnviz import models

Size = tuple[int, int, int, int]


@dataclass(frozen=True)
class Effort:
    """How much of everything: enough to be steady, or just enough to see that it runs."""

    rounds: int
    steps: int
    levels: tuple[int, ...]
    patience: float
    processes: int


FULL = Effort(rounds=200, steps=10_000, levels=(18, 25), patience=120, processes=9)
QUICK = Effort(rounds=3, steps=200, levels=(4, 8), patience=60, processes=1)


# --- what is timed


def bare(model: nn.Module, size: Size) -> Any:
    with torch.no_grad():
        return model(torch.empty(size, device="meta"))


def bare_and_refused(model: nn.Module, size: Size) -> str:
    try:
        bare(model, size)
    except RuntimeError as error:
        return str(error)
    raise AssertionError(f"{size} should be refused")


def hooked(model: nn.Module, size: Size) -> list[Any]:
    """The least that gives shapes: a hook on each layer."""
    shapes: list[Any] = []
    hooks = [
        module.register_forward_hook(lambda m, x, y: shapes.append((type(m).__name__, x[0].shape, y.shape)))
        for module in model.modules()
        if not any(True for _ in module.children())
    ]
    try:
        bare(model, size)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def torchinfo_on_data(model: nn.Module, size: Size) -> Any:
    return torchinfo.summary(model, input_data=torch.empty(size, device="meta"), verbose=0)


def torchinfo_on_size(model: nn.Module, size: Size) -> Any:
    return torchinfo.summary(model, input_size=size, device="meta", verbose=0)


def sizes(smallest: int, count: int) -> list[Size]:
    """A new image size for every round; VGG16's last map stays the same for 32 sizes a side."""
    return [(1, 3, smallest + n % 32, smallest + n // 32 % 32) for n in range(count)]


def chain(steps: int) -> nn.Module:
    return nn.Sequential(*(nn.Conv2d(8, 8, 1, device="meta") for _ in range(steps)))


def nested(levels: int) -> nn.Module:
    module: nn.Module = nn.Conv2d(8, 8, 1, device="meta")
    for _ in range(levels):
        module = nn.Sequential(module)
    return module


# --- how it is timed


def in_a_child(patience: float, function: Callable[..., Any], *args: Any) -> Any:
    """What the function returns in a process of its own; None when it takes longer than `patience` seconds."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=send, args=(sender, function, *args))
    process.start()
    sender.close()  # so that a child that dies is an EOFError and not a long wait
    try:
        return receiver.recv() if receiver.poll(patience) else None
    finally:
        process.kill()
        process.join()


def send(sender: Any, function: Callable[..., Any], *args: Any) -> None:
    sender.send(function(*args))


# --- the parts of the report


def a_new_size(head: models.Head, effort: Effort) -> Iterable[Row]:
    on_meta, real = models.vgg16(head), filled(models.vgg16(head))
    calls = {
        "bare meta forward": partial(bare, on_meta),
        "hooks on each layer": partial(hooked, on_meta),
        "trace, built on meta": partial(fcnviz.trace, on_meta),
        "trace, real weights": partial(fcnviz.trace, real),
        "torchinfo, input_data on meta": partial(torchinfo_on_data, on_meta),
        "torchinfo, input_size, device meta": partial(torchinfo_on_size, on_meta),
    }
    times = in_turn(calls, sizes(224, effort.rounds + 2))
    wanted = {"trace, built on meta": "≤ 3", "trace, real weights": "≤ 10"}
    yield from compared(times, "bare meta forward", wanted)
    for peer in [name for name in calls if name.startswith("torchinfo")]:
        pair = {name: times[name] for name in ("trace, built on meta", peer)}
        row, _ = compared(pair, peer, {})
        yield replace(row, what=f"trace against {peer}", wanted="< 1")


def a_size_that_fails(effort: Effort) -> Iterable[Row]:
    on_meta, real = models.vgg16(), filled(models.vgg16())
    calls = {
        "bare meta forward": partial(bare_and_refused, on_meta),
        "trace, built on meta": partial(fcnviz.trace, on_meta),
        "trace, real weights": partial(fcnviz.trace, real),
    }
    return compared(in_turn(calls, sizes(256, effort.rounds // 2 + 2)), "bare meta forward", {})


def many_steps(effort: Effort) -> Iterable[Row]:
    few, many = effort.steps // 10, effort.steps
    short, long = chain(few), chain(many)
    calls = {
        f"bare meta forward, {many:,} steps": partial(bare, long),
        f"trace, {few:,} steps": partial(fcnviz.trace, short),
        f"trace, {many:,} steps": partial(fcnviz.trace, long),
    }
    times = in_turn(calls, [(1, 8, 8, 8)] * (2 + max(1, effort.rounds // 20)))
    for (what, mine), steps in zip(times.items(), (many, few, many), strict=True):
        yield Row(what, f"{1e6 * median(mine) / steps:.0f} µs a step")
    _, shorter, longer = times.values()
    ratio = median(b / a / 10 for a, b in zip(shorter, longer, strict=True))
    yield Row("a step among ten times as many", "", f"{ratio:.2f}", wanted="about 1")


def many_levels(effort: Effort) -> Iterable[Row]:
    for levels in effort.levels:
        yield level_row("trace", levels, seconds_of_trace(levels))
        yield level_row("torchinfo", levels, in_a_child(effort.patience, seconds_of_torchinfo, levels), effort.patience)
    yield level_row("trace", 40 * max(effort.levels), seconds_of_trace(40 * max(effort.levels)))


def level_row(what: str, levels: int, took: float | None, patience: float = 0) -> Row:
    value = f"over {patience:.0f} s, stopped" if took is None else f"{1000 * took:,.1f} ms"
    return Row(f"{what}, {levels:,} levels", value)


def seconds_of_trace(levels: int) -> float:
    model = nested(levels)
    fcnviz.trace(nested(1), (1, 8))
    return seconds(lambda: fcnviz.trace(model, (1, 8, 8, 8)))


def seconds_of_torchinfo(levels: int) -> float:
    torchinfo_on_data(nested(1), (1, 8, 8, 8))  # what torch needs once
    return seconds(lambda: torchinfo_on_data(nested(levels), (1, 8, 8, 8)))


def memory(effort: Effort) -> Iterable[Row]:
    yield Row("the weights of VGG16", megabytes(4 * sum(p.numel() for p in models.vgg16().parameters())))
    for what, (rise, objects) in in_a_child(600, peaks).items():
        yield Row(what, f"{rise} for the process, {objects} of it Python's")


def peaks() -> dict[str, tuple[str, str]]:
    """How far the peak of this process rises while tracing, and the peak of Python's own objects."""
    fcnviz.trace(models.lenet(), (1, 1, 32, 32))  # what torch needs once
    calls = {
        "trace at 224×224, built on meta": partial(traced, models.vgg16("conv"), 224),
        "trace at 10⁶×10⁶, built on meta": partial(traced, models.vgg16("conv"), 10**6),
        "trace at 10⁶×10⁶, refused by the Linear": partial(traced, models.vgg16(), 10**6),
        "trace at 224×224, real weights": partial(traced, filled(models.vgg16()), 224),
    }
    return {what: peak_of(call) for what, call in calls.items()}


def filled(model: nn.Module) -> nn.Module:
    """Weights that lie in memory, and nothing beside them, so that a copy of them would raise the peak."""
    model = model.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


def traced(model: nn.Module, side: int) -> Any:
    return fcnviz.trace(model, (1, 3, side, side))


def peak_of(call: Callable[[], Any]) -> tuple[str, str]:
    before = process_peak()
    call()
    after = process_peak()
    tracemalloc.start()
    call()
    _, objects = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rise = "? (Linux only)" if before is None or after is None else "+" + megabytes(after - before)
    return rise, megabytes(objects)


def process_peak() -> int | None:
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    return 1024 * int(found[1]) if found else None


def megabytes(bytes_: int) -> str:
    return f"{bytes_ / 1e6:.1f} MB"


FRESH = """
import json, sys, time
start = time.perf_counter()
import torch
torch_seconds, there = time.perf_counter() - start, set(sys.modules)
start = time.perf_counter()
import fcnviz
own_seconds, new = time.perf_counter() - start, set(sys.modules) - there
model = fcnviz.models.vgg16()
start = time.perf_counter()
fcnviz.trace(model, (1, 3, 224, 224))
first_seconds = time.perf_counter() - start
print(json.dumps([torch_seconds, own_seconds, first_seconds, sorted(new & {"matplotlib", "ipywidgets", "sympy"})]))
"""


def a_fresh_process(effort: Effort) -> Iterable[Row]:
    runs = [json.loads(subprocess.check_output([sys.executable, "-c", FRESH])) for _ in range(effort.processes)]
    torch_, own, first = (f"{1000 * median(column):.0f} ms" for column in list(zip(*runs, strict=True))[:3])
    heavy = sorted({name for *_, names in runs for name in names})
    yield Row("import torch", torch_)
    yield Row("import fcnviz, after it", own, wanted="≤ 100 ms")
    yield Row("matplotlib, ipywidgets, sympy imported", ", ".join(heavy) or "none", wanted="none")
    yield Row("the first trace of a process", first)


PARTS = {
    "VGG16 at a new size": partial(a_new_size, "linear"),
    "VGG16, convolutional, at a new size": partial(a_new_size, "conv"),
    "VGG16 at a size that it refuses": a_size_that_fails,
    "Many steps": many_steps,
    "Deep nesting": many_levels,
    "Peak memory": memory,
    "A fresh process": a_fresh_process,
}


# --- the report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that it runs; the numbers mean nothing")
    effort = QUICK if parser.parse_args().quick else FULL
    print(machine())
    with torch.no_grad():  # for all alike: torchinfo switches gradients off by itself
        for title, part in PARTS.items():
            print("", table(title, list(part(effort))), sep="\n", flush=True)


if __name__ == "__main__":
    main()

"""How the benchmarks time and tell: calls in turn, ratios of the same round, and a table of them."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Row:
    what: str
    value: str
    ratio: str = ""
    half: str = ""
    wanted: str = ""
    work: str = ""


def seconds(call: Callable[[], Any]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def in_turn(calls: Mapping[str, Callable[[Any], Any]], inputs: Sequence[Any]) -> dict[str, list[float]]:
    """Seconds of each call in each round. The first two inputs are for warming up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for one in inputs:
        for name, call in calls.items():
            times[name].append(seconds(partial(call, one)))
    return {name: all_[2:] for name, all_ in times.items()}


def compared(times: dict[str, list[float]], to: str, wanted: Mapping[str, str]) -> Iterable[Row]:
    for what, mine in times.items():
        ratios = [a / b for a, b in zip(mine, times[to], strict=True)]
        low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        half = "" if what == to else f"{low:.2f}–{high:.2f}"
        yield Row(what, f"{1000 * median(mine):.2f} ms", f"{median(ratios):.2f}", half, wanted.get(what, ""))


def machine() -> str:
    names = [f"{name} {version(name)}" for name in ("fcnviz", "torch", "torchinfo")]
    processor = re.search(r"model name\s*: (.*)", read(Path("/proc/cpuinfo")))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    who = processor[1] if processor else platform.processor() or platform.machine()
    return ", ".join([f"{cores} CPU cores ({who})", platform.system(), f"Python {platform.python_version()}", *names])


def read(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def table(title: str, rows: Sequence[Row]) -> str:
    cells = [[title, "multiply-adds", "measured", "ratio", "middle half", "wanted"]]
    cells += [[row.what, row.work, row.value, row.ratio, row.half, row.wanted] for row in rows]
    kept = [column for column in zip(*cells, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in kept]
    lines = [[c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in zip(*kept, strict=True)]
    lines.insert(1, ["-" * w for w in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

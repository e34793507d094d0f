"""What `law` costs beside tracing every size: python benchmarks/law.py [--quick]

Trying every size is extrapolated from a sample of bare forwards on the meta device, each at a random size of the
range; a forward that raises counts as one.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnviz import law, models, symbolic, trace
from fcnviz.inputs import read
from fcnviz.twin import parts_of


class Bottleneck(nn.Module):
    """ResNet-50's block: 1×1, 3×3, 1×1, and a shortcut."""

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        sizes = ((given, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1))
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, s, k // 2, bias=False) for i, o, k, s in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o, _, _ in sizes)
        same = given == 4 * width and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(given, 4 * width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(y))
            y = F.relu(y) if i < 2 else y
        return F.relu(y + self.shortcut(x))


def resnet50() -> nn.Module:
    """3, 4, 6 and 3 bottlenecks, global average pooling, one Linear."""
    blocks: list[nn.Module] = []
    given = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for i in range(count):
            blocks.append(Bottleneck(given, width, stride if i == 0 else 1))
            given = 4 * width
    stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


class UNet(nn.Module):
    """Four levels down, four up, concatenations between."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 64, 128, 256, 512, 1024]
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(o, i, 2, 2) for i, o in pairs[:0:-1])
        self.merge = nn.ModuleList(nn.Conv2d(2 * i, i, 3, padding=1) for i, _ in pairs[:0:-1])

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        for i, down in enumerate(self.down):
            x = F.relu(down(x if i == 0 else F.max_pool2d(x, 2)))
            maps.append(x)
        for up, merge, skip in zip(self.up, self.merge, maps[-2::-1], strict=True):
            x = F.relu(merge(torch.cat([skip, up(x)], 1)))
        return x


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return make().eval()


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Median of the time of one call."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        with suppress(RuntimeError):
            call()
        times.append(perf_counter() - start)
    return median(times)


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def report(name: str, model: nn.Module, within: int, sample: int, repeats: int) -> None:
    draw = random.Random(0)
    places = [(draw.randint(1, within), draw.randint(1, within)) for _ in range(sample)]
    bare = seconds(lambda: model(torch.empty(1, 3, 256, 256, device="meta")), repeats)
    named, at = read(model, ((1, 3, "H", "W"),), {}, named=True), {"H": 256, "W": 256}
    one_pass = seconds(lambda: symbolic.run(parts_of(model), named, at, False, False), repeats)
    start = perf_counter()
    found = law(model, (1, 3, "H", "W"), within=within)
    whole = perf_counter() - start
    start = perf_counter()
    for h, w in places:
        with suppress(RuntimeError):
            model(torch.empty(1, 3, h, w, device="meta"))
    brute = (perf_counter() - start) / sample * within**2
    again = {h: seconds(lambda h=h: found.at(H=h, W=h), repeats) for h in (224, 250, 40)}
    anew = {h: seconds(lambda h=h: trace(model, (1, 3, h, h)), repeats) for h in again}
    row(name, "bare meta forward at 256×256", f"{bare * 1e3:.2f} ms", "1", "")
    row(name, "one path", f"{one_pass * 1e3:.0f} ms", f"{one_pass / bare:.0f}", "≤ 250")
    for h, time in again.items():
        verdict = "runs" if found.accepts(H=h, W=h) else "refused"
        row(name, f"trace anew ÷ at, {h}×{h} ({verdict})", f"{time * 1e3:.2f} ms", f"{anew[h] / time:.1f}", "≥ 10")
    what = f"every size to {within}, {len(found.paths)} paths, {int(found.accepted.sum()):,} accepted"
    row(name, what, f"{whole:.2f} s", "", "")
    row(name, f"trying them all, from {sample} (extrapolated)", f"{brute:,.0f} s", f"{brute / whole:,.0f}", "≥ 150")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that it runs; the numbers mean nothing")
    quick = parser.parse_args().quick
    nets = {
        "VGG16": lambda: models.vgg16(),
        "VGG16, convolutional": lambda: models.vgg16("conv"),
        "ResNet-50-like": resnet50,
        "U-Net-like": UNet,
    }
    within, sample, repeats = (64, 5, 1) if quick else (1024, 400, 15)
    row("network", "what", "measured", "ratio", "wanted")
    row(*["---"] * 5)
    with torch.no_grad():
        law(models.two_convolutions(), (1, 3, "H", "W"), within=8)  # torch loads its compiler's parts at first use
        for name, make in nets.items():
            report(name, on_meta(make), within, sample, repeats)


if __name__ == "__main__":
    main()

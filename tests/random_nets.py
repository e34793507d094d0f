"""Random nets whose gradients tell what their cells read: all weights positive, no maximum, no ReLU, float64."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = Callable[[Tensor], Tensor]


class Chain(nn.Module):
    """Layers and functions, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.calls: list[Layer] = []

    def add(self, layer: Layer) -> None:
        self.calls.append(layer)
        for part in getattr(layer, "parts", [layer]):
            if isinstance(part, nn.Module):
                self.layers.append(part)

    def forward(self, x: Tensor) -> Tensor:
        for call in self.calls:
            x = call(x)
        return x


def positive(module: nn.Module) -> nn.Module:
    for weight in module.double().parameters():
        nn.init.uniform_(weight, 0.5, 1.5)
        with torch.no_grad():
            weight /= max(1, weight[0].numel())
    return module


def _pair(draw: random.Random, low: int, high: int) -> tuple[int, int]:
    return draw.randint(low, high), draw.randint(low, high)


def conv(draw: random.Random, x: Tensor) -> Layer:
    mode = draw.choice(["zeros", "zeros", "zeros", "replicate", "reflect", "circular"])
    window = {"kernel_size": _pair(draw, 1, 4), "stride": _pair(draw, 1, 3), "padding": _pair(draw, 0, 2)}
    return positive(nn.Conv2d(2, 2, dilation=_pair(draw, 1, 2), padding_mode=mode, **window))


def same_conv(draw: random.Random, x: Tensor) -> Layer:
    return positive(nn.Conv2d(2, 2, draw.randint(1, 4), padding="same", dilation=draw.randint(1, 2)))


def transposed(draw: random.Random, x: Tensor) -> Layer:
    window = {"kernel_size": _pair(draw, 1, 4), "stride": _pair(draw, 1, 3), "padding": _pair(draw, 0, 1)}
    extra = tuple(draw.randint(0, s - 1) for s in window["stride"])
    return positive(nn.ConvTranspose2d(2, 2, output_padding=extra, dilation=draw.randint(1, 2), **window))


def pool(draw: random.Random, x: Tensor) -> Layer:
    k = draw.randint(1, 4)
    return nn.AvgPool2d(k, draw.randint(1, 3), draw.randint(0, k // 2), ceil_mode=draw.random() < 0.5)


def adaptive(draw: random.Random, x: Tensor) -> Layer:
    return nn.AdaptiveAvgPool2d(_pair(draw, 1, 9))


def resize(draw: random.Random, x: Tensor) -> Layer:
    mode, corners = draw.choice([("nearest", None), ("bilinear", False), ("bilinear", True), ("area", None)])
    if draw.random() < 0.5 or mode == "area":
        size = _pair(draw, 1, 18)
        return lambda x: F.interpolate(x, size=size, mode=mode, align_corners=corners)
    factor, again = draw.choice([0.5, 0.7, 1.5, 2, 3]), draw.choice([None, True])
    return nn.Upsample(scale_factor=factor, mode=mode, align_corners=corners, recompute_scale_factor=again)


def pad(draw: random.Random, x: Tensor) -> Layer:
    mode = draw.choice(["constant", "constant", "replicate", "reflect", "circular"])
    pads = [draw.randint(-1 if mode == "constant" else 0, 3) for _ in range(4)]

    def padded(x: Tensor) -> Tensor:
        return F.pad(x, pads, mode=mode)

    padded.mirrors = mode != "constant"
    return padded


def crop(draw: random.Random, x: Tensor) -> Layer:
    (top, left), (bottom, right), step = _pair(draw, 0, 3), _pair(draw, 0, 2), draw.choice([1, 1, 2])
    return lambda x: x[..., top : x.shape[2] - bottom, left : x.shape[3] - right : step]


def skip(draw: random.Random, x: Tensor) -> Layer:
    inner = same_conv(draw, x)

    def added(x: Tensor) -> Tensor:
        return x + inner(x)

    added.parts = [inner]
    return added


def meet(draw: random.Random, x: Tensor) -> Layer:
    """Two branches of any places, cut to one size, side by side."""
    one, other, join = conv(draw, x), pool(draw, x), positive(nn.Conv2d(4, 2, 1))

    def met(x: Tensor) -> Tensor:
        a, b = one(x), other(x)
        h, w = min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3])
        return join(torch.cat([a[:, :, :h, :w], b.narrow(2, 0, h)[..., :w]], dim=1))

    met.parts = [one, other, join]
    return met


def shuffle(draw: random.Random, x: Tensor) -> Layer:
    up = draw.random() < 0.5
    mix = positive(nn.Conv2d(2 if up else 8, 8 if up else 2, 1))

    def shuffled(x: Tensor) -> Tensor:
        return F.pixel_shuffle(mix(x), 2) if up else mix(F.pixel_unshuffle(x, 2))

    shuffled.parts = [mix]
    return shuffled


def channels_last(draw: random.Random, x: Tensor) -> Layer:
    mix = positive(nn.Linear(2, 2))

    def mixed(x: Tensor) -> Tensor:
        return mix(x.permute(0, 2, 3, 1)).transpose(1, 3).transpose(2, 3)

    mixed.parts = [mix]
    return mixed


def gate(draw: random.Random, x: Tensor) -> Layer:
    """One number for the whole map; added, since a product with a padded 0 has no gradient."""
    dims = draw.choice([(2, 3), (2,), (3,)])
    return lambda x: x + x.mean(dims, keepdim=True)


def halves(draw: random.Random, x: Tensor) -> Layer:
    dim, swap = draw.choice([1, 2, 3]), draw.random() < 0.3

    def parted(x: Tensor) -> Tensor:
        one, *others = x.split(max(1, x.shape[dim] // 2), dim)
        return torch.cat([*others, one] if swap else [one, *others], dim)

    return parted


def flattened(draw: random.Random, x: Tensor) -> Layer:
    """There and back: numbers in another shape lie where they lay."""
    return lambda x: x.flatten(2).reshape(x.shape)


def global_branch(draw: random.Random, x: Tensor) -> Layer:
    """The map's mean, enlarged to a map again and added."""
    mode, corners = draw.choice([("nearest", None), ("bilinear", False), ("bilinear", True), ("area", None)])

    def enlarged(x: Tensor) -> Tensor:
        return x + F.interpolate(F.adaptive_avg_pool2d(x, 1), size=x.shape[2:], mode=mode, align_corners=corners)

    return enlarged


def written(draw: random.Random, x: Tensor) -> Layer:
    """Rows or columns that others are written over, or a map moved into zeros."""
    dim, into_zeros, gap = draw.choice([2, 3]), draw.random() < 0.5, draw.randint(1, 2)

    def over(x: Tensor) -> Tensor:
        n = x.shape[dim]
        y = 1 * x
        here, there = slice(0, n - n // 2), slice(n // 2, n)
        y[(..., here, *(slice(None),) * (3 - dim))] = x[(..., there, *(slice(None),) * (3 - dim))]
        return y

    def moved(x: Tensor) -> Tensor:
        y = torch.zeros(*x.shape[:2], gap * x.shape[2] + 2, x.shape[3] + 1, dtype=x.dtype)
        y[:, :, 1 : 1 + gap * x.shape[2] : gap, 1:] = x
        return y

    return moved if into_zeros else over


def norm(draw: random.Random, x: Tensor) -> Layer:
    """In eval mode: constants."""
    return positive(nn.BatchNorm2d(2)).eval()


def side(draw: random.Random, x: Tensor) -> Layer:
    """A branch that is thrown away runs last but one; what goes on was made before it."""
    one, other = conv(draw, x), pool(draw, x)

    def kept(x: Tensor) -> Tensor:
        y = one(x)
        other(x)
        return 1 * y

    kept.parts = [one, other]
    return kept


def head(draw: random.Random, x: Tensor) -> Layer:
    linear = positive(nn.Linear(x[0].numel(), 3))

    def answer(x: Tensor) -> Tensor:
        return linear(x.flatten(1))

    answer.parts = [linear]
    return answer


LAYERS = [conv, conv, same_conv, transposed, pool, pool, adaptive, resize, pad, crop, skip, meet, shuffle]
LAYERS += [global_branch, written, norm, side]
LAYERS += [channels_last, gate, halves, flattened, *([conv, same_conv, pool, transposed, crop, skip] * 2)]


def random_net(seed: int) -> tuple[Chain, Tensor]:
    """A net of one to five layers, and an image that it takes."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    net, image = Chain(), 0.5 + torch.rand(1, 2, *_pair(draw, 6, 20), dtype=torch.float64)
    x, wanted = image, draw.randint(1, 5)
    while len(net.calls) < wanted:
        _grow(net, draw.choice(LAYERS)(draw, x), x)
        x = net(image).detach()
    if draw.random() < 0.15:
        net.add(head(draw, x))
    return net.eval(), image


def _grow(net: Chain, layer: Layer, x: Tensor) -> None:
    """One layer more, unless it can't run here or makes the map empty or large."""
    try:
        made = layer(x)
    except RuntimeError:  # torch refuses this window at this size
        return
    if made.numel() and max(made.shape[2:]) <= 60:
        net.add(layer)

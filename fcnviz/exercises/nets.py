"""Small networks drawn at random: each is PyTorch code to paste and a module to trace, from the same facts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any

import torch
from torch import nn

from fcnviz.geometry import Geometry, geometry
from fcnviz.records import Shape, Trace
from fcnviz.trace import trace

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its class in `torch.nn`, the arguments in order, the named ones.

    >>> print(Layer("Conv2d", (3, 8, 5), (("padding", 2),)))
    nn.Conv2d(3, 8, 5, padding=2)
    """

    kind: str
    args: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        given = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.named)]
        return f"nn.{self.kind}({', '.join(given)})"

    def get(self, name: str, default: Any = None) -> Any:
        return dict(self.named).get(name, default)

    def having(self, **changed: Any) -> Layer:
        """The same layer with named arguments changed; None takes one out."""
        named = {**dict(self.named), **changed}
        return replace(self, named=tuple((name, value) for name, value in named.items() if value is not None))

    @property
    def slides(self) -> bool:
        return self.kind in ("Conv2d", "MaxPool2d", "AvgPool2d")

    @property
    def pools(self) -> bool:
        return self.kind in ("MaxPool2d", "AvgPool2d")

    @property
    def kernel(self) -> int:
        kernel: int = self.args[0] if self.pools else self.args[2]
        return kernel

    @property
    def stride(self) -> int:
        stride: int = self.get("stride", self.args[0] if self.pools else 1)
        return stride

    def with_kernel(self, kernel: int) -> Layer:
        place = 0 if self.pools else 2
        return replace(self, args=(*self.args[:place], kernel, *self.args[place + 1 :]))


@dataclass(frozen=True, slots=True)
class Net:
    """A chain of layers."""

    layers: tuple[Layer, ...]

    @property
    def code(self) -> str:
        """The network as code that can be pasted as it stands."""
        return self._code(f"    {layer}," for layer in self.layers)

    @property
    def numbered(self) -> str:
        """The same, each layer with the name that it has in a trace."""
        width = max(len(str(layer)) for layer in self.layers) + 3
        return self._code(f"    {f'{layer},':<{width}}# {i}" for i, layer in enumerate(self.layers))

    def _code(self, lines: Iterator[str]) -> str:
        return "\n".join(["from torch import nn", "", "net = nn.Sequential(", *lines, ")"])

    def made(self) -> nn.Sequential:
        """The network itself on meta, where it has shapes and no numbers."""
        return nn.Sequential(*(_made(layer, place) for place, layer in enumerate(self.layers))).eval()

    def then(self, *layers: Layer) -> Net:
        return Net((*self.layers, *layers))

    def put(self, place: int, *layers: Layer) -> Net:
        """With other layers, or none, in place of one."""
        return Net((*self.layers[:place], *layers, *self.layers[place + 1 :]))

    def places(self, kind: str) -> tuple[int, ...]:
        return tuple(i for i, layer in enumerate(self.layers) if layer.kind == kind)


@lru_cache(maxsize=2048)
def _made(layer: Layer, place: int) -> nn.Module:
    """One module for each layer and place: nothing is ever written into it, and many networks share it."""
    with torch.device("meta"):
        made: nn.Module = getattr(nn, layer.kind)(*layer.args, **dict(layer.named))
    return made


@lru_cache(maxsize=4096)
def traced(net: Net, shape: tuple[int, ...], batch: int = 1) -> Trace:
    """The trace of a network at a shape C×H×W, of one image or several."""
    return trace(net.made(), (batch, *shape))


@lru_cache(maxsize=1024)
def located(net: Net, shape: tuple[int, ...]) -> Geometry:
    """Where the cells of its steps lie on an image C×H×W."""
    return geometry(traced(net, shape))


def runs(net: Net, shape: Sequence[int]) -> bool:
    """True if the network takes an image C×H×W."""
    return traced(net, tuple(shape)).failure is None


def output(found: Trace) -> tuple[int, ...] | None:
    """What comes out, without the batch; None of a network that failed."""
    shape = found.output_shape
    return tuple(shape[1:]) if isinstance(shape, Shape) else None


def mapped(net: Net, shape: Sequence[int]) -> tuple[int, ...]:
    """What comes out of a network that runs, without the batch."""
    made = output(traced(net, tuple(shape)))
    assert made is not None, f"drawn to run, and does not: {net.code} on {shape}"
    return made


FLATTEN, RELU = Layer("Flatten"), Layer("ReLU")


def conv(inputs: int, outputs: int, kernel: int, **named: Any) -> Layer:
    """A convolution; a named argument that has torch's own default is left out."""
    usual = {"stride": 1, "padding": 0, "dilation": 1}
    return Layer("Conv2d", (inputs, outputs, kernel)).having(
        **{name: value for name, value in named.items() if value != usual.get(name)}
    )


def pool(kernel: int = 2, stride: int | None = None, ceil: bool = False, kind: str = "MaxPool2d") -> Layer:
    """A pooling; its stride is its kernel unless another is given."""
    return Layer(kind, (kernel,)).having(stride=stride if stride != kernel else None, ceil_mode=ceil or None)


def linear(columns: int, outputs: int) -> Layer:
    """A Linear layer."""
    return Layer("Linear", (columns, outputs))


CHANNELS = (4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32)
OUTPUTS = (10, 13, 17, 21, 26, 40)


def features(rng: Random, pools: Sequence[int] = (1, 2, 3), pads: bool = True, relus: bool = True) -> Net:
    """Convolutions and pools that divide a map: what stands before the Linear layers of a classifier."""
    layers: list[Layer] = []
    channels = rng.choice((1, 3))
    for _ in range(rng.choice(pools)):
        outputs, kernel = rng.choice(CHANNELS), rng.choice((3, 3, 5))
        layers.append(conv(channels, outputs, kernel, padding=rng.choice((0, kernel // 2)) if pads else 0))
        layers += [RELU] * (relus and rng.random() < 0.4)
        window, stride = rng.choice(((2, 2), (2, 2), (3, 2)))
        layers.append(pool(window, stride, kind=rng.choice(("MaxPool2d", "AvgPool2d"))))
        channels = outputs
    return Net(tuple(layers))


def channels_into(net: Net) -> int:
    """Channels of the image that the first convolution takes."""
    inputs: int = next(layer.args[0] for layer in net.layers if layer.kind == "Conv2d")
    return inputs


def square(net: Net, size: int) -> tuple[int, int, int]:
    """A square image that the network can be asked about."""
    return channels_into(net), size, size


def room(net: Net, cells: int = 1) -> int:
    """An image just large enough for so many cells, by arithmetic: for drawing sizes only, no answer comes from it."""
    for layer in reversed(net.layers):
        if layer.slides:
            reach = layer.get("dilation", 1) * (layer.kernel - 1) + 1
            cells = max(1, (cells - 1) * layer.stride + reach - 2 * layer.get("padding", 0))
    return cells


def image(rng: Random, net: Net, cells: Sequence[int] = (3, 4, 5, 6, 7), is_square: bool = False) -> tuple[int, ...]:
    """An image for which the map at the end has about so many cells along each axis, C×H×W."""
    jump = math.prod(layer.stride for layer in net.layers if layer.slides)
    rows, columns = (room(net, rng.choice(cells)) + rng.randrange(jump) for _ in range(2))
    return channels_into(net), rows, rows if is_square else columns


def open_code(name: str, *lines: str) -> str:
    """A network with one number left open, as code to paste once the dots are replaced by it."""
    layers = (f"    {line}," for line in lines)
    return "\n".join(["from torch import nn", "", f"{name} = ...", "net = nn.Sequential(", *layers, ")"])


def by(sizes: Sequence[int]) -> str:
    """Sizes as they are read: 3×224×224."""
    return "×".join(map(str, sizes))

"""What a failed step is told to be, held against networks that really fail, and remedies that really work.

Every sentence stands in golden/diagnoses.txt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fcnviz import models, trace
from fcnviz.diagnosis import _BY_KIND, _BY_OPERATION, diagnose
from fcnviz.records import Shape, Source, Step, Weight, Window


class Net(nn.Module):
    """Layers by name, and a forward handed in."""

    def __init__(self, run: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *inputs: Any) -> Any:
        return self.run(self, *inputs)


class UNet(nn.Module):
    def __init__(self, padding: int = 1) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, padding=padding), nn.Conv2d(8, 16, 3, padding=padding)
        self.bottom = nn.Conv2d(16, 32, 3, padding=padding)
        self.up2, self.join2 = nn.ConvTranspose2d(32, 16, 2, 2), nn.Conv2d(32, 16, 3, padding=padding)
        self.up1, self.join1 = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 8, 3, padding=padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(F.max_pool2d(a, 2)))
        c = F.relu(self.bottom(F.max_pool2d(b, 2)))
        d = self.join2(torch.cat([b, self.up2(c)], 1))
        return self.join1(torch.cat([a, self.up1(d)], 1))


def conv(inward: int, outward: int, kernel: int = 3, **rest: Any) -> nn.Conv2d:
    return nn.Conv2d(inward, outward, kernel, **rest)


def mixed(x: torch.Tensor) -> torch.Tensor:
    return x.view(x.size(0) * x.size(1), -1)


def refuse(error: Exception) -> None:
    raise error


class Residual(nn.Module):
    def __init__(self, inward: int, outward: int, stride: int, padding: int = 1, short: Any = None) -> None:
        super().__init__()
        self.c1, self.b1 = conv(inward, outward, stride=stride, padding=padding), nn.BatchNorm2d(outward)
        self.c2, self.b2 = conv(outward, outward, padding=padding), nn.BatchNorm2d(outward)
        self.short = short or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.b2(self.c2(F.relu(self.b1(self.c1(x)))))
        y += self.short(x)
        return F.relu(y)


class Positions(nn.Module):
    """Patches in a row, and a number for each place added: the beginning of a vision transformer."""

    def __init__(self, patches: int) -> None:
        super().__init__()
        self.patch, self.pos = conv(3, 4, 4, stride=4), nn.Parameter(torch.zeros(1, patches, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.patch(x).flatten(2).transpose(1, 2) + self.pos


S = nn.Sequential
# what went wrong: the network, and the input it refuses (a shape, or a tensor where the number type matters)
CASES: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    # a parameter that has a size
    "positions for a smaller image": (lambda: Positions(49), (1, 3, 32, 32)),
    "positions for a larger image": (lambda: Positions(49), (2, 3, 16, 16)),
    # Linear
    "another image size": (
        lambda: S(conv(3, 8), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 7 * 7, 10)),
        (1, 3, 20, 20),
    ),
    "a smaller image": (lambda: S(conv(3, 8), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 7 * 7, 10)), (1, 3, 13, 20)),
    "no such map": (lambda: S(conv(3, 8), nn.Flatten(), nn.Linear(1001, 10)), (1, 3, 9, 9)),
    "no square map": (lambda: S(conv(3, 8), nn.Flatten(), nn.Linear(8 * 6 * 8, 10)), (1, 3, 10, 12)),
    "another length": (lambda: S(nn.Conv1d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 6, 10)), (1, 3, 10)),
    "another volume": (lambda: S(nn.Conv3d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 27, 10)), (1, 1, 6, 6, 6)),
    "dropout between": (lambda: S(conv(3, 8), nn.Flatten(), nn.Dropout(), nn.Linear(8 * 36, 10)), (1, 3, 9, 9)),
    "after a residual sum": (
        lambda: Net(lambda n, x: n.fc((n.a(x) + n.b(x)).flatten(1)), a=conv(3, 8), b=conv(3, 8), fc=nn.Linear(288, 10)),
        (1, 3, 9, 9),
    ),
    "after an adaptive pooling": (
        lambda: S(conv(3, 8), nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(8 * 49, 10)),
        (1, 3, 9, 9),
    ),
    "flattened input": (lambda: S(nn.Flatten(), nn.Linear(784, 10)), (1, 1, 32, 32)),
    "no flatten": (lambda: S(conv(3, 8), nn.Linear(8 * 6 * 6, 10)), (1, 3, 8, 8)),
    "no flatten, a batch": (lambda: S(conv(3, 8), nn.Linear(8 * 6 * 6, 10)), (5, 3, 8, 8)),
    "no flatten, another size": (lambda: S(conv(3, 8), nn.Linear(8 * 6 * 6, 10)), (1, 3, 9, 9)),
    "Linear over channels": (lambda: S(conv(3, 8), nn.Linear(8, 10)), (1, 3, 9, 9)),
    "flatten from axis 0": (
        lambda: Net(lambda n, x: n.fc(torch.flatten(n.c(x))), c=conv(3, 8), fc=nn.Linear(8 * 36, 10)),
        (4, 3, 8, 8),
    ),
    "flatten from axis 2": (lambda: S(conv(3, 8), nn.Flatten(2), nn.Linear(8 * 36, 10)), (4, 3, 8, 8)),
    "no batch axis at flatten": (
        lambda: Net(lambda n, x: n.fc(torch.flatten(n.c(x[0]), 1)), c=conv(3, 8), fc=nn.Linear(8 * 36, 10)),
        (1, 3, 8, 8),
    ),
    "swapped axes": (lambda: Net(lambda n, x: n.fc(x.transpose(1, 2)), fc=nn.Linear(10, 5)), (1, 7, 10)),
    "two Linears": (lambda: S(nn.Linear(10, 20), nn.ReLU(), nn.Linear(21, 3)), (1, 10)),
    "batch and channels in one view": (
        lambda: Net(lambda n, x: n.fc(mixed(n.c(x))), c=conv(3, 16), fc=nn.Linear(16 * 30 * 30, 10)),
        (4, 3, 32, 32),
    ),
    "batch and channels in one view, another size": (
        lambda: Net(lambda n, x: n.fc(mixed(n.c(x))), c=conv(3, 16), fc=nn.Linear(16 * 28 * 28, 10)),
        (4, 3, 32, 32),
    ),
    "time steps as rows": (lambda: Net(lambda n, x: n.fc(x.view(-1, 10)), fc=nn.Linear(12, 10)), (4, 7, 10)),
    "as many images as columns": (
        lambda: S(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(64, 10)),
        (64, 1, 28, 28),
    ),
    "as many rows as columns": (lambda: S(nn.Linear(784, 10)), (784, 64)),
    "rows transposed": (lambda: Net(lambda n, x: n.fc(x.transpose(0, 1)), fc=nn.Linear(7, 10)), (5, 7)),
    "one image, no batch": (lambda: S(nn.Linear(784, 10)), (28, 28)),
    "one image, no batch, flattened": (lambda: S(nn.Flatten(), nn.Linear(784, 10)), (28, 28)),
    "the channels of a layer before": (
        lambda: S(
            conv(3, 16, padding=1), nn.MaxPool2d(2), conv(16, 32, padding=1), nn.Flatten(), nn.Linear(16 * 16 * 16, 10)
        ),
        (1, 3, 32, 32),
    ),
    # reshape
    "view of another count": (
        lambda: Net(lambda n, x: n.fc(n.c(x).view(-1, 16 * 5 * 5)), c=conv(3, 16, 5, stride=2), fc=nn.Linear(400, 10)),
        (4, 3, 15, 15),
    ),
    "view to a map": (lambda: Net(lambda n, x: n.c(x).view(1, 8, 7, 7), c=conv(3, 8)), (1, 3, 8, 8)),
    "view of what was transposed": (
        lambda: Net(lambda n, x: n.c(x).transpose(1, 2).view(1, -1), c=conv(3, 8)),
        (1, 3, 8, 8),
    ),
    "Unflatten": (lambda: S(nn.Unflatten(1, (3, 5))), (1, 16)),
    "flatten without batch": (lambda: Net(lambda n, x: torch.flatten(x, 1)), (3,)),
    "permute": (lambda: Net(lambda n, x: x.permute(0, 2, 3, 1)), (1, 3, 9)),
    # convolution
    "channels of the layer before": (lambda: S(conv(3, 8), nn.ReLU(), conv(16, 8)), (1, 3, 9, 9)),
    "channels last": (lambda: Net(lambda n, x: n.c(x + 0), c=conv(3, 8)), (1, 24, 24, 3)),
    "channels last, no batch": (lambda: Net(lambda n, x: n.c(x[0]), c=conv(3, 8)), (1, 24, 24, 3)),
    "a grey image": (lambda: Net(lambda n, x: n.c(x + 0), c=conv(3, 8)), (1, 1, 24, 24)),
    "a transparent image": (lambda: Net(lambda n, x: n.c(x + 0), c=conv(3, 8)), (1, 4, 24, 24)),
    "a colour image": (lambda: Net(lambda n, x: n.c(x + 0), c=conv(1, 8)), (1, 3, 24, 24)),
    "images without channel axis": (lambda: Net(lambda n, x: n.c(x + 0), c=conv(1, 8)), (5, 24, 24)),
    "channels of a cat": (
        lambda: Net(lambda n, x: n.d(torch.cat([n.a(x), n.b(x)], 1)), a=conv(3, 8), b=conv(3, 4), d=conv(8, 8)),
        (1, 3, 9, 9),
    ),
    "groups": (lambda: S(conv(3, 6), conv(4, 8, groups=2)), (1, 3, 9, 9)),
    "rows into a convolution": (lambda: S(nn.Flatten(), conv(1, 8)), (1, 1, 28, 28)),
    "an axis too many": (lambda: Net(lambda n, x: n.c(x[None]), c=conv(3, 8)), (1, 3, 8, 8)),
    "kernel larger than the map": (lambda: S(conv(3, 8), nn.MaxPool2d(2), conv(8, 8, 7)), (1, 3, 12, 16)),
    "nothing left to pool": (lambda: S(conv(3, 8), *[nn.MaxPool2d(2) for _ in range(3)]), (1, 3, 8, 8)),
    "nothing left to average": (lambda: S(nn.AvgPool2d(2), nn.AvgPool2d(2)), (1, 3, 3, 3)),
    "nothing left to unfold": (lambda: S(nn.Unfold(3)), (1, 3, 2, 2)),
    "pooling padded too much": (lambda: Net(lambda n, x: F.max_pool2d(x, 2, padding=2)), (1, 3, 8, 8)),
    "rows into an adaptive pooling": (lambda: S(nn.Flatten(), nn.AdaptiveAvgPool2d(7)), (1, 3, 9, 9)),
    "transposed, wrong channels": (lambda: S(conv(3, 20), nn.ConvTranspose2d(21, 21, 4, 2)), (1, 3, 9, 9)),
    # normalisation
    "BatchNorm channels": (lambda: S(conv(3, 8), nn.BatchNorm2d(16)), (1, 3, 9, 9)),
    "BatchNorm without batch": (
        lambda: Net(lambda n, x: n.b(n.c(x[0])), c=conv(3, 8), b=nn.BatchNorm2d(8)),
        (1, 3, 9, 9),
    ),
    "BatchNorm2d on rows": (lambda: S(nn.Flatten(), nn.BatchNorm2d(8)), (1, 3, 9, 9)),
    "InstanceNorm channels": (lambda: S(conv(3, 8), nn.InstanceNorm2d(16, affine=True)), (1, 3, 9, 9)),
    "GroupNorm channels": (lambda: S(conv(3, 9), nn.GroupNorm(3, 6)), (1, 3, 9, 9)),
    "LayerNorm width": (lambda: S(nn.Linear(4, 5), nn.LayerNorm(6)), (1, 4)),
    "LayerNorm over a map": (lambda: S(conv(3, 8), nn.LayerNorm([8, 6, 6])), (1, 3, 9, 9)),
    # several inputs
    "skip connection, odd size": (UNet, (1, 3, 62, 64)),
    "skip connection, no padding": (lambda: UNet(padding=0), (1, 3, 64, 64)),
    "cat of a map and rows": (lambda: Net(lambda n, x: torch.cat([x, x.flatten(2)], 1)), (1, 3, 9, 9)),
    "stack": (lambda: Net(lambda n, x: torch.stack([n.a(x), n.b(x)]), a=conv(3, 3), b=conv(3, 4)), (1, 3, 9, 9)),
    "sum, other channels": (lambda: Net(lambda n, x: n.a(x) + n.b(x), a=conv(3, 8), b=conv(3, 16)), (1, 3, 9, 9)),
    "sum, shrunk": (lambda: Net(lambda n, x: n.a(x) + x, a=conv(3, 3)), (1, 3, 9, 9)),
    "sum, shortcut with stride": (
        lambda: Net(lambda n, x: n.a(x) + n.b(x), a=conv(3, 8, padding=1), b=conv(3, 16, 1, stride=2)),
        (1, 3, 9, 9),
    ),
    "residual sum, identity": (lambda: S(conv(3, 16, padding=1), Residual(16, 16, 2)), (1, 3, 32, 32)),
    "residual sum, more channels": (lambda: S(conv(3, 16, padding=1), Residual(16, 32, 1)), (1, 3, 32, 32)),
    "residual sum, both": (lambda: S(conv(3, 16, padding=1), Residual(16, 32, 2)), (1, 3, 33, 32)),
    "residual sum, no padding": (lambda: Residual(3, 8, 2, padding=0), (1, 3, 32, 32)),
    "residual sum, a shortcut that does not follow": (lambda: Residual(3, 8, 2, short=conv(3, 4, 1)), (1, 3, 32, 32)),
    "sum, other axes": (lambda: Net(lambda n, x: x + x.flatten(2)), (1, 3, 9, 9)),
    "matmul": (lambda: Net(lambda n, x: x @ x), (2, 3)),
    "bmm": (lambda: Net(lambda n, x: torch.bmm(x, x)), (2, 3, 4)),
    "matmul with a weight": (lambda: Net(lambda n, x: torch.matmul(x, n.p.weight), p=nn.Linear(5, 4)), (2, 3)),
    "einsum": (lambda: Net(lambda n, x: torch.einsum("ij,jk->ik", x, x)), (2, 3)),
    # padding and shuffling
    "reflection": (lambda: S(conv(3, 3), nn.ReflectionPad2d(3)), (1, 3, 5, 5)),
    "reflection, a call": (lambda: Net(lambda n, x: F.pad(x, (3, 3, 1, 1), mode="reflect")), (1, 3, 5, 3)),
    "a reflecting convolution": (lambda: S(conv(3, 3), conv(3, 3, 7, padding=3, padding_mode="reflect")), (1, 3, 5, 5)),
    "circular": (lambda: S(nn.CircularPad2d(6)), (1, 3, 5, 5)),
    "pixel shuffle": (lambda: S(conv(3, 6), nn.PixelShuffle(2)), (1, 3, 9, 9)),
    "pixel unshuffle": (lambda: S(conv(3, 6), nn.PixelUnshuffle(2)), (1, 3, 9, 9)),
    # number types
    "whole numbers": (lambda: S(nn.Flatten(), nn.Linear(12, 3)), torch.ones(1, 3, 2, 2).long()),
    "bytes": (lambda: S(conv(3, 3)), torch.ones(1, 3, 9, 9).byte()),
    "float64": (lambda: S(conv(3, 3)), torch.ones(1, 3, 9, 9).double()),
    "float16": (lambda: S(nn.Linear(3, 3)), torch.ones(1, 3).half()),
    "float64 into BatchNorm": (lambda: S(nn.BatchNorm2d(3)), torch.ones(1, 3, 9, 9).double()),
    "whole numbers into LSTM": (lambda: nn.LSTM(10, 5), torch.ones(3, 2, 10).long()),
    "measurements into an embedding": (lambda: S(nn.Embedding(10, 3)), torch.rand(1, 3)),
    "an index too large": (lambda: S(nn.Embedding(10, 3)), torch.tensor([[10]])),
    # sequences
    "LSTM width": (lambda: nn.LSTM(10, 5), (3, 2, 20)),
    "GRU, swapped axes": (lambda: nn.GRU(10, 5), (3, 10, 20)),
    "a map into an LSTM": (lambda: S(conv(3, 8), nn.LSTM(8, 5)), (1, 3, 9, 9)),
    "LSTMCell width": (lambda: nn.LSTMCell(10, 5), (3, 20)),
    "attention width": (lambda: Net(lambda n, x: n.m(x, x, x), m=nn.MultiheadAttention(8, 2)), (3, 2, 7)),
    "an LSTM's tuple": (lambda: S(nn.LSTM(8, 16), nn.Linear(16, 10)), (5, 2, 8)),
    "a GRU's tuple": (lambda: Net(lambda n, x: n.fc(n.g(x)), g=nn.GRU(8, 16), fc=nn.Linear(16, 10)), (5, 2, 8)),
    "an LSTM's tuple into an LSTM": (lambda: S(nn.LSTM(8, 16), nn.LSTM(16, 16)), (5, 2, 8)),
    "the last row of an LSTM's tuple": (lambda: Net(lambda n, x: n.lstm(x)[:, -1], lstm=nn.LSTM(8, 16)), (5, 2, 8)),
    "a shape into an embedding": (lambda: S(nn.Embedding(1000, 16), nn.Linear(16, 2)), (4, 20)),
    # the forward's own Python
    "no such layer": (lambda: Net(lambda n, x: n.missing(n.c(x)), c=conv(3, 8)), (1, 3, 8, 8)),
    "no such name": (lambda: Net(lambda n, x: undefined(n.c(x)), c=conv(3, 8)), (1, 3, 8, 8)),  # noqa: F821
    "an error of one's own": (lambda: S(conv(3, 8), Net(lambda n, x: refuse(ValueError("224 wide!")))), (1, 3, 8, 8)),
    "an assertion": (lambda: S(conv(3, 8), Net(lambda n, x: refuse(AssertionError("not square")))), (1, 3, 8, 8)),
    "an argument too many": (lambda: Net(lambda n, x: n.c(x + 0, 1), c=conv(3, 8)), (1, 4, 8, 8)),
    # nothing known
    "an index outside": (lambda: Net(lambda n, x: x[:, 5]), (1, 3, 4, 4)),
    "plain Python": (lambda: Net(lambda n, x: x / (1 // 0)), (1, 3, 4, 4)),
    "fold": (lambda: S(nn.Fold((4, 4), 2)), (1, 12, 7)),
}


def failure_of(model: nn.Module, given: Any):
    found = trace(model, given).failure
    assert found is not None
    return found


def described(name: str) -> str:
    make, given = CASES[name]
    found = failure_of(make(), given)
    shown = f"{tuple(given.shape)} {given.dtype}" if isinstance(given, torch.Tensor) else str(given)
    said = [f"{name} · input {shown}", f"  {found.message}", f"  → {found.explanation}"]
    return "\n".join([*said, *(f"    {n}. {way}" for n, way in enumerate(found.remedies, 1))])


def test_every_sentence_is_as_it_was_read(golden):
    golden("diagnoses.txt", "\n\n".join(described(name) for name in CASES))


@pytest.mark.parametrize("name", CASES)
def test_torch_refuses_each_case_in_the_words_that_are_quoted(name):
    make, given = CASES[name]
    x = given if isinstance(given, torch.Tensor) else torch.rand(given)
    with pytest.raises(Exception) as raised, torch.no_grad():  # noqa: PT011  # any kind of error may be torch's
        make().eval()(x)
    assert str(raised.value) == failure_of(make(), given).message


@pytest.mark.parametrize("name", CASES)
def test_a_diagnosis_is_one_line_and_has_a_way_out(name):
    make, given = CASES[name]
    found = failure_of(make(), given)
    assert found.explanation
    assert found.remedies
    assert all(line == line.strip() and line.isprintable() for line in plain(found))


def plain(found) -> list[str]:
    return [line.replace("\u202f", " ") for line in (found.explanation, *found.remedies)]


UNKNOWN = {"Unflatten", "einsum", "an index outside", "plain Python", "fold", "no such layer", "no such name"}
UNKNOWN |= {"an error of one's own", "an assertion", "an argument too many"}


@pytest.mark.parametrize("name", CASES)
def test_only_unknown_operations_fall_back_on_torchs_sentence(name):
    make, given = CASES[name]
    found = failure_of(make(), given)
    assert (found.message in found.explanation) == (name in UNKNOWN)


# The headline


def test_vgg16_at_256_is_told_in_full():
    found = failure_of(models.vgg16(), (1, 3, 256, 256))
    assert plain(found) == [
        "Linear classifier.0 has 25 088 columns = 512·7·7, but the flattened map is 512·8·8 = 32 768 numbers: "
        "25 088 ≠ 32 768",
        "resize or crop the images to 224×224 (any of 224–255 × 224–255 will do): then the map is 7×7",
        "replace flatten and Linear by `nn.Conv2d(512, 4096, kernel_size=7)` with the same weights, "
        "`weight.view(4096, 512, 7, 7)`; a Linear after it becomes a convolution with kernel 1",
        "put `nn.AdaptiveAvgPool2d((7, 7))` before flatten: one answer for any image size, on a map averaged to 7×7",
        "building a new net for this size: `nn.Linear(32768, 4096)`; weights trained for another size cannot be loaded "
        "into it",
    ]


def test_a_map_smaller_than_the_linear_wants_is_not_sent_to_a_convolution_that_refuses_it_too():
    ways = failure_of(models.vgg16(), (1, 3, 223, 223)).remedies
    assert not any("Conv2d" in way for way in ways)
    assert trace(models.vgg16("conv"), (1, 3, 223, 223)).failure is not None


def test_the_smallest_image_it_names_is_the_smallest_that_passes():
    found = failure_of(models.vgg16("conv"), (1, 3, 100, 300))
    assert found.remedies[0] == "use images of at least 224×224"
    assert trace(models.vgg16("conv"), (1, 3, 224, 224)).failure is None
    assert trace(models.vgg16("conv"), (1, 3, 223, 224)).failure is not None


@st.composite
def towers(draw: st.DrawFn) -> nn.Sequential:
    """Convolutions and poolings of any kind, one on the other."""
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 4))):
        kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
        padding = draw(st.integers(0, kernel // 2))
        kind = draw(st.sampled_from(["conv", "max", "avg", "up"]))
        ceil = draw(st.booleans())
        layers.append(
            {
                "conv": lambda k=kernel, s=stride, p=padding, d=dilation: nn.Conv2d(2, 2, k, s, p, d),
                "max": lambda k=kernel, s=stride, p=padding, d=dilation, c=ceil: nn.MaxPool2d(k, s, p, d, ceil_mode=c),
                "avg": lambda k=kernel, s=stride, p=padding, c=ceil: nn.AvgPool2d(k, s, p, ceil_mode=c),
                "up": lambda k=kernel, s=stride: nn.ConvTranspose2d(2, 2, k, s),
            }[kind]()
        )
    return nn.Sequential(*layers)


@settings(max_examples=60, deadline=None)
@given(towers(), st.integers(20, 50), st.integers(20, 50))
def test_an_image_of_the_named_size_passes_and_one_cell_more_or_less_does_not(tower, right, wrong):
    fits = trace(tower, (1, 2, right, right))
    if fits.failure or fits.output_shape[-1] < 1:
        return
    net = nn.Sequential(tower, nn.Flatten(), nn.Linear(2 * fits.output_shape[-1] ** 2, 3))
    found = trace(net, (1, 2, wrong, wrong)).failure
    if found is None or found.step.kind != "Linear":
        return
    named = re.search(r"images to (\d+)×\1(?: \(any of (\d+)–(\d+) × )?", found.remedies[0])
    assert named, found.remedies[0]
    first, last = int(named[1]), int(named[3] or named[1])
    assert first <= right <= last
    for size, passes in ((first, True), (last, True), (first - 1, False), (last + 1, False)):
        assert (trace(net, (1, 2, max(size, 1), max(size, 1))).failure is None) == passes or size < 1


def test_the_columns_and_the_convolution_it_names_take_the_map():
    make, given = CASES["another image size"]
    ways = failure_of(make(), given).remedies
    columns = re.search(r"nn\.Linear\((\d+), 10\)", ways[-1])[1]
    cast = eval(re.search(r"`(nn\.Conv2d.+?\))`", ways[1])[1], {"nn": nn})  # our own words, read back
    view = re.search(r"`(weight\.view.+?\))`", ways[1])[1]
    body = make()[:2]
    assert nn.Sequential(body, nn.Flatten(), nn.Linear(int(columns), 10))(torch.rand(given)).shape == (1, 10)
    assert nn.Sequential(body, cast)(torch.rand(given)).shape == (1, 10, 3, 3)
    assert eval(view, {"weight": make()[3].weight}).shape == cast.weight.shape


@pytest.mark.parametrize("size", [(64, 64), (60, 64)])
def test_the_sizes_it_names_for_a_skip_connection_pass(size):
    assert "64×64 or 60×64" in failure_of(UNet(), (1, 3, 62, 64)).remedies[0]
    assert trace(UNet(), (1, 3, *size)).failure is None


@pytest.mark.parametrize(
    "name", [name for name in CASES if name.startswith("residual sum, ") and not name.endswith("follow")]
)
def test_the_convolution_it_names_for_a_shortcut_mends_the_sum(name):
    make, given = CASES[name]
    ways = failure_of(make(), given).remedies
    layer = re.search(r"`(nn\.Conv2d.+?\))` on the shortcut", " ".join(ways))[1]
    short = eval(layer, {"nn": nn})  # our own words, read back
    inward, outward, stride = short.in_channels, short.out_channels, short.stride[0]
    block = Residual(inward, outward, stride, padding=1, short=short)
    stem = S() if given[1] == inward else conv(3, inward, padding=1)
    assert trace(S(stem, block), given).failure is None
    assert any("padding=1" in way for way in ways) == (name == "residual sum, no padding")


def test_what_python_raised_is_said_once_and_without_advice_about_sizes():
    make, given = CASES["no such layer"]
    assert plain(failure_of(make(), given)) == [
        "Net's forward raised: 'Net' object has no attribute 'missing'",
        "create it in `__init__`, `self.missing = …`, or mend its spelling",
        "look at the line of the forward that raised it: no layer refused a shape there",
    ]


def test_a_batch_as_large_as_the_columns_is_not_taken_for_swapped_axes():
    make, given = CASES["as many images as columns"]
    found = failure_of(make(), given)
    assert "swapped" not in found.explanation
    assert found.remedies[0] == "give it `in_features=128`"


# Whatever comes


def test_names_cannot_break_the_line():
    net = nn.Sequential()
    net.add_module("a\nb\x1b[31m", nn.Linear(3, 4))
    net.add_module("<script>", nn.Linear(5, 4))
    found = failure_of(net, (1, 3))
    assert all(line.isprintable() for line in plain(found))
    assert "Linear <script>" in found.explanation


def test_a_step_about_which_nothing_is_known_quotes_its_shapes_and_torch():
    step = Step(0, "odd", "odd", "Odd", None, (Shape((2, 3)), Shape()), None, weights=(Weight("w", Shape((4,))),))
    assert diagnose([], step, "no\n  such luck").explanation == "Odd odd stopped on 2×3, a single number: no such luck"


shapes = st.lists(st.integers(0, 9), max_size=6).map(Shape)
numbers = st.one_of(st.none(), st.integers(-1, 70))
few = st.lists(st.integers(1, 4), min_size=1, max_size=3)
settings_of = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("in_features", "out_features", "in_channels", "start_dim", "dim", "num_features"), numbers),
        "sizes": st.lists(st.integers(-1, 9), max_size=4).map(tuple),
        "pads": st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=3).map(tuple),
        "mode": st.sampled_from(["reflect", "circular", "constant"]),
        "normalized_shape": st.lists(st.integers(1, 9), max_size=3).map(tuple),
        "dims": st.lists(st.integers(0, 3), max_size=4).map(tuple),
        "factor": st.integers(1, 4),
    },
)
windows = st.integers(1, 3).flatmap(
    lambda rank: st.builds(
        Window,
        *[st.tuples(*[st.integers(1, 4)] * rank)] * 2,
        st.one_of(st.tuples(*[st.integers(0, 3)] * rank), st.sampled_from(["same", "valid"])),
        st.tuples(*[st.integers(1, 3)] * rank),
        st.booleans(),
    )
)
MESSAGES = (
    "",
    "view size is not compatible with input tensor's size and stride",
    "pad should be at most half",
    "indices",
)


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Steps that no network has made: any operation on any shape, from anywhere."""
    operations = st.sampled_from([*_BY_OPERATION, "same", "interpolate", None])
    return [
        Step(
            index,
            draw(st.text(max_size=3)),
            "",
            draw(st.sampled_from([*_BY_KIND, "Odd"])),
            draw(operations),
            tuple(draw(st.lists(shapes, max_size=3))),
            draw(st.one_of(st.none(), shapes)),
            tuple(draw(st.lists(st.one_of(st.none(), st.builds(Source, st.integers(-1, 6), st.just(0))), max_size=3))),
            tuple(draw(st.lists(st.builds(Weight, st.sampled_from(["weight", "a.weight_ih_l0"]), shapes), max_size=2))),
            window=draw(st.one_of(st.none(), windows)),
            settings=draw(settings_of),
        )
        for index in range(draw(st.integers(1, 4)))
    ]


@settings(max_examples=1500, deadline=None)
@given(histories(), st.sampled_from(MESSAGES))
def test_whatever_has_happened_there_is_a_sentence(steps, message):
    found = diagnose(steps[:-1], steps[-1], message)
    assert found.explanation
    assert found.remedies
    assert all(line.isprintable() for line in plain(found))

"""What `law` claims: it decides every size as the real network does, and says why in terms of H and W."""

from __future__ import annotations

import functools
import importlib
import io
import itertools
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import sympy
import torch
import torch.nn.functional as F
from nets import (
    Branching,
    BySize,
    Call,
    Functional,
    Gallery,
    OverWidth,
    Residual,
    SmallFcn,
    Strict,
    Sum,
    TwoLines,
    UNet,
)
from test_trace import MakesTensors, state_of
from torch import Tensor, nn, overrides
from torch.fx.experimental import _config as symbolic_config
from torch.utils import _python_dispatch
from tqdm.auto import tqdm

from fcnviz import models, trace
from fcnviz.errors import FcnvizError, InputError, LawError, RealTensorNeeded
from fcnviz.expressions import evaluate, names_in, on_grid, text
from fcnviz.law import Law, law
from fcnviz.requirements import sizes_in_words

HW = (1, 3, "H", "W")
LIMIT = 200  # the range in which every law below decides
conv = nn.Conv2d


def chain(*layers: Any) -> nn.Sequential:
    """Layers one after the other; a function stands for a call in the forward."""
    return nn.Sequential(*(layer if isinstance(layer, nn.Module) else Call(layer) for layer in layers))


def columns(x: Tensor) -> Tensor:
    return torch.as_strided(x, (1, 3, x.shape[2], x.shape[3] // 2), (x.stride(0), x.stride(1), x.stride(2), 2))


def folded(x: Tensor) -> Tensor:
    return x.reshape(1, 3, x.shape[2] // 2, 2, -1)


def sized_kernel(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, (x.shape[2], 2))


NETS: dict[str, Callable[[], nn.Module]] = {
    "linear head": lambda: chain(
        *(conv(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), conv(4, 4, 3, padding=1), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(36, 5)),
    ),
    "conv head": lambda: chain(conv(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.MaxPool2d(2), conv(4, 5, 3)),
    "adaptive head": lambda: chain(conv(3, 4, 3), nn.AdaptiveAvgPool2d((3, 2)), nn.Flatten(), nn.Linear(24, 5)),
    "mean over the map": lambda: chain(conv(3, 4, 3, 2), lambda x: x.mean((2, 3)), nn.Linear(4, 5)),
    "ceil pooling": lambda: chain(
        *(conv(3, 4, 3), nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True)),
        *(nn.Flatten(), nn.Linear(24, 5)),
    ),
    "ceil pooling, padded": lambda: chain(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Flatten(), nn.Linear(36, 5)),
    "residual": lambda: chain(conv(3, 8, 1), Residual(), Residual(8, 2)),
    "strided residual": lambda: Sum(conv(3, 3, 3, 2), nn.MaxPool2d(2)),
    "unet": UNet,
    "slices": lambda: chain(conv(3, 4, 3), lambda x: x[..., ::2, 1::3], nn.Flatten(), nn.Linear(48, 5)),
    "cut and added": lambda: Sum(conv(3, 3, 3), Call(lambda x: x[..., 1:-1, 2:])),
    "as_strided": lambda: chain(columns, conv(3, 4, 3)),
    "windows as axes": lambda: chain(lambda x: x.unfold(2, 3, 2).unfold(3, 4, 3).mean((-1, -2)), conv(3, 4, 2)),
    "unfold": lambda: chain(lambda x: F.unfold(x, 3, stride=2), nn.Linear(20, 5)),
    "two heads": BySize,
    "refuses by itself": Strict,
    "catches an error": Branching,
    "reflection": lambda: chain(nn.ReflectionPad2d((3, 3, 2, 5)), conv(3, 4, 3), nn.ReflectionPad2d(2)),
    "circular": lambda: chain(conv(3, 4, 5, padding=2, padding_mode="circular"), nn.MaxPool2d(2), nn.CircularPad2d(3)),
    "negative padding": lambda: chain(lambda x: F.pad(x, (-2, -3, 1, -4)), conv(3, 4, 3)),
    "dilated": lambda: chain(conv(3, 4, 3, dilation=4), conv(4, 4, 3, 2, dilation=3), nn.Flatten(), nn.Linear(48, 2)),
    "transposed, cropped": lambda: chain(conv(3, 4, 3, 2), nn.ConvTranspose2d(4, 4, 2, 2, padding=2), conv(4, 2, 3)),
    "transposed to nothing": lambda: chain(nn.ConvTranspose2d(3, 4, 3, padding=4)),
    "upsampled": lambda: chain(nn.Upsample(scale_factor=1.5), conv(3, 4, 3), nn.Flatten(), nn.Linear(4 * 16 * 10, 2)),
    "downsampled": lambda: chain(nn.Upsample(scale_factor=0.3, mode="bilinear"), conv(3, 4, 2)),
    "resized": lambda: chain(nn.Upsample((7, 9)), conv(3, 4, 3), lambda x: F.interpolate(x, size=5), nn.MaxPool2d(5)),
    "resized to its skip": lambda: Call(lambda x: F.interpolate(F.avg_pool2d(x, 3, 2), size=x.shape[2:]) + x),
    "view": lambda: chain(conv(3, 4, 3), nn.MaxPool2d(2), lambda x: x.view(-1, 24), nn.Linear(24, 2)),
    "reshape in pairs": lambda: chain(folded, lambda x: x.mean(3), conv(3, 4, (3, 4))),
    "pixel unshuffle": lambda: chain(nn.PixelUnshuffle(3), conv(27, 4, 2), nn.PixelShuffle(2)),
    "group and instance": lambda: chain(conv(3, 4, 3), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), conv(4, 4, 3)),
    "layer norm": lambda: chain(conv(3, 4, 3), nn.LayerNorm(6), conv(4, 4, 3)),
    "fcn, ceil": lambda: SmallFcn(ceil=True),
    "fcn, floor": lambda: SmallFcn(ceil=False),
    "fails in two lines": TwoLines,
    "functional": Functional,
    "gallery": Gallery,
    "matrix product": lambda: Call(lambda x: x @ x),
    "an index": lambda: Call(lambda x: x[:, :, 7] + x[:, :, -4]),
}  # fmt: skip
every_net = pytest.mark.parametrize("name", NETS)


@functools.cache
def net_of(name: str) -> nn.Module:
    return NETS[name]().eval()


@functools.cache
def law_of(name: str) -> Law:
    return law(net_of(name), HW, within=LIMIT)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tiny tensors on many threads are slow."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def runs(net: nn.Module, *shapes: tuple[int, ...], device: str = "cpu", **kwargs: Any) -> bool:
    """The verdict of the network itself."""
    try:
        with torch.no_grad():
            net(*(torch.zeros(shape, device=device) for shape in shapes), **kwargs)
    except Exception:
        return False
    return True


# Which sizes are accepted.


@every_net
def test_every_small_size_is_decided_as_the_real_network_does(name: str) -> None:
    found = law_of(name)
    device = "meta" if name.startswith("fcn") else "cpu"  # a pad of 100 makes small images large
    on = NETS[name]().eval().to(device)
    sizes = [(h, w) for h in range(1, 25) for w in range(1, 25)]
    wrong = [(h, w) for h, w in sizes if runs(on, (1, 3, h, w), device=device) != found.accepted[h, w]]
    assert not wrong, wrong[:9]


# Nets that fail in different ways; the others are compared at fewer sizes.
THOROUGH = [
    *("linear head", "conv head", "adaptive head", "ceil pooling", "strided residual", "unet", "slices", "two heads"),
    *("refuses by itself", "reflection", "dilated", "transposed, cropped", "resized to its skip", "pixel unshuffle"),
]


@every_net
def test_random_sizes_of_a_large_range_are_decided_as_the_network_does(name: str) -> None:
    found, meta, half = law_of(name), NETS[name]().eval().to("meta"), 1000 if name in THOROUGH else 100
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, LIMIT + 1, (half, 2)).tolist()
    near = np.argwhere(found.accepted)
    if len(near):  # half of them at the edges, where verdicts change
        sizes += np.clip(rng.choice(near, half) + rng.integers(-2, 3, (half, 2)), 1, LIMIT).tolist()
    decided = [(h, w, bool(found.accepted[h, w])) for h, w in sizes]
    doubted = [(h, w, ok) for h, w, ok in decided if runs(meta, (1, 3, h, w), device="meta") != ok]
    wrong = [(h, w) for h, w, ok in doubted if (trace(net_of(name), (1, 3, h, w)).failure is None) != ok]
    assert not wrong, wrong[:9]  # meta tensors are sometimes kinder than real ones, and a trace knows


@every_net
def test_the_paths_share_out_the_range(name: str) -> None:
    found = law_of(name)
    inside = found.region[1:, 1:]
    assert found.covered == 1.0 and (inside >= 0).all() and found.accepted.shape == (LIMIT + 1, LIMIT + 1)
    assert [int((inside == i).sum()) for i in range(len(found.paths))] == [path.count for path in found.paths]
    assert sum(path.count for path in found.paths) == LIMIT**2
    assert not found.accepted[0].any() and not found.accepted[:, 0].any()
    axes = dict(zip("HW", np.ix_(np.arange(1, LIMIT + 1), np.arange(1, LIMIT + 1)), strict=True))
    met = np.stack([np.broadcast_to(on_grid(path.condition, axes), inside.shape) for path in found.paths])
    assert (met.argmax(0) == inside).all() and (met.sum(0) == 1).all()


# Every size as a trace.


def assert_same_trace(found: Law, net: nn.Module, h: int, w: int, channels: int = 3) -> None:
    ours, theirs = found.at(H=h, W=w), trace(net, (1, channels, h, w))
    assert ours == theirs, (h, w)
    assert (ours.params, ours.macs) == (theirs.params, theirs.macs)
    assert found.accepts(H=h, W=w) is (theirs.failure is None)
    if ours.failure is not None and theirs.failure is not None:
        assert (ours.failure.message, ours.failure.where) == (theirs.failure.message, theirs.failure.where)
        assert type(ours.failure.cause) is type(theirs.failure.cause)


@every_net
def test_the_law_at_a_size_is_the_trace_of_that_size(name: str) -> None:
    rng = np.random.default_rng(1)
    sizes = [*rng.integers(1, 31, (20, 2)).tolist(), *rng.integers(1, 3 * LIMIT, (20, 2)).tolist()]
    for h, w in sizes:
        assert_same_trace(law_of(name), net_of(name), h, w)


PACKAGE = {
    "vgg16": (lambda: models.vgg16(), 3),
    "vgg16 conv": (lambda: models.vgg16("conv"), 3),
    "vgg16 adaptive": (lambda: models.vgg16("adaptive"), 3),
    "alexnet": (lambda: models.alexnet(), 3),
    "alexnet conv": (lambda: models.alexnet("conv"), 3),
    "alexnet adaptive": (lambda: models.alexnet("adaptive"), 3),
    "two convolutions": (lambda: models.two_convolutions(), 3),
    "lenet": (lambda: models.lenet(), 1),
    "fcn-32s": (lambda: models.fcn32s(), 3),
    "fcn-8s": (lambda: models.fcn8s(), 3),
    "fcn-alexnet": (lambda: models.fcn_alexnet(), 3),
}
WIDE = 640


@functools.cache
def package_law(name: str) -> tuple[nn.Module, Law]:
    make, channels = PACKAGE[name]
    net = make()
    return net, law(net, (1, channels, "H", "W"), within=WIDE)


@pytest.mark.parametrize("name", PACKAGE)
def test_the_law_of_every_model_is_its_trace_at_hundreds_of_sizes(name: str) -> None:
    net, found = package_law(name)
    rng = np.random.default_rng(2)
    accepted = rng.choice(np.argwhere(found.accepted), 30).tolist()
    drawn = [rng.integers(1, limit + 1, (60, 2)).tolist() for limit in (40, WIDE, 4096)]
    for h, w in itertools.chain(accepted, *drawn):
        assert_same_trace(found, net, h, w, PACKAGE[name][1])


@pytest.mark.parametrize("name", ["vgg16", "vgg16 conv", "lenet"])
def test_a_failure_is_explained_as_the_trace_explains_it(name: str) -> None:
    net, found = package_law(name)
    for h, w in ((1, 64), (31, 31), (64, 100), (256, 256), (300, 33)):
        ours, theirs = found.at(H=h, W=w).failure, trace(net, (1, PACKAGE[name][1], h, w)).failure
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert ours.explanation == theirs.explanation and ours.remedies == theirs.remedies


# What it finds out.


@functools.cache
def vgg16_within_2048() -> Law:
    return law(models.vgg16(), HW, within=2048)


def test_vgg16_with_linear_accepts_224_to_255_and_maps_of_49_cells() -> None:
    h, w = np.ix_(np.arange(2049) // 32, np.arange(2049) // 32)
    assert (vgg16_within_2048().accepted == (h * w == 49)).all()
    accepted = vgg16_within_2048().accepted
    assert accepted[224:256, 224:256].all() and accepted[1568, 32] and accepted[63, 1599]
    assert accepted.sum() == 3 * 32 * 32


def test_vgg16_with_conv_accepts_everything_from_224_up() -> None:
    _, found = package_law("vgg16 conv")
    size = np.arange(WIDE + 1) >= 224
    assert (found.accepted == np.outer(size, size)).all()
    h, w = (sympy.Symbol(n, integer=True, positive=True) for n in "HW")
    assert found.steps[-1].output_shape == (1, 1000, sympy.floor(h / 32) - 6, sympy.floor(w / 32) - 6)


def test_vgg16_states_its_requirements() -> None:
    linear = {str(r) for r in vgg16_within_2048().requirements}
    said = {r.step.name: text(r.condition) for r in vgg16_within_2048().requirements}
    assert said["classifier.0"] == "512·⌊H/32⌋·⌊W/32⌋ = 25\u202f088"
    assert "features.30 (MaxPool2d): ⌊H/32⌋ ≥ 1, that is H ≥ 32" in linear
    (fc6,) = (r for r in package_law("vgg16")[1].requirements if r.step.name == "classifier.0")
    assert fc6.sizes == "224 ≤ H ≤ 255 and 224 ≤ W ≤ 255" and fc6.step.kind == "Linear"
    conv_head = [str(r) for r in package_law("vgg16 conv")[1].requirements if r.step.name == "classifier.0"]
    assert conv_head == [f"classifier.0 (Conv2d): ⌊{n}/32⌋ ≥ 7, that is {n} ≥ 224" for n in "HW"]


def test_a_unet_accepts_multiples_of_four() -> None:
    found = law_of("unet")
    fours = np.arange(LIMIT + 1) % 4 == 0
    fours[0] = False
    assert (found.accepted == np.outer(fours, fours)).all() and found.same_size
    assert {r.sizes for r in found.requirements if r.step.name == "cat#2"} == {"H a multiple of 4", "W a multiple of 4"}


def test_fcn_32s_with_ceil_takes_every_size_and_gives_it_back_and_with_floor_it_is_short() -> None:
    ceil, floor = law_of("fcn, ceil"), law_of("fcn, floor")
    assert ceil.accepted[1:, 1:].all() and ceil.same_size and not ceil.requirements and len(ceil.paths) == 1
    assert not floor.same_size and floor.accepted.any() and not floor.accepted[1:25, 1:25].any()
    short = [h for h in range(64, LIMIT + 1) if floor.at(H=h, W=h).output_shape[2] < h]
    assert short and all(floor.at(H=h, W=h).output_shape[2] <= h for h in range(64, LIMIT + 1))


@pytest.mark.parametrize(
    ("net", "same"), [(conv(3, 4, 3, padding=1), True), (conv(3, 4, 3), False), (nn.Flatten(), False)]
)
def test_same_size_is_an_equation_over_all_sizes(net: nn.Module, same: bool) -> None:
    assert law(net, HW, within=40).same_size is same


# Requirements.


@every_net
def test_requirements_are_met_by_what_is_accepted_and_broken_by_what_fails_there(name: str) -> None:
    found = law_of(name)
    axes = dict(zip("HW", np.ix_(np.arange(1, LIMIT + 1), np.arange(1, LIMIT + 1)), strict=True))
    accepted, asked = found.accepted[1:, 1:], np.ones((LIMIT, LIMIT), bool)
    for requirement in found.requirements:
        step = requirement.step.name
        comes_by = np.array([any(s.name == step for s in path.formulas) for path in found.paths])
        fails = np.array([path.failure is not None and path.formulas[-1].name == step for path in found.paths])
        there = accepted & comes_by[found.region[1:, 1:]]
        holds = np.broadcast_to(on_grid(requirement.condition, axes), accepted.shape)
        assert ((there if there.any() else accepted) <= holds).all(), str(requirement)
        refused = np.argwhere(fails[found.region[1:, 1:]] & ~holds)
        assert len(refused), str(requirement)
        h, w = (refused[len(refused) // 2] + 1).tolist()
        failure = trace(net_of(name), (1, 3, h, w)).failure
        assert failure is not None and failure.step.name == step, str(requirement)
        asked &= holds
    if name in EXPLAINED:
        assert (asked == accepted).all(), f"{np.argwhere(asked != accepted)[:5] + 1}"


# Nets whose requirements say it all; where branches differ, or a size of 1 is repeated to fit, no one condition can.
EXPLAINED = set(NETS) - {
    *("residual", "strided residual", "cut and added", "resized to its skip", "two heads", "catches an error"),
    *("refuses by itself", "fails in two lines"),
}


@pytest.mark.parametrize("name", ["linear head", "conv head", "adaptive head", "ceil pooling", "unet", "dilated"])
def test_what_only_torch_wants_to_know_is_no_requirement(name: str) -> None:
    for requirement in law_of(name).requirements:
        assert "≠" not in text(requirement.condition) and "mod" not in text(requirement.condition), str(requirement)


def test_each_requirement_names_the_step_that_really_fails() -> None:
    found, net = law_of("linear head"), net_of("linear head")
    for requirement in found.requirements:
        small = itertools.product(range(1, 20), repeat=2)
        sizes = [(h, w) for h, w in small if not evaluate(requirement.condition, {"H": h, "W": w})]
        names = [trace(net, (1, 3, h, w)).failure.step.name for h, w in sizes]
        assert requirement.step.name in names


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([5], "H = 5"),
        ([1, 2, 3], "1 ≤ H ≤ 3"),
        (range(7, 25), "H ≥ 7"),
        (range(1, 25), "every H"),
        (range(4, 25, 4), "H a multiple of 4"),
        (range(8, 25, 4), "H a multiple of 4 from 8 up"),
        (range(3, 25, 4), "H = 3, 7, 11, …"),
        (range(4, 17, 4), "H a multiple of 4 up to 16"),
        ([1, 8], "H = 1 or 8"),
        ([2, 7, 9], ""),
        ([], ""),
    ],
)
def test_sizes_are_said_in_words_only_when_the_words_are_true(sizes: Any, words: str) -> None:
    assert sizes_in_words(np.isin(np.arange(1, 25), list(sizes)), ["H"], {"H": 24}) == words


# Paths.


def test_paths_that_differ_in_what_torch_wanted_to_know_are_one() -> None:
    found = law_of("ceil pooling, padded")
    assert any(len(path.conditions) > 1 for path in found.paths)
    assert [path.count for path in found.paths] == sorted((path.count for path in found.paths), reverse=True)
    assert found.main.failure is None


def test_paths_that_return_or_fail_otherwise_are_not_one() -> None:
    def last_or_first(x: Tensor) -> Tensor:
        small, large = F.pad(x, (-1, -1)), F.pad(x, (1, 1))
        return large if x.shape[-1] > 8 else small

    def by_width(x: Tensor) -> Tensor:
        return x.unfold(3, 9 if x.shape[3] > 5 else 8, 1)

    found = law(Call(last_or_first), HW, within=16)
    assert [found.at(H=4, W=w).output_shape for w in (8, 9)] == [(1, 3, 4, 6), (1, 3, 4, 11)]
    for w in (3, 5, 6, 8, 9):
        assert_same_trace(law(Call(by_width), HW, within=16), Call(by_width), 4, w)


def test_the_way_of_running_is_that_of_each_size() -> None:
    net = Call(lambda x: x * torch.ones(1, device="cpu") if x.shape[3] > 9 else F.max_pool2d(x, 2))
    found = law(net, HW, within=16)
    for h, w in ((3, 12), (3, 8), (1, 8), (60, 60)):
        assert_same_trace(found, net, h, w)
    assert found.at(H=3, W=12).method == "fake" and found.at(H=3, W=8).method == "meta"


def test_a_kernel_taken_from_the_shape_is_evaluated_too() -> None:
    net = chain(lambda x: F.avg_pool2d(x, x.shape[2:]))
    found = law(net, HW, within=4)
    window = found.at(H=3, W=4)[0].window
    assert window is not None and window.kernel == (3, 4) and type(window) is type(trace(net, (1, 3, 3, 4))[0].window)
    assert_same_trace(found, net, 3, 4)


def test_a_path_that_divides_by_a_size_of_zero_speaks_for_no_other_size() -> None:
    net = Call(lambda x: x[..., : x.shape[2] // (x.shape[3] - 5)])
    found = law(net, (1, 3, "H", "W"), within=12)
    refused = np.argwhere(~found.accepted[1:, 1:]) + 1
    assert refused.tolist() == [[h, 5] for h in range(1, 13)] and found.covered == 1.0
    assert_same_trace(found, net, 7, 5)
    assert_same_trace(found, net, 40, 5)


@pytest.mark.parametrize(
    "net",
    [chain(conv(3, 4, 3, 2), sized_kernel), OverWidth(6)],
    ids=["a kernel from the shape", "a loop over the width"],
)
def test_a_law_with_too_many_paths_stops_and_says_what_it_knows(
    net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("fcnviz.law"), "PATHS", 6)
    found = law(net, HW, within=20)
    inside = found.region[1:, 1:]
    assert 0 < found.covered < 1 and found.covered == (inside >= 0).sum() / 400
    assert sum(path.count for path in found.paths) == (inside >= 0).sum()
    undecided = np.argwhere(inside < 0) + 1
    for h, w in undecided[:: max(1, len(undecided) // 20)].tolist():
        assert not found.accepted[h, w] and found.path_at(H=h, W=w) is None
        assert_same_trace(found, net, h, w)
    whole = [(h, w) for h, w in (np.argwhere(inside >= 0) + 1).tolist()]
    assert all(runs(net.eval(), (1, 3, h, w)) == found.accepted[h, w] for h, w in whole)


# Names and inputs.


def test_any_axis_may_be_named_and_one_name_is_one_size() -> None:
    net = chain(nn.Flatten(), nn.Linear(48, 2))
    square, batch, row = (
        law(net, ("N", 3, "S", "S"), within=12),
        law(net, ("N", 3, "H", "W"), within=8),
        law(net, (2, 3, "H", 4), within=16),
    )
    assert square.names == ("N", "S") and np.argwhere(square.accepted).tolist() == [[n, 4] for n in range(1, 13)]
    assert batch.names == ("N", "H", "W") and batch.accepted.sum() == 8 * 3 and batch.accepted.shape == (9, 9, 9)
    assert row.names == ("H",) and np.flatnonzero(row.accepted).tolist() == [4]
    assert str(row.requirements[0]).startswith("1 (Linear): 12·H = 48, that is H = 4")
    n = sympy.Symbol("N", integer=True, positive=True)
    assert square.main.steps[-1].output_shape == (n, 2)
    for sizes in ({"N": 3, "S": 4}, {"N": 3, "S": 5}, {"N": 40, "S": 4}):
        assert square.at(**sizes) == trace(net, (sizes["N"], 3, sizes["S"], sizes["S"]))


def test_the_batch_of_a_view_is_found_out() -> None:
    net = Call(lambda x: x.view(-1, 48))
    found = law(net, ("N", 3, "S", "S"), within=16)
    n, s = np.ix_(np.arange(17), np.arange(17))
    expected = (n > 0) & (s > 0) & (3 * n * s * s % 48 == 0)
    assert (found.accepted == expected).all()


def test_inputs_share_names_and_may_be_keywords() -> None:
    net = Call(lambda x, y, z=None: torch.cat([F.max_pool2d(x, 2), y], 1) + z)
    found = law(net, HW, (1, 2, "h", "W"), z=("h", 2), within={"H": 12, "W": 12, "h": 6})
    assert found.names == ("H", "W", "h") and found.within == {"H": 12, "W": 12, "h": 6}
    for h in range(1, 13):
        for w in range(1, 13):
            for k in range(1, 7):
                real = runs(net, (1, 3, h, w), (1, 2, k, w), z=torch.zeros(k, 2))
                assert real == found.accepted[h, w, k] == found.accepts(H=h, W=w, h=k)
    given = {"H": 6, "W": 1, "h": 3}
    assert found.at(**given) == trace(net, (1, 3, 6, 1), (1, 2, 3, 1), z=(3, 2))


def test_as_is_a_batchnorm_in_training_refuses_one_value_per_channel() -> None:
    net = chain(conv(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.InstanceNorm2d(4)).train()
    found = law(net, HW, within=12, as_is=True)
    assert found.mode == "as is" and law(net, HW, within=12).mode == "eval"
    real = [[runs(net, (1, 3, h, w)) for w in range(1, 13)] for h in range(1, 13)]
    assert (found.accepted[1:, 1:] == np.array(real)).all() and not all(map(all, real))
    for h, w in ((3, 3), (4, 4), (5, 6), (6, 6), (12, 3)):
        assert found.at(H=h, W=w) == trace(net, (1, 3, h, w), as_is=True)


def test_the_range_may_be_left_to_the_law() -> None:
    assert law(conv(3, 4, 3), HW).within == {"H": 1024, "W": 1024}
    assert law(conv(3, 4, 3), ("N", 3, "H", "W")).accepted.shape == (102, 102, 102)


# What it refuses.


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().cpu().numpy() * 2)


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        (chain(conv(3, 3, 3), MakesTensors("item")), r"no law: .*1\.item \(test_trace.py, line .*needs numbers"),
        (chain(conv(3, 3, 3), MakesTensors("bool")), r"no law: .*1\.bool \(test_trace.py, line"),
        (chain(conv(3, 3, 3), MakesTensors("numpy")), r"no law: .*1\.numpy \(test_trace.py, line"),
        (chain(conv(3, 3, 3), Doubled.apply), r"no law: .*1\.numpy \(test_law.py, line"),
        (chain(lambda x: x[..., : int(x.shape[3] ** 0.5)]), r"no law: .*0.*power of 0\.5"),
        (chain(lambda x: x[x > 0]), r"no law: .*0"),
    ],
    ids=["item", "bool", "numpy", "custom", "root", "mask"],
)  # fmt: skip
def test_what_symbols_cannot_follow_is_refused_with_its_place_and_reason(net: nn.Module, sentence: str) -> None:
    with pytest.raises(LawError, match=sentence) as error:
        law(net, HW, within=16)
    assert isinstance(error.value, FcnvizError)
    assert trace(net, torch.rand(1, 3, 9, 9)).failure is None


def test_compiled_torchscript_has_no_law() -> None:
    script = torch.jit.trace(conv(3, 4, 3).eval(), torch.rand(1, 3, 8, 8))
    with pytest.raises(LawError, match="no law: Sequential is compiled TorchScript"):
        law(nn.Sequential(script), HW, within=16)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: law(conv(3, 4, 3), (1, 3, 8, 8)), r"\(1, 3, 8, 8\) names no size: law needs .*\(1, 3, 'H', 'W'\)"),
        (lambda: law(conv(3, 4, 3)), "was given no input"),
        (lambda: law(None, HW), "was given NoneType None"),
        (lambda: law(conv, HW), "Conv2d is a class"),
        (lambda: law(conv(3, 4, 3), (1, 3, "H", "2 W")), "'2 W' cannot name a size: a name is one word"),
        (lambda: law(conv(3, 4, 3), (1, 3, "H", 0)), "axis 3 is 0"),
        (lambda: law(conv(3, 4, 3), (3, "H", "W")), r"has no batch axis"),
        (lambda: law(conv(3, 4, 3), (1, 1, "H", "W")), "has 1 channel, and Conv2d takes 3 channels"),
        (lambda: law(conv(3, 4, 3), HW, within=0), "within is 0 for H: the largest size is a whole number from 1 up"),
        (lambda: law(conv(3, 4, 3), HW, within=True), "within is True for H"),
        (lambda: law(conv(3, 4, 3), HW, within=64.0), r"within is 64\.0 for H"),
        (lambda: law(conv(3, 4, 3), HW, within="64"), "within is '64' for H"),
        (lambda: law(conv(3, 4, 3), HW, within={"H": 64}), "within .*W"),
        (lambda: law(conv(3, 4, 3), HW, within={"H": 64, "W": 64, "X": 64}), "within .*X"),
        (lambda: law_of("conv head").at(H=8), "this law is about H, W, and was asked about H"),
        (lambda: law_of("conv head").at(), "was asked about nothing"),
        (lambda: law_of("conv head").accepts(H=8, W=8, N=1), "was asked about H, W, N"),
        (lambda: law_of("conv head").at(H=0, W=8), "H = 0 is no size: a size is a whole number from 1 up"),
        (lambda: law_of("conv head").at(H=8, W=True), "W = True is no size"),
        (lambda: law_of("conv head").accepts(H=1.5, W=8), r"H = 1\.5 is no size"),
        (lambda: law_of("conv head").path_at(H="8", W=8), "H = '8' is no size"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_a_sentence(call: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        call()


def test_sizes_may_be_numpy_integers() -> None:
    found = law_of("conv head")
    assert found.accepts(H=np.int64(12), W=np.int32(14)) and found.at(H=np.int64(12), W=14) == found.at(H=12, W=14)
    assert found.accepts(H=np.int64(12), W=np.int64(10**12))


# Nothing changes.


def surroundings() -> dict[str, Any]:
    """Everything global that a symbolic pass could touch."""
    named = (v for v in logging.root.manager.loggerDict.values() if isinstance(v, logging.Logger))
    every = [logging.getLogger(), *named]
    return {
        "loggers": {v.name: (v.level, v.disabled, v.propagate, list(v.handlers), v.filters[:]) for v in every},
        "off": logging.root.manager.disable,
        "symbols": symbolic_config.get_config_copy(),
        "device": torch.get_default_device(),
        "dtype": torch.get_default_dtype(),
        "modes": (overrides._get_current_function_mode_stack(), _python_dispatch._get_current_dispatch_mode_stack()),
    }


@pytest.mark.parametrize("as_is", [False, True], ids=["eval", "as is"])
def test_the_model_and_torch_are_left_as_they_were(as_is: bool) -> None:
    def make() -> nn.Sequential:
        net = chain(
            conv(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.Dropout(0.5),
            lambda x: x + torch.rand(1),
            nn.Flatten(),
            nn.Linear(64, 2),
        )
        net.train()
        net[1].eval()
        net[0].weight.requires_grad_(False)
        net[5].weight.grad = torch.ones_like(net[5].weight)
        net[2].register_forward_hook(lambda m, args, out: out * 1)
        return net

    law(make(), HW, within=4, as_is=as_is)  # torch imports parts of itself at first use
    net = make()
    before, around = state_of(net), surroundings()
    found = law(net, HW, within=24, as_is=as_is)
    assert found.accepted.any() and found.at(H=20, W=20).failure is not None and found.requirements
    assert state_of(net) == before and surroundings() == around


def test_torch_is_left_as_it_was_when_there_is_no_law() -> None:
    around = surroundings()
    with pytest.raises(LawError):
        law(chain(MakesTensors("item")), HW, within=16)
    with pytest.raises(KeyboardInterrupt):
        law(Call(interrupted), HW, within=16)
    assert surroundings() == around


def interrupted(x: Tensor) -> Tensor:
    if not isinstance(x.shape[2], int):
        raise KeyboardInterrupt
    return x


@pytest.mark.parametrize("name", ["linear head", "catches an error", "downsampled", "fails in two lines"])
def test_nothing_is_logged_or_printed(
    name: str, caplog: pytest.LogCaptureFixture, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tqdm.std.tqdm", functools.partial(tqdm, disable=True))  # a slow machine would see the bar
    caplog.set_level(logging.DEBUG)
    found = law(net_of(name), HW, within=12)
    assert found.requirements is not None and found.at(H=2, W=3) is not None
    out, err = capfd.readouterr()
    assert (out, err) == ("", "") and not caplog.records


def test_the_bar_of_a_slow_law_says_how_much_is_checked_and_foretells_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = io.StringIO()

    class Eager(tqdm):  # tqdm calls itself by this name
        def __init__(self, **given: Any) -> None:
            super().__init__(**{**given, "file": seen, "delay": 0, "mininterval": 0, "miniters": 1})

    monkeypatch.setattr("tqdm.std.tqdm", Eager)
    law(net_of("linear head"), HW, within=64)
    lines = [line for line in seen.getvalue().split("\r") if line.strip()]
    assert lines and all(re.match(r"checking sizes +\d+%\|.*\| \d\d:\d\d *$", line) for line in lines), lines
    assert any("100%" in line for line in lines)


def test_numbers_of_the_model_are_not_needed() -> None:
    assert all(p.is_meta for p in package_law("vgg16")[0].parameters())
    with pytest.raises(RealTensorNeeded):
        trace(chain(MakesTensors("item")), (1, 3, 9, 9))
    assert names_in(law_of("linear head").main.condition) == {"H", "W"}

"""Patches against the dense map: where they agree is known before anything runs, and then they do, bit for bit."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from time import sleep

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nets import Residual
from torch import Tensor, nn

from fcnviz import convolutionalize, models, trace
from fcnviz.errors import InputError
from fcnviz.patches import (
    caffe_alexnet,
    clean_rings,
    measured_rings,
    network_stride,
    patch_cost,
    run_patches,
    without_padding,
)

POOLS = ("4", "9", "16", "23", "30")  # in VGG16's features


def image(size: tuple[int, int], channels: int = 3, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(seed)).to(dtype)


def counting_vgg(channels: int) -> nn.Sequential:
    """VGG16's windows on whole numbers: each channel on its own, all weights 1, so that every sum is exact.

    Thirteen times nine products of 0..255 stay below 2⁵³, whatever order they are added in. With 24 channels no
    polluted cell is equal in all of them by a maximum that comes from its clean side.
    """
    layers: list[nn.Module] = []
    for module in models.vgg16().features:
        if isinstance(module, nn.Conv2d):
            conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False).double()
            layers.append(conv.requires_grad_(False))
            conv.weight.fill_(1)
        else:
            layers.append(nn.MaxPool2d(2, 2) if isinstance(module, nn.MaxPool2d) else nn.ReLU())
    return nn.Sequential(*layers)


def small(padding: int = 1, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Two convolutions, a pooling, and a head of 3×3: a patch of 10 pixels (12 without padding) gives one answer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [
            *(nn.Conv2d(3, 8, 3, padding=padding), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 8, 3, padding=padding), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 3)),
        ]
    return nn.Sequential(*layers).to(dtype)


# Where a patch is clean


def test_padding_eats_vgg16_from_the_edge_until_one_cell_is_left():
    rings = {ring.name: ring for ring in clean_rings(models.vgg16().features, 224)}
    assert [(rings[name].clean, rings[name].cells) for name in POOLS] == [
        (12_100, 12_544),
        (2_704, 3_136),
        (484, 784),
        (64, 196),
        (1, 49),
    ]
    assert rings["30"].rows == rings["30"].columns == (3, 4)
    assert [rings[name].jump[0] for name in POOLS] == [2, 4, 8, 16, 32]


@pytest.mark.parametrize("at", [(32, 64), (0, 32), (64, 96)])
def test_whole_numbers_agree_in_the_clean_cells_and_nowhere_else(at):
    """Sums without rounding: this holds on any machine, and on an edge of the image no padding is foreign."""
    net, whole = counting_vgg(24), (image((288, 320), 24) * 255).round().double()
    rings = {ring.name: ring for ring in clean_rings(net, 224, (288, 320), at)}
    found = measured_rings(net, whole, 224, at)
    assert set(found) == set(rings)
    for name, equal in found.items():
        assert np.array_equal(equal, rings[name].mask), name
    assert rings["30"].clean == {(32, 64): 1, (0, 32): 4, (64, 96): 16}[at]


def test_vgg16_agrees_in_the_clean_cells_and_nowhere_else():
    """In float32 too: torch's convolutions add in an order that does not depend on the place of a cell."""
    net = models.vgg16(seed=0).features
    rings = {ring.name: ring for ring in clean_rings(net, 224)}
    found = measured_rings(net, image((288, 288)), 224, (32, 32))
    for name in POOLS:
        assert np.array_equal(found[name], rings[name].mask)
    assert [int(found[name].sum()) for name in POOLS] == [12_100, 2_704, 484, 64, 1]


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.Conv2d(3, 12, 5, stride=2, padding=2), nn.Conv2d(12, 12, 3, padding=2, dilation=2)),
        nn.Sequential(nn.Conv2d(3, 12, (3, 5), padding="same"), nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)),
        nn.Sequential(nn.Conv2d(3, 8, 1), Residual(), nn.AvgPool2d(2)),
    ],
    ids=["stride, dilation", "same, ceil", "residual"],
)
def test_every_cell_that_is_called_clean_agrees(net):
    """Here nothing says that a polluted cell must differ: a maximum may come from elsewhere."""
    net, whole, size = net.double().eval(), image((40, 44), dtype=torch.float64), (24, 24)
    for at in ((8, 12), (0, 0), (16, 20)):
        for ring in clean_rings(net, size, (40, 44), at):
            dense, part = given_by(net, ring.name, whole), given_by(net, ring.name, cut(whole, at, size))
            top, left = at[0] // ring.jump[0], at[1] // ring.jump[1]
            dense = dense[:, :, top : top + ring.size[0], left : left + ring.size[1]]
            apart = (dense - part).abs().amax((0, 1))[torch.from_numpy(ring.mask)]
            assert ring.clean and apart.max() < 1e-12


def cut(whole: Tensor, at: tuple[int, int], size: tuple[int, int]) -> Tensor:
    return whole[:, :, at[0] : at[0] + size[0], at[1] : at[1] + size[1]]


def test_what_a_relu_in_place_makes_of_a_map_afterwards_is_not_what_is_compared():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.ReLU(inplace=True)).double()
    nn.init.constant_(net[0].weight, -1)  # the ReLU leaves nothing but zeros, on the ring as in the middle
    (ring,) = clean_rings(net, 6)
    found = measured_rings(net, 1 + image((10, 10), 1, torch.float64), 6, (2, 2))
    assert np.array_equal(found[ring.name], ring.mask) and ring.clean == 16


def test_maps_of_different_strides_cannot_be_followed():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.far = nn.Conv2d(3, 2, 5), nn.Conv2d(3, 2, 1, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.wide(x) + self.far(x)

    assert trace(Both(), (1, 3, 9, 9)).failure is None
    with pytest.raises(InputError, match="its cells can't be followed"):
        clean_rings(Both(), 9)


@torch.no_grad()
def given_by(net: nn.Module, name: str, x: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = net.get_submodule(name).register_forward_hook(lambda _, __, out: found.append(out.clone()))
    try:
        net(x)
    finally:
        hook.remove()
    return found[0]


def test_nothing_is_clean_where_the_ring_has_closed():
    ring = clean_rings(nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(4))), 5)[-1]
    assert ring.clean == 0 and not ring.mask.any() and ring.cells == 25


def test_without_padding_every_cell_is_clean():
    assert all(ring.clean == ring.cells for ring in clean_rings(without_padding(models.vgg16("conv")), 404))


# Patches against the dense map


def test_with_padding_no_answer_agrees_and_without_all_do():
    whole = image((20, 26), dtype=torch.float64)
    padded = run_patches(small(), whole, 10)
    assert padded.grid == (6, 9) and padded.dense.shape == (4, 8, 11)
    assert padded.relative_errors.min() > 0.01 and not padded.equal.any()
    free = run_patches(without_padding(small()), whole, 12)
    assert free.grid == (5, 8) == tuple(free.dense.shape[1:])
    assert free.relative_errors.max() < 1e-14


def test_what_is_returned_is_what_the_model_says_of_each_patch():
    net, whole = small(), image((20, 26), dtype=torch.float64)
    run = run_patches(net, whole[0], 14, stride=(2, 4), batch=5)
    assert (run.stride, run.grid, run.batch) == ((2, 4), (4, 4), 5)
    with torch.no_grad():
        dense = net(whole)[0]
        assert torch.equal(run.dense, dense)
        for i, j in itertools.product(range(4), range(4)):
            one = net(cut(whole, (2 * i, 4 * j), (14, 14)))[0]
            there = dense[:, i : i + one.shape[1], 2 * j : 2 * j + one.shape[2]]
            assert torch.allclose(run.patches[i, j], one, rtol=0, atol=1e-14)
            assert run.differences[i, j] == pytest.approx((run.patches[i, j] - there).abs().amax(0).numpy(), abs=1e-14)
            assert np.array_equal(run.same_top[i, j], (run.patches[i, j].argmax(0) == there.argmax(0)).numpy())
    assert set(run.verdicts.flat) <= {"bit-equal", "rounding", "beyond the patch"}
    assert run.patch_macs == trace(net, (1, 3, 14, 14)).macs and run.dense_macs == trace(net, (1, 3, 20, 26)).macs
    assert run.macs_ratio == 16 * run.patch_macs / run.dense_macs
    assert run.patches_seconds > 0 and run.dense_seconds > 0 and run.seconds_ratio > 0


def test_vgg16_on_patches_of_its_receptive_field_agrees_in_float32_up_to_rounding():
    net = without_padding(models.vgg16("conv", seed=0))
    run = run_patches(net, image((404, 436)), 404)
    assert run.grid == (1, 2) and run.dense.shape == (1000, 1, 2) and run.stride == (32, 32)
    assert run.relative_errors.max() < 1e-5


def test_whole_numbers_without_padding_are_bit_equal():
    net = without_padding(counting_vgg(4))
    run = run_patches(net, (image((244, 212), 4) * 255).round().double(), 212)
    assert run.grid == (2, 1) and run.equal.all() and run.differences.max() == 0


def test_the_model_is_left_as_it_is():
    net = small().train()
    net.append(nn.BatchNorm2d(4).double())
    state = {name: t.clone() for name, t in net.state_dict().items()}
    run_patches(net, image((20, 20), dtype=torch.float64), 10)
    measured_rings(net, image((20, 20), dtype=torch.float64), 10, (4, 4))
    assert all(torch.equal(t, state[name]) for name, t in net.state_dict().items())
    assert net.training and not any(module._forward_hooks for module in net.modules())


def test_progress_shows_only_after_a_second(capsys):
    run_patches(small(), image((20, 20), dtype=torch.float64), 10)
    assert capsys.readouterr().err == ""
    run_patches(nn.Sequential(small(), Slow(0.6)), image((12, 10), dtype=torch.float64), 10, batch=1)
    assert "2/2 [" in capsys.readouterr().err


class Slow(nn.Module):
    """A layer that takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta:
            sleep(self.seconds)
        return x


def test_progress_counts_patches_and_arrives(monkeypatch):
    bars = []

    class Bar:
        def __init__(self, total: int, **_: object) -> None:
            self.total, self.steps = total, []
            bars.append(self)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self, patches: int) -> None:
            self.steps.append(patches)

    monkeypatch.setattr("tqdm.std.tqdm", Bar)
    run_patches(small(), image((20, 18), dtype=torch.float64), 10, batch=8)
    assert [(bar.total, bar.steps) for bar in bars] == [(6 * 5, [8, 8, 8, 6])]


def test_what_is_no_number_both_ways_is_no_difference():
    net, whole = small(), image((20, 26), dtype=torch.float64)
    for number in (torch.nan, torch.inf):
        run = run_patches(without_padding(net), whole.index_fill(3, torch.tensor([5]), number), 12)
        assert run.dense.isnan().any() and run.differences.max() < 1e-14 and run.eps < 100
        assert (run.verdicts == "bit-equal").any() and not (run.verdicts == "beyond the patch").any()
    padded = run_patches(net, whole.index_fill(2, torch.tensor([12]), torch.nan), 10)
    assert padded.differences.max() == np.inf and not np.isnan(padded.differences).any()


def test_errors_are_relative_to_the_dense_map():
    """Times a power of two no digit of a number changes."""
    net, whole = small(), image((20, 26), dtype=torch.float64)
    run = run_patches(net, whole, 10)
    for i, j in itertools.product(range(6), range(9)):
        there = run.dense[:, i : i + 3, j : j + 3]
        apart = (run.patches[i, j] - there).norm() / there.norm()
        assert run.relative_errors[i, j] == pytest.approx(float(apart), rel=1e-12)
    for parameter in net[-1].parameters():
        parameter.data *= 1024
    larger = run_patches(net, whole, 10)
    assert np.array_equal(larger.differences, 1024 * run.differences)
    assert np.array_equal(larger.relative_errors, run.relative_errors)


# The net that never pads


def test_the_pad_free_net_shares_its_weights_and_leaves_the_original_alone():
    net = models.vgg16("conv", seed=None)
    free = without_padding(net)
    assert isinstance(free, type(net)) and str(free).splitlines()[0] == str(net).splitlines()[0]
    assert next(m.padding for m in net.modules() if isinstance(m, nn.Conv2d)) == (1, 1)
    assert {m.padding for m in free.modules() if isinstance(m, nn.Conv2d)} == {(0, 0)}
    real, real_free = (model := small()), without_padding(model)
    assert real_free.training and not without_padding(small().eval()).training
    for a, b in zip(real.parameters(), real_free.parameters(), strict=True):
        assert a.data_ptr() == b.data_ptr() and a is not b


def test_vgg16_without_padding_shrinks_from_404_to_one_cell():
    found = trace(without_padding(models.vgg16("conv")), (1, 3, 404, 404))
    sides = [step.output_shape[-1] for step in found if step.operation in ("conv", "max_pool")]
    assert sides[:18] == [402, 400, 200, 198, 196, 98, 96, 94, 92, 46, 44, 42, 40, 20, 18, 16, 14, 7]
    assert sides[18:] == [1, 1, 1]


@pytest.mark.parametrize("layer", [
    nn.Conv2d(3, 3, 3, padding="same"),
    nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
    nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 3, 3)),
    nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(3, 3, 3)),
    nn.Sequential(nn.ReplicationPad2d(2), nn.CircularPad2d(1), nn.Conv2d(3, 3, 3)),
    nn.MaxPool2d(3, 1, padding=1),
    nn.AvgPool2d((3, 3), 1, padding=(1, 1)),
], ids=repr)  # fmt: skip
def test_no_kind_of_layer_pads_any_more(layer):
    free = without_padding(layer)
    assert free(torch.rand(1, 3, 9, 9)).shape == (1, 3, 7, 7)


class Calls(nn.Module):
    """A network whose forward is one function of a map and a 3×3 kernel; around it layers that pad."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], channels: int = 3) -> None:
        super().__init__()
        self.function, self.first = function, nn.Conv2d(channels, channels, 3, padding=1)
        self.kernel = nn.Parameter(torch.rand(channels, channels, 3, 3) - 0.5)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x), self.kernel))


PADDING = {
    "conv2d": lambda x, w: F.conv2d(x, w, padding=1),
    "conv2d in place 4": lambda x, w: torch.conv2d(x, w, None, 1, (1, 1)),
    "same": lambda x, w: F.conv2d(x, w, padding="same"),
    "same, dilated": lambda x, w: F.conv2d(x, w, None, 1, "same", 2),
    "convolution": lambda x, w: torch.convolution(x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
    "max_pool2d": lambda x, w: F.max_pool2d(x, 3, 1, 1),
    "max_pool2d with where": lambda x, w: F.max_pool2d(x, 3, 1, padding=1, return_indices=True)[0],
    "avg_pool2d": lambda x, w: F.avg_pool2d(x, 3, stride=1, padding=1),
    "pad": lambda x, w: F.conv2d(F.pad(x, (1, 1, 1, 1)), w),
    "reflect": lambda x, w: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), w),
    "circular": lambda x, w: F.conv2d(F.pad(x, (1, 0, 2, 1), "circular"), w),
    "replicate": lambda x, w: F.conv2d(F.pad(input=x, pad=[1, 1, 1, 1], mode="replicate"), w),
    "constant_pad_nd": lambda x, w: F.conv2d(torch.constant_pad_nd(x, (1, 1, 1, 1), 2.0), w),
    "pad by the size": lambda x, w: F.conv2d(F.pad(x, (x.shape[3] % 2 + 1, 1, 1, x.size(2) // 4)), w),
    "unfold": lambda x, w: (F.unfold(x, 3, padding=1).mT @ w.flatten(1).mT).mT.unflatten(
        2, [n - (9 - F.unfold(x[:, :, :3, :3], 3, 1, 1).shape[2]) // 4 for n in x.shape[2:]]
    ),
}


@pytest.mark.parametrize("name", PADDING)
def test_no_call_in_a_forward_pads_any_more(name):
    """Numbers tell: each patch of the receptive field's size answers what the dense map has there."""
    net = Calls(PADDING[name]).double().eval()
    field = 7 if "dilated" not in name else 9
    free = without_padding(net)
    whole = image((12, 15), dtype=torch.float64)
    with torch.no_grad():
        dense = free(whole)[0]
        assert dense.shape == (3, 13 - field, 16 - field)
        for i, j in itertools.product(range(dense.shape[1]), range(dense.shape[2])):
            one = free(cut(whole, (i, j), (field, field)))[0, :, 0, 0]
            assert torch.allclose(one, dense[:, i, j], rtol=0, atol=1e-14)
        assert net(whole).shape[2:] > dense.shape[1:], "the original pads as before"


def test_the_pad_free_forward_computes_on_the_same_weights():
    net = Calls(PADDING["conv2d"]).double()
    free = without_padding(net)
    assert isinstance(free, Calls) and type(free).__name__ == "Calls" and free.training
    assert [p.data_ptr() for p in free.parameters()] == [p.data_ptr() for p in net.parameters()]
    x = image((9, 9), dtype=torch.float64)
    by_hand = F.conv2d(F.conv2d(F.conv2d(x, net.first.weight, net.first.bias), net.kernel), *net.last.parameters())
    assert torch.equal(free(x), by_hand)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), without_padding])
def test_a_copy_of_a_pad_free_net_pads_nothing(copied):
    as_class = without_padding(Padded())
    dense = convolutionalize(Padded(flat=True), (1, 3, 6, 6))
    for free, size in ((as_class, 2), (without_padding(dense), 1)):
        again = copied(free)
        assert again is not free and again(image((9, 9))).shape[2:] == free(image((9, 9))).shape[2:] == (size, size)


def test_a_pad_free_forward_that_is_written_anew_pads_nothing_and_is_its_own():
    free, x = without_padding(convolutionalize(Padded(flat=True), (1, 3, 6, 6))), image((9, 9))
    free.recompile()
    again = copy.deepcopy(free)
    given, *_, answer = again.graph.nodes
    answer.args = (given,)
    again.recompile()
    assert again(x) is x and free(x).shape == free.forward(x).shape == (1, 2, 1, 1)


class Padded(nn.Module):
    """Pads in a forward; made for images of 6×6 where it is flat."""

    def __init__(self, flat: bool = False) -> None:
        super().__init__()
        self.kernel, self.linear = nn.Parameter(torch.rand(4, 3, 3, 3)), nn.Linear(36, 2)
        self.flat = flat

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.conv2d(x, self.kernel, padding=1), 2 if self.flat else 3)
        return self.linear(x.flatten(1)) if self.flat else x


def test_a_pad_free_classifier_is_cast_pad_free():
    dense = convolutionalize(without_padding(Padded(flat=True)), (1, 3, 8, 8))
    run = run_patches(dense.double(), image((12, 14), dtype=torch.float64), 8)
    assert run.grid == (3, 4) and run.clean.all() and run.relative_errors.max() < 1e-14


def test_hooks_that_pad_pad_no_more():
    net = nn.Conv2d(3, 3, 3)
    net.register_forward_pre_hook(pads_first)
    assert net(image((5, 5))).shape[2:] == (5, 5)
    assert without_padding(net)(image((5, 5))).shape[2:] == (3, 3)


def pads_first(_: nn.Module, args: tuple[Tensor]) -> Tensor:
    return F.pad(args[0], (1, 1, 1, 1))


def test_outside_of_the_pad_free_net_everything_pads_as_it_did():
    free = without_padding(Calls(lambda x, w: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        free(image((9, 9)))
    assert F.pad(image((5, 5)), (1, 1)).shape[3] == 7


@pytest.mark.parametrize("pads", [(0, 0, 0, 0, 1, 2), (-1, -1, -2, 0), (0, -1, 0, 0, 2, 0)])
def test_what_cuts_or_pads_channels_is_no_padding_of_the_map(pads):
    net = Calls(lambda x, w: F.pad(x, pads)[:, :3])
    x = image((12, 12))
    assert torch.equal(without_padding(net)(x), F.conv2d(F.pad(F.conv2d(x, *net.first.parameters()), pads)[:, :3],
                                                         *net.last.parameters()))  # fmt: skip


@pytest.mark.parametrize("rank", [1, 3])
def test_other_numbers_of_axes_lose_their_padding_as_well(rank):
    conv, pool = getattr(F, f"conv{rank}d"), getattr(F, f"avg_pool{rank}d")
    net = Line(lambda x, w: F.pad(pool(conv(x, w, padding=1), 3, 1, 1), (1, 1) * rank), rank)
    assert without_padding(net)(torch.rand(2, 3, *(8,) * rank)).shape == (2, 3, *(4,) * rank)


class Line(nn.Module):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], rank: int) -> None:
        super().__init__()
        self.function, self.kernel = function, nn.Parameter(torch.rand(3, 3, *(3,) * rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.kernel)


@pytest.mark.parametrize(("function", "words"), [
    (lambda x, w: torch.cat([torch.zeros_like(x[:, :, :1]), x], 2), "Calls without padding: cat: it joins maps along"),
    (lambda x, w: F.pad(x[0], (1, 1, 1, 1)), "pad: which axes of 3×7×7 are a map's cannot be told"),
    (lambda x, w: F.pad(x[0], (0, 0, 1, 1)), "pad: which axes of 3×7×7 are a map's cannot be told"),
    (lambda x, w: F.pad(x.movedim(1, 3), (0, 0, 1, 1, 1, 1)).movedim(3, 1), "pad: which axes of 1×7×7×3 are a map's"),
    (lambda x, w: written_into_zeros(x), "setitem: it writes 1×3×7×7 into 1×3×9×9, which may pad it"),
], ids=["cat", "one image", "rows of one image", "channels last", "setitem"])  # fmt: skip
def test_what_may_pad_and_cannot_be_told_is_refused(function, words):
    free = without_padding(Calls(function))
    for run in (lambda: free(image((9, 9))), lambda: trace(free, (1, 3, 9, 9))):
        with pytest.raises(InputError, match=words):
            run()


def test_what_is_written_into_a_map_of_its_own_size_pads_nothing():
    net, x = Line(first_channel_doubled, 2), image((9, 9))
    assert torch.equal(without_padding(net)(x), net(x))


def first_channel_doubled(x: Tensor, w: Tensor) -> Tensor:
    made = x.clone()
    made[:, :1] = 2 * x[:, :1]
    return made


def written_into_zeros(x: Tensor) -> Tensor:
    larger = x.new_zeros(len(x), 3, x.shape[2] + 2, x.shape[3] + 2)
    larger[:, :, 1:-1, 1:-1] = x
    return larger


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_a_forward_that_wants_cuda_where_there_is_none_is_refused_in_torchs_words():
    with pytest.raises((AssertionError, RuntimeError)) as caught:
        torch.zeros(1).cuda()
    words = str(caught.value).splitlines()[0]
    net = Calls(lambda x, w: x.cuda())
    for ask in (
        lambda: run_patches(net, image((12, 12)), 8),
        lambda: clean_rings(net, 8),
        lambda: measured_rings(net, image((12, 12)), 8, (0, 0)),
        lambda: patch_cost(net, 12, 8),
    ):
        with pytest.raises(InputError, match=f"Calls does not run on [0-9×]+: {words}"):
            ask()


def test_where_torch_makes_tensors_by_default_is_no_matter():
    net, whole = small(), image((20, 26), dtype=torch.float64)
    with torch.device("meta"):
        run = run_patches(net, whole, 12)
        rings = measured_rings(net, whole, 12, (2, 2))
        free = without_padding(net)(whole)
    assert run.dense.device == free.device == whole.device and rings["0"].any()


def test_what_nobody_can_look_into_is_refused():
    own = nn.Conv2d(3, 3, 3)
    own.forward = lambda x: F.pad(x, (1, 1, 1, 1))
    for net, words in (
        (nn.Sequential(torch.jit.script(nn.Conv2d(3, 3, 3, padding=1))), r"0 \(.*\) is compiled TorchScript"),
        (nn.Sequential(own), r"0 \(Conv2d\) has a forward put on the module itself"),
    ):
        with pytest.raises(InputError, match=words):
            without_padding(net)


def test_layers_that_unfold_pad_no_more():
    assert without_padding(nn.Unfold(3, padding=1))(image((5, 5))).shape == (1, 27, 9)


def test_what_does_not_pad_stays():
    for layer in (nn.AdaptiveAvgPool2d(3), nn.Upsample(scale_factor=2), nn.MaxPool2d(2, ceil_mode=True)):
        x = image((5, 5))
        assert torch.equal(without_padding(layer)(x), layer(x))


def test_a_transposed_convolution_keeps_what_cuts():
    layer = nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1)
    assert without_padding(layer)(torch.rand(1, 3, 5, 5)).shape == layer(torch.rand(1, 3, 5, 5)).shape
    for call in (
        lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1),
        lambda x, w: torch.convolution(x, w, None, [2, 2], [1, 1], [1, 1], True, [0, 0], 1),
    ):
        net, x = Line(call, 2), image((5, 5))
        assert torch.equal(without_padding(net)(x), net(x))


# What it costs


def test_the_papers_example_costs_a_seventh():
    cost = patch_cost(caffe_alexnet(), 500, 227)
    assert cost.answers == (10, 10) and cost.patches == 100
    assert round(cost.patch_macs / 1e9, 3) == 0.724 and round(cost.dense_macs / 1e9, 3) == 9.324
    assert round(cost.ratio, 2) == 7.77


def test_ten_by_ten_needs_pools_that_round_up():
    net = caffe_alexnet()
    for module in net.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = False
    assert patch_cost(net, 500, 227).answers == (9, 9)


def test_net_surgery_gives_64_answers_for_nine_crops():
    cost = patch_cost(caffe_alexnet(), 451, 227)
    assert cost.answers == (8, 8)
    assert round(cost.dense_macs / cost.patch_macs, 2) == 9.06


@pytest.mark.parametrize(("side", "answers", "ratio"), [(256, 4, 3.01), (384, 36, 11.24), (512, 100, 16.72)])
def test_vgg16_shares_more_the_larger_the_image(side, answers, ratio):
    cost = patch_cost(models.vgg16("conv"), side, 224)
    assert (cost.patches, round(cost.ratio, 2)) == (answers, ratio)


def test_the_fully_connected_part_is_never_shared():
    found = trace(caffe_alexnet(), (1, 3, 500, 500))
    head = sum(step.macs for step in found if step.name in ("fc6", "fc7", "fc8"))
    assert round(head / 1e9, 2) == 5.86


def test_caffes_alexnet_has_its_parameters_and_the_same_weights_every_time():
    assert sum(p.numel() for p in caffe_alexnet().parameters()) == 60_965_224
    assert all(p.is_meta for p in caffe_alexnet().parameters())
    before = torch.random.get_rng_state()
    one, same, other = (caffe_alexnet(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one if one[key].dim() > 1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_stride_of_a_net_is_the_product_of_its_strides():
    assert network_stride(models.vgg16("conv"), 224) == (32, 32)
    assert network_stride(caffe_alexnet(), 227) == (32, 32)
    assert network_stride(nn.Conv2d(3, 4, 3, stride=(2, 3)), 20) == (2, 3)
    assert network_stride(nn.ReLU(), 20) == network_stride(nn.Sequential(), 20) == (1, 1)


# What can't be done


def test_what_cannot_be_cut_or_followed_is_refused_with_the_reason():
    net, whole = small(), image((20, 26), dtype=torch.float64)
    for ask, words in (
        (lambda: patch_cost(models.vgg16(), 224, 224), "no map N×C×H×W; patches need a fully conv"),
        (lambda: run_patches(models.lenet(seed=0), image((40, 40), 1), 32), "no map .* such as convolutionalize makes"),
        (lambda: run_patches(net, whole, 24), "patches of 24×24 were asked for; the image is 20×26"),
        (lambda: run_patches(net, whole, 10, stride=3), "cells of the dense map lie 2×2 pixels apart"),
        (lambda: run_patches(net, whole, 2), "Sequential does not run on 2×2: "),
        (lambda: run_patches(net, whole, 10, batch=0), "batches of 0 patches"),
        (lambda: run_patches(net, whole.numpy(), 10), "one image is needed, a tensor C×H×W, and it was given ndarray"),
            (lambda: run_patches(net, (3, 20, 26), 10), "a tensor C×H×W, and it was given tuple"),
        (lambda: run_patches(net, whole, 10.0), "a size of 10.0 was asked for; it is one whole number of pixels"),
        (lambda: run_patches(net, whole, (10, 10, 3)), "a size of .10, 10, 3. was asked for; it is one whole"),
        (lambda: run_patches(net, whole.expand(2, 3, 20, 26), 10), "the image is 2×3×20×26; one image"),
        (lambda: run_patches(models.vgg16("conv"), image((224, 224)), 224), "on meta there are no numbers to compare"),
        (lambda: run_patches(net, image((20, 26)), 10), "the image is float32 on cpu, the model float64 on cpu"),
        (lambda: run_patches(net, whole[:, :2], 10), "channels"),
        (lambda: patch_cost(models.vgg16("conv"), 384, 256), "a patch of 256×256 gives 2×2 answers"),
        (lambda: measured_rings(net, whole, 10, (1, 0)), "starts between two cells of 2, which are"),
        (lambda: measured_rings(net, whole, 10, (12, 0)), "does not lie within 20 pixels"),
        (lambda: clean_rings(net, 10, image=20), "image and at go together"),
        (lambda: clean_rings(nn.ConvTranspose2d(3, 3, 2), 10), "its cells can't be followed"),
        (lambda: run_patches(nn.Softmax(0).double(), whole, 10), "Softmax .* its cells can't be followed"),
        (lambda: clean_rings(nn.GroupNorm(1, 3), 10), "each cell sees all 10 cells: its cells can't be followed"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            ask()


@pytest.mark.parametrize("function", [F.dropout, lambda x: F.rrelu(x, training=True), lambda x: x * torch.rand(1)])
def test_a_net_that_draws_random_numbers_is_not_compared(function):
    net = Chain(nn.Conv2d(3, 3, 3), function, nn.Conv2d(3, 2, 3))
    for ask in (lambda: run_patches(net, image((12, 12)), 8), lambda: measured_rings(net, image((12, 12)), 8, (2, 2))):
        with pytest.raises(InputError, match="Chain draws random numbers in eval mode as well .F.dropout"):
            ask()
    quiet = Chain(nn.Conv2d(3, 3, 3), nn.Dropout(), nn.Conv2d(3, 2, 3)).train()
    assert run_patches(quiet, image((12, 12)), 8).clean.all()


def test_the_cost_says_how_many_patches_really_fit():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(2), nn.Conv2d(4, 2, 8))
    cost = patch_cost(net, 64, 34)
    assert (cost.answers, cost.fitting) == ((9, 9), (8, 8))
    assert run_patches(net, torch.rand(3, 64, 64), 34).grid == cost.fitting
    assert "patches that lie within the image: 8×8" in str(cost)
    assert f"{cost.ratio:.2f} times as many" in cost._repr_html_()


def test_whole_numbers_tell_that_a_verdict_of_rounding_is_one():
    """Sums that are exact leave no rounding: then a clean cell that differs anywhere would be a wrong verdict."""
    for padding, size, dilation in itertools.product((0, 1, 2), (9, 12, 13), (1, 2)):
        net = whole_numbers(padding, dilation)
        run = run_patches(net, (image((23, 30)) * 9).round().double(), size, stride=(4, 2))
        assert run.clean.shape == run.equal.shape == run.verdicts.shape
        assert not (run.verdicts == "rounding").any() and run.equal[run.clean].all()
        assert padding == 0 or (run.verdicts == "beyond the patch").any()


def whole_numbers(padding: int, dilation: int) -> nn.Sequential:
    layers = [
        nn.Conv2d(3, 6, 3, padding=padding, dilation=dilation, bias=False),
        *(nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 6, 2, padding=padding, bias=False)),
    ]
    net = nn.Sequential(*layers).double().requires_grad_(False)
    for n in (0, 3):
        net[n].weight.copy_(torch.randint(-3, 4, net[n].weight.shape, generator=torch.Generator().manual_seed(n)))
    return net


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_a_ring_of_padding_that_a_call_lays_around_a_map_is_followed(mode):
    first, last = whole_numbers(1, 1)[0], whole_numbers(1, 1)[3]
    net = Chain(first, lambda x: F.pad(x, (1, 2, 2, 1), mode=mode), last)
    run = run_patches(net, (image((15, 17)) * 9).round().double(), 9)
    assert run.equal[run.clean].all() and not run.clean.all()
    assert run.clean[0, 0, 0, 0] == (mode == "constant"), "where cells are copied no side of a patch is the image's own"


@pytest.mark.parametrize("as_call", [False, True], ids=["layer", "call"])
@pytest.mark.parametrize(("mode", "kernel", "padding", "copies"), [("reflect", 9, 4, 8), ("replicate", 13, 3, 2)])
def test_a_cell_that_is_copied_may_have_seen_the_other_edge(mode, kernel, padding, copies, as_call):
    """Also at the image's own corner, where the copy lies far from the edge at which the patch was cut."""
    wide = nn.Conv2d(3, 6, kernel, padding=padding, bias=False).double().requires_grad_(False)
    wide.weight.copy_(torch.randint(-3, 4, wide.weight.shape, generator=torch.Generator().manual_seed(0)))
    last = nn.Conv2d(6, 6, 1, padding=copies, padding_mode=mode, groups=6, bias=False).double()
    nn.init.ones_(last.weight)
    called = Chain(wide, lambda x: F.pad(x, (copies,) * 4, mode=mode), nn.Identity())
    run = run_patches(called if as_call else nn.Sequential(wide, last), (image((16, 17)) * 9).round().double(), 9)
    assert run.equal[run.clean].all() and not run.equal[0, 0, 0, 0]


def test_padding_after_a_cut_lies_within_the_patch_and_is_refused():
    first, last = whole_numbers(1, 1)[0], whole_numbers(1, 1)[3]
    net = Chain(first, lambda x: F.pad(x, (-1, 0, 0, 0)), last)
    with pytest.raises(InputError, match="pad .* is no convolution, pooling, padding or sum of maps"):
        run_patches(net, image((15, 17), dtype=torch.float64), 9)


class Chain(nn.Module):
    def __init__(self, first: nn.Module, function: Callable[[Tensor], Tensor], last: nn.Module) -> None:
        super().__init__()
        self.first, self.function, self.last = first, function, last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


def test_a_verdict_of_rounding_shrinks_with_the_number_type_and_the_other_does_not():
    net, whole = small(dtype=torch.float32)[:-1], image((20, 26))
    one = run_patches(net, whole, 12)
    two = run_patches(net.double(), whole.double(), 12)
    assert np.array_equal(one.clean, two.clean) and one.clean.any() and not one.clean.all()
    apart = one.verdicts == "beyond the patch"
    assert two.differences[two.clean].max() < torch.finfo(torch.float32).eps * two.differences[apart].max()
    assert np.allclose(one.differences[apart], two.differences[apart], atol=1e-6) and apart.sum() > 100


def test_a_patch_on_the_edge_of_the_image_has_seen_no_padding_there_that_the_image_has_not():
    run = run_patches(small()[:-1], image((20, 26), dtype=torch.float64), 12)
    for (i, j), at in ((here, (2 * here[0], 2 * here[1])) for here in itertools.product(*map(range, run.grid))):
        ring = clean_rings(small()[:-1], 12, (20, 26), at)[-1]
        assert np.array_equal(run.clean[i, j], ring.mask)
    assert run.clean[0, 0, 0, 0] and not run.clean[1, 1, 0, 0]


@pytest.mark.parametrize("function", [
    lambda x, w: x / x.shape[3],
    lambda x, w: x * torch.linspace(0, 1, x.shape[3], dtype=x.dtype, device=x.device),
    lambda x, w: x.sort(2)[0],
], ids=["size", "numbers of its own", "not known"])  # fmt: skip
def test_where_a_step_may_look_beyond_its_window_no_verdict_is_rounding(function):
    run = run_patches(without_padding(Calls(function)).double(), image((12, 12), dtype=torch.float64), 7)
    assert not run.clean.any() and "rounding" not in run.verdicts


def test_rings_are_a_table():
    rings = clean_rings(models.vgg16().features, 224)
    lines = str(rings).splitlines()
    assert lines[0] == "A patch of 224×224: the cells that its own padding has not reached"
    assert lines[1].split() == ["step", "kind", "map", "clean", "cells", "rows", "columns"]
    assert len({len(line) for line in lines[1:]}) == 1, "aligned"
    assert [line.split("7×7")[1].split()[0] for line in lines if "7×7" in line] == ["1/49"]
    for ring in rings:
        row = next(line for line in lines[2:] if line.split()[0] == ring.name)
        assert row.split()[1] == ring.kind and "×".join(map(str, ring.size)) in row
        assert f"{ring.clean}/{ring.cells}" in row.replace("\N{NARROW NO-BREAK SPACE}", "").replace(" ", "")
    assert rings["30"] is rings[-1] and rings[0].name == "0" and rings.patch == (224, 224)
    page = rings._repr_html_()
    assert page.count("<tr>") == len(rings) + 1 and "<td" in page and "1/49" in page
    closed = clean_rings(nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(4))), 5)
    assert str(closed).splitlines()[-1].split()[-3:] == ["0/25", "none", "none"]


def test_how_many_channels_a_net_of_calls_takes_is_found():
    net = Line(lambda x, w: F.conv2d(x, w[:, :2]), 2)
    net.kernel = nn.Parameter(torch.rand(4, 5, 3, 3))
    with pytest.raises(InputError):
        clean_rings(net, 9)
    calls = Line(lambda x, w: F.conv2d(x, w, padding=1), 2)
    calls.kernel = nn.Parameter(torch.rand(4, 5, 3, 3))
    assert clean_rings(calls, 9)[0].clean == 49 and network_stride(calls, 9) == (1, 1)
    run = run_patches(calls, image((12, 12), 5), 9)
    assert patch_cost(without_padding(calls), 12, 3).fitting == (10, 10) and run.grid == (4, 4)


def test_a_run_says_how_far_apart_the_answers_are():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)).double()
    run = run_patches(net, torch.rand(3, 9, 11, dtype=torch.float64), 5)
    assert f"{int(run.equal.sum())} of 35" in str(run) and "5×7 patches of 5×5, 1×1 pixels apart" in str(run)
    assert run.eps * float(run.dense.abs().max()) * torch.finfo(torch.float64).eps == pytest.approx(
        run.differences.max()
    )
    assert "largest difference" in run._repr_html_()


def test_zeros_that_are_equal_are_no_error():
    net = nn.Conv2d(3, 2, 3, bias=False)
    run = run_patches(net, torch.zeros(3, 5, 5), 3)
    assert run.relative_errors.max() == 0 and run.eps == 0 and run.equal.all()

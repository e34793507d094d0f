"""Patches against the dense map: where they agree is known before anything runs, and then they do, bit for bit."""

from __future__ import annotations

import itertools
from time import sleep

import numpy as np
import pytest
import torch
from nets import Residual
from torch import Tensor, nn

from fcnviz import models, trace
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

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    run_patches(small(), image((20, 18), dtype=torch.float64), 10, batch=8)
    assert [(bar.total, bar.steps) for bar in bars] == [(6 * 5, [8, 8, 8, 6])]


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
    assert type(free) is type(net)
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


def test_a_transposed_convolution_keeps_what_cuts():
    layer = nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1)
    assert without_padding(layer)(torch.rand(1, 3, 5, 5)).shape == layer(torch.rand(1, 3, 5, 5)).shape


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
        (lambda: clean_rings(nn.GroupNorm(1, 3), 10), "each cell sees all 10 cells: its cells can't be followed"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            ask()


def test_the_cost_says_how_many_patches_really_fit():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(2), nn.Conv2d(4, 2, 8))
    cost = patch_cost(net, 64, 34)
    assert (cost.answers, cost.fitting) == ((9, 9), (8, 8))
    assert run_patches(net, torch.rand(3, 64, 64), 34).grid == cost.fitting
    assert "patches that lie within the image: 8×8" in str(cost)
    assert f"{cost.ratio:.2f} times as many" in cost._repr_html_()


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

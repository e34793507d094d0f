"""The effective field: gradients of one cell on real numbers, inside the region and small at its border."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import Call, Gallery, TutorialLeNet
from torch import nn

from fcnviz import models, trace
from fcnviz.coordinates import Span
from fcnviz.effective import effective_field
from fcnviz.errors import GeometryError, InputError
from fcnviz.geometry import geometry


def even(layers: int) -> nn.Sequential:
    """Convolutions that add nine pixels up: the ways to a pixel are counted, and nothing else."""
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(layers))).double()
    for weight in net.parameters():
        nn.init.ones_(weight)
    return net


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_the_gradient_of_a_sum_counts_the_ways_to_a_pixel(layers):
    found = effective_field(even(layers), torch.rand(1, 1, 21, 25, dtype=torch.float64), (10, 12))
    line = np.array([1.0])
    for _ in range(layers):
        line = np.convolve(line, [1, 1, 1])
    ways = np.zeros((21, 25))
    ways[10 - layers : 11 + layers, 12 - layers : 13 + layers] = np.outer(line, line)
    assert np.array_equal(found.values, ways)


def test_no_pixel_outside_the_region_counts_and_all_inside_do():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(8, 8, 3)).double()
    found = effective_field(net, torch.rand(4, 3, 40, 44, dtype=torch.float64), (1, 2))
    assert np.array_equal(found.values > 0, found.region.pixels)
    assert found.images == 4


def test_values_are_the_mean_over_images_of_each_ones_gradient():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 3, 3)).double()
    images = torch.rand(3, 2, 12, 12, dtype=torch.float64)
    by_hand = torch.zeros(12, 12, dtype=torch.float64)
    for image in images:
        x = image[None].clone().requires_grad_()
        net(x)[0, :, 4, 5].sum().backward()
        by_hand += x.grad[0].abs().mean(0) / 3
    assert np.allclose(effective_field(net, images, (4, 5)).values, by_hand, rtol=1e-12, atol=0)


def test_the_deeper_the_net_the_smaller_the_part_of_the_region_that_counts():
    """Luo and others: the effective field grows with the root of the depth, the region with the depth."""
    shares = []
    for layers in (4, 9, 16):
        found = effective_field(even(layers), torch.zeros(1, 1, 41, 41, dtype=torch.float64))
        whole, held = found.region.clipped[0].size, found.holding(0.95)[0].size
        shares.append(held / whole)
        assert held < whole == 2 * layers + 1
    assert shares == sorted(shares, reverse=True)


def test_a_share_is_held_around_the_middle():
    found = effective_field(even(1), torch.zeros(1, 1, 9, 11, dtype=torch.float64), (4, 4))
    assert found.holding(1) == (Span(3, 5), Span(3, 5))
    assert found.holding(1 / 3) == (Span(4, 4), Span(4, 4))
    with pytest.raises(InputError, match="a share of 0 was asked for; it is more than 0 and at most 1"):
        found.holding(0)


def test_a_step_is_asked_before_a_relu_in_place_has_changed_it():
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(inplace=True)).double()
    nn.init.constant_(net[0].weight, -1)
    images = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    assert effective_field(net, images, step="0").values.sum() == 1
    assert effective_field(net, images).values.sum() == 0


def test_the_model_is_left_as_it_was():
    net = TutorialLeNet().train()
    found = effective_field(net, torch.rand(1, 1, 32, 32), step="conv2")
    assert found.region.step == "conv2"
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


def test_a_classifiers_answer_is_one_cell():
    torch.manual_seed(0)
    found = effective_field(TutorialLeNet(), torch.rand(1, 1, 32, 32))
    assert found.region.cell == (0, 0)
    assert found.region.pixels.all()
    assert found.values.any()


def test_a_real_net_gives_the_region_of_its_geometry():
    net = models.vgg16(seed=0).features[:10]
    found = effective_field(net, torch.rand(1, 3, 48, 56), (3, 4))
    region = geometry(trace(net, (1, 3, 48, 56))).region(-1, (3, 4))
    assert region.clipped == found.region.clipped
    assert not found.values[~region.pixels].any()
    assert found.values[region.pixels].mean() > 0


def test_a_cell_that_nothing_moves_has_no_field():
    found = effective_field(nn.ConvTranspose2d(1, 1, 1, 2), torch.rand(1, 1, 4, 4), (1, 1))
    assert not found.values.any()
    with pytest.raises(InputError, match="nothing moves cell \\(1, 1\\) of ConvTranspose2d"):
        found.holding(0.5)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(2, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.c(x))


class Side(nn.Module):
    """A branch that runs last and is thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.aux = nn.Conv2d(2, 2, 5), nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.c(x)
        self.aux(x)
        return y


def turned(turn) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 2, 3), Call(turn))


PAIRS = {
    "side": (Side(), None, "c", (5, 5)),
    "first": (Twice(), "c", "c", (3, 3)),
    "second": (Twice(), "c#2", "c#2", (5, 5)),
    "part": (turned(lambda x: x.chunk(2, 2)[1]), None, "1.chunk", (3, 3)),
    "transposed": (turned(lambda x: x.transpose(2, 3)), None, "1.transpose", (3, 3)),
    "channels last": (turned(lambda x: x.permute(0, 2, 3, 1)), None, "1.permute", (3, 3)),
    "flattened": (turned(lambda x: x.flatten(2)), None, "1.flatten", (3, 3)),
    "nothing": (Call(lambda x: x), None, "the image", (1, 1)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_region_and_gradient_are_of_one_cell(name):
    net, step, called, size = PAIRS[name]
    found = effective_field(net.double(), torch.rand(2, 2, 12, 14, dtype=torch.float64), (1, 4), step)
    assert found.region.step == called
    assert tuple(span.size for span in found.region.clipped) == size
    assert np.array_equal(found.values > 0, found.region.pixels)


def test_a_field_is_read_in_a_line():
    found = effective_field(even(1), torch.rand(2, 1, 5, 5, dtype=torch.float64))
    assert str(found) == (
        "mean gradient over 2 images, largest 1 at pixel (1, 1); 0, cell (2, 2): pixels 1…3 × 1…3 (3×3)"
    )


def test_shares_are_compared_without_rounding_in_the_way():
    found = effective_field(even(1), torch.zeros(1, 1, 9, 11, dtype=torch.float64), (4, 4))
    for share in np.linspace(0.34, 0.99, 14):
        assert found.holding(share) == (Span(3, 5), Span(3, 5))


IMAGE = torch.rand(1, 1, 5, 5, dtype=torch.float64)
REFUSED = [
    (lambda: effective_field(nn.Conv2d(1, 1, 3), torch.rand(9)), "were given; N×C×H×W with numbers"),
    (lambda: effective_field(nn.Conv2d(1, 1, 9).double(), IMAGE), "Conv2d does not run on"),
    (lambda: effective_field(even(2), IMAGE, step="3"), "at a layer of Sequential: 0, 1"),
    (lambda: effective_field(even(2), IMAGE, (5, 0)), "there are 5×5, from 0"),
    (
        lambda: effective_field(models.fcn32s(), torch.rand(1, 3, 32, 32)),
        "shapes and no numbers \\(conv1_1.weight is on meta",
    ),
    (lambda: effective_field(nn.BatchNorm2d(1, affine=False, device="meta"), IMAGE), "running_mean is on meta"),
    (lambda: effective_field(even(2), IMAGE.float()), "images are torch.float32, the weights torch.float64"),
    (lambda: effective_field(even(2), IMAGE.int()), "images of torch.int32 were given; gradients need floating point"),
    (lambda: effective_field(even(2), IMAGE / 0), "no NaN or infinity"),
    (lambda: effective_field(even(2), IMAGE.numpy()), "images were given as ndarray"),
    (lambda: effective_field(Call(lambda x: (x * 0).sqrt()), IMAGE), "are not finite"),
    (lambda: effective_field(Gallery(), torch.rand(1, 3, 32, 48)), "name the step whose cell"),
]


@pytest.mark.parametrize(("ask", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_has_no_gradient_of_a_cell_is_refused(ask, words):
    with pytest.raises(InputError, match=words):
        ask()


def test_a_net_whose_cells_cannot_be_followed_is_refused_with_the_reason():
    with pytest.raises(GeometryError, match="it turns a map round"):
        effective_field(Call(lambda x: x.flip(3)), IMAGE)

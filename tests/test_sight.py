"""What a cell sees of the image, as the explorer tells and draws it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fcnviz import law
from fcnviz.explorer.scene import frozen, lanes, scene
from fcnviz.explorer.sight import seen
from fcnviz.law import START
from fcnviz.trace import trace


def read_by_the_middle(net: nn.Module, size: int) -> tuple[int, int]:
    """Rows and columns of the image between the first and the last on which the middle cell of the output depends."""
    for weight in net.parameters():
        nn.init.ones_(weight)
    x = torch.ones(1, 3, size, size, requires_grad=True)
    out = net(x)[0, 0]
    out[out.shape[0] // 2, out.shape[1] // 2].backward()
    assert x.grad is not None
    rows, columns = x.grad[0].sum(0).nonzero().unbind(1)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


NETS = {
    "strides": nn.Sequential(nn.Conv2d(3, 2, 5, 2, 2), nn.AvgPool2d(3, 2, 1), nn.Conv2d(2, 2, 3)),
    "dilation": nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 2, (3, 5), dilation=(4, 2))),
}


@pytest.mark.parametrize("name", NETS)
def test_the_numbers_are_those_that_a_gradient_reaches(name: str) -> None:
    net = NETS[name]
    assert seen(law(net, (1, 3, "H", "W"), within=300))["1"].field == read_by_the_middle(net[:2], 80)
    last = str(len(net) - 1)
    assert seen(law(net, (1, 3, "H", "W"), within=300))[last].field == read_by_the_middle(net, 80)


class MeanOfRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2)


@pytest.mark.parametrize("within", [START // 4, START, 2 * START])
@pytest.mark.parametrize("last", [nn.AdaptiveAvgPool2d(1), MeanOfRows()])
def test_where_a_cell_sees_more_of_a_larger_image_nothing_is_said(last: nn.Module, within: int) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), last)
    assert list(seen(law(net, (1, 3, "H", "W"), within=within))) == ["0"]


def test_the_scene_holds_words_and_numbers_once_for_each_step() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, (3, 5)), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1))
    (lane,) = scene(lanes(net, 3, 64), (24, 24), 64)["lanes"]
    assert lane["sights"] == {
        0: ["each cell sees 3×5 pixels of the image; cells lie 1 pixel apart", [3, 5]],
        1: ["each cell sees 4×6 pixels of the image; cells lie 2 pixels apart", [4, 6]],
    }
    assert not any("sees" in step for step in lane["law"]["steps"])
    assert lane["plan"] == [0, 1, 2], "places of the steps, which are not written again"


def test_without_a_law_the_window_keeps_its_gaps() -> None:
    found = frozen(trace(nn.Conv2d(3, 4, 3, dilation=(2, 5)), (1, 3, 20, 20)))
    assert found["steps"][0]["window"]["dilation"] == (2, 5)

"""Silent means equal: where no step is named, each cell of the dense map is the classifier on its window."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcnviz.errors import SeesMoreThanItsWindow, SurgeryError
from fcnviz.surgery import convolutionalize

SIDE, CELLS = 21, 9


class Classifier(nn.Module):
    """A convolution without padding, something in the middle, and a Linear on the flattened map."""

    def __init__(self, middle: Callable[[Any, Tensor], Tensor], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.middle, self.layer = nn.Conv2d(3, 8, 5, 2), middle, layer
        self.fc = nn.Linear(8 * CELLS * CELLS, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.middle(self, self.conv(x)), 1))


def classifier(middle: Any, layer: nn.Module | None) -> nn.Module:
    torch.manual_seed(0)
    net = Classifier(middle, layer).double().eval()
    for module in net.modules():
        if getattr(module, "running_mean", None) is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net


def told(net: nn.Module) -> tuple[nn.Module, str]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        dense = convolutionalize(net, (1, 3, SIDE, SIDE))
    assert all(issubclass(one.category, SeesMoreThanItsWindow) for one in seen) and len(seen) <= 1
    return dense, str(seen[0].message) if seen else ""


@torch.no_grad()
def is_the_classifier_on_every_window(dense: nn.Module, net: nn.Module) -> bool:
    """Two images, higher than wide, so that a size or a batch that stayed behind in the net shows."""
    x = torch.randn(2, 3, SIDE + 12, SIDE + 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    maps = dense(x)
    assert maps.shape == (2, 5, 7, 5)
    rows = [[net(x[:, :, 2 * i : 2 * i + SIDE, 2 * j : 2 * j + SIDE]) for j in range(5)] for i in range(7)]
    wanted = torch.stack([torch.stack(row, -1) for row in rows], -2)
    sizes = 2 * (8 * CELLS**2 + 1) * torch.finfo(torch.float64).eps * 8  # terms of a sum, on a scale of 8
    return bool((maps - wanted).abs().max() <= sizes)


def shuffled(net: Any, y: Tensor) -> Tensor:
    n, c, h, w = y.shape
    return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def best_and_mean(net: Any, y: Tensor) -> Tensor:
    return y * torch.cat([y.max(1, keepdim=True)[0], y.mean(1, keepdim=True)], 1).mean(1, keepdim=True)


def attended(net: Any, y: Tensor) -> Tensor:
    rows = y.flatten(2)
    return (rows @ (rows.mT @ rows).softmax(-1)).view_as(y)


def with_coordinates(net: Any, y: Tensor) -> Tensor:
    return y + torch.linspace(-1, 1, y.shape[3], device=y.device, dtype=y.dtype)


def with_pyramid(net: Any, y: Tensor) -> Tensor:
    return y + F.interpolate(F.adaptive_avg_pool2d(y, 3), size=y.shape[2:])


def channels_last(net: Any, y: Tensor) -> Tensor:
    return net.layer(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def moved_channels(net: Any, y: Tensor) -> Tensor:
    return net.layer(y.movedim(1, -1)).movedim(-1, 1)


def layer(net: Any, y: Tensor) -> Tensor:
    return net.layer(y)


SILENT: Mapping[str, Any] = {
    "nothing": (lambda n, y: y, None),
    "relu": (lambda n, y: F.relu_(y), None),
    "BatchNorm": (layer, nn.BatchNorm2d(8)),
    "InstanceNorm with running statistics": (layer, nn.InstanceNorm2d(8, track_running_stats=True)),
    "PReLU": (layer, nn.PReLU(8)),
    "response norm": (lambda n, y: F.local_response_norm(y, 3), None),
    "softmax of channels": (lambda n, y: y.softmax(1), None),
    "mean of channels": (lambda n, y: y - y.mean(1, keepdim=True), None),
    "norm of channels": (lambda n, y: y / y.norm(dim=1, keepdim=True), None),
    "normalize": (lambda n, y: F.normalize(y), None),
    "flip of channels": (lambda n, y: y.flip(1).roll(1, 1).cumsum(1), None),
    "channels shuffled": (shuffled, None),
    "channels cut and joined": (lambda n, y: torch.cat(y.split([3, 5], 1)[::-1], 1), None),
    "best channel": (best_and_mean, None),
    "one channel for all": (lambda n, y: y.mean(1, keepdim=True).expand(-1, 8, -1, -1), None),
    "LayerNorm of channels": (channels_last, nn.LayerNorm(8)),
    "Linear of channels": (moved_channels, nn.Linear(8, 8)),
    "there and back": (lambda n, y: F.relu(y.permute(0, 3, 2, 1)).permute(0, 3, 2, 1), None),
    "twice as fine, every second": (lambda n, y: F.interpolate(y, scale_factor=2)[:, :, ::2, ::2], None),
    "shifted": (lambda n, y: F.pad(y, (0, 1, 1, 0))[:, :, 1:, :-1], None),
    "a matrix": (lambda n, y: (y.flatten(2).mT @ n.layer.weight).mT.unflatten(2, y.shape[2:]), nn.Linear(8, 8)),
}
LOOKS: Mapping[str, Any] = {
    "InstanceNorm": (layer, nn.InstanceNorm2d(8), r"layer (InstanceNorm2d) looks at the whole map"),
    "GroupNorm": (layer, nn.GroupNorm(2, 8), "layer (GroupNorm) looks at the whole map"),
    "BatchNorm without statistics": (layer, nn.BatchNorm2d(8, track_running_stats=False), "layer (BatchNorm2d) looks"),
    "layer norm": (lambda n, y: F.layer_norm(y, y.shape[1:]), None, "layer_norm looks at the whole map"),
    "softmax of places": (lambda n, y: y.flatten(2).softmax(-1).view_as(y), None, "softmax looks at the whole map"),
    "softmax of columns": (lambda n, y: y.softmax(-1), None, "softmax looks at the whole map"),
    "mean": (lambda n, y: y - y.mean((2, 3), keepdim=True), None, "mean looks at the whole map"),
    "largest": (lambda n, y: y / y.amax((2, 3), keepdim=True), None, "amax looks at the whole map"),
    "std": (lambda n, y: y / y.std((2, 3), keepdim=True), None, "std looks at the whole map"),
    "median": (lambda n, y: y - y.median(), None, "median looks at the whole map"),
    "norm": (lambda n, y: F.normalize(y.flatten(2), dim=-1).view_as(y), None, "normalize looks at the whole map"),
    "gate": (
        lambda n, y: y * n.layer(F.adaptive_avg_pool2d(y, 1).flatten(1))[:, :, None, None],
        nn.Linear(8, 8),
        "adaptive_avg_pool2d looks at the whole map",
    ),
    "attention": (attended, None, "matmul and matmul#2 look at the whole map"),
    "pyramid": (with_pyramid, None, "adaptive_avg_pool2d looks at the whole map; interpolate computes with the size"),
    "corners": (
        lambda n, y: F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)[:, :, ::2, ::2],
        None,
        "interpolate looks at the whole map",
    ),
    "size": (lambda n, y: y / (y.shape[2] * y.shape[3]), None, "div computes with the size of the map"),
    "size as a limit": (lambda n, y: y.clamp(0, y.shape[3] / 100), None, "clamp computes with the size"),
    "coordinates": (with_coordinates, None, "add brings numbers of its own to each place"),
}
UNKNOWN: Mapping[str, Any] = {
    "picked": (lambda n, y: y[:, [1, 0, *range(2, 8)]], None, "getitem"),
    "einsum": (lambda n, y: torch.einsum("nchw,dc->ndhw", y, n.layer.weight), nn.Linear(8, 8), "einsum"),
}
MOVED: Mapping[str, Any] = {
    "flip": (lambda n, y: y.flip(3), "flip: it mirrors the map"),
    "roll": (lambda n, y: y.roll(1, 3), "roll: it shifts the map"),
    "rot90": (lambda n, y: torch.rot90(y, 1, (2, 3)), "rot90: it turns the map"),
    "cumsum": (lambda n, y: y.cumsum(2), "cumsum: it adds up along the map"),
    "transpose": (lambda n, y: y.transpose(2, 3), "its map is N, C, W, H since transpose"),
    "side by side": (lambda n, y: torch.cat([y, y], 2)[:, :, :9], "cat: it puts maps side by side"),
    "copies": (lambda n, y: y.repeat(1, 1, 2, 1)[:, :, :9], "repeat: it puts copies of the map side by side"),
    "in parts": (lambda n, y: torch.cat(y.chunk(3, 2)[::-1], 1).view_as(y), "chunk: it cuts the map into parts"),
    "one place": (lambda n, y: y - y[:, :, 4:5, 4].unsqueeze(3), "getitem: it takes one place of the map"),
    "crosswise": (lambda n, y: y + y.mT, "add: it joins maps whose height and width lie on different axes"),
}


@pytest.mark.parametrize(("middle", "inner"), SILENT.values(), ids=SILENT.keys())
def test_where_nothing_is_told_each_cell_is_the_classifier_on_its_window(middle: Any, inner: Any) -> None:
    net = classifier(middle, inner)
    dense, words = told(net)
    assert not words
    assert is_the_classifier_on_every_window(dense, net)


@pytest.mark.parametrize(("middle", "inner", "sentence"), LOOKS.values(), ids=LOOKS.keys())
def test_what_looks_beyond_its_window_is_named_and_gives_other_answers(middle: Any, inner: Any, sentence: str) -> None:
    net = classifier(middle, inner)
    dense, words = told(net)
    assert words.startswith(f"Classifier is cast, but {sentence}")
    assert words.endswith(": a cell of the dense map is then not what Classifier says of that window alone")
    assert not is_the_classifier_on_every_window(dense, net)


@pytest.mark.parametrize(("middle", "inner", "name"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_nobody_knows_is_told_as_such(middle: Any, inner: Any, name: str) -> None:
    words = told(classifier(middle, inner))[1]
    assert f"fcnviz does not know what {name} does with places: a cell of the dense map may then not be" in words


@pytest.mark.parametrize(("middle", "sentence"), MOVED.values(), ids=MOVED.keys())
def test_what_moves_places_is_refused_by_name(middle: Any, sentence: str) -> None:
    with pytest.raises(SurgeryError, match="Classifier cannot be cast: .*" + sentence):
        convolutionalize(classifier(middle, None), (1, 3, SIDE, SIDE))


def test_many_steps_are_told_in_one_sentence() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, 2), *(nn.GroupNorm(2, 8) for _ in range(5)), nn.Flatten(), nn.Linear(8 * CELLS**2, 5)
    )
    assert "but 1 (GroupNorm), 2 (GroupNorm), 3 (GroupNorm) and 2 more look at the whole map:" in told(net)[1]


def test_a_map_that_comes_out_turned_is_refused() -> None:
    class Turned(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            return self.layer(torch.flatten(F.adaptive_avg_pool2d(self.conv(x), 1).mT, 1))

    with pytest.raises(SurgeryError, match="Turned cannot be cast: mT: its map comes out as N, C, W, H"):
        convolutionalize(Turned(layer, nn.Linear(8, 5)), (1, 3, SIDE, SIDE))

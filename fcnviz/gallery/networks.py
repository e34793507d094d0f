"""The networks, as their authors wrote them. Each has one mistake, and can be repaired by replacing a part."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class Rows(nn.Module):
    """`x.view(-1, columns)`: rows of so many numbers, whoever's numbers they are."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, self.columns)

    def extra_repr(self) -> str:
        return f"x.view(-1, {self.columns})"


class Shortcut(nn.Module):
    """A residual block: what the convolutions make, and the shortcut around them, added."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.shortcut: nn.Module = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu()) + self.shortcut(x)


class Skip(nn.Module):
    """A small U: down by 2, up by 2, and joined with the map from before."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, 8, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.deep = nn.Conv2d(8, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        before = self.before(x).relu()
        up = self.up(self.deep(self.pool(before)).relu())
        return self.out(torch.cat([before, up], dim=1))


class Listed(nn.Module):
    """Its layers stand in a list of Python's."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.Conv2d(16, 32, 3)]
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x.mean((2, 3)))


def _front(*, padding: int = 0) -> tuple[nn.Module, ...]:
    """Two convolutions, each with a pool: a map of 16 channels."""
    first = nn.Conv2d(3, 8, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2)
    return *first, nn.Conv2d(8, 16, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2)


def old_size() -> nn.Module:
    """The Linear layer has the columns of the size it was trained at."""
    return nn.Sequential(*_front(padding=1), nn.Flatten(), nn.Linear(16 * 8 * 8, 10))


def counted_wrong() -> nn.Module:
    """Two pools, and one of them was counted; padding was counted, and there is none."""
    return nn.Sequential(*_front(), nn.Flatten(), nn.Linear(16 * 16 * 16, 10))


def no_flatten() -> nn.Module:
    """The Linear layer gets the map as it is."""
    return nn.Sequential(*_front(padding=1), nn.Linear(16 * 8 * 8, 10))


def one_row() -> nn.Module:
    """Flattened from axis 0 on: all images of the batch become one row."""
    return nn.Sequential(*_front(padding=1), nn.Flatten(0), nn.Linear(16 * 8 * 8, 10))


def channels() -> nn.Module:
    """PixelShuffle makes four channels into one; the convolution after it counts on all of them."""
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.PixelShuffle(2), nn.Conv2d(16, 32, 3))


def too_deep() -> nn.Module:
    """Five pools take 32 to 1, and there is a sixth."""
    channels = pairwise((3, 8, 16, 16, 32, 32, 32))
    layers = [(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)) for a, b in channels]
    return nn.Sequential(*(layer for block in layers for layer in block), nn.Flatten(), nn.Linear(32, 10))


def shortcut() -> nn.Module:
    """The convolutions halve the map, and the shortcut hands on the whole one."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Shortcut())


def skip() -> nn.Module:
    """An odd size loses a row and a column on the way down, and they never come back."""
    return Skip()


def mixed_batch() -> nn.Module:
    """Rows of the old length, cut across the images: 49 images, 64 rows."""
    return nn.Sequential(*_front(padding=1), Rows(16 * 7 * 7), nn.Linear(16 * 7 * 7, 10))


def shared_softmax() -> nn.Module:
    """The shares of each class add up to 1 over the batch, not those of each image."""
    return nn.Sequential(*_front(padding=1), nn.Flatten(), nn.Linear(16 * 8 * 8, 10), nn.Softmax(dim=0))


def plain_list() -> nn.Module:
    """A list hides its layers from `parameters()`."""
    return Listed()


def classifier() -> nn.Sequential:
    """Whole numbers alone, so small that no sum of them is ever rounded."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 49, 10))
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(torch.randint(-3, 4, weight.shape))
    return net


def wrong_order() -> nn.Module:
    """That classifier, cast by hand: rows, columns, channels."""
    *front, _, linear = classifier()
    weights = linear.state_dict()
    head = nn.Conv2d(4, 10, 7)
    head.load_state_dict({**weights, "weight": weights["weight"].view(10, 7, 7, 4).permute(0, 3, 1, 2)})
    return nn.Sequential(*front, head)

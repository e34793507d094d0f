"""Networks as people write them and bring along: one line says why they stop, and one what to do."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fcnviz import convolutionalize, law, trace


class UNet(nn.Module):
    """Three times down and up; odd sizes lose cells on the way down."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([block(3, 8), block(8, 16), block(16, 32)])
        self.middle = block(32, 64)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, stride=2) for n in (32, 16, 8))
        self.joined = nn.ModuleList(block(2 * n, n) for n in (32, 16, 8))
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        kept = []
        for down in self.down:
            kept.append(down(x))
            x = F.max_pool2d(kept[-1], 2)
        x = self.middle(x)
        for up, joined in zip(self.up, self.joined, strict=True):
            x = joined(torch.cat([up(x), kept.pop()], 1))
        return self.out(x)


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class Tutorial(nn.Module):
    """Calls in place of modules, and rows cut by view(-1, 400)."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2 = nn.Linear(16 * 5 * 5, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.view(-1, 16 * 5 * 5))))


class Residual(nn.Module):
    """A residual block, and averages into a Linear that was written for twice the channels."""

    def __init__(self, columns=64):
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 32, 7, stride=2, padding=3), nn.Conv2d(32, 32, 3, padding=1)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(columns, 10)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = F.relu(self.body(x) + x)
        return self.fc(torch.flatten(self.pool(x), 1))


BROUGHT = [
    (
        UNet,
        (100, 92),
        "the image's 100×92 is not divisible by 8",
        "use images whose sizes divide by 8: 104×96 or 96×88",
    ),
    (Tutorial, (40, 40), "one image's map is 16·7·7 = 784 numbers", "resize or crop the images to 32×32"),
    (Residual, (64, 64), "makes each of the 32 channels one number, at every image size", "give it `in_features=32`"),
]


@pytest.mark.parametrize(("make", "size", "why", "way"), BROUGHT, ids=lambda one: getattr(one, "__name__", None))
def test_one_line_says_why_it_stops_and_the_first_way_out_is_one(make, size, why, way):
    failure = trace(make(), (1, 3, *size)).failure
    assert why in failure.explanation.replace("\u202f", " ") and "\n" not in failure.explanation
    assert failure.remedies[0].startswith(way)


def test_the_ways_out_are_ways_out():
    assert trace(UNet(), (1, 3, 104, 96)).failure is None
    assert trace(Tutorial(), (1, 3, 32, 32)).failure is None
    assert trace(Residual(columns=32), (1, 3, 64, 64)).failure is None


class Merged(nn.Module):
    """A flatten that leaves no batch axis."""

    def __init__(self, flat, columns):
        super().__init__()
        self.conv, self.fc, self.flat = nn.Conv2d(3, 8, 3), nn.Linear(columns, 10), flat

    def forward(self, x):
        return self.fc(self.flat(self.conv(x)))


@pytest.mark.parametrize(
    "flat", [lambda x: x.view(-1), lambda x: x.reshape(1, -1), torch.flatten, nn.Flatten(0)], ids=str
)
def test_a_batch_made_one_row_is_no_reason_for_more_columns(flat):
    failure = trace(Merged(flat, 8 * 30 * 30), (4, 3, 32, 32)).failure
    assert "the 4 images of the batch" in failure.explanation and "8·30·30" in failure.explanation
    assert [way.split(":")[0] for way in failure.remedies] == ["keep the batch axis"]
    anew = trace(Merged(flat, 8192), (4, 3, 32, 32)).failure.remedies[-1]
    assert "`nn.Linear(7200, 10)`" in anew


@pytest.mark.parametrize("size", [(48, 64), (32, 128), (40, 120)])
def test_columns_that_make_a_square_are_those_of_a_square_at_every_size(size):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 15 * 15, 10))
    failure = trace(net, (1, 3, *size)).failure
    assert "columns = 8·15·15, but" in failure.explanation.replace("\u202f", " ")
    assert failure.remedies[0].startswith("resize or crop the images to 32×32 ")
    assert "`nn.AdaptiveAvgPool2d((15, 15))`" in " ".join(failure.remedies)


def test_nothing_is_to_be_taken_out_where_nothing_shrinks_the_image():
    first, second = nn.Conv2d(3, 8, 7), nn.Conv2d(8, 8, 7)
    alone = trace(nn.Sequential(first), (1, 3, 5, 5)).failure
    after = trace(nn.Sequential(first, nn.MaxPool2d(2), second), (1, 3, 14, 14)).failure
    assert [any("take out a pooling" in way for way in one.remedies) for one in (alone, after)] == [False, True]


def test_the_law_of_a_view_is_one_line():
    """Symbolic shapes branch many times in a view; what it asks is one thing."""
    asked = [one for one in law(Tutorial(), (1, 3, "H", "W"), within=64).requirements if one.step.kind == "view"]
    assert [str(one) for one in asked] == ["view (view): ((16·⌊H/4⌋ − 48)·(⌊W/4⌋ − 3)) mod 400 = 0"]


def test_where_no_size_helps_the_law_asks_for_none():
    found = law(Residual(), (1, 3, "H", "W"), within=32)
    assert not found.accepted.any()
    assert found.requirements == ()


def test_the_tutorials_network_is_cast_although_its_flatten_is_a_view():
    net = Tutorial().eval()
    dense, image = convolutionalize(net, (1, 3, 32, 32)), torch.rand(1, 3, 40, 48)
    with torch.no_grad():
        cell, alone = dense(image)[..., 1, 3], net(image[..., 4:36, 12:44])
    assert trace(dense, (1, 3, 40, 48)).output_shape == (1, 10, 3, 5)
    assert torch.allclose(cell, alone, atol=1e-5)

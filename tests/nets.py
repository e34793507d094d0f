"""Small networks that tests share: each is a way in which real models are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TutorialLeNet(nn.Module):
    """The style of torch's own tutorial: pooling, relu and flatten are calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Residual(nn.Module):
    """A block whose branches meet in `+`."""

    def __init__(self, channels: int = 8, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, 1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)) + x)


class UNet(nn.Module):
    """Down twice, up twice, with concatenations: sizes must divide by 4."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = (nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 8), (8, 16), (16, 16)))
        self.up2, self.up1 = nn.ConvTranspose2d(16, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.merge2, self.merge1 = nn.Conv2d(32, 16, 3, padding=1), nn.Conv2d(16, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(F.max_pool2d(a, 2)))
        c = self.bottom(F.max_pool2d(b, 2))
        b = self.merge2(torch.cat([self.up2(c), b], dim=1))
        return self.merge1(torch.cat([self.up1(b), a], dim=1))


class Functional(nn.Module):
    """No layer at all: parameters and calls."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = nn.ParameterList([torch.ones(4, 3, 3, 3), torch.ones(4, 2, 3, 3)])
        self.up, self.bias = nn.Parameter(torch.ones(4, 2, 4, 4)), nn.Parameter(torch.zeros(2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernels[0], stride=2, padding=1)
        x = F.conv2d(x, self.kernels[1], groups=2, dilation=2, padding="same")
        x = F.avg_pool2d(x, 2, ceil_mode=True)
        x = F.conv_transpose2d(x, self.up, stride=2, padding=1) + self.bias
        return F.interpolate(x, scale_factor=2)[:, :, 1:-1, 1:]


class Gallery(nn.Module):
    """One of nearly every call that changes a shape."""

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor], None]:
        y = torch.cat((x, x * 2), 1).permute(0, 2, 3, 1).contiguous()
        y = y.view(y.size(0), -1, 6).transpose(1, 2).reshape(x.shape[0], 6, x.shape[2], -1)
        z = F.pad(F.adaptive_avg_pool2d(y, (4, 5)), (1, 2, 0, 1), mode="replicate")
        w = F.unfold(z, 3, padding=1).mean(1, keepdim=True)
        a, b = y.chunk(2, dim=1)
        return torch.stack([a, b]), {"pool": z, "unfold": w}, None


class Branching(nn.Module):
    """A forward that decides by the size, and swallows an error of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Linear(12, 2), nn.Conv2d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        try:
            return self.small(x.flatten(1))
        except RuntimeError:
            return self.large(x)


def smooth(channels: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))


class Call(nn.Module):
    """A forward that is one function of its inputs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.function(*inputs, **named)


class Sum(nn.Module):
    """Two branches that meet in `+`."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + self.other(x)


class BySize(nn.Module):
    """One head for wide images, another one for narrow ones."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 14, 2)), nn.Conv2d(3, 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(x) if x.shape[-1] > 10 else self.narrow(x)


class Strict(nn.Module):
    """Refuses sizes by itself, before torch would."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % 4 or x.shape[-2] < 6:
            raise ValueError(f"a width that 4 divides and 6 rows are wanted, not {tuple(x.shape[-2:])}")
        return self.conv(x)


class TwoLines(nn.Module):
    """The same layer fails in one line or in another."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if x.shape[1] % 2:
            return self.linear(x)
        return self.linear(x)


class SmallFcn(nn.Module):
    """FCN-32s with few channels: pad 100, five pools, a 7×7 convolution, 64/32 upsampling, crop at 19."""

    def __init__(self, ceil: bool) -> None:
        super().__init__()
        blocks = [
            (nn.Conv2d(3 if i == 0 else 2, 2, 3, padding=1 if i else 100), nn.MaxPool2d(2, 2, ceil_mode=ceil))
            for i in range(5)
        ]
        self.features = nn.Sequential(*(layer for block in blocks for layer in block))
        self.fc6, self.upscore = nn.Conv2d(2, 2, 7), nn.ConvTranspose2d(2, 2, 64, 32)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.upscore(self.fc6(self.features(x)))
        return scores[..., 19 : 19 + x.shape[2], 19 : 19 + x.shape[3]]


class OverWidth(nn.Module):
    """A recurrent layer that reads a map column by column."""

    def __init__(self, height: int) -> None:
        super().__init__()
        self.conv, self.lstm = nn.Conv2d(3, 4, 3), nn.LSTM(4 * height, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(self.conv(x).flatten(1, 2).transpose(1, 2))[0]

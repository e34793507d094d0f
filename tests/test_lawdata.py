"""A law as JSON says what the law says, and is small."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch.nn.functional as F
from nets import Call, Functional, Gallery, TutorialLeNet, UNet
from torch import nn

from fcnviz import models
from fcnviz.errors import LawError
from fcnviz.law import law
from fcnviz.lawdata import LawData, to_json

NETS: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    "vgg16": (lambda: models.vgg16(), (1, 3, "H", "W"), 600),
    "vgg16 conv": (lambda: models.vgg16("conv"), (1, 3, "H", "W"), 600),
    "lenet": (TutorialLeNet, (1, 1, "H", "W"), 80),
    "unet": (UNet, (1, 3, "H", "W"), 64),
    "functional": (Functional, (1, 3, "H", "W"), 64),
    "gallery": (Gallery, ("N", 3, "H", 10), 24),
    "global": (lambda: Call(lambda x: F.avg_pool2d(x, x.shape[2:]).flatten(1)), (1, 3, "H", "W"), 6),
    "lstm": (lambda: nn.LSTM(4, 3, batch_first=True), ("N", 5, 4), 24),
}
every_net = pytest.mark.parametrize(("make", "shape", "within"), NETS.values(), ids=NETS.keys())


@every_net
def test_the_json_form_goes_there_and_back(make: Any, shape: tuple[Any, ...], within: int) -> None:
    found = law(make(), shape, within=within)
    data = LawData(json.loads(json.dumps(to_json(found))))
    draw = random.Random(0)
    for _ in range(300):
        sizes = {name: draw.randint(1, 2 * within) for name in found.names}
        if found.path_at(**sizes) is None:
            continue
        here = found.at(**sizes)
        assert data.accepts(**sizes) == (here.failure is None)
        assert data.steps(**sizes) == here.steps


def test_vgg16s_law_is_small_and_holds_no_code() -> None:
    for head in ("linear", "conv", "adaptive"):
        text = json.dumps(to_json(law(models.vgg16(head), (1, 3, "H", "W"), within=2048)), ensure_ascii=False)
        assert len(text.encode()) <= 60_000
        assert "lambda" not in text and "//" in text


def test_another_version_is_refused() -> None:
    with pytest.raises(LawError, match="written in version 7; version 1 is read here"):
        LawData({"version": 7})

"""Classifiers that others wrote, cast: pytorchcv 0.0.74, installed without its dependencies (they bring torchvision).

    pip install --no-deps pytorchcv==0.0.74

The weights are random; nothing is downloaded.
"""

from __future__ import annotations

import math
import warnings
from importlib import import_module

import pytest
import torch
from torch import Tensor, nn

from fcnviz import law, trace
from fcnviz.errors import SeesMoreThanItsWindow, SurgeryError
from fcnviz.surgery import convolutionalize

pytest.importorskip("pytorchcv", reason="pytorchcv is not installed: pip install --no-deps pytorchcv==0.0.74")

# Of each family a small member, and the size it was made for.
ZOO = {
    "alexnet.alexnet": 224,
    "bagnet.bagnet9": 224,
    "darknet.darknet_tiny": 224,
    "densenet_cifar.densenet40_k12_cifar10": 32,
    "diaresnet_cifar.diaresnet20_cifar10": 32,
    "dpn.dpn68": 224,
    "efficientnet.efficientnet_b0": 224,
    "ghostnet.ghostnet": 224,
    "inceptionv3.inceptionv3": 299,
    "menet.menet108_8x1_g3": 224,
    "mobilenetv3.mobilenetv3_small_w7d20": 224,
    "mobilenetv2.mobilenetv2_wd4": 224,
    "nin_cifar.nin_cifar10": 32,
    "preresnet.preresnet10": 224,
    "resnet.resnet10": 224,
    "resnext_cifar.resnext20_16x4d_cifar10": 32,
    "senet.senet16": 224,
    "seresnet.seresnet10": 224,
    "shufflenet.shufflenet_g3_wd4": 224,
    "shufflenetv2.shufflenetv2_wd2": 224,
    "squeezenet.squeezenet_v1_1": 224,
    **dict.fromkeys((f"vgg.bn_vgg{n}b" for n in (11, 13, 16)), 224),
    **dict.fromkeys((f"vgg.vgg{n}" for n in (11, 13, 16)), 224),
    "vovnet.vovnet27s": 224,
    "zfnet.zfnet": 224,
}
# What their gates pool, squeeze and multiply with the map looks at the whole of it.
GATED = {
    "diaresnet_cifar.diaresnet20_cifar10",
    "efficientnet.efficientnet_b0",
    "ghostnet.ghostnet",
    "mobilenetv3.mobilenetv3_small_w7d20",
    "senet.senet16",
    "seresnet.seresnet10",
}
# Run with numbers too: those of some fifty million weights and less.
WITH_NUMBERS = [
    "alexnet.alexnet",
    "darknet.darknet_tiny",
    "densenet_cifar.densenet40_k12_cifar10",
    "diaresnet_cifar.diaresnet20_cifar10",
    "menet.menet108_8x1_g3",
    "mobilenetv2.mobilenetv2_wd4",
    "mobilenetv3.mobilenetv3_small_w7d20",
    "nin_cifar.nin_cifar10",
    "preresnet.preresnet10",
    "resnet.resnet10",
    "seresnet.seresnet10",
    "shufflenet.shufflenet_g3_wd4",
    "shufflenetv2.shufflenetv2_wd2",
    "squeezenet.squeezenet_v1_1",
]
WITH_LAW = [
    *("alexnet.alexnet", "darknet.darknet_tiny", "nin_cifar.nin_cifar10", "preresnet.preresnet10", "resnet.resnet10"),
    *("seresnet.seresnet10", "squeezenet.squeezenet_v1_1", "vgg.bn_vgg16b", "vgg.vgg11", "zfnet.zfnet"),
]


UNIT = torch.finfo(torch.float64).eps / 2


def built(name: str) -> nn.Module:
    """A model of the zoo on meta."""
    module, function = name.split(".")
    with torch.device("meta"):
        return getattr(import_module(f"pytorchcv.models.{module}"), function)().eval()


@torch.no_grad()
def filled(model: nn.Module) -> nn.Module:
    """The model with random weights and statistics in float64, so that maps neither fade nor grow much."""
    torch.manual_seed(0)
    model = model.double().to_empty(device="cpu")
    for parameter in model.parameters():
        bound = math.sqrt(6 / parameter[0].numel()) if parameter.dim() > 1 else 0.1
        parameter.uniform_(-bound, bound)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


def answer(model: nn.Module, *size: int) -> tuple[int, ...]:
    shape = trace(model, (1, 3, *size)).output_shape
    assert isinstance(shape, tuple)
    return shape


@pytest.mark.parametrize("name", ZOO)
def test_a_classifier_of_the_zoo_becomes_dense(name: str) -> None:
    model, size = built(name), ZOO[name]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        dense = convolutionalize(model, (1, 3, size, size))
    assert [one.category for one in told] == [SeesMoreThanItsWindow] * (name in GATED)
    assert list(dense.state_dict()) == list(model.state_dict())
    assert answer(dense, size, size) == (*answer(model, size, size), 1, 1)
    classes, height, width = answer(dense, 2 * size, 3 * size)[1:]
    assert classes == answer(model, size, size)[1] and 1 < height < width


@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_at_its_own_size_it_answers_as_the_classifier(name: str) -> None:
    model, size = filled(built(name)), ZOO[name]
    dense = convolutionalize(model, (1, 3, size, size))
    weights = dict(model.named_parameters())
    assert all(p.data_ptr() == weights[key].data_ptr() for key, p in dense.named_parameters())
    x = torch.randn(1, 3, size, size, dtype=torch.float64)
    cast = [path for path, module in model.named_modules() if isinstance(module, nn.Linear) and path in weighed(dense)]
    assert all(isinstance(dense.get_submodule(path), nn.Conv2d) for path in cast)
    (wanted, rows), (found, maps) = run_noted(model, cast, x), run_noted(dense, cast, x)
    assert found.shape == (*wanted.shape, 1, 1) and wanted.std() > 0 and list(rows) == list(maps)
    apart = torch.zeros(())  # until the first cast layer both run the same layers on the same numbers
    for path in rows:
        assert ((maps[path] - rows[path]).abs() <= apart).all(), path
        apart = apart_after(model.get_submodule(path), rows[path], apart)
    assert ((found.flatten(1) - wanted).abs() <= apart).all()


def weighed(dense: nn.Module) -> set[str]:
    """Paths of the layers of a dense net that no longer are Linears."""
    return {path for path, module in dense.named_modules() if not isinstance(module, nn.Linear)}


@torch.no_grad()
def run_noted(net: nn.Module, paths: list[str], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The answer, and what these layers were given, flattened; in the order in which they ran."""
    given: dict[str, Tensor] = {}
    hooks = [
        net.get_submodule(path).register_forward_pre_hook(
            lambda _, args, at=path: given.update({at: args[0].flatten(1)})
        )
        for path in paths
    ]
    answer = net(x)
    for hook in hooks:
        hook.remove()
    return answer, given


@torch.no_grad()
def apart_after(linear: nn.Module, row: Tensor, apart: Tensor) -> Tensor:
    """How far two ways to compute a Linear may lie apart, output by output, whose inputs lie so far apart.

    Each way is within γₙ·(Σ|w||x| + |b|) of its own exact sum, and |x| of the other way is at most |x| + apart. ReLU
    and its like, which may follow, bring no two numbers farther apart.
    """
    weight, n = linear.weight.abs(), linear.in_features + 1
    gamma = n * UNIT / (1 - n * UNIT)
    sums = row.abs() @ weight.T + linear.bias.abs()
    further = apart.expand_as(row).to(row) @ weight.T
    return further + gamma * (2 * sums + further)


@pytest.mark.parametrize("name", WITH_LAW)
def test_at_larger_sizes_its_map_has_the_size_of_its_law(name: str) -> None:
    size = ZOO[name]
    dense = convolutionalize(built(name), (1, 3, size, size))
    found = law(dense, (1, 3, "H", "W"), within=2 * size)
    for h, w in ((size, size), (size + 33, 2 * size - 1), (2 * size, size)):
        real = dense(torch.empty(1, 3, h, w, device="meta"))
        assert tuple(real.shape) == found.at(H=h, W=w).output_shape
    assert not found.accepts(H=size // 2, W=size)


def test_a_classifier_that_picks_features_by_number_is_refused_by_name() -> None:
    with pytest.raises(SurgeryError, match=r"CondenseNet cannot be cast: output.index_select: what comes"):
        convolutionalize(built("condensenet.condensenet74_c4_g4"), (1, 3, 224, 224))

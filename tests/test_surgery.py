"""A classifier becomes a network that answers at every place."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from nets import UNet
from torch import Tensor, nn

from fcnviz import law, models, trace
from fcnviz.conv import conv2d
from fcnviz.errors import AlreadyConvolutional, FcnvizError, InputError, SurgeryError
from fcnviz.surgery import convolutionalize


def gamma(terms: int, dtype: torch.dtype) -> float:
    """How far a sum of so many terms, in any order, can be from the exact one, relative to the sum of their sizes."""
    unit = torch.finfo(dtype).eps / 2
    return terms * unit / (1 - terms * unit)


def vgg_like(norm: bool = False, head: str = "flatten", last: nn.Module | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 8), (8, 16)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    pool = {"flatten": [], "adaptive": [nn.AdaptiveAvgPool2d((4, 4))], "max": [nn.AdaptiveMaxPool2d((4, 2))]}[head]
    columns = 16 * 4 * (2 if head == "max" else 4)
    dense = [nn.Linear(columns, 24), *([nn.BatchNorm1d(24)] if norm else []), nn.ReLU(inplace=True), nn.Dropout()]
    return nn.Sequential(
        nn.Sequential(*layers), *pool, nn.Flatten(), nn.Sequential(*dense, nn.Linear(24, 10)), *([last] if last else [])
    )


class Block(nn.Module):
    """A residual block with a gate, as in squeeze-and-excitation, made of Linears."""

    def __init__(self, inputs: int, outputs: int, stride: int, gate: bool) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.gate = (
            nn.Sequential(nn.Linear(outputs, 4), nn.ReLU(), nn.Linear(4, outputs), nn.Sigmoid()) if gate else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        if self.gate is not None:
            y = y * self.gate(self.squeeze(y).view(y.size(0), -1)).view(y.size(0), -1, 1, 1)
        return F.relu(y + self.shortcut(x))


class ResNetLike(nn.Module):
    def __init__(self, gate: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.layer1 = nn.Sequential(Block(8, 8, 1, gate), Block(8, 12, 2, gate))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(12, 10)

    def forward(self, x: Tensor, features: bool = False) -> Tensor:
        x = self.layer1(self.stem(x))
        if features:
            return x
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Ending(nn.Module):
    """A convolution, and a forward that ends in one of the many ways."""

    def __init__(self, end: Any, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.fc, self.norm, self.end = nn.Linear(channels, 10), nn.BatchNorm1d(channels), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self, F.relu(self.conv(x)))


class Parameters(nn.Module):
    """No layers: weights and calls."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.bias = nn.Parameter(torch.randn(8, 3, 3, 3) / 5), nn.Parameter(torch.randn(10))
        self.first, self.second = nn.Parameter(torch.randn(24, 8 * 49) / 20), nn.Parameter(torch.randn(10, 24) / 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.conv2d(x, self.kernel).relu(), 2).reshape(x.shape[0], -1)
        x = F.dropout(F.relu(F.linear(x, self.first)), training=self.training)
        return F.log_softmax(F.linear(input=x, weight=self.second, bias=self.bias), dim=-1)


class OwnFlatten(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, 8 * 8 * 8)


def squeezenet_like() -> nn.Sequential:
    body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(8, 6, 3))
    classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(6, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)))
    return nn.Sequential(body, classifier, nn.Flatten())


def mobilenet_like() -> Ending:
    return Ending(lambda net, x: net.fc(F.dropout(x.mean([2, 3]), 0.5, net.training)))


def added_in_place(net: Any, x: Tensor) -> Tensor:
    y = net.conv.weight.mean() * x
    y += x
    y *= 2
    return net.fc(torch.flatten(y, 1))


def counted(net: Any, x: Tensor) -> Tensor:
    columns = 1
    for size in x.size()[1:]:
        columns *= size
    return net.fc(x.view(-1, columns))


def unpacked(net: Any, x: Tensor) -> Tensor:
    images, *_ = x.shape
    return net.fc(x.reshape(images, -1))


def asserted(net: Any, x: Tensor) -> Tensor:
    assert x.shape[-1] == 8 and len(x.shape) == 4
    if x.shape[2] > 4:
        x = x * 2
    return net.fc(x.flatten(1))


SIZE = (1, 3, 16, 16)
CAST: dict[str, Any] = {
    "vgg": vgg_like,
    "vgg with norm": lambda: vgg_like(norm=True),
    "vgg adaptive": lambda: vgg_like(head="adaptive"),
    "vgg, softmax": lambda: vgg_like(last=nn.Softmax(dim=-1)),
    "vgg, log-softmax": lambda: vgg_like(last=nn.LogSoftmax(1)),
    "pooled in blocks": lambda: vgg_like(head="max"),
    "resnet": ResNetLike,
    "resnet with gates": lambda: ResNetLike(gate=True),
    "mobilenet": mobilenet_like,
    "squeezenet": squeezenet_like,
    "parameters": Parameters,
    "flatten of its own": lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), OwnFlatten(), nn.Linear(512, 10)),
    "no convolution": lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 20), nn.Tanh(), nn.Linear(20, 10)),
    "pool as large as the map": lambda: Ending(lambda n, x: n.fc(F.avg_pool2d(x, x.size()[2:]).view(x.size(0), -1))),
    "pool, squeeze": lambda: Ending(lambda n, x: n.fc(F.adaptive_max_pool2d(x, 1).squeeze())),
    "fixed pool": lambda: Ending(lambda n, x: n.fc(torch.flatten(F.avg_pool2d(x, 8), 1))),
    "mean of means": lambda: Ending(lambda n, x: n.fc(x.mean(3).mean(2))),
    "mean of cells": lambda: Ending(lambda n, x: n.fc(x.view(x.shape[0], x.shape[1], -1).mean(-1))),
    "mean, kept": lambda: Ending(lambda n, x: n.fc(x.mean((-2, -1), keepdim=True)[:, :, 0, 0])),
    "amax": lambda: Ending(lambda n, x: n.fc(torch.amax(x, (2, 3)))),
    "norm": lambda: Ending(lambda n, x: n.fc(n.norm(x.mean((2, 3))))),
    "two pools": lambda: Ending(lambda n, x: n.fc(torch.cat([x.mean((2, 3)), x.amax((2, 3))], -1)), 16),
    "two heads, added": lambda: Ending(lambda n, x: n.fc(x.mean((2, 3))) + n.fc(x.amax((2, 3)))),
    "probabilities": lambda: Ending(lambda n, x: F.softmax(n.fc(x.mean((2, 3))), -1)),
    "in place": lambda: Ending(lambda n, x: n.fc(torch.flatten(F.relu_(x.mul_(2)), 1)), 8 * 64),
    "added in place": lambda: Ending(added_in_place, 8 * 64),
    "counted": lambda: Ending(counted, 8 * 64),
    "unpacked": lambda: Ending(unpacked, 8 * 64),
    "asserted": lambda: Ending(asserted, 8 * 64),
    "measured": lambda: Ending(lambda n, x: n.fc(x.view(len(x), -1)), 8 * 64),
    "narrow": lambda: Ending(lambda n, x: n.fc(x.view(x.size(0), -1)[:, :]), 8 * 64),
}
every_cast = pytest.mark.parametrize("make", CAST.values(), ids=CAST.keys())


def filled(make: Any) -> nn.Module:
    torch.manual_seed(0)
    model = make().eval().double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


@every_cast
def test_at_its_own_size_the_dense_net_answers_as_the_classifier(make: Any) -> None:
    model = filled(make)
    dense = convolutionalize(model, SIZE)
    x = torch.randn(3, *SIZE[1:], dtype=torch.float64)
    wanted = model(x)
    found = dense(x)
    assert found.shape == (*wanted.shape, 1, 1)
    # Sums of at most 768 terms, two or three in a row; weights and maps are of size 1.
    assert (found[:, :, 0, 0] - wanted).abs().max() <= 2 * gamma(4 * 768, torch.float64) * wanted.abs().max()


@pytest.mark.parametrize("name", ["vgg", "pooled in blocks", "resnet with gates", "squeezenet", "parameters"])
def test_the_law_gives_the_size_of_every_map(name: str) -> None:
    dense = convolutionalize(filled(CAST[name]), SIZE)
    found = law(dense, (1, 3, "H", "W"), within=48)
    for h, w in ((16, 16), (32, 24), (37, 48)):
        assert tuple(dense(torch.zeros(1, 3, h, w, dtype=torch.float64)).shape) == found.at(H=h, W=w).output_shape
    assert found.at(H=48, W=48).output_shape[2:] > (1, 1)


@pytest.mark.parametrize("name", ["no convolution", "fixed pool", "amax", "narrow", "two pools", "parameters"])
def test_without_padding_each_cell_is_the_classifier_on_its_window(name: str) -> None:
    model = filled(CAST[name])
    if hasattr(model, "conv"):
        model.conv = nn.Conv2d(3, 8, 2, 2).double()
    dense = convolutionalize(model, SIZE)
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    maps = dense(x)
    step = {"no convolution": 1}.get(name, 2)
    assert maps.shape[2] == 16 // step + 1
    for i, j in ((0, 0), (0, -1), (-1, 0), (maps.shape[2] // 2,) * 2):
        top, left = (n % maps.shape[2] * step for n in (i, j))
        window = x[:, :, top : top + 16, left : left + 16]
        assert torch.allclose(maps[:, :, i, j], model(window), rtol=1e-12, atol=1e-12)


@every_cast
def test_names_and_memory_are_shared_and_the_model_stays(make: Any) -> None:
    model = filled(make)
    before = {name: (type(m), m.training, dict(m.__dict__)) for name, m in model.named_modules()}
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    dense = convolutionalize(model, SIZE)
    assert list(dense.state_dict()) == list(state)
    own = dict(model.named_parameters())
    assert all(p.data_ptr() == own[name].data_ptr() and p is not own[name] for name, p in dense.named_parameters())
    assert {name: (type(m), m.training, dict(m.__dict__)) for name, m in model.named_modules()} == before
    dense.load_state_dict(state)
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["vgg with norm", "resnet with gates", "parameters"])
def test_a_dense_net_can_be_copied_moved_and_halved(name: str) -> None:
    dense = convolutionalize(filled(CAST[name]), SIZE)
    x = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    assert torch.equal(copy.deepcopy(dense)(x), dense(x))
    assert torch.equal(pickle.loads(pickle.dumps(dense))(x), dense(x))
    assert dense.float()(x.float()).shape == dense.bfloat16()(x.bfloat16()).shape
    assert trace(dense, (1, 3, 24, 24)).failure is None


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copied", "pickled"]
)
def test_a_copy_of_a_rewritten_forward_is_as_fast(again: Any) -> None:
    dense = convolutionalize(filled(CAST["parameters"]), SIZE)
    copied = again(dense)
    targets = [[node.target for node in net.graph.nodes if node.op == "call_function"] for net in (dense, copied)]
    assert conv2d in targets[0] and targets[1] == targets[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_classifier_in_half_precision_is_cast_in_it(dtype: torch.dtype) -> None:
    model = filled(CAST["vgg"]).to(dtype)
    dense = convolutionalize(model, SIZE)
    x = torch.rand(1, *SIZE[1:], dtype=dtype)
    assert dense(x).dtype == dtype
    assert torch.allclose(dense(x).flatten(1), model(x), rtol=0, atol=20 * torch.finfo(dtype).eps)


# Where there is no CUDA


def torchs_words() -> str:
    """What torch says where CUDA is asked for and is not there."""
    with pytest.raises((AssertionError, RuntimeError)) as caught:
        torch.zeros(1).cuda()
    return str(caught.value).splitlines()[0]


def synchronised(net: nn.Module, x: Tensor) -> Tensor:
    torch.cuda.synchronize()
    return net.fc(x.mean((2, 3)))


ON_CUDA = {
    "cuda": lambda net, x: net.fc(x.cuda().mean((2, 3))),
    "to": lambda net, x: net.fc(x.to("cuda").mean((2, 3))),
    "zeros": lambda net, x: net.fc(x.mean((2, 3)) + torch.zeros(1, device="cuda")),
    "Ending": synchronised,
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
@pytest.mark.parametrize("step", ON_CUDA)
def test_a_forward_that_wants_cuda_where_there_is_none_is_refused_in_torchs_words(step: str) -> None:
    with pytest.raises(SurgeryError) as caught:
        convolutionalize(filled(lambda: Ending(ON_CUDA[step])), SIZE)
    assert str(caught.value) == f"Ending does not run on {SIZE}: {step}: {torchs_words()}"


@pytest.mark.parametrize(
    "end",
    [
        lambda net, x: net.fc((x.cuda() if torch.cuda.is_available() else x).mean((2, 3))),
        lambda net, x: net.fc((x.half().float() if x.is_cuda else x).mean((2, 3))),
        lambda net, x: net.fc(x.to(x.device).mean((2, 3))),
        lambda net, x: net.fc(x.to(net.fc.weight.device).mean((2, 3))),
    ],
    ids=["if available", "if on it", "its own device", "that of a weight"],
)
def test_a_forward_that_asks_about_cuda_first_is_cast(end: Any) -> None:
    model = filled(lambda: Ending(end))
    dense = convolutionalize(model, SIZE)
    x = torch.rand(SIZE, dtype=torch.float64)
    assert torch.allclose(dense(x).flatten(1), model(x), rtol=0, atol=1e-13)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_a_cast_net_that_cannot_move_to_cuda_says_so_and_stays() -> None:
    dense = convolutionalize(filled(vgg_like), SIZE)
    with pytest.raises((AssertionError, RuntimeError), match=torchs_words()):
        dense.cuda()
    assert {p.device.type for p in dense.parameters()} == {"cpu"}
    assert dense(torch.rand(SIZE, dtype=torch.float64)).shape == (1, 10, 1, 1)


def test_a_forward_put_on_the_module_itself_is_not_rewritten_behind_its_back() -> None:
    model = filled(lambda: Ending(lambda net, x: net.fc(x.mean((2, 3)))))
    usual = model.forward
    model.forward = lambda x: usual(2 * x)  # type: ignore[method-assign]
    with pytest.raises(SurgeryError, match="Ending cannot be cast: its forward, put on the module itself, would have"):
        convolutionalize(model, SIZE)


def test_where_torch_makes_tensors_by_default_is_no_matter() -> None:
    model = filled(CAST["parameters"])
    with torch.device("meta"):
        dense = convolutionalize(model, SIZE)
    assert {p.device.type for p in dense.parameters()} == {"cpu"}
    x = torch.rand(SIZE, dtype=torch.float64)
    assert torch.allclose(dense(x).flatten(1), model(x), rtol=0, atol=1e-13)


def test_training_and_its_flags_go_on() -> None:
    model = filled(mobilenet_like).train()
    dense = convolutionalize(model, SIZE)
    x = torch.randn(1, *SIZE[1:], dtype=torch.float64)
    assert dense.training and not torch.equal(dense(x), dense(x))  # F.dropout follows the flag
    assert torch.equal(dense.eval()(x), dense(x))
    dense(x).sum().backward()
    assert all(p.grad is not None for name, p in dense.named_parameters() if "norm" not in name)
    assert all(p.grad is None for p in model.parameters())


def test_a_forward_that_has_more_to_do_in_training_is_cast_as_it_runs_in_eval_mode() -> None:
    end = lambda net, x: (net.fc(x.mean((2, 3))), x) if net.training else net.fc(x.mean((2, 3)))  # noqa: E731
    dense = convolutionalize(filled(lambda: Ending(end)).train(), SIZE)
    assert dense.training and dense(torch.zeros(2, *SIZE[1:], dtype=torch.float64)).shape == (2, 10, 1, 1)


def test_modules_keep_their_classes_and_only_the_forward_that_flattens_is_rewritten() -> None:
    dense = convolutionalize(filled(ResNetLike), SIZE)
    assert type(dense).__name__ == "ResNetLike" and "class" not in str(dense) and "def forward" not in str(dense)
    assert isinstance(dense.layer1[1], Block) and isinstance(dense.fc, nn.Conv2d)
    plain = convolutionalize(models.vgg16(), (1, 3, 224, 224))
    assert isinstance(plain, models.VGG16) and isinstance(plain.flatten, nn.Identity)


@pytest.mark.parametrize("head", ["linear", "adaptive"])
@pytest.mark.parametrize(("name", "side"), [("vgg16", 7), ("alexnet", 6)])
def test_the_networks_of_the_course_become_their_convolutional_forms(name: str, side: int, head: Any) -> None:
    make = getattr(models, name)
    dense, wanted = convolutionalize(make(head), (1, 3, 224, 224)), make("conv")
    assert {k: v.shape for k, v in dense.state_dict().items()} == {k: v.shape for k, v in wanted.state_dict().items()}
    for size in ((224, 224), (256, 320), (500, 500)):
        assert trace(dense, (1, 3, *size)).output_shape == trace(wanted, (1, 3, *size)).output_shape
    first = next(m for m in dense.classifier if isinstance(m, nn.Conv2d))
    assert first.kernel_size == (side, side)
    dense.load_state_dict(make().state_dict(), assign=True)


def test_alexnet_with_real_weights_answers_the_same() -> None:
    model = models.alexnet(seed=0)
    dense = convolutionalize(model, (1, 3, 224, 224))
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, wanted = dense(x), model(x)
    assert found.shape == (1, 1000, 1, 1)
    # Three sums of 9 216 and 4 096 terms, of which rounding rarely adds up: a hundredth of the bound is wide.
    assert (found.flatten(1) - wanted).abs().max() <= gamma(9216, torch.float32) * wanted.abs().max()
    with torch.no_grad():
        assert dense(torch.zeros(1, 3, 288, 320)).shape == (1, 1000, 3, 4)


def test_lenet_is_cast_from_its_functional_forward() -> None:
    model = models.lenet(seed=0).double()
    dense = convolutionalize(model, (1, 1, 32, 32))
    x = torch.randn(4, 1, 32, 32, dtype=torch.float64)
    assert torch.allclose(dense(x).flatten(1), model(x), rtol=0, atol=1e-13)
    assert dense.fc1.kernel_size == (5, 5) and dense(x[..., :, :].repeat(1, 1, 2, 2)).shape == (4, 10, 9, 9)


def test_pooling_in_blocks_becomes_pooling_with_stride_1_and_a_kernel_with_gaps() -> None:
    dense = convolutionalize(models.vgg16("adaptive"), (1, 3, 448, 448))
    assert repr(dense.avgpool) == "AvgPool2d(kernel_size=(2, 2), stride=1, padding=0)"
    assert (dense.classifier[0].kernel_size, dense.classifier[0].dilation) == ((7, 7), (2, 2))
    assert trace(dense, (1, 3, 480, 480)).output_shape == (1, 1000, 2, 2)


def test_a_layer_that_only_renames_one_of_torchs_is_cast_like_it() -> None:
    own = {base: type(f"My{base.__name__}", (base,), {}) for base in (nn.ReLU, nn.Flatten, nn.Linear, nn.Dropout)}
    norm = type("MyNorm", (nn.BatchNorm1d,), {})(24)
    head = [own[nn.Flatten](), own[nn.Linear](512, 24), norm, own[nn.ReLU](), own[nn.Dropout](), nn.Linear(24, 10)]
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), *head).eval()
    dense = convolutionalize(model, SIZE)
    x = torch.randn(2, *SIZE[1:])
    assert within_rounding(dense(x), model(x))
    assert isinstance(dense[3], nn.BatchNorm2d)


def within_rounding(found: Tensor, wanted: Tensor) -> bool:
    """Up to three sums of at most 768 terms, on maps of about size 1."""
    scale = 2 * gamma(4 * 768, wanted.dtype) * max(1.0, wanted.abs().max().item())
    return bool((found[:, :, 0, 0] - wanted).abs().max() <= scale)


def test_layers_that_shared_a_weight_share_one_again() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 12), nn.Linear(12, 12), nn.Linear(12, 12))
    model[3].weight = model[2].weight
    dense = convolutionalize(model, SIZE)
    assert dense[3].weight is dense[2].weight and dense[3].bias is not dense[2].bias
    assert len(list(dense.parameters())) == len(list(model.parameters()))


def test_hooks_and_attributes_of_a_rewritten_module_stay() -> None:
    model = filled(lambda: Ending(lambda n, x: n.fc((x - n.mean_of_all).mean((2, 3)))))
    model.mean_of_all = torch.tensor(0.5, dtype=torch.float64)
    model.register_forward_hook(lambda module, args, out: out * 3)
    x = torch.randn(2, *SIZE[1:], dtype=torch.float64)
    dense = convolutionalize(model, SIZE)
    assert isinstance(dense, torch.fx.GraphModule) and within_rounding(dense(x), model(x))


@pytest.mark.parametrize(
    "hook",
    [
        lambda layer: layer.register_forward_hook(lambda module, args, out: out * 3),
        lambda layer: layer.register_forward_pre_hook(lambda module, args: (args[0] * 3,)),
        lambda layer: layer.register_full_backward_hook(lambda module, grads, out: None),
    ],
)
@pytest.mark.parametrize("at", [0, 1])
def test_hooks_on_a_layer_that_would_go_are_refused(hook: Any, at: int) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 10))
    hook(model[at])
    with pytest.raises(SurgeryError, match=f"Sequential cannot be cast: {'[01]' if at == 0 else 1} has hooks"):
        convolutionalize(model, SIZE)


def test_a_forward_put_on_a_layer_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 10))
    model[1].forward = lambda x: F.linear(x, model[1].weight) * 2  # type: ignore[method-assign]
    with pytest.raises(SurgeryError, match="1 has a forward of its own"):
        convolutionalize(model, SIZE)


def test_networks_are_cast_in_several_threads_at_once() -> None:
    makes = [mobilenet_like, ResNetLike, CAST["counted"], Parameters] * 2
    nets = [filled(make) for make in makes]
    with ThreadPoolExecutor(4) as pool:
        dense = list(pool.map(lambda net: convolutionalize(net, SIZE), nets))
    x = torch.randn(2, *SIZE[1:], dtype=torch.float64)
    assert all(within_rounding(made(x), net(x)) for made, net in zip(dense, nets, strict=True))


def test_any_batch_is_taken_whatever_the_forward_counts() -> None:
    dense = convolutionalize(filled(CAST["measured"]), SIZE)
    assert dense(torch.zeros(5, 3, 20, 16, dtype=torch.float64)).shape == (5, 10, 3, 1)


def test_parameters_that_the_forward_does_not_use_keep_their_names() -> None:
    model = filled(lambda: Ending(lambda n, x: n.fc(x.mean((2, 3)))))
    assert "norm.weight" in convolutionalize(model, SIZE).state_dict()


# What is there already, and what cannot be.


@pytest.mark.parametrize("make", [models.two_convolutions, lambda: models.vgg16("conv"), UNet])
def test_a_fully_convolutional_model_comes_back_as_it_is_and_says_so(make: Any) -> None:
    model = make()
    with pytest.warns(AlreadyConvolutional, match="fully convolutional already, and is returned as it is"):
        assert convolutionalize(model, (1, 3, 224, 224)) is model


def test_a_dense_net_is_not_cast_again() -> None:
    dense = convolutionalize(models.vgg16(), (1, 3, 224, 224))
    with pytest.warns(AlreadyConvolutional):
        assert convolutionalize(dense, (1, 3, 224, 224)) is dense


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.attention = nn.Conv2d(3, 8, 4, 4), nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.fc((tokens + self.attention(tokens, tokens, tokens)[0]).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lstm, self.fc = nn.Conv2d(3, 8, 3), nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.lstm(self.conv(x).mean(2).transpose(1, 2))[0][:, -1])


class Joined(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 3, stride, 1)
        self.fc = nn.Linear(4 * 64 + 4 * (16 // stride) ** 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.cat([self.a(x).flatten(1), self.b(x).flatten(1)], 1))


def ending(end: Any, channels: int = 8) -> Any:
    return lambda: Ending(end, channels)


def off(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x * 2


REFUSED: dict[str, Any] = {
    "attention": (Attention, r"attention \(MultiheadAttention\): every place of the image takes part in every answer"),
    "lstm": (Recurrent, r"lstm \(LSTM\): every place"),
    "joined, two sizes": (lambda: Joined(4), r"cat: it joins maps of different sizes"),
    "joined, one size": (
        lambda: Joined(2),
        r"cat: it joins flattened maps; maps of one size can be joined bef",
    ),
    "uneven": (
        ending(lambda n, x: n.fc(F.adaptive_avg_pool2d(x, 3).flatten(1)), 72),
        "8 → 3 cells takes uneven windows",
    ),
    "repeated cells": (
        ending(lambda n, x: n.fc(F.adaptive_avg_pool2d(x, 16).flatten(1)), 2048),
        "8 → 16 cells takes un",
    ),
    "norm of cells": (
        ending(lambda n, x: n.fc(n.norm(x.flatten(1))), 512),
        r"norm \(BatchNorm1d\): it treats the 8·8·8",
    ),
    "softmax of cells": (
        ending(lambda n, x: n.fc(x.flatten(1).softmax(1)), 512),
        r"softmax: it treats the",
    ),
    "other order": (ending(lambda n, x: n.fc(x.flatten(2).mT.flatten(1)), 512), "another order since mT"),
    "sum": (ending(lambda n, x: n.fc(x.sum((2, 3)))), "no pooling does what sum does"),
    "over channels": (ending(lambda n, x: n.fc(x.mean((1, 2)))), r"mean: it takes other axes"),
    "per row": (
        ending(lambda n, x: n.fc(x.flatten(2)).mean(1), 64),
        r"fc \(Linear\): it takes rows of 64 numbers, not",
    ),
    "part of it": (ending(lambda n, x: n.fc(x.flatten(1)[:, :100]), 100), "it takes only some of the numbers"),
    "in reverse": (ending(lambda n, x: n.fc(x.flatten(1)[:, list(range(511, -1, -1))]), 512), "or in another order"),
    "batch": (ending(lambda n, x: n.fc(x.reshape(-1, 64)), 64), "it mixes the images of a batch"),
    "weighted": (ending(lambda n, x: n.fc(x.mean((2, 3)) * n.norm.weight)), r"mul: fcnviz knows no step"),
    "no linear": (ending(lambda n, x: x.flatten(1)), "returns a whole map in one row: there is no Linear"),
    "layer norm": (
        ending(lambda n, x: n.fc(F.layer_norm(x.mean((2, 3)), (8,)))),
        "layer_norm: it|fcnviz knows no step",
    ),
    "two roles": (
        ending(lambda n, x: n.fc(x.mean((2, 3))) + n.fc(x[:, :, 0].mean(2))),
        "getitem",
    ),
    "channels last": (
        ending(lambda n, x: n.fc(x.permute(0, 2, 3, 1).flatten(1)), 512),
        "flatten: its map is N, H, W, C since permute; a kernel wants N, C, H, W",
    ),
    "channels last, mean": (ending(lambda n, x: n.fc(x.movedim(1, 3).mean((1, 2)))), "mean: its map is N, H, W, C"),
    "rows for columns": (ending(lambda n, x: n.fc(x.mT.flatten(1)), 512), "flatten: its map is N, C, W, H since mT"),
    "numbers decide": (
        ending(lambda n, x: n.fc(x.mean((2, 3))) if x.sum() > 0 else x),
        r"Ending cannot run on shapes alone: bool \(test_surgery.py, line \d+, in <lambda>.* needs numbers",
    ),
    "looked up": (
        ending(lambda n, x: n.fc({8: x}[x.shape[2]].flatten(1)), 512),
        r"it asks a map for its numbers.*: x.flatten\(1\) \(test_surgery.py, line \d+, in <lambda>",
    ),
    "gradients off": (ending(lambda n, x: n.fc(off(x).mean((2, 3)))), "turns gradients off or autocast on inside"),
    "padded after pooling": (
        ending(lambda n, x: n.fc(F.pad(F.adaptive_avg_pool2d(x, 1), (1, 1, 1, 1)).mean((2, 3)))),
        "pad: it works around the one cell that pooling left",
    ),
    "convolution after blocks": (
        ending(lambda n, x: n.fc(F.max_pool2d(F.adaptive_avg_pool2d(x, 4), 2).flatten(1)), 32),
        "max_pool2d: the cells it works on lie 2×2 apart in the dense net",
    ),
    "back to a map": (
        ending(lambda n, x: n.fc(x.flatten(1)).view(-1, 10, 1, 1).expand(-1, 10, 4, 4), 512),
        "takes no larger",
    ),
}


@pytest.mark.parametrize(("make", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_cast_is_named_with_the_reason(make: Any, sentence: str) -> None:
    with pytest.raises(SurgeryError, match=sentence) as caught:
        convolutionalize(make(), SIZE)
    assert "cannot be cast: " in str(caught.value)


def test_a_size_that_the_model_refuses_is_refused_in_torchs_words() -> None:
    with pytest.raises(
        SurgeryError, match=r"VGG16 does not run on \(1, 3, 256, 256\): classifier.0 \(Linear\): mat1 and"
    ):
        convolutionalize(models.vgg16(), (1, 3, 256, 256))


@pytest.mark.parametrize("shape", [(), (3, 224, 224), (1, 3, 224), 224, "224"])
def test_what_is_no_shape_of_images_is_refused(shape: Any) -> None:
    with pytest.raises(InputError, match="needs the shape .N, C, H, W. that the model was made for, and was given"):
        convolutionalize(models.vgg16(), shape)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(InputError, match="convolutionalize needs a network, and VGG16 is a class"):
        convolutionalize(models.VGG16, SIZE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="convolutionalize needs a torch.nn.Module first, and was given function"):
        convolutionalize(lambda x: x, SIZE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"was given a tensor: its shape is \(1, 3, 16, 16\)"):
        convolutionalize(vgg_like(), torch.zeros(SIZE))  # type: ignore[arg-type]
    with pytest.raises(FcnvizError):
        convolutionalize(torch.jit.script(nn.Linear(3, 3)), SIZE)


def test_a_linear_smaller_than_the_map_is_explained() -> None:
    with pytest.raises(SurgeryError, match="Linear 1 has 100 columns.* the flattened map is 3·16·16"):
        convolutionalize(nn.Sequential(nn.Flatten(), nn.Linear(100, 10)), SIZE)


def test_weights_that_are_computed_are_refused_by_name() -> None:
    model = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(768, 10)))
    with pytest.raises(SurgeryError, match="1.linear: its weight is computed from others"):
        convolutionalize(model, SIZE)

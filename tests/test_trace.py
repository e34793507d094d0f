"""What `trace` claims: no holes, the real network's verdict, and a model that stays as it was."""

from __future__ import annotations

import copy
import gc
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchinfo
from nets import Branching, Functional, Gallery, Residual, TutorialLeNet, UNet, smooth
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fcnviz import FcnvizError, Shape, Step, Trace, models, trace
from fcnviz.errors import InputError, RealTensorNeeded
from fcnviz.nested import leaves
from fcnviz.records import Source

PACKAGE = {
    "vgg16": (lambda: models.vgg16(), (1, 3, 224, 224)),
    "vgg16 conv": (lambda: models.vgg16("conv"), (1, 3, 256, 320)),
    "vgg16 adaptive": (lambda: models.vgg16("adaptive"), (2, 3, 100, 75)),
    "alexnet": (lambda: models.alexnet(), (1, 3, 224, 224)),
    "alexnet conv": (lambda: models.alexnet("conv"), (1, 3, 500, 500)),
    "two convolutions": (lambda: models.two_convolutions(), (1, 3, 40, 60)),
    "lenet": (lambda: models.lenet(), (1, 1, 32, 32)),
    "caffe alexnet": (lambda: models.caffe_alexnet(), (1, 3, 451, 300)),
    "fcn-32s": (lambda: models.fcn32s(), (1, 3, 100, 75)),
    "fcn-16s": (lambda: models.fcn16s(), (2, 3, 50, 75)),
    "fcn-8s": (lambda: models.fcn8s(), (1, 3, 500, 375)),
    "fcn-alexnet": (lambda: models.fcn_alexnet(), (1, 3, 63, 500)),
}
FOREIGN = {
    "tutorial lenet": (TutorialLeNet, (1, 1, 32, 32)),
    "residual": (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), Residual(), Residual()), (2, 3, 16, 16)),
    "unet": (UNet, (1, 3, 32, 48)),
    "functional": (Functional, (1, 3, 33, 47)),
    "gallery": (Gallery, (2, 3, 8, 10)),
    "branching": (Branching, (1, 3, 9, 9)),
}
ALL = {**PACKAGE, **FOREIGN}
every_model = pytest.mark.parametrize(("make", "shape"), ALL.values(), ids=ALL.keys())


def output_shapes(step: Step) -> list[Shape]:
    return list(leaves(step.output_shape, Shape))


def run_on_meta(make: Any, shape: tuple[int, ...]) -> Any:
    return make().to("meta").eval()(torch.empty(shape, device="meta"))


# No holes.


@every_model
def test_each_step_starts_where_an_earlier_one_ended(make: Any, shape: tuple[int, ...]) -> None:
    found = trace(make(), shape)
    assert found.failure is None and len(found) > 1
    for step in found:
        assert step.sources, f"{step.name} starts nowhere"
        for given, source in zip(step.input_shapes, step.sources, strict=True):
            assert source is not None, f"{step.name} starts at a tensor that no step made"
            before = found.input_shapes if source.step < 0 else output_shapes(found[source.step])
            assert source.step < step.index and before[source.output] == given


@every_model
def test_the_last_step_ends_where_the_network_ends(make: Any, shape: tuple[int, ...]) -> None:
    found = trace(make(), shape)
    real = [tuple(t.shape) for t in leaves(run_on_meta(make, shape), Tensor)]
    assert list(leaves(found.output_shape, Shape)) == real
    made = {tuple(s) for step in found for s in output_shapes(step)}
    assert made.issuperset(real)


@every_model
def test_multiply_adds_are_those_of_the_flop_counter(make: Any, shape: tuple[int, ...]) -> None:
    with FlopCounterMode(display=False) as counter:
        run_on_meta(make, shape)
    assert trace(make(), shape).macs == counter.get_total_flops() // 2


def test_transposed_convolutions_count_their_inputs() -> None:
    net = nn.ConvTranspose2d(21, 21, 64, 32, bias=False)
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 21, 16, 16))
    assert trace(net, (1, 21, 16, 16)).macs == counter.get_total_flops() // 2 == 16 * 16 * 21 * 21 * 64 * 64


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (nn.LSTM(8, 5, 2, bidirectional=True, batch_first=True), (2, 7, 8)),
        (nn.GRU(8, 5), (7, 2, 8)),
        (nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 7, 16)),
        (nn.Bilinear(4, 4, 3), (2, 4)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_multiply_adds_of_layers_without_a_formula_are_counted(net: nn.Module, shape: tuple[int, ...]) -> None:
    shapes = [shape] * (2 if isinstance(net, nn.Bilinear) else 1)
    meta = copy.deepcopy(net).to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        meta(*(torch.empty(s, device="meta") for s in shapes))
    assert trace(net, *shapes).macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("name", ["vgg16", "vgg16 conv", "alexnet", "two convolutions"])
def test_torchinfo_sees_the_same_layers(name: str) -> None:
    make, shape = PACKAGE[name]
    summary = torchinfo.summary(make(), input_size=shape, device="meta", verbose=0, depth=9)
    theirs = [(i.class_name, tuple(i.output_size)) for i in summary.summary_list if i.is_leaf_layer]
    ours = [(s.kind, tuple(s.output_shape)) for s in trace(make(), shape) if not s.is_call]
    assert ours == theirs


def test_leaf_modules_and_calls_know_their_names_and_paths() -> None:
    found = trace(nn.Sequential(nn.Conv2d(3, 8, 1), Residual(), Residual()), (1, 3, 8, 8))
    assert [(s.name, s.path, s.kind, s.is_call) for s in found] == [
        ("0", "0", "Conv2d", False),
        ("1.conv", "1.conv", "Conv2d", False),
        ("1.bn", "1.bn", "BatchNorm2d", False),
        ("1.add", "1", "add", True),
        ("1.relu", "1", "relu", True),
        ("2.conv", "2.conv", "Conv2d", False),
        ("2.bn", "2.bn", "BatchNorm2d", False),
        ("2.add", "2", "add", True),
        ("2.relu", "2", "relu", True),
    ]
    assert found["1.add"].input_shapes == ((1, 8, 8, 8), (1, 8, 8, 8))


def test_a_call_has_the_window_of_the_layer_that_does_the_same() -> None:
    x = (1, 4, 20, 20)
    pairs = [
        (nn.Conv2d(4, 6, (3, 5), 2, (1, 2), groups=2), lambda m, x: F.conv2d(x, m.weight, m.bias, 2, (1, 2), 1, 2)),
        (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1), lambda m, x: F.conv_transpose2d(x, m.weight, None, 2, 1, 1)),
        (nn.Conv2d(4, 6, 4, padding="same"), lambda m, x: F.conv2d(x, m.weight, padding="same")),
        (nn.MaxPool2d(3, 2, 1, ceil_mode=True), lambda m, x: F.max_pool2d(x, 3, 2, padding=1, ceil_mode=True)),
        (nn.MaxPool2d((3, 2)), lambda m, x: F.max_pool2d(x, (3, 2))),
        (nn.AvgPool2d(3, 2, ceil_mode=True), lambda m, x: F.avg_pool2d(x, 3, stride=2, ceil_mode=True)),
        (nn.LPPool2d(2, 3), lambda m, x: F.lp_pool2d(x, 2, 3)),
        (nn.Unfold(3, 2, 1, 2), lambda m, x: F.unfold(x, 3, 2, 1, 2)),
    ]
    for layer, call in pairs:
        inside = type("Inside", (nn.Module,), {"forward": lambda self, x, call=call: call(self.layer, x)})()
        inside.layer = layer
        (as_layer,), (as_call, *_) = trace(layer, x), trace(inside, x)
        assert (as_call.operation, as_call.window) == (as_layer.operation, as_layer.window)
        assert (as_call.output_shape, as_call.macs) == (as_layer.output_shape, as_layer.macs)
        assert as_call.is_call and not as_layer.is_call


def test_a_parameter_used_twice_is_counted_once() -> None:
    linear = nn.Linear(8, 8)
    found = trace(nn.Sequential(linear, nn.ReLU(), linear), (1, 8))
    assert [s.params for s in found] == [72, 0, 0] and found.params == 72
    assert [s.name for s in found] == ["0", "1", "0#2"]
    tied = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    tied[1].weight = tied[0].weight
    assert [s.params for s in trace(tied, (1, 8))] == [72, 8]


def test_parameters_of_an_attempt_that_was_caught_are_counted_where_they_are_used() -> None:
    class Retries(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(12, 2)

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.linear(x)
            except RuntimeError:
                return self.linear(x.flatten(1))

    found = trace(Retries(), (1, 3, 2, 2))
    assert [(s.name, s.params) for s in found] == [("flatten", 0), ("linear", 26)]


def test_a_hook_for_all_modules_that_raises_is_a_failure_of_the_model() -> None:
    def refuse(module: nn.Module, args: Any) -> None:
        raise ValueError("not today")

    handle = nn.modules.module.register_module_forward_pre_hook(refuse)
    try:
        found = trace(smooth(), (1, 3, 8, 8))
    finally:
        handle.remove()
    assert found.failure is not None and found.failure.message == "not today"


class Odd(nn.Module):
    """Several inputs, keyword inputs, recursion, an empty Sequential, outputs of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.empty, self.down = nn.LSTM(4, 3, batch_first=True), nn.Sequential(), nn.MaxPool1d(2)

    def halve(self, x: Tensor) -> Tensor:
        return x if x.shape[-1] < 2 else self.halve(self.down(x))

    def forward(self, x: Tensor, pair: list[Tensor], *, scale: Tensor, flag: str) -> dict[str, Any]:
        out, (h, c) = self.lstm(self.empty(x) * scale)
        return {"out": out, "state": (h, c), "none": None, "small": self.halve(pair[0] + pair[1]), "flag": flag}


@pytest.mark.parametrize("real", [False, True])
def test_nested_inputs_and_outputs_keep_their_form(real: bool) -> None:
    shapes = (2, 5, 4), [(1, 3, 8), (1, 3, 8)]
    given = (torch.rand(shapes[0]), [torch.rand(s) for s in shapes[1]]) if real else shapes
    found = trace(Odd(), *given, scale=torch.rand(4, device="cpu" if real else "meta"), flag="x")
    assert found.failure is None and found.method == ("real" if real else "meta")
    assert found.output_shape == {
        "out": (2, 5, 3),
        "state": ((1, 2, 3), (1, 2, 3)),
        "none": None,
        "small": (1, 3, 1),
        "flag": None,
    }
    assert found["lstm"].output_shape == ((2, 5, 3), ((1, 2, 3), (1, 2, 3)))
    assert [s.name for s in found if s.kind == "MaxPool1d"] == ["down", "down#2", "down#3"]
    assert found.input_shapes == ((2, 5, 4), (1, 3, 8), (1, 3, 8), (4,))


def test_what_torch_does_not_show_becomes_one_step() -> None:
    class Hidden(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.from_numpy(np.tile((x + 1).numpy(), 2))

    with torch.no_grad():
        found = trace(nn.Sequential(nn.Linear(4, 4), Hidden(), nn.Linear(8, 2)), torch.rand(1, 4))
    assert [s.kind for s in found] == ["Linear", "Hidden", "Linear"]
    assert found[1].output_shape == (1, 8) and found[2].sources[0] == (1, 0)


def test_autograd_functions_are_looked_into() -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return torch.cat([x, x], 1)

    class Wraps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Twice.apply(x + 1)

    found = trace(nn.Sequential(nn.Linear(4, 4), Wraps(), nn.Linear(8, 2)), (1, 4))
    assert [s.kind for s in found] == ["Linear", "add", "cat", "Linear"]
    assert [s.sources[0] for s in found] == [(-1, 0), (0, 0), (1, 0), (2, 0)]


def test_layers_in_a_plain_list_are_traced_as_calls() -> None:
    class Unregistered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)]

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    found = trace(Unregistered(), (1, 3, 9, 9))
    assert [(s.kind, s.output_shape) for s in found] == [("conv2d", (1, 4, 7, 7)), ("conv2d", (1, 5, 5, 5))]


# The verdict is the real network's.


@pytest.mark.parametrize("size", [31, 36, 27, 4, 1])
@pytest.mark.parametrize("net", [TutorialLeNet(), models.lenet(seed=0)], ids=["tutorial", "models"])
def test_a_failure_is_quoted_as_pytorch_says_it(net: nn.Module, size: int) -> None:
    found = trace(net, (1, 1, size, size))
    with pytest.raises(RuntimeError) as real:
        net(torch.zeros(1, 1, size, size))
    assert found.failure is not None and found.failure.message == str(real.value)
    assert found[-1] is found.failure.step and found[-1].output_shape is None and found.output_shape is None
    assert isinstance(found.failure.cause, RuntimeError) and found.failure.explanation
    complete = trace(net, (1, 1, 32, 32))
    assert [s.name for s in found] == [s.name for s in complete][: len(found)]


def test_vgg16_breaks_at_256_in_pytorchs_words() -> None:
    found = trace(models.vgg16(), (1, 3, 256, 256))
    assert found.failure is not None
    assert found.failure.message == "mat1 and mat2 shapes cannot be multiplied (1x32768 and 25088x4096)"
    assert found.failure.step.name == "classifier.0" and found.failure.step.input_shapes == ((1, 32768),)
    assert found["features.30"].output_shape == (1, 512, 8, 8)


def test_a_failure_says_where_in_the_callers_code() -> None:
    failure = trace(TutorialLeNet(), (1, 1, 36, 36)).failure
    assert failure is not None
    assert failure.where.startswith("nets.py, line ") and failure.where.endswith("F.relu(self.fc1(x)))))")


def test_an_error_raised_by_the_forward_itself_is_a_failure_of_its_module() -> None:
    class Strict(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-1] != 224:
                raise ValueError(f"224 wanted, {x.shape[-1]} found")
            return x

    found = trace(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), Strict()), (1, 3, 30, 30))
    assert found.failure is not None and found.failure.step.kind == "Strict" and found.failure.step.path == "1"
    assert found.failure.message == "224 wanted, 30 found" and isinstance(found.failure.cause, ValueError)


def test_an_error_that_the_forward_catches_is_no_failure() -> None:
    found = trace(Branching(), (1, 3, 9, 9))
    assert found.failure is None and [s.name for s in found] == ["flatten", "large"]
    assert [s.name for s in trace(Branching(), (1, 3, 2, 2))] == ["flatten", "small"]


KINDER = {
    "transposed convolution, wrong channels": (nn.Sequential(nn.Identity(), nn.ConvTranspose2d(4, 2, 3)), (1, 3, 5, 5)),
    "transposed convolution on nothing": (
        nn.Sequential(nn.ZeroPad2d((0, 0, 0, -5)), nn.ConvTranspose2d(3, 2, 3)),
        (1, 3, 5, 5),
    ),
    "softmax over an axis that is not there": (nn.Sequential(nn.Flatten(0), nn.Softmax(1)), (1, 4)),
    "adaptive pooling of nothing": (nn.Sequential(nn.ZeroPad2d((0, 0, 0, -5)), nn.AdaptiveAvgPool2d(2)), (1, 3, 5, 5)),
    "output padding as large as the stride": (
        nn.Sequential(nn.Identity(), nn.ConvTranspose2d(3, 3, 4, 2, output_padding=2)),
        (1, 3, 5, 5),
    ),
    "dilation 0": (nn.Sequential(nn.Identity(), nn.Conv2d(3, 2, 3, dilation=0)), (1, 3, 5, 5)),
}


@pytest.mark.parametrize(("net", "shape"), KINDER.values(), ids=KINDER.keys())
def test_where_meta_tensors_are_kinder_the_real_verdict_counts(net: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises((RuntimeError, IndexError)) as real:
        net.eval()(torch.zeros(shape))
    found = trace(net, shape)
    assert found.failure is not None and found.failure.message == str(real.value)
    assert found.failure.step.name == "1"


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.float16, torch.bool])
@pytest.mark.parametrize(
    "layer", [nn.Linear(4, 2), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(4), nn.AvgPool2d(1), nn.GLU(1)], ids=repr
)
def test_number_types_are_refused_as_on_real_tensors(layer: nn.Module, dtype: torch.dtype) -> None:
    x = torch.zeros(1, 4, 4, 4, dtype=dtype)
    try:
        said = None if layer.eval()(x) is not None else ""
    except RuntimeError as error:
        said = str(error)
    failure = trace(layer, x.to("meta")).failure
    assert (failure and failure.message) == said


def test_a_model_in_half_precision_gets_inputs_in_half_precision() -> None:
    assert trace(smooth().half(), (1, 3, 8, 8)).failure is None
    assert trace(smooth().bfloat16(), (1, 3, 8, 8)).failure is None


def test_an_image_too_large_for_a_trial_is_not_refused_for_it() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True)).bfloat16()
    assert trace(net, (1, 3, 4000, 4000)).failure is None


def test_sums_over_no_axis_and_over_numbers_are_followed() -> None:
    class Sums(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum().mean(0) + x.sum().sum(dim=-1).transpose(0, 0)

    assert trace(Sums(), (1, 3)).output_shape == () and trace(Sums(), torch.rand(1, 3)).failure is None


class Forgets(nn.Module):
    """What the meta device forgets: memory formats, number types under autocast, errors that only it raises."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.conv, self.linear = what, nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.what == "format":
            return self.conv(x.contiguous(memory_format=torch.channels_last)).view(1, -1)
        if self.what == "autocast":
            with torch.autocast("cpu"):
                x = self.conv(x)
            return self.linear(x.mean((2, 3)))
        try:
            k = int(x.detach().ne(x).sum().item()) + 1
        except RuntimeError:
            k = 7
        return x[..., :k]


@pytest.mark.parametrize("what", ["format", "autocast"])
def test_what_the_meta_device_forgets_is_asked_of_fake_tensors(what: str) -> None:
    found = trace(Forgets(what), (1, 3, 5, 6))
    with pytest.raises(RuntimeError) as real:
        Forgets(what)(torch.zeros(1, 3, 5, 6))
    assert found.failure is not None and found.failure.message == str(real.value)


def test_a_channels_last_model_is_followed() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), type("V", (nn.Module,), {"forward": lambda self, x: x.view(1, -1)})())
    net = net.to(memory_format=torch.channels_last)
    failure = trace(net, (1, 3, 5, 6)).failure
    with pytest.raises(RuntimeError) as real:
        net(torch.zeros(1, 3, 5, 6))
    assert failure is None or failure.message == str(real.value)


def test_an_error_that_real_tensors_do_not_raise_decides_nothing() -> None:
    with pytest.raises(RealTensorNeeded):
        trace(Forgets("caught"), (1, 3, 5, 6))
    assert trace(Forgets("caught"), torch.rand(1, 3, 5, 6)).output_shape == (1, 3, 5, 1)


def test_the_cause_says_what_the_message_says() -> None:
    failure = trace(TutorialLeNet(), (1, 1, 36, 36)).failure
    assert failure is not None and str(failure.cause) == failure.message


class MakesTensors(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.conv = how, nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.how == "plain":
            return x + torch.ones(x.shape[-1]) + torch.tensor(2.0)
        if self.how == "on cpu":
            return x * torch.arange(4.0, device="cpu").view(4, 1, 1)
        if self.how == "constant":
            return x[:, : int(torch.tensor([3]).max().item())]
        if self.how == "item":
            return x if x.sum().item() > 0 else x[..., 1:]
        if self.how == "bool":
            return x if x.sum() > 0 else x[..., 1:]
        return torch.from_numpy(x.detach().numpy())


@pytest.mark.parametrize(("how", "method"), [("plain", "meta"), ("on cpu", "fake")])
def test_tensors_made_in_the_forward_are_followed(how: str, method: str) -> None:
    found = trace(MakesTensors(how), (1, 3, 9, 9))
    assert found.failure is None and found.method == method and found.output_shape == (1, 4, 7, 7)
    assert trace(MakesTensors(how), torch.rand(1, 3, 9, 9)).method == "real"


@pytest.mark.parametrize("how", ["item", "bool", "numpy"])
def test_a_forward_that_looks_at_numbers_asks_for_a_real_tensor(how: str) -> None:
    where = r"cannot run on shapes alone: (item|bool|numpy) \(test_trace.py, line "
    with pytest.raises(RealTensorNeeded, match=where + r".*trace\(model, torch\.rand\(1, 3, 9, 9\)\)"):
        trace(MakesTensors(how), (1, 3, 9, 9))
    assert trace(MakesTensors(how), torch.rand(1, 3, 9, 9)).failure is None


def test_torch_logs_nothing_when_fake_tensors_give_up(caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    with pytest.raises(RealTensorNeeded):
        trace(MakesTensors("item"), (1, 3, 9, 9))
    assert not caplog.records and capfd.readouterr().err == ""


def test_compiled_torchscript_asks_for_a_real_tensor_and_runs_on_one() -> None:
    script = torch.jit.trace(smooth().eval(), torch.rand(1, 3, 8, 8))
    with pytest.raises(RealTensorNeeded, match="TorchScript"):
        trace(nn.Sequential(script), (1, 3, 8, 8))
    assert trace(nn.Sequential(script), torch.rand(1, 3, 8, 8)).output_shape == (1, 8, 8, 8)


@pytest.mark.parametrize("lazy", [nn.LazyLinear(5), nn.LazyConv2d(5, 3)], ids=["LazyLinear", "LazyConv2d"])
def test_a_lazy_layer_is_filled_in_on_the_twin_only(lazy: nn.Module) -> None:
    net = nn.Sequential(nn.ZeroPad2d(1), lazy)
    found = trace(net, (2, 3, 6, 6))
    assert found.failure is None and found[-1].kind == type(lazy).__name__.removeprefix("Lazy") and found.params > 0
    assert type(net[1]).__name__.startswith("Lazy") and net[1].has_uninitialized_params()


# Nothing changes.


def state_of(model: nn.Module) -> dict[str, Any]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    hooks = [(id(m), {k: list(v) for k, v in m.__dict__.items() if "hook" in k and v}) for m in model.modules()]
    return {
        "flags": [(name, m.training, type(m)) for name, m in model.named_modules()],
        "hooks": hooks,
        "ids": {k: id(t) for k, t in tensors.items()},
        "versions": {k: t._version for k, t in tensors.items()},
        "grads": {k: None if t.grad is None else t.grad.tolist() for k, t in tensors.items()},
        "needs grad": {k: t.requires_grad for k, t in tensors.items()},
        "devices": {k: (t.device, t.dtype, t.stride()) for k, t in tensors.items()},
        "values": {k: t.tolist() for k, t in tensors.items() if not t.is_meta},
        "random": (torch.get_rng_state().tolist(), random.getstate()),
        "grad mode": torch.is_grad_enabled(),
    }


class Ends(nn.Module):
    """Draws random numbers, then ends as told."""

    def __init__(self, how: type[BaseException] | None) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        x = x + torch.rand(1) + random.random()
        if self.how is not None:
            raise self.how("asked for")
        return x


@pytest.mark.parametrize("real", [False, True], ids=["shapes", "tensors"])
@pytest.mark.parametrize("as_is", [False, True], ids=["eval", "as is"])
@pytest.mark.parametrize("how", [None, ValueError, KeyboardInterrupt], ids=["success", "exception", "interrupt"])
def test_the_model_is_left_as_it_was(how: type[BaseException] | None, as_is: bool, real: bool) -> None:
    net = nn.Sequential(smooth(), smooth(8), Ends(how))
    net.train()
    net[0][1].eval()  # a frozen BatchNorm in a model that trains
    net[1][0].weight.requires_grad_(False)
    net[0][0].weight.grad = torch.ones_like(net[0][0].weight)
    net[1].register_forward_hook(lambda m, args, out: out * 1)
    net[0].register_forward_pre_hook(lambda m, args: None)
    given: Any = torch.rand(2, 3, 6, 6) if real else (2, 3, 6, 6)
    before = state_of(net)
    if how is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            trace(net, given, as_is=as_is)
    else:
        found = trace(net, given, as_is=as_is)
        assert (found.failure is None) == (how is None) and found.mode == ("as is" if as_is else "eval")
    assert state_of(net) == before


def test_no_function_of_torch_is_replaced() -> None:
    def functions() -> dict[str, int]:
        rooms = {"torch": torch, "F": F, "Tensor": Tensor, "Module": nn.Module, "_nn": torch._C._nn}
        return {f"{n}.{k}": id(v) for n, room in rooms.items() for k, v in vars(room).items() if callable(v)}

    trace(smooth(), (1, 3, 8, 8))  # torch imports parts of itself at first use
    before, during = functions(), {}

    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            during.update(functions())
            return F.relu(x)

    trace(Looks(), (1, 3, 8, 8))
    assert functions() == before == during


def test_frozen_batchnorms_and_eval_mode_decide_as_asked() -> None:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12)).train()
    assert trace(net, (1, 3, 2, 2)).failure is None  # in eval mode one sample is enough
    failure = trace(net, (1, 3, 2, 2), as_is=True).failure
    assert failure is not None and "Expected more than 1 value per channel when training" in failure.message


def test_a_model_on_meta_is_traced_and_left_alone() -> None:
    net = models.vgg16()
    before = {k: id(p) for k, p in net.named_parameters()}
    assert trace(net, (1, 3, 224, 224)).output_shape == (1, 1000)
    assert {k: id(p) for k, p in net.named_parameters()} == before and all(p.is_meta for p in net.parameters())


def test_what_cannot_be_copied_is_shared_and_weights_stay_where_they_are() -> None:
    net = smooth()
    net.lock, net.generator = __import__("threading").Lock(), (i for i in range(3))
    lin = nn.Linear(8, 8)
    twice = nn.Sequential(lin, nn.ReLU(), lin)  # the case in which functional_call loses the weights
    assert trace(net, (1, 3, 8, 8)).failure is None and trace(twice, (1, 8)).failure is None
    assert not any(p.is_meta for p in (*net.parameters(), *twice.parameters()))
    assert twice(torch.ones(1, 8)).isfinite().all()


def test_weight_norm_and_parametrizations_run_on_the_twin() -> None:
    from torch.nn.utils import parametrizations, weight_norm

    with pytest.warns(FutureWarning):
        old = weight_norm(nn.Linear(4, 3))
    new, spectral = parametrizations.weight_norm(nn.Linear(4, 3)), parametrizations.spectral_norm(nn.Linear(4, 3))
    for net in (old, new, spectral):
        before = {k: t.clone() for k, t in net.state_dict().items()}
        for given in ((2, 4), torch.rand(2, 4)):
            assert trace(net, given, as_is=True).output_shape == (2, 3)
        assert all(torch.equal(t, before[k]) for k, t in net.state_dict().items())


def test_weights_that_a_forward_writes_into_are_a_copy() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            self.linear.weight.data.add_(1)
            return self.linear(x.relu_())

    net, x = Writes(), -torch.ones(1, 4)
    before = net.linear.weight.clone()
    assert trace(net, x).failure is None
    assert torch.equal(net.linear.weight, before) and torch.equal(x, -torch.ones(1, 4))


def test_a_wrapped_forward_and_a_hook_that_takes_itself_off_touch_the_twin_only() -> None:
    net = smooth().train()
    plain = net.forward
    net.forward = lambda x: plain(x) * 1
    handles = [net[0].register_forward_pre_hook(lambda m, args: handles[0].remove())]
    for given in ((1, 3, 8, 8), torch.rand(1, 3, 8, 8)):
        assert trace(net, given).failure is None
    assert net[1].num_batches_tracked == 0 and len(net[0]._forward_pre_hooks) == 1


def test_a_compiled_part_is_traced_as_what_it_was_made_of() -> None:
    net = nn.Sequential(torch.compile(nn.Linear(4, 4)), nn.ReLU())
    assert [s.kind for s in trace(net, (1, 4))] == ["Linear", "ReLU"]
    assert trace(torch.compile(smooth()), (1, 3, 8, 8)).output_shape == (1, 8, 8, 8)


def test_several_threads_may_trace_at_once() -> None:
    net: nn.Module = nn.Linear(2, 2)
    for _ in range(300):
        net = nn.Sequential(net)
    limit = sys.getrecursionlimit()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: trace(net, (1, 2)).failure, range(12)))
    assert found == [None] * 12 and sys.getrecursionlimit() == limit


def test_modules_keep_slots_and_parameters_keep_what_was_noted_on_them() -> None:
    class Slots(nn.Module):
        __slots__ = ("k",)

        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(3))
            self.w.scale = 2
            self.k = 5

        def forward(self, x: Tensor) -> Tensor:
            return x[..., : self.k] * self.w.scale

    assert trace(Slots(), (1, 9)).output_shape == (1, 5)


# Any size, any depth.


def test_huge_images_are_traced_and_refused_in_true_numbers() -> None:
    found = trace(models.vgg16("conv"), (1, 3, 10**6, 10**6))
    assert found.output_shape == (1, 1000, 10**6 // 32 - 6, 10**6 // 32 - 6)
    failure = trace(models.vgg16(), (1, 3, 10**6, 10**6)).failure
    assert failure is not None
    assert failure.message == f"mat1 and mat2 shapes cannot be multiplied (1x{512 * 31250**2} and 25088x4096)"


MEMORY = """
import resource
from fcnviz import models, trace
net = models.vgg16()
trace(net, (1, 3, 64, 64))  # torch loads parts of itself at first use
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for size in (224, 256, 10**6):
    trace(net, (1, 3, size, size))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, sum(p.nbytes for p in net.parameters()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is counted in other units elsewhere")
def test_no_memory_is_taken_for_weights() -> None:
    """The peak of a process of its own: what torch allocates is not Python's to count."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    more, weights = map(int, done.stdout.split())
    assert more < weights / 10


def test_work_grows_with_the_number_of_steps_and_no_faster() -> None:
    """Counted in calls of Python functions and not in seconds, so that a busy machine decides nothing."""

    def calls(steps: int) -> int:
        net = nn.Sequential(*(nn.Identity() for _ in range(steps)))
        count = 0

        def note(frame: Any, event: str, arg: Any) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(note)
        try:
            found = trace(net, (1, 1))
        finally:
            sys.setprofile(None)
        assert len(found) == steps
        return count

    trace(nn.Identity(), (1, 1))  # torch imports parts of itself at first use
    fewer, more = calls(1_000), calls(10_000)
    assert more <= 10 * fewer


def test_a_thousand_levels_of_nesting() -> None:
    net: nn.Module = nn.Linear(2, 2)
    for _ in range(1_000):
        net = nn.Sequential(net)
    found = trace(net, (1, 2))
    assert found.failure is None and len(found) == 1 and found[0].path.count(".") == 999


# Bad input.


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: trace(models.vgg16, (1, 3, 8, 8)), r"needs a torch\.nn\.Module .* was given function"),
        (lambda: trace(TutorialLeNet, (1, 1, 32, 32)), r"TutorialLeNet is a class: make one first, TutorialLeNet\(…\)"),
        (lambda: trace(None, (1, 3, 8, 8)), "was given NoneType None"),
        (lambda: trace(smooth()), r"given no input: add a shape such as \(1, 3, 224, 224\)"),
        (lambda: trace(smooth(), (1, 3, 0, 8)), r"\(1, 3, 0, 8\) is no shape: axis 2 is 0, and a size is a whole"),
        (lambda: trace(smooth(), (1, 3, -4, 8)), "axis 2 is -4"),
        (lambda: trace(smooth(), (1, 3, True, 8)), "axis 2 is True"),
        (lambda: trace(smooth(), (1, 3, 8.0, 8)), r"axis 2 is 8\.0"),
        (lambda: trace(smooth(), (1, 3, float("nan"), 8)), "axis 2 is nan"),
        (lambda: trace(smooth(), (1, 3, "H", 8)), "axis 2 is 'H'"),
        (lambda: trace(smooth(), ()), r"\(\) is no shape"),
        (lambda: trace(smooth(), 224), r"int 224 is neither a shape .* nor a torch tensor"),
        (lambda: trace(smooth(), "cat.jpg"), "str 'cat.jpg' is neither"),
        (lambda: trace(smooth(), torch.rand(1, 3, 8, 8).numpy()), r"torch\.from_numpy"),
        (lambda: trace(smooth(), (3, 8, 9)), r"\(3, 8, 9\) has no batch axis, and Conv2d 0 .*: give \(1, 3, 8, 9\)"),
        (lambda: trace(smooth(), torch.rand(3, 8, 9)), r"x\.unsqueeze\(0\)"),
        (lambda: trace(smooth(), (1, 1, 8, 9)), r"\(1, 1, 8, 9\) has 1 channel, and Conv2d 0 takes 3 channels: give"),
        (lambda: trace(smooth(), (1, 8, 9, 3)), r"has its channels last; torch wants them second.*give \(1, 3, 8, 9\)"),
        (lambda: trace(models.vgg16(), torch.rand(1, 3, 224, 224)), "VGG16 is on the meta device.*give the shape"),
        (lambda: trace(smooth(), (1, 3, 8, 8), (1, 2)), r"forward takes \(input\) and was given 2"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_a_sentence(call: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        call()
    assert isinstance(error.value, FcnvizError) and isinstance(error.value, ValueError)


@pytest.mark.parametrize("call", [nn.Conv2d(3, 4, 3), lambda x: F.max_pool2d(x, 2)], ids=["layer", "call"])
def test_an_image_without_batch_is_refused_before_anything_runs(call: Any) -> None:
    ran = []

    class Counts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            ran.append(call(x))
            return x

    with pytest.raises(InputError, match="has no batch axis"):
        trace(Counts(), torch.rand(3, 8, 8))
    assert not ran


def test_shapes_may_be_lists_sizes_and_numpy_integers() -> None:
    for shape in ([1, 3, 8, 8], torch.Size((1, 3, 8, 8)), Shape((1, 3, 8, 8)), tuple(np.array((1, 3, 8, 8)))):
        assert trace(smooth(), shape).input_shapes == ((1, 3, 8, 8),)


# The record.


def test_a_trace_is_a_sequence_with_names() -> None:
    found = trace(models.lenet(), (1, 1, 32, 32))
    assert isinstance(found, Trace) and found[0] is found[found[0].name] and len(found[:3]) == 3
    assert found[-1].index == len(found) - 1 and list(found) == list(found.steps)
    with pytest.raises(KeyError, match="no step is named 'fc9'; there are conv1"):
        found["fc9"]


def test_a_failed_trace_keeps_no_tensor_alive() -> None:
    gc.collect()
    x = torch.rand(1, 1, 36, 36)
    found = trace(TutorialLeNet(), x)
    assert found.failure is not None
    del x
    gc.collect()
    shapes = [tuple(t.shape) for t in gc.get_objects() if isinstance(t, Tensor) and not isinstance(t, nn.Parameter)]
    assert (1, 576) not in shapes and (1, 6, 32, 32) not in shapes


def test_a_trace_can_be_pickled_and_copied() -> None:
    import pickle

    for size in (32, 36):
        found = trace(models.lenet(), (1, 1, size, size))
        again = pickle.loads(pickle.dumps(found))
        assert again.steps == found.steps and (again.failure is None) == (found.failure is None)
        assert copy.deepcopy(found).steps == found.steps


# FACTS about VGG16 and the two-convolution net, as shapes and counts.


@pytest.mark.parametrize("h", [224, 240, 255, 256, 288, 500])
def test_the_two_convolution_net_loses_four_and_six(h: int) -> None:
    first, second = (s for s in trace(models.two_convolutions(), (1, 3, h, h + 7)) if s.operation == "conv")
    assert first.output_shape == (1, 64, h - 4, h + 3) and second.output_shape == (1, 128, h - 6, h + 1)
    assert first.weights[0].shape == (64, 3, 5, 5) and second.weights[0].shape == (128, 64, 3, 3)


def test_vgg16_in_numbers() -> None:
    found = trace(models.vgg16(), (1, 3, 224, 224))
    counts = {name: found[f"classifier.{i}"].params for name, i in (("fc6", 0), ("fc7", 3), ("fc8", 6))}
    assert found.params == 138_357_544 and counts == {"fc6": 102_764_544, "fc7": 16_781_312, "fc8": 4_097_000}
    assert round(found.macs / 1e9, 2) == 15.47
    head = sum(s.macs for s in found if s.name.startswith("classifier"))
    assert round(100 * head / found.macs, 1) == 0.8
    assert found["features.30"].output_shape == (1, 512, 7, 7) and found["flatten"].output_shape == (1, 25_088)


@pytest.mark.parametrize(
    ("h", "w", "linear", "conv"),
    [
        (224, 224, True, (1, 1)),
        (255, 255, True, (1, 1)),
        (224, 255, True, (1, 1)),
        (1568, 32, True, None),  # a map of 49×1: the count is right, the kernel does not fit
        (223, 224, False, None),
        (224, 256, False, (1, 2)),
        (256, 256, False, (2, 2)),
        (31, 31, False, None),
    ],
)
def test_what_each_head_of_vgg16_accepts(h: int, w: int, linear: bool, conv: tuple[int, int] | None) -> None:
    one, other = trace(models.vgg16(), (1, 3, h, w)), trace(models.vgg16("conv"), (1, 3, h, w))
    assert (one.failure is None) is linear and (other.failure is None) is (conv is not None)
    if conv is not None:
        assert other.output_shape == (1, 1000, *conv) and other["classifier.0"].output_shape == (1, 4096, *conv)
    if h >= 32:
        assert one["features.30"].output_shape == (1, 512, h // 32, w // 32)


class Shifts(nn.Module):
    """Writes into a map, and into a part of it that shares its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.d = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.c(x)
        z = torch.zeros_like(y)
        z[:, :, 2:] = y[:, :, :-2]
        first = self.d(z)
        y[:, :, 1:].add_(z[:, :, 1:])
        return self.d(y) + first


def test_writing_into_a_map_is_a_step_that_makes_it() -> None:
    found = trace(Shifts(), (1, 3, 16, 16))
    written = found["setitem"]
    assert written.output_shape == (1, 4, 14, 14)
    assert [found[source.step].name for source in written.sources if source] == ["zeros_like", "getitem"]
    assert found["d"].sources == (Source(written.index, 0),)


def test_what_was_written_into_through_a_part_of_it_names_no_step_that_made_it() -> None:
    found = trace(Shifts(), (1, 3, 16, 16))
    assert found["d#2"].sources == (None,)  # c made another map

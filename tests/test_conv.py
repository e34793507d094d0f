"""One Linear becomes a convolution without a copy, and that is plain `conv2d`, only faster where it can be."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from fcnviz import law, trace
from fcnviz.cast import cast
from fcnviz.conv import Conv2d, conv2d
from fcnviz.equivalence import compare
from fcnviz.errors import FcnvizError, SurgeryError
from fcnviz.surgery import linear_to_conv

SMALL = (3, 5, 4)  # channels, height, width of the map under the small Linear
ONE, FEW, MANY = (5, 4), (7, 6), (30, 30)  # maps for 1 window, 3×3 windows, and more than the Linear has rows
HALVES = [torch.float16, torch.bfloat16]
NUMBERS = [torch.float32, torch.float64, *HALVES]


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3 * 5 * 4, 32)


def as_plain(conv: nn.Conv2d) -> nn.Conv2d:
    """torch's own convolution with the same settings and parameters."""
    plain = nn.Conv2d(
        *(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups),
        bias=conv.bias is not None,
        padding_mode=conv.padding_mode,
        device="meta",
    )
    plain.weight, plain.bias = conv.weight, conv.bias
    return plain


def whole(*shape: int, most: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """Numbers −most … most. Sums of so few products of them are exact in every number type, and in every order."""
    return torch.randint(-most, most + 1, shape).to(dtype)


def whole_cast(dtype: torch.dtype = torch.float32, bias: bool = True, rows: int = 32) -> nn.Conv2d:
    torch.manual_seed(0)
    linear = nn.Linear(math.prod(SMALL), rows, bias, dtype=dtype)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.copy_(whole(*parameter.shape, most=1))
    return linear_to_conv(linear, SMALL)


class Products(TorchDispatchMode):
    """Notes what multiplies: each matrix product by its name, each convolution by the shape of its kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if "conv" in name:
            self.found.append(tuple(args[1].shape))
        elif name in ("mm", "addmm"):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def products(call: Callable[[], Any]) -> list[Any]:
    with Products() as mode:
        call()
    return mode.found


# The Linear's memory.


def test_the_cast_lies_in_the_memory_of_the_linear(linear: nn.Linear) -> None:
    conv = linear_to_conv(linear, SMALL)
    assert conv.weight.shape == (32, *SMALL)
    assert conv.weight.data_ptr() == linear.weight.data_ptr() and conv.bias.data_ptr() == linear.bias.data_ptr()
    with torch.no_grad():
        linear.weight[3, 7] = 42
    assert conv.weight.flatten(1)[3, 7] == 42


def test_the_cast_is_a_convolution_to_the_eye(linear: nn.Linear) -> None:
    conv = linear_to_conv(linear, SMALL)
    assert isinstance(conv, nn.Conv2d)
    assert repr(conv) == "Conv2d(3, 32, kernel_size=(5, 4), stride=(1, 1))"
    assert {k: v.shape for k, v in conv.state_dict().items()} == {"weight": (32, *SMALL), "bias": (32,)}
    assert all(isinstance(p, nn.Parameter) and p.is_leaf and p.requires_grad for p in conv.parameters())


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_an_optimiser_of_either_moves_both(linear: nn.Linear, optimizer: Any) -> None:
    conv = linear_to_conv(linear, SMALL)
    before = linear.weight.detach().clone()
    for layer, x in ((conv, torch.randn(2, *SMALL)), (linear, torch.randn(2, 60))):
        layer(x).square().sum().backward()
        optimizer(layer.parameters(), lr=0.01).step()
        assert torch.equal(conv.weight.flatten(1), linear.weight)
    assert not torch.equal(linear.weight, before)


def test_frozen_and_training_are_as_the_linear_has_them(linear: nn.Linear) -> None:
    assert linear_to_conv(linear, SMALL).training and not linear_to_conv(linear.eval(), SMALL).training
    assert not any(p.requires_grad for p in linear_to_conv(linear.requires_grad_(False), SMALL).parameters())


def test_no_bias() -> None:
    conv = linear_to_conv(nn.Linear(60, 32, bias=False), SMALL)
    assert conv.bias is None and conv(torch.zeros(1, 3, 6, 6)).abs().sum() == 0


@pytest.mark.parametrize("again", [copy.deepcopy, lambda conv: pickle.loads(pickle.dumps(conv))])
def test_a_copy_computes_the_same_in_memory_of_its_own(linear: nn.Linear, again: Any) -> None:
    conv = linear_to_conv(linear, SMALL)
    copied = again(conv)
    x = torch.randn(1, 3, 9, 9)
    assert torch.equal(copied(x), conv(x)) and type(copied) is type(conv)
    assert copied.weight.data_ptr() != conv.weight.data_ptr()
    copied.load_state_dict(linear.state_dict())


def test_moving_the_cast_leaves_the_linear_as_it_is(linear: nn.Linear) -> None:
    conv = linear_to_conv(linear, SMALL).double()
    assert (conv.weight.dtype, linear.weight.dtype, linear.bias.dtype) == (torch.float64, torch.float32, torch.float32)
    assert conv(torch.zeros(1, *SMALL, dtype=torch.float64)).dtype == torch.float64


def test_a_state_dict_of_the_linear_loads_and_stays_as_it_is(linear: nn.Linear) -> None:
    other = nn.Linear(60, 32)
    state = other.state_dict()
    conv = linear_to_conv(linear, SMALL)
    conv.load_state_dict(state)
    assert torch.equal(linear.weight, other.weight) and state["weight"].shape == (32, 60)
    conv.load_state_dict(linear_to_conv(other, SMALL).state_dict())


@pytest.mark.parametrize("shape", [(60, 32), (1, 1920), (1920,), (1920, 1), (32, 3, 4, 5), (32, 60, 1, 1)])
def test_as_many_numbers_in_another_order_are_no_weight_of_it(shape: tuple[int, ...]) -> None:
    conv = whole_cast(bias=False)
    before = conv.weight.detach().clone()
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        conv.load_state_dict({"weight": torch.rand(shape)})
    assert torch.equal(conv.weight, before)


# The numbers of plain conv2d. Whole ones leave no room for rounding.


@pytest.mark.parametrize("size", [ONE, (6, 4), FEW, (9, 8), MANY])
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("bias", [True, False])
def test_the_cast_answers_as_plain_conv2d_at_every_size(size: Any, dtype: torch.dtype, bias: bool) -> None:
    conv = whole_cast(dtype, bias)
    for x in (whole(2, 3, *size, dtype=dtype), whole(3, *size, dtype=dtype), whole(0, 3, *size, dtype=dtype)):
        found, wanted = conv(x), as_plain(conv)(x)
        assert torch.equal(found, wanted)
        assert (found.shape, found.dtype, found.is_contiguous()) == (wanted.shape, dtype, True)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("size", [ONE, FEW, MANY])
def test_broken_numbers_agree_with_the_linear_within_rounding(size: Any, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(60, 32).to(dtype)
    found = compare(linear, linear_to_conv(linear, SMALL), torch.randn(2, 3, *size).to(dtype))
    assert found.verdict in ("bit-equal", "within rounding")


SETTINGS: list[dict[str, Any]] = [
    {"stride": (2, 3)},
    {"padding": "valid"},
    {"padding": (2, 1)},
    {"padding": "same"},
    {"padding": (1, 1), "padding_mode": "reflect"},
    {"dilation": (2, 2)},
    {"stride": (2, 2), "padding": (1, 0), "dilation": (2, 1)},
    {"groups": 3},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_setting_gives_what_plain_conv2d_gives(settings: dict[str, Any]) -> None:
    conv = Conv2d(3, 33, (5, 4), **settings)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(whole(*parameter.shape))
    for x in (whole(1, 3, 9, 8), whole(2, 3, 14, 13)):
        assert torch.equal(conv(x), as_plain(conv)(x))


def test_a_kernel_with_gaps_reads_every_second_row_and_third_column() -> None:
    linear = nn.Linear(60, 32)
    linear.load_state_dict({"weight": whole(32, 60), "bias": whole(32)})
    conv, x = cast(linear, SMALL, dilation=(2, 3)), whole(1, 3, 11, 10)
    found = conv(x)
    assert found.shape == (1, 32, 3, 1)
    for i in range(3):
        assert torch.equal(found[:, :, i, 0], linear(x[:, :, i : i + 9 : 2, ::3].flatten(1)))


def test_channels_last_and_views_go_through() -> None:
    conv, x = whole_cast(), whole(1, 3, 12, 9)
    wanted, last = as_plain(conv)(x), x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(conv(last), wanted)
    assert torch.equal(conv(x[:, :, 1::2]), as_plain(conv)(x[:, :, 1::2]))
    assert torch.equal(conv(x[:, :1].expand_as(x)), as_plain(conv)(x[:, :1].expand_as(x)))
    assert torch.equal(conv.to(memory_format=torch.channels_last)(last), wanted)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [ONE, FEW, MANY])
def test_autocast_chooses_the_number_type_that_it_chooses_for_conv2d(size: Any, bias: bool, dtype: Any) -> None:
    conv, x = whole_cast(bias=bias), whole(1, 3, *size)
    with torch.autocast("cpu", dtype=dtype):
        found, wanted = conv(x), as_plain(conv)(x)
        assert products(lambda: conv(x)) == [(32, *SMALL)]
    assert found.dtype == wanted.dtype == dtype and torch.equal(found, wanted)
    found.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in conv.parameters())


@pytest.mark.parametrize("shape", [
    *((3, 9, 8, 1), (2, 3), (2, 3, 4, 4), (1, 3, 5, 3), (3, 4, 4)),
    *((1, 4, 6, 5), (1, 2, 6, 5), (4, 6, 5), (0, 3, 9, 8), (1, 3, 0, 4), (1, 2, 3, 7, 6)),
], ids=str)  # fmt: skip
def test_odd_inputs_are_taken_or_refused_as_by_conv2d(linear: nn.Linear, shape: tuple[int, ...]) -> None:
    conv = linear_to_conv(linear, SMALL)
    for net in (conv, Conv2d(9, 33, (5, 4), groups=3)):  # of which each group has kernels of 3×5×4
        assert said_of(net, torch.zeros(shape)) == said_of(as_plain(net), torch.zeros(shape))


@pytest.mark.parametrize("of", [{"dtype": torch.float64}, {"dtype": torch.int64}, {"device": "meta"}], ids=str)
def test_numbers_of_another_type_or_place_are_refused_as_by_conv2d(linear: nn.Linear, of: Any) -> None:
    conv, x = linear_to_conv(linear, SMALL), torch.zeros(1, *SMALL, **of)
    assert said_of(conv, x) == said_of(as_plain(conv), x)


def said_of(conv: nn.Conv2d, x: Tensor) -> Any:
    try:
        return conv(x).shape
    except Exception as error:
        return type(error), str(error)


# Gradients.


@pytest.mark.parametrize("size", [ONE, FEW, MANY])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_those_of_the_linear_reshaped(size: Any, dtype: torch.dtype) -> None:
    conv = whole_cast(dtype)
    linear = nn.Linear(60, 32, dtype=dtype)
    linear.load_state_dict({"weight": conv.weight.flatten(1), "bias": conv.bias})
    x = whole(2, 3, *size, dtype=dtype).requires_grad_()
    weights = whole(*conv(x).shape, dtype=dtype)
    (weights * conv(x)).sum().backward()
    by_conv, x.grad = x.grad, None
    rows = F.unfold(x, (5, 4)).transpose(1, 2)  # the Linear on each window
    (weights.flatten(2).transpose(1, 2) * linear(rows)).sum().backward()
    assert torch.equal(conv.weight.grad.flatten(1), linear.weight.grad)
    assert torch.equal(conv.bias.grad, linear.bias.grad)
    assert torch.equal(by_conv, x.grad)


def second(conv: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Gradients of ‖d(Σy²)/dx‖², for which d(Σy²)/dx has to be differentiated in its turn."""
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(conv(x).square().sum() / 2, x, create_graph=True)
    return torch.autograd.grad(first.square().sum() / 2, (x, conv.weight, conv.bias))


@pytest.mark.parametrize("size", [ONE, FEW])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fast_way_can_be_differentiated_twice(size: Any, dtype: torch.dtype) -> None:
    conv, x = whole_cast(dtype), whole(1, 3, *size, most=1, dtype=dtype)
    assert max(t.abs().max() for t in second(conv, x)) < 2**24
    for found, wanted in zip(second(conv, x), second(as_plain(conv), x), strict=True):
        assert torch.equal(found, wanted)


def test_numeric_differences_agree_with_both_gradients() -> None:
    conv = linear_to_conv(nn.Linear(8, 16).double(), (2, 2, 2))
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert products(lambda: conv(x)) == ["addmm"]
    assert torch.autograd.gradcheck(lambda x, w: functional_call(conv, {"weight": w}, x), (x, conv.weight))
    assert torch.autograd.gradgradcheck(lambda x, w: functional_call(conv, {"weight": w}, x), (x, conv.weight))


@pytest.mark.parametrize("size", [ONE, FEW])
def test_what_torch_func_does_to_conv2d_it_does_to_the_cast(size: Any) -> None:
    conv, x = whole_cast(), whole(1, 3, *size)
    state = {name: p.detach() for name, p in conv.named_parameters()}
    both = [lambda x, state=state, net=net: functional_call(net, state, (x,)) for net in (conv, as_plain(conv))]
    assert torch.equal(*(vmap(net)(torch.stack([x, 2 * x])) for net in both))
    assert torch.equal(*(jvp(net, (x,), (x + 1,))[1] for net in both))


# The faster way, and where it is taken. Counted by what multiplies; a clock would tell less.


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", NUMBERS)
def test_one_window_is_one_product_with_the_matrix(dtype: torch.dtype, bias: bool) -> None:
    conv = whole_cast(dtype, bias)
    for shape in ((1, *SMALL), SMALL):
        assert products(lambda: conv(whole(*shape, dtype=dtype))) == ["addmm" if bias else "mm"]  # noqa: B023


@pytest.mark.parametrize("shape", [(1, 3, 7, 6), (3, 7, 6), (9, *SMALL)])
@pytest.mark.parametrize("dtype", [torch.float64, *HALVES])
def test_several_windows_are_one_product_as_well(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    assert products(lambda: whole_cast(dtype)(whole(*shape, dtype=dtype))) == ["addmm"]


@pytest.mark.parametrize("shape", [(1, 3, 7, 6), (3, 7, 6), (9, *SMALL)])
def test_in_float32_the_nine_windows_are_the_kernels(shape: tuple[int, ...]) -> None:
    assert products(lambda: whole_cast()(whole(*shape))) == [(9, 60, 1, 1)]


@pytest.mark.parametrize("copies", [lambda x: x.contiguous(memory_format=torch.channels_last), lambda x: x[..., ::2]])
def test_the_windows_of_a_map_in_any_order_are_taken(copies: Any) -> None:
    assert products(lambda: whole_cast()(copies(whole(1, 3, 7, 12))[..., :6])) == [(9, 60, 1, 1)]


def test_no_more_windows_than_rows_are_copied() -> None:
    conv, own = whole_cast(rows=12), (12, *SMALL)
    assert products(lambda: conv(whole(1, 3, 8, 6))) == [(12, 60, 1, 1)]  # 4×3 windows
    assert products(lambda: conv(whole(1, 3, 8, 7))) == [own]
    assert products(lambda: conv(whole(2, 3, 8, 6))) == [own]
    assert products(lambda: conv(whole(13, *SMALL))) == [own]
    assert products(lambda: conv(whole(0, *SMALL))) in (["addmm"], [])


@pytest.mark.parametrize("settings", SETTINGS[:2], ids=str)
def test_a_stride_leaves_windows_out(settings: dict[str, Any]) -> None:
    conv = Conv2d(3, 32, (5, 4), **settings)
    places = {"stride": 2 * 1}.get(next(iter(settings)), 3 * 3)
    assert products(lambda: conv(whole(1, 3, 7, 6))) == [(places, 60, 1, 1)]


@pytest.mark.parametrize("settings", SETTINGS[2:], ids=str)
def test_where_the_faster_way_does_not_apply_it_is_not_taken(settings: dict[str, Any]) -> None:
    conv = Conv2d(3, 33, (5, 4), **settings)
    assert products(lambda: conv(whole(1, 3, 10, 8))) == [tuple(conv.weight.shape)]


def test_a_weight_that_would_have_to_be_copied_goes_to_conv2d() -> None:
    conv = whole_cast().to(memory_format=torch.channels_last)
    assert products(lambda: conv(whole(1, 3, *FEW))) == [(32, *SMALL)]


def test_on_meta_the_cast_is_conv2d() -> None:
    conv = linear_to_conv(nn.Linear(60, 32, device="meta"), SMALL)
    assert products(lambda: conv(torch.zeros(1, 3, *FEW, device="meta"))) == [(32, *SMALL)]


def test_a_tensor_of_a_class_of_its_own_goes_to_conv2d() -> None:
    class Image(Tensor):
        pass

    assert products(lambda: whole_cast()(whole(1, 3, *FEW).as_subclass(Image))) == [(32, *SMALL)]


def test_compiled_and_exported_graphs_hold_one_conv2d() -> None:
    conv, x, seen = whole_cast(), whole(1, 3, *FEW), []

    def backend(graph: Any, _: Any) -> Any:
        seen.append([node.target for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    assert torch.equal(torch.compile(conv, backend=backend, fullgraph=True)(x), conv(x))
    assert seen == [[torch.conv2d]]
    exported = torch.export.export(conv, (x,)).graph
    assert [n.target for n in exported.nodes if n.op == "call_function"] == [torch.ops.aten.conv2d.default]
    assert "conv2d" in torch.fx.symbolic_trace(conv).code


def test_torchscript_traces_and_compiles_plain_conv2d() -> None:
    conv, x = whole_cast(), whole(1, 3, *FEW)
    traced, compiled = torch.jit.trace(conv, x), torch.jit.script(conv)
    assert "unfold" not in str(traced.inlined_graph) and "unfold" not in str(compiled.inlined_graph)
    for shape in ((1, *SMALL), (1, 3, 9, 9), (2, 3, 12, 8)):
        y = whole(*shape)
        assert torch.equal(traced(y), conv(y)) and torch.equal(compiled(y), conv(y))


# Seen from outside.


def test_the_cast_is_one_step_of_a_trace_and_its_law_is_known(linear: nn.Linear) -> None:
    conv = linear_to_conv(linear, SMALL)
    (step,) = trace(conv, (1, 3, 9, 9))
    assert (step.kind, step.operation, step.output_shape, step.is_call) == ("Conv2d", "conv", (1, 32, 5, 6), False)
    assert step.window is not None and step.window.kernel == (5, 4)
    (real,) = trace(conv, torch.zeros(1, 3, 9, 9))
    assert (real.output_shape, real.macs, real.params) == (step.output_shape, step.macs, step.params)
    found = law(conv, (1, 3, "H", "W"), within=32)
    assert str(found.steps[-1].output_shape) == "(1, 32, H - 4, W - 3)"


class Weight(nn.Module):
    """A weight, and no layer: the call is in the forward."""

    def __init__(self, dilation: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(whole(32, *SMALL)), nn.Parameter(whole(32))
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias, self.dilation)


@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("size", [(9, 4), (10, 6), MANY])
def test_the_call_without_a_layer_is_conv2d_too(size: Any, dilation: tuple[int, int]) -> None:
    net, x = Weight(dilation), whole(1, 3, *size)
    assert torch.equal(net(x), F.conv2d(x, net.weight, net.bias, dilation=dilation))
    assert torch.equal(torch.jit.script(net)(x), net(x))


def test_the_call_without_a_layer_is_fast_and_to_a_trace_one_step() -> None:
    net, x = Weight(), whole(1, 3, *FEW)
    assert products(lambda: net(x)) == [(9, 60, 1, 1)]
    assert products(lambda: Weight((1, 2))(x.repeat(1, 1, 1, 2))) == [(32, *SMALL)]
    for given in (x, tuple(x.shape)):
        assert [(step.name, step.operation, step.output_shape) for step in trace(net, given)] == [
            ("conv2d", "conv", (1, 32, 3, 3))
        ]
    assert "conv2d" in torch.fx.symbolic_trace(net).code
    assert str(law(net, (1, 3, "H", "W"), within=32).steps[-1].output_shape) == "(1, 32, H - 4, W - 3)"


# What cannot be cast.


def test_a_map_of_another_size_is_refused_with_both_products() -> None:
    wide = nn.Linear(512 * 7 * 7, 8, device="meta")
    with pytest.raises(SurgeryError) as caught:
        linear_to_conv(wide, (512, 8, 8))
    assert str(caught.value).replace("\u202f", " ") == (
        "Linear has 25 088 columns, a 512×8×8 map has another count: 25 088 ≠ 512·8·8 = 32 768"
    )


@pytest.mark.parametrize("shape", [(), (60,), (3, 20), (3, 5, 0), (3, -5, -4), (3.0, 5, 4), None, "3x5", (True, 60, 1)])
def test_what_is_no_map_is_refused(linear: nn.Linear, shape: Any) -> None:
    with pytest.raises(
        SurgeryError, match="Linear is cast for a map of .channels, height, width., each from 1 up, not"
    ):
        linear_to_conv(linear, shape)


def test_what_is_no_plain_linear_is_refused(linear: nn.Linear) -> None:
    with pytest.raises(SurgeryError, match="casts an nn.Linear, and was given Conv2d"):
        linear_to_conv(nn.Conv2d(3, 3, 1), (3, 1, 1))  # type: ignore[arg-type]
    with pytest.raises(SurgeryError, match="the weight of ParametrizedLinear is computed from other"):
        linear_to_conv(nn.utils.parametrizations.weight_norm(linear), SMALL)
    with pytest.raises(SurgeryError, match="LazyLinear has no weight yet"):
        linear_to_conv(nn.LazyLinear(3), SMALL)
    sparse = nn.Linear(60, 32)
    sparse.weight = nn.Parameter(sparse.weight.detach().to_sparse())
    with pytest.raises(SurgeryError, match="the weight of Linear is sparse_coo: only numbers that lie"):
        linear_to_conv(sparse, SMALL)
    assert issubclass(SurgeryError, FcnvizError)

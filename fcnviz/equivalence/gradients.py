"""The gradient of a Linear's weight against that of the kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fcnviz.equivalence.layers import checked, conv_name, linear_name, windows_of
from fcnviz.equivalence.rounding import arithmetic_of, plain, stored
from fcnviz.equivalence.verdict import Comparison, Pair, judged
from fcnviz.records import Shape


def compare_gradients(linear: nn.Linear, conv: nn.Conv2d, x: Tensor, seed: int = 0) -> Comparison:
    """Whether the gradient of the kernel is that of the Linear's weight, reshaped.

    Both layers answer to x; the same random numbers, drawn from `seed`, stand for what comes back from the loss. An
    entry of dL/dW is a sum with one term for each window. Neither layer's `.grad` is touched.

    >>> linear = nn.Linear(4, 2)
    >>> conv = nn.Conv2d(1, 2, 2)
    >>> _ = conv.load_state_dict({"weight": linear.weight.view(2, 1, 2, 2), "bias": linear.bias})
    >>> compare_gradients(linear, conv, torch.rand(1, 1, 2, 2)).verdict
    'bit-equal'
    """
    image = checked(linear, conv, x)
    with plain():
        windows = windows_of(conv, image)
        sizes = conv(image).shape
        generator = torch.Generator("cpu").manual_seed(seed)
        back = torch.randn(sizes, generator=generator, device="cpu").to(image)
        rows = back.transpose(0, 1).flatten(1)  # outputs × windows
    one = _gradient(linear, windows, rows.T)
    other = _gradient(conv, image, back)
    pair = Pair(
        names=(f"dL/dW of {linear_name(linear)}", f"dL/dW of {conv_name(conv)}"),
        shapes=(Shape(one.shape), Shape(other.shape)),
        input_shape=Shape(x.shape),
        one=one,
        other=other.flatten(1),
        sums=lambda some: rows[some].double().abs() @ windows.double().abs(),
        bias=torch.zeros(len(one), device=one.device),
        roundings=len(windows) + 1,
        arithmetic=stored(arithmetic_of(windows), times=len(image)),  # torch may add up image after image
    )
    return judged(pair, ())


def _gradient(layer: nn.Linear | nn.Conv2d, x: Tensor, back: Tensor) -> Tensor:
    """dL/dW of one layer, on a copy of its weight's handle, so that frozen layers and `.grad` stay as they are."""
    modes = torch.inference_mode(False), torch.enable_grad()
    with modes[0], modes[1], torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        weight, x, back = (t.detach().clone() if t.is_inference() else t.detach() for t in (layer.weight, x, back))
        weight.requires_grad_()
        answers = torch.func.functional_call(layer, {"weight": weight}, (x,))
        return torch.autograd.grad(answers, weight, back)[0]

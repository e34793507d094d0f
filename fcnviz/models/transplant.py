"""The weights of one network in another, in the same memory: a classifier's in an FCN, a coarser FCN's in a finer one.

Nothing is copied: what an optimiser or `load` writes into one of the two is in the other as well. That ends, without a
word, when one of them gets other memory: `.to(dtype)`, `.half()` and `.to(device)` give it to the net they are called
on, and `copy.deepcopy` to the copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fcnviz.cast import linear_to_conv
from fcnviz.errors import InputError
from fcnviz.models.weights import draw
from fcnviz.twin import is_script, like, walk
from fcnviz.upsampling import fill

Named = tuple[str, nn.Module]


def share_classifier(model: nn.Module, classifier: nn.Module, known_as: str, seed: int | None) -> None:
    """Gives every convolution of `model` up to fc7 the weights of the classifier's layer in the same place.

    Convolutions share their weights, a Linear is cast to the kernel that stands in its place, and the layer of the
    classes, which is the classifier's last, is left out. All other layers are new: `renew`.

    Raises:
        InputError: a classifier with other layers; the sentence names the first that differs.
    """
    wanted = [(name, layer) for name, layer in _convolutions(model) if not name.startswith("score")]
    given = _layers_with_weights(classifier, known_as)
    called = type(model).__name__
    if len(given) != len(wanted) + 1:
        raise InputError(
            f"{called} is made from {known_as}, which has {len(wanted) + 1} layers with weights, the last for the "
            f"classes; {type(classifier).__name__} has {len(given)}"
        )
    for (name, layer), (path, source) in zip(wanted, given, strict=False):
        _share(layer, _as_convolution(source, layer, f"{path} of {type(classifier).__name__}", f"{name} of {called}"))
    renew(model, [name for name, _ in wanted], seed)


def from_coarser(model: nn.Module, coarser: nn.Module, seed: int | None) -> None:
    """Gives every convolution of `model` that `coarser` has too its weights; renews the others, as the authors did.

    Raises:
        InputError: a coarser net with another number of classes.
    """
    theirs = dict(_convolutions(coarser))
    kept = [(name, layer) for name, layer in _convolutions(model) if name in theirs]
    for name, layer in kept:
        ours, there = layer.weight.shape, theirs[name].weight.shape
        if ours != there:
            raise InputError(f"{name} of {type(coarser).__name__} has weights {_by(there)}, {_by(ours)} are needed")
        _share(layer, theirs[name])
    renew(model, [name for name, _ in kept], seed)


@torch.no_grad()
def renew(model: nn.Module, kept: Sequence[str], seed: int | None) -> None:
    """All layers but the kept ones as the authors began with them: scores 0, upsampling bilinear.

    With a seed the scores are drawn instead. Device and number type are those of the kept weights.
    """
    like_this = next(model.get_submodule(kept[-1]).parameters())
    scores = [layer.to_empty(device="cpu") for name, layer in _convolutions(model) if name not in kept]
    parameters = [parameter for layer in scores for parameter in layer.parameters()]
    for parameter in parameters:
        parameter.zero_()
    if seed is not None:
        draw(parameters, seed)
    for layer in _upsamplings(model):
        layer.to_empty(device="cpu")
        fill(layer)
    for new in [*scores, *_upsamplings(model)]:
        new.to(device=like_this.device, dtype=like_this.dtype)


def fill_upsamplings(model: nn.Module) -> None:
    """Gives every transposed convolution of a model with numbers its bilinear weights."""
    for layer in _upsamplings(model):
        fill(layer)


def _convolutions(model: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    return [(name, layer) for name, layer in model.named_children() if isinstance(layer, nn.Conv2d)]


def _upsamplings(model: nn.Module) -> list[nn.ConvTranspose2d]:
    return [layer for layer in model.children() if isinstance(layer, nn.ConvTranspose2d)]


def _share(layer: nn.Conv2d, source: nn.Conv2d) -> None:
    layer.weight = _shared(source.weight)
    layer.bias = None if source.bias is None else _shared(source.bias)


def _shared(tensor: Tensor) -> Any:
    return like(tensor, tensor.detach())


def _layers_with_weights(classifier: nn.Module, known_as: str) -> list[Named]:
    if not isinstance(classifier, nn.Module):
        raise InputError(f"from_classifier takes a network, {known_as}, and was given {type(classifier).__name__}")
    return [(path or type(layer).__name__, layer) for path, layer in walk(classifier) if _has_weights(layer)]


def _has_weights(layer: nn.Module) -> bool:
    return is_script(layer) or any(t is not None for t in (*layer._parameters.values(), *layer._buffers.values()))


def _as_convolution(source: nn.Module, layer: nn.Conv2d, here: str, there: str) -> nn.Conv2d:
    """The classifier's layer as a convolution that has the sizes of `layer`."""
    if isinstance(source, nn.Linear) and source.in_features == layer.weight[0].numel():
        source = linear_to_conv(source, tuple(layer.weight.shape[1:]))
    if not isinstance(source, nn.Conv2d) or source._parameters.get("weight") is None:
        raise InputError(f"{here} is {_described(source)}; {there} needs {_described(layer)}")
    settings = [(m.weight.shape, m.stride, m.dilation, m.groups, m.bias is None) for m in (source, layer)]
    if settings[0] != settings[1]:
        raise InputError(f"{here} is {_described(source)}; {there} needs {_described(layer)}")
    return source


def _described(layer: nn.Module) -> str:
    """Without the padding, which an FCN is free to choose."""
    if not isinstance(layer, nn.Conv2d):
        return f"{type(layer).__name__}({layer.extra_repr()})"
    words = [f"{layer.out_channels} filters of {_by((layer.in_channels // layer.groups, *layer.kernel_size))}"]
    words += [f"stride {layer.stride[0]}"] if max(layer.stride) > 1 else []
    words += [f"dilation {layer.dilation[0]}"] if max(layer.dilation) > 1 else []
    words += [f"{layer.groups} groups"] if layer.groups > 1 else []
    return ", ".join(words) + ("" if layer.bias is not None else ", without bias")


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))

"""A classifier → a fully convolutional network with the same weights: the plan, carried out on a twin.

What this file does not do: decide. What becomes of which step stands in `plan`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import fx, nn

from fcnviz.errors import AlreadyConvolutional, InputError, SurgeryError
from fcnviz.records import Shape, Trace
from fcnviz.surgery.cast import cast
from fcnviz.surgery.plan import Cast, Channels, Drop, Edit, Norm, Pool, plan
from fcnviz.surgery.rewrite import made_by, noted, put, rewritten
from fcnviz.trace import trace
from fcnviz.twin import Parts, is_script, parts_of, sharing, twin


def convolutionalize(model: nn.Module, shape: Sequence[int]) -> nn.Module:
    """A network that says at every place of a larger image what the classifier says of one image.

    N×C×H×W → N×classes at the size it was made for becomes N×classes×1×1 there, and a map at larger sizes: the first
    Linear is a convolution with a kernel of the map's size, later ones have 1×1 kernels, pooling of the whole map is
    pooling of every window, and flattening is gone. Where a layer was stands an `nn.Identity`: no other is renamed.

    The parameters have the names they had, lie in the model's own memory (its buffers are copied) and have gradients of
    their own, as with `linear_to_conv`; a `state_dict` of the model loads. The model stays as it is, and each layer of
    the result is in the mode that it has there; hooks of a layer that is cast are not carried over. A module whose own
    forward flattens or pools gets a forward written by torch.fx, as it runs in eval mode; all others keep their class.

    Args:
        model: a classifier of images. Its Linears may be reached through flatten, view, reshape, adaptive or
            global pooling, or mean over H and W; between them ReLU and its like, Dropout, BatchNorm1d, softmax.
        shape: (N, C, H, W), the size the classifier was made for.

    Returns:
        The network; the model itself, with a warning of the kind `AlreadyConvolutional`, if there is nothing to cast.

    Raises:
        InputError: what `trace` would refuse.
        SurgeryError: the model does not run at this size, or has a step for which there is no convolution.

    >>> from fcnviz import models
    >>> dense = convolutionalize(models.vgg16(), (1, 3, 224, 224))
    >>> dense.classifier[0]
    Conv2d(512, 4096, kernel_size=(7, 7), stride=(1, 1))
    >>> trace(dense, (1, 3, 384, 384)).output_shape
    (1, 1000, 6, 6)
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile has wrapped
    seen = _traced(model, shape)
    edits = plan(seen)
    dense = _carried_out(model, seen, edits) if edits else model
    _check_growth(dense, seen.input_shapes[0])
    if dense is model:
        name = type(model).__name__
        told = f"{name} flattens and pools nothing: it is fully convolutional already, and is returned as it is"
        warnings.warn(told, AlreadyConvolutional, stacklevel=2)
    return dense


def _traced(model: nn.Module, shape: Sequence[int]) -> Trace:
    """The trace of two images, so that an axis of one number is not taken for the batch."""
    if not isinstance(shape, tuple | list) or len(shape) != 4:
        raise InputError(
            f"convolutionalize needs the shape (N, C, H, W) that the model was made for, and was given {shape!r}"
        )
    name, shape = type(model).__name__, tuple(shape)
    seen = trace(model, shape)
    if seen.failure is None and shape[0] == 1:
        seen = trace(model, (2, *shape[1:]))
    if seen.failure is not None:
        step = seen.failure.step
        given = tuple(seen.input_shapes[0])
        raise SurgeryError(f"{name} does not run on {given}: {step.name} ({step.kind}): {seen.failure.message}")
    if any(is_script(module) for _, module in parts_of(model)):
        raise SurgeryError(f"{name} holds compiled TorchScript, whose layers cannot be exchanged")
    return seen


def _check_growth(dense: nn.Module, shape: Shape) -> None:
    """Raises where the result does not take an image twice as high and wide."""
    n, c, h, w = shape
    seen = trace(dense, (n, c, 2 * h, 2 * w))
    if seen.failure is not None:
        step, words = seen.failure.step, seen.failure.message
        raise SurgeryError(
            f"{type(dense).__name__} cannot be cast: {step.name} ({step.kind}) takes no larger map than that of a "
            f"{h}×{w} image: {words}"
        )


def _carried_out(model: nn.Module, seen: Trace, edits: Mapping[int, Edit]) -> nn.Module:
    parts = twin(parts_of(model), sharing, keep_mode=True)
    layers = {path: edit for path, edit in _by_layer(seen, edits).items() if edit is not None}
    forwards = {path: noted(dict(parts)[path], path) for path in _owners(seen, edits)}
    by_node = _by_node(parts, forwards, seen, edits)
    modules = dict(parts)
    instead = {id(modules[path]): _layer(modules[path], edit, path) for path, edit in layers.items()}
    parts = put(parts, instead)
    for path, graph in reversed(forwards.items()):  # the deeper ones first
        module = dict(parts)[path]
        parts = put(parts, {id(module): rewritten(module, graph, by_node[path])})
    return parts[0][1]


def _by_layer(seen: Trace, edits: Mapping[int, Edit]) -> dict[str, Edit | None]:
    """For each layer what becomes of it; it may run several times."""
    found: dict[str, Edit | None] = {}
    for step in seen:
        if step.is_call:
            continue
        edit = edits.get(step.index)
        if found.setdefault(step.path, edit) != edit:
            raise SurgeryError(_two_roles(seen.model, f"{step.path} ({step.kind})"))
    return found


def _two_roles(model: str, name: str) -> str:
    return f"{model} cannot be cast: {name} runs several times, and not all of them lead from a map to the answer alike"


def _owners(seen: Trace, edits: Mapping[int, Edit]) -> list[str]:
    """The modules whose own forward makes a call that changes."""
    return sorted({seen[index].path for index in edits if seen[index].is_call})


def _by_node(
    parts: Parts, forwards: Mapping[str, fx.Graph], seen: Trace, edits: Mapping[int, Edit]
) -> dict[str, dict[fx.Node, Edit]]:
    if not forwards:
        return {}
    steps, made = made_by(parts, forwards, seen.input_shapes[0])
    if [(s.name, s.output_shape) for s in steps] != [(s.name, s.output_shape) for s in seen]:
        raise SurgeryError(f"{seen.model} cannot be cast: torch.fx follows its forward another way than it runs")
    found: dict[str, dict[fx.Node, Edit]] = {path: {} for path in forwards}
    for path, graph in forwards.items():
        for node in graph.nodes:
            own = {i for i in made.get(node, ()) if seen[i].is_call and seen[i].path == path}
            wanted = {edits.get(i) for i in own}
            if len(wanted) > 1:
                raise SurgeryError(_two_roles(seen.model, str(node)))
            edit = wanted.pop() if wanted else None
            if edit is not None:
                found[path][node] = edit
    return found


# What becomes of a layer.


def _layer(layer: nn.Module, edit: Edit, path: str) -> nn.Module:
    try:
        made = _MAKERS[type(edit)](layer, edit)
    except SurgeryError as error:
        raise SurgeryError(f"{path}: {error}") from error
    return made.train(layer.training)


def _identity(layer: nn.Module, edit: Drop) -> nn.Module:
    return nn.Identity()


def _pool(layer: nn.Module, edit: Pool) -> nn.Module:
    return (nn.MaxPool2d if edit.kind == "max" else nn.AvgPool2d)(edit.kernel, stride=1)


def _cast(layer: Any, edit: Cast) -> nn.Module:
    return cast(layer, edit.shape, edit.dilation)


def _norm(layer: Any, edit: Norm) -> nn.Module:
    norm = nn.BatchNorm2d(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats, "meta"
    )
    norm._parameters.update(layer._parameters)
    norm._buffers.update(layer._buffers)
    return norm


def _softmax(layer: Any, edit: Channels) -> nn.Module:
    return type(layer)(dim=1)


_MAKERS: dict[type, Callable[[Any, Any], nn.Module]] = {
    Drop: _identity,
    Pool: _pool,
    Cast: _cast,
    Norm: _norm,
    Channels: _softmax,
}

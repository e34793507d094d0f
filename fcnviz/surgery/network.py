"""A classifier → a fully convolutional network with the same weights: the plan, carried out on a twin.

What this file does not do: decide. What becomes of which step stands in `plan`.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, fx, nn

from fcnviz.cast import cast
from fcnviz.errors import AlreadyConvolutional, InputError, RealTensorNeeded, SeesMoreThanItsWindow, SurgeryError
from fcnviz.operations import is_torch_layer
from fcnviz.records import Trace
from fcnviz.surgery.places import called, own_statistics
from fcnviz.surgery.plan import Cast, Channels, Drop, Edit, Norm, Pool, plan
from fcnviz.surgery.rewrite import HOOKS, inputs_of, made_by, noted, put, rewritten
from fcnviz.surgery.windows import beyond_windows, check_moves, explained
from fcnviz.trace import trace
from fcnviz.twin import Parts, is_script, parts_of, sharing, twin, uncompiled

_ALONE = threading.RLock()  # torch.fx replaces `nn.Module.__call__` for every thread while it follows a forward


def convolutionalize(model: nn.Module, shape: Sequence[int]) -> nn.Module:
    """The same weights as a network that takes larger images and answers with a map: one answer for each window.

    N×C×H×W → N×classes at the size it was made for becomes N×classes×1×1 there, and a map at larger sizes: the first
    Linear is a convolution with a kernel of the map's size, later ones have 1×1 kernels, pooling of the whole map is
    pooling of every window, and flattening is gone. Where a layer was stands an `nn.Identity`: no other is renamed.

    At its own size the dense net gives the classifier's answer, within rounding. On a larger image a cell is what the
    classifier says of that window **only if nothing pads and nothing looks beyond the window**. A layer that pads gives
    a crop zeros where the dense run has its neighbours, and a pooling that rounds up (`ceil_mode`) a window cut short:
    `fcnviz.patches` measures how far that reaches. A step that looks at the whole map (InstanceNorm, a
    squeeze-and-excitation gate, softmax over H and W) is told of in a warning.

    The parameters have the names they had, lie in the model's own memory (its buffers are copied) and have gradients of
    their own, as with `linear_to_conv`; a `state_dict` of the model loads. The model stays as it is (Python code in its
    hooks and its forward does run, on tensors without numbers), and each layer of the result is in the mode that it has
    there. A module whose own forward flattens or pools becomes an `fx.GraphModule`, which has its layers, weights,
    hooks and other attributes, but not its class and its methods; its forward is as it runs in eval mode and at this
    size. All other modules keep their class.

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
    _check(model, shape)
    model = uncompiled(model)
    with _ALONE:
        dense, warning = _made(model, shape)
    if warning is not None:
        warnings.warn(warning, stacklevel=2)
    return dense


def _made(model: nn.Module, shape: Sequence[int]) -> tuple[nn.Module, Warning | None]:
    seen = _traced(model, shape)
    edits = _planned(model, seen)
    dense = _carried_out(model, seen, edits) if edits else model
    if not edits:
        _grown(dense, seen)
        name = type(model).__name__
        told = f"{name} flattens and pools nothing: it is fully convolutional already, and is returned as it is"
        return model, AlreadyConvolutional(told)
    at, statistics = _as_torchs(dense, trace(dense, seen.input_shapes[0])), own_statistics(dense)
    check_moves(seen.model, at)
    told = beyond_windows(seen.model, at, _grown(dense, seen), statistics)
    return dense, SeesMoreThanItsWindow(told) if told else None


def _check(model: Any, shape: Any) -> None:
    if isinstance(model, type) and issubclass(model, nn.Module):
        name = model.__name__
        raise InputError(f"convolutionalize needs a network, and {name} is a class: make one first, {name}(…)")
    if not isinstance(model, nn.Module):
        raise InputError(f"convolutionalize needs a torch.nn.Module first, and was given {type(model).__name__}")
    if isinstance(shape, Tensor):
        raise InputError(f"convolutionalize needs a shape, and was given a tensor: its shape is {tuple(shape.shape)}")
    if not isinstance(shape, tuple | list) or len(shape) != 4:
        raise InputError(
            f"convolutionalize needs the shape (N, C, H, W) that the model was made for, and was given {shape!r}"
        )
    if any(is_script(module) for _, module in parts_of(model)):
        raise SurgeryError(f"{type(model).__name__} holds compiled TorchScript, whose layers cannot be exchanged")


def _traced(model: nn.Module, shape: Sequence[int]) -> Trace:
    """The trace of two images, so that an axis of one number is not taken for the batch."""
    name, shape = type(model).__name__, tuple(shape)
    try:
        seen = trace(model, shape)
    except RealTensorNeeded as error:
        why = str(error).rpartition("; ")[0]  # without the way out, which is trace's
        raise SurgeryError(f"{name} cannot be cast: {why}") from error
    if seen.failure is None and shape[0] == 1:
        seen = trace(model, (2, *shape[1:]))
    if seen.failure is not None:
        step = seen.failure.step
        given = tuple(seen.input_shapes[0])
        raise SurgeryError(f"{name} does not run on {given}: {called(step)}: {explained(seen.failure)}")
    return _as_torchs(model, seen)


def _as_torchs(model: nn.Module, seen: Trace) -> Trace:
    """The trace with torch's own name for each layer whose class only adds a name to one of torch's."""
    kinds = {path: kind for path, module in parts_of(model) if (kind := _torch_kind(type(module)))}
    steps = (s if s.is_call or s.path not in kinds else replace(s, kind=kinds[s.path]) for s in seen)
    return replace(seen, steps=tuple(steps))


def _torch_kind(cls: Any) -> str | None:
    own = (base for base in cls.__mro__ if base.__module__.startswith("torch.nn.modules."))
    return next(own).__name__ if is_torch_layer(cls) and not cls.__module__.startswith(("torch.", "fcnviz.")) else None


def _planned(model: nn.Module, seen: Trace) -> dict[int, Edit]:
    """The plan; refused are hooks and forwards of their own on layers that it exchanges."""
    special = {path: why for path, module in parts_of(model) if (why := _is_special(module))}
    try:
        edits = plan(seen)
        changed = {seen[index].path for index in edits if not seen[index].is_call}
    except SurgeryError:
        changed = {path for path, module in parts_of(model) if isinstance(module, nn.Linear)}
        if not changed & set(special):
            raise
    for path in sorted(changed & set(special)):
        raise SurgeryError(f"{seen.model} cannot be cast: {path} {special[path]}")
    return edits


def _is_special(module: nn.Module) -> str | None:
    if "forward" in module.__dict__:
        return "has a forward of its own, put on the layer itself, and a convolution would not run it"
    if any(module.__dict__.get(name) for name in HOOKS):
        return "has hooks, which would meet a map in place of a row: take them off, and put them on the result"
    return None


def _grown(dense: nn.Module, seen: Trace) -> Trace:
    """The trace of one image more, twice as high and three times as wide.

    Raises:
        SurgeryError: the dense net does not take it.
    """
    n, c, h, w = seen.input_shapes[0]
    grown = trace(dense, (n + 1, c, 2 * h, 3 * w))
    if grown.failure is not None:
        why = f"takes no larger map than that of a {h}×{w} image: {grown.failure.message}"
        raise SurgeryError(f"{seen.model} cannot be cast: {called(grown.failure.step)} {why}")
    return _as_torchs(dense, grown)


def _carried_out(model: nn.Module, seen: Trace, edits: Mapping[int, Edit]) -> nn.Module:
    parts = twin(parts_of(model), sharing, keep_mode=True)
    layers = {path: edit for path, edit in _by_layer(seen, edits).items() if edit is not None}
    forwards = _forwards(parts, seen, edits)
    by_node = _by_node(parts, forwards, seen, edits)
    modules = dict(parts)
    instead = {id(modules[path]): _layer(modules[path], edit, path) for path, edit in layers.items()}
    _tie({id(module): module for module in modules.values()}, instead)
    parts = put(parts, instead)
    for path, graph in reversed(forwards.items()):  # the deeper ones first
        module = dict(parts)[path]
        parts = put(parts, {id(module): rewritten(module, graph, by_node[path])})
    return parts[0][1]


def _tie(before: Mapping[int, nn.Module], instead: Mapping[int, nn.Module]) -> None:
    """Layers that shared a parameter share one again, where they still give it the same shape."""
    found: dict[Any, nn.Parameter] = {}
    for key, made in instead.items():
        for name, parameter in made._parameters.items():
            if parameter is not None:
                was = before[key]._parameters[name]
                made._parameters[name] = found.setdefault((id(was), parameter.shape), parameter)


def _forwards(parts: Parts, seen: Trace, edits: Mapping[int, Edit]) -> dict[str, fx.Graph]:
    """The forwards that make a call which changes, as nodes."""
    owners = _owners(seen, edits)
    for path in owners:
        _check_forward(dict(parts)[path], path)
    given = inputs_of(parts, owners, seen.input_shapes[0]) if owners else {}
    return {path: noted(dict(parts)[path], path, given.get(path)) for path in owners}


def _check_forward(module: nn.Module, path: str) -> None:
    """Refuses what torch.fx would not follow: it takes the class's forward, and another one runs."""
    if "forward" in module.__dict__:
        name = f"{path} ({type(module).__name__})" if path else type(module).__name__
        raise SurgeryError(f"{name} cannot be cast: its forward, put on the module itself, would have to be rewritten")


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

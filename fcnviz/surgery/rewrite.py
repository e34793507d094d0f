"""A forward whose calls change: `x.flatten(1)`, `F.adaptive_avg_pool2d(x, 7)`, `F.linear(x, w)` between layers.

Layers can be exchanged one by one; a call stands in the code of a forward. torch.fx runs that code once on stand-ins
and notes every call as a node. Nodes can be exchanged as well, and torch.fx writes a forward from them. Only the module
that makes such a call is rewritten; its layers and all other modules stay what they are.

What this file does not do: find out which calls change. `plan` says so about steps of a trace; to learn which node made
which step, the nodes are run one by one under the same recorder.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fcnviz.errors import SurgeryError
from fcnviz.recorder import Recorder
from fcnviz.records import Step
from fcnviz.surgery.plan import Cast, Channels, Drop, Edit, Pool
from fcnviz.twin import Parts, on_meta, twin

Steps = dict[fx.Node, set[int]]  # which steps of the trace each node of a forward made


class Forward(fx.GraphModule):
    """A module with a rewritten forward. It prints as a module; `.code` is the forward."""

    def __str__(self) -> str:
        return nn.Module.__repr__(self)


def noted(module: nn.Module, path: str) -> fx.Graph:
    """The calls of a module's forward as nodes; the modules below it are called, not looked into.

    Raises:
        SurgeryError: the forward decides by numbers or sizes which way it goes, so one run does not show all of it.
    """
    try:
        graph = _run(module, training=False)
        if any(node.op == "get_attr" and str(node.target).startswith("_tensor_constant") for node in graph.nodes):
            raise SurgeryError("it makes a tensor of its own")
        _follow_the_mode(module, graph)
        for node in graph.nodes:
            node.type = None  # annotations, which torch.fx cannot pickle where they are strings
    except Exception as error:  # whatever foreign code raises when its tensors are stand-ins
        name = f"{path} ({type(module).__name__})" if path else type(module).__name__
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SurgeryError(f"{name} cannot be cast: torch.fx cannot follow its forward: {why}") from error
    return graph


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _defaults(module: nn.Module) -> dict[str, Any]:
    """Arguments of forward that are left at their defaults, so that the forward may decide by them."""
    parameters = list(inspect.signature(module.forward).parameters.values())[1:]
    return {p.name: p.default for p in parameters if isinstance(p.default, bool | int | float | str | None)}


def _run(module: nn.Module, training: bool) -> fx.Graph:
    was, module.training = module.training, training
    try:
        return _Tracer().trace(module, _defaults(module))
    finally:
        module.training = was


def _follow_the_mode(module: nn.Module, graph: fx.Graph) -> None:
    """Lets `training=self.training` follow the module's flag: what torch.fx saw of it is True or False for good."""
    try:
        other = _run(module, training=True)
    except (
        Exception
    ):  # whatever foreign code raises: in training it goes a way that cannot be followed, or no way at all
        return
    if [node.target for node in other.nodes] != [node.target for node in graph.nodes]:
        return
    for node, in_training in zip(graph.nodes, other.nodes, strict=True):
        for key, value in node.kwargs.items():
            if value is False and in_training.kwargs.get(key) is True:
                with graph.inserting_before(node):
                    node.update_kwarg(key, graph.create_node("get_attr", "training"))


class _Nodes(nn.Module):
    """Stands in for a module and runs its forward node by node."""

    def __init__(self, module: nn.Module, graph: fx.Graph, note: Callable[[fx.Node, bool], None]) -> None:
        super().__init__()
        signature = inspect.signature(module.forward)
        self.__dict__.update(module.__dict__)
        self.bind = signature.bind
        self.nodes = (_Interpreter(self, graph, note),)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        bound = self.bind(*args, **kwargs)
        bound.apply_defaults()
        return self.nodes[0].run(*bound.args, *bound.kwargs.values())


class _Interpreter(fx.Interpreter):
    def __init__(self, module: nn.Module, graph: fx.Graph, note: Callable[[fx.Node, bool], None]) -> None:
        super().__init__(module, garbage_collect_values=False, graph=graph)
        self.note = note

    def run_node(self, n: fx.Node) -> Any:
        self.note(n, True)
        try:
            return super().run_node(n)
        finally:
            self.note(n, False)


def made_by(parts: Parts, graphs: Mapping[str, fx.Graph], shape: tuple[int, ...]) -> tuple[list[Step], Steps]:
    """The steps of the model with these forwards run node by node, and for each node the steps that it made.

    >>> from fcnviz.twin import parts_of
    >>> parts = parts_of(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)))
    >>> [step.name for step in made_by(parts, {}, (1, 3, 2, 2))[0]]
    ['0', '1']
    """
    found: Steps = {}
    starts: dict[fx.Node, int] = {}

    def note(node: fx.Node, begins: bool) -> None:
        if begins:
            starts[node] = len(recorder.steps)
        else:
            found.setdefault(node, set()).update(range(starts[node], len(recorder.steps)))

    copied = twin(parts, on_meta)
    stand_ins = {path: _Nodes(module, graphs[path], note) for path, module in copied if path in graphs}
    originals = dict(copied)
    recorder = Recorder(put(copied, {id(originals[path]): module for path, module in stand_ins.items()}))
    dtype = next((t.dtype for t in parts[0][1].parameters() if t.dtype.is_floating_point), torch.get_default_dtype())
    with torch.device("meta"), torch.no_grad():
        run = recorder.run((torch.empty(shape, dtype=dtype, device="meta"),), {})
    return run.steps, found


def put(parts: Parts, instead: Mapping[int, nn.Module]) -> Parts:
    """The parts of a model after modules have been exchanged, by id, wherever they stand."""
    changed = [(path, instead.get(id(module), module)) for path, module in parts]
    for _, module in (*parts, *changed):
        for name, child in module._modules.items():
            if child is not None and id(child) in instead:
                module._modules[name] = instead[id(child)]
    return changed


def rewritten(module: nn.Module, graph: fx.Graph, edits: Mapping[fx.Node, Edit]) -> nn.Module:
    """The module with a new forward; it holds the same layers and parameters under the same names."""
    unused = {node for node in graph.nodes if not node.users}  # what runs for its own sake, such as an assert
    for node, edit in edits.items():
        _EDITORS[type(edit)](graph, node, edit)
    for node in reversed(graph.nodes):
        if not node.users and node not in unused and node.op != "placeholder":
            graph.erase_node(node)  # the sizes that a view was given
    made = Forward(module, graph, class_name=type(module).__name__)
    for kind in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
        made.__dict__[kind] = module.__dict__[kind]  # also those that this forward does not use, in the same order
    made.training = module.training  # its own flag alone: each layer keeps its own
    return made


def _first(node: fx.Node) -> Any:
    return node.args[0] if node.args else node.kwargs["input"]


def _replace(graph: fx.Graph, node: fx.Node, function: Callable[..., Any], *args: Any) -> None:
    with graph.inserting_before(node):
        node.replace_all_uses_with(graph.call_function(function, args))
    graph.erase_node(node)


def _drop(graph: fx.Graph, node: fx.Node, edit: Drop) -> None:
    node.replace_all_uses_with(_first(node))
    graph.erase_node(node)


def _pool(graph: fx.Graph, node: fx.Node, edit: Pool) -> None:
    pool: Any = F.max_pool2d if edit.kind == "max" else F.avg_pool2d
    _replace(graph, node, pool, _first(node), edit.kernel, 1)


def _cast(graph: fx.Graph, node: fx.Node, edit: Cast) -> None:
    given = dict(zip(("input", "weight", "bias"), node.args, strict=False)) | node.kwargs
    with graph.inserting_before(node):
        kernel = graph.call_method("unflatten", (given["weight"], 1, edit.shape))
    _replace(graph, node, F.conv2d, given["input"], kernel, given.get("bias"), 1, 0, edit.dilation)


def _channels(graph: fx.Graph, node: fx.Node, edit: Channels) -> None:
    if len(node.args) > 1:
        node.update_arg(1, 1)
    else:
        node.update_kwarg("axis" if "axis" in node.kwargs else "dim", 1)


_EDITORS: dict[type, Callable[[fx.Graph, fx.Node, Any], None]] = {
    Drop: _drop,
    Pool: _pool,
    Cast: _cast,
    Channels: _channels,
}

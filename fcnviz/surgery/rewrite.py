"""A forward whose calls change: `x.flatten(1)`, `F.adaptive_avg_pool2d(x, 7)`, `F.linear(x, w)` between layers.

Layers can be exchanged one by one; a call stands in the code of a forward. torch.fx runs that code once on stand-ins
and notes every call as a node. Nodes can be exchanged as well, and torch.fx writes a forward from them. Only the module
that makes such a call is rewritten; its layers and all other modules stay what they are.

What this file does not do: find out which calls change. `plan` says so about steps of a trace; to learn which node made
which step, the nodes are run one by one under the same recorder.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import fx, nn

from fcnviz.conv import conv2d
from fcnviz.errors import SurgeryError
from fcnviz.recorder import Recorder
from fcnviz.records import Step
from fcnviz.surgery.plan import Cast, Channels, Drop, Edit, Pool
from fcnviz.trace import where_of
from fcnviz.twin import Parts, on_meta, twin

HOOKS = (
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks"),
    *("_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks"),
)
Steps = dict[fx.Node, set[int]]  # which steps of the trace each node of a forward made


class Forward(fx.GraphModule):
    """A module with a rewritten forward. It prints as a module; `.code` is the forward."""

    def __str__(self) -> str:
        return nn.Module.__repr__(self)


def noted(module: nn.Module, path: str, given: Given | None = None) -> fx.Graph:
    """The calls of a module's forward as nodes; the modules below it are called, not looked into.

    Args:
        module, path: of whose forward, and where it stands.
        given: it with no numbers, and what it is called with; a forward that asks for sizes goes the way it goes then.

    Raises:
        SurgeryError: the forward decides by numbers which way it goes, so one run does not show all of it.
    """
    tracer = None
    try:
        tracer = _Tracer(given)
        graph = _run(tracer, module, training=False)
        if any(node.op == "get_attr" and str(node.target).startswith("_tensor_constant") for node in graph.nodes):
            raise SurgeryError("it makes a tensor of its own")
        _follow_the_mode(module, graph, given)
        for node in graph.nodes:
            node.type = None  # annotations, which torch.fx cannot pickle where they are strings
    except Exception as error:  # whatever foreign code raises when its tensors are stand-ins
        name = f"{path} ({type(module).__name__})" if path else type(module).__name__
        raise SurgeryError(f"{name} cannot be cast: its forward cannot be followed: {_why(error)}") from error
    return graph


def _why(error: Exception) -> str:
    """What stopped a forward, at which line of it, and a way out instead of torch.fx's own words."""
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    about_stand_ins = any(words in first for words in ("Proxy", "symbolically traced", "torch.fx", "Node"))
    words = "it asks a map for its numbers, or for what only numbers tell" if about_stand_ins else first
    hint = "; sizes are best left to flatten: x.flatten(1)" if about_stand_ins else ""
    place = where_of(error)
    return f"{words}{hint} ({place})" if place else f"{words}{hint}"


class _InPlace:
    """What torch.fx leaves out: `y += x` writes into y, and sizes are counted, unpacked and decided by."""

    node: Any
    tracer: Any

    def __len__(self) -> int:
        return len(self.tracer.value_of(self.node))

    def __index__(self) -> int:
        return operator.index(self.tracer.value_of(self.node))

    __int__ = __index__

    def __getattr__(self, name: str) -> Any:
        root: Any = self
        return _Attribute(root, name)


def _in_place(name: str) -> Callable[[Any, Any], Any]:
    function = getattr(operator, name)
    return lambda self, other: self.tracer.create_proxy("call_function", function, (self, other), {})


for _name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "ipow", "imod"):
    setattr(_InPlace, f"__{_name}__", _in_place(_name))


class _Proxy(_InPlace, fx.Proxy):
    pass


class _Attribute(_InPlace, fx.proxy.Attribute):
    pass


class Given(NamedTuple):
    """A module without numbers, and the arguments of its forward in order."""

    module: nn.Module
    values: tuple[Any, ...]


class _Tracer(fx.Tracer):
    """torch.fx's tracer, which also knows sizes: each node can be run on tensors without numbers."""

    def __init__(self, given: Given | None = None) -> None:
        super().__init__()
        self.given = given
        self.is_running = False
        self.interpreter: fx.Interpreter | None = None

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        if not torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            raise SurgeryError("it turns gradients off or autocast on inside, and a written forward would not")
        return super().create_node(*args, **kwargs)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        return forward(*args, **kwargs) if self.is_running else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self.is_running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def iter(self, obj: Any) -> Iterator[Any]:
        if not isinstance(self.value_of(obj.node), tuple | list):
            return super().iter(obj)
        return iter([obj[i] for i in range(len(obj))])

    def to_bool(self, obj: Any) -> bool:
        value = self.value_of(obj.node)
        return bool(value) if isinstance(value, bool | int | float) else super().to_bool(obj)

    def value_of(self, node: fx.Node) -> Any:
        """What a node gives at the size that the model was made for; its tensors have no numbers."""
        if self.given is None:
            raise SurgeryError("it asks for a size")
        if self.interpreter is None:
            self.interpreter = fx.Interpreter(self.given.module, garbage_collect_values=False, graph=self.graph)
            self.interpreter.args_iter = iter(self.given.values)
        env, self.is_running = self.interpreter.env, True
        try:
            with torch.device("meta"), torch.no_grad():
                for earlier in self.graph.nodes:
                    if earlier not in env:
                        env[earlier] = self.interpreter.run_node(earlier)
        finally:
            self.is_running = False
        return env[node]


def _defaults(module: nn.Module) -> dict[str, Any]:
    """Arguments of forward that are left at their defaults, so that the forward may decide by them."""
    parameters = list(inspect.signature(module.forward).parameters.values())[1:]
    return {p.name: p.default for p in parameters if isinstance(p.default, bool | int | float | str | None)}


def _run(tracer: _Tracer, module: nn.Module, training: bool) -> fx.Graph:
    was, module.training = module.training, training
    try:
        with torch.enable_grad(), torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return tracer.trace(module, _defaults(module))
    finally:
        module.training = was


def _follow_the_mode(module: nn.Module, graph: fx.Graph, given: Given | None) -> None:
    """Lets `training=self.training` follow the module's flag: what torch.fx saw of it is True or False for good."""
    try:
        other = _run(_Tracer(given), module, training=True)
    except Exception:  # whatever foreign code raises: in training it goes a way that cannot be followed, or none
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


def inputs_of(parts: Parts, paths: Sequence[str], shape: tuple[int, ...]) -> dict[str, Given]:
    """What each of these modules is called with first when the model gets images of this shape; all without numbers."""
    copied = dict(twin(parts, on_meta))
    found: dict[str, Given] = {}

    def note(path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            bound = inspect.signature(module.forward).bind(*args, **kwargs)
            bound.apply_defaults()
            found.setdefault(path, Given(module, (*bound.args, *bound.kwargs.values())))

        return hook

    handles = [copied[path].register_forward_pre_hook(note(path), with_kwargs=True) for path in paths]
    try:
        _called(copied[""], shape)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _called(model: nn.Module, shape: tuple[int, ...]) -> Any:
    with torch.device("meta"), torch.no_grad():
        return model(_images(model, shape))


def _images(model: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    dtype = next((t.dtype for t in model.parameters() if t.dtype.is_floating_point), torch.get_default_dtype())
    return torch.empty(shape, dtype=dtype, device="meta")


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
    with torch.device("meta"), torch.no_grad():
        run = recorder.run((_images(parts[0][1], shape),), {})
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
    own = {key: value for key, value in module.__dict__.items() if key not in made.__dict__ or key in HOOKS}
    made.__dict__.update(own)  # hooks, and whatever the class's constructor has noted
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
    _replace(graph, node, conv2d, given["input"], kernel, given.get("bias"), edit.dilation)


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

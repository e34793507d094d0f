"""Watches one forward pass and writes down its steps: modules through hooks, calls between them through a mode.

It sees whatever tensors it is given: meta, fake, real. It decides nothing about the run: which tensors to
use, and whether a failure is a real one, is for `trace`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any
from weakref import ref

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fcnviz import operations
from fcnviz.nested import leaves
from fcnviz.operations import Facts, FlopCount
from fcnviz.records import Output, Shape, Source, Step, Weight
from fcnviz.twin import paths


@dataclass(frozen=True, slots=True)
class Operation:
    """A module or call as it ran: what it is, and everything needed to run it again on other tensors.

    Attributes:
        run: the module or function; None where plain Python raised and there is nothing to run alone.
        args, kwargs: what it was called with.
        path: dotted path of the module, or of the module whose forward made the call.
        kind: class or function name.
        facts: what it does to sizes.
        given: tensors that flowed in.
        weights: the model's own tensors among what it used, by name.
    """

    run: Callable[..., Any] | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    path: str
    kind: str
    facts: Facts
    given: list[Tensor]
    weights: list[tuple[str, Tensor]]
    is_call: bool

    @property
    def name(self) -> str:
        if not self.is_call:
            return self.path or self.kind
        return f"{self.path}.{self.kind}" if self.path else self.kind

    @property
    def is_doubtful(self) -> bool:
        return operations.is_doubtful(self.facts, self.kind, self.given, self.weights)


@dataclass(frozen=True, slots=True)
class Broken:
    """An operation that raised, and the step it would have been."""

    step: Step
    operation: Operation
    error: BaseException


@dataclass(frozen=True, slots=True)
class Run:
    """A forward pass as it was watched: its steps, what came out, and what broke (then nothing came out)."""

    steps: list[Step]
    output: Output
    broken: Broken | None


@dataclass(slots=True)
class _Frame:
    """A module whose forward is running."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    is_leaf: bool
    first_step: int
    counter: FlopCount | None = None


class Recorder(TorchFunctionMode):
    """Records the steps of `model` while it is entered; the hooks come off when it is left.

    Args:
        model: the module to watch, usually a twin.
        check: runs an operation that meta tensors may have let through by mistake; raises what real ones raise.

    Attributes:
        steps: what has run so far.
        broken: what raised last, if anything did.
    """

    def __init__(self, model: nn.Module, check: Callable[[Operation], object] | None = None) -> None:
        super().__init__()
        self.model, self.check = model, check
        self.steps: list[Step] = []
        self.broken: Broken | None = None
        self._frames: list[_Frame] = []
        self._leaf_depth = 0
        self._made: dict[int, tuple[ref[Tensor], Source]] = {}
        self._owned: dict[int, str] = {}
        self._counted: set[int] = set()
        self._paths: dict[int, str] = {}
        self._repeats: dict[str, int] = {}
        self._cleanup = ExitStack()
        self._outer_error = sys.exc_info()[1]

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
        """Calls the model, watched; an `Exception` ends the run, anything stronger passes through."""
        self._note(leaves((args, kwargs), Tensor), -1)
        try:
            with self:
                output = self.model(*args, **kwargs)
        except Exception as error:
            if self.broken is None or self.broken.error not in _chain(error):
                self._broke(self._module(_Frame(self.model, args, kwargs, False, 0)), error)
            return Run(self.steps, None, self.broken)
        return Run(self.steps, output_shape(output), None)

    def __enter__(self) -> Recorder:
        for path, module in paths(self.model):
            self._paths[id(module)] = path
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    self._owned[id(tensor)] = f"{path}.{name}" if path else name
            before = module.register_forward_pre_hook(self._enter_module, with_kwargs=True)
            after = module.register_forward_hook(self._leave_module, with_kwargs=True, always_call=True)
            self._cleanup.callback(before.remove)
            self._cleanup.callback(after.remove)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        while self._frames:
            self._pop()
        self._cleanup.close()

    # A module begins and ends.

    def _enter_module(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        frame = _Frame(module, args, kwargs, _is_leaf(module), len(self.steps))
        self._frames.append(frame)
        if not frame.is_leaf:
            return
        self._leaf_depth += 1
        if self._leaf_depth == 1 and operations.module_facts(module).operation is None:
            frame.counter = FlopCount()
            frame.counter.__enter__()

    def _leave_module(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not any(frame.module is module for frame in self._frames):
            return  # a hook that ran before ours raised
        while self._frames[-1].module is not module:  # left without a word, by something stronger than an Exception
            self._pop()
        error = sys.exc_info()[1]
        frame, macs = self._pop()
        if self._leaf_depth:
            return
        if output is None and error is not None and error is not self._outer_error:
            self._module_raised(frame, error)
        elif frame.is_leaf:
            self._done(self._module(frame), output, macs)
        elif not module._modules and not self._explains(output):
            del self.steps[frame.first_step :]  # it calls what torch does not show: one step, its inside unseen
            self._done(self._module(frame), output, macs)

    def _pop(self) -> tuple[_Frame, int]:
        frame = self._frames.pop()
        self._leaf_depth -= frame.is_leaf
        if frame.counter is None:
            return frame, 0
        frame.counter.__exit__(None, None, None)
        return frame, frame.counter.macs

    def _module_raised(self, frame: _Frame, error: BaseException) -> None:
        if self.broken is not None and self.broken.error in _chain(error):
            return  # the operation inside has been noted already
        self._broke(self._module(frame), error)

    def _module(self, frame: _Frame) -> Operation:
        module, given = frame.module, list(leaves((frame.args, frame.kwargs), Tensor))
        named = module.named_parameters() if module._modules else module._parameters.items()
        weights = [(name, t) for name, t in named if t is not None] if frame.is_leaf or not module._modules else []
        run, facts = (module, operations.module_facts(module)) if frame.is_leaf else (None, operations.UNKNOWN)
        path, kind = self._paths[id(module)], type(module).__name__
        return Operation(run, frame.args, frame.kwargs, path, kind, facts, given, weights, is_call=False)

    # A call begins and ends.

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._leaf_depth:
            return func(*args, **kwargs)
        kind = operations.call_kind(func)
        try:
            output, macs = self._run(func, kind, args, kwargs)
        except Exception as error:
            self._broke(self._call(func, kind, args, kwargs), error)
            raise
        if _holds_tensor(output) and kind not in operations.BOOKKEEPING:
            self._done(self._call(func, kind, args, kwargs), output, macs)
        return output

    def _run(self, func: Any, kind: str, args: Any, kwargs: Any) -> tuple[Any, int]:
        if not operations.call_needs_counting(kind):
            return func(*args, **kwargs), 0
        with FlopCount() as counter:
            output = func(*args, **kwargs)
        return output, counter.macs

    def _call(self, func: Any, kind: str, args: Any, kwargs: Any) -> Operation:
        given, weights = [], []
        for tensor in leaves((args, kwargs), Tensor):
            name = self._owned.get(id(tensor))
            if name is None:
                given.append(tensor)
            else:
                weights.append((name, tensor))
        path = self._paths[id(self._frames[-1].module)] if self._frames else ""
        facts = operations.call_facts(func, args, kwargs)
        return Operation(func, args, kwargs, path, kind, facts, given, weights, is_call=True)

    # What ran becomes a step.

    def _done(self, operation: Operation, output: Any, macs: int) -> None:
        if self.check is not None and operations.is_doubtful(
            operation.facts, operation.kind, operation.given, operation.weights
        ):
            self._check(operation)
        step = self._step(operation, output)
        known = operations.macs(operation.facts, step.input_shapes, step.output_shape)
        self.steps.append(step if not (known or macs) else replace(step, macs=known or macs))
        self._note(leaves(output, Tensor), step.index)

    def _check(self, operation: Operation) -> None:
        if self.check is None or not operation.is_doubtful:
            return
        self._leaf_depth += 1  # what the check runs is no step of the model
        try:
            self.check(operation)
        except Exception as error:
            self._broke(operation, error)
            raise
        finally:
            self._leaf_depth -= 1

    def _broke(self, operation: Operation, error: BaseException) -> None:
        self.broken = Broken(self._step(operation, None), operation, error)

    def _step(self, operation: Operation, output: Any) -> Step:
        facts, name = operation.facts, operation.name
        self._repeats[name] = repeat = self._repeats.get(name, 0) + 1
        return Step(
            index=len(self.steps),
            name=name if repeat == 1 else f"{name}#{repeat}",
            path=operation.path,
            kind=operation.kind,
            operation=facts.operation,
            input_shapes=tuple(Shape(t.shape) for t in operation.given),
            output_shape=output_shape(output),
            sources=tuple(self._source(t) for t in operation.given),
            weights=tuple(Weight(name, Shape(t.shape)) for name, t in operation.weights),
            params=sum(self._new_params(operation)),
            window=facts.window,
            settings=facts.settings,
            is_call=operation.is_call,
        )

    def _new_params(self, operation: Operation) -> Iterator[int]:
        for _, tensor in operation.weights:
            if isinstance(tensor, nn.Parameter) and id(tensor) not in self._counted:
                self._counted.add(id(tensor))
                yield tensor.numel()

    # Where tensors come from.

    def _note(self, tensors: Iterable[Tensor], step: int) -> None:
        for number, tensor in enumerate(tensors):
            self._made[id(tensor)] = ref(tensor), Source(step, number)

    def _source(self, tensor: Tensor) -> Source | None:
        made = self._made.get(id(tensor))
        return made[1] if made is not None and made[0]() is tensor else None

    def _explains(self, output: Any) -> bool:
        return all(self._source(t) is not None or id(t) in self._owned for t in leaves(output, Tensor))


def _is_leaf(module: nn.Module) -> bool:
    if isinstance(module, nn.Sequential) or not operations.is_torch_layer(type(module)):
        return False
    return not module._modules or isinstance(module, nn.MultiheadAttention)


def _holds_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or any(True for _ in leaves(value, Tensor))


def output_shape(value: Any) -> Output:
    """Shapes in place of tensors; whatever is neither tensor nor container becomes None."""
    if isinstance(value, Tensor):
        return Shape(value.shape)
    if isinstance(value, list | tuple):
        return tuple(output_shape(item) for item in value)
    if isinstance(value, Mapping):
        return {str(key): output_shape(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: output_shape(getattr(value, item.name)) for item in fields(value)}
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, and what was being handled then."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__

"""Watches one forward pass and writes down its steps: modules through hooks, calls between them through a mode.

It sees whatever tensors it is given: meta, fake, real. It decides nothing about the run: which tensors to
use, and whether a failure is a real one, is for `trace`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fcnviz import calls, counting, operations
from fcnviz.counting import FlopCount
from fcnviz.doubt import is_doubtful
from fcnviz.errors import InputError
from fcnviz.inputs import check_batch
from fcnviz.nested import leaves
from fcnviz.operations import Facts
from fcnviz.records import Output, Shape, Source, Step, Weight
from fcnviz.twin import Parts


@dataclass(slots=True)
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

    def is_doubtful(self, output: Any) -> bool:
        return is_doubtful(self.facts, self.kind, self.given, self.weights, output)


@dataclass(frozen=True, slots=True)
class Broken:
    """An operation that raised, and the step it would have been."""

    step: Step
    operation: Operation
    error: BaseException


@dataclass(frozen=True, slots=True)
class Run:
    """A forward pass as it was watched.

    Attributes:
        steps: what ran.
        output: what came out; None if it broke.
        broken: what broke it.
        caught: what broke last without ending it, because the forward caught the error.
        strained: True if it did what only tensors on a real device do: number types by autocast, memory formats.
    """

    steps: list[Step]
    output: Output
    broken: Broken | None
    caught: Broken | None = None
    strained: bool = False


@dataclass(slots=True)
class _Frame:
    """A module whose forward is running."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    cls: Any
    facts: Facts | None  # None for a module whose inside is looked into
    first_step: int
    unwatched: AbstractContextManager[Any] | None = None  # while a leaf runs, torch calls no mode
    counter: FlopCount | None = None


class Recorder(TorchFunctionMode):
    """Records the steps of a model while it is entered; the hooks come off when it is left.

    Args:
        parts: the modules to watch, the model itself first; usually a twin's.
        check: runs an operation that meta tensors may have let through by mistake; raises what real ones raise.

    Attributes:
        steps: what has run so far.
        broken: what raised last, if anything did.
    """

    def __init__(self, parts: Parts, check: Callable[[Operation], object] | None = None) -> None:
        super().__init__()
        self.parts, self.check = parts, check
        self.steps: list[Step] = []
        self.broken: Broken | None = None
        self.strained = False
        self._frames: list[_Frame] = []
        self._leaf_depth = 0
        self._inputs: set[int] = set()
        self._made: dict[int, tuple[ref[Tensor], Source]] = {}
        self._views: dict[int, list[ref[Tensor]]] = {}  # by the tensor whose memory they look into
        self._owned: dict[int, str] = {}
        self._uncounted: dict[int, Tensor] = {}
        self._paths: dict[int, str] = {}
        self._repeats: dict[str, int] = {}
        self._hook = object()
        self._outer_error = sys.exc_info()[1]

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Run:
        """Calls the model, watched; an `Exception` ends the run, anything stronger passes through."""
        given = list(leaves((args, kwargs), Tensor))
        self._note(given, -1)
        self._inputs = {id(tensor) for tensor in given}
        try:
            with self:
                output = self.parts[0][1](*args, **kwargs)
        except InputError:
            raise  # refused, not tried
        except Exception as error:
            if self.broken is None or self.broken.error not in chain(error):
                root = self.parts[0][1]
                self._broke(self._module(_Frame(root, args, kwargs, type(root), None, 0)), error)
            return Run(self.steps, None, self.broken, None, self.strained)
        return Run(self.steps, output_shape(output), None, self.broken, self.strained)

    def __enter__(self) -> Recorder:
        for path, module in self.parts:
            self._paths[id(module)] = path
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    self._owned[id(tensor)] = f"{path}.{name}" if path else name
            self._uncounted.update([(id(t), t) for t in module._parameters.values() if t is not None])
            self._watch(module)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        while self._frames:
            self._pop()
        for _, module in self.parts:
            for hooks in _hooks_of(module):
                hooks.pop(self._hook, None)

    def _watch(self, module: nn.Module) -> None:
        """Registers two hooks; `register_forward_hook` would make a handle for each, a tenth of a trace's time."""
        before, with_kwargs, after, after_with_kwargs, always_called = _hooks_of(module)
        before[self._hook] = self._enter_module
        before.move_to_end(self._hook, last=False)  # type: ignore[attr-defined]
        after[self._hook] = self._leave_module
        with_kwargs[self._hook] = after_with_kwargs[self._hook] = always_called[self._hook] = True

    # A module begins and ends.

    def _enter_module(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.strained |= torch.is_autocast_enabled("cpu")
        facts = operations.module_facts(module) if _is_leaf(module) else None
        frame = _Frame(module, args, kwargs, type(module), facts, len(self.steps))
        self._frames.append(frame)
        if facts is None:
            return
        if not self._leaf_depth and args and id(args[0]) in self._inputs:
            check_batch(self._step(self._module(frame), None, 0))
        self._leaf_depth += 1
        frame.unwatched = torch._C.DisableTorchFunction()
        frame.unwatched.__enter__()
        if self._leaf_depth == 1 and facts.operation is None:
            frame.counter = FlopCount()
            frame.counter.__enter__()

    def _leave_module(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        while not self._frames or self._frames[-1].module is not module:
            if not any(frame.module is module for frame in self._frames):
                return  # a hook that ran before ours raised
            self._pop()  # left without a word, by something stronger than an Exception
        error = sys.exc_info()[1]
        frame = self._pop()
        frame.args, frame.kwargs = args, kwargs  # other hooks may have changed them since
        if frame.facts is not None and type(module) is not frame.cls:
            frame.facts = operations.module_facts(module)  # a lazy layer is its plain class now
        if not self._leaf_depth:
            with torch._C.DisableTorchFunction():  # what is asked of tensors here is no call of the model
                raised = output is None and error is not None and error is not self._outer_error
                self._module_left(frame, output, error if raised else None)

    def _module_left(self, frame: _Frame, output: Any, error: BaseException | None) -> None:
        if error is not None:
            self._module_raised(frame, error)
        elif frame.facts is not None:
            self._done(self._module(frame), output, frame.counter)
        elif not frame.module._modules and not self._explains(output):
            del self.steps[frame.first_step :]  # it calls what torch does not show: one step, its inside unseen
            self._done(self._module(frame), output, None)

    def _pop(self) -> _Frame:
        frame = self._frames.pop()
        self._leaf_depth -= frame.facts is not None
        for context in (frame.counter, frame.unwatched):
            if context is not None:
                context.__exit__(None, None, None)
        return frame

    def _module_raised(self, frame: _Frame, error: BaseException) -> None:
        noted = self.broken.error if self.broken is not None else None
        if noted is error or (frame.facts is None and any(noted is one for one in chain(error))):
            return  # the operation inside has been noted already
        self._broke(self._module(frame), error)

    def _module(self, frame: _Frame) -> Operation:
        module, given = frame.module, _flat(frame.args, frame.kwargs)
        is_one_step = frame.facts is not None or not module._modules
        named = module.named_parameters() if module._modules else module._parameters.items()
        weights: list[tuple[str, Tensor]] = [(n, t) for n, t in named if t is not None] if is_one_step else []
        run, facts = (None, operations.UNKNOWN) if frame.facts is None else (module, frame.facts)
        path, kind = self._paths[id(module)], type(module).__name__
        return Operation(run, frame.args, frame.kwargs, path, kind, facts, given, weights, is_call=False)

    # A call begins and ends.

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._leaf_depth:
            return func(*args, **kwargs)
        kind = calls.call_kind(func)
        self.strained |= "memory_format" in kwargs or torch.is_autocast_enabled("cpu")
        if args and id(args[0]) in self._inputs:
            check_batch(self._step(self._call(func, kind, args, kwargs), None, 0))
        counter = FlopCount() if counting.needs_counting(func, kind) else None
        try:
            with counter or nullcontext():
                output = func(*args, **kwargs)
        except Exception as error:
            self._broke(self._call(func, kind, args, kwargs), error)
            raise
        made = args[0] if kind == "setitem" else output  # y[…] = x returns nothing, and has made another y
        if _holds_tensor(made) and kind not in calls.BOOKKEEPING:
            self._done(self._call(func, kind, args, kwargs), made, counter)
            if calls.writes(kind) and args:
                self._forget_shared(args[0])
        return output

    def _call(self, func: Any, kind: str, args: Any, kwargs: Any) -> Operation:
        given, weights = [], []
        for tensor in _flat(args, kwargs):
            name = self._owned.get(id(tensor))
            if name is None:
                given.append(tensor)
            else:
                weights.append((name, tensor))
        path = self._paths[id(self._frames[-1].module)] if self._frames else ""
        facts = calls.call_facts(func, args, kwargs)
        return Operation(func, args, kwargs, path, kind, facts, given, weights, is_call=True)

    # What ran becomes a step.

    def _done(self, operation: Operation, output: Any, counter: FlopCount | None) -> None:
        self._check(operation, output)
        self.steps.append(self._step(operation, output, counter.macs if counter else None))
        self._repeats[operation.name] = self._repeats.get(operation.name, 0) + 1
        for _, tensor in operation.weights:
            self._uncounted.pop(id(tensor), None)
        self._note([output] if isinstance(output, Tensor) else leaves(output, Tensor), len(self.steps) - 1)

    def _check(self, operation: Operation, output: Any) -> None:
        if self.check is None or not operation.is_doubtful(output):
            return
        try:
            self.check(operation)
        except Exception as error:
            self._broke(operation, error)
            raise

    def _broke(self, operation: Operation, error: BaseException) -> None:
        self.broken = Broken(self._step(operation, None, 0), operation, error)

    def _step(self, operation: Operation, output: Any, macs: int | None) -> Step:
        facts, name = operation.facts, operation.name
        given, made = tuple([Shape(t.shape) for t in operation.given]), output_shape(output)
        repeat = self._repeats.get(name, 0) + 1
        return Step(
            index=len(self.steps),
            name=name if repeat == 1 else f"{name}#{repeat}",
            path=operation.path,
            kind=operation.kind,
            operation=facts.operation,
            input_shapes=given,
            output_shape=made,
            sources=tuple([self._source(t) for t in operation.given]),
            weights=tuple([Weight(name, Shape(t.shape)) for name, t in operation.weights]),
            params=self._new_params(operation.weights) if operation.weights else 0,
            macs=counting.macs(facts, given, made) if macs is None else macs,
            window=facts.window,
            settings=facts.settings,
            is_call=operation.is_call,
        )

    def _new_params(self, weights: list[tuple[str, Tensor]]) -> int:
        """How many parameters no step before has used; one that is named twice counts once."""
        return sum(t.numel() for i, t in {id(t): t for _, t in weights}.items() if i in self._uncounted)

    # Where tensors come from.

    def _note(self, tensors: Iterable[Tensor], step: int) -> None:
        for number, tensor in enumerate(tensors):
            self._made[id(tensor)] = ref(tensor), Source(step, number)
            if tensor._base is not None:
                self._views.setdefault(id(tensor._base), []).append(ref(tensor))

    def _forget_shared(self, written: Tensor) -> None:
        """Of what shares memory with a tensor that was written into, no step can be named that made it as it is now."""
        base = written if written._base is None else written._base
        for view in (*self._views.get(id(base), ()), ref(base)):
            tensor = view()
            if tensor is not None and tensor is not written and (tensor is base or tensor._base is base):
                self._made.pop(id(tensor), None)

    def _source(self, tensor: Tensor) -> Source | None:
        made = self._made.get(id(tensor))
        return made[1] if made is not None and made[0]() is tensor else None

    def _explains(self, output: Any) -> bool:
        return all(self._source(t) is not None or id(t) in self._owned for t in leaves(output, Tensor))


def _hooks_of(module: nn.Module) -> tuple[dict[Any, Any], ...]:
    return (
        module._forward_pre_hooks,
        module._forward_pre_hooks_with_kwargs,
        module._forward_hooks,
        module._forward_hooks_with_kwargs,
        module._forward_hooks_always_called,
    )


def _is_leaf(module: nn.Module) -> bool:
    cls: Any = type(module)
    if isinstance(module, nn.Sequential) or not operations.is_torch_layer(cls):
        return False
    return not module._modules or isinstance(module, nn.MultiheadAttention)


def _flat(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    if len(args) == 1 and not kwargs and isinstance(args[0], Tensor):
        return [args[0]]  # most layers, and the search below takes longer than all the rest of a step
    return list(leaves((args, kwargs), Tensor))


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


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, and what was being handled then."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__

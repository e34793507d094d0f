"""One forward pass of a real network → a `Trace`: every step's shapes, up to and including one that fails.

What runs is a twin of the model (see `twin`). Shapes alone run on the meta device, where a tensor has no
numbers; if the forward needs a little more (a tensor made on the CPU, a constant), on fake tensors; tensors
run for real. A failure is believed only when real CPU tensors fail in the same place, and it is quoted in
their words.
"""

from __future__ import annotations

import logging
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence

from fcnviz.errors import InputError, RealTensorNeeded
from fcnviz.inputs import Asked, check_arguments, check_channels, read
from fcnviz.nested import leaves, mapped
from fcnviz.operations import is_torch_layer
from fcnviz.recorder import Broken, Operation, Recorder, Run, chain
from fcnviz.records import Failure, Shape, Step, Trace
from fcnviz.twin import Image, Parts, copied, is_script, like, on_meta, parts_of, stand_in, twin


def trace(model: nn.Module, *inputs: Any, as_is: bool = False, **kwargs: Any) -> Trace:
    """Every step of one forward pass: shapes, windows, parameters, multiply-adds; and where it breaks, why.

    Args:
        model: any `torch.nn.Module`. A twin of it runs: weights, statistics, flags, hooks, gradients and random
            state of the model stay as they are. (Python code in its hooks and forward does run.)
        inputs: what forward takes: a shape such as `(1, 3, 256, 256)`, batch first, for which no number is
            computed, or a tensor, which runs for real. A tensor on the meta device is a shape with a number type.
        as_is: trace each module in the mode it is in; otherwise everything is traced in eval mode.
        kwargs: keyword inputs of forward. A tuple of three or more sizes is a shape; anything else is passed on as
            it is. As soon as one input is a shape, no numbers are computed, and none of a tensor beside it are used.

    Returns:
        A `Trace`. If the forward raises, `trace.failure` says where and why, and the last step is the one that failed.

    Raises:
        InputError: no module, no input, sizes that are none, an image without batch axis or with channels that the
            first layer does not take.
        RealTensorNeeded: the forward looks at numbers (`.item()`, numpy, `if x.sum() > 0`), and was given shapes.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), nn.Linear(8 * 28 * 28, 10))
    >>> trace(net, (1, 3, 32, 32)).output_shape
    (1, 10)
    >>> trace(net, (1, 3, 36, 36)).failure.message
    'mat1 and mat2 shapes cannot be multiplied (1x8192 and 6272x10)'
    """
    asked = read(model, inputs, kwargs)
    parts = parts_of(model)
    with _as_found(parts):
        found = _traced(parts, asked, as_is)
    check_channels(found)
    return found


def _traced(parts: Parts, asked: Asked, as_is: bool) -> Trace:
    run: Run | None = None
    for way in _ways(parts, asked):
        run = way.run(parts, asked, as_is)
        if run.broken is None and way.is_trusted(parts, run, as_is):
            return _record(parts[0][1], asked, run, None, way.name, as_is)
        error = way.verdict(parts, run.broken, as_is)
        if error is not None:
            return _record(parts[0][1], asked, run, error, way.name, as_is)
    raise RealTensorNeeded(_needs_numbers(parts[0][1], asked, run))


def _record(model: nn.Module, asked: Asked, run: Run, error: BaseException | None, method: Any, as_is: bool) -> Trace:
    failure, steps = None, tuple(run.steps)
    if isinstance(error, TypeError):
        check_arguments(model, asked)
    if run.broken is not None and error is not None:
        failure = _failure(run.broken, steps, error)
        steps = (*steps, failure.step)
    mode: Literal["eval", "as is"] = "as is" if as_is else "eval"
    return Trace(type(model).__name__, steps, asked.shapes, run.output, failure, method, mode)


def _failure(broken: Broken, steps: tuple[Step, ...], error: BaseException) -> Failure:
    where = where_of(broken.error)
    for one in (*chain(broken.error), *chain(error)):
        with suppress(Exception):  # some exceptions let nothing be set on them
            one.__traceback__ = None  # its frames would keep every tensor of the run alive
    return Failure(broken.step, said(error), where, error, steps)


def alone(parts: Parts, as_is: bool, operation: Operation) -> None:
    """Runs just one operation of a model on CPU tensors of the same shapes, and raises what it raises.

    An error that speaks of the stand-ins is no answer, and is kept back.
    """
    if operation.run is None or any(leaves((operation.args, operation.kwargs), PackedSequence)):
        return  # plain Python has nothing to run; packed sequences are numbers through and through
    try:
        with torch.device("cpu"):
            run = by_itself(parts, as_is, operation)
            run(*mapped(operation.args, stand_in, Tensor), **mapped(operation.kwargs, stand_in, Tensor))
    except (MemoryError, RecursionError):
        return
    except RuntimeError as error:
        if not any(words in str(error) for words in _ABOUT_STAND_INS):
            raise


_ABOUT_STAND_INS = ("refers to a single memory location", "DefaultCPUAllocator", "not enough memory")
_TRIED = 2**24  # numbers that a doubtful operation may have and still be tried: number types do not depend on size


def tried(parts: Parts, as_is: bool, operation: Operation) -> None:
    """As `alone`, for an operation that is only in doubt: one that would take long is believed."""
    if sum(tensor.numel() for tensor in operation.given) <= _TRIED:
        alone(parts, as_is, operation)


def by_itself(parts: Parts, as_is: bool, operation: Operation) -> Callable[..., Any]:
    """What an operation runs, on its own: a layer with stand-ins for its weights, or the function that was called."""
    assert operation.run is not None, "plain Python cannot run by itself"
    if not isinstance(operation.run, nn.Module):
        return operation.run
    return twin(parts_of(dict(parts)[operation.path]), stand_in, as_is)[0][1]


@dataclass(frozen=True)
class _Way:
    """One way to run a forward: what stands for the model's tensors, what for its inputs, and what is around it.

    `outside` leaves what is around it for a moment, so that real tensors can be made.
    """

    name: Literal["meta", "fake", "real"]
    image: Image
    make: Callable[[Shape | Tensor, torch.dtype], Tensor]
    around: Callable[[], AbstractContextManager[Any]]
    outside: Callable[[], AbstractContextManager[Any]]

    def run(self, parts: Parts, asked: Asked, as_is: bool) -> Run:
        check = None if self.name == "real" else partial(self._tried, parts, as_is)
        recorder = Recorder(twin(parts, self.image, as_is), check)
        args, kwargs = asked.made(self.make)
        with self.around():
            return recorder.run(args, kwargs)

    def is_trusted(self, parts: Parts, run: Run, as_is: bool) -> bool:
        """False if the forward got through only because its tensors had no numbers, or no device.

        It may have caught an error that real tensors do not raise, or have asked for what the meta device lacks.
        """
        if self.name == "real":
            return True
        if run.strained and self.name == "meta":
            return False
        return run.caught is None or self.verdict(parts, run.caught, as_is) is not None

    def verdict(self, parts: Parts, broken: Broken | None, as_is: bool) -> BaseException | None:
        """What PyTorch raises on real tensors; None if it raises nothing there: what broke wanted numbers."""
        if broken is None or isinstance(broken.error, RecursionError):
            return None
        if self.name == "real":
            return broken.error
        if broken.operation.run is None:  # plain Python raised: believed when it does so on CPU tensors too
            return broken.error if self.name == "fake" else None
        try:
            with self.outside():
                alone(parts, as_is, broken.operation)
        except Exception as error:
            return error
        return None

    def _tried(self, parts: Parts, as_is: bool, operation: Operation) -> None:
        with self.outside():
            tried(parts, as_is, operation)


def _ways(parts: Parts, asked: Asked) -> Iterator[_Way]:
    if not asked.is_free:
        yield _Way("real", copied, _given, nullcontext, nullcontext)
        return
    if any(is_script(module) for _, module in parts):
        return  # compiled code has no forward that could be watched without numbers
    if not any(_is_channels_last(t) for _, module in parts for t in module._parameters.values()):
        yield _Way("meta", on_meta, partial(_empty, "meta"), partial(torch.device, "meta"), nullcontext)
    from torch._subclasses import fake_tensor  # half a second, and seldom needed

    mode = fake_tensor.FakeTensorMode(allow_non_fake_inputs=True)

    def fake(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def inside(*args: Any) -> Tensor:
            with mode:
                return function(*args)

        return inside

    make = fake(partial(_empty, "cpu"))
    yield _Way("fake", fake(_on_fake), make, partial(_quiet, mode), fake_tensor.unset_fake_temporarily)


@contextmanager
def _quiet(mode: AbstractContextManager[Any]) -> Iterator[None]:
    """Fake tensors on, and their logger off: it writes a traceback for every operation it refuses."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    was, logger.disabled = logger.disabled, True
    try:
        with mode:
            yield
    finally:
        logger.disabled = was


def _is_channels_last(tensor: Tensor | None) -> bool:
    """True for a weight whose memory format its layer hands on; convolutions on the meta device forget it."""
    return tensor is not None and not is_lazy(tensor) and tensor.dim() == 4 and not tensor.is_contiguous()


def _given(wanted: Any, dtype: torch.dtype) -> Tensor:
    """The caller's own tensor is not handed out: a forward may write into it."""
    return wanted.detach().clone().requires_grad_(wanted.requires_grad)


def _empty(device: str, wanted: Shape | Tensor, dtype: torch.dtype) -> Tensor:
    if isinstance(wanted, Tensor):
        return torch.empty_strided(wanted.shape, wanted.stride(), dtype=dtype, device=device)
    try:
        return torch.empty(tuple(wanted), dtype=dtype, device=device)
    except RuntimeError as error:  # more bytes than a 64-bit number counts
        raise InputError(f"{tuple(wanted)} is larger than any tensor can be: {said(error)}") from error


def _on_fake(tensor: Tensor) -> Tensor:
    """The image of a tensor while fake tensors are on: what is made then is fake."""
    if is_lazy(tensor):
        return stand_in(tensor)
    return like(tensor, torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu"))


def said(error: BaseException) -> str:
    """What an exception says; its name if it says nothing."""
    return str(error) or type(error).__name__


def _needs_numbers(model: nn.Module, asked: Asked, run: Run | None) -> str:
    shape = ", ".join(map(str, asked.shapes[0]))
    ask = f"pass a real tensor, trace(model, torch.rand({shape}))"
    if run is None or run.broken is None:
        return f"{type(model).__name__} is compiled TorchScript, which cannot run on shapes alone: {ask}"
    where, words = where_of(run.broken.error), said(run.broken.error).splitlines()[0]
    place = run.broken.step.name + (where and f" ({where})")
    return f"{type(model).__name__} cannot run on shapes alone: {place} needs numbers: {words}; {ask}"


_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


def where_of(error: BaseException) -> str:
    """File, line and text of the caller's own code that raised; "" if all of it was torch's."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_LIBRARIES)]
    if not own:
        return ""
    file = "notebook" if "ipykernel" in own[-1].filename else Path(own[-1].filename).name
    return f"{file}, line {own[-1].lineno}, in {own[-1].name}: {own[-1].line}"


@contextmanager
def _as_found(parts: Parts) -> Iterator[None]:
    """Random states, hooks, gradient mode and the limit on nesting stay as they were; nothing is compiled meanwhile."""
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    levels = max(path.count(".") for path, _ in parts)
    hooks = [(hooks, dict(hooks)) for _, module in parts for hooks in _hooks_of(module)]
    foreign = [module for _, module in parts if _is_foreign(module)]
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        if foreign or hooks:  # torch's own layers draw from torch's random numbers only
            stack.callback(random.setstate, random.getstate())
            if "numpy.random" in sys.modules:
                stack.callback(_restore_numpy, np.random.get_state())
        stack.callback(torch.set_grad_enabled, torch.is_grad_enabled())
        stack.callback(_restore, hooks)
        if any(hasattr(module.forward, "_torchdynamo_orig_callable") for module in foreign):
            stack.enter_context(torch.compiler.set_stance("force_eager"))  # it would compile the recorder with it
        stack.enter_context(_nesting(levels))
        yield


def _restore_numpy(before: Any) -> None:
    now: Any = np.random.get_state()
    if now[2:] != before[2:] or not np.array_equal(now[1], before[1]):
        np.random.set_state(before)


def _is_foreign(module: nn.Module) -> bool:
    """True for a module whose forward is not torch's own."""
    cls: Any = type(module)
    return "forward" in module.__dict__ or not is_torch_layer(cls)


def _hooks_of(module: nn.Module) -> list[dict[int, Any]]:
    """The hooks of a module, where it has any: a hook may take itself off while it runs."""
    if not module._forward_hooks and not module._forward_pre_hooks:
        return []
    return [field for name, field in module.__dict__.items() if name.startswith("_forward_") and field]


def _restore(kept: list[tuple[dict[int, Any], dict[int, Any]]]) -> None:
    for hooks, before in kept:
        if hooks != before:
            hooks.clear()
            hooks.update(before)


_FRAMES_PER_LEVEL = 6  # of Python, for one module inside another with hooks on
_NESTING = threading.Lock()


@contextmanager
def _nesting(levels: int) -> Iterator[None]:
    """Python's limit on frames, raised by what hooks add; several threads may trace at once."""
    more = _FRAMES_PER_LEVEL * levels
    with _NESTING:
        sys.setrecursionlimit(sys.getrecursionlimit() + more)
    try:
        yield
    finally:
        with _NESTING:
            sys.setrecursionlimit(sys.getrecursionlimit() - more)

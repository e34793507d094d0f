"""One forward pass on named sizes: what each step's shape is as a formula, and which conditions the pass relied on.

torch's own symbolic shapes do this; they lie outside its stable interface, and this is the only room that touches
them. A pass is run *at* a size, and holds for every other size that meets its guards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import lru_cache, partial
from typing import Any

import sympy
import torch
from torch import SymBool, SymFloat, SymInt, Tensor
from torch._dispatch.python import enable_python_dispatcher, no_python_dispatcher
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

from fcnviz import expressions
from fcnviz.errors import LawError
from fcnviz.expressions import Tree
from fcnviz.inputs import Asked
from fcnviz.nested import leaves, mapped
from fcnviz.passes import Forms, Guard, Pass, SizeForm, TensorForm, WindowForm
from fcnviz.recorder import Operation, Recorder, Run
from fcnviz.records import Shape, Step, Window
from fcnviz.trace import tried
from fcnviz.twin import Image, Parts, like, on_meta, twin

SYMBOLS = (SymInt, SymFloat, SymBool)


def run(parts: Parts, asked: Asked, at: Mapping[str, int], on_cpu: bool, as_is: bool) -> Pass:
    """Runs the model's twin on named sizes, following the branches that the sizes `at` would take.

    `asked` holds names among its sizes. With `on_cpu` the twin's tensors claim to be on the CPU, for a forward that
    mixes in tensors of its own.
    """
    with _quiet():
        return _run(parts, asked, at, on_cpu, as_is)


def _run(parts: Parts, asked: Asked, at: Mapping[str, int], on_cpu: bool, as_is: bool) -> Pass:
    env = ShapeEnv(duck_shape=False, specialize_zero_one=False)
    mode = FakeTensorMode(shape_env=env, allow_non_fake_inputs=True)
    mode.cache_enabled = False  # what it keeps is of one pass's symbols: to keep and to find costs more than it saves
    sizes = {name: _symbol(env, name, size) for name, size in at.items()}
    names = {size.node.expr: name for name, size in sizes.items()}
    recorder = _Recorder(env, at, twin(parts, _image(mode, on_cpu), as_is), partial(_alone, parts, as_is))
    args, kwargs = asked.made(partial(_make, mode, sizes, on_cpu))
    recorder.begin = len(env.guards)
    with mode, enable_python_dispatcher(), torch.device("cpu" if on_cpu else "meta"):
        ran = recorder.run(args, kwargs)
    return _pass(recorder, ran, partial(_tree, names))


def _symbol(env: ShapeEnv, name: str, size: int) -> SymInt:
    source = ConstantSource(name)
    symbol = env.create_symbol(size, source, dynamic_dim=DimDynamic.DYNAMIC, constraint_dim=None)
    made = env.create_symintnode(symbol, hint=size, source=source)
    assert isinstance(made, SymInt)
    return made


def _image(mode: FakeTensorMode, on_cpu: bool) -> Image:
    def on_fake(tensor: Tensor) -> Tensor:
        with mode:
            values = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
        return like(tensor, values)

    return on_fake if on_cpu else on_meta


def _make(mode: FakeTensorMode, sizes: Mapping[str, SymInt], on_cpu: bool, wanted: Any, dtype: torch.dtype) -> Tensor:
    shape = wanted.shape if isinstance(wanted, Tensor) else [sizes.get(s, s) for s in wanted]
    with mode:
        return torch.empty(tuple(shape), dtype=dtype, device="cpu" if on_cpu else "meta")


class _Recorder(Recorder):
    """A recorder that notes how many conditions had arisen when each step was done."""

    def __init__(
        self, env: ShapeEnv, at: Mapping[str, int], parts: Parts, check: Callable[[Operation], object]
    ) -> None:
        super().__init__(parts, check)
        self.env, self.at = env, at
        self.marks: list[int] = []
        self.begin = 0  # conditions on the inputs themselves, before any step

    def _check(self, operation: Operation, output: Any) -> None:
        if operation.is_doubtful(output):  # real tensors decide, and for them it matters which sizes are 0
            for tensor in leaves((operation.given, output), Tensor):
                for size in tensor.shape:
                    bool(size == 0)  # noted as a condition
        super()._check(operation, output)

    def _done(self, operation: Operation, output: Any, counter: Any) -> None:
        super()._done(operation, output, counter)
        del self.marks[len(self.steps) - 1 :]  # steps may have been taken back
        self.marks.append(len(self.env.guards))


def _alone(parts: Parts, as_is: bool, operation: Operation) -> None:
    """Runs an operation on real tensors of the sizes that the pass is run at."""
    given = _hinted(operation.given)
    hinted = replace(operation, args=_hinted(operation.args), kwargs=_hinted(operation.kwargs), given=given)
    with unset_fake_temporarily(), no_python_dispatcher():  # its decompositions ask for less than real kernels
        tried(parts, as_is, hinted)


def _hinted(value: Any) -> Any:
    def hint(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf.node.hint
        shape, stride = ([_size(s) for s in sizes] for sizes in (leaf.shape, leaf.stride()))
        with unset_fake_temporarily():
            return like(leaf, torch.empty_strided(shape, stride, dtype=leaf.dtype, device="meta"))

    return mapped(value, hint, Tensor, *SYMBOLS)


def _size(size: Any) -> int:
    return size.node.hint if isinstance(size, SymInt) else size


def _pass(recorder: _Recorder, ran: Run, tree: Callable[[Any], Tree]) -> Pass:
    env, steps, broken = recorder.env, list(ran.steps), ran.broken
    if broken is not None:
        steps.append(broken.step)
    marks = recorder.marks[: len(ran.steps)]
    step_of = [sum(mark <= i for mark in marks) for i in range(len(env.guards))]
    conditions = [_named(steps, at, tree)(guard.expr) for at, guard in zip(step_of, env.guards, strict=True)]
    step_of[: recorder.begin] = [-1] * recorder.begin
    guards = tuple(Guard(c, at) for c, at in zip(conditions, step_of, strict=True) if c is not True)
    if broken is not None and isinstance(broken.error, ZeroDivisionError):
        guards += _alone_here(recorder.at, len(ran.steps))
    formulas = tuple(_with_trees(step, _named(steps, i, tree)) for i, step in enumerate(steps))
    guards = (*_divisors(formulas, conditions), *guards)
    operation = None if broken is None else _form(broken.operation, tree)
    error = None if broken is None else broken.error
    return Pass(formulas, _trees(ran.output, tree), guards, operation, error)


def _named(steps: list[Step], index: int, tree: Callable[[Any], Tree]) -> Callable[[Any], Tree]:
    """`tree`, and where it finds no formula the name of the step that has none."""

    def named(value: Any) -> Tree:
        try:
            return tree(value)
        except LawError as error:
            step = steps[min(index, len(steps) - 1)]
            raise LawError(f"no law: {step.name} ({step.kind}): {error}") from error

    return named


def _divisors(steps: tuple[Step, ...], conditions: list[Tree]) -> Iterator[Guard]:
    """Guards that no divisor is 0: symbols divide without a word, and at another size Python would raise."""
    found: dict[Tree, int] = {}
    for step in steps:
        for shape in leaves((step.input_shapes, step.output_shape), Shape):
            for size in shape:
                for divisor in expressions.divisors(size):
                    found.setdefault(divisor, step.index)
    for condition in conditions:
        for divisor in expressions.divisors(condition):
            found.setdefault(divisor, 0)
    return (Guard(("≠", divisor, 0), step) for divisor, step in found.items())


def _alone_here(at: Mapping[str, int], step: int) -> tuple[Guard, ...]:
    """Guards that only the sizes `at` meet: dividing by a size that is 0 raises before a condition is noted."""
    return tuple(Guard(("=", name, size), step) for name, size in at.items())


def _with_trees(step: Step, tree: Callable[[Any], Tree]) -> Step:
    def form(size: Any) -> SizeForm:
        return SizeForm(tree(size))

    return replace(
        step,
        input_shapes=_trees(step.input_shapes, tree),
        output_shape=_trees(step.output_shape, tree),
        macs=_trees(step.macs, tree),
        window=_window(step.window, form),
        settings=Forms(mapped(step.settings, form, *SYMBOLS)) if any(_symbols(step.settings)) else step.settings,
    )


def _window(window: Window | None, form: Callable[[Any], SizeForm]) -> Window | None:
    parts = {} if window is None else {part.name: getattr(window, part.name) for part in fields(window)}
    return WindowForm(**mapped(parts, form, *SYMBOLS)) if any(_symbols(parts)) else window


def _symbols(value: Any) -> Iterator[bool]:
    """True for every size in settings that is yet to be worked out."""
    if isinstance(value, slice):
        value = (value.start, value.stop, value.step)
    if isinstance(value, tuple | list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _symbols(part)
    elif isinstance(value, SYMBOLS):
        yield True


def _trees(value: Any, tree: Callable[[Any], Tree]) -> Any:
    if isinstance(value, Shape):
        return Shape(_trees(size, tree) for size in value)
    if isinstance(value, tuple):
        return tuple(_trees(part, tree) for part in value)
    return mapped(value, tree, *SYMBOLS)


def _form(operation: Operation, tree: Callable[[Any], Tree]) -> Operation:
    def form(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return SizeForm(tree(leaf))
        return TensorForm(tuple(map(tree, leaf.shape)), tuple(map(tree, leaf.stride())), leaf.dtype)

    args, kwargs = (mapped(value, form, Tensor, *SYMBOLS) for value in (operation.args, operation.kwargs))
    return replace(operation, args=args, kwargs=kwargs, given=[], weights=[])


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch's loggers write a traceback for every operation that symbols refuse; here a refusal is an answer."""
    loggers = [logging.getLogger(f"torch.{name}") for name in ("_subclasses.fake_tensor", "fx.experimental")]
    loggers += [logging.getLogger("torch.fx.experimental.symbolic_shapes")]
    before = [logger.disabled for logger in loggers]
    records = logging.getLogger("torch.__trace")  # writes one for each condition as soon as anybody listens
    listeners, records.handlers = records.handlers, []
    try:
        for logger in loggers:
            logger.disabled = True
        yield
    finally:
        for logger, was in zip(loggers, before, strict=True):
            logger.disabled = was
        records.handlers = listeners


# torch's names for what it does with sizes, and ours.
_HEADS = {
    "Equality": "=",
    "Unequality": "≠",
    "StrictLessThan": "<",
    "LessThan": "≤",
    "StrictGreaterThan": ">",
    "GreaterThan": "≥",
    "And": "and",
    "Or": "or",
    "Not": "not",
    "FloorDiv": "//",
    "CleanDiv": "//",
    "Mod": "%",
    "PythonMod": "%",
    "Max": "max",
    "Min": "min",
    "FloatTrueDiv": "/",
    "IntTrueDiv": "/",
    "FloorToInt": "floor",
    "CeilToInt": "ceil",
    "TruncToInt": "trunc",
    "RoundToInt": "round",
    "floor": "floor",
    "ceiling": "ceil",
    "Where": "if",
}


def _tree(names: Mapping[Any, str], value: Any) -> Tree:
    """A size, or one of torch's expressions of sizes, as a tree."""
    if isinstance(value, SYMBOLS):
        value = value.node.shape_env.simplify(value.node.expr)
    if isinstance(value, bool | int | float | sympy.logic.boolalg.BooleanAtom):
        return bool(value) if isinstance(value, bool | sympy.logic.boolalg.BooleanAtom) else value
    if value in names:
        return names[value]
    if value.is_Number:
        return _number(value)
    kind, arguments = type(value).__name__, [_tree(names, a) for a in value.args]
    if kind in ("ToFloat", "Identity"):
        return arguments[0]
    if kind == "ModularIndexing":
        return ("%", ("//", arguments[0], arguments[1]), arguments[2])
    if kind in ("Pow", "PowByNatural", "FloatPow"):
        return _power(arguments)
    if kind == "Add":
        return _sum(value, names)
    if kind == "Mul":
        return _product(arguments)
    if _HEADS.get(kind) in _TURNED:
        return _relation(_HEADS[kind], value, names)
    if kind not in _HEADS:
        raise LawError(f"torch writes a size with {kind}, for which fcnviz has no sign: {value}")
    return (_HEADS[kind], *arguments)


_TURNED = {"=": "=", "≠": "≠", "<": ">", "≤": "≥", ">": "<", "≥": "≤"}  # what each is when its sides change places


def _relation(head: str, value: Any, names: Mapping[Any, str]) -> Tree:
    """A relation with its number on the right and no minus in front: H ≥ 3, never 3 ≤ H or −1·H ≤ −3."""
    left, right = value.args
    if left.is_Number:
        head, left, right = _TURNED[head], right, left
    if right.is_Number and left.as_coeff_Mul()[0].is_negative:
        head, left, right = _TURNED[head], -left, -right
    return (head, _tree(names, left), _tree(names, right))


def _number(value: Any) -> Tree:
    if value.is_Integer:
        return int(value)
    return ("/", int(value.p), int(value.q)) if value.is_Rational else float(value)


def _power(arguments: list[Tree]) -> Tree:
    base, exponent = arguments
    if not isinstance(exponent, int) or exponent == 0:
        raise LawError(f"a size to the power of {exponent} is no formula that fcnviz can write")
    whole: Tree = ("*", *[base] * abs(exponent)) if abs(exponent) > 1 else base
    return whole if exponent > 0 else ("/", 1, whole)


@lru_cache(maxsize=1 << 14)
def _spelled(term: Any) -> str:
    """What sympy writes for a term, which takes it long, and the same terms come again and again."""
    return str(term)


def _sum(value: Any, names: Mapping[Any, str]) -> Tree:
    """A sum with what is taken away at its end: H + 2 − W, never 2 + −1·W + H."""
    terms = sorted(value.args, key=lambda term: (term.is_Number, _spelled(term)))
    plus = [_tree(names, t) for t in terms if not t.could_extract_minus_sign()]
    minus = [_tree(names, -t) for t in terms if t.could_extract_minus_sign()]
    first = plus if plus else [0]
    total: Tree = ("+", *first) if len(first) > 1 else first[0]
    for tree in minus:
        total = ("-", total, tree)
    return total


def _product(arguments: list[Tree]) -> Tree:
    """A product with its numbers in front."""
    return ("*", *sorted(arguments, key=lambda part: not isinstance(part, int | float)))

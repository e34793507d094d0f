"""A failed step → what happened, in a student's words, and the ways out.

Nothing here runs a network or decides whether something fails: torch has already refused. The sizes come from the
steps, walked back to where they were made; torch's sentence is quoted, and read only for the types of numbers, which
shapes do not carry.

    Linear 25 088 → 4 096 after a flattened 512×8×8 map:
    25 088 = 512·7·7, but 512·8·8 = 32 768
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from fcnviz.arithmetic import conv_size, conv_transpose_size, count, pool_size
from fcnviz.errors import WindowError
from fcnviz.records import Shape, Step

__all__ = ["Diagnosis", "diagnose"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What happened in one line, and the ways out, the likeliest first."""

    explanation: str
    remedies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Scene:
    """The failed step, the steps before it, and what torch said."""

    steps: tuple[Step, ...]
    failed: Step
    message: str

    @property
    def shape(self) -> Shape:
        return self.failed.input_shapes[0] if self.failed.input_shapes else Shape()

    @property
    def who(self) -> str:
        return _who(self.failed)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return self.failed.input_shapes


_Reading: TypeAlias = Callable[[_Scene], "Diagnosis | None"]


def diagnose(steps: Sequence[Step], failed: Step, message: str) -> Diagnosis:
    """Decode why `failed` was refused, given the steps before it and what PyTorch says on real tensors.

    >>> from fcnviz.records import Source
    >>> flatten = Step(0, "flatten", "", "flatten", "flatten", (Shape((1, 512, 8, 8)),), Shape((1, 32768)))
    >>> linear = Step(1, "fc", "fc", "Linear", "linear", (Shape((1, 32768)),), None, (Source(0, 0),),
    ...               settings={"in_features": 25088, "out_features": 4096})
    >>> found = diagnose([flatten], linear, "mat1 and mat2 shapes cannot be multiplied")
    >>> found.explanation.replace("\\u202f", " ")
    'Linear fc has 25 088 columns = 512·7·7, but the flattened map is 512·8·8 = 32 768 numbers: 25 088 ≠ 32 768'
    """
    scene = _Scene(tuple(steps), failed, message)
    readings = (_number_types, *_BY_OPERATION.get(failed.operation, ()), *_BY_KIND.get(failed.kind, ()))
    found = next((found for reading in readings if (found := reading(scene))), None) or _quoted(scene)
    return Diagnosis(_line(found.explanation), tuple(_line(remedy) for remedy in found.remedies))


# Words


def _line(text: str) -> str:
    """`text` on one line, without control characters: names of modules may hold anything."""
    joined = re.sub(r"[ \t-\r\x1c-\x1f\x85\u2028\u2029]+", " ", text).strip()
    return "".join(c if c.isprintable() or c == "\u202f" else "\N{REPLACEMENT CHARACTER}" for c in joined)


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


def _shown(shape: Shape) -> str:
    """A shape as the tables write it: the batch axis of one image is left out."""
    return _by(shape[1:] if len(shape) > 3 and shape[0] == 1 else shape)


def _product(sizes: Sequence[int]) -> str:
    """The sizes multiplied, with the result where there is something to multiply: "512·8·8 = 32 768"."""
    product = "·".join(map(str, sizes))
    return f"{product} = {count(math.prod(sizes))}" if len(sizes) > 1 else count(math.prod(sizes))


def _who(step: Step) -> str:
    """How the step is called in a sentence: kind and name of a module, the name of a call."""
    return step.name if step.is_call or step.name == step.kind else f"{step.kind} {step.name}".strip()


def _axes(rank: int) -> tuple[str, ...]:
    """What the axes of a tensor with `rank` axes are usually called."""
    spatial = {3: ("length",), 4: ("height", "width"), 5: ("depth", "height", "width")}.get(rank)
    return ("batch", "channels", *spatial) if spatial else tuple(f"axis {axis}" for axis in range(rank))


def _plural(number: int, word: str) -> str:
    return f"{count(number)} {word}{'' if number == 1 else 's'}"


# Walking back


def _maker(scene: _Scene, step: Step, position: int = 0) -> Step | None:
    """The step that made input number `position` of `step`; None for an input of the network or a stray tensor."""
    source = step.sources[position] if position < len(step.sources) else None
    known = source is not None and 0 <= source.step < min(step.index, len(scene.steps))
    return scene.steps[source.step] if source is not None and known else None


def _origin(scene: _Scene) -> Step | None:
    """The nearest step before the failed one that made its sizes: ReLU, Dropout and the like are passed over."""
    step = _maker(scene, scene.failed)
    while step is not None and step.operation == "same" and (before := _maker(scene, step)) is not None:
        step = before
    return step


def _maker_name(scene: _Scene, step: Step, position: int) -> str:
    maker, sources = _maker(scene, step, position), step.sources
    if maker is not None:
        return maker.name
    from_input = position < len(sources) and (source := sources[position]) is not None and source.step == -1
    return "the network's input" if from_input else "a tensor made in forward"


def _flattening(scene: _Scene) -> Step | None:
    """The flatten or reshape whose result reached the failed step, if nothing but "same" steps lie between."""
    step = _maker(scene, scene.failed)
    while step is not None and step.operation == "same":
        step = _maker(scene, step)
    flat = step is not None and step.operation in ("flatten", "reshape") and bool(step.input_shapes)
    return step if flat else None


_SIZED = ("conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool")
_KEEPS_SIZES = ("same", "broadcast", "cat")


def _way(scene: _Scene, step: Step, position: int = 0) -> tuple[Step, ...] | None:
    """The windows an image passes from the network's input to input `position` of `step`; None if unclear."""
    windows: list[Step] = []
    while (maker := _maker(scene, step, position)) is not None:
        if maker.operation in _SIZED and maker.window is not None:
            windows.append(maker)
            position = 0
        elif maker.operation in _KEEPS_SIZES and isinstance(maker.output_shape, Shape):
            sizes = maker.output_shape[2:]
            position = next((i for i, shape in enumerate(maker.input_shapes) if shape[2:] == sizes), -1)
            if position < 0:
                return None
        else:
            return None
        step = maker
    source = step.sources[position] if position < len(step.sources) else None
    return tuple(reversed(windows)) if source is not None and source.step == -1 else None


def _size_after(step: Step, size: int, axis: int) -> int:
    """The size along spatial `axis` that `step` makes of `size`; 0 where its window does not fit."""
    window = step.window
    if window is None or axis >= len(window.kernel):
        return 0
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    padding = window.padding if isinstance(window.padding, str) else window.padding[axis]
    try:
        if step.operation == "conv":
            return conv_size(size, kernel, stride, padding, dilation)
        if step.operation == "conv_transpose":
            extra = window.output_padding[axis] if window.output_padding else 0
            return conv_transpose_size(size, kernel, stride, int(padding), dilation, extra)
        return pool_size(size, kernel, stride, int(padding), dilation, window.ceil)
    except WindowError:
        return 0


def _size_along(way: Sequence[Step], size: int, axis: int) -> int:
    for step in way:
        size = _size_after(step, size, axis)
    return size


_LARGEST = 1 << 16


def _smallest(way: Sequence[Step], axis: int, wanted: int) -> int | None:
    """The smallest image size whose map is at least `wanted` along `axis`: sizes only grow along a way, so bisect."""
    low, high = 1, _LARGEST
    if _size_along(way, high, axis) < wanted:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _size_along(way, middle, axis) >= wanted else (middle + 1, high)
    return low


def _image_sizes(scene: _Scene, step: Step, wanted: Sequence[int]) -> tuple[tuple[int, int], ...] | None:
    """For each axis the smallest and largest image size that brings a `wanted` map to `step`; None if unknown."""
    way = _way(scene, step)
    if way is None:
        return None
    ranges = []
    for axis, size in enumerate(wanted):
        first, beyond = _smallest(way, axis, size), _smallest(way, axis, size + 1)
        if first is None or beyond is None or _size_along(way, first, axis) != size:
            return None
        ranges.append((first, beyond - 1))
    return tuple(ranges)


def _jump(scene: _Scene, step: Step, position: int) -> Fraction:
    """The largest number of image cells that one cell stood for on the way to input `position` of `step`."""
    jump = largest = Fraction(1)
    for window in _line_of_makers(scene, step, position):
        if window.window is not None and window.operation in _SIZED:
            stride = window.window.stride[0]
            jump = jump / stride if window.operation == "conv_transpose" else jump * stride
        elif window.operation == "interpolate" and isinstance(window.output_shape, Shape):
            before, after = window.input_shapes[0][-1], window.output_shape[-1]
            jump *= (
                Fraction(round(before / after)) if before > after else Fraction(1, round(after / max(before, 1)) or 1)
            )
        largest = max(largest, jump)
    return largest


def _line_of_makers(scene: _Scene, step: Step, position: int) -> Iterator[Step]:
    """First makers all the way back, the one nearest to the network's input first."""
    makers = []
    maker = _maker(scene, step, position)
    while maker is not None:
        makers.append(maker)
        maker = _maker(scene, maker)
    return reversed(makers)


def _came_from_windows(scene: _Scene, step: Step, position: int = 0) -> bool:
    return any(maker.operation in (*_SIZED, "adaptive_pool") for maker in _line_of_makers(scene, step, position))


# Linear


def _linear_after_flatten(scene: _Scene) -> Diagnosis | None:
    """The count of numbers in a flattened map against the columns of a Linear, or of a view."""
    flat, columns = _flattening(scene), scene.failed.settings.get("in_features")
    if flat is None or not columns or not scene.shape or scene.shape[-1] == columns:
        return None
    whole = flat.input_shapes[0]
    start = flat.settings.get("start_dim", 1)
    start = start + len(whole) if start < 0 else start
    if start == 0 and len(whole) > 1 and math.prod(whole[1:]) == columns:
        return _batch_flattened(scene, flat, columns)
    if len(whole) == 3 and math.prod(whole) == columns and len(scene.shape) == 2:
        return _no_batch_axis(scene, whole, columns)
    if start > 1 and len(scene.shape) > 2:
        return _flattened_late(scene, flat, start, columns)
    return _wrong_count(scene, flat, columns)


def _batch_flattened(scene: _Scene, flat: Step, columns: int) -> Diagnosis:
    whole = flat.input_shapes[0]
    return Diagnosis(
        f"{_who(flat)} started at axis 0 and mixed the {_plural(whole[0], 'image')} of the batch into one row of "
        f"{_product(whole)} numbers, but {scene.who} has {count(columns)} columns, one image's "
        f"{_product(whole[1:])}",
        ("keep the batch axis: `torch.flatten(x, 1)`, `x.flatten(1)` or `nn.Flatten()`",),
    )


def _no_batch_axis(scene: _Scene, whole: Shape, columns: int) -> Diagnosis:
    return Diagnosis(
        f"the image has no batch axis, so flattening took the {whole[0]} channels for images: {_by(scene.shape)} "
        f"arrives where {scene.who} wants rows of {_product(whole)}",
        ("add the batch axis before the network: `x.unsqueeze(0)`", "flatten everything: `torch.flatten(x, 0)`"),
    )


def _flattened_late(scene: _Scene, flat: Step, start: int, columns: int) -> Diagnosis:
    whole = flat.input_shapes[0]
    fits = math.prod(whole[1:]) == columns
    return Diagnosis(
        f"{_who(flat)} started at axis {start} and left the {_by(whole[1:start])} before it apart: rows of "
        f"{count(scene.shape[-1])} arrive at {scene.who}, which has {count(columns)} columns"
        + (f" = {'·'.join(map(str, whole[1:]))}" if fits else ""),
        ("start at axis 1, right after the batch: `torch.flatten(x, 1)` or `nn.Flatten()`",),
    )


def _wrong_count(scene: _Scene, flat: Step, columns: int) -> Diagnosis:
    """The headline: 512·8·8 numbers meet 512·7·7 columns."""
    whole, numbers = flat.input_shapes[0], scene.shape[-1]
    sizes = whole[1:] if math.prod(whole[1:]) == numbers else whole
    thing = "map" if len(sizes) > 2 or (len(sizes) == 2 and _came_from_windows(scene, flat)) else "tensor"
    grid = _grid(columns, sizes) if thing == "map" else None
    return Diagnosis(
        f"{scene.who} has {_columns(columns, sizes, grid, thing)}, but the flattened {thing} is "
        f"{_product(sizes)} numbers: {count(columns)} ≠ {count(numbers)}",
        _count_remedies(scene, flat, sizes, grid),
    )


def _columns(columns: int, sizes: Sequence[int], grid: tuple[int, ...] | None, thing: str) -> str:
    if grid is not None:
        product = "·".join(map(str, (sizes[0], *grid)))
        certain = len(grid) == 1 or len(set(grid)) == 1
        return f"{count(columns)} columns = {product}" if certain else f"{count(columns)} columns (say {product})"
    if thing == "map" and columns % max(sizes[0], 1):
        return f"{count(columns)} columns, no multiple of the {_plural(sizes[0], 'channel')} that arrive"
    return f"{count(columns)} columns"


def _grid(columns: int, sizes: Sequence[int]) -> tuple[int, ...] | None:
    """The map size, nearest in proportion to the one that came, that would give `columns` numbers.

    25 088 with 512×8×8: 25 088 / 512 = 49 = 7·7. 24 576 with 512×8×12: 48 = 6·8.
    """
    channels, spatial = sizes[0], sizes[1:]
    if not channels or columns % channels or not spatial:
        return None
    cells = columns // channels
    if len(spatial) == 1:
        return (cells,)
    if len(spatial) == 2:
        pairs = [(h, cells // h) for h in range(1, math.isqrt(cells) + 1) if cells % h == 0]
        pairs += [(w, h) for h, w in reversed(pairs) if h != w]
        lean = math.log(max(spatial[0], 1) / max(spatial[1], 1))
        return min(pairs, key=lambda pair: abs(math.log(pair[0] / pair[1]) - lean))
    edge = round(cells ** (1 / len(spatial)))
    return (edge,) * len(spatial) if edge ** len(spatial) == cells else None


def _count_remedies(scene: _Scene, flat: Step, sizes: Sequence[int], grid: tuple[int, ...] | None) -> tuple[str, ...]:
    """Ways out of a wrong count. Of these only the convolution keeps both the weights and the size of the map."""
    build_anew = _new_columns(scene, math.prod(sizes))
    if grid is None:
        return (build_anew,)
    dimension, out = len(grid), scene.failed.settings.get("out_features")
    kernel = grid[0] if len(set(grid)) == 1 else tuple(grid)
    adaptive = f"put `nn.AdaptiveAvgPool{dimension}d({kernel if dimension == 1 else tuple(grid)})` before flatten"
    remedies = [_image_remedy(scene, flat, grid)]
    if out and all(have >= want for have, want in zip(sizes[1:], grid, strict=True)):
        remedies.append(
            f"replace flatten and Linear by `nn.Conv{dimension}d({sizes[0]}, {out}, kernel_size={kernel})` with the "
            f"same weights, `weight.view({out}, {', '.join(map(str, (sizes[0], *grid)))})`; a Linear after it becomes "
            "a convolution with kernel 1"
        )
    pooling = _maker(scene, flat)
    if pooling is not None and pooling.operation == "adaptive_pool":
        return (f"let {_who(pooling)} make {_by(grid)}: `output_size={kernel}`", build_anew)
    remedies.append(f"{adaptive}: one answer for any image size, on a map averaged to {_by(grid)}")
    return (*remedies, build_anew)


def _new_columns(scene: _Scene, numbers: int) -> str:
    out = scene.failed.settings.get("out_features")
    layer = f"`nn.Linear({numbers}, {out})`" if out else f"`in_features={numbers}`"
    return f"building a new net for this size: {layer}; weights trained for another size cannot be loaded into it"


def _image_remedy(scene: _Scene, flat: Step, grid: tuple[int, ...]) -> str:
    inputs = "images" if len(grid) == 2 else "inputs"
    ranges = _image_sizes(scene, flat, grid)
    if ranges is None:
        return f"resize or crop the {inputs} so that the map is {_by(grid)}"
    smallest = tuple(low for low, _ in ranges)
    span = " × ".join(str(low) if low == high else f"{low}–{high}" for low, high in ranges)
    also = "" if all(low == high for low, high in ranges) else f" (any of {span} will do)"
    then = "" if smallest == grid else f": then the map is {_by(grid)}"
    return f"resize or crop the {inputs} to {_by(smallest)}{also}{then}"


def _linear_unflattened(scene: _Scene) -> Diagnosis | None:
    """A map handed to a Linear as it is: (3584x7 and 25088x4096), where 3584 = 512·7 rows of 7."""
    columns, shape = scene.failed.settings.get("in_features"), scene.shape
    if not columns or len(shape) < 3 or shape[-1] == columns:
        return None
    whole = math.prod(shape[1:])
    if whole != columns and not (len(shape) > 3 and _came_from_windows(scene, scene.failed)):
        return None
    rows = _product(shape[1:-1] if shape[0] == 1 else shape[:-1])
    start = (
        f"the map {_by(shape[1:])} reaches {scene.who} without being flattened; Linear reads the last axis only, so it "
        f"sees {rows} rows of {_plural(shape[-1], 'number')} instead of rows of {count(columns)}"
    )
    if shape[1] == columns:
        return Diagnosis(f"{start}, its channels", _channel_linear_remedies(scene, shape, columns))
    flatten = "flatten before it: `nn.Flatten()` or `torch.flatten(x, 1)`"
    if whole == columns:
        return Diagnosis(f"{start} = {'·'.join(map(str, shape[1:]))}", (flatten,))
    grid = _grid(columns, shape[1:])
    end = f"; flattened it would be {_product(shape[1:])} numbers: still not {count(columns)}"
    return Diagnosis(start + end, (flatten, *_count_remedies(scene, scene.failed, shape[1:], grid)))


def _channel_linear_remedies(scene: _Scene, shape: Shape, columns: int) -> tuple[str, ...]:
    out, dimension = scene.failed.settings.get("out_features", columns), len(shape) - 2
    order = ", ".join(map(str, (0, *range(2, len(shape)), 1)))
    return (
        f"average the map to one cell and flatten: `nn.AdaptiveAvgPool{dimension}d(1)`, `nn.Flatten()`",
        f"use the same weights at every cell: `nn.Conv{dimension}d({columns}, {out}, kernel_size=1)`",
        f"put the channels last: `x.permute({order})`",
    )


def _linear_other_axis(scene: _Scene) -> Diagnosis | None:
    columns, shape = scene.failed.settings.get("in_features"), scene.shape
    if not columns or len(shape) < 2 or shape[-1] == columns or columns not in shape[:-1]:
        return None
    axis = len(shape) - 2 - list(reversed(shape[:-1])).index(columns)
    return Diagnosis(
        f"{scene.who} reads the last axis, which has {_plural(shape[-1], 'number')}; its {count(columns)} "
        f"columns fit axis {axis} of {_by(shape)}: the axes are swapped",
        (f"swap them: `x.transpose({axis}, {len(shape) - 1})`", _new_columns(scene, shape[-1])),
    )


def _linear_width(scene: _Scene) -> Diagnosis | None:
    columns, shape = scene.failed.settings.get("in_features"), scene.shape
    if not columns or not shape or shape[-1] == columns:
        return None
    maker, numbers = _origin(scene), shape[-1]
    made = f" that {_who(maker)} makes" if maker is not None else ""
    remedies = [f"give it `in_features={numbers}`"]
    if maker is not None and maker.operation == "linear":
        remedies.append(f"let {_who(maker)} make {count(columns)}: `out_features={columns}`")
    return Diagnosis(
        f"{scene.who} has {count(columns)} columns, but gets rows of {_plural(numbers, 'number')}{made}: "
        f"{count(columns)} ≠ {count(numbers)}",
        tuple(remedies),
    )


# Reshape and flatten


def _reshape_count(scene: _Scene) -> Diagnosis | None:
    """A view that asks for another number of numbers than there are."""
    sizes, numbers = _asked_sizes(scene), math.prod(scene.shape)
    if not sizes or not scene.shape:
        return None
    fixed = math.prod(size for size in sizes if size != -1)
    if numbers == fixed or (-1 in sizes and fixed and numbers % fixed == 0):
        return None
    return _reshape_row(scene, sizes) or _reshape_plain(scene, sizes, fixed, numbers)


def _asked_sizes(scene: _Scene) -> tuple[int, ...]:
    sizes = scene.failed.settings.get("sizes") or ()
    return tuple(sizes) if all(isinstance(size, int) for size in sizes) else ()


def _reshape_row(scene: _Scene, sizes: tuple[int, ...]) -> Diagnosis | None:
    """view(-1, 400), the flatten of many tutorials: one image's count is asked for, and the map gives another."""
    if len(sizes) != 2 or sizes[1] < 1 or len(scene.shape) < 3:
        return None
    one, columns = scene.shape[1:], sizes[1]
    grid = _grid(columns, one) if _came_from_windows(scene, scene.failed) else None
    rows = math.prod(scene.shape) / columns
    cut = (
        f"; {count(math.prod(scene.shape))} numbers do not divide into rows of {count(columns)}"
        if sizes[0] == -1
        else ""
    )
    size = _image_remedy(scene, scene.failed, grid) if grid else ""
    asked = _columns(columns, one, grid, "map").replace(" columns", " numbers", 1)
    return Diagnosis(
        f"{_asked(scene.failed, sizes)} wants rows of {asked}, but one image's map is {_product(one)} numbers{cut}"
        if rows
        else f"{_asked(scene.failed, sizes)} was given no numbers at all",
        (
            *((size,) if size else ()),
            f"building a new net for this size: ask for {math.prod(one)} here and in the next Linear",
            "write `torch.flatten(x, 1)`: it never mixes images, and the Linear then says which count is wrong",
        ),
    )


def _asked(step: Step, sizes: Sequence[int]) -> str:
    return f"{_who(step)}({', '.join(map(str, sizes))})"


def _reshape_plain(scene: _Scene, sizes: tuple[int, ...], fixed: int, numbers: int) -> Diagnosis:
    asked = f"a multiple of {count(fixed)}" if -1 in sizes else f"{count(fixed)}"
    return Diagnosis(
        f"{_asked(scene.failed, sizes)} needs {asked} numbers, but {_by(scene.shape)} holds {count(numbers)}",
        ("ask for sizes whose product is the number of numbers there are, or leave one size to torch as -1",),
    )


def _reshape_strides(scene: _Scene) -> Diagnosis | None:
    if "stride" not in scene.message and "contiguous" not in scene.message:
        return None
    maker = _maker(scene, scene.failed)
    made = f" that {_who(maker)} made" if maker is not None else ""
    return Diagnosis(
        f"{scene.who} only relabels numbers where they lie, and those of the {_by(scene.shape)} tensor{made} "
        "do not lie in that order in memory (transposed, permuted or channels_last): the count is right",
        (
            "use `.reshape(…)` or `.flatten(1)`, which copy when they must",
            "call `.contiguous()` before `.view(…)`",
            "after a transpose: check that the axes are in the order you mean before they are merged",
        ),
    )


def _flatten_axis(scene: _Scene) -> Diagnosis | None:
    start, rank = scene.failed.settings.get("start_dim"), len(scene.shape)
    if not isinstance(start, int) or -rank <= start < rank:
        return None
    return Diagnosis(
        f"{scene.who} starts at axis {start}, but {_by(scene.shape) or 'a single number'} has only "
        f"{'axis 0' if rank == 1 else f'axes 0 to {rank - 1}' if rank else 'no axes'}",
        ("add the batch axis before the network: `x.unsqueeze(0)`",),
    )


def _permute_axes(scene: _Scene) -> Diagnosis | None:
    dims = scene.failed.settings.get("dims")
    if dims is None or not isinstance(dims, Sequence) or len(dims) == len(scene.shape):
        return None
    return Diagnosis(
        f"{scene.who} orders {len(dims)} axes, but {_by(scene.shape)} has {len(scene.shape)}",
        ("name every axis once", *(("add the batch axis: `x.unsqueeze(0)`",) if len(dims) > len(scene.shape) else ())),
    )


# Convolution


def _rank(step: Step) -> int | None:
    """How many spatial axes the step works on, from its window or the digit in its name (`BatchNorm2d`)."""
    if step.window is not None:
        return len(step.window.kernel)
    digit = re.search(r"([123])d$", step.kind)
    return int(digit[1]) if digit else None


def _wrong_rank(scene: _Scene) -> Diagnosis | None:
    """Rows, or a map with an axis too many, where a batch of maps is wanted."""
    rank, shape = _rank(scene.failed), scene.shape
    if rank is None or not scene.shapes or len(shape) in (rank + 1, rank + 2):
        return None
    wants = f"{scene.who} wants maps with {rank + 2} axes ({', '.join(_axes(rank + 2))})"
    return Diagnosis(
        f"{wants}, but gets {_by(shape) or 'a single number'}: {_plural(len(shape), 'axis').replace('axiss', 'axes')}",
        _rank_remedies(scene, rank),
    )


def _rank_remedies(scene: _Scene, rank: int) -> tuple[str, ...]:
    shape = scene.shape
    channels = scene.failed.settings.get("in_channels")
    if len(shape) > rank + 2:
        return ("merge or drop the extra axis: `x.flatten(0, 1)` or `x.squeeze(…)`",)
    if len(shape) == 2 and channels and shape[1] % channels == 0:
        edge = round((shape[1] // channels) ** (1 / rank))
        if edge**rank * channels == shape[1]:
            sizes = ", ".join(map(str, (channels, *(edge,) * rank)))
            return (f"give the rows back their image: `x.view(-1, {sizes})`", "move the flatten behind this layer")
    if _flattening(scene) is not None:
        return ("move the flatten behind this layer",)
    if rank == len(shape):
        return ("add the missing axes: `x[None, None]` (batch and channel)",)
    return ("do not flatten before this layer",)


def _conv_channels(scene: _Scene) -> Diagnosis | None:
    wants, rank, shape = scene.failed.settings.get("in_channels"), _rank(scene.failed), scene.shape
    if not wants or rank is None or len(shape) not in (rank + 1, rank + 2):
        return None
    batched = len(shape) == rank + 2
    has = shape[1] if batched else shape[0]
    if has == wants:
        return None
    seen = shape[1:] if batched else shape
    return Diagnosis(
        f"{scene.who} has filters of {_plural(wants, 'channel')}{_filters(scene.failed)}, but the map it gets "
        f"is {_by(seen)}: {_plural(has, 'channel')}, not {count(wants)}{_channels_hint(scene, wants, has, batched)}",
        _channel_remedies(scene, wants, has, batched),
    )


def _filters(step: Step) -> str:
    weight = _weight(step, "weight")
    return f" (weight {_by(weight)})" if weight else ""


def _channels_hint(scene: _Scene, wants: int, has: int, batched: bool) -> str:
    maker = _origin(scene)
    if scene.shape[-1] == wants:
        return f"; the {count(wants)} stand last, as in arrays from PIL, numpy or TensorFlow"
    if not batched and maker is None and wants == 1:
        return "; the axis taken for channels may be the batch"
    if maker is not None and maker.operation == "cat" and len(maker.input_shapes) > 1:
        joined = " + ".join(str(shape[1] if len(shape) > 1 else shape[0]) for shape in maker.input_shapes if shape)
        return f"; {_who(maker)} joins {joined} = {has}"
    return f"; they come from {_who(maker)}" if maker is not None else ""


def _channel_remedies(scene: _Scene, wants: int, has: int, batched: bool) -> tuple[str, ...]:
    rank, maker, ways = len(scene.shape) - (2 if batched else 1), _origin(scene), []
    untouched = not _came_from_windows(scene, scene.failed)
    if scene.shape[-1] == wants:
        order = (0, rank + 1, *range(1, rank + 1)) if batched else (rank, *range(rank))
        ways.append(f"bring the channels forward: `x.permute({', '.join(map(str, order))})`")
        if not batched:
            ways.append("then add the batch axis: `.unsqueeze(0)`")
        return tuple(ways)
    if not batched and wants == 1:
        ways.append("add the channel axis: `x.unsqueeze(1)`")
    if untouched and has == 1 and wants == 3:
        ways.append(f"a grey image into a colour net: `x.expand({'-1, ' if batched else ''}3{', -1' * rank})`")
    if untouched and has == 4 and wants == 3:
        ways.append(f"an RGBA image: drop the transparency, `x[{':, ' if batched else ''}:3]`")
    if untouched and has == 3 and wants == 1:
        ways.append(f"a colour image into a grey net: `x.mean({1 if batched else 0}, keepdim=True)`")
    if maker is not None and maker.operation in ("conv", "conv_transpose"):
        ways.append(f"let {_who(maker)} make {count(wants)}: `out_channels={wants}`")
    groups = scene.failed.window.groups if scene.failed.window else 1
    if has % groups == 0:
        ways.append(f"building a new net: `in_channels={has}`")
    return tuple(ways)


def _window_too_large(scene: _Scene) -> Diagnosis | None:
    """A convolution, pooling or unfold whose window does not fit on the padded map: the image was too small."""
    window, rank, shape = scene.failed.window, _rank(scene.failed), scene.shape
    if window is None or rank is None or len(shape) < rank or not shape:
        return None
    sizes = shape[-rank:]
    reach = [d * (k - 1) + 1 for d, k in zip(window.dilation, window.kernel, strict=True)]
    padded = [size + before + after for size, (before, after) in zip(sizes, window.pads, strict=True)]
    if all(p >= r for p, r in zip(padded, reach, strict=True)):
        return None
    with_padding = f" ({_by(padded)} with padding)" if padded != list(sizes) else ""
    return Diagnosis(
        f"the image is too small: at {scene.who} the map is {_by(sizes)}{with_padding}, and the window covers "
        f"{_by(reach)}{_shrinking(scene)}",
        _small_remedies(scene, reach),
    )


def _shrinking(scene: _Scene) -> str:
    """How often the image was shrunk before it came here."""
    strided = [step for step in _way(scene, scene.failed) or () if step.window and max(step.window.stride) > 1]
    factor = math.prod(
        max(step.window.stride) for step in strided if step.window and step.operation != "conv_transpose"
    )
    if factor == 1:
        return ""
    steps = f"{_plural(len(strided), 'step')} before it ({_listed([step.name for step in strided])})"
    return f"; {steps} have made the image {factor} times smaller"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{names[0]}, {names[1]}, …, {names[-1]}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _small_remedies(scene: _Scene, reach: Sequence[int]) -> tuple[str, ...]:
    window, way = scene.failed.window, _way(scene, scene.failed)
    pads = [sum(pad) for pad in window.pads] if window else [0] * len(reach)
    ways = []
    if way is not None:
        least = [_smallest(way, axis, max(1, r - p)) for axis, (r, p) in enumerate(zip(reach, pads, strict=True))]
        if None not in least:
            ways.append(f"use images of at least {_by([size for size in least if size is not None])}")
    ways = ways or ["use larger images"]
    if scene.failed.operation == "conv":
        ways.append(f"pad this layer: `padding={max(-(-(r - 1) // 2) for r in reach)}`")
    return (*ways, "take out a pooling or a stride before it, so that the map shrinks less")


def _pool_padding(scene: _Scene) -> Diagnosis | None:
    window = scene.failed.window
    if window is None or not isinstance(window.padding, tuple) or "pad should be" not in scene.message:
        return None
    return Diagnosis(
        f"{scene.who} pads {_by(window.padding)} around a window of {_by(window.kernel)}: pooling pads at most "
        "half its window, or a window could lie in padding alone",
        (f"`padding={min(window.kernel) // 2}` or less", "pad before it with `F.pad`"),
    )


def _output_padding(scene: _Scene) -> Diagnosis | None:
    window = scene.failed.window
    if window is None or not window.output_padding or "output padding" not in scene.message:
        return None
    return Diagnosis(
        f"{scene.who} adds output_padding {_by(window.output_padding)}, which must be smaller than its stride "
        f"{_by(window.stride)} or its dilation {_by(window.dilation)}: it chooses among sizes within one stride",
        (f"`output_padding={max(max(window.stride), max(window.dilation)) - 1}` or less",),
    )


def _empty_map(scene: _Scene) -> Diagnosis | None:
    if 0 not in scene.shape[1:]:
        return None
    return Diagnosis(
        f"{scene.who} gets a map without cells, {_by(scene.shape[1:])}: a step before it used up the image",
        ("use larger images",),
    )


# Normalisation, recurrent nets, embeddings


def _norm_channels(scene: _Scene) -> Diagnosis | None:
    wants, shape = _norm_features(scene.failed), scene.shape
    if wants is None or len(shape) < 2 or shape[1] == wants or "Layer" in scene.failed.kind:
        return None
    maker = _origin(scene)
    made = f" from {_who(maker)}" if maker is not None else ""
    argument = "num_channels" if "Group" in scene.failed.kind else "num_features"
    ways = [f"give it the number that arrives: `{argument}={shape[1]}`"]
    if maker is not None and maker.operation in ("conv", "conv_transpose"):
        ways.append(f"let {_who(maker)} make {count(wants)}: `out_channels={wants}`")
    if shape[-1] == wants:
        ways.insert(0, f"its channels stand last: bring axis {len(shape) - 1} to place 1")
    return Diagnosis(
        f"{scene.who} keeps one mean and one variance for each of {_plural(wants, 'channel')}, but the map{made} "
        f"has {count(shape[1])}: {_by(shape[1:])}",
        tuple(ways),
    )


def _norm_features(step: Step) -> int | None:
    sizes = _weight(step, "running_mean") or _weight(step, "weight")
    return step.settings.get("num_features") or (sizes[0] if sizes and len(sizes) == 1 else None)


def _weight(step: Step, name: str) -> Shape | None:
    """The shape of a parameter or buffer; a call's are named by their whole path."""
    return next((weight.shape for weight in step.weights if weight.name.split(".")[-1].startswith(name)), None)


def _norm_rank(scene: _Scene) -> Diagnosis | None:
    """BatchNorm2d wants the batch axis even where the convolution before it did without."""
    rank, shape = _rank(scene.failed), scene.shape
    if rank is None or not shape or len(shape) == rank + 2 or (rank == 1 and len(shape) == 2):
        return None
    if len(shape) == rank + 1 and "InstanceNorm" in scene.failed.kind:
        return None
    wants = f"{scene.who} wants {rank + 2} axes ({', '.join(_axes(rank + 2))}), but gets {_by(shape)}"
    if len(shape) == rank + 1:
        return Diagnosis(f"{wants}: the batch axis is missing", ("add it before the network: `x.unsqueeze(0)`",))
    ways = ("on rows of numbers use `nn.BatchNorm1d`",) if len(shape) == 2 else ("check which step made this shape",)
    return Diagnosis(f"{wants}: {len(shape)} axes", ways)


def _norm_one_value(scene: _Scene) -> Diagnosis | None:
    if "more than 1 value per channel" not in scene.message:
        return None
    return Diagnosis(
        f"{scene.who} in train mode takes mean and variance over the batch, and {_by(scene.shape)} has one value "
        "per channel: no spread to measure",
        ("use a batch of two or more (`drop_last=True` in the DataLoader)", "for predictions: `model.eval()`"),
    )


def _layer_norm(scene: _Scene) -> Diagnosis | None:
    wants, shape = scene.failed.settings.get("normalized_shape"), scene.shape
    if not isinstance(wants, Sequence) or not wants or not shape or tuple(shape[-len(wants) :]) == tuple(wants):
        return None
    fixed = "; a LayerNorm over height and width fixes the image size" if len(wants) > 1 else ""
    return Diagnosis(
        f"{scene.who} has one weight for each of {_by(wants)}, and the input ends in "
        f"{_by(shape[-len(wants) :])}{fixed}",
        (
            *((f"put axis {shape.index(wants[0])} last",) if len(wants) == 1 and wants[0] in shape else ()),
            f"`nn.LayerNorm({shape[-1] if len(wants) == 1 else list(shape[-len(wants) :])})` for this size",
            *(("normalise over channels instead: `nn.GroupNorm(1, channels)`",) if len(wants) > 1 else ()),
        ),
    )


def _recurrent_width(scene: _Scene) -> Diagnosis | None:
    weight = _weight(scene.failed, "weight_ih")
    wants = scene.failed.settings.get("input_size") or (weight[-1] if weight else None)
    shape = scene.shape
    if not wants or not shape:
        return None
    if len(shape) > 3:
        return Diagnosis(
            f"{scene.who} reads a sequence of rows (time, batch, {count(wants)} numbers), but gets a map: {_by(shape)}",
            ("make the map a sequence: `x.flatten(2).permute(2, 0, 1)` gives one row of channels for each cell",),
        )
    if shape[-1] == wants:
        return None
    swapped = wants in shape[:-1]
    ways = [f"building a new net: `input_size={shape[-1]}`"]
    if swapped:
        ways.insert(0, f"put it last: `x.transpose({shape.index(wants)}, {len(shape) - 1})`")
    return Diagnosis(
        f"{scene.who} reads rows of {count(wants)} numbers, but the last axis of {_by(shape)} has {count(shape[-1])}"
        + (f"; axis {shape.index(wants)} has {count(wants)}" if swapped else ""),
        tuple(ways),
    )


def _embedding_index(scene: _Scene) -> Diagnosis | None:
    if "out of range" not in scene.message:
        return None
    table = _weight(scene.failed, "weight")
    rows = f"{count(table[0])} rows, numbered 0 to {count(table[0] - 1)}" if table else "a fixed number of rows"
    return Diagnosis(
        f"{scene.who} has {rows}, and an index in the input lies outside",
        ("look at `x.min()` and `x.max()`", "`num_embeddings` is the largest index + 1"),
    )


def _attention_width(scene: _Scene) -> Diagnosis | None:
    weight = _weight(scene.failed, "in_proj_weight")
    if not weight or not scene.shape or scene.shape[-1] == weight[-1]:
        return None
    return Diagnosis(
        f"{scene.who} was built for rows of {count(weight[-1])} numbers, but gets {_by(scene.shape)}: rows of "
        f"{count(scene.shape[-1])}",
        (f"`embed_dim={scene.shape[-1]}`", f"bring the rows to {weight[-1]} with a Linear before it"),
    )


# Several inputs


def _cat_mismatch(scene: _Scene) -> Diagnosis | None:
    shapes, rank = scene.shapes, len(scene.shape)
    if len(shapes) < 2 or not rank:
        return None
    if any(len(shape) != rank for shape in shapes):
        return _different_ranks(scene, "joins tensors with equally many axes")
    dim = scene.failed.settings.get("dim", 0)
    stacked = scene.failed.operation == "stack"
    dim = None if stacked or not isinstance(dim, int) else dim % rank
    other = next((i for i, shape in enumerate(shapes) if _differing(shapes[0], shape, dim)), None)
    if other is None:
        return None
    along = f"along {_axis_phrase(dim, rank)}; every other size" if dim is not None else "tensors whose sizes"
    return _mismatch(scene, f"joins {along} must be equal", other, _differing(shapes[0], shapes[other], dim))


def _axis_phrase(axis: int, rank: int) -> str:
    name = _axes(rank)[axis]
    return name if name.startswith("axis") else f"axis {axis} ({name})"


def _differing(one: Shape, other: Shape, but: int | None) -> tuple[int, ...]:
    return tuple(axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b and axis != but)


def _different_ranks(scene: _Scene, rule: str) -> Diagnosis:
    arriving = " and ".join(
        f"{_by(shape)} from {_maker_name(scene, scene.failed, i)}" for i, shape in enumerate(scene.shapes)
    )
    return Diagnosis(f"{scene.who} {rule}, but gets {arriving}", ("add the missing axis: `x.unsqueeze(…)`",))


def _broadcast_mismatch(scene: _Scene) -> Diagnosis | None:
    """Sizes are compared from the last axis; a 1 stretches, a missing axis counts as 1, anything else must be equal."""
    shapes = scene.shapes
    if len(shapes) < 2:
        return None
    rank = max(len(shape) for shape in shapes)
    first, *rest = [Shape((1,) * (rank - len(shape)) + shape) for shape in shapes]
    for number, shape in enumerate(rest, 1):
        axes = tuple(axis for axis in _differing(first, shape, None) if 1 not in (first[axis], shape[axis]))
        if axes and len(shapes[0]) == len(shapes[number]):
            return _mismatch(scene, "works cell by cell and needs equal sizes (or 1)", number, axes)
        if axes:
            return _different_ranks(
                scene, "compares sizes from the last axis, where each pair must be equal or hold a 1"
            )
    return None


def _mismatch(scene: _Scene, rule: str, other: int, axes: tuple[int, ...]) -> Diagnosis:
    one, two = scene.shapes[0], scene.shapes[other]
    names = [_maker_name(scene, scene.failed, i) for i in (0, other)]
    pairs = ", ".join(f"{_axes(len(one))[axis]} {one[axis]} ≠ {two[axis]}" for axis in axes)
    spatial = len(one) > 2 and min(axes) > 1
    divisor, image = _skip_divisor(scene, other) if spatial else (1, ())
    return Diagnosis(
        f"{scene.who} {rule}, but {pairs}: {names[0]} gives {_shown(one)} and {names[1]} gives {_shown(two)}"
        + (
            f"; the image's {_by(image)} is not divisible by {divisor}, so rounding lost cells on the way down"
            if image
            else ""
        ),
        _skip_remedies(scene, other, divisor, image) if spatial else _channel_sum_remedies(scene, other, axes),
    )


def _skip_divisor(scene: _Scene, other: int) -> tuple[int, tuple[int, ...]]:
    """By how much the deeper branch shrinks the image, and the image's sizes if they do not divide by it."""
    divisor = max(_jump(scene, scene.failed, i) for i in (0, other)).numerator
    image = _image(scene)
    odd = divisor > 1 and any(size % divisor for size in image)
    return divisor, image if odd else ()


def _image(scene: _Scene) -> tuple[int, ...]:
    """Height and width of the network's first input, read from a step that takes it."""
    for step in scene.steps:
        for shape, source in zip(step.input_shapes, step.sources, strict=False):
            if source is not None and source.step == -1 and len(shape) > 2:
                return tuple(shape[2:])
    return ()


def _skip_remedies(scene: _Scene, other: int, divisor: int, image: tuple[int, ...]) -> tuple[str, ...]:
    one, two = scene.shapes[0], scene.shapes[other]
    least, last = tuple(map(min, one[2:], two[2:])), len(one) - 2
    cut = ", ".join(f":{size}" for size in least)
    crop = f"crop the larger one: `x[..., {cut}]` cuts both to {_by(least)}"
    resize = f"resize the deeper one to the other: `F.interpolate(deep, size=skip.shape[-{last}:])`"
    if not image:
        return (crop, resize, "let the convolutions between keep the size: `padding=1` for a 3×3 window")
    down = [size // divisor * divisor for size in image]
    up = [size + -size % divisor for size in image]
    sizes = _by(up) + (f" or {_by(down)}" if all(down) and down != up else "")
    return (f"use images whose sizes divide by {divisor}: {sizes}", resize, crop)


def _channel_sum_remedies(scene: _Scene, other: int, axes: tuple[int, ...]) -> tuple[str, ...]:
    one, two = scene.shapes[0], scene.shapes[other]
    if 1 in axes and len(one) > 2:
        ways = [f"bring one to the other's channels: `nn.Conv{len(one) - 2}d({one[1]}, {two[1]}, kernel_size=1)`"]
        if len(axes) > 1:
            ways.append("where the main branch also shrinks the map, give that convolution the same stride")
        return tuple(ways)
    if axes == (0,):
        return ("use the same batch size for both",)
    return ("make the sizes equal before this step",)


_PRODUCTS = ("matmul", "mm", "bmm", "__matmul__", "mv", "dot", "addmm", "baddbmm")


def _matrix_product(scene: _Scene) -> Diagnosis | None:
    """(n, m) times (m, k): the inner sizes must be equal."""
    weights = [weight.shape for weight in scene.failed.weights]
    pair = (*scene.shapes, *weights)[-2:] if not weights or _is_second(weights[-1], scene.message) else ()
    if len(pair) < 2 or not all(pair):
        return None
    one, two = pair
    row, column = one[-1], two[-2] if len(two) > 1 else two[0]
    if row == column:
        return None
    swapped = len(two) > 1 and two[-1] == row
    return Diagnosis(
        f"{scene.who} multiplies {_by(one)} by {_by(two)}: each row of the first has {_plural(row, 'number')}, each "
        f"column of the second {count(column)}, and they must be equally many",
        ("transpose the second: `b.mT`",) if swapped else ("make the inner sizes equal, or transpose one: `b.mT`",),
    )


def _is_second(weight: Shape, message: str) -> bool:
    """Whether torch names the weight last: shapes alone do not tell x·W from W·x."""
    return message.endswith(f"and {'x'.join(map(str, weight[-2:]))})")


# Padding and pixel shuffle


def _pad_too_large(scene: _Scene) -> Diagnosis | None:
    """Reflection mirrors cells of the image, so it must have more cells than are added; circular needs as many."""
    window, settings = scene.failed.window, scene.failed.settings
    mode = settings.get("mode", settings.get("padding_mode"))
    pads = window.pads if window is not None else settings.get("pads") or ()
    for place, pair in enumerate(pads, -len(pads)):
        size = scene.shape[place] if -place <= len(scene.shape) else 0
        limit = {"reflect": size - 1, "circular": size}.get(str(mode))
        if limit is not None and max(pair) > limit:
            verb = "mirrors" if mode == "reflect" else "repeats"
            return Diagnosis(
                f"{scene.who} {verb} {_plural(max(pair), 'cell')} at the border, but the map {_shown(scene.shape)} has "
                f"{count(size)} along that axis: at most {count(max(limit, 0))} can be taken",
                (f"pad {max(limit, 0)} or less", "use larger images", "zeros or `mode='replicate'` have no such limit"),
            )
    return None


def _pixel_shuffle(scene: _Scene) -> Diagnosis | None:
    factor, shape = scene.failed.settings.get("factor"), scene.shape
    if not isinstance(factor, int) or factor < 1 or len(shape) < 3:
        return None
    if scene.failed.settings.get("up", True):
        if shape[-3] % factor**2 == 0:
            return None
        return Diagnosis(
            f"{scene.who} makes {factor}×{factor} cells out of {factor**2} channels, and "
            f"{_plural(shape[-3], 'channel')} do not divide by {factor**2}",
            (f"let the step before make {-(-shape[-3] // factor**2) * factor**2} channels",),
        )
    if shape[-1] % factor == shape[-2] % factor == 0:
        return None
    return Diagnosis(
        f"{scene.who} packs {factor}×{factor} cells into channels, and {_by(shape[-2:])} does not divide by {factor}",
        (f"make height and width multiples of {factor}",),
    )


# Types of numbers: the one thing shapes do not tell

_TYPE_PAIRS = (  # what came, what the layer has
    r"same dtype, but (?:got|found):? (?P<came>\w+) (?:and|!=) (?P<has>\w+)",
    r"Input type \((?P<came>[^)]+)\) and (?:bias|weight) type \((?P<has>[^)]+)\)",
    r"input dtype \((?P<came>[\w.]+)\) does not match weight dtype \((?P<has>[\w.]+)\)",
    r"expected scalar type (?P<has>\w+) but found (?P<came>\w+)",
)
_TYPE_NAMES: Mapping[str, str] = {
    "long": "int64", "long int": "int64", "int": "int32", "unsigned char": "uint8", "byte": "uint8", "char": "int8",
    "short": "int16", "float": "float32", "double": "float64", "half": "float16", "c10::half": "float16",
    "c10::bfloat16": "bfloat16", "bool": "bool",
}  # fmt: skip
_WHOLE = ("int64", "int32", "int16", "int8", "uint8", "bool")


def _type_name(word: str) -> str:
    plain = word.lower().removeprefix("torch.").removesuffix("tensor")
    return _TYPE_NAMES.get(plain, plain)


def _number_types(scene: _Scene) -> Diagnosis | None:
    pair = next((found for pattern in _TYPE_PAIRS if (found := re.search(pattern, scene.message))), None)
    if pair is not None:
        return _types_differ(scene, _type_name(pair["came"]), _type_name(pair["has"]))
    if "mixed dtype" in scene.message or "same datatype" in scene.message:
        return Diagnosis(
            f"{scene.who} holds weights of one number type and gets inputs of another",
            ("give both the same: `x.float()`, or `model.double()` where the input is float64",),
        )
    if "indices" in scene.message and (got := re.search(r"got torch\.(\w+)Tensor", scene.message)):
        return Diagnosis(
            f"{scene.who} looks up rows by number and needs whole numbers (int64), but gets {_type_name(got[1])}",
            ("if these are indices: `x.long()`", "if these are measurements: use `nn.Linear` instead"),
        )
    if absent := re.search(r"not implemented for '(\w+)'", scene.message):
        return Diagnosis(
            f"{scene.who} does not exist for {_type_name(absent[1])} numbers on this device",
            ("use float32: `x.float()`",),
        )
    return None


def _types_differ(scene: _Scene, came: str, has: str) -> Diagnosis:
    whole = f"whole numbers ({came})" if came in _WHOLE else f"{came} numbers"
    ways = [f"`x.to(torch.{has})`" if has != "float32" else "`x.float()`"]
    if came == "uint8":
        ways[0] = "bytes of an image: `x.float() / 255`"
    if came == "float64":
        ways.append("numpy makes float64: convert where the data is loaded, `array.astype('float32')`")
    if came in ("float16", "bfloat16", "float64"):
        ways.append(f"or bring the model there: `model.to(torch.{came})`")
    return Diagnosis(f"{scene.who} has {has} weights, but gets {whole}; torch does not convert by itself", tuple(ways))


# When nothing else is known


def _quoted(scene: _Scene) -> Diagnosis:
    shapes = ", ".join(_by(shape) or "a single number" for shape in scene.shapes) or "no tensors"
    maker = _maker(scene, scene.failed)
    made = f" (from {_who(maker)})" if maker is not None else ""
    said = scene.message.strip() or "no reason given"
    return Diagnosis(
        f"{scene.who or 'the model'} stopped on {shapes}{made}: {said}",
        ("compare the input's sizes with the arguments of this step, then go back step by step to where they differ",),
    )


_LINEAR = (_linear_after_flatten, _linear_unflattened, _linear_other_axis, _linear_width)
_POOL = (_wrong_rank, _pool_padding, _window_too_large, _empty_map)
_NORM = (_norm_one_value, _norm_rank, _norm_channels)
_BY_OPERATION: Mapping[str | None, tuple[_Reading, ...]] = {
    "linear": _LINEAR,
    "conv": (_wrong_rank, _conv_channels, _pad_too_large, _window_too_large),
    "conv_transpose": (_wrong_rank, _conv_channels, _output_padding, _empty_map),
    "max_pool": _POOL,
    "avg_pool": _POOL,
    "lp_pool": _POOL,
    "unfold": (_window_too_large,),
    "adaptive_pool": (_wrong_rank,),
    "flatten": (_flatten_axis,),
    "reshape": (_reshape_count, _reshape_strides),
    "permute": (_permute_axes,),
    "cat": (_cat_mismatch,),
    "stack": (_cat_mismatch,),
    "broadcast": (_broadcast_mismatch,),
    "pad": (_pad_too_large,),
    "pixel_shuffle": (_pixel_shuffle,),
}
_BY_KIND: Mapping[str, tuple[_Reading, ...]] = {
    **{f"{norm}{rank}d": _NORM for norm in ("BatchNorm", "InstanceNorm") for rank in (1, 2, 3)},
    **dict.fromkeys(("SyncBatchNorm", "GroupNorm", "batch_norm", "group_norm", "instance_norm"), _NORM),
    **dict.fromkeys(("LayerNorm", "layer_norm", "RMSNorm"), (_layer_norm,)),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"), (_recurrent_width,)),
    **dict.fromkeys(("Embedding", "EmbeddingBag", "embedding"), (_embedding_index,)),
    "MultiheadAttention": (_attention_width,),
    **dict.fromkeys(_PRODUCTS, (_matrix_product,)),
}

"""A count of numbers that does not fit: a flattened map of another image size meets a Linear, or a view.

    Linear 25 088 → 4 096 after a flattened 512×8×8 map:
    25 088 = 512·7·7, but 512·8·8 = 32 768

First what a Linear finds, then a view or reshape; at the end what both need: the count read as a map, and the ways to
bring that map about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fcnviz.arithmetic import count
from fcnviz.diagnosis.images import image_sizes
from fcnviz.diagnosis.scene import Diagnosis, Scene, to_make, told
from fcnviz.diagnosis.words import by, commas, plural, product, times, who
from fcnviz.records import Step


def linear(scene: Scene) -> Diagnosis | None:
    """The last axis of what arrives must hold as many numbers as the layer has columns."""
    columns, shape = scene.failed.settings.get("in_features") or 0, scene.shape
    if columns < 1 or not shape or shape[-1] == columns:
        return None
    flat = scene.flattening
    if flat is not None and _keeps_rows(scene, flat, columns):
        flat = None
    found = _flattened(scene, flat, columns) if flat is not None else _unflattened(scene, columns)
    return found or _swapped(scene, columns) or _width(scene, columns)


def _keeps_rows(scene: Scene, flat: Step, columns: int) -> bool:
    """Whether a reshape flattened no image: (batch, time, numbers) as (batch·time, numbers), say."""
    whole, numbers = flat.input_shapes[0], scene.shape[-1]
    counts = (math.prod(whole), math.prod(whole[1:]))
    return numbers not in counts and columns not in counts and not scene.is_map(flat)


def _flattened(scene: Scene, flat: Step, columns: int) -> Diagnosis:
    whole, start = flat.input_shapes[0], flat.settings.get("start_dim")
    one, start = whole[1:], 1 if start is None else start + len(whole) if start < 0 else start
    if start == 0 and one and math.prod(one) == columns:
        return told(
            f"{who(flat)} started at axis 0 and mixed the {plural(whole[0], 'image')} of the batch into one row of "
            f"{product(whole)} numbers, but {scene.who} has {count(columns)} columns, one image's {product(one)}",
            "keep the batch axis: `torch.flatten(x, 1)`, `x.flatten(1)` or `nn.Flatten()`",
        )
    if len(whole) == 4 and whole[0] > 1 and math.prod(whole) == scene.shape[-1] and scene.is_map(flat):
        return _merged(scene, flat, columns)
    if len(whole) in (2, 3) and math.prod(whole) == columns and len(scene.shape) == 2:
        taken = "channels" if len(whole) == 3 else "rows"
        return told(
            f"the image has no batch axis, so flattening took the {whole[0]} {taken} for images: {by(scene.shape)} "
            f"arrives where {scene.who} wants rows of {product(whole)}",
            "add the batch axis before the network: `x.unsqueeze(0)`",
            "flatten everything: `torch.flatten(x, 0)`",
        )
    if start > 1 and len(scene.shape) > 2:
        return told(
            f"{who(flat)} started at axis {start} and left the {by(whole[1:start])} before it apart: rows of "
            f"{count(scene.shape[-1])} arrive at {scene.who}, which has {count(columns)} columns"
            + (f" = {times(one)}" if math.prod(one) == columns else ""),
            "start at axis 1, right after the batch: `torch.flatten(x, 1)` or `nn.Flatten()`",
        )
    if scene.shape[-1] not in (math.prod(one), math.prod(whole)) and len(whole) > 2:
        return _cut_up(scene, flat, columns)
    return _wrong_count(scene, flat, columns)


def _merged(scene: Scene, flat: Step, columns: int) -> Diagnosis:
    """view(-1): the images of a batch as one row."""
    whole, one = flat.input_shapes[0], flat.input_shapes[0][1:]
    fits = math.prod(one) == columns
    return told(
        f"{who(flat)} made the {plural(whole[0], 'image')} of the batch one row of {product(whole)} numbers, but "
        f"{scene.who} has {count(columns)} columns; one image is {product(one)} numbers"
        + ("" if fits else f": still not {count(columns)}"),
        "keep the batch axis: `torch.flatten(x, 1)`, `x.flatten(1)` or `nn.Flatten()`",
        *(() if fits else _count_remedies(scene, flat, one, _grid(columns, one))),
    )


def _cut_up(scene: Scene, flat: Step, columns: int) -> Diagnosis:
    """view(batch * channels, -1): the rows that arrive are pieces of images."""
    whole, numbers = flat.input_shapes[0], scene.shape[-1]
    is_mixed = len(scene.shape) == 2 and scene.shape[0] == math.prod(whole[:2])
    how = f"mixed the batch with the channels: {product(whole[:2])} rows" if is_mixed else "cut the images up: rows"
    one, fits = product(whole[1:]), math.prod(whole[1:]) == columns
    return told(
        f"{who(flat)} {how} of {plural(numbers, 'number')} arrive at {scene.who}, which has {count(columns)} columns"
        + (f", one image's {one}" if fits else f"; one image is {one} numbers"),
        "keep the batch axis, flatten the rest: `torch.flatten(x, 1)`",
        "" if fits else _new_columns(scene, math.prod(whole[1:])),
    )


def _wrong_count(scene: Scene, flat: Step, columns: int) -> Diagnosis:
    """The headline: 512·8·8 numbers meet 512·7·7 columns."""
    whole, numbers = flat.input_shapes[0], scene.shape[-1]
    sizes = whole[1:] if math.prod(whole[1:]) == numbers else whole
    is_map = len(sizes) > 2 or (len(sizes) == 2 and scene.is_map(flat))
    grid = _grid(columns, sizes) if is_map else None
    if not (is_map and _is_square(columns, sizes)):
        found = _other_channels(scene, flat, columns) or _one_cell(scene, flat, columns)
        if found is not None:
            return found
    has = _asked(columns, "columns", sizes, grid) if is_map else f"{count(columns)} columns"
    return told(
        f"{scene.who} has {has}, but the flattened {'map' if is_map else 'tensor'} is {product(sizes)} numbers: "
        f"{count(columns)} ≠ {count(numbers)}",
        *_count_remedies(scene, flat, sizes, grid),
    )


def _other_channels(scene: Scene, flat: Step, columns: int) -> Diagnosis | None:
    """16·16·16 columns for a map of 32·16·16: the cells are right, the channels are those of a layer before.

    Not asked where the columns are those of a square map: a Linear made for 512·7·7 has 64·7·56 columns by accident.
    """
    channels, *spatial = flat.input_shapes[0][1:] or (0,)
    cells, maker = math.prod(spatial), next((s for s in scene.line(flat) if s.operation != "same"), None)
    before = {
        shape[1] for step in scene.line(flat) for shape in step.input_shapes[:1] if len(shape) == len(spatial) + 2
    }
    if not spatial or not cells or columns % cells or columns // cells not in before or channels * cells == columns:
        return None
    wants, numbers = columns // cells, channels * cells
    return told(
        f"{scene.who} has {count(columns)} columns = {times((wants, *spatial))}, {plural(wants, 'channel')} on the "
        f"{by(spatial)} map, but the flattened map has {plural(channels, 'channel')}: {product((channels, *spatial))} "
        f"numbers, {count(columns)} ≠ {count(numbers)}",
        f"give it `in_features={'*'.join(map(str, (channels, *spatial)))}`, which is {count(numbers)}",
        to_make(maker, ("conv", "conv_transpose"), "out_channels", wants),
    )


def _one_cell(scene: Scene, flat: Step, columns: int) -> Diagnosis | None:
    """512 columns behind a pooling to one cell of 256 channels: no image size brings another count."""
    channels, *spatial = flat.input_shapes[0][1:] or (0,)
    pooling = scene.maker(flat)
    if pooling is None or pooling.operation != "adaptive_pool" or not spatial or math.prod(spatial) != 1:
        return None
    before = scene.maker(pooling)
    return told(
        f"{scene.who} has {count(columns)} columns, but {who(pooling)} makes each of the {plural(channels, 'channel')} "
        f"one number, at every image size: {count(columns)} ≠ {count(channels)}",
        f"give it `in_features={channels}`",
        to_make(before, ("conv",), "out_channels", columns),
    )


def _unflattened(scene: Scene, columns: int) -> Diagnosis | None:
    """A map handed to a Linear as it is: (3584x7 and 25088x4096), where 3584 = 512·7 rows of 7."""
    shape, one = scene.shape, scene.shape[1:]
    if len(shape) in (2, 3) and math.prod(shape) == columns and scene.origin is None and shape[0] > 1:
        return told(
            f"{by(shape)} is one image without a batch axis: {scene.who} reads the last axis only, so it sees "
            f"{product(shape[:-1])} rows of {plural(shape[-1], 'number')} instead of one row of {product(shape)}",
            f"add the batch axis, `x.unsqueeze(0)`, and flatten before {scene.who}: `nn.Flatten()`",
            "or make the image one row: `x.reshape(1, -1)`",
        )
    whole = math.prod(one) == columns
    if len(shape) < 3 or not (whole or (len(shape) > 3 and scene.is_map(scene.failed))):
        return None
    rows = product(shape[1:-1] if shape[0] == 1 else shape[:-1])
    start = (
        f"the map {by(one)} reaches {scene.who} without being flattened; Linear reads the last axis only, so it "
        f"sees {rows} rows of {plural(shape[-1], 'number')} instead of rows of {count(columns)}"
    )
    if shape[1] == columns:
        return told(f"{start}, its channels", *_channel_remedies(scene, columns))
    flatten = "flatten before it: `nn.Flatten()` or `torch.flatten(x, 1)`"
    if whole:
        return told(f"{start} = {times(one)}", flatten)
    return told(
        f"{start}; flattened it would be {product(one)} numbers: still not {count(columns)}",
        *(flatten, *_count_remedies(scene, scene.failed, one, _grid(columns, one))),
    )


def _channel_remedies(scene: Scene, columns: int) -> tuple[str, ...]:
    rank = len(scene.shape)
    out = scene.failed.settings.get("out_features", columns)
    return (
        f"average the map to one cell and flatten: `nn.AdaptiveAvgPool{rank - 2}d(1)`, `nn.Flatten()`",
        f"use the same weights at every cell: `nn.Conv{rank - 2}d({columns}, {out}, kernel_size=1)`",
        f"put the channels last: `x.permute({commas((0, *range(2, rank), 1))})`",
    )


def _swapped(scene: Scene, columns: int) -> Diagnosis | None:
    """Axis 0 is the batch, whose size may be equal by chance, unless a step has put another axis there."""
    *others, numbers = scene.shape
    moved = scene.origin is not None and scene.origin.operation == "permute"
    dims = scene.origin.settings.get("dims") if scene.origin is not None and moved else ()
    batch = 0 if moved and (not isinstance(dims, Sequence) or not dims or dims[0] != 0) else 1
    if columns not in others[batch:]:
        return None
    axis = len(others) - 1 - others[::-1].index(columns)
    return told(
        f"{scene.who} reads the last axis, which has {plural(numbers, 'number')}; its {count(columns)} columns fit "
        f"axis {axis} of {by(scene.shape)}: the axes are swapped",
        f"swap them: `x.transpose({axis}, {len(others)})`",
        _new_columns(scene, numbers),
    )


def _width(scene: Scene, columns: int) -> Diagnosis:
    maker, numbers = scene.origin, scene.shape[-1]
    made = f" that {who(maker)} makes" if maker is not None else ""
    return told(
        f"{scene.who} has {count(columns)} columns, but gets rows of {plural(numbers, 'number')}{made}: "
        f"{count(columns)} ≠ {count(numbers)}",
        f"give it `in_features={numbers}`",
        to_make(maker, ("linear",), "out_features", columns),
        "if axis 1 counts the batch: `x.T`" if maker is None and tuple(scene.shape[:-1]) == (columns,) else "",
    )


def reshape_count(scene: Scene) -> Diagnosis | None:
    """As many numbers come out as go in; one size may be left to torch as −1."""
    sizes = scene.failed.settings.get("sizes") or ()
    if not sizes or not scene.shape or not all(isinstance(size, int) for size in sizes):
        return None
    numbers, fixed = math.prod(scene.shape), math.prod(size for size in sizes if size != -1)
    if numbers == fixed or (-1 in sizes and fixed and numbers % fixed == 0):
        return None
    call = f"{scene.who}({commas(sizes)})"
    if len(sizes) == 2 and sizes[1] > 0 and len(scene.shape) > 2:
        return _rows(scene, call, numbers, sizes[0] == -1, sizes[1])
    wants = f"a multiple of {count(fixed)}" if -1 in sizes else count(fixed)
    return told(
        f"{call} needs {wants} numbers, but {by(scene.shape)} holds {count(numbers)}",
        "ask for sizes whose product is the number of numbers there are, or leave one size to torch as -1",
    )


def _rows(scene: Scene, call: str, numbers: int, is_open: bool, columns: int) -> Diagnosis:
    """view(-1, 400), the flatten of many tutorials: one image's count is asked for, and the map gives another."""
    one = scene.shape[1:]
    grid = _grid(columns, one) if scene.is_map(scene.failed) else None
    cut = f"; {count(numbers)} numbers do not divide into rows of {count(columns)}" if is_open else ""
    return told(
        f"{call} wants rows of {_asked(columns, 'numbers', one, grid)}, but one image's map is {product(one)} "
        f"numbers{cut}"
        if numbers
        else f"{call} was given no numbers at all",
        _image_remedy(scene, scene.failed, grid) if grid else "",
        f"building a new net for this size: ask for {math.prod(one)} here and in the next Linear",
        "write `torch.flatten(x, 1)`: it never mixes images, and the Linear then says which count is wrong",
    )


def reshape_strides(scene: Scene) -> Diagnosis | None:
    """A view only relabels numbers where they lie; after a transpose they lie in another order."""
    if "stride" not in scene.message and "contiguous" not in scene.message:
        return None
    maker = scene.maker(scene.failed)
    made = f" that {who(maker)} made" if maker is not None else ""
    return told(
        f"{scene.who} only relabels numbers where they lie, and those of the {by(scene.shape)} tensor{made} "
        "do not lie in that order in memory (transposed, permuted or channels_last): the count is right",
        "use `.reshape(…)` or `.flatten(1)`, which copy when they must",
        "call `.contiguous()` before `.view(…)`",
        "after a transpose: check that the axes are in the order you mean before they are merged",
    )


def _grid(columns: int, sizes: Sequence[int]) -> tuple[int, ...] | None:
    """The map size that would give `columns` numbers: a square, which most networks are made for, if there is one.

    Else of two sides those nearest in proportion to the map that came.

    >>> _grid(25088, (512, 8, 16)), _grid(24576, (512, 8, 12)), _grid(1001, (8, 7, 7))
    ((7, 7), (6, 8), None)
    """
    channels, spatial = sizes[0], sizes[1:]
    if not channels or columns % channels or not spatial:
        return None
    cells = columns // channels
    edge = round(cells ** (1 / len(spatial)))
    if edge ** len(spatial) == cells:
        return (edge,) * len(spatial)
    if len(spatial) == 2:
        pairs = [(h, cells // h) for h in range(1, math.isqrt(cells) + 1) if cells % h == 0]
        pairs += [(w, h) for h, w in reversed(pairs) if h != w]
        high, wide = (max(size, 1) for size in spatial)
        return min(pairs, key=lambda pair: _times_apart(pair[0] * wide, pair[1] * high))
    return None


def _is_square(columns: int, sizes: Sequence[int]) -> bool:
    """Whether a map with equal sides has that many numbers.

    >>> _is_square(25088, (512, 8, 8)), _is_square(4096, (32, 16, 16))
    (True, False)
    """
    grid = _grid(columns, sizes)
    return grid is not None and len(set(grid)) == 1


def _times_apart(one: int, other: int) -> float:
    """How many times the larger number is the smaller one: at equal proportions equal, to the last bit."""
    return max(one, other) / min(one, other)


def _asked(columns: int, thing: str, sizes: Sequence[int], grid: tuple[int, ...] | None) -> str:
    """The count that is asked for, and what it says about a map: "25 088 columns = 512·7·7"."""
    text = f"{count(columns)} {thing}"
    if grid is not None:
        read = times((sizes[0], *grid))
        return f"{text} = {read}" if len(set(grid)) == 1 else f"{text} (say {read})"
    fits = columns % max(sizes[0], 1) == 0
    return text if fits else f"{text}, no multiple of the {plural(sizes[0], 'channel')} that arrive"


def _count_remedies(scene: Scene, flat: Step, sizes: Sequence[int], grid: tuple[int, ...] | None) -> tuple[str, ...]:
    """Ways out of a wrong count. Of these only the convolution keeps both the weights and the size of the map."""
    anew = _new_columns(scene, math.prod(sizes))
    if grid is None:
        return (anew,)
    kernel = grid[0] if len(set(grid)) == 1 else grid
    pooling = scene.maker(flat)
    if pooling is not None and pooling.operation == "adaptive_pool":
        return (f"let {who(pooling)} make {by(grid)}: `output_size={kernel}`", anew)
    dimension, out = len(grid), scene.failed.settings.get("out_features") or 0
    convolution = (
        f"replace flatten and Linear by `nn.Conv{dimension}d({sizes[0]}, {out}, kernel_size={kernel})` with the same "
        f"weights, `weight.view({commas((out, sizes[0], *grid))})`; a Linear after it becomes a convolution with "
        "kernel 1"
    )
    return (
        _image_remedy(scene, flat, grid),
        convolution if out and all(have >= want for have, want in zip(sizes[1:], grid, strict=True)) else "",
        f"put `nn.AdaptiveAvgPool{dimension}d({kernel if dimension == 1 else grid})` before flatten: one answer for "
        f"any image size, on a map averaged to {by(grid)}",
        anew,
    )


def _new_columns(scene: Scene, numbers: int) -> str:
    out = scene.failed.settings.get("out_features")
    layer = f"`nn.Linear({numbers}, {out})`" if out else f"`in_features={numbers}`"
    return f"building a new net for this size: {layer}; weights trained for another size cannot be loaded into it"


def _image_remedy(scene: Scene, flat: Step, grid: tuple[int, ...]) -> str:
    inputs = "images" if len(grid) == 2 else "inputs"
    ranges = image_sizes(scene, flat, grid)
    if ranges is None:
        return f"resize or crop the {inputs} so that the map is {by(grid)}"
    smallest = tuple(low for low, _ in ranges)
    span = " × ".join(str(low) if low == high else f"{low}–{high}" for low, high in ranges)
    also = "" if all(low == high for low, high in ranges) else f" (any of {span} will do)"
    then = "" if smallest == grid else f": then the map is {by(grid)}"
    return f"resize or crop the {inputs} to {by(smallest)}{also}{then}"

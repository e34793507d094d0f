"""Several tensors in one step, cat, stack or a sum, whose sizes do not meet: most often a skip connection."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fcnviz.diagnosis.images import image, shrinkage
from fcnviz.diagnosis.scene import Diagnosis, Scene, source_of, told
from fcnviz.diagnosis.words import axes, by, shown, who
from fcnviz.records import Shape, Step


def cat_mismatch(scene: Scene) -> Diagnosis | None:
    """What is joined along one axis has equal sizes along every other; what is stacked, along all."""
    shapes, rank, dim = scene.shapes, len(scene.shape), scene.failed.settings.get("dim", 0)
    if len(shapes) < 2 or not rank:
        return None
    if any(len(shape) != rank for shape in shapes):
        return _different_ranks(scene, "joins tensors with equally many axes")
    along = dim % rank if isinstance(dim, int) and scene.failed.operation == "cat" else None
    rule = "joins tensors whose sizes must be equal"
    if along is not None:
        name = axes(rank)[along]
        axis = name if name.startswith("axis") else f"axis {along} ({name})"
        rule = f"joins along {axis}; every other size must be equal"
    for other, shape in enumerate(shapes):
        if differing := [axis for axis in range(rank) if shape[axis] != scene.shape[axis] and axis != along]:
            return _mismatch(scene, rule, other, differing)
    return None


def broadcast_mismatch(scene: Scene) -> Diagnosis | None:
    """Sizes are compared from the last axis; a 1 stretches, a missing axis counts as 1, anything else must be equal."""
    for other, shape in enumerate(scene.shapes[1:], 1):
        rank = max(len(scene.shape), len(shape))
        pairs = zip(*((1,) * (rank - len(one)) + one for one in (scene.shape, shape)), strict=True)
        differing = [axis for axis, pair in enumerate(pairs) if pair[0] != pair[1] and 1 not in pair]
        if differing and len(scene.shape) == len(shape):
            return _mismatch(scene, "works cell by cell and needs equal sizes (or 1)", other, differing)
        if differing:
            rule = "compares sizes from the last axis, where each pair must be equal or hold a 1"
            return _different_ranks(scene, rule)
    return None


def parameter_mismatch(scene: Scene) -> Diagnosis | None:
    """A parameter added to what arrives, a position embedding say, has the one size that it was made for."""
    if len(scene.shapes) != 1 or len(scene.failed.weights) != 1:
        return None
    name, shape = scene.failed.weights[0]
    rank = max(len(scene.shape), len(shape))
    mine, its = ((1,) * (rank - len(one)) + tuple(one) for one in (scene.shape, shape))
    differing = [axis for axis in range(rank) if mine[axis] != its[axis] and 1 not in (mine[axis], its[axis])]
    if not differing:
        return None
    pairs = ", ".join(f"axis {axis}: {mine[axis]} ≠ {its[axis]}" for axis in differing)
    needed = by([mine[axis] if axis in differing else size for axis, size in enumerate(its)])
    smaller = "a smaller" if all(mine[axis] > its[axis] for axis in differing) else "another"
    return told(
        f"{scene.who} works cell by cell and needs equal sizes (or 1), but {pairs}; {_giver(scene, 0)} gives "
        f"{shown(scene.shape)}, and the network's own {name} is {shown(shape)}",
        f"use the image size for which {name} was made, {smaller} one"
        if any(step.window for step in scene.steps)
        else "",
        f"stretch {name} to what arrives, as is done with trained position embeddings: `F.interpolate`",
        f"building a new net for this size: make {name} {needed}",
    )


def _different_ranks(scene: Scene, rule: str) -> Diagnosis:
    arriving = " and ".join(f"{by(shape)} from {_giver(scene, i)}" for i, shape in enumerate(scene.shapes))
    return told(f"{scene.who} {rule}, but gets {arriving}", "add the missing axis: `x.unsqueeze(…)`")


def _giver(scene: Scene, position: int) -> str:
    """What an input of the failed step came from, by name."""
    maker, source = scene.maker(scene.failed, position), source_of(scene.failed, position)
    if maker is not None:
        return maker.name
    return "the network's input" if source is not None and source.step == -1 else "a tensor made in forward"


def _mismatch(scene: Scene, rule: str, other: int, differing: Sequence[int]) -> Diagnosis:
    one, two = scene.shape, scene.shapes[other]
    pairs = ", ".join(f"{axes(len(one))[axis]} {one[axis]} ≠ {two[axis]}" for axis in differing)
    what = (
        f"{scene.who} {rule}, but {pairs}: {_giver(scene, 0)} gives {shown(one)} and {_giver(scene, other)} gives "
        f"{shown(two)}"
    )
    ways = _shortcut(scene, other) if min(differing) > 0 and scene.failed.operation == "broadcast" else ()
    if len(one) > 2 and min(differing) > 1:
        return told(what, *ways, _crop(scene, other)) if ways else _spatial(scene, what, other)
    if ways:
        return told(what, *ways)
    if 1 in differing and len(one) > 2:
        return told(
            what,
            f"bring one to the other's channels: `nn.Conv{len(one) - 2}d({one[1]}, {two[1]}, kernel_size=1)`",
            "where the main branch also shrinks the map, give that convolution the same stride"
            if len(differing) > 1
            else "",
        )
    batch = list(differing) == [0]
    return told(what, "use the same batch size for both" if batch else "make the sizes equal before this step")


def _spatial(scene: Scene, what: str, other: int) -> Diagnosis:
    """Maps of other sizes: the deeper branch has shrunk an image that does not divide, or has no padding."""
    two = scene.shapes[other]
    resize = f"resize the deeper one to the other: `F.interpolate(deep, size=skip.shape[-{len(two) - 2}:])`"
    divisor, sizes = max(shrinkage(scene, i) for i in (0, other)).numerator, image(scene)
    if not any(size % divisor for size in sizes):
        between = [step for branch in _branches(scene, other) for step in branch]
        return told(what, _pad(_unpadded(between)), resize, _crop(scene, other))
    down, up = [size - size % divisor for size in sizes], [size + -size % divisor for size in sizes]
    return told(
        f"{what}; the image's {by(sizes)} is not divisible by {divisor}, so rounding lost cells on the way down",
        f"use images whose sizes divide by {divisor}: {by(up)}" + (f" or {by(down)}" if all(down) else ""),
        resize,
        _crop(scene, other),
    )


def _crop(scene: Scene, other: int) -> str:
    least = [min(sizes) for sizes in zip(scene.shape[2:], scene.shapes[other][2:], strict=True)]
    cut = ", ".join(f":{size}" for size in least)
    return f"crop the larger one: `x[..., {cut}]` cuts both to {by(least)} and keeps only the top-left part"


def _branches(scene: Scene, other: int) -> tuple[list[Step], list[Step]]:
    """The steps that made two inputs of the failed step, nearest first, back to where the branches part."""
    one, two = list(scene.line(scene.failed, 0)), list(scene.line(scene.failed, other))
    shared = {step.index for step in one} & {step.index for step in two}
    return [step for step in one if step.index not in shared], [step for step in two if step.index not in shared]


def _shortcut(scene: Scene, other: int) -> tuple[str, ...]:
    """A residual sum: the shorter branch is the shortcut, and it has to follow the main one in channels and stride."""
    one, two = _branches(scene, other)
    if len(one) == len(two):
        return ()
    (short, at), (main, goal) = sorted(((one, 0), (two, other)), key=lambda branch: len(branch[0]))
    windows, rank = [step for step in main if step.window is not None], len(scene.shape) - 2
    mine = [step for step in short if step.window is not None]
    if not windows or len(mine) > 1 or not _slides([*windows, *mine], rank):
        return ()
    target, given = scene.shapes[goal], scene.shapes[at]
    start = mine[0].input_shapes[0] if mine and mine[0].input_shapes else given
    if len(start) != rank + 2 or len(target) != rank + 2:
        return ()
    stride = tuple(math.prod(step.window.stride[axis] for step in windows if step.window) for axis in range(rank))
    fits = all(-(-size // step) == made for size, step, made in zip(start[2:], stride, target[2:], strict=True))
    bare = () if fits else _unpadded(main)
    if not fits and not bare:
        return ()
    return tuple(way for way in (_pad(bare), _follow(mine, start, given, target, stride, _giver(scene, at))) if way)


def _slides(steps: Sequence[Step], rank: int) -> bool:
    """Whether all are convolutions or poolings over `rank` axes."""
    kinds = ("conv", "max_pool", "avg_pool")
    return all(step.operation in kinds and step.window and len(step.window.kernel) == rank for step in steps)


def _follow(
    mine: Sequence[Step], start: Shape, given: Shape, target: Shape, stride: tuple[int, ...], giver: str
) -> str:
    """What the shortcut's convolution must be, or become, to make the main branch's channels and size."""
    step: int | tuple[int, ...] = stride[0] if len(set(stride)) == 1 else stride
    if not mine:
        strided = f", stride={step}" if step != 1 else ""
        layer = f"`nn.Conv{len(stride)}d({start[1]}, {target[1]}, 1{strided})`"
        return f"put {layer} on the shortcut, what {giver} gives" if strided or start[1] != target[1] else ""
    window = mine[0].window
    if mine[0].operation != "conv" or window is None or _unpadded(mine):
        return ""
    channels = f"`out_channels={target[1]}`" if given[1] != target[1] else ""
    strided = f"`stride={step}`" if window.stride != stride else ""
    changes = " and ".join(change for change in (channels, strided) if change)
    return f"give {who(mine[0])} on the shortcut {changes}" if changes else ""


def _unpadded(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The convolutions that lose cells at the border, nearest the input first."""
    found = []
    for step in reversed(steps):
        window = step.window
        if step.operation != "conv" or window is None or len(set(window.kernel)) > 1:
            continue
        span = window.dilation[0] * (window.kernel[0] - 1) + 1
        if span % 2 and window.stride[0] < span and sum(window.pads[0]) < span - 1:
            found.append(step)
    return tuple(found)


def _pad(steps: Sequence[Step]) -> str:
    """The way out that pads convolutions by half of their windows; "" if all have that already."""
    pads = {step.window.dilation[0] * (step.window.kernel[0] - 1) // 2 for step in steps if step.window}
    if len(pads) == 1 and len(steps) <= 3:
        return f"pad {' and '.join(who(step) for step in steps)}: `padding={pads.pop()}`"
    return "pad the convolutions between by half of their windows: `padding=1` for 3×3" if pads else ""

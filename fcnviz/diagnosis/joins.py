"""Several tensors in one step, cat, stack or a sum, whose sizes do not meet: most often a skip connection."""

from __future__ import annotations

from collections.abc import Sequence

from fcnviz.diagnosis.images import image, shrinkage
from fcnviz.diagnosis.scene import Diagnosis, Scene, source_of, told
from fcnviz.diagnosis.words import axes, by, shown


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
    if len(one) > 2 and min(differing) > 1:
        return _spatial(scene, what, other)
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
    one, two = scene.shape, scene.shapes[other]
    least = [min(sizes) for sizes in zip(one[2:], two[2:], strict=True)]
    crop = f"crop the larger one: `x[..., {', '.join(f':{size}' for size in least)}]` cuts both to {by(least)}"
    resize = f"resize the deeper one to the other: `F.interpolate(deep, size=skip.shape[-{len(least)}:])`"
    divisor, sizes = max(shrinkage(scene, i) for i in (0, other)).numerator, image(scene)
    if not any(size % divisor for size in sizes):
        return told(what, crop, resize, "let the convolutions between keep the size: `padding=1` for a 3×3 window")
    down, up = [size - size % divisor for size in sizes], [size + -size % divisor for size in sizes]
    return told(
        f"{what}; the image's {by(sizes)} is not divisible by {divisor}, so rounding lost cells on the way down",
        f"use images whose sizes divide by {divisor}: {by(up)}" + (f" or {by(down)}" if all(down) else ""),
        resize,
        crop,
    )

"""Too many or too few axes: rows where maps are wanted, an image without its batch axis, axes that are not there."""

from __future__ import annotations

from collections.abc import Sequence

from fcnviz.diagnosis.scene import Diagnosis, Scene, told
from fcnviz.diagnosis.words import axes, by, commas, plural


def wrong_rank(scene: Scene) -> Diagnosis | None:
    """A convolution or pooling takes maps: batch (or none), channels, and one axis for each of its kernel's."""
    rank, shape = scene.rank, scene.shape
    if rank is None or not scene.shapes or len(shape) in (rank + 1, rank + 2):
        return None
    return told(
        f"{scene.who} wants maps with {rank + 2} axes ({', '.join(axes(rank + 2))}), but gets "
        f"{by(shape) or 'a single number'}: {plural(len(shape), 'axis')}",
        *_rank_remedies(scene, rank),
    )


def _rank_remedies(scene: Scene, rank: int) -> tuple[str, ...]:
    shape, channels = scene.shape, scene.failed.settings.get("in_channels")
    if len(shape) > rank + 2:
        return ("merge or drop the extra axis: `x.flatten(0, 1)` or `x.squeeze(…)`",)
    if len(shape) == 2 and channels and shape[1] % channels == 0:
        edge = round((shape[1] // channels) ** (1 / rank))
        if edge**rank * channels == shape[1]:
            view = commas((-1, channels, *(edge,) * rank))
            return (f"give the rows back their image: `x.view({view})`", "move the flatten behind this layer")
    if scene.flattening is not None:
        return ("move the flatten behind this layer",)
    if rank == len(shape):
        return ("add the missing axes: `x[None, None]` (batch and channel)",)
    return ("do not flatten before this layer",)


def norm_rank(scene: Scene) -> Diagnosis | None:
    """BatchNorm2d wants the batch axis even where the convolution before it did without."""
    rank, shape = scene.rank, scene.shape
    if rank is None or not shape or len(shape) == rank + 2 or (rank == 1 and len(shape) == 2):
        return None
    if len(shape) == rank + 1 and "InstanceNorm" in scene.failed.kind:
        return None
    wants = f"{scene.who} wants {rank + 2} axes ({', '.join(axes(rank + 2))}), but gets {by(shape)}"
    if len(shape) == rank + 1:
        return told(f"{wants}: the batch axis is missing", "add it before the network: `x.unsqueeze(0)`")
    rows = "on rows of numbers use `nn.BatchNorm1d`"
    return told(
        f"{wants}: {plural(len(shape), 'axis')}", rows if len(shape) == 2 else "check which step made this shape"
    )


def flatten_axis(scene: Scene) -> Diagnosis | None:
    """A flatten from axis 1 on, of an image without its batch axis."""
    start, rank = scene.failed.settings.get("start_dim"), len(scene.shape)
    if not isinstance(start, int) or -rank <= start < rank:
        return None
    return told(
        f"{scene.who} starts at axis {start}, but {by(scene.shape) or 'a single number'} has only "
        f"{'axis 0' if rank == 1 else f'axes 0 to {rank - 1}' if rank else 'no axes'}",
        "add the batch axis before the network: `x.unsqueeze(0)`",
    )


def permute_axes(scene: Scene) -> Diagnosis | None:
    """A permute names every axis once."""
    dims, rank = scene.failed.settings.get("dims"), len(scene.shape)
    if not isinstance(dims, Sequence) or len(dims) == rank:
        return None
    return told(
        f"{scene.who} orders {len(dims)} axes, but {by(scene.shape)} has {rank}",
        "name every axis once",
        "add the batch axis: `x.unsqueeze(0)`" if len(dims) > rank else "",
    )

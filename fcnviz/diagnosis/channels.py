"""The channels a layer was built for, against those of the map that arrives."""

from __future__ import annotations

from fcnviz.arithmetic import count
from fcnviz.diagnosis.scene import Diagnosis, Scene, to_make, told
from fcnviz.diagnosis.words import by, commas, plural, who

_CONVOLUTIONS = ("conv", "conv_transpose")


def conv_channels(scene: Scene) -> Diagnosis | None:
    """Each filter has as many channels as the map it slides over."""
    wants, rank, shape = scene.failed.settings.get("in_channels"), scene.rank, scene.shape
    if not wants or rank is None or len(shape) not in (rank + 1, rank + 2):
        return None
    seen = shape[-rank - 1 :]
    if seen[0] == wants:
        return None
    weight = scene.weight("weight")
    filters = f" (weight {by(weight)})" if weight else ""
    hint, ways = _last(scene, wants, rank) if shape[-1] == wants else _others(scene, wants, rank)
    return told(
        f"{scene.who} has filters of {plural(wants, 'channel')}{filters}, but the map it gets is {by(seen)}: "
        f"{plural(seen[0], 'channel')}, not {count(wants)}{hint}",
        *ways,
    )


def _last(scene: Scene, wants: int, rank: int) -> tuple[str, tuple[str, ...]]:
    batched = len(scene.shape) == rank + 2
    order = (0, rank + 1, *range(1, rank + 1)) if batched else (rank, *range(rank))
    return f"; the {count(wants)} stand last, as in arrays from PIL, numpy or TensorFlow", (
        f"bring the channels forward: `x.permute({commas(order)})`",
        "" if batched else "then add the batch axis: `.unsqueeze(0)`",
    )


def _others(scene: Scene, wants: int, rank: int) -> tuple[str, tuple[str, ...]]:
    maker, window, batched = scene.origin, scene.failed.window, len(scene.shape) == rank + 2
    has = scene.shape[-rank - 1]
    came = (0, 0) if scene.is_map(scene.failed) else (has, wants)  # what a convolution made is no image
    hint = f"; they come from {who(maker)}" if maker is not None else ""
    if maker is not None and maker.operation == "cat" and len(maker.input_shapes) > 1:
        joined = " + ".join(str(shape[1] if len(shape) > 1 else shape[0]) for shape in maker.input_shapes if shape)
        hint = f"; {who(maker)} joins {joined} = {has}"
    if maker is None and not batched and wants == 1:
        hint = "; the axis taken for channels may be the batch"
    return hint, (
        "add the channel axis: `x.unsqueeze(1)`" if not batched and wants == 1 else "",
        {
            (1, 3): f"a grey image into a colour net: `x.expand({'-1, ' if batched else ''}3{', -1' * rank})`",
            (4, 3): f"an RGBA image: drop the transparency, `x[{':, ' if batched else ''}:3]`",
            (3, 1): f"a colour image into a grey net: `x.mean({1 if batched else 0}, keepdim=True)`",
        }.get(came, ""),
        to_make(maker, _CONVOLUTIONS, "out_channels", wants),
        f"building a new net: `in_channels={has}`" if has % (window.groups if window else 1) == 0 else "",
    )


def norm_channels(scene: Scene) -> Diagnosis | None:
    """A norm keeps one mean and one variance for each channel."""
    wants, shape = _norm_features(scene), scene.shape
    if wants is None or len(shape) < 2 or shape[1] == wants:
        return None
    maker = scene.origin
    made = f" from {who(maker)}" if maker is not None else ""
    argument = "num_channels" if "Group" in scene.failed.kind else "num_features"
    return told(
        f"{scene.who} keeps one mean and one variance for each of {plural(wants, 'channel')}, but the map{made} "
        f"has {count(shape[1])}: {by(shape[1:])}",
        f"its channels stand last: bring axis {len(shape) - 1} to place 1" if shape[-1] == wants else "",
        f"give it the number that arrives: `{argument}={shape[1]}`",
        to_make(maker, _CONVOLUTIONS, "out_channels", wants),
    )


def _norm_features(scene: Scene) -> int | None:
    sizes = scene.weight("running_mean") or scene.weight("weight")
    return scene.failed.settings.get("num_features") or (sizes[0] if sizes and len(sizes) == 1 else None)


def norm_one_value(scene: Scene) -> Diagnosis | None:
    """In train mode a mean over one value leaves no variance."""
    if "more than 1 value per channel" not in scene.message:
        return None
    return told(
        f"{scene.who} in train mode takes mean and variance over the batch, and {by(scene.shape)} has one value "
        "per channel: no spread to measure",
        "use a batch of two or more (`drop_last=True` in the DataLoader)",
        "for predictions: `model.eval()`",
    )


def pixel_shuffle(scene: Scene) -> Diagnosis | None:
    """r² channels become r × r cells, or the other way round, and nothing may be left over."""
    factor, shape = scene.failed.settings.get("factor"), scene.shape
    if not isinstance(factor, int) or factor < 1 or len(shape) < 3:
        return None
    channels, cells, square = shape[-3], shape[-2:], factor**2
    if not scene.failed.settings.get("up", True):
        if not any(size % factor for size in cells):
            return None
        return told(
            f"{scene.who} packs {factor}×{factor} cells into channels, and {by(cells)} does not divide by {factor}",
            f"make height and width multiples of {factor}",
        )
    if channels % square == 0:
        return None
    return told(
        f"{scene.who} makes {factor}×{factor} cells out of {square} channels, and {plural(channels, 'channel')} do "
        f"not divide by {square}",
        f"let the step before make {channels + -channels % square} channels",
    )

"""A window that does not fit on the map that is left: the image was too small, or the padding breaks a rule."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fcnviz.arithmetic import count
from fcnviz.diagnosis.images import smallest_image, way
from fcnviz.diagnosis.scene import Diagnosis, Scene, told
from fcnviz.diagnosis.words import by, plural, shown


def window_too_large(scene: Scene) -> Diagnosis | None:
    """The padded map must have at least the cells that one window spans, d·(k − 1) + 1."""
    window, rank, shape = scene.failed.window, scene.rank, scene.shape
    if window is None or rank is None or len(shape) < rank or not shape:
        return None
    sizes, pads = shape[-rank:], [sum(pair) for pair in window.pads]
    span = [d * (k - 1) + 1 for d, k in zip(window.dilation, window.kernel, strict=True)]
    padded = [size + pad for size, pad in zip(sizes, pads, strict=True)]
    short = [have < need for have, need in zip(padded, span, strict=True)]
    if not any(short):
        return None
    with_padding = f" ({by(padded)} with padding)" if any(pads) else ""
    shrinking = _shrinking(scene)
    least = smallest_image(scene, scene.failed, [max(1, need - pad) for need, pad in zip(span, pads, strict=True)])
    return told(
        f"the image is too {_lacking(short)}: at {scene.who} the map is {by(sizes)}{with_padding}, "
        f"and the window covers {by(span)}{shrinking}",
        f"use images of at least {by(least)}" if least is not None else "use larger images",
        f"pad this layer: `padding={max(need // 2 for need in span)}`" if scene.failed.operation == "conv" else "",
        "take out a pooling or a stride before it, so that the map shrinks less" if shrinking else "",
    )


def _lacking(short: list[bool]) -> str:
    """What an image is that lacks cells along these axes."""
    if len(short) != 2 or all(short):
        return "small"
    return "low" if short[0] else "narrow"


def _shrinking(scene: Scene) -> str:
    """How often the image was shrunk before it came here."""
    shrinking = (step for step in way(scene, scene.failed) or () if step.operation != "conv_transpose")
    strides = [(step.name, max(step.window.stride)) for step in shrinking if step.window]
    strided = [name for name, stride in strides if stride > 1]
    factor = math.prod(stride for _, stride in strides)
    if factor == 1:
        return ""
    made = "has made" if len(strided) == 1 else "have made"
    return f"; {plural(len(strided), 'step')} before it ({_listed(strided)}) {made} the image {factor} times smaller"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{names[0]}, {names[1]}, …, {names[-1]}"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def empty_map(scene: Scene) -> Diagnosis | None:
    """Nothing is left of the image."""
    if 0 not in scene.shape[1:]:
        return None
    cells = f"a map without cells, {by(scene.shape[1:])}"
    return told(f"{scene.who} gets {cells}: a step before it used up the image", "use larger images")


def pool_padding(scene: Scene) -> Diagnosis | None:
    """2·p ≤ k, or a window could lie in padding alone."""
    window = scene.failed.window
    if window is None or not isinstance(window.padding, tuple) or "pad should be" not in scene.message:
        return None
    return told(
        f"{scene.who} pads {by(window.padding)} around a window of {by(window.kernel)}: pooling pads at most "
        "half its window, or a window could lie in padding alone",
        f"`padding={min(window.kernel) // 2}` or less",
        "pad before it with `F.pad`",
    )


def output_padding(scene: Scene) -> Diagnosis | None:
    """Rule o < max(s, d): it chooses among the sizes that one stride rounds to the same."""
    window = scene.failed.window
    if window is None or not window.output_padding or "output padding" not in scene.message:
        return None
    return told(
        f"{scene.who} adds output_padding {by(window.output_padding)}, which must be smaller than its stride "
        f"{by(window.stride)} or its dilation {by(window.dilation)}: it chooses among sizes within one stride",
        f"`output_padding={max(*window.stride, *window.dilation) - 1}` or less",
    )


def pad_too_large(scene: Scene) -> Diagnosis | None:
    """Reflection mirrors cells of the image, so it must have more cells than are added; circular needs as many."""
    window, settings = scene.failed.window, scene.failed.settings
    mode = settings.get("mode", settings.get("padding_mode"))
    pads = window.pads if window is not None else settings.get("pads") or ()
    for place, pair in enumerate(pads, -len(pads)):
        size = scene.shape[place] if -place <= len(scene.shape) else 0
        limit = {"reflect": size - 1, "circular": size}.get(str(mode))
        if limit is not None and max(pair) > limit:
            verb, most = "mirrors" if mode == "reflect" else "repeats", max(limit, 0)
            return told(
                f"{scene.who} {verb} {plural(max(pair), 'cell')} at the border, but the map {shown(scene.shape)} has "
                f"{count(size)} along that axis: at most {count(most)} can be taken",
                f"pad {most} or less",
                "use larger images",
                "zeros or `mode='replicate'` have no such limit",
            )
    return None

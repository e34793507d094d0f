"""From the failed step back to the image: which image sizes bring a map of a wanted size there.

Every window can be walked backwards. A convolution makes ⌊(n + 2p − span) / s⌋ + 1 cells of n, where one window spans
d·(k − 1) + 1 cells; so for at least m cells it needs

    n ≥ (m − 1)·s + span − 2p

VGG16, back from its map of 7×7: five poolings double it, 7 → 14 → 28 → 56 → 112 → 224, and the padded convolutions
keep it; 8 would need 256. Images of 224 to 255 give 7. Both ends are then walked forwards again.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from fcnviz.arithmetic import conv_size, conv_transpose_size, pool_size
from fcnviz.diagnosis.scene import WINDOWS, Scene, source_of
from fcnviz.errors import WindowError
from fcnviz.records import Shape, Step, Window

_KEEPS_SIZES = ("same", "broadcast", "cat")


class _Slide(NamedTuple):
    """A step's window, and what is done in it."""

    operation: str | None
    window: Window


def image_sizes(scene: Scene, step: Step, wanted: Sequence[int]) -> tuple[tuple[int, int], ...] | None:
    """For each axis the smallest and largest image size that brings a `wanted` map to `step`; None if unknown."""
    slides = _slides(scene, step, len(wanted))
    if slides is None:
        return None
    ranges = [(_back(slides, axis, size), _back(slides, axis, size + 1) - 1) for axis, size in enumerate(wanted)]
    ends = [(_forth(slides, axis, low), _forth(slides, axis, high)) for axis, (low, high) in enumerate(ranges)]
    return tuple(ranges) if ends == [(size, size) for size in wanted] else None


def smallest_image(scene: Scene, step: Step, wanted: Sequence[int]) -> tuple[int, ...] | None:
    """The smallest image that brings a map of at least `wanted` to `step`; None if unknown."""
    slides = _slides(scene, step, len(wanted))
    if slides is None:
        return None
    least = tuple(_back(slides, axis, size) for axis, size in enumerate(wanted))
    return least if all(_forth(slides, axis, size) >= wanted[axis] for axis, size in enumerate(least)) else None


def _slides(scene: Scene, step: Step, rank: int) -> tuple[_Slide, ...] | None:
    windows = way(scene, step)
    if windows is None:
        return None
    slides = tuple(_Slide(one.operation, one.window) for one in windows if one.window is not None)
    return slides if all(len(slide.window.kernel) >= rank for slide in slides) else None


@functools.lru_cache(maxsize=1 << 10)
def _back(slides: tuple[_Slide, ...], axis: int, size: int) -> int:
    """The fewest cells of an image of which at least `size` are made, if torch takes every window at all."""
    return functools.reduce(lambda size, slide: _cells_before(slide, axis, size), reversed(slides), size)


@functools.lru_cache(maxsize=1 << 10)
def _forth(slides: tuple[_Slide, ...], axis: int, size: int) -> int:
    """The cells made of `size` cells of an image; 0 where torch would refuse a window."""
    try:
        return functools.reduce(lambda size, slide: _cells_after(slide, axis, size), slides, size)
    except WindowError:
        return 0


def _cells_before(slide: _Slide, axis: int, size: int) -> int:
    operation, window = slide
    stride, (before, after) = window.stride[axis], window.pads[axis]
    missing = window.dilation[axis] * (window.kernel[axis] - 1) + 1 - before - after  # cells that one window lacks
    if operation == "conv_transpose":
        return 1 + max(0, -((missing + sum(window.output_padding[axis : axis + 1]) - size) // stride))
    if operation != "conv" and window.ceil:  # a last window may hang over the end, if it starts before the end
        return max(1, (size - 2) * stride + 1 + missing, (size - 1) * stride + 1 - before)
    return max(1, (size - 1) * stride + missing)


def _cells_after(slide: _Slide, axis: int, size: int) -> int:
    operation, window = slide
    kernel, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    padding = window.pads[axis][0]
    if operation == "conv":
        return conv_size(size, kernel, stride, "same" if window.padding == "same" else padding, dilation)
    if operation == "conv_transpose":
        return conv_transpose_size(size, kernel, stride, padding, dilation, *window.output_padding[axis : axis + 1])
    return pool_size(size, kernel, stride, padding, dilation, window.ceil)


def way(scene: Scene, step: Step) -> tuple[Step, ...] | None:
    """The windows an image passes from the network's input to `step`; None if unclear."""
    windows: list[Step] = []
    position = 0
    while (maker := scene.maker(step, position)) is not None:
        if maker.operation in WINDOWS and maker.window is not None:
            windows.append(maker)
            position = 0
        elif maker.operation in _KEEPS_SIZES and isinstance(maker.output_shape, Shape):
            sizes = maker.output_shape[2:]
            position = next((i for i, shape in enumerate(maker.input_shapes) if shape[2:] == sizes), -1)
        else:
            return None
        if position < 0:
            return None
        step = maker
    source = source_of(step, position)
    return tuple(reversed(windows)) if source is not None and source.step == -1 else None


def shrinkage(scene: Scene, position: int) -> Fraction:
    """The largest number of image cells that one cell stood for on the way to an input of the failed step."""
    jump = largest = Fraction(1)
    for step in reversed(list(scene.line(scene.failed, position))):
        jump *= _jump(step)
        largest = max(largest, jump)
    return largest


def _jump(step: Step) -> Fraction:
    """How many cells of its input one cell of a step stands for: its stride, or what it resizes by."""
    if step.window is not None and step.operation in WINDOWS:
        stride = step.window.stride[0]
        return Fraction(1, stride) if step.operation == "conv_transpose" else Fraction(stride)
    if step.operation != "interpolate" or not step.input_shapes or not isinstance(step.output_shape, Shape):
        return Fraction(1)
    before, after = (max((1, *shape[-1:])) for shape in (step.input_shapes[0], step.output_shape))
    return Fraction(round(before / after)) if before > after else Fraction(1, round(after / before))


def image(scene: Scene) -> tuple[int, ...]:
    """Height and width of the network's first input, read from a step that takes it."""
    for step in scene.steps:
        for shape, source in zip(step.input_shapes, step.sources, strict=False):
            if source is not None and source.step == -1 and len(shape) > 2:
                return tuple(shape[2:])
    return ()

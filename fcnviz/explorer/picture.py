"""The lanes as a picture that stands still, in SVG: for pages and notebooks where scripts may not run.

The boxes are those of explorer.js: W×H cells as a face, C channels as its depth, sides drawn by the power 0.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fcnviz import expressions
from fcnviz.explorer.scene import Lane
from fcnviz.layout import attribute, escaped, plain, shortened
from fcnviz.records import Shape, Step, Trace
from fcnviz.table import shape_text

__all__ = ["alt", "svg"]

POWER, DEEP, SLANT = 0.4, 0.17, (0.72, -0.6)
WIDE, LEFT, HIGH = 1240, 16, 190  # the picture, its margin, and the height of a lane
SCALE = 5.5
INK, SOFT, FACE, CHANNELS, SPACE, BAD = "#1b1b1b", "#5c5c5c", "#6fb4de", "#e6b8db", "#00609a", "#b01030"
FIXED = "#8a2f78"


def svg(shown: Sequence[Lane], traces: Sequence[Trace], columns: Sequence[str], alt: str) -> str:
    """A lane for each trace, its steps in `columns`; steps that keep the size are left out."""
    names = [name for name in columns if any(_draws(seen, name) for seen in traces)] or list(columns)
    height = HIGH * len(shown) + 10
    lanes = "".join(
        f'<g transform="translate(0 {HIGH * i})">{"".join(_lane(lane, seen, names))}</g>'
        for i, (lane, seen) in enumerate(zip(shown, traces, strict=True))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {height}" width="{WIDE}" height="{height}" '
        f'role="img" aria-label="{attribute(alt)}" font-family="sans-serif" font-size="12" text-anchor="middle">'
        f'<rect width="{WIDE}" height="{height}" fill="#fff"/>{lanes}</svg>'
    )


def _draws(seen: Trace, name: str) -> bool:
    return any(step.name == name and (step.operation != "same" or step.output_shape is None) for step in seen)


def _lane(lane: Lane, seen: Trace, names: Sequence[str]) -> Iterator[str]:
    steps = {step.name: step for step in seen}
    said = f"stops at {seen.failure.step.name}: {seen.failure.explanation}" if seen.failure else ""
    words = said or f"runs, output {shape_text(seen.output_shape)}"
    colour = BAD if seen.failure else INK
    name, rest = (escaped(plain(text)) for text in (lane.label, shortened(words, 150)))
    yield (
        f'<text x="{LEFT}" y="20" text-anchor="start" fill="{colour}"><tspan font-weight="700">'
        f"{'✗' if seen.failure else '✓'} {name}</tspan>  {rest}</text>"
    )
    slot = (WIDE - 2 * LEFT) / (len(names) + 1)
    follow = _following(lane, seen)
    yield from _box(LEFT + slot / 2, seen.input_shapes[0], slot, False, (False, True, True))
    for i, name in enumerate(names, 1):
        if name in steps:
            step = steps[name]
            shape = _first(step)
            yield from _box(LEFT + slot * (i + 0.5), shape, slot, step.output_shape is None, follow.get(name, ()))


def _first(step: Step) -> Shape:
    if isinstance(step.output_shape, Shape):
        return step.output_shape
    return step.input_shapes[0] if step.input_shapes else Shape((1, 1))


def _following(lane: Lane, seen: Trace) -> dict[str, tuple[bool, ...]]:
    """For each step which sizes of its map follow the image; without a law height and width are taken to."""
    height, width = seen.input_shapes[0][-2:]
    path = lane.law.path_at(H=height, W=width) if lane.law else None
    if path is None:
        return {step.name: tuple(i > 0 for i in range(len(_first(step)) - 1)) for step in seen}
    return {step.name: tuple(bool(expressions.names_in(size)) for size in _first(step)[1:]) for step in path.formulas}


def _box(x: float, shape: Shape, slot: float, failed: bool, follows: Sequence[bool]) -> Iterator[str]:
    sizes = [*shape[1:]] or [1]
    high, wide = (sizes[-2], sizes[-1]) if len(sizes) > 2 else (1, 1)
    scale = min(SCALE, slot / (max(wide, 1) ** POWER + 1))
    w, h, d = (scale * wide**POWER, min(scale, SCALE) * high**POWER, SCALE * DEEP * sizes[0] ** POWER)
    h = min(h, 100.0)
    left, top, dx, dy = x - w / 2, 85 - h / 2, d * SLANT[0], d * SLANT[1]
    face, flank = ("#f3b6c0", "#f3b6c0") if failed else (FACE, CHANNELS)
    edge = BAD if failed else "#fff"
    yield (
        f'<g stroke="{edge}" stroke-width=".8"><path fill="{flank}" d="M{left:.1f} {top:.1f}l{dx:.1f} {dy:.1f}'
        f'h{w:.1f}v{h:.1f}l{-dx:.1f} {-dy:.1f}z"/>'
        f'<path fill="{face}" d="M{left:.1f} {top:.1f}h{w:.1f}v{h:.1f}h{-w:.1f}z"/></g>'
    )
    if failed:
        yield f'<text x="{x:.1f}" y="91" font-size="20" font-weight="700" fill="{BAD}">✗</text>'
        return
    for row, (text, moves) in enumerate(_labels(sizes, follows)):
        yield f'<text x="{x:.1f}" y="{150 + 13 * row}" fill="{SPACE if moves else FIXED}">{text}</text>'


def _labels(sizes: Sequence[int], follows: Sequence[bool]) -> list[tuple[str, bool]]:
    """C, H and W of a map below each other; in one line the sizes of anything else."""
    if len(sizes) == 3:
        return [(str(size), moves) for size, moves in zip(sizes, follows, strict=True)]
    return [("×".join(map(str, sizes)), any(follows))]


def alt(shown: Sequence[Lane], traces: Sequence[Trace], size: tuple[int, int]) -> str:
    """The picture in words."""
    ends = (f"{lane.label} {_ending(seen)}" for lane, seen in zip(shown, traces, strict=True))
    return f"An image of {size[0]}×{size[1]}: {'; '.join(ends)}."


def _ending(seen: Trace) -> str:
    if seen.failure is not None:
        return f"stops at {seen.failure.step.name}"
    return f"gives {shape_text(seen.output_shape)}"

"""The map of the sizes that a network accepts, drawn from its law.

Nothing is decided here: a law says which sizes run and where the others stop, and a colour stands for each answer. Each
answer stands in the legend, and by name on its area where there is room.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import ScaledTranslation

from fcnviz import expressions, lawtable, layout
from fcnviz.arithmetic import count
from fcnviz.errors import InputError
from fcnviz.figures.canvas import FONT, colours, extent, figure_of, ink, rectangles, shown

if TYPE_CHECKING:
    from fcnviz.law import Law
    from fcnviz.lawtable import Outcome

__all__ = ["accepted_sizes", "alt"]

OPEN = "#9e9e9e"
OPEN_HATCH = "//"
MOST_STOPS = 8  # the legend names as many; further ones share a line
MOST_ISLANDS = 4


@dataclass(frozen=True, slots=True)
class _Answer:
    """A colour of the map: what it says, and how many sizes have it."""

    label: str
    name: str
    colour: str
    count: int
    runs: bool
    hatch: str = ""


@dataclass(frozen=True, slots=True)
class _Map:
    """What is drawn: an answer for each size of one or two named axes, the first one upwards."""

    names: tuple[str, ...]
    cells: np.ndarray  # for each size, from 1, the index of its answer
    answers: tuple[_Answer, ...]


def accepted_sizes(law: Law, ax: Axes | None = None, **fixed: int) -> Axes:
    """The sizes a network accepts, and where it stops at the others: a plane of two named sizes, a strip of one.

    A figure of its own has a zoom beside the map if the smallest sizes are too thin to be seen there; an `ax` that is
    given has none.

    A law of more names needs `fixed` sizes for all but two of them: `accepted_sizes(law, N=1)`.

    Raises:
        InputError: more than two sizes left free, or a fixed size that the law does not have.
    """
    drawn, title = _map(law, fixed), _title(law, fixed)
    own = ax is None
    if ax is None:
        ax = _room(drawn, title)
    _paint(ax, drawn)
    _name_axes(ax, law, drawn)
    _name_areas(ax, drawn, extent(ax), _mark_islands(ax, drawn))
    if own and len(drawn.names) == 2:
        _zoom(ax, drawn)
    _legend(ax, drawn, own)
    ax.set_title(title, fontsize=FONT, loc="left")
    return ax


def _room(drawn: _Map, title: str) -> Axes:
    """Axes in a figure of their own, in inches: title above, legend below, the zoom, if any, to the right."""
    lines = sum(1 + _legend_text(answer).count("\n") for answer in drawn.answers)
    below, above = 0.75 + 0.215 * -(-lines // _columns(drawn)), 0.15 + 0.22 * (title.count("\n") + 1)
    plane = len(drawn.names) == 2
    wide, high = (8, 6) if plane else (8, 1.2 + below + above)
    side = high - below - above
    left, across = (0.85, 7.0) if not plane else (0.85 if _reach(drawn) else (wide - side) / 2, side)
    return plt.figure(figsize=(wide, high)).add_axes((left / wide, below / high, across / wide, side / high))


def alt(law: Law, **fixed: int) -> str:
    """The picture in words, for those who do not see it."""
    drawn = _map(law, fixed)
    axes = " and ".join(_axis_label(law, name) for name in drawn.names)
    kind = "Map" if len(drawn.names) == 2 else "Strip"
    said = "; ".join(f"{a.label}: {count(a.count)} size{'s' * (a.count != 1)}" for a in drawn.answers)
    rule = f" It {_rule(law)}." if _rule(law).startswith("runs") else ""
    where = ", ".join(_island_text(drawn, island) for island in _islands(drawn))
    islands = f" Islands that run, {' × '.join(drawn.names)}: {where}." if where else ""
    return f"{kind} of the sizes that {layout.plain(law.model)} accepts, {axes}: {said}.{rule}{islands}"


# From the law to cells


def _map(law: Law, fixed: Mapping[str, int]) -> _Map:
    for name, size in fixed.items():
        if name not in law.names or not 1 <= size <= law.within[name]:
            ranges = ", ".join(f"{name} from 1 to {law.within[name]}" for name in law.names)
            raise InputError(f"{name} = {size!r} cannot be fixed: this law is about {ranges}")
    names = tuple(name for name in law.names if name not in fixed)
    if not 1 <= len(names) <= 2:
        example = ", ".join(f"{name}=1" for name in (names[:-2] or law.names[:1]))
        raise InputError(
            f"a picture has one free size or two, and here {', '.join(names) or 'none'} "
            f"{'is' if not names else 'are'} free: fix the others, accepted_sizes(law, {example})"
        )
    region = law.region[tuple(fixed[name] if name in fixed else slice(1, None) for name in law.names)]
    groups = list(_groups(lawtable.outcomes(law)))
    of_path = np.full(len(law.paths) + 1, len(groups), np.int16)  # the last one stands for −1, the undecided
    for index, (_, group) in enumerate(groups):
        of_path[[path for one in group for path in one.paths]] = index
    cells = of_path[region]
    return _seen(_Map(names, cells, _answers([(label, group) for label, group in groups], cells)))


def _groups(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[Outcome]]]:
    """Outcomes by what the legend says of them: those that run, those that stop, and the rest of these together."""
    runs = [one for one in outcomes if one.step is None]
    stops = [one for one in outcomes if one.step is not None]
    for one in runs:
        output = lawtable.written(one.output)
        yield ("runs" if len(runs) == 1 else f"runs, output {output}"), [one]
    few = sorted(stops, key=lambda one: -one.count)[: MOST_STOPS if len(stops) <= MOST_STOPS else MOST_STOPS - 1]
    for one in stops:
        if one in few and one.step is not None:
            yield f"refused at {one.step.name} ({one.step.kind})", [one]
    others = [one for one in stops if one not in few]
    if others:
        yield f"refused at {len(others)} other steps", others


def _answers(groups: Sequence[tuple[str, Sequence[Outcome]]], cells: np.ndarray) -> tuple[_Answer, ...]:
    counts = np.bincount(cells.ravel(), minlength=len(groups) + 1)
    running = [one[0].step is None for _, one in groups]
    blue, brown = map(iter, colours(sum(running), len(running) - sum(running)))
    answers = []
    for (label, group), runs, number in zip(groups, running, counts, strict=False):
        step = group[0].step
        name = "runs" if step is None else f"at {step.name}" if len(group) == 1 else "other steps"
        answers.append(_Answer(shown(label), shown(name), next(blue if runs else brown), int(number), runs))
    answers.append(_Answer("undecided", "undecided", OPEN, int(counts[-1]), False, OPEN_HATCH))
    return tuple(answers)


def _seen(drawn: _Map) -> _Map:
    """Without the answers that no size of the map has."""
    kept = [i for i, answer in enumerate(drawn.answers) if answer.count]
    index = np.zeros(len(drawn.answers), np.int16)
    index[kept] = range(len(kept))
    return _Map(drawn.names, index[drawn.cells], tuple(drawn.answers[i] for i in kept))


# Painting


def _paint(ax: Axes, drawn: _Map) -> None:
    """Each size a pixel, its middle at the size itself."""
    palette = np.array([[round(255 * part) for part in to_rgb(a.colour)] for a in drawn.answers], np.uint8)
    cells = drawn.cells if drawn.cells.ndim == 2 else drawn.cells[None]
    high, wide = cells.shape
    bottom, top = (0.5, high + 0.5) if drawn.cells.ndim == 2 else (0, 1)
    ax.imshow(
        palette[cells],
        origin="lower",
        extent=(0.5, wide + 0.5, bottom, top),
        aspect="equal" if drawn.cells.ndim == 2 and 1 / 3 < high / wide < 3 else "auto",
        interpolation="auto",
        interpolation_stage="rgba",
    )
    _hatch(ax, drawn)


def _hatch(ax: Axes, drawn: _Map) -> None:
    """Undecided sizes are hatched: grey alone could be taken for an answer."""
    for index, answer in enumerate(drawn.answers):
        if answer.hatch and drawn.cells.ndim == 2:
            for left, bottom, wide, high in rectangles(drawn.cells == index, most=64):
                ax.add_patch(
                    Rectangle((left - 0.5, bottom - 0.5), wide, high, fill=False, hatch=answer.hatch, lw=0, ec="#444")
                )


def _name_axes(ax: Axes, law: Law, drawn: _Map) -> None:
    ax.tick_params(labelsize=FONT)
    ax.set_xlabel(_axis_label(law, drawn.names[-1]), fontsize=FONT)
    _ticks(ax.xaxis, drawn.cells.shape[-1])
    if len(drawn.names) == 2:
        ax.set_ylabel(_axis_label(law, drawn.names[0]), fontsize=FONT)
        _ticks(ax.yaxis, drawn.cells.shape[0])
    else:
        ax.set_yticks([])


def _ticks(axis: Any, limit: int) -> None:
    """1, the last size, and round ones between: multiples of a power of 2, as strides make them."""
    step = 2 ** max(0, int(np.ceil(np.log2(limit / 5))))
    inner = [size for size in range(step, limit, step) if size > step / 3 and limit - size > step / 2]
    axis.set_ticks(sorted({1, *inner, limit}))


def _axis_label(law: Law, name: str) -> str:
    words = {"H": "height ", "W": "width "}.get(name, "")
    pixels = any(name in map(str, shape[2:]) for shape in law.asked.shapes if len(shape) > 3)
    return f"{words}{name} (px)" if pixels else f"{words}{name}"


def _title(law: Law, fixed: Mapping[str, int]) -> str:
    shape = "×".join(str(fixed.get(str(size), size)) for size in law.asked.shapes[0])
    lines = [f"{shown(law.model)}: which inputs {shape} run", *lawtable.broken(_rule(law), 88)]
    return "\n".join(line for line in lines[:3] if line)


def _rule(law: Law) -> str:
    runs = [one for one in lawtable.outcomes(law) if one.step is None]
    if not runs:
        return "no size runs" if law.covered == 1 else "no size that is decided runs"
    if len(runs) > 1 or runs[0].condition is None:
        return ""
    return "every size runs" if runs[0].condition is True else f"runs where {expressions.text(runs[0].condition)}"


def _legend(ax: Axes, drawn: _Map, own: bool) -> None:
    """Below the ticks and the axis label; in a figure of its own from the left edge on."""
    handles = [Patch(fc=a.colour, ec="#444", lw=0.6, hatch=a.hatch, label=_legend_text(a)) for a in drawn.answers]
    figure = figure_of(ax)
    left = 0.25 - ax.get_position().x0 * figure.get_size_inches()[0] if own else 0
    ax.legend(
        handles=handles, fontsize=FONT, frameon=False, ncols=_columns(drawn) if own else 1, borderaxespad=0,
        borderpad=0, labelspacing=0.3, columnspacing=1.5, handlelength=1.3, handletextpad=0.6, loc="upper left",
        bbox_to_anchor=(0, 0), bbox_transform=ax.transAxes + ScaledTranslation(left, -0.58, figure.dpi_scale_trans),
    )  # fmt: skip


def _columns(drawn: _Map) -> int:
    return 2 if max(len(_legend_text(answer)) for answer in drawn.answers) <= 42 else 1


def _legend_text(answer: _Answer) -> str:
    whole = f"{answer.label}: {count(answer.count)}{'' if answer.runs else ' size' if answer.count == 1 else ' sizes'}"
    return "\n".join(lawtable.broken(whole, 84))


# What is too thin to be seen


def _zoom(ax: Axes, drawn: _Map) -> None:
    """The small sizes again, beside the map."""
    reach = _reach(drawn)
    if not reach:
        return
    across, up = extent(ax)
    box, figure_wide = ax.get_position(), 72 * figure_of(ax).get_size_inches()[0]
    side = min(up, 210, figure_wide * (1 - box.x1) - 75)  # points
    inset = ax.inset_axes((1 + 60 / across, 0, side / across, side / up))
    corner = _Map(drawn.names, drawn.cells[:reach, :reach], drawn.answers)
    _paint(inset, corner)
    _name_areas(inset, corner, (side, side))
    inset.tick_params(labelsize=FONT)
    for axis, size in zip((inset.yaxis, inset.xaxis), corner.cells.shape, strict=True):
        _ticks(axis, size)
    inset.set_title(f"the sizes up to {reach}", fontsize=FONT)


def _reach(drawn: _Map) -> int:
    """How far a zoom has to go: past the bands of small sizes, if one is thinner than a hundredth of the map; or 0."""
    limit = max(drawn.cells.shape)
    along = np.diagonal(drawn.cells) if drawn.cells.ndim == 2 else drawn.cells
    edges = [int(edge) + 1 for edge in np.flatnonzero(np.diff(along)) if edge < limit / 16]
    thin = [b - a for a, b in zip([0, *edges], edges, strict=False)]
    if not thin or min(thin) > limit / 100:
        return 0
    return max(16, 2 ** int(np.ceil(np.log2(2 * edges[-1]))))


_Box = tuple[float, float, float, float]  # left, bottom, right, top, as fractions of the axes


def _mark_islands(ax: Axes, drawn: _Map) -> list[_Box]:
    """An outline around each small area that runs, and its sizes beside it; returns where these words stand."""
    if len(drawn.names) == 1:
        return []
    (high, wide), (wide_pt, high_pt), boxes = drawn.cells.shape, extent(ax), list[_Box]()
    for left, bottom, across, up in _islands(drawn):
        words, margin = _island_text(drawn, (left, bottom, across, up)), max(high, wide) / 150
        corner = (left - 0.5 - margin, bottom - 0.5 - margin)
        ax.add_patch(Rectangle(corner, across + 2 * margin, up + 2 * margin, fill=False, ec="black", lw=1.3))
        x, y, length = (left + across / 2) / wide, (bottom + up) / high, (0.62 * FONT * len(words) + 8) / wide_pt
        far, low = x > 0.5, y < 0.85
        ax.annotate(
            words, (left + across / 2, bottom + up if low else bottom), xytext=(-6 if far else 8, 24 if low else -24),
            textcoords="offset points", ha="right" if far else "left", va="bottom" if low else "top", fontsize=FONT,
            bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": "none", "alpha": 0.9},
            arrowprops={"arrowstyle": "-", "color": "black", "relpos": (0.97 if far else 0.03, 0 if low else 1)},
        )  # fmt: skip
        start, foot = x - length if far else x, y if low else y - 55 / high_pt
        boxes.append((start, foot, start + length, foot + 45 / high_pt))
    return boxes


def _island_text(drawn: _Map, island: tuple[int, int, int, int]) -> str:
    left, bottom, wide, high = island
    if len(drawn.names) == 1:
        return _span(left, wide)
    return f"{_span(bottom, high)} × {_span(left, wide)}"


def _span(first: int, size: int) -> str:
    return f"{first}–{first + size - 1}" if size > 1 else f"{first}"


def _islands(drawn: _Map) -> list[tuple[int, int, int, int]]:
    """The rectangles that run, if they are few and small."""
    running = [i for i, answer in enumerate(drawn.answers) if answer.runs]
    cells = drawn.cells if drawn.cells.ndim == 2 else drawn.cells[None]
    found = rectangles(np.isin(cells, running), most=MOST_ISLANDS + 1)
    small = [one for one in found if one[2] * one[3] < 0.1 * cells.size]
    return small if len(found) <= MOST_ISLANDS and len(small) == len(found) else []


# Names on areas


def _name_areas(ax: Axes, drawn: _Map, points: tuple[float, float], taken: Sequence[_Box] = ()) -> None:
    """The name of each answer in the largest rectangle that has no other, upright or turned, if it fits."""
    cells = drawn.cells if drawn.cells.ndim == 2 else np.repeat(drawn.cells[None], 8, axis=0)
    rows, columns = (np.linspace(0, size - 1, 96).round().astype(int) for size in cells.shape)
    coarse = cells[np.ix_(rows, columns)].copy()
    for box in taken:
        left, bottom, right, top = (int(np.clip(96 * part, 0, 96)) for part in box)
        coarse[bottom : top + 1, left : right + 1] = -1
    wide_pt, high_pt = points
    for index, answer in enumerate(drawn.answers):
        left, bottom, wide, high = _largest(coarse == index)
        across, up = wide / 96 * wide_pt, high / 96 * high_pt
        if not wide:
            continue
        needs = 0.62 * FONT * len(answer.name) + 8
        upright = across >= needs and up >= 1.3 * FONT
        if not upright and not (up >= needs and across >= 1.3 * FONT):
            continue
        ax.text(
            (left + wide / 2) / 96, (bottom + high / 2) / 96, answer.name, transform=ax.transAxes, fontsize=FONT,
            ha="center", va="center", rotation=0 if upright else 90, color=ink(answer.colour),
        )  # fmt: skip


def _largest(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The largest rectangle of a small mask as (left, bottom, width, height), all 0 if it is empty."""
    heights, best = np.zeros(mask.shape[1], int), (0, 0, 0, 0)
    for row, line in enumerate(mask):
        heights = np.where(line, heights + 1, 0)
        for left, right, high in _under(heights):
            if (right - left) * high > best[2] * best[3]:
                best = (left, row - high + 1, right - left, high)
    return best


def _under(heights: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """The widest rectangle of each height below a skyline, as (left, right, height)."""
    open_: list[tuple[int, int]] = []  # (left, height), heights growing
    for place, height in enumerate([*heights, 0]):
        left = place
        while open_ and open_[-1][1] >= height:
            left, tall = open_.pop()
            yield left, place, int(tall)
        open_.append((left, height))

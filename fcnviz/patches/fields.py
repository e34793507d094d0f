"""Where the cells of a network lie on the image, and which of them see nothing beyond a patch's edges: arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import nn

from fcnviz.coordinates import Placement
from fcnviz.errors import GeometryError, InputError
from fcnviz.geometry import geometry
from fcnviz.patches.asked import Pair, by, map_size, square, traced
from fcnviz.records import Shape, Step, Trace


class Edges(NamedTuple):
    """First and last pixel that a cell of a patch may see along one axis."""

    first: float
    last: float


def cut_edges(size: int, axis: int, image: int | Pair | None, at: Pair | None, reach: float) -> Edges:
    """What a cell of a patch cut at pixel `at` may see along one axis; `reach` more where image and patch end."""
    if (image is None) != (at is None):
        raise InputError("image and at go together: where a patch is cut depends on both")
    if image is None or at is None:
        return Edges(0, size - 1)
    whole, start = square(image)[axis], at[axis]
    if start < 0 or start + size > whole:
        raise InputError(f"a patch of {size} pixels from pixel {start} on does not lie within {whole} pixels")
    return Edges(-reach if start == 0 else 0, size - 1 + (reach if start + size == whole else 0))


def beyond(found: Trace) -> float:
    """How far beyond an edge that is the image's own as well: there padding is the same in both runs.

    Not if it is copied from the map: what a cell is copied from may have seen the edge on the other side.
    """
    modes = (step.settings.get("padding_mode", step.settings.get("mode")) for step in found if _pads(step))
    return math.inf if {"zeros", "constant", None}.issuperset(modes) else 0


def _pads(step: Step) -> bool:
    return step.operation == "pad" or (step.window is not None and any(map(any, step.window.pads)))


_KEEPS = ("same", "broadcast", "cat", "pad")
SLIDES = ("conv", "max_pool", "avg_pool", "lp_pool")


def followed(found: Trace) -> Iterator[tuple[Step, tuple[Placement, ...]]]:
    """Each step that gives a map, and where its cells lie; a net that only slides windows has all cells see alike."""
    for step, located in zip(found, geometry(found), strict=True):
        if not isinstance(step.output_shape, Shape) or len(step.output_shape) != 4:
            return
        if step.operation not in (*SLIDES, *_KEEPS) or _cuts(step) or _mixes_images(step):
            what = f"{step.name} ({step.kind})"
            raise InputError(f"{what} is no convolution, pooling, padding or sum of maps: its cells can't be followed")
        try:
            places = located.placements
        except GeometryError as error:
            raise InputError(f"{error}: its cells can't be followed") from error
        if any(place.shared is not None for place in places):
            seen = f"each cell sees all {step.input_shapes[0][2]} cells"
            raise InputError(f"{step.name} ({step.kind}): {seen}: its cells can't be followed")
        yield step, places


def _cuts(step: Step) -> bool:
    """True for a negative padding: what is padded afterwards lies within the patch, and is none of its pixels."""
    return step.operation == "pad" and any(min(sides) < 0 for sides in step.settings["pads"])


def _mixes_images(step: Step) -> bool:
    """True for a softmax, say, along axis 0: then an answer depends on what else is in the batch."""
    dims = (step.settings.get("softmax_dim"), *step.settings.get("dims", ()))
    return step.operation == "same" and not {0, -4}.isdisjoint(dims)


def clean_span(place: Placement, size: int, edges: Edges) -> Pair:
    """The cells whose field lies in the patch, on each side where the patch is cut."""
    field = place.region(0)
    assert field is not None, "a window sees something"
    first = 0 if math.isinf(edges.first) else max(0, math.ceil((int(edges.first) - field.first) / place.jump))
    stop = size if math.isinf(edges.last) else min(size, (int(edges.last) - field.last) // place.jump + 1)
    return first, max(first, stop)


def jumps(places: Sequence[Placement]) -> Pair:
    """Pixels from one cell to the next, along rows and columns."""
    rows, columns = (int(place.jump) for place in places)
    return rows, columns


def network_stride(model: nn.Module, size: int | Pair) -> Pair:
    """Pixels from one cell of the output to the next, along rows and columns: the product of all strides on the way.

    >>> from fcnviz import models
    >>> network_stride(models.vgg16("conv"), 224)
    (32, 32)
    """
    return stride_of(traced(model, square(size)))


def stride_of(found: Trace) -> Pair:
    """The same of a network that has been traced."""
    map_size(found)
    places = output_places(found)
    return jumps(places) if places else (1, 1)


def output_places(found: Trace) -> tuple[Placement, ...]:
    """Where the cells of the answer lie; none for a net without steps."""
    places = [places for _, places in followed(found)]
    return places[-1] if places else ()


def grid_of(image: Pair, patch: Pair, stride: Pair, own: Pair) -> Pair:
    """Rows and columns of patches that lie within the image; `own` is the network's stride."""
    if any(p > i for p, i in zip(patch, image, strict=True)):
        raise InputError(f"patches of {by(patch)} were asked for; the image is {by(image)}")
    if any(s < 1 or s % o for s, o in zip(stride, own, strict=True)):
        raise InputError(
            f"a stride of {by(stride)} was asked for; cells of the dense map lie {by(own)} pixels apart, and only a "
            "multiple of that goes from cell to cell"
        )
    rows, columns = ((i - p) // s + 1 for i, p, s in zip(image, patch, stride, strict=True))
    return rows, columns

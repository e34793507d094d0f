"""How far the padding of a patch reaches, layer by layer: derived from where cells lie, and counted on real numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fcnviz.coordinates import Placement
from fcnviz.errors import InputError
from fcnviz.patches.asked import Pair, nothing_drawn, one_image, square, traced
from fcnviz.patches.fields import SLIDES, Edges, beyond, clean_span, cut_edges, followed, jumps
from fcnviz.records import ByName, Shape, Step, Trace
from fcnviz.twin import parts_of, sharing, twin


@dataclass(frozen=True)
class Ring:
    """A patch's map after one step: a clean middle, and a ring of cells that have seen the patch's own padding.

    Attributes:
        name, kind: of the step.
        size: rows and columns of the patch's map.
        jump: pixels from one cell to the next, along rows and columns.
        rows, columns: first clean one, and the first after them that is not.
    """

    name: str
    kind: str
    size: Pair
    jump: Pair
    rows: Pair
    columns: Pair

    @property
    def clean(self) -> int:
        """Cells that no padding of the patch has reached."""
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])

    @property
    def cells(self) -> int:
        return math.prod(self.size)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True for each clean cell."""
        clean = np.zeros(self.size, dtype=bool)
        clean[slice(*self.rows), slice(*self.columns)] = True
        return clean


@dataclass(frozen=True)
class Rings(ByName[Ring]):
    """The rings of a patch's maps, in the order in which the steps ran: `rings[-1]`, `rings["features.30"]`.

    Attributes:
        patch: rows and columns of pixels.
        steps: the rings.
    """

    patch: Pair
    steps: tuple[Ring, ...]

    def __str__(self) -> str:
        from fcnviz import handwork

        return handwork.rings_text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.rings_html(self)


def clean_rings(model: nn.Module, patch: int | Pair, image: int | Pair | None = None, at: Pair | None = None) -> Rings:
    """For each step with a window: which cells of a patch's map must be what the dense run has there. Shapes only.

    A cell is clean if its field lies within the patch: no padding, of this layer or of one before, is among it.

    Args:
        patch: rows and columns of pixels.
        image, at: where the patch is cut, as the pixel of its upper left corner. A side on the image's own edge
            is no cut: there the dense run pads as well. Without them, and where a padding copies cells of the map
            (reflect, replicate, circular), the patch is cut on all four sides.

    Returns:
        A ring for each step with a window, up to the first step that gives no map.

    Raises:
        InputError: sizes that break the net, or a step whose cells can't be followed.

    >>> from fcnviz import models
    >>> rings = clean_rings(models.vgg16().features, 224)
    >>> [f"{ring.clean}/{ring.cells}" for ring in rings if ring.kind == "MaxPool2d"]
    ['12100/12544', '2704/3136', '484/784', '64/196', '1/49']
    """
    return _rings(traced(model, square(patch)), square(patch), image, at)


def _rings(found: Trace, size: Pair, image: int | Pair | None, at: Pair | None) -> Rings:
    edges = [cut_edges(size[axis], axis, image, at, beyond(found)) for axis in (0, 1)]
    slid = ((step, places) for step, places in followed(found) if step.operation in SLIDES)
    return Rings(size, tuple(_ring(step, places, edges) for step, places in slid))


def _ring(step: Step, places: Sequence[Placement], edges: Sequence[Edges]) -> Ring:
    shape = step.output_shape
    assert isinstance(shape, Shape)
    rows, columns = (clean_span(place, n, edge) for place, n, edge in zip(places, shape[2:], edges, strict=True))
    return Ring(step.name, step.kind, (shape[2], shape[3]), jumps(places), rows, columns)


def measured_rings(model: nn.Module, image: Tensor, patch: int | Pair, at: Pair) -> Mapping[str, NDArray[np.bool_]]:
    """The same on real numbers: a patch's cells that are bit for bit the dense run's, for each module with a window.

    A twin runs twice, on the image and on the patch cut at pixel `at`. Keys are the names in `clean_rings`; a step that
    is a call in a forward is left out. A cell counts as equal if all its channels are.

    Raises:
        InputError: no image 1×C×H×W or C×H×W; a patch that is not within it, or does not start on a cell of each step;
            a net that draws random numbers in eval mode as well.
    """
    whole, size = one_image(model, image), square(patch)
    found = _rings(traced(model, size, whole.shape[1]), size, square(whole.shape[2:]), at)
    rings = {ring.name: ring for ring in found}
    for ring in rings.values():
        if any(pixel % jump for pixel, jump in zip(at, ring.jump, strict=True)):
            raise InputError(
                f"a patch at pixel {at} starts between two cells of {ring.name}, which are {ring.jump} apart"
            )
    cut = whole[:, :, at[0] : at[0] + size[0], at[1] : at[1] + size[1]].contiguous()
    with nothing_drawn(type(model).__name__, whole.device):
        dense, part = _maps(model, whole, rings), _maps(model, cut, rings)
    return {name: _same_cells(part[name], _at(dense[name], rings[name], at)) for name in part}


def _at(dense: Tensor, ring: Ring, at: Pair) -> Tensor:
    """The cells of a dense map where those of the patch lie."""
    top, left = (pixel // jump for pixel, jump in zip(at, ring.jump, strict=True))
    return dense[:, :, top : top + ring.size[0], left : left + ring.size[1]]


def _same_cells(one: Tensor, other: Tensor) -> NDArray[np.bool_]:
    return same(one, other).all(1)[0].cpu().numpy()


def same(one: Tensor, other: Tensor) -> Tensor:
    """Where two answers are the same; what is no number both ways is."""
    return (one == other) | (one.isnan() & other.isnan())


def _maps(model: nn.Module, x: Tensor, names: Mapping[str, Ring]) -> dict[str, Tensor]:
    """What the named modules of a twin give; copied, since a ReLU in place would change them afterwards."""
    found: dict[str, Tensor] = {}
    parts = twin(parts_of(model), sharing)
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=path: found.update({name: out.clone()}))
        for path, module in parts
        if path in names
    ]
    try:
        with torch.no_grad():
            parts[0][1](x)
    finally:
        for hook in hooks:
            hook.remove()
    return found

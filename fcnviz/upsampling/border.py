"""Bilinear transposed convolution against `F.interpolate`: the same inside, and another thing at the border.

Between the centres of two input cells both draw a straight line. Before the first centre and behind the last there is
no second cell: interpolation repeats the edge, and a transposed convolution adds nothing, so that its weights no longer
sum to 1 and the map fades.

Inside they agree bit for bit where the factor is a power of two and the products are exact. At other factors the
fractions are the same, but thirds are no floating numbers: both round, each in its own order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from fcnviz.errors import InputError
from fcnviz.records import Shape
from fcnviz.upsampling.bilinear import fill, kernel_of, upsampling
from fcnviz.upsampling.spread import described


@dataclass(frozen=True, eq=False)
class Border:
    """A map enlarged twice: by a transposed convolution and by `F.interpolate(align_corners=False)`.

    Attributes:
        factor: how many times finer the cells are.
        width: cells at each edge that lie before the first centre of the map, or behind the last.
        transposed, interpolated: C×(h·factor)×(w·factor).
        weights: what the weights that make each cell sum to, (h·factor)×(w·factor): 1 inside, but for rounding, and
            less at the border.
    """

    factor: int
    width: int
    transposed: Tensor = field(repr=False)
    interpolated: Tensor = field(repr=False)
    weights: Tensor = field(repr=False)

    def __str__(self) -> str:
        from fcnviz import handwork  # a record knows that a sheet exists, never how one looks

        return handwork.border_text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.border_html(self)

    @property
    def shape(self) -> Shape:
        return Shape(self.transposed.shape)

    @property
    def difference(self) -> Tensor:
        """Transposed minus interpolated, C×H×W."""
        return self.transposed - self.interpolated

    def inside(self, map_: Tensor) -> Tensor:
        """The part of a map …×H×W that lies between the centres of the first and the last cell."""
        height, width = map_.shape[-2:]
        return map_[..., self.width : height - self.width, self.width : width - self.width]


@torch.no_grad()
def against_interpolate(x: Tensor, factor: int) -> Border:
    """A map enlarged in both ways.

    Args:
        x: C×h×w, of a floating number type.
        factor: a whole number.

    Raises:
        InputError: no such map, one without cells, or no such factor.

    >>> found = against_interpolate(torch.rand(2, 5, 6, dtype=torch.float64), 4)
    >>> found.width, bool(found.inside(found.difference).abs().max() < 1e-15), found.weights[0, 0].item()
    (2, True, 0.390625)
    """
    if not isinstance(x, Tensor) or x.dim() != 3 or not x.numel() or not x.is_floating_point() or x.is_meta:
        raise InputError(f"a map C×h×w of floating numbers was expected, not {described(x)}")
    kernel, padding = kernel_of(factor)
    layer = upsampling(len(x), kernel, factor, padding, grouped=True, device=x.device).to(x.dtype)
    fill(layer)  # again: weights that went through float32 are thirds to 8 digits, whatever the map's number type
    sizes = [size * factor for size in x.shape[1:]]
    interpolated = F.interpolate(x[None], size=sizes, mode="bilinear", align_corners=False)[0]
    return Border(factor, padding, layer(x[None])[0], interpolated, layer(torch.ones_like(x[None]))[0, 0])

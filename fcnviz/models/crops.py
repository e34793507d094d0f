"""Why a map is cut by so many cells: where its cell 0 lies on the image, and where the cell 0 lies that it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from fcnviz.coordinates import Placement, crop_offset


@dataclass(frozen=True)
class Crop:
    """One map laid on another.

    Attributes:
        name: the layer whose map is cut.
        onto: the layer on whose map it is laid, or "the image".
        larger, target: where the cells of the two lie, before the cut.
    """

    name: str
    onto: str
    larger: Placement
    target: Placement

    @property
    def cells(self) -> int:
        """(start of the target − start of the larger) / jump: cells before the first that is kept."""
        return int(crop_offset(self.larger, self.target))


@dataclass(frozen=True)
class Crops:
    """Every crop of a network, in the order in which it cuts; `print` writes the reasons out.

    Attributes:
        network: its class.
        pad: of its first convolution.
        each: the last one is laid on the image.
    """

    network: str
    pad: int
    each: tuple[Crop, ...]

    @property
    def least_pad(self) -> int:
        """With less, pixel 0 has no answer: a pixel of padding less moves every cell a pixel on, and cuts one less."""
        return self.pad - self.each[-1].cells

    def __str__(self) -> str:
        from fcnviz import handwork  # a record knows that a sheet exists, never how one looks

        return handwork.crops_text(self)

    def _repr_html_(self) -> str:
        from fcnviz import handwork

        return handwork.crops_html(self)

"""Photographs that are free to use, from the files of scikit-image and scikit-learn, and mosaics of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fcnviz.data.packages import Source, located
from fcnviz.errors import InputError


@dataclass(frozen=True)
class Photo:
    """Where a photograph comes from: what it shows, who made it, its licence, and the file."""

    shows: str
    credit: str
    licence: str
    file: Source


def _in_skimage(name: str, sha256: str) -> Source:
    return Source("scikit-image", "skimage", f"data/{name}", sha256)


PHOTOS = {
    "cat": Photo(
        "a tabby cat, Chelsea",
        "Stéfan van der Walt",
        "CC0",
        _in_skimage("chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    ),
    "coffee": Photo(
        "a cup of coffee",
        "Rachel Michetti, Pikolo Espresso Bar",
        "CC0",
        _in_skimage("coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    ),
    "temple": Photo(
        "a temple in Beijing",
        "danielbuechele",
        "CC BY 2.0",
        Source(
            "scikit-learn",
            "sklearn",
            "datasets/images/china.jpg",
            "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        ),
    ),
    "rocket": Photo(
        "a Falcon 9 that lifts off",
        "SpaceX",
        "public domain",
        _in_skimage("rocket.jpg", "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
    ),
    "grass": Photo(
        "grass",
        "linolafett",
        "CC0",
        _in_skimage("grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
    ),
}


def photo(name: str) -> Tensor:
    """A photograph as 3×H×W, red, green and blue from 0 to 1.

    Raises:
        InputError: a name that is not in `PHOTOS`.
        DataError: the package that has it is not installed; the sentence says how to get it.

    >>> photo("cat").shape
    torch.Size([3, 300, 451])
    """
    from matplotlib.image import imread  # only here, so that importing the package stays cheap

    if name not in PHOTOS:
        raise InputError(f"photo {name!r} was asked for; there are {', '.join(PHOTOS)}")
    pixels = np.asarray(imread(located(PHOTOS[name].file)))
    whole = torch.from_numpy(pixels.copy()).float() / (255 if pixels.dtype == np.uint8 else 1)
    return whole.permute(2, 0, 1)[:3] if whole.dim() == 3 else whole.expand(3, *whole.shape)


def mosaic(names: Sequence[Sequence[str]], tile: tuple[int, int] = (320, 480)) -> Tensor:
    """Photographs in rows and columns, each fitted into a tile: 3×(rows·tile[0])×(columns·tile[1]).

    >>> mosaic([["cat", "coffee"], ["temple", "grass"]]).shape
    torch.Size([3, 640, 960])

    Raises:
        InputError: rows of different lengths, or none.
    """
    if not names or len({len(row) for row in names}) != 1 or not names[0]:
        raise InputError(f"a mosaic has rows of one length, not of {[len(row) for row in names]}")
    return torch.cat([torch.cat([fitted(photo(name), tile) for name in row], 2) for row in names], 1)


def fitted(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The largest middle part that has the proportions of `size`, C×H×W resized to it, with antialiasing."""
    scale = max(want / have for want, have in zip(size, image.shape[1:], strict=True))
    cut = [min(have, round(want / scale)) for want, have in zip(size, image.shape[1:], strict=True)]
    top, left = ((have - part) // 2 for part, have in zip(cut, image.shape[1:], strict=True))
    part = image[None, :, top : top + cut[0], left : left + cut[1]]
    return F.interpolate(part, size, mode="bilinear", antialias=True)[0].clamp(0, 1)

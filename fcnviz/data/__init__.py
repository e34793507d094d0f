"""Digits, canvases, photographs and trained weights, from packages that were installed for them: no download.

In reading order: `packages` (a file inside an installed package), `digits`, `canvases` (digits on paper of any size, a
label for every pixel), `photos`, `imagenet` (MobileNetV2 with its weights, and the names of the classes).
"""

from fcnviz.data.canvases import BACKGROUND, Canvas, Placed, canvas, canvases
from fcnviz.data.digits import Digits, DigitSets, digits
from fcnviz.data.imagenet import Guess, class_index, class_names, guesses, prepared, trained_mobilenet
from fcnviz.data.photos import PHOTOS, Photo, fitted, mosaic, photo

__all__ = [
    "BACKGROUND",
    "PHOTOS",
    "Canvas",
    "DigitSets",
    "Digits",
    "Guess",
    "Photo",
    "Placed",
    "canvas",
    "canvases",
    "class_index",
    "class_names",
    "digits",
    "fitted",
    "guesses",
    "mosaic",
    "photo",
    "prepared",
    "trained_mobilenet",
]

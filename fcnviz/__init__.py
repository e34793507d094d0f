"""See what every layer of a real network does to an image's height and width, up to the layer that breaks.

>>> import fcnviz
>>> trace = fcnviz.trace(fcnviz.models.vgg16(), (1, 3, 256, 256))
>>> trace.failure.step.name, trace.failure.step.input_shapes
('classifier.0', ((1, 32768),))

Rooms with more to call are there by name, and come in when they are first used: batches, data, effective,
equivalence, errors, exercises, explorer, figures, gallery, geometry, modes, patches, surgery, training, upsampling.

>>> fcnviz.equivalence.tiny_case().linear
Linear(in_features=4, out_features=2, bias=True)
>>> fcnviz.patches.patch_cost(fcnviz.models.vgg16("conv"), 384, 224).answers
(6, 6)
"""

from importlib import import_module
from typing import Any

from fcnviz import models
from fcnviz.equivalence import compare
from fcnviz.errors import FcnvizError
from fcnviz.law import Law, law
from fcnviz.records import Failure, Shape, Step, Trace
from fcnviz.surgery import convolutionalize, linear_to_conv
from fcnviz.trace import trace  # from here on trace and law are the functions; their modules are only imported from

__version__ = "0.1.0"

__all__ = [
    "Failure",
    "FcnvizError",
    "Law",
    "Shape",
    "Step",
    "Trace",
    "compare",
    "convolutionalize",
    "law",
    "linear_to_conv",
    "models",
    "trace",
]

_ROOMS = (
    *("batches", "data", "effective", "equivalence", "errors", "exercises", "explorer", "figures", "gallery"),
    *("geometry", "modes", "patches", "surgery", "training", "upsampling"),
)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"fcnviz.{name}")
    raise AttributeError(f"fcnviz has no {name!r}; its rooms are {', '.join(_ROOMS)}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS, "__version__"})

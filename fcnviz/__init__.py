"""See what every layer of a real network does to an image's height and width, up to the layer that breaks.

>>> import fcnviz
>>> trace = fcnviz.trace(fcnviz.models.vgg16(), (1, 3, 256, 256))
>>> trace.failure.step.name, trace.failure.step.input_shapes
('classifier.0', ((1, 32768),))
"""

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

"""See what every layer of a real network does to an image's height and width, up to the layer that breaks.

>>> import fcnviz
>>> trace = fcnviz.trace(fcnviz.models.vgg16(), (1, 3, 256, 256))
>>> trace.failure.step.name, trace.failure.step.input_shapes
('classifier.0', ((1, 32768),))
"""

from fcnviz import models
from fcnviz.errors import FcnvizError
from fcnviz.records import Failure, Shape, Step, Trace, Window
from fcnviz.trace import trace  # from here on fcnviz.trace is the function; its module is only ever imported from

__version__ = "0.1.0"

__all__ = ["Failure", "FcnvizError", "Shape", "Step", "Trace", "Window", "models", "trace"]

"""Where the cells of a network lie on its image, and which pixels they see: from a trace, exactly, no torch.

This is a room, and `geometry` a function in it: `from fcnviz.geometry import geometry`, then `geometry(trace(…))`.
Receptive fields on real numbers, which are smaller, are measured in `effective`.
"""

from fcnviz.geometry.links import Track
from fcnviz.geometry.placing import Axis, Geometry, Located, Region, geometry

__all__ = ["Axis", "Geometry", "Located", "Region", "Track", "geometry"]

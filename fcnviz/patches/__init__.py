"""A net run on every patch of an image, and once on the whole image: the same answers, or not, and at what cost.

It is often taught that both give the same. They do if no layer pads: then a cell of the dense map is computed from a
region of the image and from nothing else. A layer that pads gives a patch zeros where the dense run has its neighbours,
and the cells that have seen them are another network's. `clean_rings` derives by arithmetic how far that reaches, layer
by layer; `measured_rings` counts it on real numbers; `run_patches` compares the answers; `patch_cost` counts.

In reading order: `asked` (what the caller hands over), `fields` (where cells lie, and which see the patch alone),
`cost`, `rings`, `runs`. The views are in `handwork`.
"""

from fcnviz.models import caffe_alexnet
from fcnviz.patches.cost import Cost, patch_cost
from fcnviz.patches.fields import network_stride
from fcnviz.patches.rings import Ring, Rings, clean_rings, measured_rings
from fcnviz.patches.runs import PatchRun, run_patches
from fcnviz.surgery.padding import without_padding

__all__ = [
    "Cost",
    "PatchRun",
    "Ring",
    "Rings",
    "caffe_alexnet",
    "clean_rings",
    "measured_rings",
    "network_stride",
    "patch_cost",
    "run_patches",
    "without_padding",
]

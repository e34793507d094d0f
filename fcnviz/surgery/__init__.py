"""Linear layers become convolutions with the same numbers, and classifiers fully convolutional networks.

In reading order: `cast` (one Linear), `plan` (what has to change in a network, found in its trace), `rewrite` (a
forward whose calls change), `network` (the plan carried out on a twin). Bilinear kernels and padding are not in here.
"""

from fcnviz.surgery.cast import linear_to_conv
from fcnviz.surgery.network import convolutionalize

__all__ = ["convolutionalize", "linear_to_conv"]

"""Linear layers become convolutions with the same numbers, and classifiers fully convolutional networks.

One Linear is cast in `fcnviz.cast`. Here, in reading order: `places` (which axes count places, and which steps look
beyond one), `plan` (what has to change in a network, found in its trace), `rewrite` (a forward whose calls change),
`windows` (whether each cell of the result depends on its own window alone, in words), `network` (the plan carried out
on a twin). `padding` takes the padding out of a network, which is `fcnviz.patches.without_padding`.
"""

from fcnviz.cast import linear_to_conv
from fcnviz.surgery.network import convolutionalize

__all__ = ["convolutionalize", "linear_to_conv"]

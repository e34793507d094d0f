"""From a coarse map back to a fine one: bilinear kernels, and the transposed convolution as a sum and as a matrix.

In reading order: `bilinear` (the kernels, and layers that have them), `spread` (each input cell spreads a kernel, and
where kernels overlap they add up), `matrix` (the same as one matrix, which is a convolution's transposed),
`border` (where it is `F.interpolate`, and where not).
"""

from fcnviz.upsampling.bilinear import bilinear_kernel, class_wise, dense, fill, kernel_of, tent, upsampling
from fcnviz.upsampling.border import Border, against_interpolate
from fcnviz.upsampling.matrix import convolution_matrix, transposed_matrix
from fcnviz.upsampling.spread import Overlap, Term, overlap, spread

__all__ = [
    "Border",
    "Overlap",
    "Term",
    "against_interpolate",
    "bilinear_kernel",
    "class_wise",
    "convolution_matrix",
    "dense",
    "fill",
    "kernel_of",
    "overlap",
    "spread",
    "tent",
    "transposed_matrix",
    "upsampling",
]

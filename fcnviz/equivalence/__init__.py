"""The same numbers computed in two ways, and whether the difference is more than rounding.

A Linear and the convolution cast from it multiply the same pairs of numbers and add them up in another order, so in
floating point they may differ in the last bits. How far, is known before anything runs: a sum of n rounded products
misses the exact one by at most γₙ·Σ|w||x| with γₙ = n·u/(1 − n·u), whatever the order of summation (Higham, *Accuracy
and Stability of Numerical Algorithms*, §3.1), so two of them differ by at most twice that. `compare` judges by this
bound, output by output, and by no tolerance that somebody has picked.

In reading order: `rounding` (what is rounded, and the bound), `verdict` (two answers judged by it), `layers` (what both
layers see), `answers` and `gradients` (what is compared), `cases` (small ones to try), `exact` (where nothing rounds at
all), `by_hand` (one sum, term by term), `traps` (what looks alike and is not). The views are in `handwork`.
"""

from fcnviz.equivalence.answers import compare
from fcnviz.equivalence.by_hand import Handwork, Product, by_hand
from fcnviz.equivalence.cases import Case, tiny_case
from fcnviz.equivalence.exact import ExactCase, Proof, exact_case, prove_exact
from fcnviz.equivalence.gradients import compare_gradients
from fcnviz.equivalence.traps import adaptive_against_mean, images_in_rows, wrong_order
from fcnviz.equivalence.verdict import Comparison

__all__ = [
    "Case",
    "Comparison",
    "ExactCase",
    "Handwork",
    "Product",
    "Proof",
    "adaptive_against_mean",
    "by_hand",
    "compare",
    "compare_gradients",
    "exact_case",
    "images_in_rows",
    "prove_exact",
    "tiny_case",
    "wrong_order",
]

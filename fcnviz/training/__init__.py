"""Train small, test big: a digit classifier cast and run on canvases, and skips that bring a coarse map back to pixels.

In reading order: `scores` (the paper's four numbers), `networks` (the small nets), `fit` (the one loop), `digits` (a
classifier, trained at one size and cast), `ladder` (coarse, one skip, two skips, and the control).
"""

from fcnviz.training.digits import (
    Reading,
    Trained,
    Windows,
    accuracy,
    cells,
    read,
    train,
    truth,
    windows,
    with_background,
)
from fcnviz.training.fit import Examples, Moment, Run, fit
from fcnviz.training.ladder import Ladder, Pace, Rung, answer, ladder, scored
from fcnviz.training.networks import coarse, digit_net, one_skip, pooled_net, two_skips
from fcnviz.training.scores import Scores, score, total

__all__ = [
    "Examples",
    "Ladder",
    "Moment",
    "Pace",
    "Reading",
    "Run",
    "Rung",
    "Scores",
    "Trained",
    "Windows",
    "accuracy",
    "answer",
    "cells",
    "coarse",
    "digit_net",
    "fit",
    "ladder",
    "one_skip",
    "pooled_net",
    "read",
    "score",
    "scored",
    "total",
    "train",
    "truth",
    "two_skips",
    "windows",
    "with_background",
]

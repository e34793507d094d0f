"""The colours of answers, for figures and for pages: colour never stands alone.

What runs is blue, what stops is brown to yellow and lighter the later it stops, so the order shows in grey too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["RUNS", "STOPS", "colours", "rgb"]

RUNS = ("#0072b2", "#56b4e9", "#004a75", "#9ad0f5")
STOPS = ("#3b1f0b", "#8a4b08", "#d98a1f", "#f7c873", "#fdeed3")  # a ramp of lightness, which every eye can order


def colours(runs: int, stops: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The colours of so many answers: of those that run, and of those that stop, first step first.

    >>> colours(1, 2)
    (('#0072b2',), ('#b97116', '#fdeed3'))
    """
    places = np.linspace(max(0, 0.6 - 0.1 * stops), 1, stops) if stops > 1 else np.array([0.75])
    ramp = np.array([rgb(colour) for colour in STOPS])
    at = np.linspace(0, 1, len(STOPS))
    mixed = np.stack([np.interp(places, at, channel) for channel in ramp.T], axis=1)
    return tuple(RUNS[i % len(RUNS)] for i in range(runs)), tuple(map(_hex, mixed))


def rgb(colour: str) -> tuple[float, ...]:
    """Red, green and blue of "#rrggbb", from 0 to 1.

    >>> rgb("#0033ff")
    (0.0, 0.2, 1.0)
    """
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _hex(colour: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)

"""How a sentence calls things: sizes, shapes, axes, counts and steps. Nothing here knows why a step failed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from fcnviz.arithmetic import count
from fcnviz.records import Shape, Step


def one_line(text: str) -> str:
    """`text` on one line, without control characters: names of modules may hold anything."""
    joined = re.sub(r"[ \t-\r\x1c-\x1f\x85\u2028\u2029]+", " ", text).strip()
    return "".join(c if c.isprintable() or c == "\u202f" else "\N{REPLACEMENT CHARACTER}" for c in joined)


def by(sizes: Sequence[int]) -> str:
    """512×7×7: the sizes of a map or a window."""
    return "×".join(map(str, sizes))


def times(sizes: Sequence[int]) -> str:
    """512·7·7: the sizes as a product that is left standing."""
    return "·".join(map(str, sizes))


def commas(sizes: Sequence[int]) -> str:
    """512, 7, 7: the sizes as Python writes arguments."""
    return ", ".join(map(str, sizes))


def product(sizes: Sequence[int]) -> str:
    """The sizes multiplied, with the result where there is something to multiply.

    >>> product((8, 6, 6)), product((6,))
    ('8·6·6 = 288', '6')
    """
    result = count(math.prod(sizes))
    return f"{times(sizes)} = {result}" if len(sizes) > 1 else result


def shown(shape: Shape) -> str:
    """A shape as the tables write it: the batch axis of one image is left out."""
    return by(shape[1:] if len(shape) > 3 and shape[0] == 1 else shape)


def plural(number: int, word: str) -> str:
    """A number of things.

    >>> plural(1, "channel"), plural(3, "channel"), plural(2, "axis")
    ('1 channel', '3 channels', '2 axes')
    """
    return f"{count(number)} {word if number == 1 else 'axes' if word == 'axis' else word + 's'}"


def who(step: Step) -> str:
    """How the step is called: kind and name of a module, the name of a call."""
    return step.name if step.is_call or step.name == step.kind else f"{step.kind} {step.name}".strip()


def axes(rank: int) -> tuple[str, ...]:
    """What the axes of a tensor with `rank` axes are usually called.

    >>> axes(4), axes(2)
    (('batch', 'channels', 'height', 'width'), ('axis 0', 'axis 1'))
    """
    spatial = {3: ("length",), 4: ("height", "width"), 5: ("depth", "height", "width")}.get(rank)
    return ("batch", "channels", *spatial) if spatial else tuple(f"axis {axis}" for axis in range(rank))

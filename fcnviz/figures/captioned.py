"""A figure on a page: the picture, what it says in words for those who do not see it, and a caption."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from html import escape

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from fcnviz import layout
from fcnviz.errors import InputError
from fcnviz.figures.canvas import figure_of

__all__ = ["Picture", "captioned", "growing", "png"]

LEAST = 640  # pixels of the page for a caption, however small its picture
SHARP = 2  # pixels of the picture for one of the page: a projector enlarges
PLAIN, MOST = 1450, 1.5  # from a window that wide on a picture grows with it, up to so many times
# A card, so that on a dark page the white is a sheet of paper and not a hole in the page.
CARD = "box-sizing:border-box;padding:6px;background:#ffffff;border:1px solid #8f959c;border-radius:8px"


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn figure as a notebook shows it: an image with an alternative text, and a caption below it.

    Attributes:
        alt: the picture in words.
        caption: what to look at, or what follows from it.
        width: in pixels of the page.
        png: the image itself.
    """

    alt: str
    caption: str
    width: int
    png: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"[picture: {self.alt}]\n{self.caption}"

    def _repr_html_(self) -> str:
        """Sizes stand in style attributes, which a notebook keeps where it does not trust a page."""
        image = base64.b64encode(self.png).decode("ascii")
        alt, caption = (escape(layout.plain(words)) for words in (self.alt, self.caption))
        return (
            '<figure style="margin:0.5em 0">'
            f'<img alt="{alt}" src="data:image/png;base64,{image}" '
            f'style="{_wide("width", self.width)};max-width:100%;height:auto;{CARD}">'
            f'<figcaption style="{_wide("max-width", max(self.width, LEAST))}">{caption}</figcaption>'
            "</figure>\n"
        )


def growing(width: int) -> str:
    """A width in pixels of the page that grows on a large screen, where a projector's audience sits far away.

    >>> growing(580)
    'clamp(580px,40.0vw,870px)'
    """
    return f"clamp({width}px,{100 * width / PLAIN:.1f}vw,{round(MOST * width)}px)"


def _wide(what: str, width: int) -> str:
    """As a style; where a page that is not trusted may not calculate, the plain width is left."""
    return f"{what}:{width}px;{what}:{growing(width)}"


def captioned(ax: Axes, alt: str, caption: str) -> Picture:
    """What `ax` shows, as a picture with an alternative text and a caption. Its figure is closed.

    As the last line of a cell: `figures.captioned(figures.accepted_sizes(found), figures.alt(found), "What runs.")`.

    Raises:
        InputError: no words for those who do not see the picture, or no caption.

    >>> _, ax = plt.subplots()
    >>> print(captioned(ax, "Two empty axes.", "Nothing is drawn yet."))
    [picture: Two empty axes.]
    Nothing is drawn yet.
    """
    for what, words in (("alternative text", alt), ("caption", caption)):
        if not words.strip():
            raise InputError(f"a picture was given an empty {what}; there has to be one")
    figure = figure_of(ax)
    drawn, wide = png(ax)
    plt.close(figure)
    return Picture(alt, caption, wide, drawn)


def png(ax: Axes) -> tuple[bytes, int]:
    """The figure of `ax` as PNG, on white, and its width in pixels of the page (96 to the inch)."""
    target = io.BytesIO()
    figure_of(ax).savefig(target, format="png", dpi=96 * SHARP, bbox_inches="tight", pad_inches=0.08, facecolor="white")
    drawn = target.getvalue()
    return drawn, round(int.from_bytes(drawn[16:20], "big") / SHARP)  # the header's width

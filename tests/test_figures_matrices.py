"""The picture of a convolution's matrix and its transposed one: the layers' own numbers, in their own places."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from torch import nn

from fcnviz import figures
from fcnviz.errors import InputError
from fcnviz.figures.matrices import COLOURS, GAP, NOTHING
from fcnviz.upsampling import convolution_matrix, transposed_matrix

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def both():
    """A kernel of 3, two apart, on 7 cells; and back."""
    down = nn.Conv2d(1, 1, (1, 3), stride=(1, 2), bias=False)
    up = nn.ConvTranspose2d(1, 1, (1, 3), stride=(1, 2), bias=False)
    down.weight.data = up.weight.data = torch.tensor([[[[1.5, -2.0, 4.0]]]])
    return convolution_matrix(down, (1, 7)), transposed_matrix(up, (1, 3))


def written(ax):
    """What stands in each box, by its left upper corner."""
    return {
        (round(text.get_position()[0] - 0.5, 2), round(text.get_position()[1] - 0.52, 2)): text.get_text()
        for text in ax.texts
        if "→" not in text.get_text()
    }


def papers(ax):
    return {
        (round(box.get_x(), 2), round(box.get_y(), 2)): matplotlib.colors.to_hex(box.get_facecolor())
        for box in ax.patches
        if isinstance(box, Rectangle)
    }


def test_each_weight_stands_in_its_row_and_column_of_both(both):
    down, up = both
    expected = {(float(c), float(r)): down[r, c] for r, c in np.ndindex(3, 7)}
    expected |= {(round(7 + GAP + c, 2), float(r)): up[r, c] for r, c in np.ndindex(7, 3)}
    signs = {place: f"{weight:g}".replace("-", "−") for place, weight in expected.items() if weight}
    assert len(signs) == 2 * 9
    assert written(figures.matrices(down, up)) == signs


def test_a_window_has_the_colour_of_the_column_that_it_becomes(both):
    found = papers(figures.matrices(*both))
    for r, c in np.ndindex(3, 7):
        colour = found[c, r]
        assert colour == found[round(7 + GAP + r, 2), c]
        assert colour == (COLOURS[r % 2][0] if both[0][r, c] else NOTHING)


def test_the_words_have_the_rows_and_say_whether_the_other_is_the_same(both):
    down, up = both
    said = figures.matrices_alt(down, up)
    assert "1.5, −2, 4, 0, 0, 0, 0; 0, 0, 1.5, −2, 4, 0, 0; 0, 0, 0, 0, 1.5, −2, 4." in said
    assert said.endswith("7 by 3, is the same with rows made columns.")
    assert figures.matrices_alt(down, up + 1).endswith("holds other numbers.")


@pytest.mark.parametrize("draw", [figures.matrices, figures.matrices_alt])
def test_what_does_not_belong_together_and_what_has_no_room_is_refused(draw, both):
    down, up = both
    with pytest.raises(InputError, match="matrices of 3×7 and 3×7 were to be drawn"):
        draw(down, down)
    with pytest.raises(InputError, match="a matrix of 2×17 was to be written out; there is room for 16"):
        draw(torch.zeros(2, 17), torch.zeros(17, 2))
    with pytest.raises(InputError, match="matrices of 7 and 7×3"):
        draw(down[0], up)

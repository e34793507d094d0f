"""The picture of a map whose image was moved: a whole cell gives the same cells again, less gives others."""

import matplotlib
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from torch import nn

from fcnviz import figures
from fcnviz.errors import InputError

matplotlib.use("Agg")
MOVES = (0, 1, 3, 4)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows():
    """A net without padding, jump 4, run on pieces of one strip."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.MaxPool2d(2), nn.Conv2d(5, 6, 3), nn.MaxPool2d(2)).double()
    strip = torch.rand(1, 3, 10, 22, dtype=torch.float64)
    with torch.no_grad():
        return {move: net(strip[..., move : move + (22 if not move else 18)])[0, :, 0] for move in MOVES}


def said(ax):
    return [text.get_text() for text in ax.texts]


def test_a_cell_is_drawn_where_its_pixels_begin(rows):
    ax = figures.moved(rows, 4)
    lefts = [patch.get_x() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert rows[0].shape == (6, 4) and rows[1].shape == (6, 3)
    starts = [move / 4 + cell for move in MOVES for cell in range(rows[move].shape[1])]
    assert [left - lefts[0] for left in lefts] == pytest.approx(starts)


def test_a_move_by_a_cell_is_nothing_off_and_a_smaller_one_is(rows):
    off = [words for words in said(figures.moved(rows, 4)) if words.endswith(" off")]
    assert len(off) == 3 and off[0].endswith("% off") and off[1].endswith("% off")
    assert "%" not in off[2] and float(off[2].removesuffix(" off")) < 1e-14


def test_how_far_off_is_counted_over_all_channels(rows):
    nearest = rows[0][:, 1:]
    share = float((rows[3] - nearest).norm() / nearest.norm())
    assert f"moved 3 pixels: {', '.join(written(rows, 3))}, {share:.0%} off" in figures.moved_alt(rows, 4)


def written(rows, move):
    channel = int(rows[0].std(1, correction=0).argmax())
    return [f"{value:.3g}".replace("-", "−") for value in rows[move][channel].tolist()]


def test_numbers_are_those_of_the_channel_that_varies_most(rows):
    shown = said(figures.moved(rows, 4))
    for move in MOVES:
        assert all(number in shown for number in written(rows, move))


def test_equal_numbers_can_be_drawn():
    assert "0 off" in said(figures.moved({0: torch.ones(1, 3), 2: torch.ones(1, 2)}, 2))


@pytest.mark.parametrize("rows", [{}, {1: torch.ones(1, 2)}, {-1: torch.ones(1, 2), 0: torch.ones(1, 2)}])
def test_a_row_that_was_not_moved_comes_first(rows):
    with pytest.raises(InputError, match="the first is by 0 pixels"):
        figures.moved(rows, 2)


def test_a_move_past_the_first_row_is_refused():
    with pytest.raises(InputError, match="a move by 8 pixels goes past the first row, 3 cells of 2 pixels"):
        figures.moved({0: torch.ones(1, 3), 8: torch.ones(1, 3)}, 2)

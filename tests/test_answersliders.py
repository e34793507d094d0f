"""A dense map under two sliders: what is said of a cell is what the map has there."""

import pytest
import torch

from fcnviz.answersliders import AnswerSliders
from fcnviz.data import class_names
from fcnviz.errors import InputError

PHOTO = torch.linspace(0, 1, 3 * 96 * 160).view(3, 96, 160)
SCORES = torch.zeros(1000, 3, 5)
SCORES[torch.arange(15) * 60, torch.arange(15) // 5, torch.arange(15) % 5] = 9.0  # another class in each cell


@pytest.fixture
def view():
    return AnswerSliders(PHOTO, SCORES, patch=32, stride=32)


def test_each_cell_says_what_the_map_has_there(view):
    for row in range(3):
        for column in range(5):
            view.show(row, column)
            assert view.guesses[0].index == (row * 5 + column) * 60
            assert class_names()[view.guesses[0].index] in view.words.value


def test_shares_are_those_of_the_softmax(view):
    view.show(0, 0)
    assert view.guesses[0].share == pytest.approx(float(SCORES[:, 0, 0].softmax(0).max()))


def test_the_box_stands_on_the_patch_and_the_picture_follows(view):
    view.show(0, 0)
    before = view.picture.value
    view.show(2, 4)
    assert view.box.get_xy() == (128, 64) and view.box.get_width() == 32
    assert view.picture.value != before and bytes(view.picture.value).startswith(b"\x89PNG")


def test_sliders_end_where_the_map_ends(view):
    assert (view.row.max, view.column.max) == (2, 4)


def test_sliders_and_picture_have_names_and_the_pictures_follow(view):
    view.show(1, 3)
    assert view.names in view.children and view.names.box in view._dom_classes
    assert view.names.sliders == ["row of the map", "column of the map"]
    assert view.names.picture == f"The image with a box around the patch of {view!r}."
    before = view.names.picture
    view.show(2, 3)
    assert view.names.picture != before
    assert not view.row.readout and not view.column.readout  # a number beside a slider would have no name


def test_a_page_without_widgets_has_the_words_and_the_picture(view):
    view.show(1, 3)
    page = view._repr_mimebundle_()["text/html"]
    assert "row 1, column 3, pixels 32–63 × 96–127" in page
    assert f'alt="The image with a box around the patch of {view!r}."' in page


def test_a_map_that_does_not_lie_on_the_image_is_refused():
    with pytest.raises(InputError, match="a map of 1000×3×5 with patches of 64, 32 apart, does not lie on an image"):
        AnswerSliders(PHOTO, SCORES, patch=64, stride=32)

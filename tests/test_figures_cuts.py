"""Pictures of what is cut out, what is left over, and what is laid out anew: they say what layers and tensors do."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from torch import nn

from fcnviz import figures, models, trace
from fcnviz.errors import InputError
from fcnviz.geometry import geometry

matplotlib.use("Agg")

AREAS = {"image": ((40, 60), slice(8, 28), slice(30, 50)), "map": ((34, 54), slice(8, 22), slice(30, 44))}


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def pooled_twice(size: int):
    net = nn.Sequential(nn.Conv2d(1, 1, 5), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3), nn.MaxPool2d(2))
    return net, trace(net, (1, 1, size, size))


def cells_of(found, step: int = 3):
    made = found[step].output_shape[2:]
    return [geometry(found).region(step, cell) for cell in np.ndindex(*made)]


def boxes(ax) -> list[tuple[float, ...]]:
    return [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in ax.patches]


def test_a_block_is_drawn_at_the_scale_and_the_place_that_its_slices_say():
    ax = figures.blocks(AREAS)
    image, patch, map_, block = boxes(ax)
    assert image == (0, 0, 60, 40)
    assert patch == (30, 8, 20, 20)
    assert map_[2:] == (54, 34)
    assert block == (map_[0] + 30, 8, 14, 14)
    assert {"image, 40×60", "20×20", "map, 34×54", "14×14"} <= {text.get_text() for text in ax.texts}


def test_the_words_name_rows_and_columns_of_each_block():
    words = figures.blocks_alt(AREAS)
    assert "image, 40×60: rows 8 to 27 and columns 30 to 49 are marked, a block of 20×20" in words
    assert "map, 34×54: rows 8 to 21 and columns 30 to 43 are marked, a block of 14×14" in words


@pytest.mark.parametrize("rows", [slice(5, 5), slice(8, 41)])
def test_a_slice_that_marks_nothing_or_reaches_outside_is_refused(rows):
    with pytest.raises(InputError, match=f"{rows.start}:{rows.stop} of image was to be marked; it has 40"):
        figures.blocks_alt({"image": ((40, 60), rows, slice(0, 1))})
    with pytest.raises(InputError, match="no areas to draw"):
        figures.blocks({})


@pytest.mark.parametrize("size", [32, 33, 35])
def test_hatched_are_the_pixels_that_can_be_changed_without_any_answer_changing(size):
    net, found = pooled_twice(size)
    x = torch.rand(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    smooth = nn.Sequential(*(nn.AvgPool2d(2) if isinstance(m, nn.MaxPool2d) else m for m in net)).double()
    smooth(x).sum().backward()
    blind = {tuple(pixel) for pixel in np.argwhere(x.grad[0, 0].numpy() == 0)}
    ax = figures.never_read(cells_of(found))
    hatched = [patch for patch in ax.patches if patch.get_hatch()]
    drawn = {
        (row, column)
        for patch in hatched
        for row in range(round(patch.get_y() + 0.5), round(patch.get_y() + 0.5 + patch.get_height()))
        for column in range(round(patch.get_x() + 0.5), round(patch.get_x() + 0.5 + patch.get_width()))
    }
    assert drawn == blind
    assert ax.get_title(loc="left").startswith(f"{size}×{size} pixels: {len(blind)} are never read")


def test_the_legend_names_the_lost_rows_and_the_last_cell():
    regions = cells_of(pooled_twice(33)[1])
    legend = [text.get_text() for text in figures.never_read(regions).get_legend().get_texts()]
    assert legend == [
        "seen by at least one of 36 cells of layer 3",
        "cell (5, 5) of layer 3 sees rows 20 to 31, columns 20 to 31",
        "never read: row 32 and column 32",
    ]
    assert figures.never_read_alt(regions).endswith(f"{'; '.join(legend)}.")


def test_a_number_of_a_pixel_stands_at_its_middle():
    ax = figures.never_read(cells_of(pooled_twice(33)[1]))
    assert ax.get_xlim() == (-0.5, 32.5)
    assert list(ax.get_xticks()) == list(ax.get_yticks()) == [0, 20, 32]


def test_only_cells_of_one_image_are_drawn():
    with pytest.raises(InputError, match="here there are 2 images"):
        figures.never_read([*cells_of(pooled_twice(33)[1]), *cells_of(pooled_twice(32)[1])])


def test_each_number_stands_where_reshape_puts_it_in_the_colour_of_its_old_row():
    ax = figures.rearranged((3, 4), (6, 2))
    numbers = {(text.get_position()): int(text.get_text()) for text in ax.texts if text.get_text().isdigit()}
    colours = {patch.get_xy(): patch.get_facecolor() for patch in ax.patches if isinstance(patch, Rectangle)}
    starts = {0: np.arange(12).reshape(3, 4), 7.5: np.arange(12).reshape(6, 2)}
    for left, cells in starts.items():
        for (row, column), number in np.ndenumerate(cells):
            assert numbers[left + column + 0.5, row + 0.52] == number
            assert colours[left + column, row] == colours[0, number // 4]


def test_of_a_long_strip_the_first_and_the_last_rows_are_drawn():
    words = [text.get_text() for text in figures.rearranged((7, 7), (49, 1)).texts]
    assert "⋮" in words
    assert {"row 0", "row 8", "row 48"} <= set(words)
    assert "row 20" not in words
    alt = figures.rearranged_alt((7, 7), (49, 1))
    assert alt.endswith(
        "Cell 7 starts row 1 of the first map, right below cell 0. In the second it is at row 7, column 0."
    )


def test_maps_with_other_counts_or_too_wide_for_a_page_are_refused():
    with pytest.raises(InputError, match="maps of 7×7 and of 8×6 cells were to be compared; they have to have as many"):
        figures.rearranged_alt((7, 7), (8, 6))
    with pytest.raises(InputError, match="there is room for 48 side by side"):
        figures.rearranged((7, 7), (1, 49))


def test_a_failure_alone_says_in_a_notebook_what_the_table_says_of_it():
    found = trace(models.vgg16(), (1, 3, 256, 256))
    alone = found.failure._repr_html_()
    inner = alone.removeprefix('<div class="fcnviz-failure">').removesuffix("</div>\n")
    assert inner in found._repr_html_()
    assert "1x32768 and 25088x4096" in inner
    assert inner.count("<li>") == len(found.failure.remedies) > 0

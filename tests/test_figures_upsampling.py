"""The pictures of a transposed convolution and of what lies where on the image: they show the records' own numbers."""

import matplotlib
import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn

from fcnviz import figures, models, trace
from fcnviz.errors import GeometryError, InputError
from fcnviz.geometry import geometry
from fcnviz.upsampling import overlap

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def row_of(kernel, stride, cells):
    """What a kernel writes of one row of cells, and the row itself as torch computes it."""
    layer = nn.ConvTranspose2d(1, 1, (1, len(kernel)), stride=(1, stride), bias=False)
    layer.weight.data = torch.tensor(kernel).view(1, 1, 1, -1)
    x = torch.tensor(cells).view(1, 1, -1)
    with torch.no_grad():
        made = layer(x)[0, 0].tolist()
    return [overlap(layer, x, (0, place)) for place in range(len(made))], made


def numbers(ax):
    return [text.get_text() for text in ax.texts if text.get_text().replace("−", "").replace(".", "").isdigit()]


def test_every_product_and_every_sum_is_written_out():
    row, made = row_of([1.0, 2.0, 1.0], 2, [1.0, 3.0, -2.0])
    said = numbers(figures.spread(row))
    assert said == ["1", "2", "1", "3", "6", "3", "−2", "−4", "−2"] + [f"{n:g}".replace("-", "−") for n in made]


def test_the_words_name_the_places_where_kernels_overlap():
    row, _ = row_of([1.0, 2.0, 1.0], 2, [1.0, 3.0, 2.0])
    assert "Kernels overlap on places 2, 4." in figures.spread_alt(row)
    assert "Their sum is 1, 2, 4, 6, 5, 4, 2." in figures.spread_alt(row)


def test_kernels_side_by_side_overlap_nowhere():
    row, _ = row_of([1.0, 1.0], 2, [1.0, 3.0])
    assert figures.spread_alt(row).endswith("Kernels overlap on no place.")


def test_curves_are_the_products_and_the_last_one_is_the_sum():
    row, made = row_of([0.25, 0.75, 0.75, 0.25] * 8, 16, [1.0, 3.0])
    ax = figures.tents(row)
    assert len(ax.lines) == 3 and list(ax.lines[-1].get_ydata()) == pytest.approx(made)
    assert "2 curves" in figures.tents_alt(row) and f"over {len(made)} output cells" in figures.tents_alt(row)


@pytest.mark.parametrize("draw", [figures.spread, figures.tents, figures.spread_alt, figures.tents_alt])
def test_maps_of_several_rows_are_refused(draw):
    layer = nn.ConvTranspose2d(1, 1, 2)
    with pytest.raises(InputError, match="1×2×2 was spread"):
        draw([overlap(layer, torch.rand(1, 2, 2), (0, 0))])
    with pytest.raises(InputError, match="no cell to draw"):
        draw([])


def test_more_numbers_than_a_page_has_room_for_are_refused():
    row, _ = row_of([1.0] * 30, 1, [1.0, 2.0])
    with pytest.raises(InputError, match="31 cells were to be written out; there is room for 24"):
        figures.spread(row)


def located(size=500):
    return geometry(trace(models.fcn32s(), (1, 3, size, size)))


def test_a_bar_lies_on_the_pixels_where_its_cells_lie():
    ax = figures.alignment(located(), ["upscore"])
    whole, inside = ax.patches[-2:]
    assert (whole.get_x(), whole.get_x() + whole.get_width()) == (-19.5, 524.5)
    assert (inside.get_x(), inside.get_x() + inside.get_width()) == (-0.5, 499.5)


def test_the_words_have_the_place_of_the_first_and_the_last_cell():
    said = figures.alignment_alt(located(), ["score_fr", "upscore"])
    assert "score_fr: 16 cells, 32 pixels apart, from pixel 12.5 to 492.5" in said
    assert "upscore: 544 cells, 1 pixel apart, from pixel −19 to 524" in said


def test_a_map_that_lies_within_the_image_has_nothing_beyond_it():
    net = nn.Sequential(nn.Conv2d(1, 1, 5))
    ax = figures.alignment(geometry(trace(net, (1, 1, 20, 30))), ["0"])
    whole, inside = ax.patches[-2:]
    assert (whole.get_x(), whole.get_width()) == (inside.get_x(), inside.get_width()) == (1.5, 26)


def test_steps_that_have_no_place_are_refused():
    net = nn.Sequential(nn.Conv2d(1, 1, 5), nn.AdaptiveAvgPool2d(7))  # uneven windows
    with pytest.raises(InputError, match="no step to draw"):
        figures.alignment(located(), [])
    with pytest.raises(GeometryError):
        figures.alignment(geometry(trace(net, (1, 1, 20, 30))), ["1"])

"""The pictures of the first lessons: what they draw is what the traced layers do."""

from __future__ import annotations

import io
import re
from html import escape, unescape

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from torch import nn

from fcnviz import figures, trace
from fcnviz.equivalence import images_in_rows, wrong_order
from fcnviz.errors import InputError
from fcnviz.exercises.nets import Net, traced
from fcnviz.figures.captioned import captioned
from fcnviz.figures.numbering import _kernel
from fcnviz.figures.windows import unread
from fcnviz.windowsliders import KINDS, RANGES, WindowSliders

matplotlib.use("Agg")

LAYERS = {
    "plain": (nn.Conv2d(1, 1, 3), 11),
    "everything": (nn.Conv2d(1, 1, 3, stride=2, padding=3, dilation=2), 12),
    "apart": (nn.AvgPool2d(2, 4), 15),
    "floor": (nn.MaxPool2d(3, 2), 12),
    "adaptive": (nn.AdaptiveAvgPool2d(7), 10),
    "copied": (nn.AdaptiveAvgPool2d(7), 1),
}


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def step_of(layer: nn.Module, size: int):
    return trace(nn.Sequential(layer), (1, 1, size, size))[0]


def cells_read(words: str) -> list[list[int]]:
    """The cells that each window reads, out of the picture's words."""
    said = re.findall(r"window \d+ reads cells? ([^;.]+)", words.replace("−", "-"))
    return [list(range(int(a), int(b) + 1)) for a, b in map(_ends, said)] if all(map(_ends, said)) else _listed(said)


def _ends(text: str) -> tuple[str, str] | None:
    found = re.fullmatch(r"(-?\d+)(?: to (-?\d+))?", text.strip())
    return (found[1], found[2] or found[1]) if found else None


def _listed(said: list[str]) -> list[list[int]]:
    return [[int(cell) for cell in text.split(",")] for text in said]


def moved_by(layer: nn.Module, size: int) -> list[set[int]]:
    """For each cell of a layer's output, the columns of its input that move it: asked of torch, by gradients."""
    x = torch.rand(1, 1, size, size, dtype=torch.float64, requires_grad=True)
    layer = nn.AvgPool2d(layer.kernel_size, layer.stride) if isinstance(layer, nn.MaxPool2d) else layer
    made = layer.double()(x)[0, 0]
    gradients = [torch.autograd.grad(made[:, i].sum(), x, retain_graph=True)[0] for i in range(made.shape[1])]
    return [set(map(int, (g[0, 0].abs().sum(0) > 0).nonzero())) for g in gradients]


@pytest.mark.parametrize("name", LAYERS)
def test_the_windows_are_those_that_torch_reads(name):
    layer, size = LAYERS[name]
    said = cells_read(figures.windows_alt(step_of(layer, size)))
    assert [{cell for cell in cells if 0 <= cell < size} for cells in said] == moved_by(layer, size)


@pytest.mark.parametrize("name", LAYERS)
def test_a_cell_is_called_unread_exactly_when_nothing_moves(name):
    layer, size = LAYERS[name]
    lost = sorted(set(range(size)) - set().union(*moved_by(layer, size)))
    words = unread(step_of(layer, size)).replace(" to ", "-")
    named = [int(n) for n in re.findall(r"\d+", words)] if "-" not in words else list(range(lost[0], lost[-1] + 1))
    assert named == lost


def test_the_picture_has_one_block_for_each_cell_that_a_window_reads():
    layer, size = LAYERS["everything"]
    step = step_of(layer, size)
    blocks = [p for p in figures.windows(step).patches if isinstance(p, Rectangle) and p.get_height() == 0.56]
    assert len(blocks) == sum(map(len, cells_read(figures.windows_alt(step)))) == 3 * step.output_shape[-1]


def test_ceil_shows_what_lies_beyond_the_edge_and_floor_what_is_never_read():
    ceil = figures.windows(step_of(nn.MaxPool2d(3, 2, ceil_mode=True), 12))
    floor = figures.windows(step_of(nn.MaxPool2d(3, 2), 12))
    assert [t.get_text() for t in ceil.get_legend().get_texts()] == ["a cell of the map", "beyond the edge"]
    assert [t.get_text() for t in floor.get_legend().get_texts()] == ["a cell of the map", "read by no window"]
    assert floor.get_title(loc="left") == "MaxPool2d along W: 12 cells → 5, 1 never read"


def test_height_and_width_are_told_apart():
    step = trace(nn.Sequential(nn.Conv2d(1, 1, (3, 5))), (1, 1, 10, 10))[0]
    assert "window 7 reads cells 7 to 9" in figures.windows_alt(step, "H")
    assert "window 5 reads cells 5 to 9" in figures.windows_alt(step, "W")


def test_places_are_arranged_as_the_output_is():
    ax = figures.places(step_of(nn.Conv2d(1, 1, 7), 8))
    labels = [text for text in ax.texts if text.get_text().startswith("→")]
    across, down = zip(*(text.get_position() for text in labels), strict=True)
    assert [text.get_text() for text in labels] == [f"→ cell ({r}, {c})" for r in (0, 1) for c in (0, 1)]
    assert across[0] == across[2] < across[1] == across[3] and down[0] == down[1] < down[2] == down[3]


def test_places_say_what_each_cell_reads():
    words = figures.places_alt(step_of(nn.Conv2d(1, 1, 7), 8))
    assert "cell (1, 0) reads rows 1 to 7 and columns 0 to 6" in words


@pytest.mark.parametrize(
    ("layer", "size", "said"),
    [
        (nn.ReLU(), 8, "is ReLU"),
        (nn.Conv2d(1, 1, 9), 8, "failed"),
        (nn.Conv2d(1, 1, 3), 300, "there is room for"),
    ],
)
def test_what_has_no_picture_is_refused_in_words(layer, size, said):
    with pytest.raises(InputError, match=said):
        figures.windows(step_of(layer, size))


def test_an_axis_that_is_none_is_refused():
    with pytest.raises(InputError, match="axis 'D' was asked for; a map has H and W"):
        figures.windows(step_of(nn.Conv2d(1, 1, 3), 8), "D")


def test_more_places_than_fit_are_refused():
    with pytest.raises(InputError, match="6×6 windows"):
        figures.places(step_of(nn.Conv2d(1, 1, 3), 8))


# --- numbers in one row


def test_the_kernel_in_the_right_order_is_the_view_of_the_row():
    row = torch.arange(2 * 3 * 4)
    assert np.array_equal(_kernel((2, 3, 4), "CHW"), row.view(2, 3, 4))


def test_the_wrong_order_is_the_one_that_compare_calls_different():
    features, linear = (2, 3, 4), nn.Linear(24, 24, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(24))
    kernel = torch.eye(24)[:, _kernel(features, "HWC").flatten()].view(24, *features)
    x = torch.rand(1, *features)
    ours = torch.conv2d(x, kernel).flatten()
    wrong = wrong_order(linear, features, x)
    assert wrong.verdict == "different"
    assert (ours - linear(x.flatten(1))[0]).abs().max().item() == pytest.approx(wrong.difference)


def test_a_channel_has_one_colour_only_in_the_right_order():
    def colours_of_first_channel(order: str) -> int:
        blocks = [p for p in figures.row_as_kernel((2, 3, 3), order).patches if p.get_y() > 2 and p.get_x() < 3]
        return len({p.get_facecolor() for p in blocks})

    assert colours_of_first_channel("CHW") == 1
    assert colours_of_first_channel("HWC") == 2


def test_the_row_in_words_has_every_column_once_in_each_order():
    for order in ("CHW", "HWC"):
        words = figures.row_as_kernel_alt((2, 3, 3), order).split("row by row,")[1]
        numbers = [int(n) for group in re.findall(r"\(([\d ]+)\)", words) for n in group.split()]
        assert sorted(numbers) == list(range(18))


def test_another_order_is_refused():
    with pytest.raises(InputError, match="'WHC'"):
        figures.row_as_kernel((2, 3, 3), "WHC")


@pytest.mark.parametrize(("shape", "columns"), [((3, 8), 12), ((7, 2, 3, 3), 14), ((5, 4), 4), ((4, 6), 2)])
def test_the_rows_hold_the_images_that_images_in_rows_finds(shape, columns):
    words = figures.batch_in_rows_alt(shape, columns)
    said = [tuple(map(int, re.findall(r"of image (\d+)", row))) for row in re.findall(r"row \d+: ([^;]+)", words)]
    assert said == list(images_in_rows(shape, columns))


def test_every_row_of_the_picture_is_full():
    ax = figures.batch_in_rows((49, 512, 8, 8), 25088)
    parts = [p for p in ax.patches if isinstance(p, Rectangle)]
    widths = {}
    for part in parts:
        widths[part.get_y()] = widths.get(part.get_y(), 0) + part.get_width()
    assert set(widths.values()) == {25088} and len(widths) == 12


def test_rows_that_are_left_out_are_counted():
    assert "52 rows between are not drawn" in figures.batch_in_rows_alt((49, 512, 8, 8), 25088)


def test_rows_that_the_batch_does_not_fill_are_refused_as_torch_does():
    with pytest.raises(RuntimeError):
        torch.zeros(1, 512, 8, 8).view(-1, 25088)
    with pytest.raises(InputError, match="do not fill rows"):
        figures.batch_in_rows((1, 512, 8, 8), 25088)


# --- captions


def test_a_captioned_picture_carries_its_words_and_closes_its_figure():
    _, ax = plt.subplots()
    page = captioned(ax, 'a "quoted" <word>', "1 < 2")._repr_html_()
    alt = re.search(r'alt="([^"]*)"', page)
    assert alt and unescape(alt[1]) == 'a "quoted" <word>'
    assert "<figcaption" in page and "1 &lt; 2" in page
    assert plt.get_fignums() == []


def test_a_picture_is_as_wide_on_the_page_as_it_was_drawn_and_twice_as_sharp():
    ax = plt.figure(figsize=(4, 3)).add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.add_patch(Rectangle((0, 0), 1, 1))
    picture = captioned(ax, "a square", "nothing")
    high, wide, _ = plt.imread(io.BytesIO(picture.png)).shape
    assert wide == 2 * picture.width and high > 2 * 3 * 96
    assert abs(picture.width - (4 + 2 * 0.08) * 96) < 3


def test_a_picture_grows_with_a_large_window_and_keeps_a_plain_width_where_it_may_not_calculate():
    picture = captioned(plt.subplots()[1], "axes", "nothing")
    style = re.search(r'<img [^>]*style="([^"]*)"', picture._repr_html_())[1].split(";")
    plain, large = [words.removeprefix("width:") for words in style if words.startswith("width:")]
    least, preferred, most = large.removeprefix("clamp(").rstrip(")").split(",")
    assert plain == least == f"{picture.width}px" and most == f"{round(1.5 * picture.width)}px"
    assert picture.width < 19.20 * float(preferred.removesuffix("vw")) < 1.5 * picture.width  # on a projector
    assert 12.80 * float(preferred.removesuffix("vw")) < picture.width  # on a laptop: as it was drawn


def test_a_picture_is_a_card_on_any_page():
    page = captioned(plt.subplots()[1], "axes", "nothing")._repr_html_()
    assert "background:#ffffff" in page and "border:1px solid" in page


@pytest.mark.parametrize(("alt", "caption", "said"), [(" ", "words", "alternative text"), ("words", "", "caption")])
def test_a_picture_without_words_is_refused(alt, caption, said):
    with pytest.raises(InputError, match=said):
        captioned(plt.subplots()[1], alt, caption)


# --- one window under sliders


def test_the_sliders_show_the_traced_layer():
    view = WindowSliders(size=12, kernel=3, stride=2, padding=1)
    assert "nn.Conv2d(1, 1, 3, stride=2, padding=1)" in view.words.value
    assert "⌊(12 + 2·1 − 1·(3 − 1) − 1) / 2⌋ + 1 = 6" in view.words.value
    assert view.png.startswith(b"\x89PNG") and view.picture.layout.display is None
    assert escape(figures.windows_alt(view.trace[-1])) in view.picture.value


def test_moving_a_slider_draws_anew():
    view = WindowSliders(size=12, kernel=3, stride=2)
    before = view.picture.value
    assert "No window reads cell 11." in view.words.value
    view.sliders["size"].value = 11
    assert view.picture.value != before and "Every cell is read." in view.words.value


def test_a_layer_that_is_refused_is_explained_and_comes_back():
    view = WindowSliders(size=6, kernel=7)
    assert "✗" in view.words.value and "7×7" in view.words.value
    assert view.trace.failure.message.splitlines()[0].replace("'", "&#x27;") in view.words.value
    assert view.picture.layout.display == "none" and repr(view).endswith("6 → ✗")
    view.show(size=8)
    assert view.picture.layout.display is None and repr(view).endswith("8 → 2")


def test_a_sliders_label_holds_its_number_and_follows_it():
    view = WindowSliders(size=12, kernel=3)
    view.show(kernel=5)
    assert view.sliders["kernel"].description == "kernel k = 5" and not view.sliders["kernel"].readout
    view.sliders["kernel"].value = 2
    assert view.sliders["kernel"].description == "kernel k = 2"


@pytest.mark.parametrize(
    "at", [{"size": 16, "stride": 4}, {"size": 12, "stride": 2, "padding": 1}, {"size": 16, "kernel": 1, "padding": 3}]
)
def test_what_comes_out_stands_in_a_row_under_the_windows(at):
    view = WindowSliders(**at)
    made = view.trace[-1].output_shape[-1]
    row = [patch for patch in view.ax.patches if isinstance(patch, Rectangle) and patch.get_y() > made]
    (first, *_), right = (patch.get_x() for patch in row), view.ax.get_xlim()[1]
    assert first == view.ax.get_xlim()[0] and [patch.get_x() - first for patch in row] == list(range(made))
    assert all(patch.get_x() + 1 <= right for patch in row)
    below = max(patch.get_y() + 1 for patch in row)
    assert all(text.get_position()[1] < below for text in view.ax.texts)


def test_what_ceil_mode_drops_is_told_apart_from_the_sum():
    view = WindowSliders(size=16, kernel=3, stride=4, kind="pooling, ceil")
    assert "⌈(16 + 2·0 − 1·(3 − 1) − 1) / 4⌉ + 1 − 1 = 4</div>" in view.words.value
    assert "window 4, counted from 0, would start at 4·4 ≥ 16 + 0" in view.words.value
    view.show(stride=2)
    assert "dropped" not in view.words.value


@pytest.mark.parametrize("kind", KINDS)
def test_the_corners_of_the_sliders_are_drawn_or_explained(kind):
    view = WindowSliders(kind=kind)
    low = {name: first for name, (first, _, _) in RANGES.items()}
    high = {name: last for name, (_, last, _) in RANGES.items()}
    for at in (low, high, {**low, "size": high["size"], "padding": high["padding"]}, {**high, "size": low["size"]}):
        view.show(**at)
        failed = traced(Net((view.layer,)), (1, at["size"], at["size"])).failure
        assert ("✗" in view.words.value) == (failed is not None)


def test_where_no_widget_lives_there_is_an_image_with_words():
    page = WindowSliders(size=7, kernel=2, stride=2, kind="pooling, floor")._repr_mimebundle_()["text/html"]
    alt = re.search(r'<img alt="([^"]*)"', page)
    assert alt and "No window reads cell 6." in unescape(alt[1])

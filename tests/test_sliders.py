"""The classroom view without a browser: set a trait, read the HTML. The networks are real ones on the meta device."""

import re
from html import unescape

import pytest
import traitlets
from nets import UNet
from torch import nn

from fcnviz import models
from fcnviz.errors import InputError
from fcnviz.sliders import PRESETS, SLIDER_MAX, SizeExplorer, merge


@pytest.fixture
def view():
    return SizeExplorer({"Linear head": models.vgg16(), "Convolutional head": models.vgg16(head="conv")})


def read(widget) -> str:
    """What a reader sees of an HTML widget, in one line."""
    return " ".join(unescape(re.sub("<[^>]*>", " ", widget.value)).replace("\u202f", " ").split())


def cells(view, layer: str) -> list[str]:
    row = next(row for row in view.strip.value.split("<tr")[1:] if f">{layer}</th>" in row)
    return [unescape(cell).replace("\u202f", " ") for cell in re.findall("<td[^>]*>(.*?)</td>", row)]


def test_at_224_both_networks_answer(view):
    assert cells(view, "features.30") == ["MaxPool2d 2×2", "512×7×7"] * 2
    assert cells(view, "classifier.0") == ["Linear", "1×4096", "Conv2d 7×7", "4096×1×1"]
    assert read(view.cards).count("✓") == 2
    assert "fcnviz-bad" not in view.cards.value + view.strip.value


def test_at_256_the_linear_layer_breaks_and_the_convolution_does_not(view):
    view.size = (256, 256)
    assert cells(view, "classifier.0") == ["✗ 25 088 ≠ 32 768 = 512·8·8", "Conv2d 7×7", "4096×2×2"]
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x32768 and 25088x4096)" in read(view.cards)
    assert "3×256×256 → 512×8×8 → 4096×2×2 → 1000×2×2" in read(view.cards)
    assert "fcnviz-bad" in view.strip.value


def test_rows_after_the_break_are_named_and_marked_as_never_reached(view):
    view.size = (256, 256)
    assert cells(view, "classifier.6") == ["Linear", "not reached", "Conv2d 1×1", "1000×2×2"]


def test_back_at_224_everything_is_as_before(view):
    before = view.cards.value, view.strip.value, view.sums.value
    view.size = (256, 256)
    view.size = (224, 224)
    assert (view.cards.value, view.strip.value, view.sums.value) == before


@pytest.mark.parametrize(
    ("size", "linear", "conv"),
    [
        ((255, 255), "1×1000", "1000×1×1"),
        ((224, 256), "stops at classifier.0", "1000×1×2"),
        ((1568, 32), "1×1000", "stops at classifier.0"),
        ((223, 223), "stops at classifier.0", "stops at classifier.0"),
        ((31, 2000), "stops at features.30", "stops at features.30"),
        ((1, 1), "stops at features.4", "stops at features.4"),
    ],
)
def test_each_size_ends_as_the_networks_end(view, size, linear, conv):
    view.size = size
    image = f"3×{size[0]}×{size[1]}"
    assert repr(view) == f"{image} · Linear head: {linear} · Convolutional head: {conv}"


def test_an_image_too_small_for_a_pooling_is_explained_in_both_networks(view):
    view.size = (1, 2000)
    assert cells(view, "features.4") == ["✗ 2×2 window, 1×2000 map"] * 2
    assert cells(view, "features.5") == ["Conv2d 3×3", "not reached"] * 2
    assert read(view.cards).count("the image is too low") == 2


def test_every_layer_has_a_row_in_the_order_of_the_network(view):
    convolutions = [name for name in view.names if cells(view, name)[2].startswith("Conv2d")]
    assert len(convolutions) == 16
    assert view.names[-5:] == ["features.30", "flatten", "classifier.0", "classifier.3", "classifier.6"]
    assert cells(view, "flatten") == ["Flatten", "1×25088", "–", ""]


def test_while_square_is_ticked_width_follows_height_and_height_follows_width(view):
    view.sliders[0].value = 300
    assert view.size == (300, 300)
    view.fields[1].value = 260
    assert view.size == (260, 260)
    view.square.value = False
    view.sliders[0].value = 224
    assert view.size == (224, 260)
    view.square.value = True
    assert view.size == (224, 224)


def test_a_size_that_is_not_square_unticks_square(view):
    view.size = (224, 256)
    assert view.square.value is False
    assert [control.value for control in (*view.sliders, *view.fields)] == [224, 256, 224, 256]


def test_a_square_preset_ticks_square_again_and_any_other_unticks_it(view):
    presets = list(zip(view.presets, PRESETS, strict=True))
    for button, (height, width) in (*presets, *reversed(presets)):
        button.click()
        assert (view.size, view.square.value) == ((height, width), height == width)


@pytest.mark.parametrize(
    ("typed", "size", "note"),
    [
        (22.7, 23, "22.7 → 23"),
        (22.5, 23, "22.5 → 23"),
        (3e2, 300, "1–2048"),
        (0, 1, "0 → 1"),
        (-300, 1, "−300 → 1"),
        (99999, 2048, "99999 → 2048"),
        (223.6, 224, "223.6 → 224"),
    ],
)
def test_a_typed_number_that_is_no_size_becomes_the_nearest_one_and_the_field_says_so(view, typed, size, note):
    assert [shown.value for shown in view.notes] == ["1–2048"] * 2
    for _ in range(2):  # a second time the size is there already
        view.fields[0].value = typed
        assert (view.size, view.fields[0].value, view.notes[0].value) == ((size, size), size, note)
    view.size = (256, 250)
    assert [shown.value for shown in view.notes] == ["1–2048"] * 2


def test_each_preset_sets_its_size(view):
    for button, size in zip(view.presets, PRESETS, strict=True):
        button.click()
        assert view.size == size


def test_a_size_beyond_the_slider_is_typed_and_leaves_the_slider_at_its_end(view):
    view.fields[0].value = 1568
    assert view.size == (1568, 1568)
    assert view.sliders[0].value == SLIDER_MAX
    view.sliders[0].value = 300
    assert view.size == (300, 300)


@pytest.mark.parametrize("size", [(0, 224), (224, -1), (224.5, 224), ("224", 224), (224,), 224, (10**9, 224)])
def test_a_size_that_is_none_is_refused_and_nothing_changes(view, size):
    with pytest.raises(traitlets.TraitError):
        view.size = size
    assert view.size == (224, 224)


def test_one_change_writes_each_piece_of_html_once(view):
    written = []
    for part in (view.cards, view.strip, view.sums):
        part.observe(written.append, "value")
    view.presets[1].click()
    assert len(written) == 3


def test_the_stepper_walks_from_the_first_layer_to_the_last(view):
    view.moves["last"].click()
    assert view.row == len(view.names) - 1 == view.row_slider.value - 1
    view.moves["next"].click()
    assert view.row == len(view.names) - 1
    view.moves["first"].click()
    view.moves["back"].click()
    assert view.row == 0
    view.row_slider.value = 3
    assert view.names[view.row] == "features.4"


def test_the_stepper_greys_out_what_leads_nowhere_and_counts_the_layers(view):
    ends = [("first", "back"), (), ("next", "last")]
    for row, dead in zip((0, 5, len(view.names) - 1), ends, strict=True):
        view.row = row
        assert [text for text, button in view.moves.items() if button.disabled] == list(dead)
    assert view.total.value == "of 22" == f"of {view.row_slider.max}"


def test_where_they_part_is_explained_by_its_tooltip(view):
    told = "the first layer that is not of the same kind on all sides: classifier.0"
    assert view.moves["where they part"].tooltip == told


def test_a_network_of_one_layer_has_nowhere_to_step():
    view = SizeExplorer({"net": nn.Sequential(nn.Conv2d(3, 8, 3))})
    assert all(button.disabled for button in view.moves.values())


def test_a_row_beyond_the_ends_is_the_row_at_the_end(view):
    view.row = 99
    assert view.names[view.row] == "classifier.6"
    view.row = -1
    assert view.row == 0


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (1, 2000)])
def test_the_stepper_shows_every_layer_at_every_size(view, size):
    view.size = size
    for row, name in enumerate(view.names):
        view.row = row
        assert f"· {name}" in read(view.sums)
        assert view.strip.value.count("aria-current") == 1


def test_the_arithmetic_is_written_in_symbols_and_in_numbers_for_both_axes(view):
    view.size = (224, 256)
    told = read(view.sums)
    assert "⌊(H + 2·p − d·(k − 1) − 1) / s⌋ + 1 ⌊(224 + 2·1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 224" in told
    assert "⌊(W + 2·p − d·(k − 1) − 1) / s⌋ + 1 ⌊(256 + 2·1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 256" in told
    assert "weight 64×3×3×3, bias 64 the same for every H and W" in told


def test_where_networks_agree_a_layer_is_told_once_and_where_they_part_twice(view):
    assert read(view.sums).startswith("Linear head and Convolutional head · features.0")
    view.moves["where they part"].click()
    told = read(view.sums)
    assert "Linear head · classifier.0" in told
    assert "Convolutional head · classifier.0" in told
    assert "weight 4096×512×7×7" in told


def test_the_failed_layer_shows_the_relation_that_does_not_hold(view):
    view.size = (256, 256)
    view.moves["where they part"].click()
    assert "columns = n ✗ 25 088 ≠ 32 768" in read(view.sums)
    assert "32 768 ≠" not in read(view.sums) + read(view.strip) + read(view.cards)
    view.size = (224, 224)
    assert "columns = n → rows 25 088 = 25 088 → 4 096" in read(view.sums)


def test_a_linear_that_refuses_says_where_its_numbers_come_from(view):
    view.size = (256, 256)
    view.moves["where they part"].click()
    told = read(view.sums)
    assert "in 1×32768 = 512·8·8, the map laid in one row layer Linear, 25 088 columns, 4 096 rows columns = n" in told


def test_the_letters_of_a_sum_stand_above_it(view):
    assert "layer Conv2d, 64 filters of 3×3×3 letters k = 3, s = 1, p = 1, d = 1 H ⌊(H + 2·p" in read(view.sums)
    view.row = 2
    assert "layer MaxPool2d 2×2 letters k = 2, s = 2, p = 0, d = 1 H ⌊(H + 2·p" in read(view.sums)


def test_letters_stand_apart_where_the_axes_differ():
    transposed = nn.ConvTranspose2d(4, 2, (3, 5), stride=(1, 2), output_padding=(0, 1))
    view = SizeExplorer({"net": nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), transposed)})
    assert "k = 3, s = 1, p = same, d = 1" in read(view.sums)
    view.row = 1
    assert "ConvTranspose2d, 2 filters of 4×3×5 letters k = 3×5, s = 1×2, p = 0, d = 1, o = 0×1" in read(view.sums)


def test_a_join_that_fails_says_which_sizes_differ():
    view = SizeExplorer({"U-Net": UNet()})
    view.size = (224, 230)
    assert cells(view, "cat") == ["✗ W: 114 ≠ 115"]


def test_a_convolution_over_the_wrong_channels_does_not_blame_its_window():
    view = SizeExplorer({"net": nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(4, 8, 3))})
    assert cells(view, "1") == ["✗ C: 8 ≠ 4"]


def test_a_map_of_another_geometry_with_as_many_numbers_is_remarked_on(view):
    view.size = (1568, 32)
    remark = "But its map is 49×1, not 7×7: 512·49·1 = 25 088 = 512·7·7, as many numbers, another geometry."
    assert f"It runs: one answer for the whole image. {remark}" in read(view.cards)
    for size in ((224, 224), (255, 255), (256, 256)):
        view.size = size
        assert "geometry" not in read(view.cards)


def test_a_size_too_long_for_its_cell_stands_in_smaller_type(view):
    assert "fcnviz-long" not in view.strip.value
    view.size = (2048, 2048)
    assert re.findall("<td class='fcnviz-long' title='([^']*)'", view.strip.value)[::2] == [
        *["64×2048×2048"] * 2,
        "64×1024×1024",
        *["128×1024×1024"] * 2,
    ]


def test_the_answers_of_a_small_map_are_drawn_as_its_cells(view):
    view.size = (224, 256)
    wide, high = map(int, re.search(r"fcnviz-cells.*?width:(\d+)px;height:(\d+)px", view.cards.value).groups())
    assert wide - 1 == 2 * (high - 1)
    assert high <= 71
    view.size = (2048, 2048)
    assert "fcnviz-cells" not in view.cards.value


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (1, 1)])
def test_the_columns_keep_their_width_at_every_size(view, size):
    before = re.findall(r"width:[^'\"]*", view.strip.value)
    view.size = size
    assert re.findall(r"width:[^'\"]*", view.strip.value) == before


def test_names_and_labels_are_text_not_html():
    net = nn.Sequential()
    net.add_module("<img src=x onerror=alert(1)>", nn.Conv2d(3, 8, 3))
    view = SizeExplorer({"<script>": net, "a & b": nn.Sequential(nn.Conv2d(3, 8, 5))})
    for size in ((64, 64), (1, 1)):
        view.size = size
        for row in range(len(view.names)):
            view.row = row
            shown = view.cards.value + view.strip.value + view.sums.value
            assert not re.search("<(img|script)", shown)
    assert "&lt;img" in view.strip.value
    assert "a &amp; b" in view.cards.value


def test_a_layer_without_a_row_of_its_own_fails_in_the_row_it_belongs_to():
    view = SizeExplorer({"net": nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.LayerNorm([8, 222, 222]))})
    assert view.names == ["0"]
    assert "8×222×222 , kept by ReLU and LayerNorm" in read(view.sums)
    view.size = (256, 256)
    assert cells(view, "0") == ["✗ LayerNorm stops here"]
    assert "8×254×254 , kept by ReLU, ✗ refused by LayerNorm" in read(view.sums)
    assert repr(view) == "3×256×256 · net: stops at 2"


class Named(nn.Module):
    def forward(self, x):
        return {"<img src=x>": x * 2}


def test_names_of_outputs_are_text_too():
    view = SizeExplorer({"named": Named()})
    assert "<img" not in view.cards.value + view.strip.value + view.sums.value
    assert "{<img src=x>: 3×224×224}" in unescape(view.cards.value)


@pytest.mark.parametrize("models", [{}, None, [nn.ReLU()], nn.ReLU()])
def test_what_is_no_dict_of_models_is_refused_with_a_sentence(models):
    with pytest.raises(InputError, match=r"models has to be a dict such as {'my network': net}, but it is \w+"):
        SizeExplorer(models)


def test_one_network_alone_and_other_channels():
    view = SizeExplorer({"LeNet": models.lenet()}, size=(32, 32), channels=1)
    assert repr(view) == "1×32×32 · LeNet: 1×10"
    view.size = (40, 40)
    assert cells(view, "fc1") == ["✗ 400 ≠ 784 = 16·7·7"]


def test_networks_that_never_part_have_no_button_that_goes_there():
    assert "where they part" not in SizeExplorer({"LeNet": models.lenet()}, size=(32, 32), channels=1).moves


def test_a_network_that_passes_at_no_known_size_still_shows():
    broken = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(7, 7))
    view = SizeExplorer({"broken": broken})
    assert view.names == ["0", "1", "2"]
    assert "stops at 2" in repr(view)


def test_where_no_widget_can_live_the_same_stands_as_a_table(view):
    view.size = (256, 256)
    bundle = view._repr_mimebundle_()
    assert bundle["text/plain"] == repr(view)
    assert "25\u202f088 ≠ 32\u202f768 = 512·8·8" in bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_rows_of_two_networks_are_merged_in_order():
    assert merge([["a", "b", "d"], ["a", "c", "d", "e"]]) == ["a", "c", "b", "d", "e"]

"""The pictures of a law: what they say, and whether everybody can see it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from test_lawtable import found
from torch import nn

from fcnviz import figures, models, trace
from fcnviz.effective import effective_field
from fcnviz.errors import InputError
from fcnviz.figures import canvas, fields, patch_rings, sizes
from fcnviz.geometry import geometry
from fcnviz.patches import clean_rings

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def legend(ax) -> list[str]:
    return [text.get_text().replace("\u202f", " ") for text in ax.get_legend().get_texts()]


PICTURES = ["vgg16", "vgg16-conv", "unet", "tall", "square", "one-axis", "same", "none", "hostile", "partial"]


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_in_words_is_as_it_was_read(name, golden):
    ax = figures.accepted_sizes(found(name))
    golden(f"law-{name}.alt.txt", "\n".join([ax.get_title(loc="left"), *legend(ax), figures.alt(found(name))]))


def test_the_legend_counts_what_runs_and_says_where_the_others_stop():
    entries = legend(figures.accepted_sizes(found("vgg16")))
    assert entries[0] == "runs: 3 072"
    assert entries[-1] == "refused at classifier.0 (Linear): 4 065 217 sizes"
    assert len(entries) == 7


def test_the_title_has_the_rule_as_a_formula():
    title = figures.accepted_sizes(found("vgg16")).get_title(loc="left").replace("\u202f", " ")
    assert "512·⌊H/32⌋·⌊W/32⌋ = 25 088" in title


def test_the_three_islands_of_vgg16_are_outlined_and_named():
    ax = figures.accepted_sizes(found("vgg16"))
    words = {text.get_text() for text in ax.texts}
    assert {"224–255 × 224–255", "32–63 × 1568–1599", "1568–1599 × 32–63"} <= words
    assert len(ax.patches) == 3


def test_height_goes_up_and_width_to_the_right():
    ax = figures.accepted_sizes(found("tall"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width W (px)", "height H (px)")
    image = np.asarray(ax.images[0].get_array())  # row 0 is size 1, drawn at the bottom
    assert ax.images[0].origin == "lower"
    one = found("tall")
    assert tuple(image[39, 9]) == tuple(image[40, 20])  # tall images run
    assert one.accepted[40, 10] and one.accepted[41, 21]
    assert tuple(image[39, 9]) != tuple(image[20, 9])


@pytest.mark.parametrize("name", ["vgg16-conv", "unet", "tall", "square", "partial"])
def test_blue_is_what_runs_at_every_size(name):
    one, ax = found(name), figures.accepted_sizes(found(name))
    image = np.asarray(ax.images[0].get_array()).astype(int)
    inner = tuple(slice(1, None) for _ in one.names)
    assert np.array_equal(np.squeeze(image[..., 2] > image[..., 0]), one.accepted[inner])


def test_a_size_is_the_middle_of_its_pixel():
    assert figures.accepted_sizes(found("same")).images[0].get_extent() == [0.5, 16.5, 0.5, 16.5]


def test_one_name_is_a_strip():
    ax = figures.accepted_sizes(found("square"))
    assert ax.get_xlabel() == "S (px)"
    assert list(ax.get_yticks()) == []


def test_three_names_need_one_fixed():
    with pytest.raises(InputError, match=r"N, H, W are free: fix the others, accepted_sizes\(law, N=1\)"):
        figures.accepted_sizes(found("batch"))
    ax = figures.accepted_sizes(found("batch"), N=2)
    assert "2×3×H×W" in ax.get_title(loc="left")
    with pytest.raises(InputError, match="N = 31 cannot be fixed: this law is about N from 1 to 30"):
        figures.accepted_sizes(found("batch"), N=31)


def test_undecided_sizes_are_grey_hatched_and_in_the_legend():
    ax = figures.accepted_sizes(found("partial"))
    assert legend(ax)[-1].startswith("undecided: ")
    assert any(patch.get_hatch() for patch in ax.patches)


def test_many_steps_share_the_last_line_of_the_legend():
    one = found("vgg16-conv")
    stops = [i for i, path in enumerate(one.paths) if path.failure is not None]
    step = one.paths[stops[0]].formulas[-1]
    names = [replace(step, name=f"s{i}") for i in range(12)]
    paths = [replace(one.paths[stops[0]], formulas=(name,)) for name in names]
    region = np.arange(257)[:, None] % 12 + np.zeros(257, int)
    many = replace(one, paths=tuple(paths), region=region)
    many.__dict__["requirements"] = ()
    assert legend(figures.accepted_sizes(many))[-1].startswith("refused at 5 other steps: ")


def test_given_axes_are_drawn_into_and_returned():
    figure, (left, right) = plt.subplots(1, 2)
    assert figures.accepted_sizes(found("unet"), ax=right) is right
    assert not left.images and right.child_axes == []
    assert len(plt.get_fignums()) == 1 and figure.axes == [left, right]


def test_thin_bands_are_zoomed_beside_a_large_map_only():
    assert len(figures.accepted_sizes(found("vgg16")).child_axes) == 1
    assert figures.accepted_sizes(found("same")).child_axes == []


@pytest.mark.parametrize("name", PICTURES)
def test_a_projector_shows_every_word(name):
    ax = figures.accepted_sizes(found(name))
    figure = ax.figure
    figure.canvas.draw()
    assert figure.get_size_inches()[0] == 8
    page = figure.bbox
    for text in figure.findobj(Text):
        if text.get_text() and text.get_visible():
            assert text.get_fontsize() >= 11, text
            box = text.get_window_extent()
            assert box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1, text


def test_a_large_range_is_drawn_in_a_few_seconds():
    one = found("vgg16")
    start = time.perf_counter()
    figures.accepted_sizes(one).figure.canvas.draw()
    assert time.perf_counter() - start < 10


# The ring of a patch's own padding


@pytest.fixture(scope="module")
def pools():
    return [ring for ring in clean_rings(models.vgg16().features, 224) if ring.kind == "MaxPool2d"]


def titles(ax) -> list[str]:
    return [text.get_text().replace("\u202f", " ") for text in ax.texts]


def painted(panel) -> int:
    """Cells under the clean rectangles of a panel."""
    (clean,) = panel.collections
    return round(sum(np.prod(np.ptp(path.vertices, axis=0)) for path in clean.get_paths()))


def test_ring_titles_and_paint_count_the_cells_of_the_masks(pools):
    ax = figures.rings(pools)
    assert titles(ax) == [
        "4 (MaxPool2d)\n12 100 of 12 544 cells clean",
        "9 (MaxPool2d)\n2 704 of 3 136 cells clean",
        "16 (MaxPool2d)\n484 of 784 cells clean",
        "23 (MaxPool2d)\n64 of 196 cells clean",
        "30 (MaxPool2d)\n1 of 49 cells clean",
    ]
    assert [painted(panel) for panel in ax.child_axes] == [int(ring.mask.sum()) for ring in pools]


def test_ring_cells_lie_as_in_the_image_row_0_at_the_top():
    mask = np.zeros((4, 6), bool)
    mask[0, 1:3] = mask[3, 5] = True
    (panel,) = figures.rings({"pool": mask}).child_axes
    (clean,) = panel.collections
    corners = sorted(tuple(path.vertices.min(axis=0)) for path in clean.get_paths())
    assert corners == [(1, 0), (5, 3)]
    assert (panel.get_xlim(), panel.get_ylim()) == ((0, 6), (4, 0))


def test_ring_panels_have_one_size_and_polluted_cells_are_hatched_brown(pools):
    ax = figures.rings(pools)
    ax.figure.canvas.draw()
    extents = {tuple(np.round(panel.get_window_extent().size, 3)) for panel in ax.child_axes}
    assert len(extents) == 1 and extents.pop()[0] > 200
    (clean,), (polluted,) = figures.colours(1, 1)
    for panel in ax.child_axes:
        (ground,) = panel.patches
        assert ground.get_hatch() and ground.get_facecolor()[:3] == to_rgb(polluted)
        assert tuple(panel.collections[0].get_facecolor()[0][:3]) == to_rgb(clean)
    assert legend(ax) == list(patch_rings.DERIVED)
    assert [bool(patch.get_hatch()) for patch in ax.get_legend().get_patches()] == [False, True]


def test_a_ring_of_one_cell_shows_on_all_four_sides(pools):
    ax = figures.rings(pools, ax=plt.figure(figsize=(13, 3.6)).add_subplot())
    ax.figure.canvas.draw()
    page = np.asarray(ax.figure.canvas.buffer_rgba())[::-1].astype(int)
    box = ax.child_axes[0].get_window_extent()
    x, y = int(np.mean([box.x0, box.x1])), int(np.mean([box.y0, box.y1]))
    for edge in (page[y, int(box.x0) - 1 : int(box.x0) + 3], page[y, int(box.x1) - 3 : int(box.x1) + 2],
                 page[int(box.y0) - 1 : int(box.y0) + 3, x], page[int(box.y1) - 3 : int(box.y1) + 2, x]):  # fmt: skip
        blue = np.array([round(255 * part) for part in to_rgb(canvas.RUNS[0])])
        away = np.abs(edge[:, :3] - blue).sum(axis=1)
        white = np.abs(edge[:, :3] - 255).sum(axis=1)
        assert ((away > 60) & (white > 30)).any(), edge


def test_the_ring_in_words(pools):
    words = figures.rings_alt(pools).replace("\u202f", " ")
    assert words.startswith("5 maps of a patch, step by step. Blue, clean: sees what the dense run sees; brown and")
    assert "4 (MaxPool2d): 12 100 of 12 544 cells clean, a ring 1 cell wide; 9 (MaxPool2d)" in words
    assert words.endswith("30 (MaxPool2d): 1 of 49 cells clean, a ring 3 cells wide.")
    mask = np.zeros((4, 6), bool)
    mask[1:, :4] = True
    words = figures.rings_alt({"pool": mask})
    assert words.endswith("12 of 24 cells clean, polluted 1 from the top, 2 from the right.")
    mask[0, 0] = True  # no rectangle, and no ring
    assert figures.rings_alt({"pool": mask}).endswith("13 of 24 cells clean.")
    for whole in (np.ones((3, 3), bool), np.zeros((3, 3), bool)):
        assert figures.rings_alt({"pool": whole}).endswith(f"{whole.sum()} of 9 cells clean.")
        assert painted(figures.rings({"pool": whole}).child_axes[0]) == whole.sum()


def test_measured_rings_blame_no_padding_for_what_may_be_rounding():
    masks = {"pool": np.eye(3, dtype=bool)}
    assert legend(figures.rings(masks)) == list(patch_rings.MEASURED)
    assert not any("padding" in words for words in (*patch_rings.MEASURED, figures.rings_alt(masks)))


def test_rings_are_drawn_into_the_axes_given(pools):
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5))
    assert figures.rings(pools, ax=right) is right
    assert len(right.child_axes) == 5 and not left.child_axes
    assert len(plt.get_fignums()) == 1 and figure.axes == [left, right]
    assert titles(right)[0] == "4 (MaxPool2d)\n12 100 of 12 544\ncells clean"
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in right.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_one_ring_is_one_panel(pools):
    ax = figures.rings(pools[3:4])
    assert titles(ax) == ["23 (MaxPool2d)\n64 of 196 cells clean"]
    assert len(ax.child_axes) == 1
    assert figures.rings_alt(pools[3:4]).startswith("A map of a patch. Blue, clean")


def test_no_ring_is_no_picture():
    with pytest.raises(InputError, match="no ring to draw"):
        figures.rings([])
    with pytest.raises(InputError, match="the map of pool is 9; a picture needs rows and columns of cells"):
        figures.rings({"pool": np.ones(9, bool)})


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(7, 7), (28, 40), (40, 3)])
def test_a_projector_shows_every_word_of_the_rings(number, shape):
    name = "backbone.$stages.0.blocks.11.downsample.convolution\n"
    ax = figures.rings({f"{name}{i}": np.ones(shape, bool) for i in range(number)})
    ax.figure.canvas.draw()
    page = ax.figure.bbox
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    for text in ax.figure.findobj(Text):
        if text.get_text() and text.get_visible() and not any(text in p.findobj(Text) for p in ax.child_axes):
            assert text.get_fontsize() >= 11, text
            box = text.get_window_extent()
            assert box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1, text


# What cells see


@pytest.fixture(scope="module")
def vgg():
    return geometry(trace(models.vgg16("conv"), (1, 3, 256, 320)))


@pytest.fixture(scope="module")
def nested(vgg):
    pooled = [step for step in vgg if step.kind == "MaxPool2d"]
    return [vgg.region(step.name) for step in (*pooled, vgg[-1])]


def boxes(ax, style) -> list[tuple[float, ...]]:
    """Left, top, right and bottom of the boxes drawn in a style."""
    found = [patch for patch in ax.patches if not patch.get_fill() and not patch.get_hatch()]
    return [tuple(patch.get_bbox().extents) for patch in found if (patch.get_linestyle() == "-") == (style == "-")]


def of_spans(spans) -> tuple[int, ...]:
    (top, bottom), (left, right) = spans
    return (left, top, right + 1, bottom + 1)


def test_the_box_of_a_cell_is_solid_in_the_image_and_dashed_where_it_goes_on_outside(nested):
    ax = figures.receptive_fields(nested)
    assert boxes(ax, "-") == [of_spans(region.clipped) for region in nested]
    assert boxes(ax, "--") == [of_spans(region.unclipped) for region in nested]
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    assert all(left <= x0 and x1 <= right and top <= y0 and y1 <= bottom for x0, y0, x1, y1 in boxes(ax, "--"))


def test_boxes_are_told_with_their_sizes_and_what_lies_outside(nested):
    entries = legend(figures.receptive_fields(nested))
    assert entries[-3] == "features.30, cell (4, 5): 212×212 pixels"
    assert entries[-2] == "classifier.6, cell (1, 2): 404×404 pixels, up to 90 outside the image"
    assert entries[-1] == fields.PADDING
    assert legend(figures.receptive_fields(nested[:2]))[-1].startswith("features.9")


def test_the_tint_is_on_the_pixels_that_are_read_and_shows_holes():
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, dilation=4, padding=4) for _ in range(2)))
    region = geometry(trace(net, (1, 1, 32, 40))).region(1, (3, 5))
    ax = figures.receptive_fields([region])
    assert np.array_equal(ax.images[0].get_array()[..., 3] > 0, region.pixels)
    assert legend(ax)[0] == "1, cell (3, 5): 17×17 pixels, up to 5 outside the image, 12 of 117 read"


def test_one_region_needs_no_list(nested):
    assert legend(figures.receptive_fields(nested[0])) == legend(figures.receptive_fields(nested[:1]))
    assert figures.receptive_fields_alt(nested[0]) == figures.receptive_fields_alt(nested[:1])


def test_a_box_shows_under_one_that_lies_on_its_edge(nested):
    ax = figures.receptive_fields([nested[0], nested[0], nested[1]])
    widths = [patch.get_linewidth() for patch in ax.patches if not patch.get_fill() and not patch.get_hatch()]
    assert widths[0] > widths[2] == widths[4]


def test_no_name_covers_pixels_between_holes():
    region = geometry(trace(nn.Conv2d(1, 1, 3, dilation=20), (1, 1, 60, 60))).region(0)
    ax = figures.receptive_fields(region)
    assert not ax.texts
    assert ax.images[0].get_array()[..., 3].max() > 0.5


def test_regions_lie_on_the_image_that_is_given(nested):
    image = np.random.default_rng(0).random((256, 320, 3))
    ax = figures.receptive_fields(nested, image=image)
    assert np.array_equal(ax.images[0].get_array(), image)
    assert ax.images[0].get_extent() == [0, 320, 256, 0]
    with pytest.raises(InputError, match="an image of 3×256×320 was given; the regions are of one of 256×320 pixels"):
        figures.receptive_fields(nested, image=image.transpose(2, 0, 1))


def test_regions_in_words(nested):
    words = figures.receptive_fields_alt(nested[-2:])
    assert words == (
        "2 boxes on an image of 256×320 pixels, what cells see of it. features.30, cell (4, 5): 212×212 pixels, "
        "rows 38–249, columns 70–281; classifier.6, cell (1, 2): 404×404 pixels, up to 90 outside the image, "
        "rows 0–255, columns 0–319."
    )


def test_a_cell_without_a_place_has_the_box_that_it_reads():
    found = geometry(trace(nn.AdaptiveAvgPool2d(7), (1, 1, 10, 12)))
    ax = figures.receptive_fields([found.region(0, (3, 3))])
    assert (boxes(ax, "-"), boxes(ax, "--")) == ([(5, 4, 7, 6)], [])
    nothing = geometry(trace(nn.ConvTranspose2d(1, 1, 1, 2), (1, 1, 4, 4))).region(0, (1, 1))
    assert legend(figures.receptive_fields([nothing])) == ["ConvTranspose2d, cell (1, 1): sees nothing"]
    assert figures.receptive_fields_alt([nothing]).endswith("sees nothing.")


def test_regions_of_several_images_are_no_picture(nested):
    other = geometry(trace(nn.Conv2d(1, 1, 3), (1, 1, 8, 8))).region(0)
    line = geometry(trace(nn.Conv1d(1, 1, 3), (1, 1, 8))).region(0)
    for regions, words in (
        [[], "no region to draw"],
        [[nested[0], other], "images 256×320, 8×8"],
        [[line], "images 8"],
    ):
        with pytest.raises(InputError, match=words):
            figures.receptive_fields(regions)


@pytest.fixture(scope="module")
def measured():
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(6))).double()
    return effective_field(net, torch.rand(3, 2, 24, 32, dtype=torch.float64), (3, 20))


def test_the_effective_field_is_painted_pixel_by_pixel_with_the_box_of_theory(measured):
    ax = figures.effective_field(measured)
    shares = np.asarray(ax.images[0].get_array())
    assert np.array_equal(shares, measured.values / measured.values.max())
    assert boxes(ax, "--") == [of_spans(measured.region.unclipped)]
    assert boxes(ax, "-") == [of_spans(measured.holding(fields.HELD))]
    assert legend(ax)[0] == "in theory: 5, cell (3, 20): 13×13 pixels, up to 3 outside the image"
    assert legend(ax)[1].startswith("95% of the sum: ")


def test_the_effective_field_in_words(measured):
    words, peak = figures.effective_field_alt(measured), np.argwhere(measured.values == measured.values.max())[0]
    assert "In theory: 5, cell (3, 20): 13×13 pixels, up to 3 outside the image, rows 0–9, columns 14–26." in words
    assert words.endswith(f"the darkest pixel is row {peak[0]}, column {peak[1]}.")


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("cell", [(0, 0), (15, 3), None])
def test_a_projector_shows_every_word_of_the_fields(style, cell):
    with plt.style.context(style):
        net = nn.Sequential()
        net.add_module("backbone$stages_0_blocks_11_downsample_convolution", nn.Conv2d(1, 1, 9, dilation=5, padding=30))
        found = geometry(trace(net, (1, 1, 16, 90)))
        drawn = [figures.receptive_fields([found.region(0, cell)] * 3)]
        drawn.append(figures.effective_field(effective_field(net, torch.rand(1, 1, 16, 90), cell)))
    for ax in drawn:
        ax.figure.canvas.draw()
        page = ax.figure.bbox
        for text in ax.figure.findobj(Text):
            if text.get_text() and text.get_visible():
                assert text.get_fontsize() >= 11, text
                box = text.get_window_extent()
                assert box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1, text


def test_names_on_boxes_cover_no_other_name(nested):
    ax = figures.receptive_fields([*nested, *nested])
    ax.figure.canvas.draw()
    spots = [text.get_window_extent() for text in ax.texts]
    assert len(spots) >= 3
    assert not any(one.overlaps(other) for one, other in itertools.combinations(spots, 2))


def test_fields_are_drawn_into_the_axes_given(nested, measured):
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5))
    assert figures.receptive_fields(nested, ax=left) is left
    assert figures.effective_field(measured, ax=right) is right
    assert len(plt.get_fignums()) == 1 and figure.axes[:2] == [left, right]


# Colours, as eyes without one kind of cone see them (Machado, Oliveira and Fernandes 2009, severity 1)

SIGHT = {
    "trichromat": np.eye(3),
    "deuteranope": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "protanope": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "tritanope": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    linear = np.clip(sight @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ linear / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("stops", range(1, sizes.MOST_STOPS + 1))
def test_no_two_colours_look_alike(sight, stops):
    runs, ramp = figures.colours(2, stops)
    seen = {colour: lab(colour, SIGHT[sight]) for colour in (*runs, *ramp, sizes.OPEN)}
    for one, other in itertools.combinations(seen, 2):
        far = 20 if (one in runs) != (other in runs) else 9
        assert np.linalg.norm(seen[one] - seen[other]) >= far, (one, other)


@pytest.mark.parametrize("sight", SIGHT)
def test_a_box_is_not_taken_for_the_next_one(sight):
    seen = [lab(colour, SIGHT[sight]) for colour in fields.BOXES]
    for one, other in itertools.pairwise([*seen, seen[0]]):
        assert np.linalg.norm(one - other) >= 20


@pytest.mark.parametrize("sight", SIGHT)
def test_later_refusals_are_lighter_to_every_eye(sight):
    _, ramp = figures.colours(1, 7)
    light = [lab(colour, SIGHT[sight])[0] for colour in ramp]
    assert light == sorted(light)


def test_words_can_be_read_on_their_colour():
    for colour in (*canvas.RUNS, *figures.colours(1, 7)[1], sizes.OPEN):
        ink, paper = lab(canvas.ink(colour), np.eye(3))[0], lab(colour, np.eye(3))[0]
        light, dark = (
            ((max(one, other) + 16) / 116) ** 3 + 0.05 for one, other in ((ink, paper), (0, min(ink, paper)))
        )
        assert light / dark >= 4.5, colour


def test_the_package_does_not_load_matplotlib_and_the_views_load_neither_torch_nor_the_law():
    code = "import sys, fcnviz; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = (
        "import sys, types; sys.modules['fcnviz'] = types.ModuleType('fcnviz'); "
        "sys.modules['fcnviz'].__path__ = ['fcnviz']; import fcnviz.figures, fcnviz.lawtable; "
        "assert not {'torch', 'fcnviz.law', 'fcnviz.symbolic', 'sympy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

"""Where cells lie and what they see: torch's gradients are the judge of every region."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nets import Call, Functional, Gallery, Residual, SmallFcn, Sum, UNet
from random_nets import random_net
from torch import Tensor, nn

from fcnviz import models, trace
from fcnviz.coordinates import PIXELS, Span, crop_offset
from fcnviz.errors import GeometryError, InputError
from fcnviz.geometry import Geometry, geometry
from fcnviz.patches import caffe_alexnet, without_padding

NOISE = 1e-12  # of the largest gradient: bilinear weights that are 0 come out as 1e-17


def read_by(net: nn.Module, image: Tensor, cell: tuple[int, ...]) -> np.ndarray:
    """The pixels on which one cell of the output depends, all channels together."""
    x = image.detach().requires_grad_()
    out = net(x)
    place = (0, slice(None), *cell) if out.dim() == image.dim() else (0,)
    (gradient,) = torch.autograd.grad(out[place].sum(), x, allow_unused=True)
    found = torch.zeros_like(x) if gradient is None else gradient.abs()
    return (found > NOISE * found.max())[0].any(0).numpy()


def box(pixels: np.ndarray) -> tuple[tuple[int, int], ...] | None:
    where = np.argwhere(pixels)
    return tuple(zip(where.min(0).tolist(), where.max(0).tolist(), strict=True)) if len(where) else None


def mirrors(net: nn.Module) -> bool:
    """True if cells before and after a map are other cells of it, which lie elsewhere."""
    modes = [layer.padding_mode for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    return any(mode != "zeros" for mode in modes) or any(getattr(one, "mirrors", False) for one in net.calls)


def of(net: nn.Module, *shape: int) -> Geometry:
    return geometry(trace(net, shape))


def call(function) -> nn.Module:
    return Call(function).double()


# Regions against gradients


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("seeds", [range(first, first + 25) for first in range(0, 400, 25)], ids=str)
def test_a_cell_depends_on_the_pixels_of_its_region_and_on_no_other(seeds):
    for seed in seeds:
        net, image = random_net(seed)
        found = of(net, *image.shape)
        size, draw = found[-1].size, random.Random(seed)
        for _ in range(3):
            cell = tuple(draw.randrange(n) for n in size)
            region, pixels = found.region(-1, cell), read_by(net, image, cell)
            assert np.array_equal(region.pixels, pixels), (seed, cell)
            assert region.clipped == box(pixels), (seed, cell)
            if region.unclipped and region.clipped and not mirrors(net):  # a map never gives more than an endless one
                outer = [(max(0, a), min(n - 1, b)) for (a, b), n in zip(region.unclipped, found.image, strict=True)]
                assert all(a <= c and d <= b for (a, b), (c, d) in zip(outer, region.clipped, strict=True)), seed


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_many_random_nets_are_placed_many_are_not_and_some_leave_holes():
    """What the test above has to tell apart does occur."""
    placed = unplaced = holes = small = 0
    for seed in range(0, 400, 4):
        net, image = random_net(seed)
        found = of(net, *image.shape)
        region = found.region(-1)
        placed, unplaced = placed + (region.unclipped is not None), unplaced + (region.unclipped is None)
        small += region.pixels.mean() < 0.5
        if region.clipped:
            holes += not region.pixels[tuple(slice(int(a), int(b) + 1) for a, b in region.clipped)].all()
    assert min(placed, unplaced) > 20
    assert small > 30
    assert holes > 3


PADDED = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.AvgPool2d(2), nn.Conv2d(1, 1, 5, padding=2), nn.AvgPool2d(2))


def test_inside_a_large_image_a_cell_reads_its_whole_field():
    net = PADDED.double()
    for weight in net.parameters():
        nn.init.ones_(weight)
    found = of(net, 1, 1, 60, 64)
    region = found.region(-1, (7, 8))
    assert region.unclipped == region.clipped
    assert [span.size for span in region.clipped] == [p.field for p in found[-1].placements]
    assert box(read_by(net, torch.rand(1, 1, 60, 64, dtype=torch.float64), (7, 8))) == region.clipped


def test_at_the_border_the_region_reaches_outside_the_image_and_is_clipped():
    region = of(PADDED, 1, 1, 60, 64).region(-1, (0, 0))
    assert region.unclipped[0].first == -of(PADDED, 1, 1, 60, 64)[-1].placements[0].effective_padding < 0
    assert region.clipped[0].first == 0


@pytest.mark.parametrize("mode", ["nearest", "linear", "corners", "area"])
def test_interpolation_to_any_size_reads_what_torch_reads(mode):
    words = {"mode": "linear", "align_corners": mode == "corners"} if mode in ("linear", "corners") else {"mode": mode}
    for n in (1, 2, 3, 5, 8, 13):
        for m in range(1, 20):
            net, image = call(lambda x, m=m: F.interpolate(x, size=m, **words)), torch.rand(1, 1, n).double()
            found = of(net, 1, 1, n)
            for cell in range(m):
                assert np.array_equal(found.region(0, (cell,)).pixels, read_by(net, image, (cell,))), (n, m, cell)


def test_nearest_exact_differs_from_torch_only_where_float32_meets_a_tie():
    for n in (4, 6, 12, 14):
        for m in (5, 9, 23, 37):
            net, image = call(lambda x, m=m: F.interpolate(x, size=m, mode="nearest-exact")), torch.rand(1, 1, n)
            found = of(net, 1, 1, n)
            for cell in range(m):
                ours = np.flatnonzero(found.region(0, (cell,)).pixels)[0]
                theirs = np.flatnonzero(read_by(net, image.double(), (cell,)))[0]
                assert ours == theirs or ((2 * cell + 1) * n % (2 * m) == 0 and ours == theirs + 1), (n, m, cell)


def test_a_scale_that_leaves_the_size_as_it_was_copies():
    net = call(lambda x: F.interpolate(x, scale_factor=1.1, mode="linear"))
    assert of(net, 1, 1, 5)[0].placements == (PIXELS,)


def test_bicubic_reads_four_cells_along_each_axis():
    net = call(lambda x: F.interpolate(x, size=(9, 11), mode="bicubic"))
    found, image = of(net, 1, 1, 6, 7), torch.rand(1, 1, 6, 7).double()
    for cell in ((0, 0), (4, 5), (8, 3)):
        assert np.array_equal(found.region(0, cell).pixels, read_by(net, image, cell))
    assert found.region(0, (4, 4)).pixels.sum() in (4, 16)


def test_volumes_and_lines_have_their_own_axes():
    volume = of(nn.Conv3d(1, 1, (1, 3, 5)), 1, 1, 4, 8, 9)[0]
    assert [(axis.name, axis.placement.field) for axis in volume.axes] == [("D", 1), ("H", 3), ("W", 5)]
    assert [axis.name for axis in of(nn.Conv1d(1, 1, 3), 1, 1, 9)[0].axes] == ["L"]


# Numbers that people ask for


@pytest.fixture(scope="module")
def vgg():
    return of(models.vgg16("conv"), 1, 3, 224, 224)


def test_vgg16s_fc6_sees_404_pixels_every_32(vgg):
    fc6 = next(step for step in vgg if step.size == (1, 1) and step.kind == "Conv2d")
    assert [(p.field, p.jump) for p in fc6.placements] == [(404, 32)] * 2


def test_a_linear_lies_where_the_convolution_that_it_is_lies(vgg):
    linear = of(models.vgg16(), 1, 3, 224, 224)
    assert linear[-1].placements == vgg[-1].placements
    assert linear.region(-1).unclipped == vgg.region(-1).unclipped


def test_vgg16s_pool5_begins_90_pixels_outside_the_image(vgg):
    pool5 = [step for step in vgg if step.kind == "MaxPool2d"][-1]
    assert [p.effective_padding for p in pool5.placements] == [90, 90]


def test_caffes_alexnet_sees_355_pixels():
    found = of(caffe_alexnet(), 1, 3, 500, 500)
    assert [(p.field, p.jump) for p in found[-1].placements] == [(355, 32)] * 2
    assert found[-1].size == (10, 10)


class Padded(nn.Module):
    """VGG16's windows with few channels, `pad` at the first, and the 64/32 upsampling, not cut yet."""

    def __init__(self, pad: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, convolutions in enumerate((2, 2, 3, 3, 3)):
            for i in range(convolutions):
                layers.append(nn.Conv2d(1, 1, 3, padding=1 if number or i else pad))
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features, self.fc6 = nn.Sequential(*layers), nn.Conv2d(1, 1, 7)
        self.upscore = nn.ConvTranspose2d(1, 1, 64, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.upscore(self.fc6(self.features(x)))


@pytest.mark.parametrize("pad", [85, 99, 100, 150])
def test_the_offset_of_fcn_32s_is_its_pad_less_81(pad):
    assert [crop_offset(p, PIXELS) for p in of(Padded(pad), 1, 1, 260, 300)["upscore"].placements] == [pad - 81] * 2


def test_a_crop_in_the_forward_brings_the_map_back_onto_the_image():
    found = of(SmallFcn(ceil=True), 1, 3, 97, 130)
    assert [(p.jump, p.start) for p in found["upscore"].placements] == [(1, -19), (1, -19)]
    assert [(p.jump, p.start) for p in found[-1].placements] == [(1, 0), (1, 0)]


@pytest.mark.parametrize("shift", [1, 16, 31, 32, 33, 64])
def test_a_shift_moves_the_pad_free_net_by_whole_cells_if_the_geometry_says_so(shift):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    for _ in range(4):
        layers += [nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    net = without_padding(nn.Sequential(*layers)).double()
    image = torch.rand(1, 3, 260, 300, dtype=torch.float64)
    cells = shift / of(net, *image.shape)[-1].placements[1].jump
    one, other = net(image), net(image[..., shift:])
    k = round(float(cells))
    width = min(one.shape[-1] - k, other.shape[-1])
    assert torch.equal(one[..., k : k + width], other[..., :width]) == (cells.denominator == 1)


# Branches


def test_branches_that_meet_lie_on_each_other():
    found = of(UNet(), 1, 3, 32, 48)
    assert all(step.axes and step.placements for step in found)
    assert found[-1].placements[0].jump == 1
    assert of(Residual(), 1, 8, 9, 9)["add"].placements[0].field == 3


def test_branches_that_do_not_meet_tell_the_crop():
    cut = Call(lambda x: F.pad(x, (3, 0, 3, 0)) + F.pad(x, (0, 3, 0, 3)))
    axis = of(cut, 1, 1, 12, 12)["add"].axes[0]
    assert axis.offset == 3
    assert axis.reason == "pad begins 3 cells before pad#2: cut 3 cells from the start of pad"
    mended = Call(lambda x: F.pad(x, (3, 0, 3, 0))[..., 3:, 3:] + x)
    assert of(mended, 1, 1, 12, 12)["add"].placements == (PIXELS, PIXELS)


def test_the_crop_that_is_told_makes_them_meet():
    branch = nn.Sequential(nn.Conv2d(1, 1, 4, 2, 3), nn.ConvTranspose2d(1, 1, 6, 2))
    apart = Call(lambda x: branch(x)[..., : x.shape[2], : x.shape[3]] + x)
    offset = of(apart, 1, 1, 16, 18)["add"].axes[0].offset
    k = int(offset)
    assert k == offset > 0
    met = Call(lambda x: branch(x)[..., k : k + x.shape[2], k : k + x.shape[3]] + x)
    assert of(met, 1, 1, 16, 18)["add"].placements[0].start == 0


def test_half_a_cell_is_no_crop():
    found = of(Sum(nn.AvgPool2d(2), nn.Conv2d(1, 1, 1, 2)), 1, 1, 8, 8)
    axis = found["add"].axes[0]
    assert (axis.offset, axis.placement) == (-1 / 4, None)
    assert axis.reason == "one and other lie 1/4 of a cell apart, which no cut mends"


def test_maps_of_other_strides_do_not_meet():
    found = of(Sum(nn.AvgPool2d(2), Call(lambda x: x[..., :4, :4])), 1, 1, 8, 8)
    assert found["add"].axes[0].reason == "cells of one are 2 pixels apart, those of other.getitem 1"
    assert found["add"].axes[0].offset is None


def test_halves_put_together_again_lie_where_they_lay():
    assert of(Call(lambda x: torch.cat(x.chunk(2, 3), 3)), 1, 2, 8, 8)["cat"].placements == (PIXELS, PIXELS)
    swapped = of(Call(lambda x: torch.cat(x.chunk(2, 3)[::-1], 3)), 1, 2, 8, 8)["cat"]
    assert [axis.placement for axis in swapped.axes] == [PIXELS, None]


# What has no place, and why


def test_uneven_adaptive_pooling_has_no_jump_and_exact_regions():
    found = of(nn.Sequential(nn.AdaptiveAvgPool2d(7), nn.ReLU()), 1, 1, 10, 14)
    rows, columns = found[0].axes
    assert rows.reason == "10 cells into 7 are windows of 2 or 3 cells, 1 or 2 apart: they have no one jump"
    assert (columns.placement.jump, columns.placement.field) == (2, 2)
    assert found[1].axes[0].reason == "comes after 0"
    region = found.region(1, (3, 6))
    assert region.unclipped is None
    assert region.clipped == (Span(4, 5), Span(12, 13))


def test_even_adaptive_pooling_is_the_pooling_that_it_is():
    placed = of(nn.AdaptiveAvgPool2d((7, 1)), 1, 1, 8, 9)[0].placements
    assert placed == (PIXELS.window(2), PIXELS.window(9))


REASONS = [
    (nn.Sequential(nn.Unfold(3), nn.ReLU()), "which cells Unfold reads is not known"),
    (Call(lambda x: x.flip(3)), "it turns a map round, which no jump says"),
    (Call(lambda x: x.roll(1, 3)), "it moves cells round the edge, which no jump says"),
    (Call(lambda x: x.cumprod(2)), "each cell is a product of those before it"),
    (Call(lambda x: F.interpolate(x, 3, mode="bilinear", antialias=True)), "antialiased interpolation"),
    (Call(lambda x: x.flatten(2)[..., 1:]), "it cuts a flattened map"),
    (nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 4, 3)), "a window slides over a flattened map"),
    (Call(lambda x: x + x.transpose(2, 3)), "one axis of the image lies along different axes"),
    (Call(lambda x: x.reshape(1, 4, 2, 32)), "(1, 4, 8, 8) as (1, 4, 2, 32) divides an axis of the image"),
]


@pytest.mark.parametrize(("net", "words"), REASONS, ids=[words for _, words in REASONS])
def test_what_cannot_be_followed_says_why_and_gives_no_region(net, words):
    found = of(net, 1, 4, 8, 8)
    reasons = [step.reason for step in found if step.reason]
    assert words in reasons[0]
    with pytest.raises(GeometryError, match="has no regions: "):
        found.region(-1)
    with pytest.raises(GeometryError, match="has no place on the image: "):
        _ = found[-1].placements


def test_steps_after_one_without_a_place_name_it():
    found = of(nn.Sequential(nn.Unfold(3), nn.ReLU(), nn.Dropout()), 1, 4, 8, 8)
    assert [step.reason for step in found][1:] == ["comes after 0", "comes after 0"]


def test_numbers_that_change_their_shape_and_come_back_have_not_moved():
    found = of(Gallery(), 1, 3, 32, 48)
    assert found["reshape"].placements == (PIXELS, PIXELS)
    assert found["stack"].placements == (PIXELS, PIXELS)


@pytest.mark.parametrize(
    "net",
    [
        nn.GroupNorm(2, 4),
        nn.LayerNorm([4, 8, 8]),
        nn.Softmax(dim=3),
        nn.InstanceNorm2d(4),
        nn.BatchNorm2d(4, track_running_stats=False),
        Call(lambda x: F.batch_norm(x, None, None, training=True)),
        Call(lambda x: x * x.mean((2, 3), keepdim=True)),
    ],
)
def test_a_cell_that_sees_all_lies_where_it_lay(net):
    found = of(net, 1, 4, 8, 8)
    assert [(p.jump, p.start) for p in found[-1].placements] == [(1, 0), (1, 0)]
    assert found[-1].placements[1].shared == Span(0, 7)
    image, region = torch.rand(1, 4, 8, 8).double(), found.region(-1, (2, 3))
    weights = torch.rand(4).double()

    def weighted(x: Tensor) -> Tensor:
        return (net.double()(x) ** 2 * weights[:, None, None]).sum(1, keepdim=True)  # sums alone could cancel

    assert np.array_equal(region.pixels, read_by(Call(weighted), image, (2, 3)))


def test_batch_norm_in_eval_mode_reads_one_cell_and_in_training_all():
    norm = nn.BatchNorm2d(4)
    assert of(norm, 1, 4, 8, 8)[0].placements == (PIXELS, PIXELS)
    trained = geometry(trace(norm.train(), (1, 4, 8, 8), as_is=True))
    assert trained[0].placements[0].shared == Span(0, 7)


def test_a_gate_keeps_jump_and_start_for_all_that_comes_after():
    stem = nn.Conv2d(4, 4, 3, 2, 1)
    gated = Call(lambda x: x * x.mean((2, 3), keepdim=True).sigmoid())
    found = of(nn.Sequential(stem, gated, nn.Conv2d(4, 4, 3, 2, 1)), 1, 4, 16, 18)
    assert [(p.jump, p.start) for p in found[-1].placements] == [(4, 0), (4, 0)]
    assert found[-1].placements[0].region(0) == Span(-3, 15) and found[-1].placements[0].shared == Span(-1, 15)
    assert found.region(-1, (0, 0)).pixels.all()


@pytest.mark.parametrize("mode", ["bilinear", "corners", "nearest"])
def test_one_cell_enlarged_to_a_map_meets_it_without_a_crop(mode):
    """A global branch, as ASPP has one."""
    words = {"mode": "bilinear", "align_corners": mode == "corners"} if mode != "nearest" else {"mode": mode}

    def joined(x: Tensor) -> Tensor:
        return torch.cat(
            [F.avg_pool2d(x, 3, 1, 1), F.interpolate(F.adaptive_avg_pool2d(x, 1), size=x.shape[2:], **words)], 1
        )

    found = of(Call(joined), 1, 2, 13, 12)
    assert [(p.jump, p.start, p.shared.size) for p in found[-1].placements] == [(1, 0, 13), (1, 0, 12)]
    assert found["interpolate"].axes[0].reason == "one cell is spread over the map"
    assert np.array_equal(
        found.region(-1, (2, 3)).pixels, read_by(Call(joined), torch.rand(1, 2, 13, 12).double(), (2, 3))
    )


def written_rows(x: Tensor) -> Tensor:
    y = 2 * x
    y[:, :, 0:2] = x[:, :, 5:7]
    return y


def moved_into_zeros(x: Tensor) -> Tensor:
    y = torch.zeros(1, 2, 10, 11, dtype=x.dtype)
    y[:, :, 1:-1, 2:-1] = x
    return y


def spread_out(x: Tensor) -> Tensor:
    y = torch.zeros(1, 2, 16, 8, dtype=x.dtype)
    y[:, :, ::2] = x
    return y


def written_channel(x: Tensor) -> Tensor:
    y = 2 * x
    y[:, :1, 2:] = x[:, 1:, :-2]
    return y


@pytest.mark.parametrize("write", [written_rows, moved_into_zeros, spread_out], ids=lambda f: f.__name__)
def test_cells_that_are_written_read_what_is_written_and_others_what_was_there(write):
    found, image = of(Call(write), 1, 2, 8, 8), torch.rand(1, 2, 8, 8).double()
    for cell in np.ndindex(found[-1].size):
        assert np.array_equal(found.region(-1, cell).pixels, read_by(Call(write), image, cell)), cell


def through_a_part(x: Tensor) -> Tensor:
    y = 2 * x
    y[:, :, 1:].add_(x[:, :, :-1])
    return y + 1


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (written_channel, "it writes over a part of a map, and no axis alone tells"),
        (through_a_part, "it reads a map of which a part was written in place"),
    ],
    ids=["channel", "part"],
)
def test_what_is_written_and_cannot_be_followed_says_so(write, words):
    with pytest.raises(GeometryError, match=words):
        of(Call(write), 1, 2, 8, 8).region(-1)


def test_many_norms_over_the_map_take_no_time_for_each_pair_of_cells():
    found = of(nn.Sequential(*(nn.GroupNorm(1, 1) for _ in range(4))), 1, 1, 3000, 2)
    readings = [reading for way in found._found[(0, 0)].ways for reading in way.readings]
    assert [len(set(reading.cells(5))) for reading in readings] == [1, 1]
    assert found.region(-1).pixels.all()


def test_a_geometry_can_be_stored():
    found = of(UNet(), 1, 3, 32, 48)
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert np.array_equal(again.region(-1).pixels, found.region(-1).pixels)


def test_a_placement_a_region_and_a_span_are_read_in_a_line():
    found = of(nn.Conv2d(1, 1, 3, padding=1, dilation=2), 1, 1, 8, 9)
    assert str(found[0].placements[0]) == "cells 1 pixel apart, the first at 1; each sees 5 pixels"
    assert str(found.region(0, (0, 4))) == (
        "Conv2d, cell (0, 4): pixels 1…3 × 3…7 (3×5), 6 of them read; if the image had no end, pixels −1…3 × 3…7 (5×5)"
    )
    assert repr(Span(-1, 3)) == "Span(-1, 3)"


def test_tensors_without_pixels_move_no_cell():
    positions = torch.rand(1, 1, 6, 6)
    net = Call(lambda x, y: x + y + positions + torch.zeros_like(x))
    assert geometry(trace(net, (1, 1, 6, 6), (1, 1, 6, 6)))[-1].placements == (PIXELS, PIXELS)
    assert of(Call(lambda x: torch.zeros_like(x)), 1, 1, 6, 6)[0].reason == "it sees no pixel of the image"


def test_layers_on_tokens_keep_their_cells_apart():
    """A patch embedding: rows and columns share an axis, and only what mixes it is refused."""
    net = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(2), Call(lambda x: x.transpose(1, 2)), nn.LayerNorm(8))
    found = of(nn.Sequential(*net, nn.Linear(8, 5)), 1, 3, 16, 24)
    assert [(p.jump, p.field) for p in found[-1].placements] == [(4, 4), (4, 4)]
    assert found.region(-1, (1, 2)).clipped == (Span(4, 7), Span(8, 11))
    back = of(
        nn.Sequential(*net, Call(lambda x: x.transpose(1, 2).unflatten(2, (4, 6))), nn.Conv2d(8, 1, 2)), 1, 3, 16, 24
    )
    assert [(p.jump, p.field) for p in back[-1].placements] == [(4, 8), (4, 8)]
    assert back[-1].size == (3, 5)


def test_a_trace_that_failed_is_placed_up_to_the_failure():
    found = of(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 2)), 1, 3, 8, 8)
    assert (found[1].reason, found[2].reason) == ("", "it failed")


def test_functional_calls_are_placed_like_layers():
    found = of(Functional(), 1, 3, 32, 48)
    assert [(p.jump, p.start, p.field) for p in found[-1].placements] == [(1, 0.5, 17)] * 2


def test_what_is_no_image_is_refused():
    with pytest.raises(InputError, match="the first input is 1×9; an image N×C×H×W has cells to place"):
        of(nn.Linear(9, 2), 1, 9)


def test_a_cell_that_is_not_there_is_refused():
    found = of(nn.MaxPool2d(2), 1, 1, 8, 8)
    for cell in ((4, 0), (-1, 0), (1,), 5, "ab", (1.5, 0)):
        with pytest.raises(InputError, match=r"there are 4×4, from 0"):
            found.region(0, cell)
    with pytest.raises(KeyError, match="no step is named 'pool5'; there are"):
        found["pool5"]
    for step in ("pool5", 9, None):
        with pytest.raises(InputError, match=f"step {step!r} was asked for; there are 1 steps: MaxPool2d"):
            found.region(step)


@pytest.mark.parametrize("given", [None, nn.ReLU(), (1, 3, 8, 8)], ids=str)
def test_what_is_no_trace_is_refused_with_the_way(given):
    with pytest.raises(InputError, match=r"it reads a trace: geometry\(trace\(model"):
        geometry(given)

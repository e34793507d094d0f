"""Coordinate maps on one axis: they compose exactly, and a transposed convolution undoes the convolution."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcnviz.coordinates import (
    LONGEST_PERIOD,
    PIXELS,
    SAME,
    Placement,
    Reading,
    Span,
    copying,
    crop_offset,
    cropping,
    joined,
    resizing,
    transposing,
    windowed,
)
from fcnviz.errors import GeometryError, WindowError

WINDOWS = st.builds(
    dict,
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.integers(0, 5),
    dilation=st.integers(1, 3),
)
LAYERS = st.lists(st.tuples(st.booleans(), WINDOWS), max_size=4)


def composed(layers):
    place = PIXELS
    for up, window in layers:
        place = place.transposed(**window) if up else place.window(**window)
    return place


def seen(layers, cell):
    """The same by brute force: the pixels that a cell reads, layer by layer backwards."""
    cells = {cell}
    for up, window in reversed(layers):
        reading = (transposing if up else windowed)(**window)
        cells = {read for one in cells for read in reading.cells(one)}
    return cells


def trunk(pad, upsampling=()):
    """VGG16 with `pad` at its first convolution, and the maps after each pool."""
    place, pools = PIXELS, []
    for number, convolutions in enumerate((2, 2, 3, 3, 3)):
        for i in range(convolutions):
            place = place.window(3, padding=1 if number or i else pad)
        place = place.window(2, stride=2)
        pools.append(place)
    return pools


@given(LAYERS, st.integers(-40, 40))
def test_the_region_of_a_cell_is_what_it_reads_layer_by_layer(layers, cell):
    pixels, region = seen(layers, cell), composed(layers).region(cell)
    assert region == (Span(min(pixels), max(pixels)) if pixels else None)


@given(WINDOWS)
def test_a_transposed_convolution_is_the_inverse_map(window):
    there_and_back = PIXELS.window(**window).transposed(**window)
    assert (there_and_back.jump, there_and_back.start) == (1, 0)


@given(WINDOWS, st.integers(-30, 30))
def test_what_a_cell_reads_forwards_it_writes_backwards(window, cell):
    for read in windowed(**window).cells(cell):
        assert cell in set(transposing(**window).cells(read))


@given(LAYERS, st.integers(-5, 5))
def test_the_offset_of_a_cut_map_is_what_was_cut(layers, offset):
    place = composed(layers)
    assert crop_offset(place, place.crop(offset)) == offset
    assert crop_offset(place.crop(offset), place) == -offset
    assert joined(place, place.crop(offset).crop(-offset)) == place


@given(LAYERS)
def test_cells_that_see_alike_are_kept_once(layers):
    place = composed(layers)
    n = len(place.reach)
    assert not any(n % k == 0 and place.reach == place.reach[:k] * (n // k) for k in range(1, n))


def test_vgg16_sees_404_pixels_every_32_and_begins_90_outside():
    pool5 = trunk(1)[-1]
    fc6 = pool5.window(7)
    assert (pool5.effective_padding, fc6.field, fc6.jump) == (90, 404, 32)


@pytest.mark.parametrize("pad", [0, 1, 81, 99, 100, 130])
def test_crops_of_the_fcns_follow_from_the_maps(pad):
    *_, pool3, pool4, pool5 = trunk(pad)
    fc6 = pool5.window(7)
    assert crop_offset(fc6.transposed(64, stride=32), PIXELS) == pad - 81
    up2 = fc6.transposed(4, stride=2)
    assert crop_offset(pool4, up2) == 5
    assert crop_offset(up2.transposed(32, stride=16), PIXELS) == pad - 73
    up4 = up2.transposed(4, stride=2)
    assert crop_offset(pool3, up4) == 9
    assert crop_offset(up4.transposed(16, stride=8), PIXELS) == pad - 69


def test_phases_of_a_transposed_convolution_differ():
    place = PIXELS.window(3, stride=2, padding=1).transposed(3, stride=2, padding=1)
    assert place.fields == (3, 5)  # even cells read one cell of the coarse map, odd ones two
    assert place.field == 5


def test_cells_that_nothing_is_written_to_see_nothing():
    place = PIXELS.transposed(1, stride=2)
    assert (place.fields, place.region(1), place.region(2)) == ((1, 0), None, Span(1, 1))
    assert PIXELS.transposed(1, stride=2, padding=1).effective_padding is None
    assert place.window(2).fields == (1, 1)  # of two neighbours one sees a pixel


def test_maps_that_do_not_lie_on_each_other_are_not_joined():
    with pytest.raises(GeometryError, match=r"their cells are -9/4 cells apart \(-9/2 pixels\)"):
        joined(PIXELS.window(1, stride=2), PIXELS.window(4, stride=2).crop(-3))
    with pytest.raises(GeometryError, match="cells 2 pixels apart were to lie on cells 3 apart"):
        crop_offset(PIXELS.window(1, stride=2), PIXELS.window(1, stride=3))


def test_joined_cells_see_what_both_saw():
    both = joined(PIXELS.window(5, padding=2), PIXELS.window(2).window(2, padding=1))
    assert both.region(10) == Span(8, 12)
    assert joined(PIXELS, PIXELS.window(2, stride=2).transposed(2, stride=2)).fields == (2, 2)


@given(st.integers(1, 12), st.integers(1, 12))
def test_resizing_to_and_fro_comes_back(n, m):
    there = resizing(Fraction(n, m), Fraction(n - m, 2 * m), 2)
    back = resizing(Fraction(m, n), Fraction(m - n, 2 * n), 2)
    place = PIXELS.read(there).read(back)
    assert (place.jump, place.start) == (1, 0)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(-20, 20))
def test_a_copy_lies_within_half_a_cell_of_what_it_copies_on_the_average(n, m, i):
    reading = copying(Fraction(n, m))
    off = [reading.shift + reading.step * (i + k) - min(reading.cells(i + k)) for k in range(reading.step.denominator)]
    assert sum(off) == 0


@pytest.mark.parametrize(
    ("beyond", "read"),
    [("nothing", {0, 1}), ("replicate", {0, 1}), ("reflect", {0, 1, 2}), ("circular", {0, 1, 3, 4})],
)
def test_padding_reads_what_its_mode_says(beyond, read):
    reading = windowed(4, padding=2)
    assert Reading(reading.cells, beyond=beyond).within(0, 5) == read


@pytest.mark.parametrize(
    ("window", "words"),
    [({"kernel": 0}, "kernel 0, stride 1 and dilation 1 were asked for"), ({"kernel": 3, "stride": 0}, "stride 0")],
)
def test_windows_that_torch_refuses_are_refused(window, words):
    for place in (PIXELS.window, PIXELS.transposed):
        with pytest.raises(WindowError, match=words):
            place(**window)


def test_what_has_no_place_says_why():
    with pytest.raises(GeometryError, match="a cut of 1/2 cells was asked for"):
        PIXELS.crop(Fraction(1, 2))
    with pytest.raises(GeometryError, match="windows of 1 or 2"):
        PIXELS.read(Reading(lambda cell: (), reason="windows of 1 or 2"))
    with pytest.raises(GeometryError, match="cells 0 apart with 1 fields"):
        Placement(Fraction(0), Fraction(0), PIXELS.reach)
    late = resizing(Fraction(1, LONGEST_PERIOD + 1), Fraction(0), 2)
    with pytest.raises(GeometryError, match=f"see alike only every {LONGEST_PERIOD + 1} cells"):
        PIXELS.read(late)


def test_reading_each_cell_itself_changes_nothing():
    place = PIXELS.window(3, stride=2).transposed(5, stride=3)
    assert place.read(SAME) == place == place.read(cropping(0))

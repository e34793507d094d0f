"""Where 7×7 cells become one answer is told for both networks, and a forward pass at each end agrees."""

import functools

import pytest
from torch import nn

from fcnviz import models, trace
from fcnviz.errors import InputError
from fcnviz.modes import Mode, Modes, modes

NETS: dict[str, tuple[nn.Module, str, str]] = {
    "VGG16": (models.vgg16("conv"), "features.30", "classifier.0"),
    "FCN-32s": (models.fcn32s(), "pool5", "fc6"),
}


@functools.cache
def asked() -> Modes:
    return modes()


def cells(network: str, size: int) -> tuple[int, int]:
    net, pool, fc6 = NETS[network]
    found = trace(net, (1, 3, size, size))
    return found[pool].output_shape[2], found[fc6].output_shape[2]


def test_each_range_ends_where_a_pass_makes_another_map() -> None:
    for mode in asked().each:
        want = mode.before, mode.after
        assert cells(mode.network, mode.first) == cells(mode.network, mode.last) == want == (mode.after + 6, mode.after)
        assert cells(mode.network, mode.last + 1) != want
        least = 1 if mode.network == "FCN-32s" else 224  # below, VGG16 refuses
        assert mode.first == least or cells(mode.network, mode.first - 1) != want


def test_the_two_are_labelled_by_their_network_and_its_padding() -> None:
    assert asked().each == (
        Mode("VGG16", 1, 7, 1, 224, 255),
        Mode("VGG16", 1, 8, 2, 256, 287),
        Mode("FCN-32s", 100, 7, 1, 1, 26),
        Mode("FCN-32s", 100, 8, 2, 27, 58),
    )
    rows = [line.split() for line in str(asked()).splitlines()[2:]]
    assert rows == [
        ["VGG16", "1", "7×7", "1×1", "224", "…", "255"],
        ["VGG16", "1", "8×8", "2×2", "256", "…", "287"],
        ["FCN-32s", "100", "7×7", "1×1", "1", "…", "26"],
        ["FCN-32s", "100", "8×8", "2×2", "27", "…", "58"],
    ]
    page = asked()._repr_html_()
    assert page.count("<tr>") == 5 and "1 … 26" in page and "224 … 255" in page


def test_the_fcn_makes_of_224_what_vgg16_makes_of_448() -> None:
    (fcn,) = (mode for mode in modes(answers=8, within=260).each if mode.first <= 224 <= mode.last and mode.pad == 100)
    assert (fcn.before, fcn.after, fcn.first, fcn.last) == (14, 8, 219, 250)
    assert cells("VGG16", 448) == (14, 8)


def test_a_range_that_may_go_on_is_left_out() -> None:
    assert [(mode.first, mode.last) for mode in modes(within=40).each] == [(1, 26)]


@pytest.mark.parametrize("wrong", [{"answers": 0}, {"within": 1.5}, {"within": True}])
def test_only_whole_numbers_are_asked_for(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="it is a whole number from 1 up"):
        modes(**wrong)

"""Every network of the gallery is broken, every repair is found good, and what is no repair is found out."""

import re

import pytest
import torch
from torch import nn

from fcnviz import convolutionalize, trace
from fcnviz.errors import InputError
from fcnviz.gallery import EXHIBITS, exhibit
from fcnviz.gallery.checks import images

of_each_exhibit = pytest.mark.parametrize("work", EXHIBITS.values(), ids=EXHIBITS)


def put(net, place, part):
    """With a part replaced: by its place in a Sequential, or by its name."""
    if isinstance(place, str):
        setattr(net, place, part)
    else:
        net[place] = part
    return net


def reordered(net):
    with torch.no_grad():
        net[-1].weight.copy_(net[-1].weight.permute(0, 2, 3, 1).reshape(10, 4, 7, 7))
    return net


def doubled_shortcut(net):
    net[1].shortcut = nn.Conv2d(8, 16, 1, stride=2)
    return net


# Where there are several good ways out, each stands here.
REPAIRS = [
    ("old_size", lambda net: convolutionalize(net, (1, 3, 32, 32))),
    ("old_size", lambda net: put(net, 6, nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten()))),
    ("old_size", lambda net: nn.Sequential(nn.MaxPool2d(2), net)),
    ("counted_wrong", lambda net: put(net, 7, nn.Linear(16 * 6 * 6, 10))),
    ("no_flatten", lambda net: net.insert(6, nn.Flatten())),
    ("one_row", lambda net: put(net, 6, nn.Flatten())),
    ("channels", lambda net: put(net, 3, nn.Conv2d(4, 32, 3))),
    ("too_deep", lambda net: put(net, 17, nn.Identity())),
    ("too_deep", lambda net: put(net, 2, nn.Identity())),
    ("shortcut", doubled_shortcut),
    ("skip", lambda net: put(net, "up", nn.ConvTranspose2d(16, 8, 2, stride=2, output_padding=1))),
    ("mixed_batch", lambda net: put(net, 6, nn.Sequential(nn.AdaptiveAvgPool2d(7), nn.Flatten()))),
    ("shared_softmax", lambda net: put(net, 8, nn.Softmax(dim=1))),
    ("plain_list", lambda net: put(net, "layers", nn.ModuleList(net.layers))),
    ("wrong_order", reordered),
]

# What people try, and why it is no repair.
ATTEMPTS = [
    ("old_size", lambda net: put(net, 7, nn.Linear(16 * 16 * 16, 10)), r"the trained numbers of 7.weight .* are gone"),
    ("no_flatten", lambda net: put(net, 6, nn.Linear(8, 10)), "it gives 1×16×8×10, and 1×10 is wanted"),
    ("one_row", lambda net: put(net, 7, nn.Linear(4096, 10)), "it gives 10, and 4×10 is wanted"),
    ("channels", lambda net: put(net, 0, nn.Conv2d(3, 32, 3)), "to have 16 channels, but got 8"),
    ("skip", lambda net: put(net, "pool", nn.MaxPool2d(2, ceil_mode=True)), "Expected size 45 but got size 46"),
    ("mixed_batch", lambda net: put(net, 6, nn.Flatten()), r"it stops at 7: mat1 and mat2"),
    ("shared_softmax", lambda net: put(net, 8, nn.LogSoftmax(dim=0)), "depends on the others in its batch"),
    ("plain_list", lambda net: put(net, "layers", nn.ModuleList(net.layers[:2])), "mat1 and mat2"),
    ("wrong_order", lambda net: put(net, -1, nn.Conv2d(4, 10, 7)), "0 of 80 answers are those of the classifier"),
]


@of_each_exhibit
def test_each_one_is_broken_as_it_says(work):
    found = work.check(work.network())
    assert not found.repaired and found.line.startswith(f"{work.name}: not yet, ")
    assert (trace(work.network(), work.shape).failure is not None) == work.raises


@of_each_exhibit
def test_what_raises_is_explained_and_there_is_a_way_out(work):
    failure = trace(work.network(), work.shape).failure
    if work.raises:
        assert failure.message not in failure.explanation  # somebody has understood it
        assert failure.remedies


@of_each_exhibit
def test_each_breaks_on_real_numbers_where_the_trace_says(work):
    batch = images(work.shape)
    if work.raises:
        with pytest.raises(RuntimeError) as said:
            work.network()(batch)
        assert str(said.value) == trace(work.network(), work.shape).failure.message
    else:
        work.network()(batch)


@pytest.mark.parametrize(("name", "repair"), REPAIRS)
def test_a_good_repair_is_known_as_one(name, repair):
    work = exhibit(name)
    mended = repair(work.network())
    assert work.check(mended).line == f"{name}: repaired"
    assert tuple(mended(images(work.shape)).shape)[: len(work.wants)] == work.wants


def test_every_exhibit_can_be_repaired():
    assert {name for name, _ in REPAIRS} == set(EXHIBITS)


@pytest.mark.parametrize(("name", "attempt", "why"), ATTEMPTS)
def test_a_bad_repair_is_found_out(name, attempt, why):
    work = exhibit(name)
    found = work.check(attempt(work.network()))
    assert not found.repaired
    assert re.search(why, found.line), found.line


@of_each_exhibit
def test_a_check_leaves_the_network_alone(work):
    net = work.network().train()
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    work.check(net)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(before[name], weight) for name, weight in net.state_dict().items())


@of_each_exhibit
def test_two_people_get_the_same_weights_and_nobodys_dice_are_thrown(work):
    state = torch.random.get_rng_state()
    one, other = work.network(), work.network()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_whole_numbers_are_never_rounded():
    """What the bit-for-bit check of the cast rests on: the largest sum there can be is below 2²⁴."""
    columns, kernel, weight, pixel = 4 * 49, 9, 3, 7
    assert columns * weight * (kernel * weight * pixel + weight) + weight < 2**24


def test_a_name_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(InputError, match="nothing called 'chanels' hangs here; there are old_size, .*channels"):
        exhibit("chanels")

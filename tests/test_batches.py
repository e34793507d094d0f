"""Images of different sizes: a batch refuses them in words that help, and padding them loses and invents nothing."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nets import Call
from torch import Tensor, nn

from fcnviz import batches, models, trace
from fcnviz.errors import InputError

SIZES = [(37, 50), (33, 50), (20, 64)]


def images(sizes: list[tuple[int, int]] = SIZES, channels: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(channels, *size, generator=generator, dtype=torch.float64) for size in sizes]


def whole_images() -> list[Tensor]:
    return [(image * 255).to(torch.uint8) for image in images()]


def labels(sizes: list[tuple[int, int]] = SIZES) -> list[Tensor]:
    return [torch.randint(0, 5, size, generator=torch.Generator().manual_seed(n)) for n, size in enumerate(sizes)]


def fcn(padding: int) -> nn.Sequential:
    """A small net that keeps the size of a map if its convolutions pad by 1."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3 if n == 0 else 4, 4, 3, padding=padding) for n in range(3)]
    return nn.Sequential(*layers, nn.Conv2d(4, 5, 1)).double().eval()


# Padded


def test_every_image_lies_in_the_corner_and_the_mask_says_where() -> None:
    given = images()
    found = batches.padded(given, labels(), value=-1.0)
    assert found.images.shape == (3, 3, 37, 64) and found.labels.shape == found.mask.shape == (3, 37, 64)
    assert found.sizes == tuple(SIZES) and found.ignore == 255
    for n, (image, label, (height, width)) in enumerate(zip(given, labels(), SIZES, strict=True)):
        assert torch.equal(found.images[n, :, :height, :width], image)
        assert torch.equal(found.labels[n, :height, :width], label)
        assert found.mask[n, :height, :width].all() and found.mask[n].sum() == height * width
        assert (found.images[n][:, ~found.mask[n]] == -1).all() and (found.labels[n][~found.mask[n]] == 255).all()
    assert found.labels.dtype == labels()[0].dtype and found.images.dtype == given[0].dtype


def test_outputs_are_cut_back_to_each_image() -> None:
    found = batches.padded(images())
    assert found.labels is None
    for kept in (found.images, found.mask[:, None], found.mask):
        cut = found.cropped(kept)
        assert [tuple(one.shape[-2:]) for one in cut] == SIZES
    assert all(torch.equal(one, image) for one, image in zip(found.cropped(found.images), images(), strict=True))


def test_the_loss_of_a_padded_batch_is_that_of_its_pixels() -> None:
    found = batches.padded(images(), labels())
    scores = torch.randn(3, 5, 37, 64, dtype=torch.float64)
    whole = F.cross_entropy(scores, found.labels, ignore_index=found.ignore, reduction="sum")
    each = [
        F.cross_entropy(one[None], label[None], reduction="sum")
        for one, label in zip(found.cropped(scores), labels(), strict=True)
    ]
    torch.testing.assert_close(whole, torch.stack(each).sum(), rtol=1e-13, atol=0)


def test_cells_that_do_not_see_the_padding_are_what_they_are_alone() -> None:
    net, found = fcn(padding=1), batches.padded(images())
    with torch.no_grad():
        together, alone = found.cropped(net(found.images)), [net(image[None])[0] for image in images()]
    reach = 3  # three 3×3 convolutions see three cells far
    for one, other, (height, width) in zip(together, alone, SIZES, strict=True):
        clean = height - (reach if height < 37 else 0), width - (reach if width < 64 else 0)
        apart = (one - other).abs().amax(0)
        assert apart[: clean[0], : clean[1]].max() < 1e-14
        assert height == 37 or apart[clean[0] :].max() > 1e-4  # biases make something else than 0 of the padding
        assert width == 64 or apart[:, clean[1] :].max() > 1e-4


def test_fcn_32s_takes_a_padded_batch_and_answers_for_each_image() -> None:
    found = batches.padded([torch.zeros(3, *size) for size in SIZES])
    output = models.fcn32s()(found.images.to("meta"))
    assert [tuple(one.shape) for one in found.cropped(output)] == [(21, *size) for size in SIZES]


def test_an_output_of_another_size_is_no_answer_for_pixels() -> None:
    found = batches.padded(images())
    with pytest.raises(InputError, match="the output is 3×5×31×58, the images 3×3×37×64"):
        found.cropped(fcn(padding=0)(found.images))
    with pytest.raises(InputError, match="the output is 2×5×37×64"):
        found.cropped(torch.zeros(2, 5, 37, 64))


def test_other_ignored_labels_and_number_types_are_kept() -> None:
    small = [label.to(torch.uint8) for label in labels()]
    assert batches.padded(images(), small).labels.dtype == torch.uint8
    assert (batches.padded(images(), labels(), ignore=-100).labels == -100).any()


def test_a_value_that_the_images_can_hold_is_kept() -> None:
    found = batches.padded(whole_images(), value=254.0)
    assert found.images.dtype == torch.uint8 and (found.images[1][:, ~found.mask[1]] == 254).all()
    assert batches.padded(images(), value=float("nan")).images[2].isnan().sum() == 3 * (37 - 20) * 64


def test_the_mask_lies_where_the_images_lie() -> None:
    found = batches.padded([image.to("meta") for image in images()], [label.to("meta") for label in labels()])
    assert found.images.is_meta and found.mask.is_meta and found.labels.is_meta


# Refused


def test_images_of_one_size_are_stacked() -> None:
    same = images([(8, 9), (8, 9)])
    assert torch.equal(batches.stacked(same), torch.stack(same))


WAYS = r"(?s)images of 37×50, 33×50 and 20×64 make no batch(.*)padded\(images, labels\) pads all to 37×64(.*)batch 1"


def test_images_of_several_sizes_are_refused_with_two_ways_out() -> None:
    with pytest.raises(InputError, match=WAYS):
        batches.stacked(images())
    many = [(n, n) for n in range(10, 16)]
    with pytest.raises(InputError, match="images of 10×10, 11×11, 12×12 and 3 more make no batch"):
        batches.stacked(images(many))


@pytest.mark.parametrize("given", [images(), [tuple(image.shape) for image in images()]], ids=["tensors", "shapes"])
def test_a_trace_of_a_list_of_images_is_refused_in_the_same_words(given: Any) -> None:
    with pytest.raises(InputError, match=WAYS):
        trace(models.two_convolutions(seed=0).double(), given)


def test_a_trace_of_a_list_of_equal_images_says_what_makes_a_batch_of_them() -> None:
    with pytest.raises(InputError, match="Conv2d conv1 takes one tensor, and was given a list of 2: torch.stack"):
        trace(models.two_convolutions(seed=0).double(), images([(8, 9), (8, 9)]))


def test_a_network_that_takes_a_list_or_two_inputs_is_traced() -> None:
    one_by_one = Call(lambda many: [F.avg_pool2d(one[None], 2) for one in many])
    assert trace(one_by_one, images()).failure is None
    kernel = Call(lambda x, weight: F.conv2d(x, weight))
    with pytest.raises(InputError, match="has 3 channels, and conv2d takes 2"):
        trace(kernel, (1, 3, 8, 8), (4, 2, 3, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: batches.padded([]), "a list of images C×H×W was expected, at least one"),
        (lambda: batches.padded(None), "a list of images C×H×W was expected, not NoneType"),
        (lambda: batches.padded(image for image in images()), "not generator"),
        (lambda: batches.padded("cat.jpg"), "not str"),
        (lambda: batches.padded(torch.tensor(1.0)), "not Tensor"),
        (lambda: batches.stacked(np.zeros((2, 3, 4, 4))), "not ndarray"),
        (lambda: batches.padded([np.zeros((3, 4, 4))]), "as tensors, and one of them is ndarray"),
        (lambda: batches.padded([torch.zeros(3, 0, 5), torch.zeros(3, 4, 5)]), "an image is 3×0×5: it has no pixels"),
        (lambda: batches.padded([torch.zeros(1, 3, 4, 4)]), "one of them is (1, 3, 4, 4)"),
        (lambda: batches.stacked(["cat.jpg"]), "one of them is str"),
        (
            lambda: batches.padded([torch.zeros(3, 4, 4), torch.zeros(1, 4, 4)]),
            "images of 1 channel of torch.float32 on cpu and of 3 channels",
        ),
        (lambda: batches.padded([torch.zeros(3, 4, 4), torch.zeros(3, 4, 4).double()]), "make no batch"),
        (lambda: batches.padded(images(), labels()[:2]), "2 label maps were given for 3 images"),
        (lambda: batches.padded(images(), labels([(37, 50), (33, 50), (20, 63)])), "a label map is 20×63, its image"),
        (lambda: batches.padded(images(), [label.float() for label in labels()]), "cannot hold the label 255"),
        (lambda: batches.padded(images(), [label.to(torch.int8) for label in labels()]), "cannot hold the label 255"),
        (
            lambda: batches.padded(images(), [label.bool() for label in labels()]),
            "torch.bool, which cannot hold the label",
        ),
        (
            lambda: batches.padded(images(), [label.numpy() for label in labels()]),
            "label maps H×W was expected, as tensors",
        ),
        (lambda: batches.padded(images(), 5), "a list of label maps H×W was expected, not int"),
        (
            lambda: batches.padded(images(), [labels()[0].to(torch.uint8), *labels()[1:]]),
            "label maps of torch.int64 on cpu and of torch.uint8 on cpu make no batch",
        ),
        *(
            (lambda n=n: batches.padded(images(), labels(), ignore=n), f"ignore={n!r} was asked")
            for n in (1.5, True, None)
        ),
        *(
            (lambda n=n: batches.padded(whole_images(), value=n), f"value={n!r} was asked for in images of torch.uint8")
            for n in (0.5, -1, 256, float("nan"), True, "0")
        ),
        (
            lambda: batches.padded([torch.zeros(3, 4, 4).half()], value=1e6),
            "value=1000000.0 was asked for in images of",
        ),
        (
            lambda: batches.padded(images()).cropped({"out": images()}),
            "the output is dict; a tensor N×K×H×W was expected",
        ),
        (lambda: batches.padded(images()).cropped(torch.zeros(3)), "the output is 3; a tensor"),
    ],
)
def test_what_is_no_batch_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        call()


def test_a_tensor_of_images_is_a_batch_already() -> None:
    whole = torch.rand(2, 3, 4, 5)
    assert torch.equal(batches.padded(whole).images, whole) and torch.equal(batches.stacked(whole), whole)

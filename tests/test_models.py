"""The networks have the layers, counts and shapes they are known for, and load the weights others saved."""

import copy
import hashlib
import pickle
import timeit

import pytest
import torch
from torch import nn

from fcnviz import models, trace
from fcnviz.conv import Conv2d
from fcnviz.errors import InputError

# Names and shapes of the weights as torchvision 0.28 lists them in its vgg16() and alexnet().
VGG_LAYERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
VGG_CHANNELS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
TORCHVISION = {
    "vgg16": {
        **{f"features.{n}": (VGG_CHANNELS[i + 1], VGG_CHANNELS[i], 3, 3) for i, n in enumerate(VGG_LAYERS)},
        "classifier.0": (4096, 25088),
        "classifier.3": (4096, 4096),
        "classifier.6": (1000, 4096),
    },
    "alexnet": {
        "features.0": (64, 3, 11, 11),
        "features.3": (192, 64, 5, 5),
        "features.6": (384, 192, 3, 3),
        "features.8": (256, 384, 3, 3),
        "features.10": (256, 256, 3, 3),
        "classifier.1": (4096, 9216),
        "classifier.4": (4096, 4096),
        "classifier.6": (1000, 4096),
    },
}
HEADS = ["linear", "conv", "adaptive"]
ALL = [
    *(lambda seed=None, b=b, h=h: b(h, seed) for b in (models.vgg16, models.alexnet) for h in HEADS),
    models.two_convolutions,
    models.lenet,
    models.caffe_alexnet,
    *(lambda seed=None, b=b: b(seed=seed) for b in (models.fcn32s, models.fcn16s, models.fcn8s, models.fcn_alexnet)),
]


def torchvision_state(name, device="meta"):
    weights = {f"{layer}.weight": shape for layer, shape in TORCHVISION[name].items()}
    biases = {f"{layer}.bias": shape[:1] for layer, shape in TORCHVISION[name].items()}
    return {key: torch.empty(shape, device=device) for key, shape in (weights | biases).items()}


def count(module):
    return sum(p.numel() for p in module.parameters())


def run(model, *shape):
    return tuple(model(torch.empty(shape, device="meta")).shape)


@pytest.mark.parametrize("head", HEADS)
def test_vgg16_has_the_same_parameter_counts_with_every_head(head):
    model = models.vgg16(head)
    assert count(model) == 138_357_544
    assert [count(model.classifier[n]) for n in (0, 3, 6)] == [102_764_544, 16_781_312, 4_097_000]


@pytest.mark.parametrize("head", HEADS)
def test_alexnet_has_the_same_parameter_count_with_every_head(head):
    assert count(models.alexnet(head)) == 61_100_840


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ["vgg16", "alexnet"])
def test_torchvisions_weights_load_into_every_head(name, head):
    model = getattr(models, name)(head)
    kept = dict(model.state_dict())
    model.load_state_dict(torchvision_state(name), assign=True)  # strict: no name missing, none left over
    assert list(model.state_dict()) == list(kept)
    assert all(model.state_dict()[key].shape == tensor.shape for key, tensor in kept.items())


@pytest.mark.parametrize(
    ("size", "pool5", "dense"),
    [
        ((224, 224), (7, 7), (1, 1)),
        ((256, 256), (8, 8), (2, 2)),
        ((255, 255), (7, 7), (1, 1)),
        ((224, 256), (7, 8), (1, 2)),
    ],
)
def test_vgg16_maps_follow_the_image(size, pool5, dense):
    model = models.vgg16("conv")
    assert run(model.features, 1, 3, *size) == (1, 512, *pool5)
    assert run(nn.Sequential(model.features, model.classifier[0]), 1, 3, *size) == (1, 4096, *dense)
    assert run(model, 1, 3, *size) == (1, 1000, *dense)


@pytest.mark.parametrize("size", [(224, 224), (255, 224), (240, 255), (1568, 32)])
def test_the_linear_head_takes_every_map_of_25088_numbers(size):
    assert run(models.vgg16(), 2, 3, *size) == (2, 1000)


@pytest.mark.parametrize("size", [(223, 223), (256, 256), (224, 256)])
def test_the_linear_head_refuses_every_other_map(size):
    with pytest.raises(RuntimeError, match="25088"):
        run(models.vgg16(), 1, 3, *size)


@pytest.mark.parametrize("size", [(223, 224), (1568, 32)])
def test_the_conv_head_refuses_a_map_smaller_than_its_kernel(size):
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        run(models.vgg16("conv"), 1, 3, *size)


@pytest.mark.parametrize("size", [(32, 32), (223, 500), (256, 256)])
def test_the_adaptive_head_gives_one_answer_at_every_size(size):
    assert run(models.vgg16("adaptive"), 1, 3, *size) == (1, 1000)


def test_alexnet_goes_from_224_to_9216_numbers():
    assert run(models.alexnet().features, 1, 3, 224, 224) == (1, 256, 6, 6)
    assert run(models.alexnet(), 1, 3, 224, 224) == (1, 1000)
    assert run(models.alexnet("conv"), 1, 3, 500, 500) == (1, 1000, 9, 9)


@pytest.mark.parametrize("size", [(7, 7), (32, 32), (100, 60), (224, 256)])
def test_two_convolutions_take_four_and_then_two_cells_from_each_axis(size):
    model = models.two_convolutions()
    (h, w) = size
    assert run(model.conv1, 1, 3, h, w) == (1, 64, h - 4, w - 4)
    assert run(model, 1, 3, h, w) == (1, 128, h - 6, w - 6)
    assert [tuple(p.shape) for p in model.parameters()] == [(64, 3, 5, 5), (64,), (128, 64, 3, 3), (128,)]


def test_lenet_takes_32_to_35_and_nothing_else():
    assert count(models.lenet()) == 61_706
    assert [run(models.lenet(), 1, 1, size, size) for size in (32, 35)] == [(1, 10), (1, 10)]
    for size in (31, 36):
        with pytest.raises(RuntimeError):
            run(models.lenet(), 1, 1, size, size)


@pytest.mark.parametrize("build", ALL)
def test_a_model_is_built_on_meta_in_eval_mode_and_without_random_numbers(build):
    before = torch.get_rng_state()
    model = build()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.is_meta for p in model.parameters())
    assert not any(m.training for m in model.modules())


@pytest.mark.parametrize(("build", "limit"), [(models.vgg16, 0.01), (models.fcn8s, 0.03)])
def test_a_model_is_built_on_meta_in_milliseconds(build, limit):
    assert min(timeit.repeat(build, number=1, repeat=5)) < limit


def test_a_seed_gives_the_same_weights_every_time_and_leaves_torchs_random_numbers_alone():
    before = torch.get_rng_state()
    one, same, other = models.lenet(seed=7), models.lenet(seed=7), models.lenet(seed=8)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert all(p.requires_grad for p in one.parameters())


def test_the_heads_of_one_seed_hold_the_same_numbers():
    linear, conv = models.alexnet(seed=0), models.alexnet("conv", seed=0)
    for a, b in zip(linear.parameters(), conv.parameters(), strict=True):
        assert torch.equal(a.flatten(), b.flatten())


def test_maps_neither_fade_nor_grow_with_depth():
    model = models.alexnet(seed=0)
    with torch.no_grad():
        answer = model(torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert 0.1 < answer.std() < 10


def test_linear_weights_become_kernels_without_a_copy_and_the_callers_dict_stays():
    state = {k: torch.zeros(v.shape) for k, v in torchvision_state("alexnet").items()}
    model = models.alexnet("conv")
    model.load_state_dict(state, assign=True)
    assert model.classifier[1].weight.data_ptr() == state["classifier.1.weight"].data_ptr()
    assert state["classifier.1.weight"].shape == (4096, 9216)


def test_a_linear_weight_of_another_size_is_refused_by_torch():
    state = torchvision_state("vgg16") | {"classifier.0.weight": torch.empty(4096, 32768, device="meta")}
    with pytest.raises(RuntimeError, match="size mismatch for classifier.0.weight"):
        models.vgg16("conv").load_state_dict(state)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_the_conv_head_loads_linear_weights_too(copied):
    model = copied(models.vgg16("conv"))
    model.load_state_dict(torchvision_state("vgg16"), assign=True)
    assert model.classifier[0].weight.shape == (4096, 512, 7, 7)


def test_the_conv_head_is_the_convolution_that_is_fast_on_small_maps():
    model = models.vgg16("conv")
    dense = [model.classifier[n] for n in (0, 3, 6)]
    assert [type(layer) for layer in dense] == [Conv2d] * 3
    assert repr(dense[0]) == "Conv2d(512, 4096, kernel_size=(7, 7), stride=(1, 1))"
    steps = [step for step in trace(model, (1, 3, 256, 256)).steps if step.path.startswith("classifier")]
    assert [step.kind for step in steps if step.operation == "conv"] == ["Conv2d"] * 3
    assert not any(step.is_call for step in steps)


@pytest.mark.parametrize("size", [224, 256])
def test_the_conv_head_says_what_plain_convolutions_say(size, monkeypatch):
    model = models.alexnet("conv", seed=0).double()
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        found = model(x)
        monkeypatch.setattr(Conv2d, "_conv_forward", nn.Conv2d._conv_forward)
        torch.testing.assert_close(found, model(x))


def test_an_unknown_head_is_refused_with_the_ones_there_are():
    with pytest.raises(InputError, match="head='dense' was asked for; a head is one of 'linear', 'conv', 'adaptive'"):
        models.vgg16("dense")


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "lenet.pt"
    torch.save(models.lenet(seed=3).state_dict(), path)
    return path


@pytest.mark.parametrize("seed", [None, 0])
def test_load_fills_a_model_from_a_file(saved, seed):
    model = models.load(models.lenet(seed), saved)
    for a, b in zip(model.parameters(), models.lenet(seed=3).parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.requires_grad


def test_load_keeps_the_parameters_of_a_real_model(saved):
    model = models.lenet(seed=0).double()
    before = list(model.parameters())
    models.load(model, saved)
    assert all(a is b for a, b in zip(model.parameters(), before, strict=True))
    assert model.fc1.weight.dtype == torch.float64


@pytest.mark.parametrize("digits", [8, 64])
def test_load_accepts_the_right_digest(saved, digits):
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    models.load(models.lenet(), saved, sha256=digest[:digits].upper())


def test_load_refuses_another_digest_before_reading(saved):
    with pytest.raises(InputError, match="lenet.pt has the SHA-256 [0-9a-f]{64}, not 00000000: it is not the file you"):
        models.load(models.lenet(), saved, sha256="00000000")
    with pytest.raises(InputError, match="eight of the 64 are the fewest that tell"):
        models.load(models.lenet(), saved, sha256="397923a")


def test_load_refuses_a_file_for_another_model(saved):
    with pytest.raises(InputError, match="lenet.pt does not fit TwoConvolutions: (?s:.*)fc1.weight") as caught:
        models.load(models.two_convolutions(), saved)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 cut short"])
def test_load_refuses_a_damaged_file(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="weights.pt was not loaded: it is damaged or holds more than tensors"):
        models.load(models.lenet(), path)


class Trap:
    def __reduce__(self):
        return (Trap.spring, ())

    sprung = False

    @staticmethod
    def spring():
        Trap.sprung = True


def test_load_runs_nothing_that_a_file_brings(tmp_path):
    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(InputError, match="holds more than tensors"):
        models.load(models.lenet(), tmp_path / "trap.pt")
    assert not Trap.sprung


def test_load_says_when_there_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        models.load(models.lenet(), tmp_path / "none.pt")

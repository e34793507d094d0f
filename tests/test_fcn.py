"""FCN-32s, 16s, 8s and FCN-AlexNet are the authors' nets, give back the image's size, and derive every crop."""

import copy
import functools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fcnviz import Law, law, models, trace
from fcnviz.coordinates import PIXELS
from fcnviz.errors import GeometryError, InputError
from fcnviz.geometry import geometry
from fcnviz.models.fully_convolutional import FullyConvolutional, placed
from fcnviz.training import coarse, one_skip, pooled_net
from fcnviz.upsampling import bilinear_kernel

Make = Callable[..., FullyConvolutional]
NETS: dict[str, Make] = {
    "fcn32s": models.fcn32s,
    "fcn16s": models.fcn16s,
    "fcn8s": models.fcn8s,
    "fcn_alexnet": models.fcn_alexnet,
}
every_net = pytest.mark.parametrize("make", NETS.values(), ids=NETS)

# Layers with weights as in pytorch-fcn (torchfcn/models/fcn*.py), whose names are those of the Caffe nets.
CHANNELS = {1: (3, 64, 64), 2: (64, 128, 128), 3: (128, 256, 256, 256), 4: (256, 512, 512, 512), 5: (512,) * 4}
TRUNK = {
    **{
        f"conv{block}_{n}": (widths[n], widths[n - 1], 3, 3)
        for block, widths in CHANNELS.items()
        for n in range(1, len(widths))
    },
    "fc6": (4096, 512, 7, 7),
    "fc7": (4096, 4096, 1, 1),
    "score_fr": (21, 4096, 1, 1),
}
POOL4, POOL3 = {"score_pool4": (21, 512, 1, 1)}, {"score_pool3": (21, 256, 1, 1)}
UP = {
    "fcn32s": {"upscore": 64},
    "fcn16s": {"upscore2": 4, "upscore16": 32},
    "fcn8s": {"upscore2": 4, "upscore8": 16, "upscore_pool4": 4},
}
CONVOLUTIONS = {"fcn32s": TRUNK, "fcn16s": TRUNK | POOL4, "fcn8s": TRUNK | POOL4 | POOL3}


def pytorch_fcn_state(name: str) -> dict[str, Tensor]:
    """One number under every weight: a file of a few kilobytes with the names and shapes of half a gigabyte."""
    shapes = {f"{layer}.weight": shape for layer, shape in CONVOLUTIONS[name].items()}
    shapes |= {f"{layer}.bias": shape[:1] for layer, shape in CONVOLUTIONS[name].items()}
    shapes |= {f"{layer}.weight": (21, 21, k, k) for layer, k in UP[name].items()}
    return {key: torch.full((), float(n)).expand(shape) for n, (key, shape) in enumerate(shapes.items())}


def run(net: nn.Module, height: int, width: int) -> tuple[int, ...]:
    return tuple(net(torch.empty(1, 3, height, width, device="meta")).shape)


@pytest.fixture(autouse=True, scope="module")
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


# The authors' nets


@pytest.mark.parametrize(
    ("make", "number"),
    [(models.fcn32s, 136_152_917), (models.fcn16s, 134_815_994), (models.fcn8s, 134_489_759)],
)
def test_the_parameters_are_as_many_as_published(make: Make, number: int) -> None:
    assert sum(p.numel() for p in make().parameters()) == number


@pytest.mark.parametrize("name", UP)
def test_a_pytorch_fcn_file_loads_strictly(name: str, tmp_path: Any) -> None:
    state = pytorch_fcn_state(name)
    torch.save(state, tmp_path / "fcn.pth")
    net = models.load(NETS[name](), tmp_path / "fcn.pth")
    assert net.state_dict().keys() == state.keys()
    for key, tensor in net.state_dict().items():
        assert tensor.shape == state[key].shape and tensor.flatten()[0] == state[key].flatten()[0], key
    assert not net.get_submodule(next(iter(UP[name]))).weight.requires_grad


def test_a_file_for_another_net_is_refused(tmp_path: Any) -> None:
    torch.save(pytorch_fcn_state("fcn16s"), tmp_path / "fcn16s.pth")
    with pytest.raises(InputError, match="fcn16s.pth does not fit FCN32s: (?s:.*)upscore"):
        models.load(models.fcn32s(), tmp_path / "fcn16s.pth")


def test_the_layers_come_in_the_order_of_the_caffe_net() -> None:
    steps = trace(models.fcn8s(), (1, 3, 64, 64)).steps
    names = [step.name for step in steps]
    assert names[:6] == ["conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1"]
    assert names[names.index("pool5") :] == [
        *("pool5", "fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "score_fr"),
        *("upscore2", "score_pool4", "getitem", "add", "upscore_pool4", "score_pool3", "getitem#2", "add#2"),
        *("upscore8", "getitem#3"),
    ]
    assert {step.kind for step in steps if step.name.startswith("drop")} == {"Dropout"}  # not Dropout2d


def test_fcn_alexnet_has_the_layers_of_its_caffe_net() -> None:
    net = models.fcn_alexnet()
    names = [name for name, _ in net.named_children()]
    assert names == [
        *("conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2"),
        *("conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5"),
        *("fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "score_fr", "upscore"),
    ]
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters() if name.endswith("weight")}
    assert shapes["conv1.weight"] == (96, 3, 11, 11) and shapes["conv2.weight"] == (256, 48, 5, 5)
    assert shapes["fc6.weight"] == (4096, 256, 6, 6) and shapes["upscore.weight"] == (21, 21, 63, 63)
    assert [net.get_submodule(f"conv{n}").groups for n in range(1, 6)] == [1, 2, 1, 2, 2]


@every_net
def test_upsampling_has_no_bias_and_is_not_trained_and_all_else_is(make: Make) -> None:
    for name, parameter in make().named_parameters():
        assert parameter.requires_grad is not name.startswith("upscore")
        assert not (name.startswith("upscore") and name.endswith("bias"))


# Crops


@pytest.mark.parametrize(
    ("make", "crops"),
    [
        (models.fcn_alexnet, {"upscore": 18}),
        (models.fcn32s, {"upscore": 19}),
        (models.fcn16s, {"score_pool4": 5, "upscore16": 27}),
        (models.fcn8s, {"score_pool4": 5, "score_pool3": 9, "upscore8": 31}),
    ],
)
def test_the_derived_crops_are_those_the_authors_give(make: Make, crops: dict[str, int]) -> None:
    assert make().crops == make(ceil=False).crops == crops


@pytest.mark.parametrize("pad", [0, 1, 50, 80, 81, 99, 100, 101, 150])
def test_the_last_crop_follows_the_pad_and_the_others_do_not(pad: int) -> None:
    assert models.fcn32s(pad=pad).crops == {"upscore": pad - 81}
    assert models.fcn8s(pad=pad).crops == {"score_pool4": 5, "score_pool3": 9, "upscore8": pad - 69}
    assert models.fcn_alexnet(pad=pad).crops == {"upscore": pad - 82}


def test_crops_follow_a_change_of_the_layers() -> None:
    net = models.fcn16s()
    net.conv3_1.padding, net.conv5_2.dilation, net.conv5_2.padding = (3, 3), (2, 2), (1, 1)
    assert net.crops == {"score_pool4": 5 + 1, "upscore16": 27 + 4 * 2 - 16}
    net.upscore2.stride = (3, 3)
    with pytest.raises(GeometryError, match="cells 32/3 pixels apart|cells 16 pixels apart"):
        net.why_crops()


def test_cells_that_lie_between_pixels_cannot_be_cropped() -> None:
    net = models.fcn32s()
    net.upscore.kernel_size = (63, 63)
    with pytest.raises(GeometryError, match="cells are cut off whole"):
        run(net, 50, 50)


@pytest.mark.parametrize("pad", [81, 97, 99])
def test_a_net_whose_pad_is_changed_answers_as_one_that_was_built_with_it(pad: int) -> None:
    built, changed = (models.fcn32s(1, pad=p, seed=0) for p in (pad, 100))
    changed.conv1_1.padding = (pad, pad)
    x = torch.randn(1, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    assert changed.crops == built.crops == {"upscore": pad - 81}
    assert torch.equal(changed(x), built(x))


@pytest.mark.parametrize(
    ("layer", "setting", "value"),
    [
        ("conv1_1", "padding", (100, 90)),
        ("conv2_1", "dilation", (1, 2)),
        ("upscore", "kernel_size", (64, 66)),
        ("pool4", "stride", (2, 1)),
    ],
)
def test_a_window_that_is_another_one_on_columns_has_no_one_crop(layer: str, setting: str, value: Any) -> None:
    net = models.fcn32s()
    setattr(net.get_submodule(layer), setting, value)
    with pytest.raises(GeometryError, match="has one window on rows and another on columns"):
        run(net, 50, 50)


@every_net
def test_each_crop_says_where_the_cells_lie_that_meet(make: Make) -> None:
    why, found = make().why_crops(), {step.name: step for step in geometry(trace(make(), (1, 3, 90, 70)))}
    for crop in why.each:
        assert crop.larger == found[crop.name].placements[0] and make().crops[crop.name] == crop.cells
        assert crop.target == (PIXELS if crop.onto == "the image" else found[crop.onto].placements[0])
        assert crop.larger.start + crop.cells * crop.larger.jump == crop.target.start
    assert why.each[-1].onto == "the image" and make(pad=why.least_pad).crops[why.each[-1].name] == 0


def test_the_reasons_can_be_read() -> None:
    net = models.fcn8s()
    lines = [
        "FCN8s with pad=100: why each map is cut",
        "score_pool4, cut 5: cell 0 on pixel −91.5, cell 0 of upscore2 on −11.5, cells 16 apart: "
        "(−11.5 − (−91.5)) / 16 = 5",
        "score_pool3, cut 9: cell 0 on pixel −95.5, cell 0 of upscore_pool4 on −23.5, cells 8 apart: "
        "(−23.5 − (−95.5)) / 8 = 9",
        "upscore8, cut 31: cell 0 on pixel −31, the image begins on 0, cells 1 apart: (0 − (−31)) / 1 = 31",
        "upscore8 with another pad: the cut is pad − 69, so that pad=69 is the smallest that reaches pixel 0",
    ]
    assert str(net.why_crops()).splitlines() == lines
    page = net.why_crops()._repr_html_()
    assert page.count("<tr>") == 5 and all(part in page for line in lines for part in line.split(": ", 1))


@pytest.mark.parametrize("given", [torch.zeros(3, 40, 50), torch.zeros(40, 50), "cat.jpg"])
@every_net
def test_an_image_without_a_batch_axis_is_refused(make: Make, given: Any) -> None:
    with pytest.raises(InputError, match=r"a tensor N×C×H×W was expected, not .*image\[None\] is a batch of one"):
        make()(given)


@pytest.mark.parametrize("seed", ["a", 1.5, True, -1, 2**64])
@every_net
def test_a_seed_is_a_whole_number(make: Make, seed: Any) -> None:
    with pytest.raises(InputError, match=f"seed={seed!r} was asked for; it is None or a whole number from 0"):
        make(seed=seed)


def ramp(size: int) -> Tensor:
    """A map 21×size×size whose numbers are the rows and columns of its cells."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([rows if n % 2 else columns for n in range(21)]).double()


def upscored(net: FullyConvolutional, scores: Tensor) -> Tensor:
    """Coarse scores on the way back to pixels, without what the skips add."""
    for skip in net.skips:
        scores = net.get_submodule(skip.upscore)(scores)
    start = net.crops[net.last]
    return net.get_submodule(net.last)(scores)[:, start:, start:]


@functools.cache
def filled(name: str) -> FullyConvolutional:
    """The net with numbers in its upsampling layers only."""
    net = NETS[name]()
    for layer_name, layer in net.named_children():
        if layer_name.startswith("upscore"):
            k = layer.kernel_size[0]
            layer.to_empty(device="cpu").double()
            layer.weight.zero_()
            layer.weight[range(21), range(21)] = bilinear_kernel(k, torch.float64)
    return net


@pytest.mark.parametrize("name", ["fcn16s", "fcn8s"])
def test_the_crops_of_all_three_nets_lay_a_cell_on_the_same_pixel(name: str) -> None:
    coarse, fine = upscored(filled("fcn32s"), ramp(8)), upscored(filled(name), ramp(8))
    inside = slice(64, 160)
    assert torch.equal(coarse[:, inside, inside], fine[:, inside, inside])  # a plane stays one in two steps or in one
    across = coarse[0, 100, inside]
    assert torch.equal(across[1:] - across[:-1], torch.full((95,), 1 / 32, dtype=torch.float64))


def thin(name: str, pad: int) -> FullyConvolutional:
    """The same layers with one channel: all weights 1 and averages for maxima, so that every pixel seen has its say."""
    layers = {path: copy.copy(layer) for path, layer in NETS[name](1, pad=pad).named_children()}
    for path, layer in layers.items():
        if isinstance(layer, nn.Conv2d):
            window = layer.kernel_size, layer.stride, layer.padding
            layers[path] = nn.Conv2d(3 if path == "conv1_1" else 1, 1, *window, bias=False).double()
            layers[path].weight.fill_(1 / layers[path].weight.numel())
        elif isinstance(layer, nn.MaxPool2d):
            layers[path] = nn.AvgPool2d(layer.kernel_size, layer.stride, ceil_mode=layer.ceil_mode)
    cut = list(layers).index("score_fr") + 1
    head, tail = list(layers.items())[:cut], list(layers.items())[cut:]
    return type(NETS[name]())(dict(head), dict(tail))


@pytest.mark.parametrize("pad", [81, 100])
def test_gradients_show_a_score_where_the_crop_puts_it(pad: int) -> None:
    net = thin("fcn32s", pad)
    assert net.crops == {"upscore": pad - 81}
    image = torch.rand(1, 3, 640, 640, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        scores = nn.Sequential(*(net.get_submodule(name) for name in net.trunk))(image)
        scores[0, 0, 9, 9].backward()
    seen = image.grad[0, 0].sum(1).nonzero()
    first, last = seen[0].item(), seen[-1].item()
    tent = net.upscore.kernel_size[0] - 1
    assert (first + last) / 2 == 9 * 32 + tent / 2 - net.crops["upscore"]
    assert last - first + 1 == 404


@every_net
def test_each_trunk_is_where_its_placement_says(make: Make) -> None:
    net, place = make(), PIXELS
    for name in net.trunk:
        place = placed(net.get_submodule(name), place)
    assert place.jump == 32
    assert place.field == (355 if make is models.fcn_alexnet else 404)


@pytest.mark.parametrize(
    ("make", "pad", "least"), [(models.fcn32s, 0, 81), (models.fcn8s, 68, 69), (models.fcn16s, 71, 73)]
)
def test_a_pad_too_small_is_refused_with_the_smallest_that_does(make: Make, pad: int, least: int) -> None:
    lines = "row and column" if least - pad == 1 else f"{least - pad} rows and columns"
    message = f"with pad={pad} has no answer for the first {lines} of an image(.*)pad={least} is"
    with pytest.raises(GeometryError, match=message):
        run(make(pad=pad), 500, 500)
    found = trace(make(pad=pad), (1, 3, 500, 500))
    assert found.failure is not None and isinstance(found.failure.cause, GeometryError)
    assert found[-2].name == make().last  # all steps before the crop are there to be seen
    assert run(make(pad=least), 500, 500) == (1, 21, 500, 500)


@pytest.mark.parametrize("pad", [0, 8, 40])
@pytest.mark.parametrize(("kernel", "missing", "lines"), [(8, 1, "row and column"), (10, 2, "2 rows and columns")])
def test_a_skip_that_begins_late_is_told_the_padding_that_mends_it(
    pad: int, kernel: int, missing: int, lines: str
) -> None:
    net = one_skip(coarse(pooled_net(), 3))
    net.conv1.padding = (1 + pad, 1 + pad)
    net.upscore2 = nn.ConvTranspose2d(3, 3, kernel, stride=2, padding=1, bias=False)
    assert net.crops["score_pool3"] == -missing
    with pytest.raises(GeometryError) as raised:
        net(torch.zeros(1, 1, 64, 64))
    assert str(raised.value) == (
        f"OneSkip has nothing to add to the first {lines} of upscore2: score_pool3 has no cells so "
        f"far out, with any pad; upscore2 with padding={1 + missing} in place of 1 begins where they begin"
    )
    net.upscore2.padding = (1 + missing, 1 + missing)
    assert net.crops["score_pool3"] == 0


@pytest.mark.parametrize("wrong", [{"pad": -1}, {"pad": 1.5}, {"pad": True}, {"classes": 0}, {"classes": "21"}])
@every_net
def test_pads_and_classes_are_whole_numbers(make: Make, wrong: dict[str, Any]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"{name}={value!r} was asked for; it is a whole number from"):
        make(**wrong)


# Sizes


@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        (models.fcn32s, {"conv1_1": 698, "upscore": 544}),
        (models.fcn16s, {"upscore2": 34, "score_pool4": 44, "upscore16": 560}),
        (models.fcn8s, {"upscore2": 34, "score_pool4": 44, "upscore_pool4": 70, "score_pool3": 88, "upscore8": 568}),
    ],
)
def test_sizes_at_500_are_those_of_the_authors(make: Make, sizes: dict[str, int]) -> None:
    found = {step.name: step.output_shape[-2:] for step in trace(make(), (1, 3, 500, 500))}
    pools = {"pool1": 349, "pool2": 175, "pool3": 88, "pool4": 44, "pool5": 22, "fc6": 16}
    assert {name: found[name] for name in pools | sizes} == {name: (n, n) for name, n in (pools | sizes).items()}
    assert trace(make(), (1, 3, 500, 500)).output_shape == (1, 21, 500, 500)


@functools.cache
def law_of(name: str, ceil: bool = True, pad: int = 100, width: int | str = 500) -> Law:
    return law(NETS[name](ceil=ceil, pad=pad), (1, 3, "H", width), within=2000)


def heights(found: Law) -> list[int | None]:
    """The output's height for each height of 1 … 2000; None where the net refuses."""
    return [found.at(H=h).output_shape[2] if found.accepted[h] else None for h in range(1, 2001)]


@pytest.mark.parametrize("name", NETS)
def test_with_ceil_every_size_gives_an_answer_for_every_pixel(name: str) -> None:
    found = law_of(name, width="W")
    assert found.covered == 1.0 and found.accepted[1:, 1:].all() and found.same_size
    for h, w in ((1, 1), (1, 2000), (33, 47), (375, 500)):
        assert run(NETS[name](), h, w) == (1, 21, h, w)


@pytest.mark.parametrize(
    ("name", "refused", "short"),
    [("fcn32s", 25, 735), ("fcn16s", 25, 244), ("fcn8s", 25, 0), ("fcn_alexnet", 26, 796)],
)
def test_with_floor_small_images_are_refused_and_many_outputs_short_without_a_word(
    name: str, refused: int, short: int
) -> None:
    made = heights(law_of(name, ceil=False))
    assert made[:refused] == [None] * refused and None not in made[refused:]
    assert sum(n is not None and n < h for h, n in enumerate(made, 1)) == short
    assert all(n is None or n <= h for h, n in enumerate(made, 1))
    net = NETS[name](ceil=False)
    for h in (refused + 1, 45, 46, 77, 78, 375, 493, 500, 1237, 1999):
        assert run(net, h, 500)[2] == made[h - 1]
    with pytest.raises(RuntimeError, match="Kernel size can't be greater"):
        run(net, refused, 500)


def test_with_floor_500_by_375_comes_back_as_493_by_365() -> None:
    assert trace(models.fcn32s(ceil=False), (1, 3, 500, 375)).output_shape == (1, 21, 493, 365)


@pytest.mark.parametrize(("name", "least"), [("fcn32s", 97), ("fcn16s", 97), ("fcn8s", 97), ("fcn_alexnet", 99)])
def test_the_smallest_pad_that_works_for_every_height(name: str, least: int) -> None:
    works = [law_of(name, pad=p).same_size and bool(law_of(name, pad=p).accepted[1:].all()) for p in range(95, 101)]
    assert works == [pad >= least for pad in range(95, 101)]
    assert not law_of(name, pad=least - 1).accepted[1]
    assert [run(NETS[name](pad=least), h, 1)[2] for h in range(1, 100)] == list(range(1, 100))


@pytest.mark.parametrize("name", NETS)
def test_an_image_of_one_pixel_is_a_batch_of_answers(name: str) -> None:
    assert tuple(NETS[name]()(torch.empty(3, 3, 1, 1, device="meta")).shape) == (3, 21, 1, 1)


# From a classifier


def memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@functools.cache
def real_vgg16() -> models.VGG16:
    return models.vgg16(seed=0)


PLACES = [*TRUNK][:15]  # conv1_1 … fc7


def sources(vgg: nn.Module) -> list[nn.Module]:
    return [layer for layer in vgg.modules() if isinstance(layer, nn.Conv2d | nn.Linear)][:15]


@pytest.mark.parametrize("make", [models.fcn32s, models.fcn16s, models.fcn8s])
def test_a_classifiers_weights_are_shared_and_the_rest_is_as_the_authors_began(make: Make) -> None:
    vgg = real_vgg16()
    net = make(from_classifier=vgg)
    for name, source in zip(PLACES, sources(vgg), strict=True):
        layer = net.get_submodule(name)
        assert layer.weight is not source.weight and memory(layer.weight) == memory(source.weight)
        assert memory(layer.bias) == memory(source.bias) and layer.weight.shape == TRUNK[name]
        assert torch.equal(layer.weight.flatten()[:99], source.weight.flatten()[:99])
    for name, layer in net.named_children():
        if name.startswith("score"):
            assert not layer.weight.any() and not layer.bias.any() and layer.weight.requires_grad
        if name.startswith("upscore"):
            assert torch.equal(layer.weight[20, 20], bilinear_kernel(layer.kernel_size[0]))
            assert layer.weight.sum() == 21 * layer.stride[0] ** 2 and not layer.weight.requires_grad
    assert not any(module.training for module in net.modules())


def test_what_is_written_into_the_classifier_is_in_the_fcn_and_a_copy_has_its_own() -> None:
    vgg = real_vgg16()
    net = models.fcn32s(from_classifier=vgg)
    own = copy.deepcopy(net.conv5_3)
    before = vgg.features[28].weight[0, 0, 0, 0].item()
    vgg.features[28].weight[0, 0, 0, 0] = 7.0
    assert net.conv5_3.weight[0, 0, 0, 0] == 7.0 and own.weight[0, 0, 0, 0] == before
    vgg.features[28].weight[0, 0, 0, 0] = before


def test_memory_is_no_longer_shared_once_a_net_has_another_number_type() -> None:
    vgg = real_vgg16()
    net = models.fcn32s(from_classifier=vgg)
    assert memory(net.conv1_2.weight) == memory(vgg.features[2].weight)
    net.double()
    assert (
        memory(net.conv1_2.weight) != memory(vgg.features[2].weight) and vgg.features[2].weight.dtype == torch.float32
    )


def test_up_to_fc7_it_computes_what_the_classifier_computes() -> None:
    """With the classifier's padding, that is; with 100 it is the same weights on a larger map."""
    vgg, net = real_vgg16(), models.fcn32s(pad=1, from_classifier=real_vgg16())
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    ours = nn.Sequential(*(net.get_submodule(name) for name in net.trunk[:-1]))(x)
    theirs = vgg.classifier[:6](vgg.features(x).flatten(1))
    assert ours.shape == (1, 4096, 1, 1)
    torch.testing.assert_close(ours.flatten(1), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["linear", "conv", "adaptive"])
@pytest.mark.parametrize("name", UP)
def test_any_head_will_do_and_a_model_on_meta_stays_there(head: Any, name: str) -> None:
    net = NETS[name](3, from_classifier=models.vgg16(head))
    assert all(p.is_meta for p in net.parameters())
    assert run(net, 100, 60) == (1, 3, 100, 60)
    assert {key: p.shape for key, p in net.named_parameters()} == {
        k: p.shape for k, p in NETS[name](3).named_parameters()
    }


def test_number_type_and_frozen_weights_are_the_classifiers() -> None:
    vgg = models.vgg16("conv").double()
    vgg.features.requires_grad_(False)
    net = models.fcn8s(from_classifier=vgg)
    assert {p.dtype for p in net.parameters()} == {torch.float64}
    assert not net.conv1_1.weight.requires_grad and net.fc6.weight.requires_grad and net.score_fr.weight.requires_grad


def test_with_a_seed_the_scores_are_drawn() -> None:
    vgg = real_vgg16()
    one, same, other = (models.fcn16s(from_classifier=vgg, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.score_fr.weight, same.score_fr.weight) and one.score_pool4.weight.std() > 0
    assert not torch.equal(one.score_fr.weight, other.score_fr.weight)
    assert memory(one.fc7.weight) == memory(vgg.classifier[3].weight)


def test_caffes_alexnet_becomes_fcn_alexnet() -> None:
    net = models.fcn_alexnet(from_classifier=models.caffe_alexnet())
    assert run(net, 120, 80) == (1, 21, 120, 80)
    words = "features.0 of AlexNet is 64 filters of 3×11×11, stride 4; conv1 of FCNAlexNet needs 96 filters of 3×11×11"
    with pytest.raises(InputError, match=words):
        models.fcn_alexnet(from_classifier=models.alexnet())


def changed(change: Callable[[models.VGG16], object]) -> models.VGG16:
    vgg = models.vgg16()
    change(vgg)
    return vgg


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (models.lenet(), "FCN32s is made from VGG16, which has 16 layers with weights(.*); LeNet has 5"),
        (models.alexnet(), "AlexNet has 8"),
        ("vgg16", "takes a network, VGG16, and was given str"),
        (changed(lambda m: m.features.append(nn.BatchNorm2d(512))), "VGG16 has 17"),
        (
            changed(lambda m: m.features.__setitem__(2, nn.Conv2d(64, 64, 5, padding=2))),
            "features.2 of VGG16 is 64 filters of 64×5×5; conv1_2 of FCN32s needs 64 filters of 64×3×3",
        ),
        (
            changed(lambda m: m.features.__setitem__(2, nn.Conv2d(64, 64, 3, stride=2, bias=False))),
            "is 64 filters of 64×3×3, stride 2, without bias; conv1_2",
        ),
        (
            changed(lambda m: m.classifier.__setitem__(0, nn.Linear(512 * 8 * 8, 4096))),
            r"classifier.0 of VGG16 is Linear\(in_features=32768(.*)fc6 of FCN32s needs 4096 filters of 512×7×7",
        ),
        (
            changed(lambda m: m.features.__setitem__(2, nn.ConvTranspose2d(64, 64, 3))),
            "features.2 of VGG16 is ConvTranspose2d",
        ),
    ],
)
def test_other_classifiers_are_refused_with_the_layer_that_differs(classifier: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        models.fcn32s(from_classifier=classifier)


# From a coarser net


def test_a_finer_net_takes_over_the_coarser_ones_weights() -> None:
    coarse = models.fcn32s(from_classifier=real_vgg16(), seed=5)
    middle = models.fcn16s(from_fcn32s=coarse)
    fine = models.fcn8s(from_fcn16s=middle)
    for name in (*PLACES, "score_fr"):
        places = {memory(net.get_submodule(name).weight) for net in (coarse, middle, fine)}
        assert len(places) == 1, name
    assert memory(fine.score_pool4.weight) == memory(middle.score_pool4.weight)
    assert not middle.score_pool4.weight.any() and not fine.score_pool3.weight.any()
    assert torch.equal(fine.upscore8.weight[3, 3], bilinear_kernel(16))


def test_it_begins_with_what_the_coarser_net_says_but_for_the_corners_at_the_cells() -> None:
    """A straight line between two cells has its corners at their centres, in one step; two steps cut them off."""
    coarse = models.fcn32s(from_classifier=real_vgg16(), seed=5)
    middle = models.fcn16s(from_fcn32s=coarse)
    x = torch.randn(1, 3, 90, 60, generator=torch.Generator().manual_seed(0))
    one, other = coarse(x), middle(x)
    assert one.shape == other.shape == (1, 21, 90, 60)
    first = (coarse.upscore.kernel_size[0] - 1) / 2 - coarse.crops["upscore"]  # the pixel on which cell 0 lies
    straight = [[n for n in range(size) if n > first and 8 <= (n - first) % 32 <= 24] for size in (70, 40)]
    apart = (one - other).abs()
    assert [len(rows) for rows in straight] == [32, 16]
    assert apart[:, :, straight[0]][..., straight[1]].max() < 1e-6 * one.abs().max()
    assert apart.max() > 0.1 * one.abs().max()


def test_a_net_refines_the_next_coarser_one_only() -> None:
    with pytest.raises(InputError, match="FCN8s refines an FCN16s, no FCN32s"):
        models.fcn8s(from_fcn16s=models.fcn32s())
    with pytest.raises(InputError, match="score_fr of FCN32s has weights 21×4096×1×1, 5×4096×1×1 are needed"):
        models.fcn16s(5, from_fcn32s=models.fcn32s())
    with pytest.raises(InputError, match="from a classifier or from a coarser net, not both"):
        models.fcn16s(from_classifier=models.vgg16(), from_fcn32s=models.fcn32s())


# From a seed


def test_a_seed_gives_vgg16s_numbers_up_to_fc7_and_bilinear_upsampling() -> None:
    net = models.fcn8s(3, seed=0)
    for name, source in zip(PLACES, sources(real_vgg16()), strict=True):
        assert torch.equal(net.get_submodule(name).weight.flatten(), source.weight.flatten()), name
    assert net.score_pool3.weight.std() > 0
    for name in UP["fcn8s"]:
        layer = net.get_submodule(name)
        assert torch.equal(layer.weight[1, 1], bilinear_kernel(layer.kernel_size[0])) and not layer.weight[1, 0].any()
    x = torch.randn(1, 3, 33, 20, generator=torch.Generator().manual_seed(0))
    answer = net(x)
    assert answer.shape == (1, 3, 33, 20) and 0.01 < answer.std() < 100


def test_the_least_pads_of_fcn_alexnet_make_some_outputs_short_without_a_word() -> None:
    for pad in range(82, 88):
        made = heights(law_of("fcn_alexnet", pad=pad))
        assert any(n is not None and n < h for h, n in enumerate(made, 1)) == (pad < 85), pad


@every_net
def test_a_net_can_be_copied_and_pickled(make: Make) -> None:
    for other in (copy.deepcopy(make()), pickle.loads(pickle.dumps(make()))):
        assert other.crops == make().crops and run(other, 50, 70) == (1, 21, 50, 70)

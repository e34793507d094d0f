"""Each question has the answer that torch gives, every other answer is wrong and told why; nothing gives it away."""

import copy
import math
import re
import subprocess
import sys
from functools import cache
from html import escape

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fcnviz.errors import InputError
from fcnviz.exercises import LESSONS, AnswerSheet, Question, Score, answer_sheet, check, exercise, kinds, question
from fcnviz.exercises.course import DRAWN, stands_in
from fcnviz.exercises.quiz import NONE_OF_THESE
from fcnviz.exercises.reading import shown
from fcnviz.exercises.sheet import right
from fcnviz.surgery import convolutionalize

KINDS = tuple(DRAWN)
SEEDS = range(21)  # for 56 kinds: more than a thousand instances
FEW = range(4)

drawn = cache(question)


def notations(answer):
    """The same answer as students type it."""
    if isinstance(answer, str):
        return [answer, answer.upper()]
    if isinstance(answer, tuple) and not any(isinstance(part, int) for part in answer):
        return [answer, ", ".join(answer) or "none"]
    if isinstance(answer, float):
        return [f"{answer:.1f}", f"{answer:.1f}".replace(".", ","), round(answer, 1)]
    if isinstance(answer, int):
        return [answer, f"{answer:,}", f"{answer:,}".replace(",", " "), f" {answer} "]
    sizes = list(map(str, answer))
    return ["x".join(sizes), " × ".join(sizes), f"({', '.join(sizes)})", f"1×{'×'.join(sizes)}", list(answer)]


def wrong_answers(asked):
    """Those whose way is known, and others near by and far off."""
    if asked.form == "choices":
        return [tuple(c for c in asked.choices if (c in asked.answer) != (c == other)) for other in asked.choices]
    if asked.form == "choice":
        return [choice for choice in asked.choices if choice not in asked.answers]
    known = [mistake.answer for mistake in asked.mistakes]
    if asked.form == "shape":
        right = list(asked.answer)
        moved = [(*right[:i], right[i] + by, *right[i + 1 :]) for i in range(len(right)) for by in (-1, 1, 7)]
        return [*known, *moved, (*right, 2), tuple(right[:-1])]
    near = [answer + by for answer in (asked.answers[0], asked.answers[-1]) for by in (-1, 1, 17, 1000)]
    return [*known, *(one for one in near if one not in asked.answers)]


# --- a thousand instances


@pytest.mark.parametrize("kind", KINDS)
def test_the_traces_answer_is_right_and_every_other_one_is_wrong_with_a_hint_that_quotes_it(kind):
    for seed in SEEDS:
        asked = drawn(kind, seed)
        for answer in asked.answers:
            for said in notations(answer):
                verdict = check(asked, said)
                assert verdict.right and verdict.words.startswith("Right"), (asked, said)
        for wrong in wrong_answers(asked):
            verdict = check(asked, wrong)
            assert not verdict.right and verdict.read is not None, (asked, wrong)
            assert verdict.words.startswith(f"You say {shown(wrong)}: "), verdict.words
            assert len(verdict.words) > len(f"You say {shown(wrong)}: ") + 10


@pytest.mark.parametrize("kind", KINDS)
def test_no_question_holds_its_answer_and_every_form_is_stated(kind):
    for seed in SEEDS:
        asked = drawn(kind, seed)
        told = f"{asked.code}\n{asked.text}"
        if asked.choices:
            assert len(set(asked.choices)) == len(asked.choices) >= 3
            assert set(asked.answers if asked.form == "choice" else asked.answer) <= set(asked.choices)
            named = [choice for choice in asked.choices if choice in asked.text]
            assert named in ([], list(asked.choices)), "the text names no choice alone"
        else:
            assert not any(stands_in(answer, told) for answer in asked.answers), asked
        assert asked.form in ("choices", "number") or len(asked.answers) == 1
        assert str(asked).endswith(asked.asked)
        assert not {"answers=", "mistakes="} & set(re.findall(r"\w+=", repr(asked))), (
            "a notebook shows what stands alone in a cell"
        )


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_give_different_questions_and_each_seed_always_the_same(kind):
    all_of_them = [drawn(kind, seed) for seed in SEEDS]
    assert all_of_them[3] == question(kind, 3)
    assert len({(asked.code, asked.text, asked.choices) for asked in all_of_them}) >= len(SEEDS) - 3
    assert len({asked.answer for asked in all_of_them}) >= 3


def test_no_answer_is_so_frequent_that_guessing_pays():
    for kind in KINDS:
        answers = [drawn(kind, seed).answer for seed in SEEDS]
        assert max(map(answers.count, answers)) <= 13, kind


# --- torch's own answer, by another way


def pasted(asked, number=None, device="cpu"):
    """What the code of a question defines, once it is pasted and its dots are replaced."""
    names = {}
    with torch.device(device):
        exec(asked.code.replace("...", str(number)), names)
    return names


def without_numbers(asked, number=None):
    """The same where sizes alone count: torch's own layers on the meta device."""
    return pasted(asked, number, "meta")["net"]


def images(asked):
    """The shapes C×H×W in the text."""
    return [tuple(map(int, found)) for found in re.findall(r"(\d+)×(\d+)×(\d+)", asked.text)]


def sides(asked):
    """The squares in the text."""
    return [int(a) for a, b in re.findall(r"(?<![×\d])(\d+)×(\d+)(?![×\d])", asked.text) if a == b]


def ran(net, shape, batch=1):
    """The shape that torch makes, without the batch; None if it raises."""
    like = next(net.parameters(), torch.zeros(()))
    try:
        with torch.no_grad():
            return tuple(net.eval()(torch.zeros(batch, *shape, device=like.device, dtype=like.dtype)).shape[1:])
    except (RuntimeError, ValueError):
        return None


def channels_of(net):
    return next(m.in_channels for m in net.modules() if isinstance(m, nn.Conv2d))


def shape_that_comes_out(asked):
    return {ran(pasted(asked)["net"], images(asked)[0])}


def parameters_of_the_net(asked):
    return {sum(p.numel() for p in pasted(asked)["net"].parameters())}


def numbers_that_give_the_size(asked):
    size, wanted = sides(asked)
    tried = range(0 if "p = ..." in asked.code else 1, 90)
    found = set()
    for number in tried:
        net = without_numbers(asked, number)
        if (ran(net, (net[0].in_channels, size, size)) or (0,))[-1] == wanted:
            found.add(number)
    return found


def columns_of_no_gradient(asked):
    net, (size,) = pasted(asked)["net"], sides(asked)
    x = torch.rand(1, 3, size, size, requires_grad=True)
    swapped = nn.Sequential(*(nn.AvgPool2d(m.kernel_size, m.stride) if isinstance(m, nn.MaxPool2d) else m for m in net))
    swapped(x).sum().backward()
    read = x.grad.abs().sum((0, 1, 2)) > 0
    return {int((~read).sum())}


def smallest_that_runs(asked):
    net = without_numbers(asked)
    return {next(size for size in range(1, 100) if ran(net, (channels_of(net), size, size)))}


def layers_that_keep_the_size(asked):
    (size,) = sides(asked)
    return {choice for choice in asked.choices if ran(eval(choice), (3, size, size))[1:] == (size, size)}


def columns_that_run(asked):
    shape = images(asked)[0]
    net = pasted(asked, 1)["net"]
    made = next(i for i, layer in enumerate(net) if isinstance(layer, nn.Flatten))
    count = ran(net[: made + 1], shape)[0]
    if "..." in asked.code:
        assert ran(pasted(asked, count)["net"], shape) and not ran(pasted(asked, count + 1)["net"], shape)
    return {count}


def error_of(net, shape):
    with pytest.raises(RuntimeError) as raised:
        net.eval()(torch.zeros(1, *shape))
    return str(raised.value)


def number_in_the_error(asked):
    return {int(re.findall(r"1x(\d+) and", error_of(pasted(asked)["net"], images(asked)[0]))[0])}


def first_layer_that_raises(asked):
    x = torch.zeros(1, *images(asked)[0])
    for choice, layer in zip(asked.choices, pasted(asked)["net"].eval(), strict=False):
        try:
            x = layer(x)
        except (RuntimeError, ValueError):
            return {choice}
    return {asked.choices[-1]}


def sizes_that_run(asked):
    net = without_numbers(asked)
    sizes = [tuple(map(int, choice.split("×"))) for choice in asked.choices]
    passing = [c for c, size in zip(asked.choices, sizes, strict=True) if ran(net, (channels_of(net), *size))]
    return {tuple(passing)}


def squares_that_run(asked):
    net = without_numbers(asked)
    return {size for size in range(1, 130) if ran(net, (channels_of(net), size, size))}


def largest_square_that_runs(asked):
    return {max(squares_that_run(asked))}


def rows_of_the_batch(asked):
    batch = int(re.match(r"\d+", asked.text)[0])
    return {pasted(asked)["net"].eval()(torch.zeros(batch, *images(asked)[0])).shape[0]}


def linear_and_sizes(asked):
    return pasted(asked)["linear"], images(asked)[0]


def by_other_means(asked):
    """The cast written out with `view`, and sure to give the Linear's answers."""
    linear, sizes = linear_and_sizes(asked)
    conv = nn.Conv2d(sizes[0], linear.out_features, sizes[1:])
    conv.weight.data, conv.bias.data = linear.weight.data.view(-1, *sizes), linear.bias.data
    x = torch.rand(1, *sizes)
    torch.testing.assert_close(conv(x).flatten(1), linear(x.flatten(1)))
    return conv


def weight_of_the_cast(asked):
    return {tuple(by_other_means(asked).weight.shape)}


def parameters_of_the_cast(asked):
    return {sum(p.numel() for p in by_other_means(asked).parameters())}


def map_of_the_cast(asked):
    return {ran(by_other_means(asked), images(asked)[1])}


def index_in_the_row(asked):
    x = pasted(asked)["x"]
    c, i, j = map(int, re.findall(r"x\[(\d+), (\d+), (\d+)\]", asked.text)[0])
    return {(x.flatten() == x[c, i, j]).nonzero().item()} if len(set(x.flatten().tolist())) == x.numel() else set()


def views_that_agree(asked):
    linear, sizes = linear_and_sizes(asked)
    x = torch.rand(1, *sizes)
    kernels = {choice: eval(choice, {"linear": linear}) for choice in asked.choices}
    return {choice for choice, kernel in kernels.items() if answers_as(linear, kernel, x)}


def answers_as(linear, kernel, x):
    wanted = linear(x.flatten(1))
    try:
        given = F.conv2d(x, kernel, linear.bias).flatten(1)
    except RuntimeError:
        return False
    return given.shape == wanted.shape and torch.allclose(given, wanted, atol=1e-5)


def kernels_of_the_heads(asked):
    net, shape = pasted(asked)["net"], images(asked)[0]
    flat = next(i for i, layer in enumerate(net) if isinstance(layer, nn.Flatten))
    _, h, w = ran(net[:flat], shape)
    return {f"{h}×{w}, then 1×1"}


def one_number(asked):
    names = pasted(asked)
    return {int(names["linear"](names["x"].flatten(1)).item())}


def dense(asked, net=None):
    """The network of the question with its Linear as a convolution, built by hand."""
    net, made_for = pasted(asked)["net"] if net is None else net, images(asked)[0]
    front, linear = net[:-2], net[-1]
    channels, h, w = ran(front, made_for)
    conv = nn.Conv2d(channels, linear.out_features, (h, w))
    conv.weight.data, conv.bias.data = linear.weight.data.view(-1, channels, h, w), linear.bias.data
    return nn.Sequential(*front, conv)


def dense_map(asked):
    return {ran(dense(asked), images(asked)[1])}


def dense_answers(asked):
    return {math.prod(ran(dense(asked), images(asked)[1])[1:])}


def smooth(net):
    """The same windows with positive weights and averages, so that no number that is read goes unseen."""
    layers = []
    for layer in net.double():
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            layers.append(
                nn.AvgPool2d(layer.kernel_size, layer.stride, ceil_mode=layer.ceil_mode, count_include_pad=False)
            )
        elif isinstance(layer, nn.Conv2d):
            layer.weight.data.fill_(1 / layer.weight[0].numel())
            layer.bias.data.zero_()
            layers.append(layer)
        elif isinstance(layer, nn.ConvTranspose2d):
            f = (layer.kernel_size[0] + 1) // 2
            tent = 1 - (torch.arange(layer.kernel_size[0], dtype=torch.float64) - (f - 0.5)).abs() / f
            layer.weight.data = torch.outer(tent, tent).expand_as(layer.weight) / layer.in_channels
            layer.bias.data.zero_()
            layers.append(layer)
    return nn.Sequential(*layers)


def columns_seen(net, size, cell):
    """First and last column that a cell in the middle row reads, by its gradient."""
    x = torch.ones(1, channels_of(net), size, size, dtype=torch.float64, requires_grad=True)
    out = net(x)
    out[0, 0, out.shape[2] // 2, cell].backward()
    read = (x.grad[0].abs().sum((0, 1)) > 0).nonzero()
    return read.min().item(), read.max().item()


def far_inside(asked):
    net = smooth(dense(asked))
    size = images(asked)[0][1] + 160
    return net, size, ran(copy.deepcopy(net).to("meta"), (channels_of(net), size, size))[2] // 2


def columns_between_answers(asked):
    net, size, cell = far_inside(asked)
    return {columns_seen(net, size, cell + 1)[0] - columns_seen(net, size, cell)[0]}


def width_seen(asked):
    net, size, cell = far_inside(asked)
    first, last = columns_seen(net, size, cell)
    return {last - first + 1}


def first_column_seen(asked):
    (size,) = sides(asked)
    cell = int(re.findall(r"in column (\d+)", asked.text)[0])
    return {columns_seen(smooth(dense(asked)), size, cell)[0]}


def size_for_so_many(asked):
    net, (cells,) = dense(asked).to("meta"), sides(asked)
    made = ((size, ran(net, (channels_of(net), size, size))) for size in range(1, 500))
    return {next(size for size, out in made if out and out[1:] == (cells, cells))}


def macs_of(net, shape):
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net.to("meta").eval()(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2


def patches_against_one_run(asked):
    made_for, image = images(asked)[:2]
    net = convolutionalize(pasted(asked)["net"], (1, *made_for))
    patches = math.prod(ran(dense(asked), image)[1:])
    return {patches * macs_of(net, made_for) / macs_of(net, image)}


def cells_that_agree(asked):
    """The patch, cut from an image, against the run on the whole: bit for bit is not asked, rounding is allowed."""
    net, (channels, size, _) = smooth(pasted(asked)["net"]), images(asked)[0]
    jump = math.prod(m.stride if isinstance(m.stride, int) else m.stride[0] for m in net)
    x = torch.rand(1, channels, size + 16 * jump, size + 16 * jump, dtype=torch.float64) + 1
    start = 8 * jump
    part, whole = net(x[..., start : start + size, start : start + size])[0], net(x)[0]
    same = (part - whole[:, 8 : 8 + part.shape[1], 8 : 8 + part.shape[2]]).abs().amax(0) < 1e-12
    return {int(same.sum())}


def ramp(net, size=260):
    """What a network makes of an image whose pixels are their own column numbers, in its middle row."""
    x = torch.arange(size, dtype=torch.float64).expand(1, channels_of(net), size, size)
    out = smooth(net)(x)
    return out[0, 0, out.shape[2] // 2]


def cells_before(asked, number=None):
    """Cells before the image: where a cell says at which pixel it lies."""
    row = ramp(pasted(asked, number)["net"])
    middle = len(row) // 2
    return middle - round(row[middle].item(), 6)


def cut_of_the_ramp(asked):
    return {cells_before(asked)}


def around(asked):
    """A few paddings to try; one pixel more moves every cell by one, so that none further off can do."""
    return range(max(0, asked.answer - 2), asked.answer + 3)


def padding_of_the_cut(asked):
    wanted = int(re.findall(r"cut after (\d+) rows", asked.text)[0])
    return {p for p in around(asked) if cells_before(asked, p) == wanted}


def padding_of_no_cut(asked):
    return {p for p in around(asked) if cells_before(asked, p) == 0}


def cut_of_the_finer(asked):
    names = pasted(asked)
    f = ramp(names["fine"])
    both = ramp(nn.Sequential(*names["fine"], *names["coarse"]))
    middle = len(both) // 2
    at = (f - both[middle]).abs().argmin().item()
    assert abs(f[at] - both[middle]) < 1e-6
    return {at - middle}


def sum_of_the_tents(asked):
    k = sides(asked)[0]
    f = (k + 1) // 2
    centre = f - 1 if k % 2 else f - 0.5
    return {round(sum(1 - abs(i - centre) / f for i in range(k)) ** 2)}


def ones_that_meet(asked):
    layer = pasted(asked)["net"][0]
    i, j = map(int, re.findall(r"row (\d+), column (\d+)", asked.text)[0])
    made = F.conv_transpose2d(torch.ones(1, *images(asked)[0]), torch.ones_like(layer.weight), stride=layer.stride)
    return {int(made[0, 0, i, j].item())}


def channels_that_run(asked):
    net, shape = without_numbers(asked), images(asked)[0]
    place = int(re.findall(r"layer (\d+)", asked.text)[0])
    old = net[place]

    def other(inputs):
        return nn.Conv2d(inputs, old.out_channels, old.kernel_size, old.stride, device="meta")

    return {n for n in range(1, 140) if ran(nn.Sequential(*net[:place], other(n), *net[place + 1 :]), shape)}


def error_that_torch_raises(asked):
    return {error_of(pasted(asked)["net"], images(asked)[0])}


def changes_that_run(asked):
    net, shape = pasted(asked)["net"], images(asked)[0]
    assert ran(net, shape) is None
    front, linear = net[:-2], net[-1]

    def changed(choice):
        if choice.startswith("write"):
            return [*front, nn.Flatten(), eval(choice.removeprefix("write "))]
        if choice.startswith("put"):
            return [*front, eval(choice.removeprefix("put ").removesuffix(" before flatten")), nn.Flatten(), linear]
        return [*front, linear]

    return {choice for choice in asked.choices if ran(nn.Sequential(*changed(choice)), shape)}


def pairs_of(asked):
    """Every pixel of the question's table as truth and answer."""
    counts = pasted(asked)["counts"].tolist()
    return [(i, j) for i, row in enumerate(counts) for j, pixels in enumerate(row) for _ in range(pixels)]


def overlap_in(pairs, label):
    truth, answer = ({place for place, pair in enumerate(pairs) if pair[side] == label} for side in (0, 1))
    return len(truth & answer) / len(truth | answer)


def close_to(asked, percent):
    """The question's own number, if it is the one that was found by another way."""
    return {answer if math.isclose(answer, percent) else percent for answer in asked.answers}


def share_of_pairs(asked):
    pairs = pairs_of(asked)
    return close_to(asked, 100 * sum(i == j for i, j in pairs) / len(pairs))


def overlap_of_one(asked):
    return close_to(asked, 100 * overlap_in(pairs_of(asked), int(re.search(r"IU of class (\d)", asked.text)[1])))


def mean_of_overlaps(asked):
    pairs = pairs_of(asked)
    classes = {i for i, _ in pairs}
    return close_to(asked, 100 * sum(overlap_in(pairs, label) for label in classes) / len(classes))


def nothing_but_background(asked):
    pixels, paper, others = map(int, re.findall(r"\d+", asked.text))
    pairs = [(0, 0)] * paper + [(1 + place % others, 0) for place in range(pixels - paper)]
    return close_to(asked, 100 * sum(overlap_in(pairs, label) for label in range(others + 1)) / (others + 1))


def smallest_box(asked):
    """The union of all pixels, each image with its upper left corner at the same place."""
    images = pasted(asked)["images"]
    pixels = torch.cat([torch.ones_like(image).nonzero() for image in images])
    return {tuple((pixels.amax(0) + 1).tolist())}


def pixels_without_a_gradient(asked):
    labels = pasted(asked)["batch"].labels
    scores = torch.rand(len(labels), 2, *labels.shape[1:], requires_grad=True)
    F.cross_entropy(scores, labels, ignore_index=255).backward()
    return {int((scores.grad.abs().sum(1) == 0).sum())}


def cell_with_the_same_answer(asked):
    net, (made_for, canvas) = pasted(asked)["net"].eval(), images(asked)
    first = int(re.search(r"begins with column (\d+)", asked.text)[1])
    x = torch.rand(1, *canvas)
    alone, cells = net(x[..., first : first + made_for[2]])[0], dense(asked, net)(x)[0, :, 0]
    return {place for place, cell in enumerate(cells.T) if torch.allclose(cell, alone, atol=1e-6)}


def batches_counted(asked):
    images, size, epochs, skips = map(int, re.findall(r"\d+", asked.text))
    loader = torch.utils.data.DataLoader(range(images), batch_size=size)
    return {sum(1 for _ in range(skips * epochs) for _ in loader)}


def counted_macs(asked):
    return {macs_of(pasted(asked)["net"], images(asked)[0])}


ORACLES = {
    "1.shape_after": shape_that_comes_out,
    "1.shape_of_one": shape_that_comes_out,
    "1.weights": parameters_of_the_net,
    "1.kernel_for": numbers_that_give_the_size,
    "1.padding_for": numbers_that_give_the_size,
    "1.stride_for": numbers_that_give_the_size,
    "1.never_read": columns_of_no_gradient,
    "1.smallest_image": smallest_that_runs,
    "1.keeps_the_size": layers_that_keep_the_size,
    "2.columns": columns_that_run,
    "2.message": number_in_the_error,
    "2.which_breaks": first_layer_that_raises,
    "2.which_sizes": sizes_that_run,
    "2.made_for": squares_that_run,
    "2.largest_that_passes": largest_square_that_runs,
    "2.adaptive": columns_that_run,
    "2.silent_rows": rows_of_the_batch,
    "3.kernel_shape": weight_of_the_cast,
    "3.parameters": parameters_of_the_cast,
    "3.cast_output": map_of_the_cast,
    "3.column": index_in_the_row,
    "3.order": views_that_agree,
    "3.second_kernel": kernels_of_the_heads,
    "3.by_hand": one_number,
    "4.map_shape": dense_map,
    "4.answers": dense_answers,
    "4.jump": columns_between_answers,
    "4.field": width_seen,
    "4.first_pixel": first_column_seen,
    "4.size_for": size_for_so_many,
    "4.cost": patches_against_one_run,
    "4.clean_cells": cells_that_agree,
    "5.up_size": shape_that_comes_out,
    "5.up_kernel": numbers_that_give_the_size,
    "5.crop": cut_of_the_ramp,
    "5.pad_for_crop": padding_of_the_cut,
    "5.smallest_pad": padding_of_no_cut,
    "5.skip_crop": cut_of_the_finer,
    "5.kernel_sum": sum_of_the_tents,
    "5.meeting": ones_that_meet,
    "5.ceil_map": shape_that_comes_out,
    "6.pixels_right": share_of_pairs,
    "6.iu": overlap_of_one,
    "6.mean_iu": mean_of_overlaps,
    "6.all_background": nothing_but_background,
    "6.batch_shape": smallest_box,
    "6.left_out": pixels_without_a_gradient,
    "6.cell_of": cell_with_the_same_answer,
    "6.control_steps": batches_counted,
    "7.columns": columns_that_run,
    "7.channels": channels_that_run,
    "7.which_breaks": first_layer_that_raises,
    "7.message": error_that_torch_raises,
    "7.repair": changes_that_run,
    "7.grouped": parameters_of_the_net,
    "7.multiply_adds": counted_macs,
}


def test_every_kind_has_an_answer_by_another_way():
    assert tuple(ORACLES) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_real_numbers_give_the_same_answers_and_no_others(kind):
    for seed in FEW:
        asked = drawn(kind, seed)
        assert ORACLES[kind](asked) == set(asked.answers), asked


# --- what a student types


def ask(form, answer, choices=()):
    return Question(1, "1.none", 0, "?", "", form, choices, (answer,))


@pytest.mark.parametrize(
    "said",
    [
        "1x4096x2x2",
        "1×4096×2×2",
        "(1, 4096, 2, 2)",
        "4096×2×2",
        "[4096, 2, 2]",
        "4096 2 2",
        "4,096 × 2 × 2",
        "4 096×2×2",
        "torch.Size([1, 4096, 2, 2])",
        (1, 4096, 2, 2),
        [4096, 2, 2],
        torch.Size((1, 4096, 2, 2)),
        " 4096 * 2 * 2 ",
    ],
)
def test_a_shape_is_read_however_it_is_written(said):
    assert check(ask("shape", (4096, 2, 2)), said).right


@pytest.mark.parametrize("said", ["25088", "25 088", "25,088", "25\u202f088", "25_088", " 25088 ", 25088, 25088.0])
def test_a_number_is_read_however_it_is_written(said):
    assert check(ask("number", 25088), said).right


@pytest.mark.parametrize("said", ["8.8", "8,8", "8.80", 8.8, "8.8×", "8.83"])
def test_a_number_with_a_point_is_right_to_its_first_digit(said):
    assert check(ask("decimal", 8.804), said).right
    assert not check(ask("decimal", 8.904), said).right


@pytest.mark.parametrize("said", ["4 Linear", "4", "4 linear", "4Linear", "4 LINEAR"])
def test_a_choice_is_named_in_full_or_by_its_number(said):
    assert check(ask("choice", "4 Linear", ("0 Conv2d", "4 Linear", "14 Linear", "none: it runs")), said).right


@pytest.mark.parametrize(
    "said", ["224×224, 255×255", "255x255 and 224x224", ["224×224", "255×255"], "224 × 224; 255×255"]
)
def test_several_choices_are_read_in_any_order(said):
    assert check(ask("choices", ("224×224", "255×255"), ("223×223", "224×224", "255×255")), said).right


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("shape", "a lot"),
        ("shape", "4096×x×2"),
        ("shape", "-1×2"),
        ("number", "12.5"),
        ("number", "2 5088"),
        ("number", ""),
        ("number", "25088 numbers"),
        ("decimal", "about 8"),
        ("choice", "5"),
        ("choice", ""),
        ("choices", "4, 9"),
        ("choices", ""),
    ],
)
def test_what_cannot_be_read_is_quoted_with_what_is_wanted(form, said):
    verdict = check(ask(form, 1, ("0 Conv2d", "4 Linear")), said)
    assert verdict.read is None and not verdict.right
    assert f"“{said.split(', ')[-1]}”" in verdict.words if said else verdict.words.startswith("Nothing typed yet: ")
    assert re.search("a shape, such as|whole number, such as|a number, such as|of: 0 Conv2d; 4 Linear", verdict.words)


def test_what_is_not_there_is_refused_by_name():
    with pytest.raises(InputError, match=r"lesson 8 was asked for; questions are there for 1, 2, 3, 4, 5, 6, 7"):
        question(8, 0)
    with pytest.raises(InputError, match=r"'2\.rows' is no kind of question; there are 1\.shape_after, "):
        question("2.rows", 0)
    with pytest.raises(InputError, match=r"a seed of '3' was given; it is a whole number"):
        question(2, "3")


def test_each_lesson_has_five_kinds_and_its_seeds_go_round_them():
    assert tuple(LESSONS) == (1, 2, 3, 4, 5, 6, 7)
    for lesson in LESSONS:
        names = kinds(lesson)
        assert len(names) >= 5
        assert {question(lesson, seed).kind for seed in range(len(names))} == set(names)


def test_hints_count_what_the_trace_shows():
    asked = next(q for q in (drawn("2.columns", seed) for seed in SEEDS) if q.code.count("Pool2d") == 3)
    fewer = next(m for m in asked.mistakes if "2 pools would give" in m.words)
    words = check(asked, fewer.answer).words
    assert words == f"You say {shown(fewer.answer)}: that is what 2 pools would give; the trace shows 3 pools."


# --- for the teacher


def test_an_answer_sheet_has_every_seed_and_every_answer():
    sheet = answer_sheet(3, range(4))
    assert isinstance(sheet, AnswerSheet) and len(sheet.questions) == 4 * len(kinds(3))
    lines, page = str(sheet).splitlines(), sheet._repr_html_()
    assert len(lines) == 1 + len(sheet.questions)
    for line, asked in zip(lines[1:], sheet.questions, strict=True):
        assert line.split()[:2] == [str(asked.seed), asked.kind] and line.endswith(shown(asked.answer))
        assert asked == question(asked.kind, asked.seed)
    assert page.count("<tr>") == len(lines) and "Linear layer is a convolution: answers" in page
    assert "<script" not in page


def test_all_right_answers_stand_on_the_sheet_as_ranges():
    asked = drawn("2.made_for", 1)
    first, last = asked.answers[0], asked.answers[-1]
    assert str(answer_sheet("2.made_for", [1])).endswith(f"{first}–{last}" if last > first else str(first))


# --- the widget


def test_importing_the_exercises_brings_no_widgets():
    code = "import sys, fcnviz.exercises; assert not {'ipywidgets', 'matplotlib', 'sympy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def typed(quiz, said):
    quiz.field.value = str(said)


def test_a_typed_answer_is_judged_at_once_and_counted_once():
    quiz = exercise("2.columns", seed=4)
    typed(quiz, 1)
    assert "✗ You say 1: " in quiz.told.value and quiz.verdict.read == 1
    quiz.check_button.click()  # the same answer again
    typed(quiz, "many")
    assert "could not read “many”" in quiz.told.value
    assert quiz.score.line == "0 of 1 right, 0 at the first try"
    typed(quiz, quiz.question.answer)
    assert "✓ Right" in quiz.told.value
    typed(quiz, 2)  # after the right answer nothing counts any more
    (result,) = quiz.score.results
    assert (result.lesson, result.kind, result.seed, result.tries, result.right) == (2, "2.columns", 4, 2, True)
    assert "1 of 1 right, 0 at the first try" in quiz.table.value


def test_the_next_question_is_the_next_seed_and_starts_empty():
    quiz = exercise(1, seed=0)
    shown_before = quiz.asked.value
    typed(quiz, "1×1")
    quiz.next_button.click()
    assert quiz.seed == 1 and quiz.question == question(1, 1)
    assert quiz.asked.value != shown_before and quiz.field.value == "" and "You say" not in quiz.told.value
    assert quiz.score.asked == 1


def test_a_choice_is_pressed_and_several_are_ticked():
    quiz = exercise("2.which_breaks", seed=2)
    assert tuple(quiz.one.options) == quiz.question.choices and quiz.one.value is None
    assert quiz.field.layout.display == quiz.several.layout.display == "none"
    quiz.check_button.click()
    assert "Nothing chosen yet." in quiz.told.value and quiz.score == Score()
    quiz.one.value = quiz.question.answer
    quiz.check_button.click()
    assert "✓ Right" in quiz.told.value and quiz.score.at_once == 1
    quiz = exercise("2.which_sizes", seed=2)
    assert [box.description for box in quiz.several.children] == [*quiz.question.choices, NONE_OF_THESE]
    quiz.check_button.click()
    assert "Nothing chosen yet." in quiz.told.value and quiz.score == Score()
    for box in quiz.several.children:
        box.value = box.description in quiz.question.answer
    quiz.check_button.click()
    assert quiz.score.at_once == 1


def test_that_none_is_right_has_to_be_said_and_said_alone():
    seed = next(seed for seed in range(60) if not question("2.which_sizes", seed).answer)
    quiz = exercise("2.which_sizes", seed)
    *others, none = quiz.several.children
    none.value = others[0].value = True
    quiz.check_button.click()
    assert "which is it?" in quiz.told.value and quiz.score == Score()
    others[0].value = False
    quiz.check_button.click()
    assert "✓ Right" in quiz.told.value


def test_most_questions_of_sizes_have_a_right_one_and_never_all():
    asked = [question("2.which_sizes", seed) for seed in range(40)]
    assert sum(bool(one.answer) for one in asked) >= 28
    assert all(len(one.answer) < len(one.choices) == 6 for one in asked)


def test_a_wrong_tick_is_told_with_how_many_are_judged_rightly():
    asked = question("2.which_sizes", 2)
    wrong = tuple(c for c in asked.choices if (c in asked.answer) != (c == asked.choices[0]))
    assert check(asked, wrong).words.endswith(". Of the 6 choices you judge 5 rightly.")


def test_the_order_of_a_kernel_is_not_told_by_its_looks():
    for seed in range(10):
        asked = question("3.order", seed)
        plain = [choice for choice in asked.choices if choice.count("(") == 1]
        assert len(plain) == 4 and asked.answer in plain


def test_hints_grow_until_the_solution_may_be_seen_which_does_not_count_as_solved():
    quiz = exercise("2.columns", seed=4)
    right, advice = quiz.question.answer, escape(quiz.question.advice)
    known = quiz.question.mistakes[0].answer
    typed(quiz, known)
    assert advice not in quiz.told.value and quiz.solution_button.layout.display == "none"
    typed(quiz, right + 1)
    typed(quiz, known)
    assert advice in quiz.told.value and quiz.solution_button.layout.display is None
    quiz.solution_button.click()
    assert f"The answer is {shown(right)}." in quiz.told.value and "shown" in quiz.table.value
    typed(quiz, right)
    (result,) = quiz.score.results
    assert (result.tries, result.right, result.shown) == (3, False, True)
    quiz.next_button.click()
    assert quiz.solution_button.layout.display == "none"


@pytest.mark.parametrize("kind", ["2.columns", "2.which_breaks", "2.which_sizes"])
def test_where_no_widget_lives_the_choices_stand_there_and_the_answer_is_folded(kind):
    quiz = exercise(kind, seed=2)
    seen, folded = quiz._repr_mimebundle_()["text/html"].split("<details>")
    assert all(f"<li>{escape(choice)}</li>" in seen for choice in quiz.question.choices)
    assert seen.count("<li>") == len(quiz.question.choices)
    assert f"<summary>The answer</summary><p>{escape(right(quiz.question))}." in folded


def test_an_empty_field_asks_for_an_answer():
    quiz = exercise("2.columns", seed=4)
    quiz.field._handle_custom_msg({"event": "submit"}, [])
    assert "Type an answer." in quiz.told.value
    typed(quiz, 1)
    quiz.field._handle_custom_msg({"event": "submit"}, [])
    assert "You say 1: " in quiz.told.value
    quiz.field.value = ""
    assert "Type an answer." in quiz.told.value and "You say" not in quiz.told.value
    quiz.check_button.click()
    assert "Type an answer." in quiz.told.value and quiz.score.results[0].tries == 1


def test_the_field_takes_nothing_while_the_next_question_is_drawn_and_has_the_focus_after_it(monkeypatch):
    quiz, seen = exercise("2.columns", seed=4), []
    quiz.observe(lambda _: seen.append((quiz.field.disabled, quiz.next_button.disabled)), "seed")
    monkeypatch.setattr(quiz.field, "send", seen.append)
    quiz.next_button.click()
    assert seen == [(True, True), {"do": "focus"}]
    assert not quiz.field.disabled and not quiz.next_button.disabled


def test_the_score_stands_there_before_the_first_answer():
    assert "no question is answered yet" in exercise(1).table.value


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((9,), "that is 1 size, and the shape has 3"),
        ((8, 9, 8), "size 2 of 3 is too large, the rest is right"),
        ((9, 7, 8), "sizes 1 and 2 of 3 are wrong; size 1 is too large"),
        ((7, 9, 9), "none of the 3 sizes is right; the first is too small"),
    ],
)
def test_a_wrong_shape_is_told_in_plain_words(given, words):
    assert f": {words}." in check(ask("shape", (8, 8, 8)), given).words


def test_every_control_has_a_name_and_none_is_a_dropdown():
    for kind in KINDS:
        quiz = exercise(kind, seed=1)
        assert (quiz.field.description != "") == (quiz.question.form not in ("choice", "choices"))
        assert all(button.description for button in (quiz.check_button, quiz.next_button))
        assert "Dropdown" not in {type(part).__name__ for part in quiz.children}

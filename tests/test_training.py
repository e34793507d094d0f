"""What is trained learns, what is cast says the same, and scores are the paper's: checked on small runs and by hand."""

import math
from copy import deepcopy
from dataclasses import FrozenInstanceError
from itertools import chain, pairwise

import matplotlib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fcnviz import convolutionalize, data, training
from fcnviz.batches import IGNORE, padded
from fcnviz.data import BACKGROUND
from fcnviz.errors import InputError
from fcnviz.figures import learning
from fcnviz.livecurve import LiveCurve
from fcnviz.training.digits import BESIDE, SHIFT, WHOLE
from fcnviz.training.fit import drawn, steps_of
from fcnviz.training.ladder import CLASSES
from fcnviz.training.networks import SIDE, STEP

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def digits():
    return data.digits()


@pytest.fixture(scope="module")
def few(digits):
    """Sixty-four of each digit: enough to learn something in a second or two."""
    of_class = [torch.nonzero(digits.train.labels == digit)[:64, 0] for digit in range(10)]
    places = torch.cat(of_class)
    return data.Digits(digits.train.images[places], digits.train.labels[places])


@pytest.fixture(scope="module")
def trained(few):
    return training.train(training.windows(few), epochs=4)


@pytest.fixture(scope="module")
def small_ladder(digits, few):
    classifier = training.train(training.windows(few), epochs=4, net=training.pooled_net()).net
    before = deepcopy(classifier.state_dict())
    learnt, kept = data.canvases(few, 24, (33, 60)), data.canvases(digits.test, 6, (33, 60), seed=1)
    made = training.ladder(classifier, learnt, kept, training.Pace(epochs=2, batch=6))
    return classifier, before, made


# --- the paper's four numbers


def test_scores_of_a_case_counted_by_hand():
    truth = torch.tensor([[0, 0, 0, 0], [1, 1, 2, IGNORE]])
    answer = torch.tensor([[0, 0, 0, 1], [1, 0, 2, 2]])
    scores = training.score(answer, truth, classes=3)
    assert scores.counts.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert scores.pixel_accuracy == pytest.approx(5 / 7)
    assert scores.mean_accuracy == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert scores.ius == pytest.approx((3 / 5, 1 / 3, 1))
    assert scores.mean_iu == pytest.approx((3 / 5 + 1 / 3 + 1) / 3)
    assert scores.frequency_weighted_iu == pytest.approx((4 * 3 / 5 + 2 / 3 + 1) / 7)


def test_scores_agree_with_sets_of_pixels():
    generator = torch.Generator().manual_seed(0)
    truth, answer = (torch.randint(5, (40, 50), generator=generator) for _ in range(2))
    ius = [((truth == k) & (answer == k)).sum() / ((truth == k) | (answer == k)).sum() for k in range(5)]
    assert training.score(answer, truth, 5).ius == pytest.approx([float(iu) for iu in ius])


def test_a_class_that_does_not_occur_is_left_out_of_the_means():
    scores = training.score(torch.tensor([0, 1]), torch.tensor([0, 1]), classes=3)
    assert scores.ius[:2] == (1, 1) and math.isnan(scores.ius[2])
    assert scores.mean_iu == scores.mean_accuracy == scores.frequency_weighted_iu == 1


def test_a_class_that_is_called_and_does_not_occur_counts_as_wrong():
    scores = training.score(torch.tensor([0, 2]), torch.tensor([0, 0]), classes=3)
    assert scores.ius[0] == 0.5 and math.isnan(scores.ius[1]) and scores.ius[2] == 0
    assert scores.mean_iu == 0.25 and scores.mean_accuracy == 0.5


def test_pixels_of_all_images_are_added_up_before_anything_is_divided():
    small, large = torch.zeros(1, dtype=torch.long), torch.zeros(9, dtype=torch.long)
    one, other = training.score(small + 1, small, 2), training.score(large, large, 2)
    assert (one + other).pixel_accuracy == training.total([one, other]).pixel_accuracy == 0.9


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match=r"the answer is \(2, 3\), the truth \(3, 2\)"):
        training.score(torch.zeros(2, 3), torch.zeros(3, 2), 2)
    with pytest.raises(InputError, match="labels from 0 to 7 were found; classes are 0 to 2"):
        training.score(torch.tensor([0, 7]), torch.tensor([0, 1]), 3)


# --- the loop


def test_each_epoch_sees_every_place_once():
    batches = list(drawn(10, 4, 3, torch.Generator().manual_seed(0)))
    assert len(batches) == steps_of(10, 4, 3) == 9
    epochs = [[*chain(*batches[i : i + 3])] for i in range(0, 9, 3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs) and epochs[0] != epochs[1]


def test_the_same_seed_gives_the_same_losses_and_leaves_torchs_random_numbers_alone(few, trained):
    before = torch.get_rng_state()
    again = training.train(training.windows(few), epochs=1, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    same, other = (training.train(training.windows(few), epochs=1, seed=seed).run.losses for seed in (3, 4))
    assert again.run.losses == same != other


def test_pixels_labelled_255_have_no_part_in_the_loss():
    net, other = (nn.Conv2d(1, 2, 1) for _ in range(2))
    other.load_state_dict(net.state_dict())
    image, label = torch.rand(1, 4, 5), torch.randint(2, (4, 5))
    batch = padded([image, torch.rand(1, 2, 2)], [label, torch.full((2, 2), IGNORE)])
    runs = [
        training.fit(one, [training.Examples(images, labels)], 1, 0.1)
        for one, images, labels in [(net, batch.images, batch.labels), (other, image[None], label[None])]
    ]
    assert runs[0].losses == pytest.approx(runs[1].losses)
    assert torch.allclose(net.weight, other.weight)


def test_frozen_weights_stay_and_the_mode_comes_back():
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Dropout(), nn.Conv2d(4, 2, 1)).eval()
    net[0].requires_grad_(False)
    frozen, learnt = net[0].weight.clone(), net[2].weight.clone()
    training.fit(net, [training.Examples(torch.rand(1, 1, 4, 4), torch.randint(2, (1, 4, 4)))], 1, 0.1)
    assert torch.equal(net[0].weight, frozen) and not torch.equal(net[2].weight, learnt)
    assert not any(module.training for module in net.modules())


def test_a_loss_that_is_no_number_stops_the_training():
    nothing = training.Examples(torch.rand(1, 1, 2, 2), torch.full((1, 2, 2), IGNORE))
    with pytest.raises(InputError, match="the loss is nan: the learning rate is too high, or a batch has no pixel"):
        training.fit(nn.Conv2d(1, 2, 1), [nothing], 1, 0.1)
    with pytest.raises(InputError, match="training was to take 2 steps, and there were batches for 0"):
        training.fit(nn.Conv2d(1, 2, 1), [], 2, 0.1)


def test_a_run_is_watched_step_by_step_and_its_record_is_frozen(few):
    seen = []
    run = training.train(training.windows(few), epochs=1, watch=seen.append).run
    assert [moment.step for moment in seen] == list(range(1, len(run.losses) + 1))
    assert tuple(moment.loss for moment in seen) == run.losses and {moment.of for moment in seen} == {len(run.losses)}
    assert all(a.seconds < b.seconds for a, b in pairwise(seen)) and seen[-1].seconds <= run.seconds
    with pytest.raises(FrozenInstanceError):
        run.seconds = 0


# --- the digit classifier, and its cast


def test_windows_hold_each_digit_in_the_middle(digits):
    windows = training.windows(digits.test)
    inside = slice((WHOLE - 28) // 2, (WHOLE + 28) // 2)
    assert windows.images.shape[2:] == (WHOLE, WHOLE) and windows.middles().shape[2:] == (SIDE, SIDE)
    assert torch.equal(windows.images[:, :, inside, inside], digits.test.images)
    assert windows.images.count_nonzero() == digits.test.images.count_nonzero()  # around it there is paper


def test_background_windows_come_from_canvases_and_some_hold_parts_of_digits(few):
    windows = training.with_background(few, 100)
    paper = windows.images[len(few) :]
    assert windows.labels[len(few) :].eq(BACKGROUND).all() and len(paper) == 100
    assert 20 < (paper.amax((1, 2, 3)) > 0.5).sum() < 100


def test_the_loss_falls_and_digits_not_seen_are_named_rightly(trained, digits):
    assert trained.run.mean_loss(slice(-5, None)) < 0.3 * trained.run.mean_loss(slice(0, 5))
    assert training.accuracy(trained.net, training.windows(digits.test)) > 0.8


def test_cast_it_says_at_its_own_size_what_the_classifier_says(trained, digits):
    images = training.windows(digits.test).middles()[:50]
    dense = convolutionalize(trained.net, (1, 1, SIDE, SIDE))
    with torch.no_grad():
        cast, flat = dense(images).flatten(1), trained.net(images)
    assert (cast - flat).abs().max() <= 16 * torch.finfo(torch.float32).eps * flat.abs().max()


def test_every_cell_on_a_canvas_says_what_the_classifier_says_of_its_window(trained, digits):
    """The net never pads, so the dense map and the patches are the same, wherever one looks."""
    dense, canvas = convolutionalize(trained.net, (1, 1, SIDE, SIDE)), data.canvas(digits.test, (61, 90), seed=2)
    shares = training.read(dense, canvas).shares
    rows, columns = training.cells(dense, (1, 1, *canvas.size))
    with torch.no_grad():
        for i, j in [(0, 0), (3, 9), (shares.shape[1] - 1, shares.shape[2] - 1)]:
            top, left = (int(at.centre(n) - (SIDE - 1) / 2) for at, n in ((rows, i), (columns, j)))
            patch = canvas.image[None, :, top : top + SIDE, left : left + SIDE]
            assert torch.allclose(shares[:, i, j], trained.net(patch)[0].softmax(0), atol=1e-6)


def test_the_truth_of_a_cell_depends_on_how_far_the_nearest_middle_is(trained, digits):
    dense, canvas = convolutionalize(trained.net, (1, 1, SIDE, SIDE)), data.canvas(digits.test, (96, 120), seed=4)
    truth, (rows, columns) = training.read(dense, canvas).truth, training.cells(dense, (1, 1, *canvas.size))
    for (i, j), said in np.ndenumerate(truth.numpy()):
        middle = float(rows.centre(i)), float(columns.centre(j))
        off, digit = min(
            (max(abs(a - b) for a, b in zip(one.centre, middle, strict=True)), one.digit) for one in canvas.placed
        )
        assert said == (digit if off <= SHIFT else BACKGROUND if off >= BESIDE else IGNORE)


def test_with_a_background_class_empty_paper_is_no_digit(few, trained, digits):
    other = training.train(training.with_background(few, 200), epochs=6)
    canvas = data.canvas(digits.test, (160, 200), 8, seed=6)
    ten, eleven = (training.read(convolutionalize(one.net, (1, 1, SIDE, SIDE)), canvas) for one in (trained, other))
    assert eleven.sure_of_nothing < 0.01
    assert (eleven.answer[eleven.truth == BACKGROUND] == BACKGROUND).double().mean() > 0.95
    assert (ten.answer < BACKGROUND).all()  # it has no other word


# --- the ladder


@pytest.mark.parametrize("size", [(1, 1), (16, 31), (33, 47), (64, 96)])
def test_the_small_fcn_answers_for_every_pixel_of_any_size(size):
    first = training.coarse(training.pooled_net(), CLASSES)
    second = training.one_skip(first)
    for net in (first, second, training.two_skips(second)):
        assert net(torch.zeros(2, 1, *size)).shape == (2, CLASSES, *size)


def test_each_coarse_score_lies_in_the_middle_of_its_pixels():
    net = training.coarse(training.pooled_net(), CLASSES)
    assert net.crops == {"upscore": STEP // 2}
    one = net.upscore(F.pad(torch.ones(1, CLASSES, 1, 1), (2, 2, 2, 2)))[0, 0]
    covered = one[2 * STEP :, 2 * STEP :][net.crops["upscore"] :, net.crops["upscore"] :][:STEP, :STEP]
    assert torch.equal(covered, covered.flip(0)) and torch.equal(covered, covered.flip(1))


def test_a_finer_net_begins_with_the_weights_of_the_coarser_one_and_scores_of_0():
    first = training.coarse(training.pooled_net(), CLASSES)
    second = training.one_skip(first)
    assert second.conv4.weight.data_ptr() == first.conv4.weight.data_ptr()
    assert not second.score_pool3.weight.any() and not second.score_pool3.bias.any()


def test_the_cast_of_the_pooled_net_is_its_dense_layer(small_ladder):
    classifier, _, _ = small_ladder
    net = training.coarse(classifier, CLASSES)
    pooled = torch.rand(3, 64, 2, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(net.fc5(pooled).flatten(1), classifier.fc5(pooled.flatten(1)), atol=1e-5)


def test_the_ladder_leaves_the_classifier_and_the_rungs_below_as_they_were(small_ladder):
    classifier, before, ladder = small_ladder
    assert all(torch.equal(classifier.state_dict()[name], weight) for name, weight in before.items())
    assert not torch.equal(ladder.coarse.net.conv1.weight, ladder.control.net.conv1.weight)
    tensors = [rung.net.conv1.weight.data_ptr() for rung in ladder.rungs]
    assert len(set(tensors)) == 4


def test_the_control_has_seen_as_many_steps_as_the_last_rung(small_ladder):
    *_, ladder = small_ladder
    steps = steps_of(24, 6, 2)
    assert [rung.steps for rung in ladder.rungs] == [steps, 3 * steps, 2 * steps, 3 * steps]
    assert [len(rung.run.losses) for rung in ladder.rungs] == [steps, 2 * steps, steps, steps]


def test_rungs_are_scored_on_every_pixel_that_counts(small_ladder, digits):
    *_, ladder = small_ladder
    kept = data.canvases(digits.test, 6, (33, 60), seed=1)
    assert all(
        int(rung.scores.counts.sum()) == sum(int((one.labels != IGNORE).sum()) for one in kept) for rung in ladder.rungs
    )
    assert training.answer(ladder.two_skips.net, kept[0]).shape == kept[0].size


def test_padding_a_batch_of_different_sizes_changes_answers_near_the_added_side_alone(small_ladder, digits):
    *_, ladder = small_ladder
    large, small = data.canvas(digits.test, (160, 96)), data.canvas(digits.test, (128, 96), seed=1)
    batch = padded([large.image, small.image])
    with torch.no_grad():
        alone, together = ladder.coarse.net(small.image[None])[0], ladder.coarse.net(batch.images)[1, :, :128]
    assert torch.allclose(alone[:, :64], together[:, :64], atol=1e-5)
    assert not torch.allclose(alone[:, -1], together[:, -1], atol=1e-2)  # paper is no zero after the first layer


# --- pictures


def test_the_curve_is_drawn_while_the_net_learns_and_says_so_in_words(few):
    curve = LiveCurve()
    empty = curve.picture.value
    run = training.train(training.windows(few), epochs=1, watch=curve).run
    assert curve.picture.value != empty and 'alt="Curves of the loss. digits: from ' in curve.picture.value
    assert tuple(curve.runs["digits"]) == run.losses
    assert curve.line.value.startswith(f"digits: step {len(run.losses)} of {len(run.losses)}, ")


class Shown:
    """What stands in for a cell's output."""

    def update(self, now):
        self.now = now


def test_what_is_kept_takes_the_place_of_the_live_curve(monkeypatch):
    place, curve = Shown(), LiveCurve()
    monkeypatch.setattr("IPython.display.display", lambda widget, display_id: setattr(place, "now", widget) or place)
    curve.show()
    assert place.now is curve
    curve(training.Moment("digits", 1, 1, 2.0, 0.0))
    curve.keep("One step.")
    assert place.now.caption == "One step." and place.now.alt == repr(curve)
    assert place.now.png.startswith(b"\x89PNG")


def test_a_curve_that_was_not_shown_is_kept_nowhere():
    curve = LiveCurve()
    curve(training.Moment("digits", 1, 1, 2.0, 0.0))
    curve.keep("One step.")
    assert curve.runs == {"digits": [2.0]}


def test_a_second_run_of_the_same_name_begins_anew():
    curve = LiveCurve()
    for loss in (3.0, 2.0):
        curve(training.Moment("digits", 1, 2, loss, 0.0))
    assert curve.runs == {"digits": [2.0]}


def test_the_loss_picture_has_a_named_curve_for_each_run():
    runs = {"one": [3.0, 2.0, 1.0], "two": [2.0, 1.5]}
    ax = learning.losses(runs)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    assert ax.get_yscale() == "log"
    ax.figure.canvas.draw()
    assert {"1", "2"} <= {label.get_text() for label in ax.get_yticklabels()}  # no powers of ten to be read
    assert (
        learning.losses_alt(runs) == "Curves of the loss. one: from 3 to 1 in 3 steps; two: from 2 to 1.5 in 2 steps."
    )
    with pytest.raises(InputError, match="only numbers above 0 have a logarithm"):
        learning.losses({"one": [1.0, 0.0]})


def test_labellings_stand_side_by_side_and_each_island_has_its_digit():
    labels = np.full((30, 40), BACKGROUND)
    labels[2:8, 2:8], labels[20:28, 20:30], labels[0, 39] = 3, 7, 5
    ax = learning.labels({"truth": labels, "answer": np.full_like(labels, BACKGROUND)}, image=np.zeros((1, 30, 40)))
    assert {text.get_text() for text in ax.texts} == {"image", "truth", "answer", "3", "7"}  # one pixel is a speck
    (three,) = (text for text in ax.texts if text.get_text() == "3")
    assert three.get_position() == (40 + 2 + 4.5, 2 - 1.5)  # in the second panel, above its island
    assert learning.labels_alt({"truth": labels}) == "truth: 3 on 36, 5 on 1, 7 on 80 pixels."
    with pytest.raises(InputError, match=r"labellings of one size were expected, not of \[\(2, 2\), \(3, 3\)\]"):
        learning.labels({"a": np.zeros((2, 2), int), "b": np.zeros((3, 3), int)})


def test_a_class_lights_up_where_its_cells_lie(trained):
    dense = convolutionalize(trained.net, (1, 1, SIDE, SIDE))
    at = training.cells(dense, (1, 1, 48, 64))
    shares = np.zeros((5, 9))
    shares[2, 4] = 0.75
    ax = learning.heat(np.zeros((3, 48, 64)), shares, at, "three")
    left, right, bottom, top = ax.images[1].get_extent()
    assert ((left + right) / 2, (top + bottom) / 2) == (float(at[1].centre(4)), float(at[0].centre(2)))
    assert learning.heat_alt(shares, "three") == (
        "three on a map of 5×9 cells: largest, 75%, in row 3, column 5; more than half of that in 1 cells."
    )


def test_what_cells_say_lies_where_they_look_and_is_named(trained):
    at = training.cells(convolutionalize(trained.net, (1, 1, SIDE, SIDE)), (1, 1, 48, 64))
    said = np.full((5, 9), BACKGROUND)
    said[2, 4:6], said[0, 0] = 3, 8
    ax = learning.reading(np.zeros((1, 48, 64)), said, at, "what each cell says")
    (three,) = ax.texts  # one cell is a speck
    assert three.get_text() == "3"
    assert three.get_position() == ((at[1].centre(4) + at[1].centre(5)) / 2, at[0].centre(2))
    alpha = np.asarray(ax.images[1].get_array())[..., 3]
    assert ((alpha > 0) == (said != BACKGROUND)).all()
    assert learning.reading_alt(said) == "A map of 5×9 cells: 3 on 2, 8 on 1, background on 42 cells."


def test_bars_of_mean_iu_carry_their_numbers(small_ladder):
    *_, ladder = small_ladder
    ax = learning.ladder_bars(ladder.rungs)
    assert [text.get_text() for text in ax.texts] == [f"{rung.scores.mean_iu:.3f}" for rung in ladder.rungs]
    assert all(rung.name in learning.ladder_bars_alt(ladder.rungs) for rung in ladder.rungs)

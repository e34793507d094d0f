"""Lesson 6: what a labelling is worth, images of different sizes in one batch, and who has learned how long."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import torch

from fcnviz.batches import Batch, padded
from fcnviz.exercises.maps import CAST, classifier
from fcnviz.exercises.nets import by, located
from fcnviz.exercises.records import Mistake
from fcnviz.exercises.slips import Draft
from fcnviz.training.fit import steps_of
from fcnviz.training.scores import Scores

Table = tuple[tuple[int, ...], ...]


def _table(rng: Random, classes: int) -> Table:
    """Pixels of each class (rows) that were called each class (columns): most of them rightly."""
    return tuple(
        tuple(rng.randrange(20, 90) if row == column else rng.randrange(1, 30) for column in range(classes))
        for row in range(classes)
    )


def _scores(table: Table) -> Scores:
    return Scores(torch.tensor(table))


def _code(table: Table) -> str:
    rows = (f"    {list(row)},  # pixels of class {place}" for place, row in enumerate(table))
    return "\n".join(["import torch", "", "counts = torch.tensor([", *rows, "])"])


def _percent(wrong: Iterable[tuple[float, str]]) -> tuple[Mistake, ...]:
    """Wrong shares in percent, rounded as a student would round them."""
    return tuple(Mistake(round(100 * share, 1), words) for share, words in wrong)


TABLE = "Rows are the true classes, columns the answers: counts[i, j] pixels of class i were called class j."
UNION = "Of a class: what is in both, through row and column together, in which the diagonal is counted once."


def pixels_right(rng: Random) -> Draft:
    """The share of pixels that were called rightly."""
    table = _table(rng, rng.choice((2, 3, 4)))
    found = _scores(table)
    mistakes = _percent(
        (
            (1 - found.pixel_accuracy, "that is the share that is wrong"),
            (found.mean_accuracy, "that is the mean over classes; here each pixel counts as much as another"),
            (found.mean_iu, "that is the mean IU, which also counts what was called a class wrongly"),
        )
    )
    text = f"{TABLE} How many percent of all pixels were called rightly?"
    advice = f"Pixels that were called rightly stand on the diagonal; there are {sum(map(sum, table))} pixels in all."
    return Draft(text, "decimal", (100 * found.pixel_accuracy,), _code(table), mistakes=mistakes, advice=advice)


def iu(rng: Random) -> Draft:
    """Intersection over union of one class."""
    table = _table(rng, rng.choice((2, 3, 4)))
    found, chosen = _scores(table), rng.randrange(len(table))
    own, row, column = table[chosen][chosen], sum(table[chosen]), sum(line[chosen] for line in table)
    mistakes = _percent(
        (
            (own / row, "that divides by the row alone, which is the class's accuracy"),
            (own / column, "that divides by the column alone: what was called this class"),
            (own / (row + column), "that counts the diagonal twice; it is in the row and in the column"),
            (own / sum(map(sum, table)), "that divides by all pixels"),
        )
    )
    text = f"{TABLE} What is the IU of class {chosen}, in percent?"
    return Draft(text, "decimal", (100 * found.ius[chosen],), _code(table), mistakes=mistakes, advice=UNION)


def mean_iu(rng: Random) -> Draft:
    """The mean of all classes' IU."""
    table = _table(rng, rng.choice((2, 3)))
    found = _scores(table)
    mistakes = _percent(
        (
            (found.pixel_accuracy, "that is the share of pixels that are right"),
            (found.mean_accuracy, "that is the mean accuracy, which divides by rows alone"),
            (found.frequency_weighted_iu, "that lets classes count as much as they occur; in the mean all count alike"),
            (sum(found.ius), "that is the sum; divide it by the number of classes"),
        )
    )
    text = f"{TABLE} What is the mean IU, in percent?"
    return Draft(text, "decimal", (100 * found.mean_iu,), _code(table), mistakes=mistakes, advice=UNION)


def all_background(rng: Random) -> Draft:
    """The mean IU of an answer that calls every pixel background."""
    classes = rng.randrange(3, 22)
    others = [rng.randrange(10, 400) for _ in range(classes - 1)]
    paper = rng.randrange(2, 12) * sum(others)
    sizes = (paper, *others)
    found = _scores(tuple((pixels, *(0,) * (classes - 1)) for pixels in sizes))
    mistakes = _percent(
        (
            (found.pixel_accuracy, "that is the share of pixels that are right, and the IU of background alone"),
            (
                found.mean_accuracy,
                "that is the mean accuracy; the IU of background is below 1, as all else is called so",
            ),
            (found.pixel_accuracy / (classes - 1), "that divides by the other classes; background is a class too"),
            (found.frequency_weighted_iu, "that lets classes count as much as they occur"),
        )
    )
    text = (
        f"Of {sum(sizes)} pixels {paper} are background. The rest belongs to {classes - 1} other classes, and all of"
        " them occur. A network calls every pixel background. What is its mean IU over all classes, in percent?"
    )
    advice = "The other classes have an IU of 0. Background has one below 1: its union is every pixel."
    return Draft(text, "decimal", (100 * found.mean_iu,), mistakes=mistakes, advice=advice)


def _batch(rng: Random) -> tuple[int, Batch, str]:
    """Channels, a batch of two to four images, none of which is as high and as wide as the batch, and its code."""
    channels, sizes = rng.choice((2, 3, 4)), [(1, 1)]
    while (max(height for height, _ in sizes), max(width for _, width in sizes)) in sizes:
        sizes = [(rng.randrange(3, 20), rng.randrange(3, 20)) for _ in range(rng.choice((2, 3, 4)))]
    images = [torch.zeros(channels, *size) for size in sizes]
    batch = padded(images, [torch.zeros(size, dtype=torch.long) for size in sizes])
    named = ", ".join(f"({height}, {width})" for height, width in sizes)
    code = (
        f"import torch\nfrom fcnviz.batches import padded\n\nsizes = [{named}]\n"
        f"images = [torch.rand({channels}, *size) for size in sizes]\n"
        "labels = [torch.zeros(size, dtype=torch.long) for size in sizes]\nbatch = padded(images, labels)"
    )
    return channels, batch, code


def batch_shape(rng: Random) -> Draft:
    """The shape that each of several images of different sizes has in one batch."""
    channels, batch, code = _batch(rng)
    heights, widths = zip(*batch.sizes, strict=True)
    largest = max(batch.sizes, key=lambda size: size[0] * size[1])
    mistakes = (
        Mistake((channels, min(heights), min(widths)), "that cuts images; they are filled up, none is cut"),
        Mistake((channels, *largest), "that is the largest image; another one is higher or wider"),
        Mistake((channels, max(widths), max(heights)), "height and width have changed places"),
        Mistake((channels, *(max(*heights, *widths),) * 2), "that makes a square; rows and columns go by themselves"),
        Mistake((channels, sum(heights), max(widths)), "that lays images under each other"),
    )
    text = "Images of different sizes become one batch. What is the shape of batch.images[0]?"
    advice = "A tensor has one height and one width, and every image has to fit."
    return Draft(text, "shape", (tuple(batch.images[0].shape),), code, mistakes=mistakes, advice=advice)


def left_out(rng: Random) -> Draft:
    """How many pixels of a batch the loss leaves out."""
    _, batch, code = _batch(rng)
    out, inside = int((~batch.mask).sum()), int(batch.mask.sum())
    one = batch.mask[0].numel()
    mistakes = (
        Mistake(inside, "those are the pixels that count; asked are the others"),
        Mistake(out + inside, "those are all pixels of the batch, those of the images too"),
        Mistake(one, "those are the pixels of one image of the batch"),
        Mistake(len(batch.sizes) * one - batch.sizes[0][0] * batch.sizes[0][1], "that takes the first image off alone"),
        Mistake(one - min(h * w for h, w in batch.sizes), "that is what was added to the smallest image alone"),
    )
    text = (
        "Images of different sizes become one batch, and added pixels are labelled 255. How many pixels of batch.labels"
        " does a loss with ignore_index=255 leave out?"
    )
    advice = f"In the batch each image has {by(batch.mask.shape[1:])} pixels; those that are not its own are left out."
    return Draft(text, "number", (out,), code, mistakes=mistakes, advice=advice)


def cell_of(rng: Random) -> Draft:
    """Which cell of a cast classifier reads a given window of a canvas."""
    net, dense, made_for = classifier(rng, pads=False)
    channels, side, _ = made_for
    step = int(located(dense, made_for)[-1].placements[0].jump)
    cell = rng.randrange(3, 12)
    begins = cell * step
    width = begins + side + rng.randrange(2 * step, 9 * step)
    halves = [layer.stride for layer in dense.layers if layer.slides]
    mistakes = (
        Mistake(cell + 1, "that counts cells from one; the first is cell 0"),
        Mistake(cell - 1, "the window of that cell begins one step too early"),
        Mistake(begins // side, "that lays windows side by side; they overlap"),
        Mistake((begins + side // 2) // step, "that takes the middle of the window; count where it begins"),
        *(Mistake(begins * stride // step, "that forgets one of the strides") for stride in set(halves) if stride > 1),
    )
    text = (
        f"{CAST.format(by(made_for))} A canvas of {by((channels, side, width))} goes in: one row of cells comes out. A"
        f" digit stands in the window that begins with column {begins} of the canvas, counted from nought. Which cell"
        " says what the classifier says of that window, counted from nought?"
    )
    advice = (
        "Nothing pads here, so cell 0 begins with column 0. Each next one begins further on by all strides multiplied,"
        " those of the pools too."
    )
    return Draft(text, "number", (cell,), net.code, mistakes=mistakes, advice=advice)


def control_steps(rng: Random) -> Draft:
    """How many steps a control has to learn on."""
    images, batch = rng.randrange(50, 900), rng.choice((4, 8, 16, 20))
    epochs, skips = rng.randrange(2, 13), rng.choice((2, 3, 4))
    each = steps_of(images, batch, epochs)
    right = skips * each
    mistakes = (
        Mistake((skips + 1) * each, "so many steps the last network has seen; the coarse one has seen its own already"),
        Mistake(each, "that is one rung; the last network has learned on each of them"),
        Mistake(skips * epochs, "those are epochs; each has a step for every batch"),
        Mistake(skips * epochs * (images // batch), "that leaves out the last batch of each epoch, which is smaller"),
        Mistake(skips * epochs * images, "those are images; a step takes a batch of them"),
    )
    text = (
        f"A coarse network learns from {images} images in batches of {batch}, for {epochs} epochs. Then"
        f" {skips} skips are added, one after the other, and after each the network learns on for as many epochs again."
        " A step takes one batch. For how many steps has the coarse network to learn on, to be a control for the"
        " last one?"
    )
    advice = "The last batch of an epoch may be smaller, and is a step too."
    return Draft(text, "number", (right,), mistakes=mistakes, advice=advice)


KINDS = (pixels_right, iu, mean_iu, all_background, batch_shape, left_out, cell_of, control_steps)

"""Lesson 5: back to pixels; transposed convolutions, bilinear kernels, paddings and crops that lay scores on pixels."""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from random import Random

import torch
from torch import nn

from fcnviz.coordinates import PIXELS, crop_offset
from fcnviz.exercises.nets import CHANNELS, Layer, Net, by, conv, located, mapped, open_code, output, pool, traced
from fcnviz.exercises.records import Mistake
from fcnviz.exercises.slips import Draft, first_step, mistaken
from fcnviz.upsampling import bilinear_kernel, overlap


def up(inputs: int, outputs: int, kernel: int, stride: int, padding: int = 0, extra: int = 0) -> Layer:
    """A transposed convolution."""
    named = {"stride": stride, "padding": padding or None, "output_padding": extra or None}
    return Layer("ConvTranspose2d", (inputs, outputs, kernel)).having(**named)


def up_size(rng: Random) -> Draft:
    """The shape after one transposed convolution."""
    kernel, stride = rng.choice(((2, 2), (3, 2), (4, 2), (5, 2), (5, 3), (6, 3), (7, 3), (8, 4), (16, 8)))
    padding, extra = rng.choice((0, 1, 1, 2)) % kernel, rng.choice((0, 0, 1))
    inputs, outputs = rng.sample(CHANNELS, 2)
    net = Net((up(inputs, outputs, kernel, stride, padding, extra),))
    shape = (inputs, rng.randrange(5, 30), rng.randrange(5, 30))
    right = mapped(net, shape)

    plainly = [output(traced(Net((conv(inputs, outputs, kernel, stride=stride, padding=padding),)), shape))]

    def worked(rule: str) -> tuple[int, ...]:
        made = {
            "times": lambda n: n * stride,
            "no minus": lambda n: n * stride - 2 * padding + kernel + extra,
            "wider": lambda n: (n - 1) * stride + 2 * padding + kernel + extra,
            "one side": lambda n: (n - 1) * stride - padding + kernel + extra,
            "extra twice": lambda n: (n - 1) * stride - 2 * padding + kernel + 2 * extra,
        }[rule]
        return (outputs, *map(made, shape[1:]))

    mistakes = (
        Mistake(mapped(Net((up(inputs, outputs, kernel, stride, padding),)), shape), "that leaves output_padding out"),
        Mistake(
            mapped(Net((up(inputs, outputs, kernel, stride, 0, extra),)), shape),
            "that leaves the padding out, which is cut off here",
        ),
        *(Mistake(plain, "that is a plain convolution's size") for plain in plainly if plain),
        Mistake(worked("times"), "that multiplies by the stride; the kernel reaches over the edge as well"),
        Mistake(worked("no minus"), "that counts the steps between cells wrongly: between n cells lie n − 1"),
        Mistake(worked("wider"), "that adds the padding; a transposed convolution cuts it off"),
        Mistake(worked("one side"), "that cuts the padding off one side; it is cut off both"),
        Mistake(worked("extra twice"), "that adds output_padding at both ends; it stands at one"),
        Mistake((inputs, *right[1:]), "the channels are those of the input"),
        Mistake((outputs, right[2], right[1]), "height and width have changed places"),
    )
    text = f"A map of {by(shape)} goes in. What shape comes out?"
    advice = "(size − 1)·stride − 2·padding + kernel, and output_padding on top."
    return Draft(text, "shape", (right,), net.code, mistakes=mistakes, advice=advice)


def up_kernel(rng: Random) -> Draft:
    """The kernel with which a transposed convolution gives a wanted size."""
    size, stride, padding = rng.randrange(7, 30), rng.choice((2, 3, 4, 8)), rng.choice((0, 1, 2))
    channels = rng.choice(CHANNELS)

    def made(kernel: int) -> int:
        found = output(traced(Net((up(channels, channels, kernel, stride, padding),)), (channels, size, size)))
        return found[1] if found else 0

    wanted = made(rng.randrange(stride, 2 * stride + 3))
    sizes = {kernel: made(kernel) for kernel in range(1, 24)}
    found = tuple(kernel for kernel, cells in sizes.items() if cells == wanted)
    mistakes = tuple(Mistake(kernel, f"with it the map is {by((cells, cells))}") for kernel, cells in sizes.items())
    line = f"nn.ConvTranspose2d({channels}, {channels}, kernel_size=k, stride={stride}, padding={padding})"
    text = f"A map of {size}×{size} is to become one of {wanted}×{wanted}. Which k does it?"
    advice = "(size − 1)·stride − 2·padding + k."
    return Draft(text, "number", found, open_code("k", line), mistakes=mistakes, advice=advice)


def _chain(rng: Random, padding: int, pools: int, kernel: int, channels: tuple[int, int]) -> Net:
    """A small FCN: padding before the first convolution, pools, a large kernel, and one step back to pixels."""
    few, classes = channels
    layers = [conv(3, few, 3, padding=padding)]
    for _ in range(pools):
        layers += [pool(ceil=True), conv(few, few, 3, padding=1)]
    return Net((*layers[:-1], conv(few, classes, kernel), up(classes, classes, 2**pools * 2, 2**pools)))


def _offset(net: Net, size: int) -> Fraction:
    """Cells that lie before the image in what a network gives."""
    return crop_offset(located(net, (3, size, size))[-1].placements[0], PIXELS)


def crop(rng: Random) -> Draft:
    """The cut that lays the scores on their pixels: from coordinates, not by centring."""
    net, size, padding, pools = _fcn(rng)
    right, made = int(_offset(net, size)), mapped(net, (3, size, size))[1]
    mistakes = (
        Mistake((made - size) // 2, "that centres the map; what ceil adds lies at one end only"),
        Mistake(made - size, "that is all that is too much; most of it lies after the image"),
        Mistake(padding, "that is the padding in pixels of the image; kernels take some of it away again"),
        Mistake(padding - 1, "that counts the first convolution alone"),
        Mistake(2**pools, "that is the stride of the last layer"),
    )
    text = (
        f"An image of 3×{size}×{size} goes in, scores of {made}×{made} come out. They are cut as"
        f" y[..., c : c + {size}, c : c + {size}], so that each score lies on its pixel. Which c?"
    )
    advice = "Follow cell 0 through the layers: start += jump·((kernel − 1)/2 − padding), jump *= stride; then back."
    return Draft(text, "number", (right,), net.code, mistakes=mistakes, advice=advice)


def _fcn(rng: Random) -> tuple[Net, int, int, int]:
    """A small FCN whose scores reach every pixel; with the image's size, its padding and its number of pools."""
    while True:
        pools, kernel, padding = rng.choice((1, 2, 3)), rng.choice((3, 5, 7)), rng.randrange(4, 60)
        net = _chain(rng, padding, pools, kernel, (rng.choice(CHANNELS), rng.choice((2, 5, 21))))
        size = rng.randrange(30, 120)
        offset = _offset(net, size)
        if offset.denominator == 1 and 0 <= offset <= mapped(net, (3, size, size))[1] - size:
            return net, size, padding, pools


def pad_for_crop(rng: Random) -> Draft:
    """The first padding for which a given cut is the right one."""
    net, size, padding, _ = _fcn(rng)
    wanted = int(_offset(net, size))
    near = {*range(max(0, padding - 6), padding + 7), wanted, 2 * padding, padding - wanted, padding + wanted}
    offsets = {tried: _offset(_padded(net, tried), size) for tried in sorted(near) if tried >= 0}
    found = tuple(tried for tried, offset in offsets.items() if offset == wanted)
    mistakes = tuple(Mistake(tried, _lies(offset)) for tried, offset in offsets.items())
    rest = map(str, net.layers[1:])
    code = open_code("p", str(net.layers[0].having(padding=None))[:-1] + ", padding=p)", *rest)
    text = (
        f"An image of 3×{size}×{size} goes in. The scores that come out are cut after {wanted} rows and columns, and"
        " then each is to lie on its pixel. With which p does it?"
    )
    advice = "One pixel more of padding moves every score by one pixel."
    return Draft(text, "number", found, code, mistakes=mistakes, advice=advice)


def _padded(net: Net, padding: int) -> Net:
    return net.put(0, net.layers[0].having(padding=padding or None))


def _lies(offset: Fraction) -> str:
    if offset < 0:
        return f"with it the first score lies on pixel {-offset}, inside the image: there is nothing to cut"
    return f"with it {offset} row{'s' * (offset != 1)} of the scores lie{'s' * (offset == 1)} before the image"


def smallest_pad(rng: Random) -> Draft:
    """The smallest padding for which there is a score on pixel 0."""
    net, size, padding, _ = _fcn(rng)
    right = bisect_left(range(padding), True, key=lambda tried: _offset(_padded(net, tried), size) >= 0)
    offsets = {tried: _offset(_padded(net, tried), size) for tried in range(max(0, right - 6), right + 7)}
    mistakes = tuple(Mistake(tried, _lies(offset)) for tried, offset in offsets.items())
    rest = map(str, net.layers[1:])
    code = open_code("p", str(net.layers[0].having(padding=None))[:-1] + ", padding=p)", *rest)
    text = (
        f"An image of 3×{size}×{size} goes in. Which is the smallest p with which a score lies on the very first pixel?"
    )
    advice = "Follow cell 0: each kernel moves it to the right by jump·(kernel − 1)/2, the padding moves it back."
    return Draft(text, "number", (right,), code, mistakes=mistakes, advice=advice)


def _branches(rng: Random) -> tuple[Net, Net]:
    """A finer map, and coarser scores made from it and brought back to its jump."""
    few, classes, pools = rng.choice(CHANNELS), rng.choice((2, 5, 21)), rng.choice((1, 2))
    fine = [conv(3, few, 3, padding=rng.randrange(20, 60)), *(pool(ceil=True) for _ in range(rng.choice((1, 2))))]
    more = [conv(few, few, rng.choice((3, 5, 7)))] * rng.choice((0, 1))
    coarse = [*more, *(pool(ceil=True) for _ in range(pools)), conv(few, classes, rng.choice((3, 5, 7, 9, 11)))]
    return Net(tuple(fine)), Net((*coarse, up(classes, classes, 2 * 2**pools, 2**pools)))


def skip_crop(rng: Random) -> Draft:
    """The cut of a finer map on which coarser scores are to be added."""
    while True:
        fine, coarse = _branches(rng)
        size = rng.randrange(40, 120)
        whole = located(Net((*fine.layers, *coarse.layers)), (3, size, size))
        if not whole[-1].axes:
            continue  # the image is too small for the large kernel
        offset = crop_offset(whole[len(fine.layers) - 1].placements[0], whole[-1].placements[0])
        if offset.denominator == 1 and offset >= 0:
            break
    kernel = coarse.layers[-2].kernel
    larger, onto = whole[len(fine.layers) - 1].size[0], whole[-1].size[0]
    mistakes = (
        Mistake((larger - onto) // 2, "that centres the one on the other"),
        Mistake(larger - onto, "that is all that is too much; part of it lies after the coarser map"),
        Mistake(fine.layers[0].get("padding"), "that is the padding, in pixels; asked are cells of the finer map"),
        Mistake(kernel // 2, "that is half the kernel, in cells of the coarse map; the finer map has more of them"),
        Mistake(kernel, "that is the kernel, in cells of the coarse map"),
        Mistake(kernel - 1, "that is by how much the kernel shrinks the coarse map"),
    )
    parts = ["\n".join(f"    {layer}," for layer in part.layers) for part in (fine, coarse)]
    code = f"from torch import nn\n\nfine = nn.Sequential(\n{parts[0]}\n)\ncoarse = nn.Sequential(\n{parts[1]}\n)"
    text = (
        f"An image x of 3×{size}×{size} goes in. f = fine(x) has {larger}×{larger} cells, coarse(f) has {onto}×{onto}."
        f" f is scored and cut as f[..., c : c + {onto}, c : c + {onto}] to be added to coarse(f). Which c?"
    )
    advice = "Both have the same jump: the cut is how many cells the start of the one lies before that of the other."
    return Draft(text, "number", (int(offset),), code, mistakes=mistakes, advice=advice)


def kernel_sum(rng: Random) -> Draft:
    """What the weights of a bilinear kernel add up to."""
    kernel = rng.randrange(3, 65)
    weights = bilinear_kernel(kernel, torch.float64)
    right = round(float(weights.sum()))
    factor = (kernel + 1) // 2
    mistakes = (
        Mistake(1, "weights that add up to 1 average; these share one cell out over several"),
        Mistake(factor, "that is one axis; a kernel has two"),
        Mistake(kernel * kernel, "that is how many weights there are"),
        Mistake(kernel, "that is one side of the kernel"),
        Mistake(4 * right, "that is as if every weight of the longer row were 1"),
    )
    text = (
        f"A transposed convolution gets a bilinear kernel of {kernel}×{kernel} weights. What do all of them add up to?"
        " It is a whole number."
    )
    advice = "The weights of one axis rise evenly to the middle and fall again; the kernel multiplies two such rows."
    code = f"from fcnviz.upsampling import bilinear_kernel\n\nkernel = bilinear_kernel({kernel})"
    return Draft(text, "number", (right,), code, mistakes=mistakes, advice=advice)


def meeting(rng: Random) -> Draft:
    """How many cells of the input fall on one cell of the output."""
    stride = rng.choice((2, 3, 4, 8))
    kernel = rng.choice((stride, stride + 1, 2 * stride, 2 * stride - 1, 3 * stride))
    layer = up(1, 1, kernel, stride)
    size = rng.randrange(6, 12)
    made = nn.ConvTranspose2d(1, 1, kernel, stride)
    cell = (rng.randrange(kernel * 2), rng.randrange(kernel * 2))
    found = overlap(made, torch.ones(1, size, size), cell)
    right = len(found.terms)
    rows, columns = ({term.cell[axis] for term in found.terms} for axis in (1, 2))
    mistakes = (
        Mistake(len(rows), "that is along one axis; windows overlap along both"),
        Mistake(len(columns) + len(rows), "that adds rows and columns; each row meets each column"),
        Mistake(kernel * kernel, "those are the weights of the kernel, most of which fall on other cells"),
        Mistake((kernel // stride) ** 2, "that is far from the edge, where the kernel is a multiple of the stride"),
        Mistake((-(-kernel // stride)) ** 2, "that is the most that can meet, and not everywhere so many do"),
    )
    text = (
        f"A map of 1×{size}×{size} goes in, and each of its cells writes a window of {kernel}×{kernel} on the output."
        f" How many windows meet on the output's cell in row {cell[0]}, column {cell[1]}, counted from nought?"
    )
    advice = "Cell i of an axis writes to the cells i·stride … i·stride + kernel − 1."
    return Draft(text, "number", (right,), Net((layer,)).code, mistakes=mistakes, advice=advice)


def ceil_map(rng: Random) -> Draft:
    """The shape after pools that round up."""
    pools = rng.choice((2, 3, 4))
    few, padding = rng.choice(CHANNELS), rng.randrange(1, 40)
    layers = [conv(3, few, 3, padding=padding)]
    for _ in range(pools):
        layers.append(pool(rng.choice((2, 3)), 2, ceil=True))
    net = Net(tuple(layers))
    shape = (3, rng.randrange(20, 200), rng.randrange(20, 200))
    right = mapped(net, shape)
    mistakes = (
        *mistaken(net, shape, output),
        Mistake((3, *right[1:]), "the channels are those of the image"),
        Mistake((right[0], right[2], right[1]), "height and width have changed places"),
    )
    text = f"An image of {by(shape)} goes in. What shape comes out?"
    return Draft(text, "shape", (right,), net.code, mistakes=mistakes, advice=first_step(net, shape))


KINDS = (up_size, up_kernel, crop, pad_for_crop, smallest_pad, skip_crop, kernel_sum, meeting, ceil_map)

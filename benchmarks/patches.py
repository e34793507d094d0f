"""What one dense run saves over a run on every patch: python benchmarks/patches.py [--quick]

The paper's example (Long, Shelhamer & Darrell 2015, §3.1) and VGG16 at two sizes. The patches run through the
classifier with its Linears, as anyone would run it; the whole image runs once through its cast. Calls are made in turn,
A B C A B C …, in one process; a ratio is the median over these rounds. Multiply-adds are counted from shapes.
"""

from __future__ import annotations

import argparse
import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from timing import Row, compared, in_turn, machine, table
from torch import Tensor, nn

from fcnviz import models
from fcnviz.conv import Conv2d
from fcnviz.patches import Cost, patch_cost
from fcnviz.surgery import convolutionalize

DENSE, PLAIN = "one dense run", "one dense run, plain conv2d"


@dataclass(frozen=True)
class Case:
    """A classifier, an image, and its patches; the bound is what the paper claims for the first, in batches."""

    what: str
    build: Callable[[], nn.Module]
    image: int
    patch: int
    batches: Sequence[int]
    wanted: str = ""


@dataclass(frozen=True)
class Views:
    """The pixels of one round: the whole image, and the patches as they are handed to the classifier."""

    image: Tensor
    patches: Tensor


def caffe_alexnet() -> nn.Module:
    """Caffe's AlexNet as it was before its head became convolutions: the same weights as Linears, after a flatten."""
    layers: dict[str, nn.Module] = {}
    for name, layer in models.caffe_alexnet(seed=0).named_children():
        if name == "fc6":
            layers["flatten"] = nn.Flatten()
        layers[name] = as_linear(layer) if isinstance(layer, nn.Conv2d) and name.startswith("fc") else layer
    return nn.Sequential(OrderedDict(layers)).eval()


def as_linear(conv: nn.Conv2d) -> nn.Linear:
    linear = nn.Linear(conv.weight[0].numel(), conv.out_channels, device="meta")
    linear.weight, linear.bias = nn.Parameter(conv.weight.detach().flatten(1)), conv.bias
    return linear


def vgg16() -> nn.Module:
    return models.vgg16(seed=0).eval()


CASES = (
    Case("AlexNet, 500×500 against patches of 227", caffe_alexnet, 500, 227, (16, 1), "≥ 5"),
    Case("VGG16, 256×256 against patches of 224", vgg16, 256, 224, (4,)),
    Case("VGG16, 384×384 against patches of 224", vgg16, 384, 224, (16,)),
)
QUICK = (Case("AlexNet, 259×259 against patches of 227", caffe_alexnet, 259, 227, (2, 1), "≥ 5"),)
ROUNDS = 7


def in_plain_conv2d(dense: nn.Module) -> nn.Module:
    """A copy in which the cast layers are torch's own class: what sharing saves without the faster convolution."""
    plain = copy.deepcopy(dense)
    for module in plain.modules():
        if type(module) is Conv2d:
            module.__class__ = nn.Conv2d
    return plain


def in_batches(net: nn.Module, patches: Tensor, batch: int) -> None:
    for some in patches.split(batch):
        net(some)


def calls(case: Case, classifier: nn.Module, dense: nn.Module, cost: Cost) -> dict[str, Callable[[Views], object]]:
    plain = in_plain_conv2d(dense)
    found: dict[str, Callable[[Views], object]] = {
        DENSE: lambda views: dense(views.image),
        PLAIN: lambda views: plain(views.image),
    }
    for batch in case.batches:
        found[in_words(cost.patches, batch)] = lambda v, batch=batch: in_batches(classifier, v.patches, batch)
    return found


def in_words(patches: int, batch: int) -> str:
    return f"{patches} patches, " + ("one by one" if batch == 1 else f"in batches of {batch}")


def measured(case: Case, rounds: int) -> Iterable[Row]:
    """A row for the dense run, and one for the patches in batches of each size; random pixels, one patch an answer."""
    classifier = case.build()
    dense = convolutionalize(classifier, (1, 3, case.patch, case.patch))
    cost = patch_cost(dense, case.image, case.patch)
    views = Views(torch.rand(1, 3, case.image, case.image), torch.rand(cost.patches, 3, case.patch, case.patch))
    times = in_turn(calls(case, classifier, dense, cost), [views] * (rounds + 2))
    wanted = {in_words(cost.patches, batch): case.wanted for batch in case.batches if batch > 1}
    for row in compared(times, DENSE, wanted):
        macs = cost.dense_macs if row.what in (DENSE, PLAIN) else cost.patches_macs
        yield replace(row, work=f"{macs / 1e9:.3f} G ({macs / cost.dense_macs:.2f}×)")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that it runs; the numbers mean nothing")
    quick = parser.parse_args().quick
    print(machine())
    for case in QUICK if quick else CASES:
        print("", table(case.what, list(measured(case, 1 if quick else ROUNDS))), sep="\n", flush=True)


if __name__ == "__main__":
    main()

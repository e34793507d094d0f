"""What the caller hands over: a size, a network, one image. Checked, and the network run on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fcnviz.errors import InputError
from fcnviz.records import Shape, Trace
from fcnviz.trace import trace

Pair = tuple[int, int]


def square(size: Any) -> Pair:
    """One size for both sides, or rows and columns."""
    sizes = size if isinstance(size, tuple | list | torch.Size) else (size, size)
    if len(sizes) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes):
        raise InputError(f"a size of {size!r} was asked for; it is one whole number of pixels or (rows, columns)")
    return sizes[0], sizes[1]


def by(sizes: Sequence[int]) -> str:
    """Sizes as one reads them: 224×256."""
    return "×".join(map(str, sizes))


def traced(model: nn.Module, size: Pair, channels: int | None = None) -> Trace:
    """The trace of one image; where nobody says how many channels it has, of what the net takes."""
    errors: list[InputError] = []
    for guess in [channels] if channels else _channels(model):
        try:
            return _run_through(model, size, guess)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def _run_through(model: nn.Module, size: Pair, channels: int) -> Trace:
    found = trace(model, (1, channels, *size))
    if found.failure:
        said, meant = found.failure.message, found.failure.explanation
        raise InputError(f"{found.model} does not run on {by(size)}: {said}{'' if meant in said else f'; {meant}'}")
    return found


def _channels(model: nn.Module) -> Iterable[int]:
    """What the first convolution takes, or the first kernel that a call may use; three where there is neither."""
    layers = [m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)][:1]
    kernels = [p.shape[1] for p in model.parameters(recurse=True) if p.dim() == 4][:1]
    return dict.fromkeys((*layers, *kernels, 3))


def map_size(found: Trace) -> Pair:
    """Rows and columns of the answer; refused if it is no map."""
    shape = found.output_shape
    if not isinstance(shape, Shape) or len(shape) != 4:
        raise InputError(
            f"{found.model} returns {shape}, no map N×C×H×W; patches need a fully convolutional net, such as "
            "convolutionalize makes of a classifier"
        )
    return shape[2], shape[3]


def one_image(model: nn.Module, image: Any) -> Tensor:
    """The image as 1×C×H×W, of the number type and on the device of the model; anything else is refused."""
    if not isinstance(image, Tensor):
        raise InputError(f"one image is needed, a tensor C×H×W, and it was given {type(image).__name__}")
    whole = image.unsqueeze(0) if image.dim() == 3 else image
    if whole.dim() != 4 or len(whole) != 1:
        raise InputError(f"the image is {by(image.shape)}; one image 1×C×H×W or C×H×W is cut into patches")
    weight = next(model.parameters(), whole)
    if whole.is_meta or weight.is_meta:
        raise InputError("on meta there are no numbers to compare; give image and model (vgg16(seed=0)) a real device")
    kinds = [f"{str(t.dtype).removeprefix('torch.')} on {t.device}" for t in (whole, weight)]
    if kinds[0] != kinds[1]:
        raise InputError(f"the image is {kinds[0]}, the model {kinds[1]}; both need the same")
    return whole


@contextmanager
def nothing_drawn(name: str, device: torch.device) -> Iterator[None]:
    """Refuses a net that draws random numbers in eval mode as well: no two runs of it can be compared."""
    before = _generators(device)
    yield
    if not all(map(torch.equal, before, _generators(device))):
        why = "F.dropout(x), for instance, without training=self.training"
        raise InputError(f"{name} draws random numbers in eval mode as well ({why}): no two runs give the same answers")


def _generators(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]

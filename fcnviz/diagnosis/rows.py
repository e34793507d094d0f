"""Layers that read rows, the last axis: LayerNorm, recurrent nets, embeddings, attention; and products of matrices."""

from __future__ import annotations

from collections.abc import Sequence

from fcnviz.arithmetic import count
from fcnviz.diagnosis.scene import Diagnosis, Scene, told
from fcnviz.diagnosis.words import by, plural
from fcnviz.records import Shape


def layer_norm(scene: Scene) -> Diagnosis | None:
    """LayerNorm has a weight for each number of the last axes, so their sizes are fixed."""
    wants, shape = scene.failed.settings.get("normalized_shape"), scene.shape
    if not isinstance(wants, Sequence) or not wants or not shape or tuple(shape[-len(wants) :]) == tuple(wants):
        return None
    several, last = len(wants) > 1, shape[-len(wants) :]
    return told(
        f"{scene.who} has one weight for each of {by(wants)}, and the input ends in {by(last)}"
        + ("; a LayerNorm over height and width fixes the image size" if several else ""),
        f"put axis {shape.index(wants[0])} last" if not several and wants[0] in shape else "",
        f"`nn.LayerNorm({list(last) if several else last[0]})` for this size",
        "normalise over channels instead: `nn.GroupNorm(1, channels)`" if several else "",
    )


def recurrent_width(scene: Scene) -> Diagnosis | None:
    """LSTM, GRU and RNN read a sequence of rows, `input_size` numbers each."""
    weight, shape = scene.weight("weight_ih"), scene.shape
    wants = scene.failed.settings.get("input_size") or (weight[-1] if weight else None)
    if not wants or not shape:
        return None
    if len(shape) > 3:
        return told(
            f"{scene.who} reads a sequence of rows (time, batch, {count(wants)} numbers), but gets a map: {by(shape)}",
            "make the map a sequence: `x.flatten(2).permute(2, 0, 1)` gives one row of channels for each cell",
        )
    if shape[-1] == wants:
        return None
    axis = shape.index(wants) if wants in shape else None
    return told(
        f"{scene.who} reads rows of {count(wants)} numbers, but the last axis of {by(shape)} has {count(shape[-1])}"
        + (f"; axis {axis} has {count(wants)}" if axis is not None else ""),
        f"put it last: `x.transpose({axis}, {len(shape) - 1})`" if axis is not None else "",
        f"building a new net: `input_size={shape[-1]}`",
    )


def embedding_index(scene: Scene) -> Diagnosis | None:
    """An embedding has one row for each number from 0 on."""
    if "out of range" not in scene.message:
        return None
    table = scene.weight("weight")
    rows = f"{count(table[0])} rows, numbered 0 to {count(table[0] - 1)}" if table else "a fixed number of rows"
    return told(
        f"{scene.who} has {rows}, and an index in the input lies outside",
        "look at `x.min()` and `x.max()`",
        "`num_embeddings` is the largest index + 1",
    )


def attention_width(scene: Scene) -> Diagnosis | None:
    """Attention reads rows of `embed_dim` numbers."""
    weight, shape = scene.weight("in_proj_weight"), scene.shape
    if not weight or not shape or shape[-1] == weight[-1]:
        return None
    return told(
        f"{scene.who} was built for rows of {count(weight[-1])} numbers, but gets {by(shape)}: rows of "
        f"{count(shape[-1])}",
        f"`embed_dim={shape[-1]}`",
        f"bring the rows to {weight[-1]} with a Linear before it",
    )


def matrix_product(scene: Scene) -> Diagnosis | None:
    """(n, m) times (m, k): the inner sizes must be equal."""
    weights = [weight.shape for weight in scene.failed.weights]
    pair = (*scene.shapes, *weights)[-2:] if not weights or _is_second(weights[-1], scene.message) else ()
    if len(pair) < 2 or not all(pair):
        return None
    one, two = pair
    row, column = one[-1], two[-2:][0]
    if row == column:
        return None
    swapped = len(two) > 1 and two[-1] == row
    return told(
        f"{scene.who} multiplies {by(one)} by {by(two)}: each row of the first has {plural(row, 'number')}, each "
        f"column of the second {count(column)}, and they must be equally many",
        "transpose the second: `b.mT`" if swapped else "make the inner sizes equal, or transpose one: `b.mT`",
    )


def _is_second(weight: Shape, message: str) -> bool:
    """Whether torch names the weight last: shapes alone do not tell x·W from W·x."""
    return message.endswith(f"and {'x'.join(map(str, weight[-2:]))})")

"""A failed step → what happened, in a student's words, and the ways out.

Nothing here runs a network or decides whether something fails: torch has already refused. The sizes come from the
steps, walked back to where they were made; torch's sentence is quoted, and read only for what shapes do not carry.

In reading order: `words` says how things are called, `scene` what a reading gets and gives, and `images` walks back to
the image. Then come the readings, each file alone: `counts`, `windows`, `channels`, `axes`, `rows`, `joins`,
`number_types`, `forwards`. Here stands which of them are asked about a failed step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fcnviz.diagnosis.axes import flatten_axis, norm_rank, permute_axes, wrong_rank
from fcnviz.diagnosis.channels import conv_channels, norm_channels, norm_one_value, pixel_shuffle
from fcnviz.diagnosis.counts import linear, reshape_count, reshape_strides
from fcnviz.diagnosis.forwards import python_error, tuple_given, wrong_arguments
from fcnviz.diagnosis.joins import broadcast_mismatch, cat_mismatch, parameter_mismatch
from fcnviz.diagnosis.number_types import number_types
from fcnviz.diagnosis.rows import attention_width, embedding_index, layer_norm, matrix_product, recurrent_width
from fcnviz.diagnosis.scene import Diagnosis, Reading, Scene, told
from fcnviz.diagnosis.windows import empty_map, output_padding, pad_too_large, pool_padding, window_too_large
from fcnviz.diagnosis.words import by, who
from fcnviz.records import Step

__all__ = ["Diagnosis", "diagnose"]


def diagnose(steps: Sequence[Step], failed: Step, message: str) -> Diagnosis:
    """Decode why `failed` was refused, given the steps before it and what PyTorch says on real tensors.

    >>> from fcnviz.records import Shape, Source
    >>> flatten = Step(0, "flatten", "", "flatten", "flatten", (Shape((1, 512, 8, 8)),), Shape((1, 32768)))
    >>> linear = Step(1, "fc", "fc", "Linear", "linear", (Shape((1, 32768)),), None, (Source(0, 0),),
    ...               settings={"in_features": 25088, "out_features": 4096})
    >>> found = diagnose([flatten], linear, "mat1 and mat2 shapes cannot be multiplied")
    >>> found.explanation.replace("\\u202f", " ")
    'Linear fc has 25 088 columns = 512·7·7, but the flattened map is 512·8·8 = 32 768 numbers: 25 088 ≠ 32 768'
    """
    scene = Scene(tuple(steps), failed, message)
    known = (*_BY_OPERATION.get(failed.operation, ()), *_BY_KIND.get(failed.kind, ()))
    readings = (tuple_given, wrong_arguments, number_types, *known, *(() if known else (python_error,)))
    return next((found for reading in readings if (found := reading(scene))), None) or _quoted(scene)


def _quoted(scene: Scene) -> Diagnosis:
    """Where no reading knows better: what arrived, and torch's own sentence."""
    shapes = ", ".join(by(shape) or "a single number" for shape in scene.shapes) or "no tensors"
    maker = scene.maker(scene.failed)
    made = f" (from {who(maker)})" if maker is not None else ""
    return told(
        f"{scene.who or 'the model'} stopped on {shapes}{made}: {scene.message.strip() or 'no reason given'}",
        "compare the input's sizes with the arguments of this step, then go back step by step to where they differ",
    )


# The first reading that has something to say is told: what makes the others meaningless stands first.
_POOL = (wrong_rank, pool_padding, window_too_large, empty_map)
_NORM = (norm_one_value, norm_rank, norm_channels)
_BY_OPERATION: Mapping[str | None, tuple[Reading, ...]] = {
    "linear": (linear,),
    "conv": (wrong_rank, conv_channels, pad_too_large, window_too_large),
    "conv_transpose": (wrong_rank, conv_channels, output_padding, empty_map),
    **dict.fromkeys(("max_pool", "avg_pool", "lp_pool"), _POOL),
    "unfold": (window_too_large,),
    "adaptive_pool": (wrong_rank,),
    "flatten": (flatten_axis,),
    "reshape": (reshape_count, reshape_strides),
    "permute": (permute_axes,),
    **dict.fromkeys(("cat", "stack"), (cat_mismatch,)),
    "broadcast": (broadcast_mismatch, parameter_mismatch),
    "pad": (pad_too_large,),
    "pixel_shuffle": (pixel_shuffle,),
}
_BY_KIND: Mapping[str, tuple[Reading, ...]] = {
    **{f"{norm}{rank}d": _NORM for norm in ("BatchNorm", "InstanceNorm") for rank in (1, 2, 3)},
    **dict.fromkeys(("SyncBatchNorm", "GroupNorm", "batch_norm", "group_norm", "instance_norm"), _NORM),
    **dict.fromkeys(("LayerNorm", "layer_norm", "RMSNorm"), (layer_norm,)),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"), (recurrent_width,)),
    **dict.fromkeys(("Embedding", "EmbeddingBag", "embedding"), (embedding_index,)),
    "MultiheadAttention": (attention_width,),
    **dict.fromkeys(("matmul", "mm", "bmm", "__matmul__", "mv", "dot", "addmm", "baddbmm"), (matrix_product,)),
}

"""What Python refuses, not torch: a tuple where a tensor is wanted, and errors of the forward's own lines."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fcnviz.diagnosis.scene import Diagnosis, Scene, source_of, told
from fcnviz.diagnosis.words import who
from fcnviz.records import Shape, Source, Step

_RETURNS: Mapping[str, tuple[str, str]] = {  # what comes back, and how it is taken apart
    "LSTM": ("(output, (h, c))", "out, _"),
    "GRU": ("(output, h)", "out, _"),
    "RNN": ("(output, h)", "out, _"),
    "LSTMCell": ("(h, c)", "h, c"),
    "MultiheadAttention": ("(output, weights)", "out, _"),
}
# torch's own modules that have no weights and whose operation fcnviz does not know: their errors are about shapes
_TORCHS = r"(\w*Loss|Unflatten|ChannelShuffle|CosineSimilarity|PairwiseDistance|GLU|(MaxUnpool|FractionalMaxPool)\dd)$"
_ARGUMENTS = r"\(\) (missing \d+ required|takes .+ positional argument|got an unexpected keyword|got multiple values)"


def tuple_given(scene: Scene) -> Diagnosis | None:
    """An LSTM returns more than its output, and all of it was handed on."""
    if "tuple" not in scene.message:
        return None
    maker, used = scene.maker(scene.failed), "was given all of it instead of one tensor"
    if maker is None or not _is_tuple(maker) or source_of(scene.failed, 1) != Source(maker.index, 1):
        maker, used = _left_whole(scene), "uses it as if it were one tensor"
    if maker is None:
        return None
    returns, takes = _RETURNS.get(maker.kind, ("more than one tensor", "out, *_"))
    call = maker.name if maker.name.isidentifier() else maker.kind.lower()
    return told(
        f"{who(maker)} returns {returns}, a tuple, and {scene.who} {used}",
        f"take it apart: `{takes} = {call}(x)`, and go on with `{takes.split(',')[0]}`",
        "nn.Sequential hands the tuple on as it is: write a forward of your own around it",
    )


def _left_whole(scene: Scene) -> Step | None:
    """The last step, where it returned a tuple and the forward then stopped over one."""
    if not scene.steps or not own_forward(scene) or not re.search(r"'tuple'|tuple indices", scene.message):
        return None
    return scene.steps[-1] if scene.steps[-1].kind in _RETURNS else None


def _is_tuple(step: Step) -> bool:
    return isinstance(step.output_shape, tuple) and not isinstance(step.output_shape, Shape)


def own_forward(scene: Scene) -> bool:
    """Whether no operation was refused, but a module's forward stopped by itself, between its steps."""
    failed = scene.failed
    if failed.is_call or failed.operation is not None or failed.window is not None or re.match(_TORCHS, failed.kind):
        return False
    inside = f"{failed.path}." if failed.path else ""
    return not failed.weights or any(step.path.startswith(inside) for step in scene.steps)


def wrong_arguments(scene: Scene) -> Diagnosis | None:
    """A layer called with too many or too few arguments: Python's refusal, whatever the shapes are."""
    if not re.search(_ARGUMENTS, scene.message) or own_forward(scene):
        return None
    return told(_raised(scene), "call it with the arguments that its forward names, in their order")


def python_error(scene: Scene) -> Diagnosis | None:
    """A forward whose own Python stopped: a name, an attribute, an assertion, an error raised on purpose."""
    if not own_forward(scene):
        return None
    line = "look at the line of the forward that raised it: no layer refused a shape there"
    if missing := re.search(r"'(\w+)' object has no attribute '(\w+)'", scene.message):
        mine = missing[1] == scene.failed.kind
        hint = f"create it in `__init__`, `self.{missing[2]} = …`, or mend its spelling" if mine else ""
    elif unknown := re.search(r"name '(\w+)' is not defined", scene.message):
        hint = f"define or import `{unknown[1]}`; a layer made in `__init__` is `self.{unknown[1]}`"
    else:
        hint = ""
    return told(_raised(scene), hint, line)


def _raised(scene: Scene) -> str:
    return f"{scene.who or 'the model'}'s forward raised: {scene.message.strip() or 'an error without a message'}"

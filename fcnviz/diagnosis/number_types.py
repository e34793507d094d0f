"""Numbers of another type than the weights: the one thing shapes do not tell, so it is read in torch's sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fcnviz.diagnosis.scene import Diagnosis, Scene, source_of, told
from fcnviz.diagnosis.words import commas

_PAIRS = (  # what came, what the layer has
    r"same dtype, but (?:got|found):? (?P<came>\w+) (?:and|!=) (?P<has>\w+)",
    r"Input type \((?P<came>[^)]+)\) and (?:bias|weight) type \((?P<has>[^)]+)\)",
    r"input dtype \((?P<came>[\w.]+)\) does not match weight dtype \((?P<has>[\w.]+)\)",
    r"expected scalar type (?P<has>\w+) but found (?P<came>\w+)",
)
_NAMES: Mapping[str, str] = {
    "long": "int64", "long int": "int64", "int": "int32", "unsigned char": "uint8", "byte": "uint8", "char": "int8",
    "short": "int16", "float": "float32", "double": "float64", "half": "float16", "c10::half": "float16",
    "c10::bfloat16": "bfloat16",
}  # fmt: skip
_WHOLE = ("int64", "int32", "int16", "int8", "uint8", "bool")


def _named(word: str) -> str:
    plain = word.lower().removeprefix("torch.").removesuffix("tensor")
    return _NAMES.get(plain, plain)


def number_types(scene: Scene) -> Diagnosis | None:
    """A layer takes numbers of the type of its weights; torch does not convert."""
    pair = next((found for pattern in _PAIRS if (found := re.search(pattern, scene.message))), None)
    if pair is not None:
        return _types_differ(scene, _named(pair["came"]), _named(pair["has"]))
    if "mixed dtype" in scene.message or "same datatype" in scene.message:
        return told(
            f"{scene.who} holds weights of one number type and gets inputs of another",
            "give both the same: `x.float()`, or `model.double()` where the input is float64",
        )
    if "indices" in scene.message and (got := re.search(r"got torch\.(\w+)Tensor", scene.message)):
        return told(
            f"{scene.who} looks up rows by number and needs whole numbers (int64), but gets {_named(got[1])}",
            _indices(scene),
            "if these are indices: `x.long()`",
            "if these are measurements: use `nn.Linear` instead",
        )
    if absent := re.search(r"not implemented for '(\w+)'", scene.message):
        return told(
            f"{scene.who} does not exist for {_named(absent[1])} numbers on this device", "use float32: `x.float()`"
        )
    return None


def _indices(scene: Scene) -> str:
    """A shape alone is traced as measurements; what an embedding takes has to be handed in as a tensor."""
    source, table = source_of(scene.failed, 0), scene.weight("weight")
    if source is None or source.step != -1 or not table or not scene.shape:
        return ""
    sizes = f"{scene.shape[0]}," if len(scene.shape) == 1 else commas(scene.shape)
    return (
        f"hand in indices, `trace(net, torch.randint(0, {table[0]}, ({sizes})))`: a shape alone is filled with float32"
    )


def _types_differ(scene: Scene, came: str, has: str) -> Diagnosis:
    whole = f"whole numbers ({came})" if came in _WHOLE else f"{came} numbers"
    convert = "`x.float()`" if has == "float32" else f"`x.to(torch.{has})`"
    return told(
        f"{scene.who} has {has} weights, but gets {whole}; torch does not convert by itself",
        "bytes of an image: `x.float() / 255`" if came == "uint8" else convert,
        "numpy makes float64: convert where the data is loaded, `array.astype('float32')`" if came == "float64" else "",
        f"or bring the model there: `model.to(torch.{came})`" if came in ("float16", "bfloat16", "float64") else "",
    )

"""Weights from a file: a `state_dict`, checked and read without running anything in it."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import IO, Any, TypeVar

import torch
from torch import nn

from fcnviz.errors import InputError

Model = TypeVar("Model", bound=nn.Module)


def load(model: Model, path: str | Path, sha256: str = "") -> Model:
    """Fill a model with the weights (a `state_dict`) in a file, and return it.

    A model on meta takes the file's tensors as they are, on the CPU; one with real weights keeps its device and
    dtype. Only tensors are read from the file (`weights_only=True`). `sha256` is the digest the file must have, or its
    first eight or more hex digits, such as torchvision puts into its file names.

    Raises:
        InputError: another digest; a damaged file, or one that holds more than tensors; names or shapes that are
            not the model's (what fitted has been filled in by then).
        OSError: no such file.
    """
    with Path(path).open("rb") as file:
        _check_digest(file, sha256)
        state = _read(file)
    try:
        model.load_state_dict(state, assign=any(p.is_meta for p in model.parameters()))
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{path} does not fit {type(model).__name__}: {error}") from error
    return model


def _check_digest(file: IO[bytes], wanted: str) -> None:
    if not wanted:
        return
    if len(wanted) < 8:
        raise InputError(f"sha256={wanted!r} has {len(wanted)} hex digits; eight of the 64 are the fewest that tell")
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    if not digest.hexdigest().startswith(wanted.lower()):
        raise InputError(
            f"{file.name} has the SHA-256 {digest.hexdigest()}, not {wanted}: it is not the file you meant"
        )
    file.seek(0)


def _read(file: IO[bytes]) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = "it is damaged or holds more than tensors, and only tensors are read"
        raise InputError(f"{file.name} was not loaded: {reason}") from error

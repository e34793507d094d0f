"""The command line: `fcnviz page explorer.html` writes the explorer to a file that needs no Python.

`fcnviz site OUT` runs the notebooks and writes all lessons as such pages.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fcnviz import models
from fcnviz.errors import FcnvizError


def _both(make: Callable[..., Any]) -> Callable[[], dict[str, Any]]:
    return lambda: {"Linear head": make("linear"), "Convolutional head": make("conv")}


# each network and its own size
_NETWORKS: dict[str, tuple[Callable[[], Any], tuple[int, int]]] = {
    "vgg16": (_both(models.vgg16), (224, 224)),
    "alexnet": (_both(models.alexnet), (224, 224)),
    "lenet": (models.lenet, (32, 32)),
    "two_convolutions": (models.two_convolutions, (100, 100)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; 0, or 2 with a sentence on stderr if it cannot be done.

    >>> main(["page", "--network", "lenet", "/nowhere/page.html"])
    2
    """
    asked = _parser().parse_args(arguments)
    try:
        path = asked.write(asked)
    except (FcnvizError, OSError) as error:
        sys.stderr.write(f"fcnviz: {error}\n")
        return 2
    sys.stdout.write(f"{path}\n")
    return 0


def _page(asked: argparse.Namespace) -> Path:
    from fcnviz.explorer.page import save_page  # brings matplotlib

    make, usual = _NETWORKS[asked.network]
    size = tuple(asked.size or usual)
    return save_page(asked.path, make(), size, within=asked.within)


def _site(asked: argparse.Namespace) -> Path:
    from fcnviz.site import build  # brings what runs notebooks

    return build(asked.path, asked.notebooks)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fcnviz", description=__doc__)
    commands = parser.add_subparsers(required=True)
    page = commands.add_parser("page", help="write the explorer to one HTML file")
    page.set_defaults(write=_page)
    page.add_argument("path", type=Path, help="the file to write")
    page.add_argument("--network", choices=_NETWORKS, default="vgg16", help="which networks (vgg16)")
    page.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="height and width shown first")
    page.add_argument("--within", type=int, default=2048, help="largest height and width (2048)")
    site = commands.add_parser("site", help="run the notebooks and write them as pages, with an index")
    site.set_defaults(write=_site)
    site.add_argument("path", type=Path, help="the folder to write to")
    site.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="where the notebooks are (notebooks)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

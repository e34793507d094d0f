"""The lessons as a small site: notebooks run, written as pages that need no Python, no server and no network.

In reading order: `cells` (a notebook's cell as HTML), `pages` (a whole page, and what it may do) and `building` (which
runs the notebooks and writes the files).
"""

from fcnviz.site.building import build

__all__ = ["build"]

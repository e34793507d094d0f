"""The explorer: networks under one image size, in a notebook and as a page that needs no Python.

In reading order: `wording` (what is said, as templates), `sight` (how far a cell sees), `scene` (everything at every
size, as JSON), `picture` and `still` (one size, standing still), `page` (one HTML file), `widget` (the notebook).
explorer.js draws; page.js stands in for the kernel on a page of its own.
"""

from fcnviz.explorer.page import save_page
from fcnviz.explorer.widget import Explorer

__all__ = ["Explorer", "save_page"]

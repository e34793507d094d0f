"""Broken networks to repair: each a mistake that people make, with a check that knows a repaired one.

`exhibit("channels")` gives one, `.network()` the broken network, `.check(net)` what is still wrong with yours. Some
stop with an error. Others run, and are wrong: those the check tries on numbers.

In reading order: `networks` (what is broken), `checks` (what a repaired one must do) and `exhibits`.
"""

from fcnviz.gallery.checks import Finding
from fcnviz.gallery.exhibits import EXHIBITS, Exhibit, exhibit

__all__ = ["EXHIBITS", "Exhibit", "Finding", "exhibit"]

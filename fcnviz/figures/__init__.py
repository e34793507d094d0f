"""Pictures of records, drawn with matplotlib. Every function draws into `ax`, or makes one, and returns it.

Beside each picture there is a function that says it in words, for those who do not see it.
"""

from fcnviz.figures.alignment import alignment, alignment_alt
from fcnviz.figures.canvas import colours
from fcnviz.figures.captioned import Picture, captioned
from fcnviz.figures.cuts import blocks, blocks_alt, never_read, never_read_alt
from fcnviz.figures.fields import effective_field, effective_field_alt, receptive_fields, receptive_fields_alt
from fcnviz.figures.learning import (
    heat,
    heat_alt,
    labels,
    labels_alt,
    ladder_bars,
    ladder_bars_alt,
    losses,
    losses_alt,
    reading,
    reading_alt,
)
from fcnviz.figures.matrices import matrices, matrices_alt
from fcnviz.figures.numbering import (
    batch_in_rows,
    batch_in_rows_alt,
    rearranged,
    rearranged_alt,
    row_as_kernel,
    row_as_kernel_alt,
)
from fcnviz.figures.patch_rings import rings, rings_alt
from fcnviz.figures.shifting import moved, moved_alt
from fcnviz.figures.sizes import accepted_sizes, alt
from fcnviz.figures.spreading import spread, spread_alt, tents, tents_alt
from fcnviz.figures.windows import places, places_alt, windows, windows_alt

__all__ = [
    "Picture",
    "accepted_sizes",
    "alignment",
    "alignment_alt",
    "alt",
    "batch_in_rows",
    "batch_in_rows_alt",
    "blocks",
    "blocks_alt",
    "captioned",
    "colours",
    "effective_field",
    "effective_field_alt",
    "heat",
    "heat_alt",
    "labels",
    "labels_alt",
    "ladder_bars",
    "ladder_bars_alt",
    "losses",
    "losses_alt",
    "matrices",
    "matrices_alt",
    "moved",
    "moved_alt",
    "never_read",
    "never_read_alt",
    "places",
    "places_alt",
    "reading",
    "reading_alt",
    "rearranged",
    "rearranged_alt",
    "receptive_fields",
    "receptive_fields_alt",
    "rings",
    "rings_alt",
    "row_as_kernel",
    "row_as_kernel_alt",
    "spread",
    "spread_alt",
    "tents",
    "tents_alt",
    "windows",
    "windows_alt",
]

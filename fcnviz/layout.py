"""How words stand in a row: columns of a terminal, wrapped lines, text that HTML cannot misread; and the one style."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape

LINE = 120  # characters of a terminal that a line may take
GAP = "  "  # between two columns


def plain(text: str) -> str:
    """`text` with control characters, line ends and direction marks spelled out, so that no name can break a row."""
    return "".join(c if c.isprintable() or c in "\u202f\u00a0" else c.encode("unicode_escape").decode() for c in text)


def width_of(text: str) -> int:
    """Cells that `text` takes in a terminal: wide East Asian characters and emoji two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def column_widths(lines: Iterable[Sequence[str]]) -> list[int]:
    """For each column the width of its widest cell."""
    return [max(map(width_of, column)) for column in zip(*lines, strict=True)]


def aligned(cells: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    """The cells as one line, padded to their columns; those numbered in `right` stand at the right."""
    padded = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - width_of(cell))
        padded.append(space + cell if column in right else cell + space)
    return GAP.join(padded).rstrip()


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` cells, its middle left out if need be: both ends of a dotted path tell something."""
    if width_of(text) <= width:
        return text
    head, tail = text, text
    while width_of(head) > (width - 1) // 2:
        head = head[:-1]
    while width_of(tail) > width - 1 - width_of(head):
        tail = tail[1:]
    return f"{head}…{tail}"


def wrapped(start: str, words: str) -> list[str]:
    """`words` in lines of a terminal, code between backticks kept together."""
    hang = " " * (len(start) if len(start) < 8 else 4)
    whole = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), words)
    lines = textwrap.wrap(whole, LINE - 2, initial_indent=start, subsequent_indent=hang, break_long_words=False)
    return [text.replace("\0", " ") for text in lines] or [start.rstrip()]


def escaped(text: str) -> str:
    """`text` as HTML shows it, never as it reads it."""
    return escape(text, quote=False)


def attribute(text: str) -> str:
    """`text` between the quotes of an HTML attribute."""
    return escape(plain(text), quote=True)


def with_code(text: str) -> str:
    """`text` escaped, what stands between backticks set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped(text))


def side(right: bool) -> str:
    """Where a cell's text stands; inline, because a notebook that is not trusted loses every style sheet."""
    return f' style="text-align:{"right" if right else "left"}"'


STYLE = """
.fcnviz-trace{--ink:#1b1b1b;--soft:#595959;--rule:#d4d4d4;--back:#fff;--band:#f5f5f5;--bad:#a40e26;--bad-back:#fdecee}
@media (prefers-color-scheme:dark){body:not([data-jp-theme-light]) .fcnviz-trace{--ink:#e6e6e6;--soft:#ababab;
--rule:#4a4a4a;--back:#161616;--band:#202020;--bad:#ffb4ba;--bad-back:#471218}}
body[data-jp-theme-light=false] .fcnviz-trace{--bad:#ffb4ba;--bad-back:#471218}
body[data-jp-theme-light] .fcnviz-trace{--ink:var(--jp-content-font-color1);--soft:var(--jp-content-font-color1);
--rule:var(--jp-border-color2);--back:var(--jp-layout-color0);--band:var(--jp-rendermime-table-row-background)}
.fcnviz-trace{color:var(--ink);background:var(--back);font-size:13px;line-height:1.4}
.fcnviz-trace .scroll{overflow-x:auto;container-type:inline-size}
.fcnviz-trace table.steps{color:var(--ink)}
.fcnviz-trace table.steps{border-collapse:collapse;margin:0;font-size:inherit;font-variant-numeric:tabular-nums}
.fcnviz-trace table.steps caption{padding:4px 8px 8px;color:var(--soft);white-space:normal}
.fcnviz-trace table.steps caption b{color:var(--ink)}
.fcnviz-trace table.steps :is(td,th){padding:2px 7px;border:0;vertical-align:top;font-weight:400}
.fcnviz-trace table.steps :is(th,td.short){white-space:nowrap}
.fcnviz-trace table.steps thead th{border-bottom:2px solid var(--rule);font-weight:600;vertical-align:bottom}
.fcnviz-trace table.steps tbody tr{background:var(--back)}
.fcnviz-trace table.steps tbody:nth-of-type(even) tr{background:var(--band)}
.fcnviz-trace table.steps tbody th{font-weight:600}
.fcnviz-trace table.steps tr.sums td{padding-top:0}
.fcnviz-trace .sums td>span{display:inline-block;margin-right:1.6em;white-space:nowrap}
.fcnviz-trace table.steps tfoot :is(td,th){border-top:2px solid var(--rule);font-weight:600}
.fcnviz-trace .axis,.fcnviz-trace .number{color:var(--soft)}
.fcnviz-trace table.steps tbody.failed tr{background:var(--bad-back);color:var(--bad)}
.fcnviz-trace table.steps tbody.failed *{color:inherit}
.fcnviz-trace table.steps tbody.failed :is(td,th):first-child{box-shadow:inset 4px 0 var(--bad)}
.fcnviz-trace table.steps tr.why td{padding:4px 14px 10px}
.fcnviz-trace .why div{position:sticky;left:14px;max-width:72em;max-width:min(72em,100cqw - 28px);padding:1px 0}
.fcnviz-trace table.steps tbody.failed .why :is(div,ol,li,code){color:var(--ink)}
.fcnviz-trace table.steps tbody.failed .why b,.fcnviz-trace table.steps tbody.failed .why b *{color:var(--bad)}
.fcnviz-trace .why ol{margin:2px 0 0;padding-left:1.6em}
.fcnviz-trace .why code{background:none;padding:0;font-size:inherit;white-space:pre-wrap}
.fcnviz-trace details{padding:6px 10px;color:var(--ink)}
.fcnviz-trace summary{cursor:pointer}
.fcnviz-trace details ul{margin:4px 0;padding-left:1.4em}
"""

"""What every HTML page of edviz is put together from: one style, plotly.js once, figures, tables, verdicts.

A page is self-contained: nothing is fetched, so it opens offline, from ``file://``, and can be mailed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edviz.io.atomic import replacing
from edviz.plotting.theme import FONT, INK, MUTED

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["LEGEND_BELOW", "VERDICTS", "assemble", "chip", "figure_html", "number", "short", "table", "write_page"]

LEGEND_BELOW = {"orientation": "h", "x": 0, "y": -0.2, "xanchor": "left", "yanchor": "top"}
#: How verdicts are printed.
VERDICTS = {"pass": "✓ pass", "fail": "✗ fail", "no data": "– no data"}


def assemble(title: str, sections: Iterable[str], style: str = "") -> str:
    """A whole page.

    Parameters
    ----------
    title
        Plain text.
    sections
        HTML; empty ones are left out.
    style
        CSS beside the common one.
    """
    from plotly.offline import get_plotlyjs

    body = "\n".join(filter(None, sections))
    return _PAGE.format(title=escape(title), style=_STYLE + style, plotly=get_plotlyjs(), body=body)


def write_page(path: str | os.PathLike[str], page: str) -> Path:
    """Write a page in one step; its folder is made if missing.

    Raises
    ------
    WriteError
        If the file cannot be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def figure_html(figure: go.Figure) -> str:
    """A plotly figure as wide as the page, for a page that has plotly.js already."""
    import plotly.io as pio

    figure.update_layout(width=None, autosize=True)
    config = {"displaylogo": False, "responsive": True}
    return pio.to_html(figure, config=config, include_plotlyjs=False, include_mathjax=False, full_html=False)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], css: str = "card") -> str:
    """A table of HTML cells; the first column is a heading, cells that start with ``<td`` are taken as they are."""
    columns = "".join(f"<th>{name}</th>" for name in head)
    body = []
    for first, *others in rows:
        cells = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in others)
        body.append(f"<tr><th>{first}</th>{cells}</tr>")
    return f'<table class="{css}"><thead><tr>{columns}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def chip(verdict: str, text: str | None = None) -> str:
    """A verdict in its colour."""
    return f'<span class="chip {verdict.replace(" ", "-")}">{VERDICTS[verdict] if text is None else text}</span>'


def number(value: Any) -> str:
    """Three digits, a dash for what is not a number."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "−")


def short(values: NDArray[Any]) -> NDArray[np.float32]:
    """float32 is half as long in the page and more than the eye sees."""
    return np.asarray(values, dtype=np.float32)


_STYLE = f"""
body {{
  font-family: {FONT}; color: {INK}; background: white; line-height: 1.5;
  max-width: 1180px; margin: 0 auto; padding: 24px 28px 80px;
}}
h1 {{ font-size: 30px; margin: 8px 0; }}
h2 {{ font-size: 22px; margin: 44px 0 6px; border-bottom: 1px solid #dfe2e7; padding-bottom: 6px; }}
h3 {{ font-size: 18px; margin: 26px 0 8px; }}
p, ul {{ margin: 8px 0; }}
ul {{ padding-left: 22px; }}
li {{ margin: 5px 0; }}
code {{ font-family: Menlo, Consolas, 'DejaVu Sans Mono', monospace; font-size: 13px; overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; vertical-align: top; }}
.card {{ width: 100%; font-size: 14px; margin: 6px 0 14px; }}
.card th, .card td {{ border-bottom: 1px solid #e8eaee; padding: 7px 10px 7px 0; }}
.card thead th {{ border-bottom: 2px solid {INK}; font-size: 13px; white-space: nowrap; }}
.card tbody th {{ font-weight: 600; min-width: 170px; }}
.card small {{ display: block; font-weight: 400; color: {MUTED}; font-size: 12px; }}
.n {{ font-variant-numeric: tabular-nums; white-space: nowrap; }}
.note {{ color: {MUTED}; font-size: 12.5px; }}
.chip {{
  display: inline-block; border-radius: 10px; padding: 1px 9px;
  font-size: 13px; font-weight: 600; white-space: nowrap;
}}
.chip.pass {{ color: #0b5d2c; background: #dcf3e3; }}
.chip.fail {{ color: #9b1c1c; background: #fde3e1; }}
.chip.no-data {{ color: #555b66; background: #eceef1; }}
.plain th {{ padding: 4px 18px 4px 0; font-weight: 600; white-space: nowrap; }}
.plain td {{ padding: 4px 0; }}
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<script>{plotly}</script>
</head>
<body>
{body}
</body>
</html>
"""

"""Scorecards side by side as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from edviz.plotting.page import chip, number, table
from edviz.plotting.scorecard_page import REFERENCE, metric_cell, scorecard_page
from edviz.plotting.theme import assign_colors, field_name

if TYPE_CHECKING:
    from edviz.analysis.comparison import Comparison

__all__ = ["comparison_page", "comparison_table"]

_INLINE = {"pass": "#0b5d2c", "fail": "#9b1c1c", "no data": "#555b66"}


def comparison_table(comparison: Comparison, inline: bool = False) -> str:
    """Value, value / floor and verdict of every model.

    Parameters
    ----------
    comparison
        From `Scorecard.compare`.
    inline
        With its own colours, for a notebook, which has no style sheet of ours.
    """
    colors = assign_colors([REFERENCE, *comparison.cards])
    head = ["metric"]
    for name in comparison.cards:
        label = f'<span style="color:{colors[name]}">{escape(name)}</span>: value'
        head += [label, "value / floor", "verdict"]
    rows = []
    for metric in next(iter(comparison.cards.values())).rows:
        cells = [escape(metric) if inline else metric_cell(metric)]
        for card in comparison.cards.values():
            row = card.rows[metric]
            note = f' title="{escape(row.note, quote=True)}"'
            cells += [f'<td class="n">{number(row.value)}</td>', f'<td class="n">{number(row.ratio)}</td>']
            verdict = f'<b style="color:{_INLINE[row.verdict]}">{row.verdict}</b>' if inline else chip(row.verdict)
            cells.append(f"<td{note}>{verdict}</td>")
        rows.append(cells)
    return table(head, rows)


def comparison_page(comparison: Comparison) -> str:
    """The page: models side by side, curves together, then the table of each."""
    kind = field_name(next(iter(comparison.cards.values())).evidence.reference.density_kind)
    text = (
        "<p>Compare value / floor, not values: a longer rollout has a lower distance by its length alone. For "
        "distances and errors less is better; for levels (step, lognormal) nearer to one is. Rest the "
        "pointer on a verdict to read how it was reached.</p>"
    )
    together = f"<section><h2>Side by side</h2>{text}{comparison_table(comparison)}</section>"
    names = " and ".join(comparison.cards)
    return scorecard_page(comparison.cards, f"edviz scorecards: {names}, {kind}", together)

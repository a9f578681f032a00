"""What every frame of a rollout has kept: charge, contrast and distribution against time, beside AIMD's own frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edviz.plotting.page import LEGEND_BELOW, short
from edviz.plotting.scorecard_page import REFERENCE
from edviz.plotting.theme import INK, MUTED, assign_colors, template, translucent

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from edviz.analysis.scorecard import Scorecard

__all__ = ["plot_timelines"]

#: Variable of a scorecard's timeline -> text at the axis, and whether that is logarithmic.
_ROWS = {
    "charge_error": ("charge error (e)", False),
    "contrast": ("std(ρ) / mean", False),
    "jsd": ("jsd to AIMD (bit)", True),
}
N_POINTS = 1500


def plot_timelines(
    cards: Mapping[str, Scorecard], moments: Mapping[str, float] | None = None, sample: int | None = None
) -> go.Figure:
    """Draw charge error, contrast and jsd of every frame against time.

    Parameters
    ----------
    cards : label -> Scorecard
        Of one reference.
    moments : label -> float, optional
        The time of each trajectory that is looked at, fs: marked by a line, one for all that agree.
    sample : int, optional
        Drawn strongly; the others are thin. By default the first.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=len(_ROWS), cols=1, shared_xaxes=True, vertical_spacing=0.04)
    colors = assign_colors([REFERENCE, *cards])
    any_card = next(iter(cards.values()))
    shown: dict[str, xr.Dataset] = {REFERENCE: any_card.reference_timeline}
    shown |= {label: card.timeline for label, card in cards.items()}
    for row, (name, (axis, log)) in enumerate(_ROWS.items(), start=1):
        for label, timeline in shown.items():
            series = timeline[name]
            members = series.values if "sample" in series.dims else series.values[None]
            chosen = min(sample or 0, len(members) - 1)
            stride = max(1, -(-members.shape[1] // N_POINTS))
            for number in sorted(range(len(members)), key=lambda n: n == chosen):
                strong = number == chosen
                figure.add_scatter(
                    x=short(series["time"].values[::stride]),
                    y=short(members[number, ::stride]),
                    name=label,
                    legendgroup=label,
                    showlegend=row == 1 and strong,
                    mode="lines",
                    line={
                        "color": colors[label] if strong else translucent(colors[label], 0.3),
                        "width": 1.8 if strong else 0.8,
                    },
                    hovertemplate=f"{label}<br>%{{x:g}} fs<br>%{{y:.4g}}<extra></extra>",
                    row=row,
                    col=1,
                )
        figure.update_yaxes(title=axis, type="log" if log else "linear", row=row, col=1)
        if log:
            figure.update_yaxes(exponentformat="power", dtick=1, row=row, col=1)
    figure.add_hline(y=0, line={"color": MUTED, "width": 1, "dash": "dot"}, row=1, col=1)
    _separate_small_charges(figure, shown)
    moments = moments or {}
    if moments and np.ptp(list(moments.values())) < 1e-3:
        figure.add_vline(x=next(iter(moments.values())), line={"color": INK, "width": 1.2})
    else:
        for label, moment in moments.items():
            figure.add_vline(x=moment, line={"color": colors[label], "width": 1.2})
    figure.update_layout(template=template(), title={"text": "Frame by frame"}, height=560, legend=LEGEND_BELOW)
    figure.update_xaxes(title="time (fs)", row=len(_ROWS), col=1)
    return figure


def _separate_small_charges(figure: go.Figure, shown: Mapping[str, xr.Dataset]) -> None:
    """Rounding errors of single precision must not fill the axis as if charge were lost."""
    largest = max(float(np.abs(timeline["charge_error"].values).max()) for timeline in shown.values())
    if largest < 1e-3:
        figure.update_yaxes(range=[-1e-3, 1e-3], tickformat=".1e", row=1, col=1)

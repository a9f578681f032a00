"""A scorecard as curves: what the table's numbers were made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edviz.analysis.scorecard import N_LEADS
from edviz.plotting.theme import AIMD, GENERATED, MUTED, template

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from edviz.analysis.scorecard import Scorecard

__all__ = ["plot_scorecard"]


def plot_scorecard(card: Scorecard) -> go.Figure:
    """Histogram, S(k), errors per lead time, and contrast, step and jsd in time, generated beside AIMD."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    evidence = card.evidence
    figure = make_subplots(
        rows=2,
        cols=3,
        horizontal_spacing=0.09,
        vertical_spacing=0.18,
        subplot_titles=(
            "Density values",
            "Structure factor",
            "Error per lead time",
            "Contrast of each frame",
            "Step from frame to frame",
            "Distance of each frame's histogram",
        ),
    )

    def line(row: int, col: int, x: Any, y: Any, name: str, colour: str, legend: bool = False, **style: Any) -> None:
        trace = go.Scatter(
            x=x, y=y, name=name, mode="lines", line={"color": colour, **style}, showlegend=legend, legendgroup=name
        )
        figure.add_trace(trace, row=row, col=col)

    for which, label, colour in (("reference", "AIMD", AIMD), ("generated", "generated", GENERATED[0])):
        summary = evidence.summaries[which]
        counts = summary["counts"].sum(("sample", "time")).values[1:-1]
        line(1, 1, summary["center"].values[1:-1], counts / counts.sum(), label, colour, legend=True)
        structure = summary["structure_factor"].mean(("sample", "time")).values
        line(1, 2, summary["k_mean"].values, structure, label, colour)
    leads, means = card.lead_times, card.baselines
    source = leads if leads.sizes["lead_time"] and np.isfinite(leads["quadratic"]).any() else means
    shown = source.isel(lead_time=slice(0, N_LEADS))
    for name, dash in (("persistence", "solid"), ("linear", "dash"), ("quadratic", "dot")):
        line(1, 3, shown["lead_time"].values, shown[name].values, name, MUTED, legend=True, dash=dash)
    early = leads.isel(lead_time=slice(0, 3 * N_LEADS))  # after that the error stays that of two unrelated frames
    line(1, 3, early["lead_time"].values, early["nmae"].values, "generated", GENERATED[0])
    own = card.reference_timeline
    for col, name in enumerate(("contrast", "step_ratio", "jsd"), start=1):
        for sample in range(card.timeline.sizes["sample"]):
            series = card.timeline[name].isel(sample=sample)
            start = float(card.timeline["time"].values[0])
            line(2, col, (series["time"].values - start) / 1000, series.values, "generated", GENERATED[0], width=1)
        time = own["time"].values
        line(2, col, (time - time[0]) / 1000, own[name].values, "AIMD", AIMD, width=1)
    axes = (
        ("log<sub>10</sub> ρ (e/Å³)", "probability"),
        ("k (1/Å)", "S(k)"),
        ("lead time (fs)", "NMAE (%)"),
        ("time (ps)", "std / mean"),
        ("time (ps)", "step / AIMD's mean step"),
        ("time (ps)", "jsd (bit)"),
    )
    for number, (x, y) in enumerate(axes):
        row, col = divmod(number, 3)
        figure.update_xaxes(title_text=x, row=row + 1, col=col + 1)
        figure.update_yaxes(title_text=y, row=row + 1, col=col + 1)
    figure.update_yaxes(type="log", exponentformat="power", dtick=1, row=1, col=2)
    figure.update_yaxes(type="log", exponentformat="power", dtick=1, row=2, col=3)
    largest = [float(np.nanmax(d[n].values)) for d, n in ((early, "nmae"), (shown, "persistence")) if d[n].size]
    if largest:
        figure.update_yaxes(range=[0, 1.1 * max(largest)], row=1, col=3)  # quadratic extrapolation soon leaves the page
    figure.update_layout(template=template(), height=640, legend={"orientation": "h", "y": -0.15})
    return figure

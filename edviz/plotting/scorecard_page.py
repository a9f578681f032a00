"""Scorecards as one HTML page: the table, each row with its definition and how it was judged, and the curves behind it.

To add a curve, write a function ``cards -> figure or None`` and add it to `SECTIONS`: it then stands in the page of one
scorecard, in that of several side by side and in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edviz.analysis.histogram import log_moments, lognormal_ks
from edviz.analysis.rows import ROWS, WINDOW_FS
from edviz.analysis.stability import sliding_mean
from edviz.plotting.histogram import draw_histogram
from edviz.plotting.page import LEGEND_BELOW, VERDICTS, assemble, chip, figure_html, number, short, table
from edviz.plotting.structure import draw_structure_factor
from edviz.plotting.theme import AIMD, MUTED, assign_colors, field_name, template, translucent

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from edviz.analysis.scorecard import Scorecard

__all__ = ["REFERENCE", "SECTIONS", "Section", "curves", "scorecard_page", "tables", "verdict_chips"]

Cards = Mapping[str, "Scorecard"]
Curves = Mapping[str, "xr.DataArray"]

REFERENCE = "AIMD"
LEAD_TIME_FS = 200.0
N_SHELLS = 3  # of F(k,t)
N_POINTS = 1500  # of a line in a page: more than it has pixels


def scorecard_page(cards: Cards, title: str | None = None, table_html: str = "") -> str:
    """One self-contained page on one or several scorecards of the same reference.

    Parameters
    ----------
    cards : label -> Scorecard
    title : str, optional
    table_html : str
        Shown before the tables of the single cards.
    """
    any_card = next(iter(cards.values()))
    kind = field_name(any_card.evidence.reference.density_kind)
    heading = title or f"edviz scorecard: {kind}"
    sections = [_header(heading, cards), table_html, tables(cards), *curves(cards)]
    return assemble(heading, sections)


def verdict_chips(card: Scorecard) -> str:
    """How many rows pass, fail and lack data."""
    verdicts = [row.verdict for row in card.rows.values()]
    return " ".join(chip(v, f"{verdicts.count(v)} {v}") for v in VERDICTS if v in verdicts)


def _header(heading: str, cards: Cards) -> str:
    colors = assign_colors([REFERENCE, *cards])
    evidence = next(iter(cards.values())).evidence
    reference = evidence.reference
    entries = [
        f'<li><b style="color:{AIMD}">{REFERENCE}</b> (held out): {len(reference)} frames, {reference.time[0]:g} to '
        f"{reference.time[-1]:g} fs</li>"
    ]
    for label, card in cards.items():
        generated = card.evidence.generated
        samples = f"{generated.n_samples} samples of " if generated.n_samples > 1 else ""
        entries.append(
            f'<li><b style="color:{colors[label]}">{escape(label)}</b>: {samples}{len(generated)} frames, '
            f"{generated.time[0]:g} to {generated.time[-1]:g} fs. {verdict_chips(card)}</li>"
        )
    sizes = " × ".join(map(str, reference.grid.shape))
    lengths = " × ".join(f"{length:.4g}" for length in np.linalg.norm(reference.grid.cell, axis=1))
    memory = f", autocorrelation time of AIMD up to {evidence.autocorrelation_time:.3g} fs"
    return (
        f"<header><h1>{escape(heading)}</h1><p>Cell {lengths} Å, {sizes} points, {evidence.plan.n_electrons:g} "
        f"electrons, a frame every {evidence.interval:g} fs; blocks of {evidence.block_fs:.5g} fs"
        f"{memory if np.isfinite(evidence.autocorrelation_time) else ''}.</p><ul>{''.join(entries)}</ul></header>"
    )


# Tables ---------------------------------------------------------------------------------------------------------------


def tables(cards: Cards, before: Mapping[str, str] | None = None) -> str:
    """The table of each card, with every row's definition and note.

    Parameters
    ----------
    cards : label -> Scorecard
    before : label -> HTML, optional
        Shown above that card's table.
    """
    colors = assign_colors([REFERENCE, *cards])
    parts = [
        "<section><h2>Scorecard</h2><p>Each number stands beside its floor: what AIMD blocks of the same length score "
        "among themselves (for levels AIMD's own value, for one-step errors that of quadratic extrapolation).</p>"
    ]
    head = ("metric", "value", "95 % interval", "floor", "value / floor", "verdict", "how it was judged")
    for label, card in cards.items():
        if len(cards) > 1 or before:
            parts.append(f'<h3 style="color:{colors[label]}">{escape(label)}</h3>')
        parts.append((before or {}).get(label, ""))
        rows = []
        for name, row in card.rows.items():
            interval = f"{number(row.low)} to {number(row.high)}" if np.isfinite(row.low) else "–"
            numbers = (number(row.value), interval, number(row.floor), number(row.ratio))
            rows.append(
                (
                    metric_cell(name),
                    *(f'<td class="n">{text}</td>' for text in numbers),
                    chip(row.verdict),
                    f'<td class="note">{escape(row.note)}</td>',
                )
            )
        parts.append(table(head, rows))
        general = [
            f"{escape(text[:1].upper() + text[1:])}." for name, text in card.notes.items() if name not in card.rows
        ]
        if general:
            parts.append(f'<p class="note">{" ".join(general)}</p>')
    return "".join(parts) + "</section>"


def metric_cell(name: str) -> str:
    """A metric's name with the first line of its definition."""
    meaning = (ROWS[name].__doc__ or "").strip().splitlines()[0] if name in ROWS else ""
    return f"{escape(name)}<small>{escape(meaning)}</small>"


# Curves ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """A part of the page: what is drawn in it, and what to know when reading it."""

    heading: str
    text: Callable[[Cards], str]
    figures: Sequence[Callable[[Cards], go.Figure | None]]


def curves(cards: Cards) -> Iterable[str]:
    """HTML of each of `SECTIONS` that has a figure."""
    for section in SECTIONS:
        figures = [figure for draw in section.figures if (figure := draw(cards)) is not None]
        if figures:
            drawn = "".join(map(figure_html, figures))
            yield f"<section><h2>{section.heading}</h2><p>{section.text(cards)}</p>{drawn}</section>"


def histogram_figure(cards: Cards) -> go.Figure:
    """Histograms of log10 rho with log-normal fits."""
    evidence = next(iter(cards.values())).evidence
    summaries = {REFERENCE: (evidence.summaries["reference"], evidence.plan)}
    summaries |= {label: (card.evidence.summaries["generated"], card.evidence.plan) for label, card in cards.items()}
    probabilities, fits = {}, {}
    for label, (summary, plan) in summaries.items():
        counts = summary["counts"].sum(("sample", "time")).values
        probabilities[label] = counts / counts.sum()
        fits[label] = _fit(summary, plan)
    return draw_histogram(
        evidence.plan.log_bins,
        probabilities,
        fits,
        density_kind=evidence.reference.density_kind,
        units=str(evidence.reference.density.attrs["units"]),
    )


def _fit(summary: xr.Dataset, plan: Any) -> Mapping[str, float] | None:
    """Log-normal fit of all frames from the sums that the summary keeps; none if a value has no logarithm."""
    if int(summary["not_positive"].sum()):
        return None
    sums = summary["log_sums"].sum(("sample", "time")).values
    n_values = summary.sizes["sample"] * summary.sizes["time"] * summary.attrs["n_points"]
    mean, std, skewness = log_moments(sums, n_values)
    fitted = {"log_mean": float(mean), "log_std": float(std), "log_skewness": float(skewness)}
    fine = summary["value_counts"].sum(("sample", "block")).values
    if fine.sum():
        fitted["ks"] = float(lognormal_ks(fine, plan.value_bins, mean, std))
    return fitted


def structure_figure(cards: Cards) -> go.Figure:
    """S(k), with the range of AIMD's blocks as a band."""
    evidence = next(iter(cards.values())).evidence
    own = evidence.blocks["reference"]["structure_factor"]
    lines = {REFERENCE: (own["k"].values, own.values[0])}
    for label, card in cards.items():
        summary = card.evidence.summaries["generated"]
        lines[label] = (summary["k"].values, summary["structure_factor"].mean(("sample", "time")).values)
    band = None
    if evidence.n_blocks("training"):
        both = np.concatenate([evidence.blocks["training"]["structure_factor"].values, own.values])
        name = f"range of {len(both)} AIMD blocks of {evidence.block_fs:.4g} fs"
        band = (name, both.min(axis=0), both.max(axis=0))
    return draw_structure_factor(lines, band)


def contrast_figure(cards: Cards) -> go.Figure:
    """Standard deviation of rho over AIMD's, in time."""
    return _timeline(cards, "contrast", "Does the contrast last?", "std(ρ) / AIMD's")


def step_figure(cards: Cards) -> go.Figure:
    """Mean abs change from frame to frame over AIMD's, in time."""
    return _timeline(cards, "step_ratio", "Does it move as fast as the liquid?", "step / AIMD's")


def jsd_figure(cards: Cards) -> go.Figure:
    """Divergence of each frame's histogram from the reference's, in time."""
    figure = _timeline(cards, "jsd", "Do the values stay distributed as AIMD's?", "jsd to AIMD (bit)")
    figure.update_yaxes(type="log", exponentformat="power", dtick=1)
    return figure


def _timeline(cards: Cards, name: str, title: str, axis: str) -> go.Figure:
    """One quantity of every generated frame over time, in units of AIMD's, with means over windows on top."""
    import plotly.graph_objects as go

    figure = go.Figure()
    colors = assign_colors([REFERENCE, *cards])
    any_card = next(iter(cards.values()))
    own = any_card.reference_timeline[name].values
    own = own[np.isfinite(own)]
    unit = float(any_card.evidence.blocks["reference"]["contrast"].values[0]) if name == "contrast" else 1.0
    low, high = np.quantile(own / unit, [0.025, 0.975])
    figure.add_hrect(y0=low, y1=high, fillcolor=translucent(AIMD, 0.16), line_width=0, layer="below")
    middle = float(own.mean()) if name == "jsd" else 1.0
    figure.add_hline(y=middle, line={"color": AIMD, "width": 1.5}, layer="below")
    for label, card in cards.items():
        series = card.timeline[name]
        values = series.values / unit
        values = values[:, 1:] if np.isnan(values[:, 0]).any() else values  # a first frame has no step
        time = (series["time"].values - series["time"].values[0])[-values.shape[1] :] / 1000
        for sample in values:
            figure.add_scatter(
                x=_thinned(time),
                y=_thinned(sample),
                mode="lines",
                line={"color": translucent(colors[label], 0.28), "width": 1},
                showlegend=False,
                hoverinfo="skip",
            )
        n_window = min(card.evidence.n_window, len(time))
        figure.add_scatter(
            x=_thinned(sliding_mean(time, n_window)),
            y=_thinned(sliding_mean(values.mean(axis=0), n_window)),
            name=label,
            mode="lines",
            line={"color": colors[label], "width": 2.5},
            hovertemplate=f"{escape(label)}<br>%{{x:.2f}} ps<br>%{{y:.4g}}<extra></extra>",
        )
    figure.update_layout(template=template(), title_text=title, height=360, showlegend=True, legend=LEGEND_BELOW)
    figure.update_xaxes(title="time since the start of the rollout (ps)")
    figure.update_yaxes(title=axis)
    return figure


def _thinned(values: NDArray[Any]) -> NDArray[np.float32]:
    """At most `N_POINTS` of a series, evenly spread, in float32."""
    return short(values[:: max(1, -(-len(values) // N_POINTS))])


def lead_time_figure(cards: Cards) -> go.Figure | None:
    """Forecast error of the rollouts per lead time, beside extrapolation; None if none overlaps with AIMD."""
    import plotly.graph_objects as go

    shown = {label: card.lead_times for label, card in cards.items() if card.lead_times.sizes["lead_time"]}
    if not shown:
        return None
    figure = go.Figure()
    colors = assign_colors([REFERENCE, *cards])
    hover = "<br>%{x:.4g} fs<br>%{y:.3g} %<extra></extra>"
    for label, ds in shown.items():
        near = ds.sel(lead_time=slice(0, LEAD_TIME_FS))
        for name, dash, text in (("nmae", "solid", "one sample"), ("nmae_ensemble_mean", "dot", "mean of the samples")):
            if name == "nmae_ensemble_mean" and np.allclose(near[name], near["nmae"]):
                continue
            figure.add_scatter(
                x=near["lead_time"].values,
                y=short(near[name].values),
                name=f"{label}, {text}",
                mode="lines+markers",
                marker={"size": 5},
                line={"color": colors[label], "width": 2, "dash": dash},
                hovertemplate=f"{escape(label)}, {text}{hover}",
            )
    any_card = next(iter(cards.values()))
    for name, dash in {"persistence": "solid", "linear": "dash", "quadratic": "dot"}.items():
        ds = any_card.baselines.sel(lead_time=slice(0, LEAD_TIME_FS))
        figure.add_scatter(
            x=ds["lead_time"].values,
            y=short(ds[name].values),
            name=f"{name} (mean over AIMD)",
            mode="lines",
            line={"color": MUTED, "width": 1.5, "dash": dash},
            hovertemplate=name + hover,
        )
    tops = [float(ds["nmae"].sel(lead_time=slice(0, LEAD_TIME_FS)).max()) for ds in shown.values()]
    top = max(tops) or float(any_card.baselines["persistence"].max())
    figure.update_layout(
        template=template(), title={"text": "How long does the forecast hold?"}, height=440, legend=LEGEND_BELOW
    )
    figure.update_xaxes(title="time since the last AIMD frame (fs)", rangemode="tozero")
    # Quadratic extrapolation soon leaves the page.
    figure.update_yaxes(title="mean absolute error / mean ρ (%)", range=[0, 1.25 * top])
    return figure


def scattering_figure(cards: Cards, now: Curves | None = None) -> go.Figure | None:
    """F(k,t) of some shells, mean over blocks; None if no rollout has a block.

    With `now`, label -> (k, lag) of a window of each trajectory, those are drawn, and the means faintly below.
    """
    import plotly.graph_objects as go

    whole = _block_means(cards, "scattering", alone=bool(now))
    if whole is None and not now:
        return None
    figure = go.Figure()
    for curve in _layers(whole, now):
        values = curve.values.transpose("scattering_k", "lag")
        shells = np.unique(np.linspace(0, values.sizes["scattering_k"] - 1, N_SHELLS).round().astype(int))
        for shell, dash in zip(shells, ("solid", "dash", "dot"), strict=False):
            name = f"{curve.label}, k = {float(values['scattering_k'][shell]):.2g} Å⁻¹"
            figure.add_scatter(
                x=values["lag"].values,
                y=short(values.values[shell]),
                name=name,
                mode="lines",
                showlegend=not curve.faint,
                line=curve.line | {"dash": dash},
                hovertemplate=f"{escape(name)}{curve.hint}<br>%{{x:.4g}} fs<br>%{{y:.3f}}<extra></extra>",
            )
    title = "Do its waves forget as fast?" if not now else _title("F(k,t) around the time shown", whole)
    figure.update_layout(template=template(), title={"text": title}, height=440, legend=LEGEND_BELOW)
    figure.update_xaxes(title="time t (fs)", rangemode="tozero")
    figure.update_yaxes(title="F(k, t)")
    return figure


def pair_figure(cards: Cards, now: Curves | None = None) -> go.Figure | None:
    """g(r) of the atoms found in the densities, mean over blocks; None where atoms are not looked for.

    With `now`, label -> (r,) of a frame of each trajectory, those are drawn, and the means faintly below.
    """
    import plotly.graph_objects as go

    whole = _block_means(cards, "pair_distribution", alone=bool(now))
    if whole is None and not now:
        return None
    figure = go.Figure()
    for curve in _layers(whole, now):
        figure.add_scatter(
            x=curve.values["r"].values,
            y=short(curve.values.values),
            name=curve.label,
            mode="lines",
            showlegend=not curve.faint,
            line=curve.line,
            hovertemplate=f"{escape(curve.label)}{curve.hint}<br>%{{x:.3g}} Å<br>%{{y:.3f}}<extra></extra>",
        )
    title = "Are its atoms where a liquid's are?" if not now else _title("g(r) of the frames shown", whole)
    figure.update_layout(template=template(), title={"text": title}, height=400, legend=LEGEND_BELOW)
    figure.update_xaxes(title="distance r (Å)")
    figure.update_yaxes(title="g(r)", rangemode="tozero")
    return figure


@dataclass(frozen=True)
class _Curve:
    label: str
    values: xr.DataArray
    line: dict[str, Any]
    faint: bool = False

    @property
    def hint(self) -> str:
        return ", whole trajectory" if self.faint else ""


def _layers(whole: Curves | None, now: Curves | None) -> Iterable[_Curve]:
    """The curves to draw: those of whole trajectories, faint if others come on top."""
    whole, now = whole or {}, now or {}
    colors = assign_colors(list(dict.fromkeys([REFERENCE, *whole, *now])))
    for label, values in whole.items():
        color, width = (translucent(colors[label], 0.45), 1.5) if now else (colors[label], 2)
        yield _Curve(label, values, {"color": color, "width": width}, faint=bool(now))
    for label, values in now.items():
        yield _Curve(label, values, {"color": colors[label], "width": 2})


def _title(text: str, whole: Curves | None) -> str:
    return f"{text} (faint: whole trajectories)" if whole else text


def _block_means(cards: Cards, name: str, alone: bool = False) -> dict[str, xr.DataArray] | None:
    """Label -> mean over blocks of AIMD and of every card that has blocks; None if there is nothing to compare.

    With `alone` AIMD is enough.
    """
    if not cards:
        return None
    evidence = next(iter(cards.values())).evidence
    shown = {label: card.evidence.blocks["generated"] for label, card in cards.items()}
    shown = {label: blocks for label, blocks in shown.items() if blocks.sizes["block"] and name in blocks}
    if name not in evidence.blocks["reference"] or not (shown or alone):
        return None
    return {label: blocks[name].mean("block") for label, blocks in {REFERENCE: evidence.aimd, **shown}.items()}


#: The parts of a page below its tables, in this order.
SECTIONS: tuple[Section, ...] = (
    Section(
        "Density values and structure",
        lambda cards: (
            "Dashed: the log-normal distribution fitted to each. The band is what stretches of AIMD as long as the "
            "held-out block differ by."
        ),
        (histogram_figure, structure_figure),
    ),
    Section(
        "In time",
        lambda cards: (
            f"Thin: every frame of every sample. Thick: mean over a window of {WINDOW_FS:g} fs and all samples. The "
            "blue band holds 95 % of the held-out AIMD frames. A step is the mean absolute change between two frames."
        ),
        (contrast_figure, step_figure, jsd_figure),
    ),
    Section(
        "Motion and atoms",
        lambda cards: (
            "Means over blocks. F(k,t): how much of a density wave is left after a time t. The atoms are found in the "
            "densities; g(r) is zero for blocks in which they cannot be followed."
        ),
        (scattering_figure, pair_figure),
    ),
    Section(
        "Forecasts",
        lambda cards: "A liquid is chaotic: the error grows to that of two unrelated frames, whatever the model.",
        (lead_time_figure,),
    ),
)

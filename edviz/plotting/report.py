"""One HTML page that shows what was generated beside AIMD: pictures, distributions, structure, motion, the tables.

The page is self-contained: pictures are embedded, plotly.js is in it once, nothing is fetched, so it opens offline and
can be mailed. Its numbers come from the scorecards; nothing is measured here.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edviz.analysis.frames import TrajectoryLike, as_trajectory
from edviz.analysis.histogram import log_moments, lognormal_ks
from edviz.analysis.rows import ROWS
from edviz.analysis.scorecard import Scorecard
from edviz.errors import ArgumentError
from edviz.io.atomic import replacing
from edviz.plotting.frames import one_frame
from edviz.plotting.histogram import draw_histogram
from edviz.plotting.isosurface import default_levels, plot_isosurface
from edviz.plotting.structure import draw_structure_factor
from edviz.plotting.theme import (
    AIMD,
    DENSITY_COLORS,
    FONT,
    INK,
    MUTED,
    assign_colors,
    field_label,
    field_name,
    pretty_units,
    template,
    translucent,
)
from edviz.schema import ELECTRON_KINDS

if TYPE_CHECKING:
    import plotly.graph_objects as go
    import xarray as xr

    from edviz.trajectory import DensityTrajectory

__all__ = ["write_report"]

REFERENCE = "AIMD"
PICTURE_SIZE = (560, 470)
N_TIMES = 3
LEAD_TIME_FS = 200.0
_MET = '<span class="chip pass">✓ met</span>'
_NOT_MET = '<span class="chip fail">✗ not met</span>'
_VERDICTS = {"pass": "✓ pass", "fail": "✗ fail", "no data": "– no data"}


def write_report(
    path: str | os.PathLike[str],
    *,
    reference: TrajectoryLike,
    generated: Mapping[str, TrajectoryLike],
    cards: Mapping[str, Scorecard],
    training_curves: Mapping[str, ArrayLike] | None = None,
    provenance: Mapping[str, Any] | None = None,
    goals: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    title: str | None = None,
) -> Path:
    """Write the report.

    Parameters
    ----------
    path : str or path
        The HTML file; its folder is made if missing.
    reference : DensityTrajectory
        The held-out AIMD block.
    generated : label -> DensityTrajectory
        One or several rollouts, ensembles or not; pictures show their first sample.
    cards : label -> Scorecard
        `edviz.evaluate` of each, under the same labels.
    training_curves : column -> (record,) array, optional
        As `TrainingRun.metrics` has them: "stage", "elapsed" (s) or "step", and losses; not a number where a record
        lacks one.
    provenance : mapping, optional
        What was run and how: label -> text, number, list or mapping.
    goals : label -> rows, optional
        Figures beside their limits: each a mapping with "figure", "value", "low", "high", "aimd", "met".
    title : str, optional

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ArgumentError
        If the labels of `generated` and `cards` differ, there is none, or one is "AIMD".
    WriteError
        If the file cannot be written.
    """
    if not generated or set(generated) != set(cards):
        raise ArgumentError(
            f"generated and cards must have the same labels; got {sorted(generated)} and {sorted(cards)}"
        )
    if REFERENCE in generated:
        raise ArgumentError(
            f"'{REFERENCE}' is the label of the reference: call the generated trajectory something else"
        )
    aimd = as_trajectory(reference)
    rollouts = {label: as_trajectory(traj) for label, traj in generated.items()}
    ordered = {label: cards[label] for label in rollouts}
    formula = one_frame(aimd, 0).formula
    heading = title or " ".join(filter(None, ["edviz report:", formula, field_name(aimd.density_kind)]))
    sections = [
        _overview(heading, aimd, rollouts, ordered, provenance or {}),
        _pictures(aimd, rollouts),
        _distributions(ordered),
        _timelines(ordered),
        _tables(ordered, goals or {}),
        _training(training_curves),
        _provenance(provenance or {}),
    ]
    body = "\n".join(filter(None, sections))
    page = _PAGE.format(title=escape(heading), style=_STYLE, plotly=_plotly_js(), body=body)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


# Sections -------------------------------------------------------------------------------------------------------------


def _overview(
    heading: str,
    aimd: DensityTrajectory,
    rollouts: Mapping[str, DensityTrajectory],
    cards: Mapping[str, Scorecard],
    provenance: Mapping[str, Any],
) -> str:
    colors = assign_colors([REFERENCE, *rollouts])
    entries = [
        f'<li><b style="color:{AIMD}">{REFERENCE}</b> (held out): {len(aimd)} frames, '
        f"{aimd.time[0]:g} to {aimd.time[-1]:g} fs</li>"
    ]
    for label, traj in rollouts.items():
        verdicts = [row.verdict for row in cards[label].rows.values()]
        chips = " ".join(
            f'<span class="chip {_css(verdict)}">{verdicts.count(verdict)} {verdict}</span>'
            for verdict in _VERDICTS
            if verdict in verdicts
        )
        samples = f"{traj.n_samples} samples of " if traj.n_samples > 1 else ""
        entries.append(
            f'<li><b style="color:{colors[label]}">{escape(label)}</b>: {samples}{len(traj)} frames, '
            f"{traj.time[0]:g} to {traj.time[-1]:g} fs. {chips}</li>"
        )
    command = provenance.get("command")
    ran = f"<p>Made by <code>{escape(str(command))}</code>.</p>" if command else ""
    sizes = " × ".join(map(str, aimd.grid.shape))
    lengths = " × ".join(f"{length:.4g}" for length in np.linalg.norm(aimd.grid.cell, axis=1))
    electrons = f", {aimd.n_electrons:g} electrons" if aimd.density_kind in ELECTRON_KINDS else ""
    return (
        f"<header><h1>{escape(heading)}</h1>{ran}"
        f"<p>Cell {lengths} Å, {sizes} points{electrons}, a frame every {aimd.frame_interval:g} fs.</p>"
        f"<ul>{''.join(entries)}</ul></header>"
    )


def _pictures(aimd: DensityTrajectory, rollouts: Mapping[str, DensityTrajectory]) -> str:
    """Isosurfaces at several times, all at one level and in one range of colours."""
    from tqdm.auto import tqdm

    first = one_frame(aimd, 0)
    level = default_levels(first)[0]
    clim = (level, float(first.values.max()))
    columns = {REFERENCE: aimd, **rollouts}
    colors = assign_colors(columns)
    units = pretty_units(first.units)
    rows = []
    with tqdm(total=N_TIMES * len(columns), desc="pictures", unit="picture", delay=2, leave=False) as bar:
        for moment in range(N_TIMES):
            cells = []
            for label, traj in columns.items():
                frame = round(moment * (len(traj) - 1) / (N_TIMES - 1))
                if traj is aimd and moment == 0:  # the moment that the first rollout begins with
                    frame = int(np.abs(aimd.time - next(iter(rollouts.values())).time[0]).argmin())
                caption = f"frame {frame}, t = {traj.time[frame]:,.6g} fs"
                cells.append(f"<td>{_picture(traj, frame, level, clim, label)}<div>{caption}</div></td>")
                bar.update()
            rows.append(f"<tr><th>{('first', 'middle', 'last')[moment]}</th>{''.join(cells)}</tr>")
    head = "".join(f'<th style="color:{colors[label]}">{escape(label)}</th>' for label in columns)
    gradient = ", ".join(DENSITY_COLORS)
    return (
        "<section><h2>The density</h2>"
        f"<p>Isosurfaces at {level:.4g} {units} in all pictures; where the cell cuts them, colour shows the density "
        "inside. Rollouts continue the clock of AIMD, so the first row shows one moment. A liquid forgets its start "
        "within some hundred femtoseconds: later pictures should look alike in kind, not in detail.</p>"
        f'<table class="pictures"><tr><td></td>{head}</tr>{"".join(rows)}</table>'
        f'<div class="colorbar"><span>{clim[0]:.3g}</span>'
        f'<i style="background:linear-gradient(to right, {gradient})"></i>'
        f"<span>{clim[1]:.3g}</span><span>{field_label(first.density_kind, first.units)}</span></div></section>"
    )


def _picture(traj: DensityTrajectory, frame: int, level: float, clim: tuple[float, float], label: str) -> str:
    shown = one_frame(traj, frame)
    low, high = float(shown.values.min()), float(shown.values.max())
    if not low < level < high:  # a density that has collapsed
        text = (
            f"no surface: the density of this frame lies between {low:.3g} and {high:.3g} {pretty_units(shown.units)}"
        )
        return f'<div class="missing">{text}</div>'
    # Without atoms: rollouts have none, and pictures side by side should differ in the density only.
    picture = plot_isosurface(
        traj, frame, level, clim=clim, atoms=False, colorbar=False, legend=False, title="", window_size=PICTURE_SIZE
    )
    encoded = base64.b64encode(picture.png).decode("ascii")
    return f'<img src="data:image/png;base64,{encoded}" alt="isosurface of {escape(label)}, frame {frame}">'


def _distributions(cards: Mapping[str, Scorecard]) -> str:
    any_card = next(iter(cards.values()))
    evidence = any_card.evidence
    summaries = {REFERENCE: (evidence.summaries["reference"], evidence.plan)}
    summaries |= {label: (card.evidence.summaries["generated"], card.evidence.plan) for label, card in cards.items()}
    probabilities, fits = {}, {}
    for label, (summary, plan) in summaries.items():
        counts = summary["counts"].sum(("sample", "time")).values
        probabilities[label] = counts / counts.sum()
        fits[label] = _fit(summary, plan)
    histogram = draw_histogram(
        evidence.plan.log_bins,
        probabilities,
        fits,
        density_kind=evidence.reference.density_kind,
        units=str(evidence.reference.density.attrs["units"]),
    )
    reference_structure = evidence.blocks["reference"]["structure_factor"]
    k = reference_structure["k"].values
    curves = {REFERENCE: (k, reference_structure.values[0])}
    for label, card in cards.items():
        summary = card.evidence.summaries["generated"]
        curves[label] = (summary["k"].values, summary["structure_factor"].mean(("sample", "time")).values)
    band = None
    if evidence.n_blocks("training"):
        blocks = evidence.blocks["training"]["structure_factor"].values
        own = reference_structure.values
        both = np.concatenate([blocks, own])
        name = f"range of {len(both)} AIMD blocks of {evidence.block_fs:.4g} fs"
        band = (name, both.min(axis=0), both.max(axis=0))
    structure = draw_structure_factor(curves, band)
    return (
        "<section><h2>Density values and structure</h2>"
        "<p>Dashed: the log-normal distribution fitted to each. The band is what stretches of AIMD as long as the "
        f"held-out block differ by.</p>{_html(histogram)}{_html(structure)}</section>"
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


def _timelines(cards: Mapping[str, Scorecard]) -> str:
    smooth = {label: card.stability() for label, card in cards.items()}
    panels = [
        _timeline(cards, "contrast", {k: ds["std_ratio"] for k, ds in smooth.items()}, "std(ρ) / AIMD's"),
        _timeline(cards, "step_ratio", {k: ds["step_ratio"] for k, ds in smooth.items()}, "step / AIMD's"),
    ]
    panels[0].update_layout(title_text="Does the contrast last?")
    panels[1].update_layout(title_text="Does it move as fast as the liquid?")
    leads = _lead_times(cards)
    window = next(iter(smooth.values())).attrs["window_fs"]
    text = (
        f"<p>Thin: every frame of every sample. Thick: mean over a window of {window:g} fs and all samples. The blue "
        "band holds 95 % of the held-out AIMD frames. A step is the mean absolute change between two frames.</p>"
    )
    return f"<section><h2>In time</h2>{text}{''.join(map(_html, panels))}{_html(leads) if leads else ''}</section>"


def _timeline(cards: Mapping[str, Scorecard], name: str, means: Mapping[str, xr.DataArray], axis: str) -> go.Figure:
    """One quantity of every generated frame over time, in units of AIMD's, with `means` over windows on top."""
    import plotly.graph_objects as go

    figure = go.Figure()
    colors = assign_colors([REFERENCE, *cards])
    any_card = next(iter(cards.values()))
    own = any_card.reference_timeline[name].values
    own = own[np.isfinite(own)]
    unit = float(any_card.evidence.blocks["reference"]["contrast"].values[0]) if name == "contrast" else 1.0
    low, high = np.quantile(own / unit, [0.025, 0.975])
    figure.add_hrect(y0=low, y1=high, fillcolor=translucent(AIMD, 0.16), line_width=0)
    figure.add_hline(y=1.0, line={"color": AIMD, "width": 1.5})
    for card_label, card in cards.items():
        series = card.timeline[name]
        start = float(series["time"].values[0])
        time = (series["time"].values - start) / 1000
        for sample in range(series.sizes["sample"]):
            figure.add_scatter(
                x=_short(time),
                y=_short(series.values[sample] / unit),
                mode="lines",
                line={"color": translucent(colors[card_label], 0.28), "width": 1},
                showlegend=False,
                hoverinfo="skip",
            )
        mean = means[card_label]
        figure.add_scatter(
            x=_short((mean["time"].values - start) / 1000),
            y=_short(mean.values),
            name=card_label,
            mode="lines",
            line={"color": colors[card_label], "width": 2.5},
            hovertemplate=f"{card_label}<br>%{{x:.2f}} ps<br>%{{y:.3f}}<extra></extra>",
        )
    figure.update_layout(template=template(), height=360, showlegend=True, legend=_BELOW)
    figure.update_xaxes(title="time since the start of the rollout (ps)")
    figure.update_yaxes(title=axis)
    return figure


def _lead_times(cards: Mapping[str, Scorecard]) -> go.Figure | None:
    """Forecast error of the rollouts per lead time, beside extrapolation; None if none overlaps with AIMD."""
    import plotly.graph_objects as go

    shown = {label: card.lead_times for label, card in cards.items() if card.lead_times.sizes["lead_time"]}
    if not shown:
        return None
    figure = go.Figure()
    colors = assign_colors([REFERENCE, *cards])
    for label, ds in shown.items():
        near = ds.sel(lead_time=slice(0, LEAD_TIME_FS))
        for name, dash, text in (("nmae", "solid", "one sample"), ("nmae_ensemble_mean", "dot", "mean of the samples")):
            if name == "nmae_ensemble_mean" and np.allclose(near[name], near["nmae"]):
                continue
            figure.add_scatter(
                x=near["lead_time"].values,
                y=_short(near[name].values),
                name=f"{label}, {text}",
                mode="lines+markers",
                marker={"size": 5},
                line={"color": colors[label], "width": 2, "dash": dash},
            )
    any_card = next(iter(cards.values()))
    grey = {"persistence": "solid", "linear": "dash", "quadratic": "dot"}
    for name, dash in grey.items():
        ds = any_card.baselines.sel(lead_time=slice(0, LEAD_TIME_FS))
        figure.add_scatter(
            x=ds["lead_time"].values,
            y=_short(ds[name].values),
            name=f"{name} (mean over AIMD)",
            mode="lines",
            line={"color": MUTED, "width": 1.5, "dash": dash},
        )
    top = max(float(ds["nmae"].sel(lead_time=slice(0, LEAD_TIME_FS)).max()) for ds in shown.values())
    figure.update_layout(
        template=template(), title={"text": "How long does the forecast hold?"}, height=440, legend=_BELOW
    )
    figure.update_xaxes(title="time since the last AIMD frame (fs)", rangemode="tozero")
    # Quadratic extrapolation soon leaves the page.
    figure.update_yaxes(title="mean absolute error / mean ρ (%)", range=[0, 1.25 * top])
    return figure


def _tables(cards: Mapping[str, Scorecard], goals: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    colors = assign_colors([REFERENCE, *cards])
    parts = [
        "<section><h2>Scorecard</h2><p>Each number stands beside its floor: what AIMD blocks of the same length score "
        "among themselves (for levels AIMD's own value, for one-step errors that of quadratic extrapolation).</p>"
    ]
    for label, card in cards.items():
        parts.append(f'<h3 style="color:{colors[label]}">{escape(label)}</h3>')
        if label in goals:
            parts.append(_goals(goals[label]))
        head = "".join(
            f"<th>{name}</th>"
            for name in ("metric", "value", "95 % interval", "floor", "value / floor", "verdict", "how it was judged")
        )
        body = []
        for name, row in card.rows.items():
            meaning = (ROWS[name].__doc__ or "").strip().splitlines()[0] if name in ROWS else ""
            interval = f"{_number(row.low)} to {_number(row.high)}" if np.isfinite(row.low) else "–"
            body.append(
                f"<tr><th>{escape(name)}<small>{escape(meaning)}</small></th>"
                f'<td class="n">{_number(row.value)}</td><td class="n">{interval}</td>'
                f'<td class="n">{_number(row.floor)}</td><td class="n">{_number(row.ratio)}</td>'
                f'<td><span class="chip {_css(row.verdict)}">{_VERDICTS[row.verdict]}</span></td>'
                f'<td class="note">{escape(row.note)}</td></tr>'
            )
        parts.append(f'<table class="card"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>')
        general = [f"{escape(text)}." for name, text in card.evidence.notes.items() if name not in card.rows]
        if general:
            parts.append(f'<p class="note">{" ".join(general)}</p>')
    return "".join(parts) + "</section>"


def _goals(rows: Iterable[Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("over the whole rollout", "value", "allowed", "AIMD itself", ""))
    body = "".join(
        f'<tr><th>{escape(str(row["figure"]))}</th><td class="n">{_number(row["value"])}</td>'
        f'<td class="n">{_number(row["low"])} to {_number(row["high"])}</td><td class="n">{_number(row["aimd"])}</td>'
        f"<td>{_MET if row['met'] else _NOT_MET}</td></tr>"
        for row in rows
    )
    return f'<table class="card"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _training(curves: Mapping[str, ArrayLike] | None) -> str:
    """Losses against time, a panel a stage."""
    from plotly.subplots import make_subplots

    columns = {name: np.asarray(values) for name, values in (curves or {}).items()}
    clock = next((name for name in ("elapsed", "step") if name in columns), None)
    if clock is None or not len(columns[clock]):
        return ""
    stage = columns.get("stage", np.full(len(columns[clock]), "training")).astype(str)
    stages = list(dict.fromkeys(stage))
    figure = make_subplots(rows=1, cols=len(stages), subplot_titles=stages, horizontal_spacing=0.08)
    palette = iter(_palette())
    colors: dict[str, str] = {}
    for number, name in enumerate(stages, start=1):
        chosen = stage == name
        time = columns[clock][chosen].astype(np.float64) / (60 if clock == "elapsed" else 1)
        for column, values in columns.items():
            if column in ("stage", "step", "elapsed", "learning_rate"):
                continue
            y = values[chosen].astype(np.float64)
            there = np.isfinite(y) & (y > 0)
            if not there.any():
                continue
            known = column in colors
            colors.setdefault(column, next(palette))
            figure.add_scatter(
                x=_short(time[there]),
                y=_short(y[there]),
                name=f"{column} (%)" if column.endswith("nmae") else column,
                mode="lines+markers" if column.startswith("validation") else "lines",
                line={"color": colors[column], "width": 2 if column.startswith("validation") else 1.2},
                legendgroup=column,
                showlegend=not known,
                row=1,
                col=number,
            )
    figure.update_layout(template=template(), height=380, legend=_BELOW)
    figure.update_xaxes(title="minutes" if clock == "elapsed" else "step")
    figure.update_yaxes(type="log", exponentformat="power", dtick="D2")
    return f"<section><h2>Training</h2>{_html(figure)}</section>"


def _palette() -> Iterable[str]:
    from itertools import cycle

    return cycle([MUTED, *assign_colors(map(str, range(6))).values()])


def _provenance(provenance: Mapping[str, Any]) -> str:
    if not provenance:
        return ""
    return f"<section><h2>How it was made</h2>{_plain_table(provenance)}</section>"


def _plain_table(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{escape(str(key))}</th><td>{_plain(value)}</td></tr>" for key, value in values.items())
    return f'<table class="plain">{rows}</table>'


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return _plain_table(value)
    if isinstance(value, (list, tuple)):
        return "<br>".join(_plain(item) for item in value)
    return f"<code>{escape(str(value))}</code>"


# Pieces ---------------------------------------------------------------------------------------------------------------

_BELOW = {"orientation": "h", "x": 0, "y": -0.2, "xanchor": "left", "yanchor": "top"}


def _short(values: NDArray[Any]) -> NDArray[np.float32]:
    """float32 is half as long in the page and more than the eye sees."""
    return np.asarray(values, dtype=np.float32)


def _number(value: Any) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "−")


def _css(verdict: str) -> str:
    return verdict.replace(" ", "-")


def _html(figure: go.Figure) -> str:
    import plotly.io as pio

    figure.update_layout(width=None, autosize=True)
    config = {"displaylogo": False, "responsive": True}
    return pio.to_html(figure, config=config, include_plotlyjs=False, include_mathjax=False, full_html=False)


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


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
.pictures {{ width: 100%; table-layout: fixed; }}
.pictures td, .pictures th {{
  text-align: center; vertical-align: middle; font-size: 13px; color: {MUTED}; padding: 2px;
}}
.pictures tr:first-child th {{ font-size: 17px; }}
.pictures tr > :first-child {{ width: 56px; }}
.pictures img {{ width: 100%; max-width: {PICTURE_SIZE[0]}px; }}
.missing {{ border: 1px dashed #c3c8d0; border-radius: 8px; padding: 24px; margin: 12px; }}
.colorbar {{ display: flex; gap: 10px; align-items: center; justify-content: center; font-size: 14px; }}
.colorbar i {{ display: inline-block; width: 260px; height: 14px; border-radius: 3px; }}
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

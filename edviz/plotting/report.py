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
from numpy.typing import ArrayLike

from edviz.analysis.frames import TrajectoryLike, as_trajectory
from edviz.analysis.scorecard import Scorecard
from edviz.errors import ArgumentError
from edviz.plotting.frames import one_frame
from edviz.plotting.isosurface import default_levels, plot_isosurface
from edviz.plotting.page import LEGEND_BELOW, assemble, chip, figure_html, number, short, table, write_page
from edviz.plotting.scorecard_page import REFERENCE, curves, tables, verdict_chips
from edviz.plotting.theme import (
    AIMD,
    DENSITY_COLORS,
    MUTED,
    assign_colors,
    field_label,
    field_name,
    pretty_units,
    template,
)
from edviz.schema import ELECTRON_KINDS

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["write_report"]

PICTURE_SIZE = (560, 470)
N_TIMES = 3
_STYLE = f"""
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
"""


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
        *curves(ordered),
        tables(ordered, {label: _goals(rows) for label, rows in (goals or {}).items()}),
        _training(training_curves),
        _provenance(provenance or {}),
    ]
    return write_page(path, assemble(heading, sections, _STYLE))


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
        samples = f"{traj.n_samples} samples of " if traj.n_samples > 1 else ""
        entries.append(
            f'<li><b style="color:{colors[label]}">{escape(label)}</b>: {samples}{len(traj)} frames, '
            f"{traj.time[0]:g} to {traj.time[-1]:g} fs. {verdict_chips(cards[label])}</li>"
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


def _goals(rows: Iterable[Mapping[str, Any]]) -> str:
    cells = [
        (
            escape(str(row["figure"])),
            f'<td class="n">{number(row["value"])}</td>',
            f'<td class="n">{number(row["low"])} to {number(row["high"])}</td>',
            f'<td class="n">{number(row["aimd"])}</td>',
            chip("pass", "✓ met") if row["met"] else chip("fail", "✗ not met"),
        )
        for row in rows
    ]
    return table(("over the whole rollout", "value", "allowed", "AIMD itself", ""), cells)


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
    for column_number, name in enumerate(stages, start=1):
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
                x=short(time[there]),
                y=short(y[there]),
                name=f"{column} (%)" if column.endswith("nmae") else column,
                mode="lines+markers" if column.startswith("validation") else "lines",
                line={"color": colors[column], "width": 2 if column.startswith("validation") else 1.2},
                legendgroup=column,
                showlegend=not known,
                row=1,
                col=column_number,
            )
    figure.update_layout(template=template(), height=380, legend=LEGEND_BELOW)
    figure.update_xaxes(title="minutes" if clock == "elapsed" else "step")
    figure.update_yaxes(type="log", exponentformat="power", dtick="D2")
    return f"<section><h2>Training</h2>{figure_html(figure)}</section>"


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

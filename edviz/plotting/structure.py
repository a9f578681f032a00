"""Static structure factors of density trajectories, with the scatter of the first one's blocks as noise band."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edviz.analysis.correlation import K_MAX, structure_factor
from edviz.analysis.floors import cut_blocks
from edviz.plotting.frames import Trajectories, named, thinned
from edviz.plotting.page import LEGEND_BELOW
from edviz.plotting.theme import INK, assign_colors, template, translucent

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["draw_structure_factor", "plot_structure_factor"]

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def plot_structure_factor(
    trajs: Trajectories, *, k_max: float | None = K_MAX, n_blocks: int = 5, title: str | None = None
) -> go.Figure:
    """Draw S(k) of one or several trajectories.

    Parameters
    ----------
    trajs : trajectory, several of them, or a dict label -> trajectory
        Ensembles are averaged over their samples. With several, a second panel shows their ratio to the first.
    k_max : float or None
        Largest wave number, 1/angstrom; None for all that the grid carries.
    n_blocks : int
        The first trajectory is cut into so many blocks and the range of their S(k) drawn as a band: how far
        stretches of the same liquid differ. 0 or 1 for none.
    title : str, optional

    Returns
    -------
    plotly Figure

    Raises
    ------
    ArgumentError, SchemaError, GridMismatchError
        No trajectory; a field that is not a density; a grid too coarse for a single shell (`structure_factor`).
    """
    chosen = named(trajs)
    curves: dict[str, Curve] = {}
    band = None
    for number, (name, given) in enumerate(chosen.items()):
        traj = thinned(given, None, name)
        frames = structure_factor(traj, k_max, per_frame=True)
        frames = frames.mean("sample") if "sample" in frames.dims else frames
        curves[name] = (frames["k"].values, frames.mean("time").values)
        if number == 0 and n_blocks > 1 and traj.n_frames >= 2 * n_blocks:
            size = len(traj) // n_blocks
            blocks = [frames.isel(time=block).mean("time").values for block in cut_blocks(len(traj), size)]
            label = f"range of {len(blocks)} {name} blocks of {size} frames"
            band = (label, np.min(blocks, axis=0), np.max(blocks, axis=0))
    return draw_structure_factor(curves, band, title=title)


def draw_structure_factor(
    curves: Mapping[str, Curve],
    band: tuple[str, NDArray[np.float64], NDArray[np.float64]] | None = None,
    *,
    title: str | None = None,
) -> go.Figure:
    """Draw structure factors that are known already.

    Parameters
    ----------
    curves : label -> (k, S(k))
        k in 1/angstrom. With several, a second panel shows the ratio of each to the first at the same k.
    band : (label, lower, upper), optional
        Range of S(k) on the wave numbers of the first curve, in its colour.
    """
    from plotly.subplots import make_subplots

    several = len(curves) > 1
    figure = make_subplots(
        rows=1 + several, cols=1, shared_xaxes=True, row_heights=[0.64, 0.36][: 1 + several], vertical_spacing=0.04
    )
    colors = assign_colors(curves)
    first = next(iter(curves))
    first_k, first_values = curves[first]
    for row in range(1, 2 + several):
        unit = first_values if row == 2 else np.ones_like(first_values)
        if band is not None:
            label, lower, upper = band
            figure.add_scatter(
                x=np.concatenate([first_k, first_k[::-1]]),
                y=np.concatenate([upper / unit, (lower / unit)[::-1]]),
                name=label,
                mode="lines",
                line={"width": 0},
                fill="toself",
                fillcolor=translucent(colors[first], 0.2),
                hoverinfo="skip",
                showlegend=row == 1,
                row=row,
                col=1,
            )
        for name, (k, values) in curves.items():
            if row == 2 and (name == first or not np.array_equal(k, first_k)):
                continue
            figure.add_scatter(
                x=k,
                y=values / unit if row == 2 else values,
                name=name,
                mode="lines+markers",
                line={"color": colors[name], "width": 2},
                marker={"size": 6},
                showlegend=row == 1,
                hovertemplate=f"{name}<br>k = %{{x:.3f}} 1/Å<br>%{{y:.4g}}<extra></extra>",
                row=row,
                col=1,
            )
    figure.update_layout(
        template=template(),
        title={"text": "Structure factor of the density" if title is None else title},
        width=860,
        height=620 if several else 460,
        legend=LEGEND_BELOW | {"y": -0.13 if several else -0.2},
    )
    figure.update_xaxes(title="k (1/Å)", rangemode="tozero", row=1 + several, col=1)
    figure.update_yaxes(title="S(k)", type="log", dtick=1, exponentformat="power", row=1, col=1)
    if several:
        figure.add_hline(y=1, line={"color": INK, "width": 1, "dash": "dot"}, row=2, col=1)
        figure.update_yaxes(title=f"S(k) / {first}", row=2, col=1)
    return figure

"""The distribution of density values on a logarithmic axis, with the log-normal distribution fitted to each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edviz.analysis.histogram import LogBins, histogram, lognormal_fit, tails
from edviz.errors import ArgumentError
from edviz.plotting.frames import Trajectories, named, thinned
from edviz.plotting.theme import AIMD, assign_colors, field_label, field_name, pretty_units, template, translucent

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["draw_histogram", "plot_histogram"]


def plot_histogram(
    trajs: Trajectories,
    *,
    fit: bool = True,
    n_bins: int = 100,
    max_frames: int | None = 200,
    title: str | None = None,
) -> go.Figure:
    """Draw the probability density of log10(rho), with log-normal fits dashed.

    Parameters
    ----------
    trajs : trajectory, several of them, or a dict label -> trajectory
        For example ``{"AIMD": reference, "generated": rollout}``. Ensembles pool their samples.
    fit : bool
        Draw the log-normal distribution of largest likelihood of each (`edviz.analysis.histogram.lognormal_fit`).
    n_bins : int
        Bins between the smallest 0.01 and the largest 99.99 percentile of the trajectories.
    max_frames : int or None
        Use at most so many frames of each, evenly spread over time; None for all.
    title : str, optional

    Returns
    -------
    plotly Figure
        Horizontal: rho on a logarithmic axis. Vertical: probability per decade of rho, area one on that axis.

    Raises
    ------
    ArgumentError
        No trajectory, or trajectories of different kinds of field.
    SchemaError
        A density that is constant, or so negative that it has no logarithms.
    """
    chosen = {name: thinned(traj, max_frames, name) for name, traj in named(trajs).items()}
    kinds = {traj.density_kind for traj in chosen.values()}
    if len(kinds) > 1:
        raise ArgumentError(f"a histogram compares densities of one kind; got {', '.join(sorted(kinds))}")
    ranges = [tails(traj, where=name) for name, traj in chosen.items()]
    bins = LogBins(min(r[1] for r in ranges), max(r[2] for r in ranges), n_bins)
    probabilities, fits = {}, {}
    for name, traj in chosen.items():
        found = histogram(traj, bins)["probability"]
        probabilities[name] = (found.mean("sample") if "sample" in found.dims else found).values
        # A density with negative values has a histogram but no fit; the histogram says enough then.
        positive = ranges[list(chosen).index(name)][0] > 0
        fits[name] = lognormal_fit(traj) if fit and positive else None
    first = next(iter(chosen.values()))
    return draw_histogram(
        bins,
        probabilities,
        fits,
        density_kind=first.density_kind,
        units=str(first.density.attrs["units"]),
        title=title,
    )


def draw_histogram(
    bins: LogBins,
    probabilities: Mapping[str, NDArray[np.float64]],
    fits: Mapping[str, Any],
    *,
    density_kind: str,
    units: str,
    title: str | None = None,
) -> go.Figure:
    """Draw histograms that are known already.

    Parameters
    ----------
    bins : LogBins
    probabilities : label -> (n + 2,) probability of each bin, the open ones at the ends included
    fits : label -> `edviz.analysis.histogram.lognormal_fit`, or a mapping with the same names, or None
    density_kind, units : str
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    colors = assign_colors(probabilities)
    edges = bins.edges
    width = edges[1] - edges[0]
    unit = pretty_units(units)
    for name, probability in probabilities.items():
        # As steps: each bin's height at both of its borders. The open bins outside have no width to be drawn at.
        heights = np.asarray(probability)[1:-1] / width
        x = 10 ** np.repeat(edges, 2)
        y = np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])
        figure.add_scatter(
            x=x,
            y=y,
            name=name,
            legendgroup=name,
            mode="lines",
            line={"color": colors[name], "width": 2},
            # Only the reference is filled: what lies on top of it stays visible.
            fill="tozeroy" if colors[name] == AIMD else None,
            fillcolor=translucent(colors[name], 0.16),
            hovertemplate=f"{name}<br>ρ = %{{x:.4g}} {unit}<br>%{{y:.3g}} per decade<extra></extra>",
        )
        fitted = fits.get(name)
        if fitted is None:
            continue
        mean, std = float(fitted["log_mean"]), float(fitted["log_std"])
        logs = np.linspace(np.log(10) * edges[0], np.log(10) * edges[-1], 400)
        bell = np.exp(-0.5 * ((logs - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi)) * np.log(10)
        numbers = f"ln ρ: mean {mean:.3f}, std {std:.3f}, skewness {float(fitted['log_skewness']):.2f}"
        numbers = numbers.replace("-", "−")
        distance = f"<br>KS distance {float(fitted['ks']):.3f}" if "ks" in fitted else ""
        figure.add_scatter(
            x=np.exp(logs),
            y=bell,
            name=f"{name}, log-normal fit: {numbers}",
            legendgroup=name,
            mode="lines",
            line={"color": colors[name], "width": 2, "dash": "dash"},
            hovertemplate=f"{name}, log-normal fit<br>{numbers}{distance}<extra></extra>",
        )
    figure.update_layout(
        template=template(),
        title={"text": f"Distribution of the {field_name(density_kind)}" if title is None else title},
        width=860,
        height=470 + 46 * len(probabilities),
        legend={"x": 0, "y": -0.16, "xanchor": "left", "yanchor": "top", "tracegroupgap": 0},
    )
    decades = range(int(np.floor(edges[0])), int(np.ceil(edges[-1])))
    ticks = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    figure.update_xaxes(
        type="log",
        title=field_label(density_kind, units),
        range=[edges[0], edges[-1]],
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )
    figure.update_yaxes(title="probability density per decade of ρ", rangemode="tozero")
    return figure

"""Pictures of measurements: what ``result.edviz.plot()`` draws, chosen by the result's name.

To give a new measurement a picture of its own, add a line to `PICTURES`; to give it axes of its own in the common one,
a line to `LINES`. Any other DataArray is drawn as lines over the last of its dimensions that is not `sample`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from edviz.analysis.difference import difference_trajectory
from edviz.analysis.histogram import LogBins
from edviz.errors import ArgumentError, FrameIndexError
from edviz.plotting.histogram import draw_histogram
from edviz.plotting.page import LEGEND_BELOW
from edviz.plotting.slices import plot_slice
from edviz.plotting.theme import AIMD, GENERATED, INK, MUTED, field_label, pretty_units, template, translucent

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "LINES",
    "PICTURES",
    "Lines",
    "plot_difference",
    "plot_forecasts",
    "plot_histogram_result",
    "plot_lines",
    "plot_result",
    "plot_vectors",
    "plot_with_interval",
]

MAX_LINES = 6


def plot_result(result: xr.DataArray | xr.Dataset, **options: Any) -> go.Figure:
    """Draw what a measurement returned.

    Parameters
    ----------
    result
        From `DensityTrajectory.histogram`, `.structure_factor`, `.planar_average` and the other measurements.
    options
        Of the picture: `title` of all of them; `frame`, `sample`, `axis`, `index`, `clim` of a difference; `score` of
        a forecast's skill; `beside` and `label` of a pair distribution and a mean
        squared displacement.

    Raises
    ------
    ArgumentError
        If it is nothing that edviz draws.
    """
    if isinstance(result, xr.Dataset):
        name = next((str(name) for name in result.data_vars if name in PICTURES), "")
        if not name and len(result.data_vars) == 1:
            return plot_lines(next(iter(result.data_vars.values())), **options)
        if not name:
            raise ArgumentError(
                f"a dataset of {', '.join(map(str, result.data_vars)) or 'nothing'} has no picture of its own: draw "
                'one variable, as in result["name"].edviz.plot()'
            )
        return PICTURES[name](result, **options)
    picture = PICTURES.get(str(result.name))
    return picture(result, **options) if picture else plot_lines(result, **options)


# Lines ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lines:
    """How a result is drawn as lines.

    Attributes
    ----------
    title
        Of the figure.
    x
        Name of the coordinate along the horizontal axis; by default the last dimension's.
    y
        Text at the vertical axis, without unit, `{field}` in it for the field's symbol; by default the result's
        `long_name`.
    log
        Logarithmic vertical axis.
    zero
        A thin line at zero, for what changes sign.
    limits
        Of the vertical axis.
    """

    title: str
    x: str = ""
    y: str = ""
    log: bool = False
    zero: bool = False
    limits: tuple[float, float] | None = None


LINES: dict[str, Lines] = {
    "structure_factor": Lines("Structure factor of the density", "k", "S(k)", log=True),
    "two_point_correlation": Lines("Two-point correlation", "r", "⟨δρ(0) δρ(r)⟩ / mean ρ²", zero=True),
    "intermediate_scattering": Lines("Intermediate scattering function", "lag", "F(k,t)", zero=True),
    "dynamic_structure_factor": Lines("Dynamic structure factor", "omega", "S(k,ω)", log=True),
    "found_fraction": Lines("Atoms found in the density", "time", "share of the atoms found", limits=(0.0, 1.05)),
    "planar_average": Lines("Planar average", "position"),
    "line_profile": Lines("Along the line", "distance", "{field}"),
    "integrate_sphere": Lines("Electrons in the sphere"),
    "nmae": Lines("Error", "time", "mean absolute error / mean ρ"),
    "step": Lines("Change from frame to frame", "time", "mean absolute change / mean ρ"),
}


def plot_lines(result: xr.DataArray, title: str | None = None) -> go.Figure:
    """Draw an array of one to four dimensions as lines.

    `time` beside another dimension is averaged over, with the range that holds 95 % of the frames as a band, and so is
    `sample` beside two others; of any other dimension, such as `k`, at most six entries are drawn, evenly spread. A
    logarithmic axis leaves out what is not positive.

    Parameters
    ----------
    result : xr.DataArray
        With units in its attributes and its coordinates'.
    title : str, optional

    Raises
    ------
    ArgumentError
        If it has no dimension, or the horizontal coordinate is no number.
    """
    import plotly.graph_objects as go

    look = LINES.get(str(result.name), Lines(str(result.name or "").replace("_", " ")))
    along = _horizontal(result, look)
    dim = along.dims[0]
    x = along.values
    band = None
    if "time" in result.dims and dim != "time":
        over = [d for d in ("sample", "time") if d in result.dims]
        if result.sizes["time"] > 1:
            low, high = (result.quantile(q, over).rename(None) for q in (0.025, 0.975))
            band = (low, high) if low.ndim == 1 else None
        result = result.mean(over, keep_attrs=True)
    if "sample" in result.dims and result.ndim > 2:
        result = result.mean("sample", keep_attrs=True)
    if look.log:
        result = result.where(result > 0)  # plotly would let the line fall off the picture
    unit = pretty_units(str(result.attrs.get("units", "1")))
    label, x_label = look.y or _label(result), _with_unit(along)
    label = label.replace("{field}", field_label(str(result.attrs.get("density_kind", "")), "1"))
    figure = go.Figure()
    if band is not None:
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]),
            y=np.concatenate([band[1].values, band[0].values[::-1]]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=translucent(AIMD, 0.18),
            name="95 % of the frames",
            hoverinfo="skip",
        )
    lines = _each_line(result, str(dim))
    colors = (AIMD, *GENERATED)
    for number, (name, values) in enumerate(lines):
        figure.add_scatter(
            x=x,
            y=values,
            mode="lines+markers" if len(x) <= 40 else "lines",
            name=name or ("mean over the frames" if band is not None else label),
            line={"color": colors[number % len(colors)], "width": 2},
            hovertemplate=f"{name + '<br>' if name else ''}{x_label}: %{{x:.5g}}<br>%{{y:.5g}} {unit}<extra></extra>",
        )
    _finish(figure, look.title if title is None else title)
    figure.update_layout(showlegend=len(lines) > 1 or band is not None)
    figure.update_xaxes(title=x_label)
    figure.update_yaxes(title=f"{label} ({unit})" if unit else label)
    if look.limits is not None:
        figure.update_yaxes(range=look.limits)
    if look.zero:
        figure.add_hline(y=0, line={"color": INK, "width": 1, "dash": "dot"})
    if look.log:
        figure.update_yaxes(type="log", exponentformat="power", dtick=1)
    return figure


def _horizontal(result: xr.DataArray, look: Lines) -> xr.DataArray:
    """The coordinate along the horizontal axis."""
    dims = [str(dim) for dim in result.dims if dim != "sample"] or [str(dim) for dim in result.dims]
    if not dims:
        raise ArgumentError(f"{result.name or 'the result'} is a single number, {float(result):.6g}: nothing to draw")
    name = look.x if look.x in result.coords and result[look.x].ndim == 1 else dims[-1]
    along = result[name]
    if not np.issubdtype(along.dtype, np.number):
        raise ArgumentError(f"the coordinate '{name}' is no number: nothing to draw along")
    return along


def _each_line(result: xr.DataArray, dim: str) -> list[tuple[str, NDArray[np.float64]]]:
    """Name and values of at most `MAX_LINES` lines along a dimension."""
    others = [str(d) for d in result.dims if d != dim]
    if not others:
        return [("", result.values)]
    stacked = result.transpose(*others, dim).values.reshape(-1, result.sizes[dim])
    places = np.stack(np.unravel_index(np.arange(len(stacked)), [result.sizes[d] for d in others]), axis=1)
    chosen = np.unique(np.linspace(0, len(stacked) - 1, min(MAX_LINES, len(stacked))).round().astype(int))
    return [
        (", ".join(_entry(result, d, int(i)) for d, i in zip(others, places[row], strict=True)), stacked[row])
        for row in chosen
    ]


def _entry(result: xr.DataArray, dim: str, index: int) -> str:
    """An entry of a dimension in words, such as ``k = 1.73 1/Å``."""
    if dim not in result.coords:
        return f"{dim} {index}"
    value = result[dim].values[index]
    unit = pretty_units(str(result[dim].attrs.get("units", "1")))
    text = f"{value:.4g}" if np.issubdtype(result[dim].dtype, np.number) else str(value)
    return f"{dim} = {text} {unit}".strip()


_SYMBOLS = {"omega": "ω"}


def _label(array: xr.DataArray) -> str:
    return _SYMBOLS.get(str(array.name)) or str(array.attrs.get("long_name") or str(array.name or "").replace("_", " "))


def _with_unit(array: xr.DataArray) -> str:
    unit = pretty_units(str(array.attrs.get("units", "1")))
    return f"{_label(array)} ({unit})" if unit else _label(array)


# Other curves ---------------------------------------------------------------------------------------------------------


def plot_vectors(result: xr.DataArray, title: str | None = None) -> go.Figure:
    """Draw `DensityTrajectory.structure_factor_vectors`: a dot for each wave vector, by its length.

    Parameters
    ----------
    result : xr.DataArray
        ([sample,] vector); at most six samples are drawn.
    title : str, optional
    """
    import plotly.graph_objects as go

    samples = result if "sample" in result.dims else result.expand_dims("sample")
    hkl = np.stack([result[name].values for name in ("h", "k", "l")], axis=1)
    figure = go.Figure()
    for number, (values, color) in enumerate(zip(samples.values, (AIMD, *GENERATED), strict=False)):
        figure.add_scatter(
            x=result["k_norm"].values,
            y=values,
            mode="markers",
            name=f"sample {number}",
            marker={"color": translucent(color, 0.5), "size": 5},
            customdata=hkl,
            hovertemplate="(%{customdata[0]} %{customdata[1]} %{customdata[2]})<br>"
            "|k| = %{x:.4g} 1/Å<br>S(k) = %{y:.4g}<extra></extra>",
        )
    _finish(figure, "Structure factor, wave by wave" if title is None else title)
    figure.update_layout(showlegend="sample" in result.dims)
    figure.update_xaxes(title="|k| (1/Å)", rangemode="tozero")
    figure.update_yaxes(title="S(k)", type="log", exponentformat="power", dtick=1)
    return figure


def plot_with_interval(
    result: xr.Dataset,
    beside: Mapping[str, xr.Dataset] | None = None,
    label: str = "",
    title: str | None = None,
) -> go.Figure:
    """Draw a curve with its 95 % interval as a band: `pair_distribution` or `mean_squared_displacement`.

    Parameters
    ----------
    result : xr.Dataset
        `g` or `msd`, with `low` and `high`.
    beside : label -> xr.Dataset, optional
        Results of the same kind to draw as dashed lines in the same axes.
    label, title : str, optional
        What the first curve is called in the legend; title of the figure.

    Raises
    ------
    ArgumentError
        If what is to stand beside it is of another kind.
    """
    import plotly.graph_objects as go

    name = next(name for name in _INTERVALS if name in result)
    heading, quantity = _INTERVALS[name]
    curve = result[name]
    along = result[curve.dims[0]]
    unit = pretty_units(str(curve.attrs.get("units", "1")))
    x = along.values
    figure = go.Figure()
    if np.isfinite(result["low"].values).any():
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]),
            y=np.concatenate([result["high"].values, result["low"].values[::-1]]),
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=translucent(AIMD, 0.2),
            name="95 % interval",
            hoverinfo="skip",
        )
    curves = {label or quantity: result, **(beside or {})}
    for number, (text, own) in enumerate(curves.items()):
        if name not in own:
            raise ArgumentError(f"'{text}' has no {name}: only results of the same kind go into one picture")
        figure.add_scatter(
            x=own[curve.dims[0]].values,
            y=own[name].values,
            mode="lines",
            name=text,
            line={"color": (AIMD, *GENERATED)[number % 6], "width": 2, "dash": "dash" if number else None},
            hovertemplate=f"{text}<br>{_with_unit(along)}: %{{x:.5g}}<br>%{{y:.5g}} {unit}<extra></extra>",
        )
    _finish(figure, heading if title is None else title)
    figure.update_xaxes(title=_with_unit(along), rangemode="tozero")
    figure.update_yaxes(title=f"{quantity} ({unit})" if unit else quantity, rangemode="tozero")
    return figure


#: Variable of a dataset with an interval -> title and text at the vertical axis.
_INTERVALS = {"g": ("Pair distribution of the atoms", "g(r)"), "msd": ("Mean squared displacement", "⟨Δr²⟩")}


def plot_forecasts(result: xr.Dataset, score: str = "nmae", title: str | None = None) -> go.Figure:
    """Draw errors of forecasts against the lead time: `baselines`, `lead_times` or `forecast_skill`.

    Parameters
    ----------
    result : xr.Dataset
        Over `lead_time`. Errors of single times (`baselines`) are averaged.
    score : str
        Of `forecast_skill`: "nmae", "vrmse", "acc" or "crps".
    title : str, optional

    Raises
    ------
    ArgumentError
        If the dataset has no such score.
    """
    import plotly.graph_objects as go

    if "forecast" in result.dims:
        if score not in result or "forecast" not in result[score].dims:
            known = [str(name) for name, v in result.data_vars.items() if "forecast" in v.dims]
            raise ArgumentError(f"there is no score '{score}' of each forecast; there are {', '.join(known)}")
        curves = {str(name): result[score].sel(forecast=name) for name in result["forecast"].values}
    else:
        curves = {str(name): v.mean("time") if "time" in v.dims else v for name, v in result.data_vars.items()}
    curves = {name: curve for name, curve in curves.items() if np.isfinite(curve).any()}
    label, log = _SCORES.get(score, (score, False))
    unit = pretty_units(str(next(iter(result.data_vars.values())).attrs.get("units", "1")))
    unit = pretty_units(str(result[score].attrs.get("units", "1"))) if score in result else unit
    figure = go.Figure()
    for name, curve in curves.items():
        color, dash = _FORECAST_LINES.get(name, (AIMD, "solid"))
        figure.add_scatter(
            x=result["lead_time"].values,
            y=curve.values,
            mode="lines+markers" if curve.size <= 40 else "lines",
            name=name.replace("_", " "),
            line={"color": color, "width": 2, "dash": dash},
            hovertemplate=f"{name.replace('_', ' ')}<br>%{{x:g}} fs ahead<br>%{{y:.4g}} {unit}<extra></extra>",
        )
    _finish(figure, "Error of a forecast by how far it looks ahead" if title is None else title)
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title="lead time (fs)", rangemode="tozero")
    figure.update_yaxes(title=f"{label} ({unit})" if unit else label)
    if log:
        # Extrapolation explodes: decades apart after a few frames.
        figure.update_yaxes(type="log", exponentformat="none", tickformat="~g", dtick="D2")
    return figure


#: Colour and dash, as in the scorecard: models in colour, what needs no model in grey.
_FORECAST_LINES = {
    "rollout": (GENERATED[0], "solid"),
    "nmae_ensemble_mean": (GENERATED[0], "solid"),
    "member": (GENERATED[3], "solid"),
    "nmae": (GENERATED[3], "solid"),
    "persistence": (MUTED, "solid"),
    "linear": (MUTED, "dash"),
    "quadratic": (MUTED, "dot"),
    "climatology": (INK, "dashdot"),
}

#: Score -> text at the vertical axis, and whether that is logarithmic.
_SCORES = {
    "nmae": ("mean absolute error / mean ρ", True),
    "crps": ("CRPS / mean ρ", True),
    "vrmse": ("error / standard deviation of ρ", True),
    "acc": ("anomaly correlation", False),
}


def _finish(figure: go.Figure, title: str) -> None:
    """What all figures here have in common."""
    figure.update_layout(template=template(), title={"text": title}, width=860, height=460, legend=LEGEND_BELOW)


# Others ---------------------------------------------------------------------------------------------------------------


def plot_histogram_result(result: xr.Dataset, title: str | None = None) -> go.Figure:
    """Draw `DensityTrajectory.histogram`: every sample, all frames together."""
    probability = result["probability"]
    if "time" in probability.dims:
        probability = probability.mean("time")
    bins = LogBins(float(result["upper"][0]), float(result["lower"][-1]), result.sizes["bin"] - 2)
    kind = str(result.attrs.get("density_kind", "valence"))
    if "sample" in probability.dims:
        several = {f"sample {i}": probability.isel(sample=i).values for i in range(probability.sizes["sample"])}
    else:
        several = {"density": probability.values}
    return draw_histogram(bins, several, {}, density_kind=kind, units="e/angstrom^3", title=title)


def plot_difference(
    result: xr.DataArray,
    frame: int = 0,
    axis: int | str = "c",
    index: int | None = None,
    *,
    sample: int = 0,
    clim: tuple[float, float] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw a plane of one frame of `DensityTrajectory.difference`; arguments as `plot_slice`."""
    n_frames = result.sizes["time"]
    if not -n_frames <= frame < n_frames:
        raise FrameIndexError(f"there is no frame {frame}: the difference has frames 0 to {n_frames - 1}")
    if "sample" in result.dims:
        n_samples = result.sizes["sample"]
        if not -n_samples <= sample < n_samples:
            raise FrameIndexError(f"there is no sample {sample}: the difference has samples 0 to {n_samples - 1}")
        result = result.isel(sample=sample)
    one = result.isel(time=[frame % n_frames])
    figure = plot_slice(difference_trajectory(one), 0, axis, index, clim=clim, atoms=False)
    unit = pretty_units(str(one.attrs["units"]))
    heading = f"Difference at t = {float(one['time'][0]):.6g} fs, NMAE {float(one['nmae'][0]):.3g} %"
    where = str(figure.layout.title.text).partition("<br>")[2]
    figure.update_layout(title={"text": f"{heading}<br>{where}" if title is None else title})
    figure.update_traces(
        colorbar={"title": {"text": f"Δρ ({unit})"}},
        hovertemplate=f"x = %{{x:.2f}} Å<br>y = %{{y:.2f}} Å<br>Δρ = %{{z:.4g}} {unit}<extra></extra>",
        selector={"type": "heatmap"},
    )
    return figure


#: Name of a result, or of a variable that marks a dataset -> its picture. What is not here is drawn as lines.
PICTURES: dict[str, Callable[..., go.Figure]] = {
    "probability": plot_histogram_result,
    "difference": plot_difference,
    "structure_factor_vectors": plot_vectors,
    "g": plot_with_interval,
    "msd": plot_with_interval,
    "persistence": plot_forecasts,
    "spread_skill_ratio": plot_forecasts,
}

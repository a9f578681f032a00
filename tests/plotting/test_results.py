"""Pictures of measurements hold the measurements' numbers."""

import numpy as np
import pytest
import xarray as xr

from edviz.analysis.atoms import mean_squared_displacement, pair_distribution
from edviz.analysis.forecast import BASELINES, baselines, forecast_skill
from edviz.errors import ArgumentError, FrameIndexError
from edviz.plotting.results import MAX_LINES, plot_lines, plot_result


def test_frames_become_a_mean_and_a_band(lithium):
    profile = lithium[:9].planar_average("c")
    figure = plot_result(profile)
    band, line = figure.data
    np.testing.assert_allclose(line.y, profile.mean("time"))
    np.testing.assert_allclose(line.x, profile["position"])
    np.testing.assert_allclose(band.y[:32], profile.quantile(0.975, "time"))
    np.testing.assert_allclose(band.y[32:][::-1], profile.quantile(0.025, "time"))


def test_samples_are_lines_of_their_own_against_time(make_trajectory):
    found = make_trajectory(n_samples=3).integrate_sphere((0, 0, 0), 1.5)
    figure = plot_result(found, title="mine")
    assert [line.name for line in figure.data] == ["sample 0", "sample 1", "sample 2"]
    for number, line in enumerate(figure.data):
        np.testing.assert_allclose(line.y, found[number])
    assert figure.layout.title.text == "mine"


def test_of_many_entries_some_are_drawn_with_their_value():
    k = np.linspace(0.5, 4, 15)
    values = np.exp(-np.outer(k**2, np.linspace(0, 1, 50)))
    coords = {"k": ("k", k, {"units": "1/angstrom"}), "lag": ("lag", np.arange(50.0), {"units": "fs"})}
    array = xr.DataArray(values, dims=("k", "lag"), coords=coords, name="intermediate_scattering", attrs={"units": "1"})
    figure = plot_lines(array)
    assert len(figure.data) == MAX_LINES and figure.layout.xaxis.title.text == "lag (fs)"
    assert figure.data[0].name == "k = 0.5 1/Å" and figure.data[-1].name == "k = 4 1/Å"
    np.testing.assert_allclose(figure.data[-1].y, values[-1])


def test_a_histogram_keeps_its_probability(lithium):
    figure = plot_result(lithium[:4].histogram(per_frame=True))
    x, y = np.log10(figure.data[0].x), np.asarray(figure.data[0].y)
    assert np.trapezoid(y, x) == pytest.approx(0.9998, abs=1e-3)  # but for what lies in the open bins


def test_a_plane_of_a_difference(make_trajectory):
    first, second = make_trajectory(seed=1), make_trajectory(seed=2)
    found = first.difference(second)
    figure = plot_result(found, frame=3, axis="a", index=2, clim=(-0.1, 0.1))
    assert f"t = 33 fs, NMAE {float(found['nmae'][3]):.3g} %" in figure.layout.title.text
    values = np.asarray(figure.data[0].z, dtype=float)
    plane = found[3, 2].values
    assert np.nanmax(values) <= plane.max() + 1e-6 and np.nanmin(values) >= plane.min() - 1e-6
    assert figure.data[0].colorbar.title.text == "Δρ (e/Å³)" and figure.data[0].zmax == 0.1
    with pytest.raises(FrameIndexError, match="frames 0 to 4"):
        plot_result(found, frame=5)
    pair = make_trajectory(n_samples=2, seed=1).difference(second)
    assert "NMAE" in plot_result(pair, sample=1).layout.title.text
    with pytest.raises(FrameIndexError, match="samples 0 to 1"):
        plot_result(pair, sample=2)


def test_each_wave_is_a_dot_over_its_length(make_trajectory):
    found = make_trajectory(n_samples=2).structure_factor_vectors()
    figure = plot_result(found)
    assert [dots.name for dots in figure.data] == [
        "sample 0",
        "sample 1",
    ] and figure.layout.xaxis.title.text == "|k| (1/Å)"
    for number, dots in enumerate(figure.data):
        np.testing.assert_allclose(dots.x, found["k_norm"])  # not the Miller index k
        np.testing.assert_allclose(dots.y, found[number])
        np.testing.assert_array_equal(np.asarray(dots.customdata)[:, 1], found["k"])


@pytest.mark.parametrize(
    ("measure", "x", "y"),
    [
        (lambda traj: traj.two_point_correlation(), "r (Å)", "⟨δρ(0) δρ(r)⟩ / mean ρ²"),
        (lambda traj: traj.dynamic_structure_factor(t_max=40.0), "ω (rad/fs)", "S(k,ω) (fs)"),
        (lambda traj: traj.intermediate_scattering(t_max=40.0), "lag (fs)", "F(k,t)"),
        (lambda traj: traj.found_fraction(), "time (fs)", "share of the atoms found"),
    ],
)
def test_methods_draw_themselves_with_units(lithium, measure, x, y):
    found = measure(lithium[:8])
    figure = found.edviz.plot()
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == (x, y)
    np.testing.assert_allclose(figure.data[0].y, found[0] if found.ndim == 2 else found)


def test_of_an_ensemble_the_mean_of_each_shell_is_drawn(make_trajectory):
    found = make_trajectory(n_frames=12, n_samples=2).intermediate_scattering(k_min=1.0, k_max=3.0, t_max=40.0)
    figure = plot_result(found)
    assert len(figure.data) == found.sizes["k"] > 1 and all(line.name.startswith("k = ") for line in figure.data)
    for line, shell in zip(figure.data, found.mean("sample"), strict=True):
        np.testing.assert_allclose(line.y, shell)


def test_a_logarithmic_axis_leaves_out_what_is_not_positive():
    omega = ("omega", [0.0, 0.1, 0.2], {"units": "rad/fs"})
    values = xr.DataArray([1.0, -1e-6, 1e-3], dims="omega", coords={"omega": omega}, name="dynamic_structure_factor")
    (line,) = plot_result(values).data
    np.testing.assert_array_equal(line.y, [1.0, np.nan, 1e-3])


def test_an_interval_is_a_band_and_others_stand_beside_it(lithium):
    positions = lithium[:60].ds["positions"]
    g = pair_distribution(positions, lithium.grid.cell)
    half = pair_distribution(positions[:30], lithium.grid.cell)
    figure = plot_result(g, beside={"first half": half}, label="all")
    band, own, other = figure.data
    n = g.sizes["r"]
    np.testing.assert_allclose(band.y[:n], g["high"])
    np.testing.assert_allclose(band.y[n:][::-1], g["low"])
    np.testing.assert_allclose(own.y, g["g"])
    np.testing.assert_allclose(other.y, half["g"])
    assert (own.name, other.name, other.line.dash) == ("all", "first half", "dash")
    msd = mean_squared_displacement(positions, 10.0, t_max=500.0)  # a single block: no interval
    (line,) = plot_result(msd).data
    np.testing.assert_allclose(line.y, msd["msd"])
    with pytest.raises(ArgumentError, match="'other' has no msd"):
        plot_result(msd, beside={"other": g})


def test_forecasts_are_drawn_against_the_lead_time(lithium):
    ahead = baselines(lithium[:12], (1, 2, 3))
    figure = plot_result(ahead)
    assert [line.name for line in figure.data] == list(BASELINES)
    for line in figure.data:
        np.testing.assert_allclose(line.y, ahead[line.name].mean("time"))
    assert figure.layout.yaxis.title.text == "mean absolute error / mean ρ (%)"
    colors = {line.name: line.line.color for line in figure.data}
    skill = forecast_skill(lithium[3:8], lithium[:8])
    figure = plot_result(skill, score="acc")
    assert figure.layout.yaxis.title.text == "anomaly correlation" and figure.layout.yaxis.type is None
    for line in figure.data:
        np.testing.assert_allclose(line.y, skill["acc"].sel(forecast=line.name))
    assert {line.name: line.line.color for line in figure.data if line.name in colors} == colors
    with pytest.raises(ArgumentError, match="no score 'spread' of each forecast; there are nmae"):
        plot_result(skill, score="spread")


def test_what_has_no_picture():
    with pytest.raises(ArgumentError, match="a dataset of one, two"):
        plot_result(xr.Dataset({"one": ("x", [1.0]), "two": ("x", [2.0])}))
    with pytest.raises(ArgumentError, match="single number"):
        plot_result(xr.DataArray(1.0, name="jsd"))
    with pytest.raises(ArgumentError, match="no number"):
        plot_result(xr.DataArray([1.0, 2.0], dims="x", coords={"x": ["a", "b"]}))
    lone = xr.Dataset({"one": ("x", [1.0, 2.0], {"units": "e"})}, coords={"x": [0.0, 1.0]})
    assert plot_result(lone).layout.yaxis.title.text == "one (e)"

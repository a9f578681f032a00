from __future__ import annotations

import json
import re

import numpy as np
import pytest

import edviz
from edviz.errors import ArgumentError
from edviz.plotting.histogram import plot_histogram
from edviz.plotting.theme import AIMD, GENERATED


@pytest.fixture
def lognormal():
    """Densities that are log-normal by construction, with mean -3 and standard deviation 0.4 of the logarithm."""

    def make(std: float = 0.4, n_samples: int | None = None, kind: str = "valence") -> edviz.DensityTrajectory:
        random = np.random.default_rng(1)
        shape = (8, 16, 16, 16) if n_samples is None else (n_samples, 8, 16, 16, 16)
        density = np.exp(random.normal(-3.0, std, shape))
        density *= density[..., :1, :, :, :].mean() / density.mean(axis=(-3, -2, -1), keepdims=True)
        return edviz.DensityTrajectory.from_arrays(density, 8 * np.eye(3), time=10.0 * np.arange(8), density_kind=kind)

    return make


def test_area_is_one_per_decade_and_the_fit_lies_on_a_lognormal_density(lognormal):
    steps, fit = plot_histogram(lognormal()).data
    area = np.trapezoid(steps.y, np.log10(steps.x))
    assert area == pytest.approx(1.0, abs=1e-3)
    assert np.trapezoid(fit.y, np.log10(fit.x)) == pytest.approx(1.0, abs=2e-3)
    middle = np.interp(np.log10(fit.x), np.log10(np.asarray(steps.x)[1::2]), np.asarray(steps.y)[1::2])
    assert np.abs(np.asarray(fit.y) - middle).max() < 0.1 * np.max(fit.y)
    written = re.search(r"mean −(\S+), std (\S+), skewness (\S+)", fit.name)
    assert written
    assert float(written[1]) == pytest.approx(3.0, abs=0.02)
    assert float(written[2]) == pytest.approx(0.4, abs=0.01)
    assert abs(float(written[3].replace("−", "-"))) < 0.1


def test_labels_keep_their_colours_and_fits_are_dashed(lognormal):
    figure = plot_histogram({"AIMD": lognormal(), "generated": lognormal(0.5, n_samples=2)})
    by_name = {trace.name.split(",")[0]: trace.line.color for trace in figure.data}
    assert by_name == {"AIMD": AIMD, "generated": GENERATED[0]}
    assert [trace.line.dash for trace in figure.data] == [None, "dash", None, "dash"]
    swapped = plot_histogram({"generated": lognormal(0.5), "AIMD": lognormal()})
    assert {trace.name.split(",")[0]: trace.line.color for trace in swapped.data} == by_name


def test_rollouts_are_recognised_without_labels(lognormal):
    rollout = edviz.DensityTrajectory(lognormal().ds.assign_attrs(source="edviz emulator"))
    names = [trace.name for trace in plot_histogram([lognormal(), rollout, rollout], fit=False).data]
    assert names == ["AIMD", "generated", "generated 2"]


def test_units_are_in_the_figure(lognormal):
    layout = json.loads(plot_histogram(lognormal()).to_json())["layout"]
    assert layout["xaxis"]["title"]["text"] == "ρ (e/Å³)"
    assert layout["xaxis"]["type"] == "log"
    assert "per decade" in layout["yaxis"]["title"]["text"]


def test_at_most_so_many_frames_are_used(lognormal):
    whole = lognormal()
    thinned = plot_histogram(whole, max_frames=3).data[0]
    by_hand = plot_histogram(whole[[0, 4, 7]]).data[0]
    np.testing.assert_allclose(thinned.y, by_hand.y)


def test_negative_values_leave_a_histogram_without_fit(lognormal):
    values = lognormal().density.values.copy()
    values[0, 0, 0, 0] = -1e-3
    traj = edviz.DensityTrajectory(lognormal().ds.assign(density=lognormal().density.copy(data=values)))
    assert len(plot_histogram(traj).data) == 1


def test_kinds_do_not_mix(lognormal):
    with pytest.raises(ArgumentError, match="total, valence"):
        plot_histogram([lognormal(), lognormal(kind="total")])
    with pytest.raises(ArgumentError, match="no trajectory"):
        plot_histogram([])

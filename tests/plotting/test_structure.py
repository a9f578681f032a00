from __future__ import annotations

import json

import numpy as np
import pytest

from edviz.analysis.correlation import structure_factor
from edviz.plotting.structure import plot_structure_factor
from edviz.plotting.theme import AIMD, GENERATED


@pytest.fixture
def liquid(make_trajectory):
    return make_trajectory(20, shape=(10, 10, 12))


def test_curve_is_the_structure_factor(liquid):
    figure = plot_structure_factor(liquid, n_blocks=0, k_max=None)
    expected = structure_factor(liquid)
    (curve,) = figure.data
    np.testing.assert_allclose(curve.x, expected["k"])
    np.testing.assert_allclose(curve.y, expected, rtol=1e-6)


def test_band_holds_the_blocks_of_the_first_trajectory(liquid):
    band, curve = plot_structure_factor(liquid, n_blocks=4, k_max=None).data
    n = len(curve.x)
    blocks = np.array([structure_factor(liquid[5 * i : 5 * i + 5]) for i in range(4)])
    np.testing.assert_allclose(band.y[:n], blocks.max(axis=0), rtol=1e-6)
    np.testing.assert_allclose(band.y[n:][::-1], blocks.min(axis=0), rtol=1e-6)
    assert "4 AIMD blocks of 5 frames" in band.name


def test_second_panel_is_the_ratio_to_the_first(liquid, make_trajectory):
    other = make_trajectory(6, shape=(10, 10, 12), seed=5, n_samples=2, positions=None, velocities=None, forces=None)
    figure = plot_structure_factor({"AIMD": liquid, "generated": other}, n_blocks=0)
    aimd, generated, ratio = figure.data
    assert (aimd.line.color, generated.line.color, ratio.line.color) == (AIMD, GENERATED[0], GENERATED[0])
    np.testing.assert_allclose(ratio.y, np.asarray(generated.y) / np.asarray(aimd.y))
    np.testing.assert_allclose(generated.y, structure_factor(other, 6.0).mean("sample"), rtol=1e-6)


def test_units_are_in_the_figure(liquid):
    layout = json.loads(plot_structure_factor(liquid).to_json())["layout"]
    assert layout["xaxis"]["title"]["text"] == "k (1/Å)"
    assert layout["yaxis"]["title"]["text"] == "S(k)"

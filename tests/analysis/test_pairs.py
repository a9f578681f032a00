from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

from edviz.analysis.pairs import first_peak, pair_distribution
from edviz.errors import ArgumentError, MissingDataError, NonFiniteError

TRICLINIC = np.array([[6.0, 0.0, 0.0], [1.5, 5.5, 0.0], [-1.0, 0.8, 7.0]])


def test_counts_are_those_of_ase_in_a_triclinic_cell():
    """Also beyond the largest sphere in the cell, where several images of a pair count."""
    from ase import Atoms

    positions = np.random.default_rng(0).uniform(-8, 14, (3, 9, 3))
    dr, r_max, volume = 0.1, 8.0, np.linalg.det(TRICLINIC)
    found = pair_distribution(positions, TRICLINIC, r_max, dr)
    edges = dr * np.arange(81)
    counts = np.zeros(80)
    for frame in positions:
        i, j, d = neighbor_list("ijd", Atoms("H9", frame, cell=TRICLINIC, pbc=True), r_max)
        counts += np.histogram(d[i != j], edges)[0] / 2
    ideal = 9 * 8 / 2 / volume * 4 / 3 * np.pi * np.diff(edges**3)
    np.testing.assert_allclose(found["g"], counts / 3 / ideal, rtol=1e-12)


def test_an_fcc_crystal():
    """12 neighbours at a/sqrt(2), 6 at a, 24 at sqrt(3/2) a, in a skewed supercell of the primitive cell."""
    a = 4.05
    crystal = bulk("Al", "fcc", a=a) * (4, 4, 4)
    found = pair_distribution(crystal.positions[None], crystal.cell[:], r_max=1.3 * a, dr=0.02)
    r, n = found["r"].values, len(crystal)
    neighbours = found["g"].values * (n - 1) / crystal.get_volume() * 4 / 3 * np.pi
    neighbours *= (r + 0.01) ** 3 - (r - 0.01) ** 3
    where = np.flatnonzero(neighbours > 1e-9)
    np.testing.assert_allclose(r[where], a * np.sqrt([0.5, 1.0, 1.5]), atol=0.01)
    np.testing.assert_allclose(neighbours[where], [12, 6, 24], rtol=1e-12)


def test_an_ideal_gas_is_one_everywhere_within_its_interval():
    positions = np.random.default_rng(1).uniform(0, 10, (400, 30, 3))
    found = pair_distribution(positions, 10 * np.eye(3), dr=0.5)
    assert found["r"].values[-1] == pytest.approx(4.75)
    inside = (found["low"] <= 1) & (found["high"] >= 1)
    assert inside.mean() >= 0.7
    np.testing.assert_allclose(found["g"][3:], 1, atol=0.02)
    with pytest.raises(MissingDataError, match="no peak"):
        first_peak(pair_distribution(positions[:1] * 0 + np.arange(30)[:, None] * 3.3, 100 * np.eye(3), r_max=2.0))


def test_first_peak_lies_between_the_shells():
    """A crystal of spacing 2.87 in which atoms rattle: the peak hardly depends on the shells' width."""
    random = np.random.default_rng(2)
    n = 60
    lattice = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)[:n] * 2.87
    positions = lattice + random.normal(0, 0.15, (600, n, 3))
    cell = 4 * 2.87 * np.eye(3)
    peak = first_peak(pair_distribution(positions, cell, dr=0.04))
    finer = first_peak(pair_distribution(positions, cell, dr=0.02))
    assert float(peak["position"][0]) == pytest.approx(float(finer["position"][0]), abs=0.01)
    assert float(peak["height"][0]) == pytest.approx(float(finer["height"][0]), rel=0.02)
    value, low, high = peak["position"].values
    assert low < value < high and high - low < 0.05
    assert value == pytest.approx(2.87, abs=0.03)
    assert peak["position"].attrs["units"] == "angstrom"


def test_an_ensemble_is_the_mean_of_its_samples():
    positions = np.random.default_rng(3).uniform(0, 8, (2, 12, 10, 3))
    both = pair_distribution(positions, 8 * np.eye(3), dr=0.2)
    one, two = (pair_distribution(p, 8 * np.eye(3), dr=0.2) for p in positions)
    np.testing.assert_allclose(both["g"], (one["g"] + two["g"]) / 2)
    assert both.sizes["block"] == one.sizes["block"] + two.sizes["block"]


def test_one_block_has_no_interval():
    found = pair_distribution(np.random.default_rng(3).uniform(0, 8, (5, 10, 3)), 8 * np.eye(3), n_block=5)
    assert np.isnan(found["low"]).all()


def test_refuses_what_it_cannot_count():
    with pytest.raises(ArgumentError, match="two atoms"):
        pair_distribution(np.zeros((3, 1, 3)), np.eye(3))
    with pytest.raises(ArgumentError, match="shape"):
        pair_distribution(np.zeros((3, 3)), np.eye(3))
    with pytest.raises(ArgumentError, match="no shell"):
        pair_distribution(np.zeros((3, 2, 3)), np.eye(3), r_max=0.01)
    with pytest.raises(NonFiniteError, match="frame 1"):
        pair_distribution([[[0, 0, 0], [1, 1, 1]], [[0, 0, 0], [np.nan, 1, 1]]], 5 * np.eye(3))

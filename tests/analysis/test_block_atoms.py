from __future__ import annotations

import numpy as np
import pytest

from edviz import DensityTrajectory
from edviz.analysis.block_atoms import BlockAtoms, atoms_to_find, msd_lags, pair_distances
from edviz.analysis.pairs import pair_distribution


def test_where_atoms_are_looked_for(lithium, coarse, make_noise):
    test = lithium.split("test")
    assert atoms_to_find(test) == (54, "")
    assert atoms_to_find(test[:20].with_core()) == (54, "")
    assert "no numbers" in atoms_to_find(coarse)[1]
    without = DensityTrajectory(test.ds.drop_vars("positions"))
    assert atoms_to_find(without)[0] == 54 and "stored positions" in atoms_to_find(without)[1]


def test_holes_that_are_not_the_atoms_do_not_count(lithium):
    """Stored positions that the density does not confirm: those of a second before."""
    test = lithium.split("test")
    wrong = test.ds.assign(
        positions=(test.ds["positions"].dims, lithium.ds["positions"].values[:127], {"units": "angstrom"})
    )
    n, why = atoms_to_find(DensityTrajectory(wrong))
    assert n == 54 and "holes of the valence density" in why and "99%" in why


def test_a_block_measures_g_and_motion(lithium):
    frames = lithium[:60]
    atoms = BlockAtoms(frames.grid, "valence", 54, 60, 10.0)
    assert not any(np.any(values) for values in atoms.measure().values())
    for field in frames.density.values:
        atoms.follow(field)
    found = atoms.measure()
    assert found["atoms_found"] == 1 and found["msd"].shape == msd_lags(60, 10.0).shape == (51,)
    stored = frames.ds["positions"].values
    g = pair_distribution(stored, frames.grid.cell, dr=0.05)
    np.testing.assert_allclose(pair_distances(frames.grid), g["r"])
    assert np.abs(found["pair_distribution"] - g["g"].values).mean() < 0.1
    assert found["msd"][0] == 0 and found["msd"][50] > found["msd"][20] > 0


def test_blocks_too_short_for_a_line_have_no_msd():
    assert not msd_lags(50, 10.0).size and not msd_lags(20, 200.0).size and msd_lags(51, 10.0)[-1] == 500


@pytest.mark.parametrize("fault", ["uniform", "unrelated frames"])
def test_what_cannot_be_followed_is_given_up(lithium, fault):
    values = lithium.density.values[::50][:12]
    if fault == "uniform":
        values = np.full_like(values, values.mean())
    atoms = BlockAtoms(lithium.grid, "valence", 54, 12, 10.0)
    for field in values:
        atoms.follow(field)
    assert atoms.measure()["atoms_found"] < 0.9

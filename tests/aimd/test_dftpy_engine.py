from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from strain import energy_slope

import edviz
from edviz.aimd import dftpy_engine
from edviz.aimd.dftpy_engine import DFTpyEngine
from edviz.errors import ArgumentError, EngineError, MissingDataError, MissingDependencyError


@pytest.fixture(scope="module")
def engine():
    return DFTpyEngine(tolerance=1e-10)


def test_forces_are_the_slope_of_the_energy(engine, pair):
    engine.start(pair)
    forces = engine.compute(pair.positions).forces
    h = 0.01
    for atom, axis in ((0, 0), (0, 2), (1, 1)):
        energies = []
        for sign in (1, -1):
            moved = pair.positions.copy()
            moved[atom, axis] += sign * h
            energies.append(engine.compute(moved).energy)
        slope = -(energies[0] - energies[1]) / (2 * h)
        # Bound: 0.2 meV/angstrom, against forces of some 1 eV/angstrom.
        assert slope == pytest.approx(forces[atom, axis], abs=2e-4)
    assert np.abs(forces).max() > 1.0
    assert forces.sum(axis=0) == pytest.approx(0, abs=1e-3)


def test_stress_is_the_slope_of_the_energy_with_strain(pair):
    """Same number of grid points at both strains. Bound: 2e-6 eV/angstrom^3."""
    engine = DFTpyEngine(tolerance=1e-10)
    engine.start(pair)
    assert engine.compute(pair.positions).stress is None
    engine.with_stress = True
    stress = engine.compute(pair.positions).stress
    for i, j in ((0, 0), (0, 1)):
        assert energy_slope(engine, pair, i, j) == pytest.approx(stress[i, j], abs=2e-6)
        assert abs(stress[i, j]) > 1e-2


def test_density_counts_the_electrons_and_goes_with_the_atoms(engine, pair):
    engine.start(pair)
    here = engine.compute(pair.positions)
    n = here.density.shape[0]
    assert here.density.mean() * pair.get_volume() == pytest.approx(2.0, abs=1e-6)
    assert here.density.min() > 0
    moved = engine.compute(pair.positions + np.array([0, pair.cell[1, 1] / n, 0]))
    assert moved.energy == pytest.approx(here.energy, abs=1e-6)
    assert moved.density == pytest.approx(np.roll(here.density, 1, axis=1), abs=2e-5)
    assert np.abs(here.density - np.roll(here.density, 1, axis=1)).max() > 2e-3


def test_two_cells_have_twice_the_energy(engine, pair):
    """The sums over ions and the kinetic functional know no cell; periodic images are ions like others."""
    engine.start(pair)
    one = engine.compute(pair.positions)
    double = pair.repeat((2, 1, 1))
    engine.start(double)
    two = engine.compute(double.positions)
    assert two.energy == pytest.approx(2 * one.energy, abs=1e-5)
    assert two.forces[:2] == pytest.approx(one.forces, abs=2e-4)
    assert two.density[: one.density.shape[0]] == pytest.approx(one.density, abs=1e-4)


def test_extrapolation_changes_nothing_beyond_the_tolerance(engine, pair):
    engine.start(pair)
    path = [pair.positions + 0.02 * k * np.array([[1, 0, 1], [0, -1, 0]]) for k in range(5)]
    along = [engine.compute(positions) for positions in path][-1]
    engine.start(pair)
    fresh = engine.compute(path[-1])
    assert along.energy == pytest.approx(fresh.energy, abs=1e-7)
    assert along.forces == pytest.approx(fresh.forces, abs=1e-3)
    assert along.density == pytest.approx(fresh.density, abs=5e-5)
    assert along.n_iterations < fresh.n_iterations


def test_a_run_is_labelled_and_continues(pair, tmp_path):
    def run(duration, name):
        return edviz.aimd.run(
            pair, "dftpy", duration=duration, grid=(10, 10, 10), out=tmp_path / name, checkpoint_every=2, progress=False
        )

    traj = run(6, "a.h5")
    assert traj.n_frames == 4
    assert traj.ds.attrs["density_kind"] == "valence"
    assert "orbital-free" in traj.ds.attrs["title"]
    for word in ("DFTpy", "Wang-Teter", "orbital-free", "local, fitted", "LDA", "without temperature"):
        assert word in traj.ds.attrs["source"]
    assert json.loads(traj.ds.attrs["settings"])["spacing_A"] == 0.345
    run(2, "b.h5")
    again = run(6, "b.h5")
    assert again.ds["positions"].values == pytest.approx(traj.ds["positions"].values, abs=1e-6)


def test_settings_that_make_no_sense_are_refused(pair, monkeypatch):
    with pytest.raises(ArgumentError, match="spacing is a positive number"):
        DFTpyEngine(spacing=0)
    with pytest.raises(ArgumentError, match="'WT' or 'TFvW'"):
        DFTpyEngine(kinetic="KS")
    with pytest.raises(ArgumentError, match="charge, r_loc, C1, C2"):
        DFTpyEngine(pseudopotentials={"Na": (1, 2)})
    with pytest.raises(EngineError, match="call start"):
        DFTpyEngine().compute(pair.positions)
    monkeypatch.setitem(sys.modules, "dftpy.ions", None)
    dftpy_engine._import.cache_clear()
    with pytest.raises(MissingDependencyError, match="pip install dftpy"):
        DFTpyEngine().prepare(pair)
    pair.symbols[1] = "Al"
    with pytest.raises(MissingDataError, match="no local pseudopotential for Al"):
        DFTpyEngine().prepare(pair)


def test_grids_are_even_and_quick():
    assert [dftpy_engine._points(x) for x in (0.5, 2, 10.1, 13.2, 31.5)] == [2, 2, 12, 16, 32]

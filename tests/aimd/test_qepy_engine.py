from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from strain import energy_slope

import edviz
from edviz.aimd.qepy_engine import QEpyEngine
from edviz.errors import ArgumentError, EngineError, MissingDataError

CUTOFF = 8.0


@pytest.fixture(scope="module")
def engine(qepy):
    engine = QEpyEngine(cutoff=CUTOFF, tolerance=1e-11)
    yield engine
    engine.close()


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
        # Bound: 2 meV/angstrom, against forces of some 0.5 eV/angstrom.
        assert slope == pytest.approx(forces[atom, axis], abs=2e-3)
    assert np.abs(forces).max() > 0.1


def test_density_counts_the_electrons_and_goes_with_the_atoms(engine, pair):
    engine.start(pair)
    here = engine.compute(pair.positions)
    assert here.density.mean() * pair.get_volume() == pytest.approx(2.0, abs=1e-8)
    n = here.density.shape[0]
    assert here.density.shape == (n, n, n)
    # Moved by a grid step along b, everything is as before, one point on: tells a from b and c, and the sign.
    moved = engine.compute(pair.positions + np.array([0, pair.cell[1, 1] / n, 0]))
    assert moved.energy == pytest.approx(here.energy, abs=1e-5)
    assert moved.density == pytest.approx(np.roll(here.density, 1, axis=1), abs=2e-4)
    assert np.abs(here.density - np.roll(here.density, 1, axis=1)).max() > 2e-3


def test_the_first_positions_need_not_be_those_of_the_start(engine, pair):
    elsewhere = pair.positions + np.array([[0.3, 0, 0], [0, 0, 0]])
    engine.start(pair)
    first = engine.compute(elsewhere)
    pair.positions = elsewhere
    engine.start(pair)
    assert np.array_equal(engine.compute(elsewhere).forces, first.forces)


def test_extrapolation_changes_nothing_beyond_the_tolerance(engine, pair):
    engine.start(pair)
    path = [pair.positions + 0.02 * k * np.array([[1, 0, 1], [0, -1, 0]]) for k in range(4)]
    along = [engine.compute(positions) for positions in path][-1]
    pair.positions = path[-1]
    engine.start(pair)
    fresh = engine.compute(path[-1])
    assert along.energy == pytest.approx(fresh.energy, abs=1e-7)
    assert along.forces == pytest.approx(fresh.forces, abs=1e-4)
    assert along.density == pytest.approx(fresh.density, abs=1e-5)


def test_stress_is_the_slope_of_the_energy_with_strain(qepy, pair):
    """With the same plane waves at both strains, so that no Pulay stress enters.

    Bound: 2e-6 eV/angstrom^3. What Pulay stress adds, a finite cutoff's pull towards small cells, is the stress's own
    error: its diagonal at 8 Ry is 3e-3 above that at 30 Ry, at 12 Ry 1.3e-3.
    """
    engine = QEpyEngine(cutoff=CUTOFF, tolerance=1e-12)
    engine.start(pair)
    assert engine.compute(pair.positions).stress is None  # nobody asked
    engine.with_stress = True
    stress = engine.compute(pair.positions).stress
    assert stress == pytest.approx(stress.T)
    for i, j in ((0, 0), (0, 1)):
        assert energy_slope(engine, pair, i, j) == pytest.approx(stress[i, j], abs=2e-6)
        assert abs(stress[i, j]) > 1e-2
    engine.close()


def test_a_killed_engine_is_an_error_and_leaves_nothing(qepy, pair):
    engine = QEpyEngine(cutoff=CUTOFF)
    engine.start(pair)
    folder = engine._folder
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="killed by signal 9"):
        engine.compute(pair.positions)
    assert not Path(folder).exists()
    with pytest.raises(EngineError, match="not running"):
        engine.compute(pair.positions)


def test_errors_of_quantum_espresso_are_quoted(qepy, pair, tmp_path):
    text = edviz.aimd.pseudopotential("Li").read_text()
    (tmp_path / "Li.UPF").write_text(text.replace('functional="PBE"', 'functional="NONSENSE"'))
    engine = QEpyEngine(cutoff=CUTOFF, pseudopotentials={"Li": tmp_path / "Li.UPF"})
    with pytest.raises(
        EngineError, match=r"status 1:\nError in routine set_dft_from_name \(1\):\nNONSENSE: unrecognized dft"
    ):
        engine.start(pair)
        engine.compute(pair.positions)
    engine.close()


def test_settings_that_make_no_sense_are_refused(pair, tmp_path):
    with pytest.raises(ArgumentError, match="cutoff is a positive number"):
        QEpyEngine(cutoff=-1)
    with pytest.raises(ArgumentError, match="'mean', 'gamma' or three"):
        QEpyEngine(kpoints=(2, 2))
    with pytest.raises(ArgumentError, match="'PBE' or 'LDA'"):
        QEpyEngine(xc="B3LYP")
    with pytest.raises(MissingDataError, match="is for Al, given for Li"):
        QEpyEngine(pseudopotentials={"Li": edviz.aimd.pseudopotential("Al")}).prepare(pair)
    with pytest.raises(ArgumentError, match="no room for 2 electrons"):
        QEpyEngine(n_bands=1).prepare(pair)
    # What QE takes the functional from is what the file says, whatever `xc`.
    file = edviz.aimd.pseudopotential("Li", "PBE")
    own = QEpyEngine(xc="LDA", pseudopotentials={"Li": file}, cutoff=9)
    own.prepare(pair)
    assert own.describe()["xc"] == "PBE"
    with pytest.raises(ArgumentError, match=r"Li\.gth-pbe.* does not say which cut-off"):
        QEpyEngine(pseudopotentials={"Li": file}).prepare(pair)
    (tmp_path / "Li.UPF").write_text(file.read_text().replace('wfc_cutoff="0.0"', 'wfc_cutoff="3.1E+01"'))
    own = QEpyEngine(pseudopotentials={"Li": tmp_path / "Li.UPF"})
    own.prepare(pair)
    assert own.describe()["cutoff_Ry"] == 31
    pair.symbols[1] = "U"
    with pytest.raises(MissingDataError, match="UPF file of your own"):
        QEpyEngine().prepare(pair)

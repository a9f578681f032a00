"""GPAW is needed for some of these; where it is missing they are skipped. What needs no program is tested always."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from strain import energy_slope

from edviz.aimd.gpaw_engine import GPAWEngine
from edviz.errors import ArgumentError, EngineError, MissingDependencyError

gpaw = pytest.mark.skipif(importlib.util.find_spec("gpaw") is None, reason="gpaw is not installed")


@gpaw
def test_forces_are_the_slope_of_the_energy(pair):
    engine = GPAWEngine(cutoff=200, tolerance=1e-8)
    engine.prepare(pair)
    assert engine.n_electrons == pytest.approx(2.30, abs=0.01)  # 1 electron an atom, pseudo-cores, no compensation
    engine.start(pair)
    engine.with_stress = True
    here = engine.compute(pair.positions)
    assert here.density.mean() * pair.get_volume() == pytest.approx(engine.n_electrons, abs=1e-3)
    assert here.density.min() > 0  # with compensation charges it would be -0.44
    assert here.stress.shape == (3, 3)
    energies = []
    for sign in (1, -1):
        moved = pair.positions.copy()
        moved[0, 0] += sign * 0.01
        energies.append(engine.compute(moved).energy)
    assert -(energies[0] - energies[1]) / 0.02 == pytest.approx(here.forces[0, 0], abs=5e-3)
    assert abs(here.forces[0, 0]) > 0.1


@gpaw
def test_stress_is_the_slope_of_the_energy_with_strain(pair):
    """Within 2e-6 eV/angstrom^3 at the default cut-off, as at 300 eV; at 200 eV within 2e-5."""
    engine = GPAWEngine(tolerance=1e-9)
    engine.with_stress = True
    engine.start(pair)
    stress = engine.compute(pair.positions).stress
    engine.with_stress = False
    for i, j in ((0, 0), (1, 2)):
        assert energy_slope(engine, pair, i, j) == pytest.approx(stress[i, j], abs=2e-6)
        assert abs(stress[i, j]) > 1e-2


@gpaw
def test_the_valence_density_is_another_one(pair):
    engine = GPAWEngine(cutoff=200, density="all-electron valence")
    assert engine.density_kind == "valence"
    engine.prepare(pair)
    engine.start(pair)
    density = engine.compute(pair.positions).density
    assert engine.n_electrons == 2
    assert density.mean() * pair.get_volume() == pytest.approx(2.0, abs=2e-4)
    assert density.max() > 0.5  # e/angstrom^3; the pseudo-density stays below 0.3
    assert np.isfinite(density).all()


def test_what_is_missing_is_said(pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpaw", None)
    with pytest.raises(MissingDependencyError, match="pip install gpaw"):
        GPAWEngine().prepare(pair)
    with pytest.raises(EngineError, match="call start"):
        GPAWEngine().compute(pair.positions)
    with pytest.raises(ArgumentError, match="density is 'pseudo' or"):
        GPAWEngine(density="total")
    with pytest.raises(ArgumentError, match="kpoints is 'mean'"):
        GPAWEngine(kpoints=(2, 2))
    with pytest.raises(ArgumentError, match="cutoff is a positive number"):
        GPAWEngine(cutoff=-1)
    assert GPAWEngine().describe()["density"] == "pseudo"

"""The fitted potential: forces are minus the energy's gradient, and a potential of its form is found again."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.fd import calculate_numerical_forces

import edviz
from edviz.aimd.fitted_potential import DENSITY_RANGES, PAIR_RANGES, FittedPotential, fit_potential
from edviz.errors import ArgumentError, MissingDataError

COEFFICIENTS = np.random.default_rng(0).normal(size=len(PAIR_RANGES) + 2 * len(DENSITY_RANGES)) * 0.1


def _atoms(seed: int = 0) -> Atoms:
    cell = np.diag([11.0, 11.5, 12.0])
    cell[1, 0] = 0.4
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) / 3
    jitter = np.random.default_rng(seed).normal(scale=0.4, size=(27, 3))
    return Atoms("Li27", positions=grid @ cell + jitter, cell=cell, pbc=True)


def test_forces_are_minus_the_gradient() -> None:
    atoms = _atoms()
    atoms.calc = FittedPotential(COEFFICIENTS)
    forces = atoms.get_forces()
    some = [0, 5, 20]
    numerical = calculate_numerical_forces(atoms, eps=1e-4, iatoms=some)
    np.testing.assert_allclose(forces[some], numerical, atol=1e-6)
    np.testing.assert_allclose(forces.sum(0), 0, atol=1e-12)
    energy = atoms.get_potential_energy()
    atoms.positions += [1.3, -20.0, 4.0]
    atoms.wrap()
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-10)


def test_finds_a_potential_of_its_own_form() -> None:
    frames = [_atoms(seed) for seed in range(12)]
    for atoms in frames:
        atoms.calc = FittedPotential(COEFFICIENTS)
    traj = edviz.DensityTrajectory.from_arrays(
        np.ones((12, 2, 2, 2)),
        np.asarray(frames[0].cell),
        time=np.arange(12.0),
        positions=np.stack([a.positions for a in frames]),
        numbers=frames[0].numbers,
    )
    forces = np.stack([a.get_forces() for a in frames])
    ds = traj.ds.assign(forces=(("time", "atom", "xyz"), forces, {"units": "eV/angstrom"}))
    potential, error = fit_potential(edviz.DensityTrajectory(ds))
    assert error < 0.01
    fresh = _atoms(99)
    fresh.calc = FittedPotential(COEFFICIENTS)
    truth = fresh.get_forces()
    fresh.calc = potential
    np.testing.assert_allclose(fresh.get_forces(), truth, atol=0.03 * np.abs(truth).max())


def test_lithium_forces_of_frames_it_has_not_seen() -> None:
    traj = edviz.load_sample("lithium-800K")
    potential, error = fit_potential(traj.split("train")[::20])
    assert error < 0.5
    test = traj.split("test")[::30]
    truth = test.ds["forces"].values
    found = np.empty_like(truth)
    for t in range(len(test)):
        atoms = Atoms("Li54", positions=test.ds["positions"].values[t], cell=traj.grid.cell, pbc=True)
        atoms.calc = potential
        found[t] = atoms.get_forces()
    assert np.sqrt(((found - truth) ** 2).sum() / (truth**2).sum()) < 0.5


def test_refuses() -> None:
    traj = edviz.load_sample("lithium-800K")[:2]
    with pytest.raises(MissingDataError, match="forces"):
        fit_potential(edviz.DensityTrajectory(traj.ds.drop_vars("forces")))
    with pytest.raises(ArgumentError, match="half the cell"):
        fit_potential(traj, pair_ranges=(6.0,))
    with pytest.raises(ArgumentError, match="coefficients"):
        FittedPotential(np.ones(3))

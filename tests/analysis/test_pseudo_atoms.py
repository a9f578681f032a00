"""Pseudo-atoms: known superpositions are recovered, real lithium is met to its known 3.2 %."""

import numpy as np
import pytest

import edviz
from edviz.analysis.forecast import nmae
from edviz.analysis.pseudo_atoms import fit_pseudo_atoms, structure_amplitude
from edviz.errors import ArgumentError, MissingDataError
from edviz.grid import PeriodicGrid


def _gaussians(n_frames: int = 3, sigma: float = 0.8) -> edviz.DensityTrajectory:
    """Gaussian atoms of one electron in an oblique cell, summed over images in real space."""
    cell = np.array([[6.0, 0, 0], [1.0, 6.5, 0], [0.4, -0.6, 7.0]])
    grid = PeriodicGrid(cell, (16, 18, 20))
    positions = np.random.default_rng(0).random((n_frames, 5, 3)) @ cell
    fractions = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid.shape), indexing="ij"), axis=-1)
    density = np.zeros((n_frames, *grid.shape))
    shifts = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ cell
    for t, frame in enumerate(grid.wrap(positions)):
        for atom in frame:
            for shift in shifts:
                distance = ((fractions @ cell - atom - shift) ** 2).sum(-1)
                density[t] += np.exp(-distance / (2 * sigma**2)) / (2 * np.pi * sigma**2) ** 1.5
    return edviz.DensityTrajectory.from_arrays(
        density, cell, time=10.0 * np.arange(n_frames), positions=positions, numbers=np.full(5, 3)
    )


def test_recovers_gaussian_atoms() -> None:
    traj = _gaussians()
    fit = fit_pseudo_atoms(traj[:2], spacing=0.1)
    seen = (fit.knots > 1.2) & (fit.knots < 4)
    np.testing.assert_allclose(fit.form_factor[seen], np.exp(-((fit.knots[seen] * 0.8) ** 2) / 2), atol=0.02)
    made = fit.density(traj.ds["positions"].values[2], traj.grid)
    assert np.abs(made - traj.frame(2)).mean() < 0.01 * traj.frame(2).mean()
    assert made.mean() * traj.grid.volume == pytest.approx(5.0, rel=1e-12)


def test_moves_with_its_atoms() -> None:
    traj = _gaussians()
    fit = fit_pseudo_atoms(traj)
    at = traj.ds["positions"].values[0]
    moved = at + np.array([3 / 16, 0, 5 / 20]) @ traj.grid.cell
    np.testing.assert_allclose(
        fit.density(moved, traj.grid), np.roll(fit.density(at, traj.grid), (3, 0, 5), (0, 1, 2)), atol=1e-12
    )


def test_amplitude_is_the_plain_sum() -> None:
    grid = PeriodicGrid(np.diag([3.0, 4.0, 5.0]), (5, 6, 7))
    at = np.random.default_rng(1).random((4, 3)) * 9
    plain = np.exp(-1j * grid.k_vectors(half=True) @ at.T).sum(-1)
    plain[:, 3] = 0  # Nyquist
    np.testing.assert_allclose(structure_amplitude(at, grid), plain, atol=1e-12)


def test_lithium_at_its_true_positions() -> None:
    traj = edviz.load_sample("lithium-800K")
    fit = fit_pseudo_atoms(traj.split("train")[::40])
    test = traj.split("test")[::25]
    made = fit.dress(test, test.ds["positions"].values, test.time)
    assert 2.8 < float(nmae(made, test).mean()) < 3.6
    assert float(made.density.min()) >= 0


def test_says_what_is_missing() -> None:
    traj = _gaussians()
    with pytest.raises(MissingDataError, match="positions"):
        fit_pseudo_atoms(edviz.DensityTrajectory(traj.ds.drop_vars("positions")))
    two = traj.ds.assign(numbers=("atom", np.array([3, 3, 3, 3, 11])))
    with pytest.raises(ArgumentError, match="one element"):
        fit_pseudo_atoms(edviz.DensityTrajectory(two))
    with pytest.raises(ArgumentError, match="spacing"):
        fit_pseudo_atoms(traj, spacing=0)

"""The bundled atoms dressed with Gaussians, and dynasor's correlations of the same atoms: an independent oracle.

Positions are those of the real AIMD. Each atom carries one electron of form factor exp(-k^2 w^2 / 2), put on the grid
wave by wave, so that rho_k = f(k) sum_j exp(-i k r_j) holds exactly for every wave that the grid carries.
"""

from __future__ import annotations

from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest

from edviz import DensityTrajectory

WIDTH = 0.35  # angstrom


def form_factor(k: np.ndarray) -> np.ndarray:
    """Electrons: 1 at k = 0."""
    return np.exp(-(k**2) * WIDTH**2 / 2)


def dress(atoms: DensityTrajectory, shape: tuple[int, int, int]) -> DensityTrajectory:
    """The density of the dressed atoms, on a grid of odd sizes (no Nyquist waves)."""
    assert all(n % 2 for n in shape)
    cell = atoms.grid.cell
    frames = []
    axes = [np.fft.fftfreq(n, 1 / n) for n in shape]
    axes[2] = np.arange(shape[2] // 2 + 1)
    k = np.linalg.norm(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ atoms.grid.reciprocal, axis=-1)
    for positions in atoms.ds["positions"].values:
        a, b, c = (
            np.exp(-2j * np.pi * x[:, None] * m) for x, m in zip((positions @ np.linalg.inv(cell)).T, axes, strict=True)
        )
        plane = (a[:, :, None] * b[:, None, :]).reshape(len(a), -1)
        rho = (plane.T @ c).reshape(k.shape) * form_factor(k)
        frames.append(np.fft.irfftn(rho, s=shape, axes=(0, 1, 2)) * np.prod(shape) / atoms.grid.volume)
    return DensityTrajectory.from_arrays(
        np.array(frames), cell, time=atoms.time, n_electrons=float(atoms.ds.sizes["atom"])
    )


def wave_vectors(atoms: DensityTrajectory, k_max: float) -> tuple[np.ndarray, np.ndarray]:
    """Every (h, k, l) but zero with |k| <= k_max, and their wave vectors, 1/angstrom."""
    n = int(k_max * np.linalg.norm(atoms.grid.cell, axis=1).max() / (2 * np.pi)) + 1
    indices = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = indices @ atoms.grid.reciprocal
    norms = np.linalg.norm(vectors, axis=1)
    chosen = (norms > 0) & (norms <= k_max)
    return indices[chosen], vectors[chosen]


def dynasor_trajectory(atoms: DensityTrajectory, folder: Path):
    """The positions as dynasor reads them, from an extended xyz file."""
    dynasor = pytest.importorskip("dynasor")
    frames = [
        ase.Atoms(numbers=atoms.ds["numbers"].values, positions=p, cell=atoms.grid.cell, pbc=True)
        for p in atoms.ds["positions"].values
    ]
    path = folder / "atoms.xyz"
    ase.io.write(path, frames, format="extxyz")
    return dynasor.Trajectory(str(path), trajectory_format="extxyz")

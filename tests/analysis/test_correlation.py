from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from edviz.analysis.correlation import Shells, relative_rmse, structure_factor
from edviz.errors import GridMismatchError, SchemaError
from edviz.grid import PeriodicGrid, apply_symmetry

TRICLINIC = np.array([[6.0, 0.0, 0.0], [1.5, 5.5, 0.0], [-1.0, 0.8, 7.0]])


def gaussian_atoms(positions: np.ndarray, cell: np.ndarray, shape: tuple[int, int, int], width: float) -> np.ndarray:
    """One electron an atom, summed over images in real space: no Fourier transform involved."""
    axes = [np.arange(n) / n for n in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ cell
    density = np.zeros(shape)
    inverse = np.linalg.inv(cell)
    for position in (positions @ inverse % 1.0) @ cell:
        for image in product((-1, 0, 1), repeat=3):
            squared = ((points - position - np.array(image) @ cell) ** 2).sum(axis=-1)
            density += np.exp(-squared / (2 * width**2))
    return density / (2 * np.pi * width**2) ** 1.5


def direct_sum(positions: np.ndarray, cell: np.ndarray, form_factor) -> dict[int, tuple[float, int]]:
    """Shell number -> (S(k), number of wave vectors), atom by atom and wave vector by wave vector."""
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    width = 2 * np.pi / np.linalg.det(cell) ** (1 / 3)
    shells: dict[int, list[float]] = {}
    for m in product(range(-8, 9), repeat=3):
        k = np.array(m) @ reciprocal
        norm = np.linalg.norm(k)
        if norm == 0:
            continue
        amplitude = form_factor(norm) * np.exp(-1j * positions @ k).sum()
        shells.setdefault(round(norm / width), []).append(abs(amplitude) ** 2 / len(positions))
    return {n: (float(np.mean(s)), len(s)) for n, s in shells.items()}


def test_gaussian_atoms_in_a_triclinic_cell(make_field):
    width = 0.55
    positions = np.random.default_rng(1).uniform(-4, 10, (6, 3))
    density = gaussian_atoms(positions, TRICLINIC, (20, 18, 24), width)
    found = structure_factor(make_field(density[None], TRICLINIC, n_electrons=6.0), k_max=4.0)
    expected = direct_sum(positions, TRICLINIC, lambda k: np.exp(-(k**2) * width**2 / 2))
    shell_width = 2 * np.pi / np.linalg.det(TRICLINIC) ** (1 / 3)
    numbers = np.rint(found["k"].values / shell_width).astype(int)
    assert numbers[0] == 1 and len(numbers) >= 3
    for number, value, n_vectors in zip(numbers, found.values, found["n_vectors"].values, strict=True):
        assert n_vectors == expected[number][1]
        assert value == pytest.approx(expected[number][0], rel=1e-4)


def test_a_plane_wave(make_field):
    """rho = rho0 (1 + A cos(G r)) has |rho_G|^2 = (N A / 2)^2 at G and -G and nothing elsewhere."""
    n, amplitude, wave = 12, 0.4, np.array([1, -2, 2])
    grid = np.stack(np.meshgrid(*[np.arange(n) / n] * 3, indexing="ij"), axis=-1)
    density = 0.3 * (1 + amplitude * np.cos(2 * np.pi * grid @ wave))
    traj = make_field(density[None])
    found = structure_factor(traj)
    shell = found["n_vectors"].values
    expected = np.zeros(len(found))
    expected[2] = 2 * (traj.n_electrons * amplitude / 2) ** 2 / traj.n_electrons / shell[2]  # |m| = 3
    np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-9)


def test_ideal_gas(make_field):
    """Atoms at random points: S(k) = 1 on every shell, up to the noise of as many random waves."""
    rng = np.random.default_rng(0)
    n_frames, n_atoms, n = 300, 60, 10
    density = np.zeros((n_frames, n**3))
    for frame in density:
        np.add.at(frame, rng.integers(n**3, size=n_atoms), 1.0)
    density = density.reshape(n_frames, n, n, n) / (125 / n**3)
    found = structure_factor(make_field(density, n_electrons=float(n_atoms)))
    noise = np.sqrt(2 / (n_frames * found["n_vectors"].values))  # k and -k are one wave
    assert np.abs((found.values - 1) / noise).max() < 4
    assert len(found) == 4


def test_frames_and_samples(make_noise, small_batches):
    traj = make_noise(n_frames=7, n_samples=2)
    each = structure_factor(traj, per_frame=True)
    assert each.dims == ("sample", "time", "k")
    np.testing.assert_allclose(each.mean("time"), traj.structure_factor())
    np.testing.assert_allclose(each[1], structure_factor(traj.sample(1).ds, per_frame=True), rtol=1e-5)
    alone = structure_factor(traj.sample(0)[3])
    np.testing.assert_allclose(each[0, 3], alone, rtol=1e-5)


def test_translations_and_symmetries_change_nothing(make_noise):
    traj = make_noise(n_frames=2)
    values = traj.density.values
    expected = structure_factor(traj).values
    moved = traj.ds.assign(density=traj.density.copy(data=np.roll(values, (3, -1, 2), axis=(1, 2, 3))))
    np.testing.assert_allclose(structure_factor(moved), expected, rtol=1e-5)
    operations = traj.grid.symmetries()
    assert len(operations) == 48
    for operation in operations[::5]:
        turned = traj.ds.assign(density=traj.density.copy(data=apply_symmetry(values, operation)))
        np.testing.assert_allclose(structure_factor(turned), expected, rtol=1e-5)


def test_shells_are_whole():
    grid = PeriodicGrid(TRICLINIC, (6, 7, 9))
    shells = Shells(grid)
    reciprocal = grid.reciprocal
    waves = np.array(list(product(range(-12, 13), repeat=3))) @ reciprocal
    number = np.rint(np.linalg.norm(waves, axis=1) / shells.width)
    for shell, n_vectors in zip(shells.numbers, shells.n_vectors, strict=True):
        assert n_vectors == (number == shell).sum()
    assert shells.centers[-1] + shells.width / 2 <= shells.limit
    assert Shells(grid, k_max=1.6).centers[-1] <= 1.6


def test_a_flat_cell_has_a_shell_inside_the_first(make_field):
    """Wave vectors nearer to zero than half a shell's width belong to shell 0; k = 0 itself does not."""
    cell = np.diag([2.5, 2.5, 20.0])
    shells = Shells(PeriodicGrid(cell, (8, 8, 64)))
    assert shells.numbers[0] == 0
    assert shells.n_vectors[0] == 2 * int(shells.width / 2 / (2 * np.pi / 20))
    assert shells.k_mean[0] > 0


def test_errors(make_noise, make_field):
    with pytest.raises(GridMismatchError, match="resample_grid"):
        structure_factor(make_noise(shape=(2, 2, 2)))
    with pytest.raises(SchemaError, match="elf"):
        structure_factor(make_field(np.ones((2, 4, 4, 4)), density_kind="elf", n_electrons=None))


def test_relative_rmse():
    reference = np.array([1.0, 2.0, 4.0])
    assert relative_rmse(1.1 * reference, reference) == pytest.approx(0.1)
    found = relative_rmse(np.array([[1.0, 2.0, 8.0], [1.0, 2.0, 4.0]]), reference)
    np.testing.assert_allclose(found, [np.sqrt(1 / 3), 0])


def test_shells_that_the_reference_leaves_empty_do_not_count():
    found = relative_rmse([[1.1, 5.0, 2.2], [1.0, 0.0, 2.0]], [1.0, 1e-14, 2.0])
    np.testing.assert_allclose(found, [0.1, 0.0])
    assert np.isnan(relative_rmse([[1.0, 2.0]], [0.0, 0.0])).all()

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from edviz.analysis.correlation import Shells, structure_factor
from edviz.analysis.pair import largest_sphere, structure_factor_vectors, two_point_correlation
from edviz.errors import ArgumentError, GridMismatchError, SchemaError
from edviz.grid import PeriodicGrid, apply_symmetry

from .dressed_atoms import dress, dynasor_trajectory, form_factor, wave_vectors

TRICLINIC = np.array([[6.0, 0.0, 0.0], [1.5, 5.5, 0.0], [-1.0, 0.8, 7.0]])


def directly(values: np.ndarray, cell: np.ndarray, width: float) -> dict[int, float]:
    """Bin -> correlation, pair of points by pair of points with the nearest of 125 images."""
    shape = values.shape[-3:]
    points = np.array(list(product(*map(range, shape)))) / shape
    images = np.array(list(product(range(-2, 3), repeat=3)))
    mean = values.mean()
    bins: dict[int, list[float]] = {}
    for step in points:
        distance = np.linalg.norm((step + images) @ cell, axis=1).min()
        shift = -np.rint(step * shape).astype(int)
        total = 0.0
        for frame in values:
            deviation = frame - frame.mean()
            total += (deviation * np.roll(deviation, shift, axis=(0, 1, 2))).mean()
        bins.setdefault(round(distance / width), []).append(total / len(values))
    return {number: float(np.mean(found)) / mean**2 for number, found in bins.items()}


# sheared by more than a cell: the nearest image is not among the neighbours of the cell as given
SHEARED = np.array([[5.0, 0.0, 0.0], [6.5, 5.0, 0.0], [0.0, 0.0, 5.5]])


@pytest.mark.parametrize(("cell", "shape"), [(TRICLINIC, (6, 5, 7)), (SHEARED, (5, 6, 6)), (5 * np.eye(3), (6, 6, 6))])
def test_against_pairs_of_points(make_noise, cell, shape):
    traj = make_noise(n_frames=3, shape=shape, cell=cell)
    width = 0.9
    found = two_point_correlation(traj, dr=width)
    assert found.dims == ("r",) and found["r"].attrs["units"] == "angstrom"
    expected = directly(traj.density.values.astype(np.float64), cell, width)
    assert len(found) >= 3
    for r, value in zip(found["r"].values, found.values, strict=True):
        assert value == pytest.approx(expected[round(r / width)], abs=1e-6)
    limit = largest_sphere(traj.grid)
    assert limit - width < float(found["r"][-1]) + width / 2 <= limit + 1e-9


def test_largest_sphere():
    assert largest_sphere(PeriodicGrid(np.diag([5.0, 6.0, 7.0]), (4, 4, 4))) == pytest.approx(2.5)
    lattice = np.array(list(product(range(-4, 5), repeat=3))) @ SHEARED
    lengths = np.linalg.norm(lattice, axis=1)
    assert largest_sphere(PeriodicGrid(SHEARED, (4, 4, 4))) == pytest.approx(lengths[lengths > 0].min() / 2)


def test_white_noise_is_the_contrast_at_zero_and_nothing_elsewhere(make_noise):
    traj = make_noise(n_frames=50, shape=(10, 10, 10))
    found = two_point_correlation(traj)
    values = traj.density.values.astype(np.float64)
    contrast = float((values.std(axis=(1, 2, 3)) ** 2).mean() / values.mean() ** 2)
    assert float(found[0]) == pytest.approx(contrast, rel=1e-5)
    # every frame's mean is taken off, which leaves -1 / (N - 1) of the variance between different points
    expected = -contrast / 999
    noise = contrast * np.sqrt(2 / (1000 * 50 * found["n_vectors"][1:]))
    assert float(np.abs((found[1:] - expected) / noise).max()) < 4


def test_a_plane_wave_averages_to_a_sinc(make_field):
    """<cos(G r) cos(G (r + R))> = cos(G R) / 2; a thin shell of directions turns it into sin(Gr) / Gr."""
    n, amplitude = 48, 0.4
    x = np.arange(n) / n
    density = np.broadcast_to(0.3 * (1 + amplitude * np.cos(2 * np.pi * x))[:, None, None], (n, n, n))
    found = two_point_correlation(make_field(density[None]), dr=0.12)
    phase = 2 * np.pi * found["r_mean"].values / 5.0
    np.testing.assert_allclose(found, amplitude**2 / 2 * np.sinc(phase / np.pi), atol=2e-3)


def test_the_two_measurements_are_one_transform_apart(make_noise):
    """Summed over all grid vectors the correlation is zero; at R = 0 it is the sum of S(k) over all waves."""
    traj = make_noise(n_frames=2, shape=(7, 7, 7))
    waves = structure_factor_vectors(traj)
    grid = traj.grid
    everything = np.abs(np.fft.fftn(traj.density.values.astype(float), axes=(1, 2, 3))) ** 2
    total = everything.reshape(2, -1)[:, 1:].sum(axis=1).mean() * grid.voxel_volume**2 / traj.n_electrons
    origin = float(two_point_correlation(traj, dr=0.1)[0])
    assert origin == pytest.approx(total / traj.n_electrons, rel=1e-5)
    assert 2 * float(waves.sum()) < total


def test_samples_and_symmetries(make_noise, small_batches):
    traj = make_noise(n_frames=5, n_samples=2)
    found = two_point_correlation(traj)
    assert found.dims == ("sample", "r")
    np.testing.assert_allclose(found[1], two_point_correlation(traj.sample(1).ds), atol=1e-7)
    vectors = structure_factor_vectors(traj, 2.6)
    assert vectors.dims == ("sample", "vector")
    values = traj.density.values
    moved = traj.ds.assign(density=traj.density.copy(data=np.roll(values, (3, -1, 2), axis=(2, 3, 4))))
    np.testing.assert_allclose(two_point_correlation(moved), found, atol=1e-7)
    np.testing.assert_allclose(structure_factor_vectors(moved, 2.6), vectors, rtol=1e-4)
    turn = traj.grid.symmetries()[7]
    turned = traj.ds.assign(density=traj.density.copy(data=apply_symmetry(values, turn)))
    np.testing.assert_allclose(two_point_correlation(turned), found, atol=1e-7)


def test_every_wave_vector_once(make_noise):
    traj = make_noise(n_frames=3, shape=(8, 7, 9), cell=TRICLINIC)
    found = structure_factor_vectors(traj, 3.0)
    indices = np.stack([found[name].values for name in "hkl"], axis=1)
    everything = np.array([m for m in product(range(-8, 9), repeat=3) if any(m)])
    norms = np.linalg.norm(everything @ traj.grid.reciprocal, axis=1)
    inside = {tuple(m) for m in everything[norms <= 3.0].tolist()}
    assert {tuple(m) for m in indices.tolist()} | {tuple(m) for m in (-indices).tolist()} == inside
    assert 2 * len(indices) == len(inside)
    np.testing.assert_allclose(found["k_norm"], np.linalg.norm(indices @ traj.grid.reciprocal, axis=1))
    assert (np.diff(found["k_norm"]) >= -1e-9).all()
    # wave by wave from the definition
    points = np.stack(np.meshgrid(*[np.arange(n) / n for n in traj.grid.shape], indexing="ij"), axis=-1)
    for number in (0, 3, len(found) // 2, len(found) - 1):
        wave = np.exp(-2j * np.pi * points @ indices[number])
        rho = (traj.density.values * wave).sum(axis=(1, 2, 3)) * traj.grid.voxel_volume
        assert float(found[number]) == pytest.approx((np.abs(rho) ** 2).mean() / traj.n_electrons, rel=1e-4)


def test_shells_are_averages_of_vectors(make_noise):
    traj = make_noise(n_frames=2, shape=(9, 9, 9))
    shells = structure_factor(traj)
    vectors = structure_factor_vectors(traj)
    width = Shells(traj.grid).width
    for k, value in zip(shells["k"].values, shells.values, strict=True):
        own = np.rint(vectors["k_norm"] / width) == round(k / width)
        assert value == pytest.approx(float(vectors[own].mean()), rel=1e-5)


def test_bragg_peaks_of_a_crystal(make_field):
    """Gaussians on 2 x 2 x 2 bcc cells: even indices of the supercell, h + k + l of the unit cell even, or nothing."""
    n = 20
    axis = np.arange(n) / n
    density = np.zeros((n, n, n))
    for corner in product((0.0, 0.5), repeat=3):
        for base in (0.0, 0.25):
            near = [(axis - c - base + 0.5) % 1 - 0.5 for c in corner]
            g = [np.exp(-((5 * d) ** 2) / (2 * 0.5**2)) for d in near]
            density += g[0][:, None, None] * g[1][None, :, None] * g[2]
    found = structure_factor_vectors(make_field(density[None]), 9.0)
    h, k, l = (found[name].values for name in "hkl")  # noqa: E741
    allowed = (h % 2 == 0) & (k % 2 == 0) & (l % 2 == 0) & ((h + k + l) // 2 % 2 == 0)
    first = float(found[(h == 0) & (k == 2) & (l == 2)][0])
    assert float(found[~allowed].max()) < 1e-9 * first
    np.testing.assert_allclose(found[allowed & (h**2 + k**2 + l**2 == 8)], first, rtol=1e-4)
    assert float(found["k_norm"][int(np.argmax(found.values))]) == pytest.approx(2 * np.sqrt(2) * 2 * np.pi / 5)


def test_against_dynasor_on_dressed_atoms(lithium, tmp_path):
    dynasor = pytest.importorskip("dynasor")
    atoms = lithium[:40]
    indices, vectors = wave_vectors(atoms, 4.0)
    sample = dynasor.compute_static_structure_factors(dynasor_trajectory(atoms, tmp_path), vectors)
    expected = {
        tuple(m): s * form_factor(np.linalg.norm(v)) ** 2
        for m, v, s in zip(indices.tolist(), vectors, sample["Sq"][:, 0], strict=True)
    }
    traj = dress(atoms, (17, 17, 17))
    found = structure_factor_vectors(traj, 4.0)
    assert 2 * len(found) == len(expected)
    values = np.array([expected[int(h), int(k), int(l)] for h, k, l in zip(found["h"], found["k"], found["l"])])  # noqa: E741,B905
    np.testing.assert_allclose(found, values, rtol=1e-3, atol=1e-7)
    # the shells of structure_factor are averages of the same numbers
    shells = structure_factor(traj, k_max=3.5)
    width = Shells(traj.grid).width
    number = np.rint(np.linalg.norm(vectors, axis=1) / width)
    for k, value in zip(shells["k"].values, shells.values, strict=True):
        own = [expected[tuple(m)] for m in indices[number == round(k / width)].tolist()]
        assert value == pytest.approx(np.mean(own), rel=1e-4)


def test_errors(make_noise, make_field):
    traj = make_noise(n_frames=2)
    with pytest.raises(ArgumentError, match=r"at most 2\.5"):
        two_point_correlation(traj, r_max=2.6)
    with pytest.raises(ArgumentError, match="dr must be positive"):
        two_point_correlation(traj, dr=0.0)
    with pytest.raises(ArgumentError, match="smaller dr"):
        two_point_correlation(traj, r_max=0.2)
    with pytest.raises(GridMismatchError, match="resample_grid"):
        structure_factor_vectors(traj, 6.0)
    with pytest.raises(ArgumentError, match="no wave vector"):
        structure_factor_vectors(traj, 1.0)
    elf = make_field(np.ones((2, 4, 4, 4)), density_kind="elf", n_electrons=None)
    for measure in (two_point_correlation, structure_factor_vectors):
        with pytest.raises(SchemaError, match="elf"):
            measure(elf)

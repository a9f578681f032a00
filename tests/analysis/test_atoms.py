from __future__ import annotations

import numpy as np
import pytest
from ase.geometry import find_mic

import edviz
from edviz.analysis.atoms import (
    diffusion_coefficient,
    find_atoms,
    first_peak,
    found_fraction,
    mean_squared_displacement,
    pair_distribution,
)
from edviz.errors import ArgumentError, MissingDataError, SchemaError
from edviz.grid import PeriodicGrid
from tests.analysis.test_sites import TRICLINIC, gaussians

N_FRAMES = 240  # of 634: the whole run gives the figures of docs/atoms-and-classifiers.md


@pytest.fixture(scope="module")
def total() -> edviz.DensityTrajectory:
    traj = edviz.load_sample("lithium-800K", density="total")[:N_FRAMES]
    return edviz.DensityTrajectory(traj.ds.load())


@pytest.fixture(scope="module")
def found(total):
    """Followed with nothing known but the element: no stored positions."""
    return find_atoms(edviz.DensityTrajectory(total.ds.drop_vars(["positions", "numbers"])), numbers=3)


def match(found, truth):
    """Atoms of `found` in the order of `truth`, by the first frame."""
    cell = truth.grid.cell
    a, b = found.ds["positions"].values, truth.ds["positions"].values
    distances = find_mic((b[0][:, None] - a[0][None]).reshape(-1, 3), cell)[1].reshape(len(b[0]), -1)
    return a[:, distances.argmin(axis=1)], b


def test_atoms_of_the_total_density_are_the_stored_ones(found, total):
    a, b = match(found, total)
    assert found.ds.sizes["atom"] == 54 and found.ds.attrs["found_fraction"] >= 0.999
    # Unwrapped: each stays the same lattice vector away from the stored one for good.
    offset = a - b
    offset -= offset[0].round(6)
    assert np.abs(a - b - (a - b)[0]).max() < 0.004
    assert np.sqrt(((offset) ** 2).sum(-1)).max() < 0.004


def test_g_and_d_are_those_of_the_stored_positions(found, total):
    cell = total.grid.cell
    ours, theirs = found.ds["positions"], total.ds["positions"]
    a, b = (first_peak(pair_distribution(p, cell)) for p in (ours, theirs))
    assert abs(float(a["position"][0] - b["position"][0])) < 0.02
    assert abs(float(a["height"][0] / b["height"][0]) - 1) < 0.02
    d, e = (diffusion_coefficient(mean_squared_displacement(p, 10.0)) for p in (ours, theirs))
    assert d.value == pytest.approx(e.value, rel=0.03)


def test_stored_positions_number_the_atoms(total):
    found = find_atoms(total[:5])
    np.testing.assert_allclose(found.ds["positions"], total.ds["positions"][:5], atol=0.003)
    assert "velocities" not in found.ds and "54 atoms found as maxima" in found.ds.attrs["history"]


def test_holes_of_the_valence_density(lithium):
    part = lithium[300:330]
    assert float(found_fraction(part).mean()) >= 0.99
    assert float(found_fraction(part, radius=1e-3).mean()) < 0.1
    found = find_atoms(part)
    assert np.abs(found.ds["positions"].values - part.ds["positions"].values).max() < 0.08
    total = find_atoms(
        edviz.DensityTrajectory(part.ds.drop_vars(["positions", "numbers"])), numbers=[3] * 54
    ).with_core()
    assert total.density_kind == "total" and float(total.density.min()) > 0


def moving(n_frames=8, numbers=(8, 1, 1), interval=10.0, speed=0.02):
    """Three atoms of different heights crossing the borders of a triclinic cell."""
    grid = PeriodicGrid(TRICLINIC, (20, 18, 24))
    start = np.array([[0.05, 0.5, 0.1], [0.5, 0.02, 0.5], [0.8, 0.7, 0.97]]) @ TRICLINIC
    velocity = speed * np.array([[-1.0, 0.2, -0.5], [0.1, -1.0, 0.3], [0.3, 0.5, 1.0]])
    positions = start + interval * np.arange(n_frames)[:, None, None] * velocity
    heights = np.array(numbers) ** 0.5
    density = np.stack([0.05 + gaussians(frame, grid, 0.4, heights) for frame in positions])
    return positions, density


def make(density, **changes):
    arguments = {"time": 10.0 * np.arange(density.shape[-4]), "density_kind": "total"} | changes
    return edviz.DensityTrajectory.from_arrays(density, TRICLINIC, **arguments)


def test_follows_across_the_borders_of_a_triclinic_cell():
    positions, density = moving(n_frames=20)
    found = find_atoms(make(density), numbers=[1, 8, 1]).ds["positions"].values
    # the oxygen is the highest maximum
    np.testing.assert_allclose(found[:, 1] - found[0, 1], positions[:, 0] - positions[0, 0], atol=5e-3)
    lengths = np.linalg.norm(found[-1] - found[0], axis=-1)
    np.testing.assert_allclose(
        np.sort(lengths), np.sort(np.linalg.norm(positions[-1] - positions[0], axis=-1)), atol=5e-3
    )


def test_an_ensemble_is_followed_sample_by_sample(small_batches):
    first, density = moving()
    second, other = moving(speed=-0.02)
    found = find_atoms(make(np.stack([density, other])), numbers=[8, 1, 1])
    assert found.ds["positions"].dims == ("sample", "time", "atom", "xyz")
    for sample, truth in enumerate((first, second)):
        track = found.ds["positions"].values[sample]
        np.testing.assert_allclose(track[:, 0] - track[0, 0], truth[:, 0] - truth[0, 0], atol=5e-3)


def test_a_lost_atom_is_interpolated_or_refused():
    positions, density = moving(n_frames=11, numbers=(1, 1, 1))
    grid = PeriodicGrid(TRICLINIC, (20, 18, 24))
    density[4] = 0.05 + gaussians(positions[4, :2], grid, 0.4)
    with pytest.raises(MissingDataError, match=r"only 96.97% of the atoms were found .* frame 4 at 40 fs"):
        find_atoms(make(density), numbers=1, n_atoms=3)
    found = find_atoms(make(density), numbers=1, n_atoms=3, min_found=0.9)
    assert found.ds.attrs["found_fraction"] == pytest.approx(32 / 33)
    lengths = np.linalg.norm(np.diff(found.ds["positions"].values, axis=0), axis=-1)
    assert lengths.max() < 0.25  # 0.2 angstrom a frame, also through the gap


def test_a_spurious_maximum_far_away_is_no_atom():
    """An atom whose maximum vanishes while another appears elsewhere counts as lost, it does not jump."""
    positions, density = moving(n_frames=5, numbers=(1, 1, 1))
    grid = PeriodicGrid(TRICLINIC, (20, 18, 24))
    elsewhere = np.array([0.3, 0.8, 0.3]) @ TRICLINIC
    density[2] = 0.05 + gaussians(np.vstack([positions[2, :2], elsewhere]), grid, 0.4)
    found = find_atoms(make(density), numbers=1, n_atoms=3, min_found=0.9)
    assert found.ds.attrs["found_fraction"] == pytest.approx(14 / 15)


def test_refuses_what_it_cannot_know(lithium):
    _, density = moving(n_frames=2)
    with pytest.raises(MissingDataError, match="numbers=3"):
        find_atoms(make(density))
    with pytest.raises(MissingDataError, match="the first frame has 3 maxima"):
        find_atoms(make(density), numbers=[1] * 40)
    with pytest.raises(ArgumentError, match="2 numbers"):
        find_atoms(make(density), n_atoms=3, numbers=[8, 1])
    with pytest.raises(MissingDataError, match="look alike"):
        find_atoms(make(density.max() + 0.1 - density, density_kind="valence"), numbers=[8, 1, 1])
    with pytest.raises(SchemaError, match="electron densities"):
        find_atoms(make(density, density_kind="elf"), numbers=1)
    with pytest.raises(MissingDataError, match="stored positions"):
        found_fraction(make(density))


def test_found_atoms_go_into_a_file_and_back(total, tmp_path):
    found = find_atoms(edviz.DensityTrajectory(total[:6].ds.drop_vars(["positions", "numbers"])), numbers=3)
    found.to_file(tmp_path / "found.h5")
    back = edviz.open(tmp_path / "found.h5")
    np.testing.assert_array_equal(back.ds["positions"], found.ds["positions"])
    np.testing.assert_array_equal(back.ds["numbers"], np.full(54, 3))
    assert back.ds.attrs["found_fraction"] == 1.0 and "found as maxima of the total density" in back.ds.attrs["history"]


def test_a_valence_density_alone_becomes_a_total_one(lithium, total):
    """Holes, then cores: a frame without atoms gets the total density that its stored positions give."""
    alone = edviz.DensityTrajectory(lithium[:6].ds.drop_vars(["positions", "numbers"]))
    with pytest.raises(MissingDataError, match="find_atoms"):
        alone.with_core()
    rebuilt = alone.find_atoms(numbers=3, kind="holes").with_core()
    assert rebuilt.density_kind == "total" and rebuilt.n_electrons == 162
    error = np.abs(rebuilt.density - total[:6].density).mean() / total[:6].density.mean()
    assert 0 < error < 0.04  # 1 valence and 2 core electrons at the wrong place would be above 1
    rebuilt.check_electrons()

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from edviz import DensityTrajectory
from edviz.core import core_density, form_factor
from edviz.errors import MissingDataError, SchemaError
from edviz.grid import PeriodicGrid, fourier_resample
from edviz.schema import BOHR

SKEWED = np.array([[5.0, 0.0, 0.0], [1.0, 4.5, 0.0], [-0.7, 0.4, 6.0]])
POSITIONS = np.array([[0.3, 0.2, 0.1], [2.0, -3.0, 7.0], [4.1, 1.0, 3.3]])
LI3 = np.array([3, 3, 3])


def test_form_factor_is_that_of_a_hydrogenic_orbital():
    # |psi|^2 = zeta^3/pi exp(-2 zeta r): integrate r^2 sin(kr)/(kr) on a radial grid, in bohr.
    zeta, k = 2.6906, 3.0
    r = np.linspace(1e-6, 20, 200_001)
    density = 2 * zeta**3 / np.pi * np.exp(-2 * zeta * r)
    direct = np.trapezoid(4 * np.pi * r**2 * density * np.sin(k * r) / (k * r), r)
    assert form_factor(np.array(k / BOHR), 3, 0.0) == pytest.approx(direct, rel=1e-6)
    smoothed = form_factor(np.array(2.0), 3, 0.5) / form_factor(np.array(2.0), 3, 0.0)
    assert smoothed == pytest.approx(np.exp(-0.5))


@pytest.mark.parametrize("shape", [(6, 5, 8), (7, 6, 9), (5, 7, 3)])
def test_core_density_is_the_sum_of_its_waves(shape):
    grid = PeriodicGrid(SKEWED, shape)
    sigma = 0.3
    fractional = grid.to_fractional(POSITIONS)
    at = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), axis=-1)
    expected = np.zeros(shape, dtype=complex)
    for hkl in product(*(range(-(n // 2), n // 2 + 1) for n in shape)):
        factor = form_factor(np.linalg.norm(np.array(hkl) @ grid.reciprocal), 3, sigma)
        phase = np.exp(2j * np.pi * (at @ hkl))
        expected += factor * phase * np.exp(-2j * np.pi * (fractional @ hkl)).sum() / grid.volume
    assert np.abs(expected.imag).max() < 1e-12
    assert core_density(POSITIONS, LI3, grid, sigma) == pytest.approx(expected.real, abs=1e-12)


def test_two_electrons_an_atom():
    grid = PeriodicGrid(SKEWED, (6, 5, 8))
    assert core_density(POSITIONS, LI3, grid, 0.3).sum() * grid.voxel_volume == pytest.approx(6, rel=1e-13)


def test_a_finer_grids_core_resampled_is_the_coarse_grids():
    coarse, fine = PeriodicGrid(SKEWED, (6, 5, 8)), PeriodicGrid(SKEWED, (9, 9, 11))
    resampled = fourier_resample(core_density(POSITIONS, LI3, fine, 0.3), coarse.shape)
    assert core_density(POSITIONS, LI3, coarse, 0.3) == pytest.approx(resampled, abs=1e-12)


def test_the_core_sits_at_the_atom():
    grid = PeriodicGrid(SKEWED, (20, 18, 24))
    index = (3, 11, 20)
    position = grid.to_cartesian(np.array(index) / grid.shape)
    density = core_density(position[None], np.array([3]), grid, 0.3)
    assert np.unravel_index(density.argmax(), density.shape) == index
    shifted = core_density(position[None] + 2 * SKEWED[0] - SKEWED[2], np.array([3]), grid, 0.3)
    assert shifted == pytest.approx(density, abs=1e-12)


def test_with_core_on_the_lithium_sample(lithium):
    frames = lithium[::79]
    total = frames.with_core()
    assert total.density_kind == "total"
    assert total.n_electrons == 162
    assert total.ds.attrs["core_sigma"] == pytest.approx(10.88244746 / 32, rel=1e-6)
    assert "core" in total.ds.attrs["history"]
    values = total.density.values.astype(float)
    assert values.min() > 0
    electrons = values.mean(axis=(1, 2, 3)) * total.grid.volume
    assert electrons == pytest.approx(162, rel=1e-6)

    def log_skewness(density):
        logs = np.log(density)
        logs -= logs.mean()
        return (logs**3).mean() / (logs**2).mean() ** 1.5

    # One frame was checked against an all-electron calculation: 1.8 with the core, -2.3 without. Frames differ.
    valence = frames.density.values.astype(float)
    assert np.median([log_skewness(frame) for frame in values]) == pytest.approx(1.75, abs=0.1)
    assert np.median([log_skewness(frame) for frame in valence]) == pytest.approx(-2.5, abs=0.3)
    # The maxima of the total density are the atoms.
    i = np.round(total.grid.to_fractional(total.ds["positions"].values[0]) * 32).astype(int) % 32
    assert values[0][tuple(i.T)].min() > np.quantile(values[0], 0.99)


def test_with_core_is_lazy_and_slices(lithium):
    total = lithium.with_core()
    assert total.density.chunks is not None
    one = total[100].frame(0)
    assert np.array_equal(one, lithium[100:102].with_core().frame(0))


def test_resampling_a_total_density_does_not_smooth_again(lithium):
    total = lithium[:1].with_core()
    finer = total.resample_grid((40, 40, 40))
    assert finer.ds.attrs["core_sigma"] == total.ds.attrs["core_sigma"]
    assert finer.resample_grid((32, 32, 32)).frame(0) == pytest.approx(total.frame(0), abs=1e-6)


def test_ensembles_get_a_core_each(make_trajectory):
    ensemble = make_trajectory(n_samples=2)
    total = ensemble.with_core()
    assert total.density.dims == ensemble.density.dims
    alone = ensemble.sample(1).with_core()
    assert np.array_equal(total.sample(1).frame(3), alone.frame(3))


def test_a_cell_that_changes_in_time(trajectory):
    scaling = 1 + 0.01 * np.arange(5)[:, None, None]
    ds = trajectory.ds.copy()
    ds["cell"] = (("time", "vector", "xyz"), SKEWED * scaling, {"units": "angstrom"})
    total = DensityTrajectory(ds).with_core(sigma=0.9)
    for i in (0, 4):
        grid = PeriodicGrid(SKEWED * scaling[i], (6, 5, 8))
        core = core_density(ds["positions"].values[i], ds["numbers"].values, grid, 0.9)
        assert total.frame(i) == pytest.approx(trajectory.frame(i) + core, abs=1e-6)


def test_negative_sums_are_an_error_that_names_the_frame(trajectory):
    density = trajectory.density.values.copy()
    density[3] -= 50
    density[3, 0, 0, 0] += 50 * density[3].size
    negative = DensityTrajectory(
        trajectory.ds.assign(density=(trajectory.density.dims, density, trajectory.density.attrs))
    )
    total = negative.with_core(sigma=0.8)
    assert total.frame(2).min() >= 0
    with pytest.raises(SchemaError, match="frame 3: valence \\+ core has negative values"):
        total.frame(3)


def test_with_core_needs_valence_positions_and_a_known_element(trajectory, make_trajectory):
    with pytest.raises(SchemaError, match="'total'"):
        make_trajectory(density_kind="total").with_core()
    with pytest.raises(MissingDataError, match=r"no positions.*find_atoms\(\)"):
        make_trajectory(positions=None, velocities=None, forces=None).with_core()
    with pytest.raises(MissingDataError, match="Na, Cl"):
        make_trajectory(numbers=[3, 11, 17, 3]).with_core()


def test_a_valence_density_that_holds_the_1s_electrons_gets_no_second_core(make_trajectory, trajectory):
    three_a_atom = make_trajectory(density=trajectory.density.values * 3)
    with pytest.raises(SchemaError, match="holds the 1s electrons already"):
        three_a_atom.with_core()

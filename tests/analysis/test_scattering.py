from __future__ import annotations

import tracemalloc

import dask.array as da
import numpy as np
import pytest

from edviz import DensityTrajectory
from edviz.analysis import scattering
from edviz.analysis.correlation import Shells, structure_factor
from edviz.analysis.pair import structure_factor_vectors
from edviz.analysis.scattering import dynamic_structure_factor, intermediate_scattering, shell_correlation
from edviz.errors import ArgumentError, GridMismatchError, MissingDataError, SchemaError
from edviz.grid import PeriodicGrid

from .dressed_atoms import dress, dynasor_trajectory, form_factor, wave_vectors

TRICLINIC = np.array([[6.0, 0.0, 0.0], [1.5, 5.5, 0.0], [-1.0, 0.8, 7.0]])


def direct(traj: DensityTrajectory, k_min: float, k_max: float, n_lags: int) -> np.ndarray:
    """C(k,t) of a single trajectory pair by pair, from full complex transforms: (shell, lag)."""
    grid = traj.grid
    rho = np.fft.fftn(traj.density.values.astype(np.float64), axes=(1, 2, 3)).reshape(len(traj), -1)
    rho *= grid.voxel_volume
    number = np.rint(grid.k_norms().ravel() * grid.volume ** (1 / 3) / (2 * np.pi)).astype(int)
    width = 2 * np.pi / grid.volume ** (1 / 3)
    rows = []
    for shell in range(1, number.max() + 1):
        if not k_min <= shell * width <= k_max or not (number == shell).any():
            continue
        own = rho[:, number == shell]
        rows.append(
            [
                np.mean([(own[t].conj() * own[t + lag]).real.mean() for t in range(len(own) - lag)])
                for lag in range(n_lags)
            ]
        )
    return np.array(rows)


@pytest.fixture
def make_lazy():
    """A wave that travels along a, computed frame by frame when it is read."""

    def frame(block_info=None):
        number = block_info[None]["array-location"][0][0]
        x = 2 * np.pi * np.arange(32) / 32
        wave = 1 + 0.3 * np.cos(x - 10.0 * number / 30.0)
        return np.broadcast_to(wave[None, :, None, None], (1, 32, 32, 32)).astype(np.float32)

    def make(n_frames: int) -> DensityTrajectory:
        density = da.map_blocks(frame, chunks=((1,) * n_frames, (32,), (32,), (32,)), dtype=np.float32)
        return DensityTrajectory.from_arrays(
            density, 5.0 * np.eye(3), time=10.0 * np.arange(n_frames), n_electrons=125.0
        )

    return make


@pytest.mark.parametrize("shape", [(8, 9, 10), (9, 8, 11)])
def test_against_pairs_in_a_triclinic_cell(make_noise, shape):
    traj = make_noise(n_frames=30, shape=shape, cell=TRICLINIC)
    expected = direct(traj, 1.0, 3.0, 6)
    found = intermediate_scattering(traj, 1.0, 3.0, t_max=50.0)
    assert found.dims == ("k", "lag") and found["k"].attrs["units"] == "1/angstrom"
    np.testing.assert_array_equal(found["lag"], 10.0 * np.arange(6))
    assert found["k"].values.min() >= 1.0 and found["k"].values.max() <= 3.0
    np.testing.assert_allclose(found, expected[: len(found)] / expected[: len(found), :1], atol=1e-6)
    np.testing.assert_array_equal(found.isel(lag=0), 1.0)


def test_white_noise_forgets_at_once(make_noise):
    """Independent frames: F(k,0) = 1, then zero up to the noise of as many waves and time origins."""
    traj = make_noise(n_frames=400)
    found = intermediate_scattering(traj, 1.0, 3.0, t_max=30.0)
    noise = np.sqrt(2 / (found["n_vectors"] * 397))
    assert float(np.abs(found.isel(lag=slice(1, None)) / noise).max()) < 4
    assert float(np.abs(found.isel(lag=slice(1, None)) / noise).std()) > 0.3


def test_a_travelling_wave(make_field):
    """rho = rho0 (1 + A cos(G r - w t)): F = cos(w t) on the shell of G for every number of frames and origins."""
    n, wave, period = 12, np.array([1, -2, 2]), 70.0
    grid = np.stack(np.meshgrid(*[np.arange(n) / n] * 3, indexing="ij"), axis=-1)
    time = 10.0 * np.arange(40)
    density = 0.3 * (1 + 0.4 * np.cos(2 * np.pi * (grid @ wave - time[:, None, None, None] / period)))
    traj = make_field(density)
    found = intermediate_scattering(traj, 1.0, 4.5, t_max=200.0)
    shell = found.sel(k=3 * 2 * np.pi / 5, method="nearest")
    np.testing.assert_allclose(shell, np.cos(2 * np.pi * found["lag"] / period), atol=1e-5)
    spectrum = dynamic_structure_factor(traj, 1.0, 4.5, t_max=350.0).sel(k=3 * 2 * np.pi / 5, method="nearest")
    peak = float(spectrum["omega"][int(np.argmax(spectrum.values))])
    assert peak == pytest.approx(2 * np.pi / period, abs=float(spectrum["omega"][1]))


def ornstein_uhlenbeck(n_frames: int, times: tuple[float, float], seed: int = 0) -> np.ndarray:
    """Two waves of shells 1 and 2 that lose their memory in times[0] and times[1] fs, exactly, on a flat background."""
    rng = np.random.default_rng(seed)
    n = 6
    x = 2 * np.pi * np.arange(n) / n
    density = np.ones((n_frames, n, n, n))
    for wave, tau in zip((1, 2), times, strict=True):
        kept = np.exp(-10.0 / tau)
        amplitude = np.empty(n_frames, dtype=complex)
        draws = (rng.standard_normal((n_frames, 2)) / np.sqrt(2)) @ [1, 1j]
        amplitude[0] = draws[0]
        for i in range(1, n_frames):
            amplitude[i] = kept * amplitude[i - 1] + np.sqrt(1 - kept**2) * draws[i]
        density += 0.1 * (amplitude[:, None] * np.exp(1j * wave * x)).real[:, :, None, None]
    return density


def test_ornstein_uhlenbeck_modes(make_field):
    """F(k,t) = exp(-t / tau_k), and S(k,omega) is the Lorentzian S(k) tau / (pi (1 + (omega tau)^2))."""
    times = (40.0, 80.0)
    traj = make_field(ornstein_uhlenbeck(40_000, times))
    found = intermediate_scattering(traj, 1.0, 2.6, t_max=150.0)
    spectrum = dynamic_structure_factor(traj, 1.0, 2.6, t_max=1200.0)
    static = structure_factor(traj, k_max=2.6)
    assert len(found) == 2
    for row, tau in enumerate(times):
        noise = np.sqrt(2 * tau / 10 / 40_000)  # of the mean over as many independent stretches
        np.testing.assert_allclose(found[row], np.exp(-found["lag"] / tau), atol=5 * noise)
        low = spectrum[row].sel(omega=slice(0, 0.05))
        discrete = np.exp(-10 / tau)  # the same as a sum over frames 10 fs apart
        lorentzian = (1 - discrete**2) / (1 - 2 * discrete * np.cos(10 * low["omega"]) + discrete**2)
        expected = float(static[row]) * lorentzian * 10 / (2 * np.pi)
        assert float(abs(low / expected - 1).mean()) < 0.1


@pytest.mark.parametrize("window", ["hann", "none"])
def test_the_integral_over_omega_is_the_static_structure_factor(make_noise, window):
    traj = make_noise(n_frames=25, n_samples=2)
    found = dynamic_structure_factor(traj, k_max=4.0, t_max=110.0, window=window)
    assert found.dims == ("sample", "k", "omega") and found["omega"].attrs["units"] == "rad/fs"
    assert found.attrs["units"] == "fs" and float(found["omega"][-1]) < np.pi / 10
    width = float(found["omega"][1])
    integral = (2 * found.sum("omega") - found.isel(omega=0)) * width
    np.testing.assert_allclose(integral, structure_factor(traj, k_max=4.0), rtol=1e-5)


def test_stretches_add_up_to_the_whole(make_noise, monkeypatch):
    traj = make_noise(n_frames=61, n_samples=2)
    whole = intermediate_scattering(traj, 1.0, 4.0, t_max=70.0)
    monkeypatch.setattr("edviz.analysis.frames.BATCH_BYTES", 1)
    monkeypatch.setattr(scattering, "MIN_STRETCH", 1)
    monkeypatch.setattr(scattering, "TRANSFORM_BYTES", 5000)
    calls = []

    def counted(modes, *args):
        calls.append(len(modes))
        return shell_correlation(modes, *args)

    monkeypatch.setattr(scattering, "shell_correlation", counted)
    cut = intermediate_scattering(traj, 1.0, 4.0, t_max=70.0)
    assert len(calls) == 4 and max(calls) < 50  # two stretches a sample
    np.testing.assert_allclose(cut, whole, atol=1e-6)


def test_the_sums_of_stretches_are_exact():
    shells = Shells(PeriodicGrid(5 * np.eye(3), (8, 8, 8)), 3.0)
    rng = np.random.default_rng(0)
    modes = (rng.standard_normal((50, len(shells.weights), 2)) @ [1, 1j]).astype(np.complex64)
    sums, counts = shell_correlation(modes, shells, 7)
    np.testing.assert_array_equal(counts, 50 - np.arange(7))
    first, n_first = shell_correlation(modes[:20], shells, 7)
    second, n_second = shell_correlation(modes[14:33], shells, 7, 6)
    third, n_third = shell_correlation(modes[27:], shells, 7, 6)
    np.testing.assert_array_equal(n_first + n_second + n_third, counts)
    np.testing.assert_allclose(first + second + third, sums, rtol=1e-10, atol=1e-9)


def test_samples_translations_and_lazy_fields(make_noise):
    traj = make_noise(n_frames=12, n_samples=3)
    found = intermediate_scattering(traj, 1.0, 4.0, t_max=40.0)
    assert found.dims == ("sample", "k", "lag")
    np.testing.assert_allclose(found[1], intermediate_scattering(traj.sample(1).ds, t_max=40.0), atol=1e-6)
    moved = np.roll(traj.density.values, (1, -2, 3), axis=(2, 3, 4))
    lazy = traj.ds.assign(density=traj.density.copy(data=da.from_array(moved, chunks=(1, 1, 8, 8, 8))))
    np.testing.assert_allclose(intermediate_scattering(lazy, t_max=40.0), found, atol=1e-6)


def test_time_reversal_changes_nothing(make_noise):
    traj = make_noise(n_frames=12)
    back = traj.ds.assign(density=traj.density.copy(data=traj.density.values[::-1]))
    np.testing.assert_allclose(
        intermediate_scattering(back, t_max=50.0), intermediate_scattering(traj, t_max=50.0), atol=1e-6
    )


@pytest.fixture(scope="module")
def dynasor_f(lithium, tmp_path_factory):
    """Wave vectors and F(k,t) an atom of the bundled positions by dynasor, 120 frames, lags up to 200 fs."""
    dynasor = pytest.importorskip("dynasor")
    atoms = lithium[:120]
    _, vectors = wave_vectors(atoms, 4.0)
    read = dynasor_trajectory(atoms, tmp_path_factory.mktemp("dynasor"))
    sample = dynasor.compute_dynamic_structure_factors(read, vectors, dt=10.0, window_size=20)
    return np.linalg.norm(vectors, axis=1), sample["Fqt_coh"], sample["omega"], sample["Sqw_coh"]


def test_against_dynasor_on_dressed_atoms(lithium, dynasor_f):
    k, per_vector, omega, spectrum_per_vector = dynasor_f
    traj = dress(lithium[:120], (19, 19, 19))
    found = intermediate_scattering(traj)
    spectrum = dynamic_structure_factor(traj, 1.0, 4.0, t_max=200.0, window="none")
    np.testing.assert_allclose(spectrum["omega"], omega)
    shell_width = 2 * np.pi / lithium.grid.volume ** (1 / 3)
    number = np.rint(k / shell_width)
    assert len(found) == 5
    for row, shell in enumerate(np.rint(found["k"].values / shell_width)):
        own = number == shell
        if not found["n_vectors"][row] == own.sum():  # the shell reaches beyond 4 1/angstrom
            assert shell == np.rint(found["k"].values[-1] / shell_width)
            continue
        weight = form_factor(k[own]) ** 2
        correlation = weight @ per_vector[own]
        np.testing.assert_allclose(found[row], correlation / correlation[0], atol=2e-4)
        expected = weight @ spectrum_per_vector[own] / own.sum() / (2 * np.pi)  # dynasor leaves 2 pi out
        np.testing.assert_allclose(spectrum[row], expected, atol=1e-3 * np.abs(expected).max())


def test_the_valence_density_moves_with_the_atoms(lithium, dynasor_f):
    """Near the main peak of S(k) the Kohn-Sham density has the F(k,t) of its atoms, dressed to have its S(k).

    (At smaller k the atoms' own S(k) is tiny and how the electrons respond shows.) Waves near the peak outlive the
    others: de Gennes narrowing.
    """
    k, per_vector, *_ = dynasor_f
    traj = lithium[:120]
    found = intermediate_scattering(traj, 1.0, 3.0)
    own = structure_factor_vectors(traj, 3.2)
    shell_width = 2 * np.pi / lithium.grid.volume ** (1 / 3)
    correlation = np.zeros((len(found), 21))
    for length in np.unique(k[k < 3.2].round(6)):
        same = np.abs(k - length) < 1e-5
        dressed = float(own[np.abs(own["k_norm"].values - length) < 1e-5].mean()) / per_vector[same, 0].mean()
        row = np.flatnonzero(np.rint(found["k"].values / shell_width) == np.rint(length / shell_width))
        correlation[row] += dressed * per_vector[same].sum(axis=0)
    near = found["k"].values > 2
    assert near.sum() == 2
    np.testing.assert_allclose(found[near], (correlation / correlation[:, :1])[near], atol=0.03)
    at_100 = found.sel(lag=100.0)
    assert float(at_100["k"][int(np.argmax(at_100.values))]) == pytest.approx(2.31, abs=0.01)


def test_a_trajectory_larger_than_the_memory_it_takes(make_lazy):
    """Fields made on the fly pass through a fraction of their size."""
    traj = make_lazy(500)
    assert traj.density.nbytes > 65e6
    tracemalloc.start()
    found = intermediate_scattering(traj, t_max=100.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6
    np.testing.assert_allclose(found.sel(k=2 * np.pi / 5, method="nearest"), np.cos(found["lag"] / 30.0), atol=1e-4)


def test_errors(make_noise, make_field):
    traj = make_noise(n_frames=6)
    with pytest.raises(MissingDataError, match="spans 50 fs"):
        intermediate_scattering(traj)
    with pytest.raises(MissingDataError, match="none lies within"):
        intermediate_scattering(traj, t_max=5.0)
    with pytest.raises(MissingDataError, match="not evenly spaced"):
        intermediate_scattering(traj[[0, 1, 3, 4]], t_max=10.0)
    with pytest.raises(MissingDataError, match="one frame"):
        intermediate_scattering(traj[:1], t_max=10.0)
    with pytest.raises(ArgumentError, match="t_max"):
        intermediate_scattering(traj, t_max=0.0)
    with pytest.raises(GridMismatchError, match=r"between 1.3 and 2.4"):
        intermediate_scattering(traj, 1.3, 2.4, t_max=20.0)
    with pytest.raises(SchemaError, match="elf"):
        intermediate_scattering(make_field(np.ones((5, 4, 4, 4)), density_kind="elf", n_electrons=None), t_max=10.0)
    with pytest.raises(ArgumentError, match="hann"):
        dynamic_structure_factor(traj, window="kaiser")

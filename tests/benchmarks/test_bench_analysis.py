"""Frames a second: S(k) beside a plain loop of complex transforms and beside xrft, F(k,t), and the whole scorecard."""

from __future__ import annotations

import os

import numpy as np
import pytest

import edviz
from edviz.analysis.correlation import structure_factor
from edviz.analysis.scattering import intermediate_scattering

pytest.importorskip("pytest_benchmark")
N_FRAMES = 16


@pytest.fixture(scope="module")
def fields() -> edviz.DensityTrajectory:
    values = np.random.default_rng(0).uniform(0.5, 1.5, (N_FRAMES, 64, 64, 64)).astype(np.float32)
    return edviz.DensityTrajectory.from_arrays(values, 12 * np.eye(3), time=10.0 * np.arange(N_FRAMES))


def plain(traj: edviz.DensityTrajectory) -> np.ndarray:
    """What one writes first: a complex transform a frame, shells by weighted bincount."""
    n = traj.grid.shape[0]
    m = np.fft.fftfreq(n, 1 / n)
    number = np.rint(np.sqrt(m[:, None, None] ** 2 + m[None, :, None] ** 2 + m**2)).astype(int).ravel()
    total = np.zeros(number.max() + 1)
    for i in range(len(traj)):
        power = np.abs(np.fft.fftn(traj.frame(i)) * traj.grid.voxel_volume) ** 2
        total += np.bincount(number, weights=power.ravel())
    return total / np.bincount(number) / len(traj) / traj.n_electrons


@pytest.mark.benchmark(group="S(k), 64^3")
def test_structure_factor(benchmark, fields):
    found = benchmark.pedantic(structure_factor, args=(fields,), rounds=5, warmup_rounds=1)
    benchmark.extra_info["frames_per_second"] = N_FRAMES / benchmark.stats["mean"]
    np.testing.assert_allclose(found, plain(fields)[1 : len(found) + 1], rtol=1e-4)


@pytest.mark.benchmark(group="S(k), 64^3")
def test_plain_numpy_loop(benchmark, fields):
    benchmark.pedantic(plain, args=(fields,), rounds=5, warmup_rounds=1)
    benchmark.extra_info["frames_per_second"] = N_FRAMES / benchmark.stats["mean"]


def by_xrft(traj: edviz.DensityTrajectory) -> np.ndarray:
    """The same with xrft, a frame at a time as for data larger than memory, half the waves by its real transform."""
    xrft = pytest.importorskip("xrft")
    n, length = traj.grid.shape[0], traj.grid.cell[0, 0]
    points = length * np.arange(n) / n
    density = traj.density.assign_coords(a=points, b=points, c=points)
    total = number = counts = None
    for i in range(len(traj)):
        power = xrft.power_spectrum(density[i].load(), dim=["a", "b", "c"], real_dim="c", scaling="density")
        if number is None:
            waves = np.meshgrid(*(power[f"freq_{d}"].values * length for d in "abc"), indexing="ij")
            number = np.rint(np.sqrt(sum(m**2 for m in waves))).astype(int).ravel()
            twice = np.where((waves[2] > 0.5) & (waves[2] < n / 2 - 0.5), 2, 1).ravel()
            counts = np.bincount(number, weights=twice)
            total = np.zeros(number.max() + 1)
        total += np.bincount(number, weights=power.values.ravel())  # xrft counts halved waves twice, as here
    return total / counts * traj.grid.volume / len(traj) / traj.n_electrons


@pytest.mark.filterwarnings("ignore:dropping variables using:FutureWarning:xrft")
@pytest.mark.benchmark(group="S(k), 64^3")
def test_xrft(benchmark, fields):
    found = benchmark.pedantic(by_xrft, args=(fields,), rounds=5, warmup_rounds=1)
    benchmark.extra_info["frames_per_second"] = N_FRAMES / benchmark.stats["mean"]
    expected = structure_factor(fields)
    np.testing.assert_allclose(found[1 : len(expected) + 1], expected, rtol=1e-4)


@pytest.mark.benchmark(group="F(k,t), 64^3")
def test_intermediate_scattering(benchmark, fields):
    benchmark.pedantic(intermediate_scattering, args=(fields,), kwargs={"t_max": 100.0}, rounds=3, warmup_rounds=1)
    benchmark.extra_info["frames_per_second"] = N_FRAMES / benchmark.stats["mean"]


@pytest.mark.benchmark(group="scorecard, 32^3")
def test_scorecard(benchmark):
    """A rollout of 1,000 frames with all rows but those that need a network, beside 615 frames of AIMD."""
    lithium = edviz.load_sample("lithium-800K")
    frames = lithium.density.values
    training, test = lithium.split("train"), lithium.split("test")
    rollout = edviz.DensityTrajectory.from_arrays(
        np.stack([frames[:500], frames[499::-1]]), lithium.grid.cell, time=lithium.time[:500], n_electrons=54.0
    )
    arguments = {"training": training, "progress": False}
    before = os.times()
    card = benchmark.pedantic(edviz.evaluate, args=(rollout, test), kwargs=arguments, rounds=1)
    after = os.times()
    benchmark.extra_info["cpu_seconds"] = after.user - before.user + after.system - before.system
    benchmark.extra_info["frames_per_second"] = rollout.n_samples * len(rollout) / benchmark.stats["mean"]
    verdicts = card.to_dataframe()["verdict"]
    assert set(verdicts.index[verdicts == "fail"]) <= {"memory"}  # the rollout is real data, the training data too

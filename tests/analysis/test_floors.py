from __future__ import annotations

import numpy as np
import pytest

from edviz.analysis.correlation import relative_rmse, structure_factor
from edviz.analysis.divergence import jensen_shannon
from edviz.analysis.floors import (
    autocorrelation_time,
    cut_blocks,
    mean_with_interval,
    median_with_interval,
    noise_floor,
)


def autoregressive(r: float, n: int, seed: int) -> np.ndarray:
    """A series with autocorrelation r^lag and unit variance."""
    rng = np.random.default_rng(seed)
    series = np.empty(n)
    series[0] = rng.standard_normal()
    for i, kick in enumerate(rng.standard_normal(n - 1) * np.sqrt(1 - r**2), start=1):
        series[i] = r * series[i - 1] + kick
    return series


@pytest.mark.parametrize(("n_frames", "n_block", "n"), [(1000, 127, 7), (488, 127, 3), (127, 127, 1), (126, 127, 0)])
def test_blocks_are_disjoint_and_reach_both_ends(n_frames, n_block, n):
    blocks = cut_blocks(n_frames, n_block)
    assert len(blocks) == n
    frames = [range(n_frames)[block] for block in blocks]
    assert all(len(f) == n_block for f in frames)
    joined = [i for f in frames for i in f]
    assert len(set(joined)) == len(joined) and joined == sorted(joined)
    if n:
        assert joined[-1] == n_frames - 1
    if n > 1:
        assert joined[0] == 0


def test_median_with_interval():
    values = np.random.default_rng(0).normal(3.0, 1.0, 400)
    found = median_with_interval(values)
    assert found.value == np.median(values)
    error = 1.2533 / 20
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.35)
    assert found.low < found.value < found.high
    one = median_with_interval([2.0])
    assert one.value == 2 and np.isnan([one.low, one.high]).all()
    assert np.isnan(median_with_interval([]).value)
    assert np.isnan(median_with_interval([1.0, np.nan, 2.0]).low)


def test_the_interval_of_a_correlated_mean_covers_it():
    """Frames taken as independent would cover the mean in about half of the cases."""
    found = [mean_with_interval(autoregressive(0.8, 600, seed), 50, seed) for seed in range(150)]
    covered = np.mean([f.low <= 0 <= f.high for f in found])
    assert 0.82 <= covered <= 0.99
    naive = np.mean([abs(f.value) <= 1.96 / np.sqrt(600) for f in found])
    assert naive < 0.6
    short = mean_with_interval(np.arange(5.0), 2)
    assert short.value == 2 and np.isnan(short.low)


@pytest.mark.parametrize("r", [0.0, 0.6, 0.9])
def test_autocorrelation_time(r):
    expected = (1 + r) / (2 * (1 - r))
    assert autocorrelation_time(autoregressive(r, 40000, 1)) == pytest.approx(expected, rel=0.15)


def test_a_frozen_series_never_forgets():
    assert autocorrelation_time(np.ones(10)) == np.inf


def test_the_floor_of_jsd_on_white_noise():
    """Two samples of n values in K bins: (K - 1) / (4 n ln 2) bits on average, to first order in 1 / n."""
    rng = np.random.default_rng(0)
    n_bins, n = 102, 20000
    blocks = list(rng.multinomial(n, np.full(n_bins, 1 / n_bins), size=201))
    floor = noise_floor(lambda block, reference: float(jensen_shannon(block, reference)), blocks[0], blocks[1:])
    expected = (n_bins - 1) / (4 * n * np.log(2))
    assert floor.value == pytest.approx(expected, rel=0.2)  # the one reference block is a draw too
    pairs = [float(jensen_shannon(a, b)) for a, b in zip(blocks[::2], blocks[1::2], strict=False)]
    assert np.mean(pairs) == pytest.approx(expected, rel=0.05)
    assert floor.low < floor.value < floor.high


def test_the_floor_of_the_structure_factor_on_white_noise(make_noise):
    """Each shell averages T n / 2 random waves, so S scatters by sqrt(2 / (T n)) and a ratio by sqrt(2) times that."""
    n_frames = 60
    found = [structure_factor(make_noise(n_frames=n_frames, seed=seed)) for seed in range(30)]
    expected = np.sqrt((2 * 2 / (n_frames * found[0]["n_vectors"].values)).mean())
    pairs = [float(relative_rmse(a, b)) for a, b in zip(found[::2], found[1::2], strict=True)]
    assert np.sqrt(np.mean(np.square(pairs))) == pytest.approx(expected, rel=0.25)
    floor = noise_floor(lambda block, reference: float(relative_rmse(block, reference)), found[0], found[1:])
    assert floor.value == pytest.approx(expected, rel=0.5)


def test_no_training_no_floor():
    assert np.isnan(noise_floor(lambda block, reference: 1.0, 0, []).value)

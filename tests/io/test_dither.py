from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy import stats

import edviz
from edviz import samples
from edviz.errors import FileFormatError
from edviz.io import dither


def test_the_noise_is_the_same_for_ever():
    # Files that were written with it must read the same in every later version. The oracle: splitmix64's published
    # first outputs from seed 0.
    published = np.array([0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F], dtype=np.uint64)
    noise = dither.uniform(0, [0, 7], (2, 3))
    assert noise.dtype == np.float32 and noise.shape == (2, 2, 3)
    assert noise[0, 0] == pytest.approx(published / 2.0**64 - 0.5, abs=1e-7)
    assert noise[1] == pytest.approx(dither.uniform(7 * 6, [0], (2, 3))[0], abs=0)


def test_the_noise_is_uniform_and_has_no_memory():
    noise = dither.uniform(3, np.arange(8), (32, 32, 32)).ravel()
    assert noise.min() >= -0.5 and noise.max() < 0.5
    assert stats.kstest(noise, stats.uniform(-0.5, 1).cdf).pvalue > 1e-3
    for lag in (1, 32, 1024, 32768):
        assert abs(np.corrcoef(noise[:-lag], noise[lag:])[0, 1]) < 4 / np.sqrt(noise.size - lag)


def test_the_error_is_uniform_whatever_was_rounded():
    step = 0.1
    for value in (0.0, 0.03, 0.05):  # plain rounding gives one error for each
        noise = dither.uniform(0, [0], (40, 40, 40)).ravel()
        back = (np.rint(value / step + noise) - noise) * step
        assert stats.kstest(back - value, stats.uniform(-step / 2, step).cdf).pvalue > 1e-3


def test_any_part_of_a_dithered_field_reads_the_same(lithium):
    with h5py.File(samples._FOLDER / "lithium-800K.h5") as file:
        quanta, attrs = file["density"][5:9], dict(file["density"].attrs)
    noise = dither.uniform(int(attrs["dither_seed"].item()), range(5, 9), quanta.shape[1:])
    expected = ((quanta - noise) * np.float64(attrs["scale_factor"])).astype(np.float32)
    lazy = edviz.open(samples._FOLDER / "lithium-800K.h5").density
    assert np.array_equal(lazy[5:9].values, expected)
    assert np.array_equal(lazy[7, 3:9, ::2, 4].values, expected[2, 3:9, ::2, 4])
    assert np.array_equal(lazy[-627, 0].values, expected[2, 0])
    assert "dither_seed" not in lazy.attrs


def test_the_lowest_densities_lie_on_no_comb(lithium):
    # Rounded without dither, the low bins of log10 rho are full and empty in turn.
    low = lithium[::8].density.values
    low = low[low < 0.004]
    step = 8e-5
    phase = stats.kstest(np.mod(low / step, 1), stats.uniform(0, 1).cdf)
    assert phase.statistic < 0.02


def test_a_dither_without_a_step_is_refused(lithium, tmp_path):
    path = tmp_path / "run.h5"
    lithium[:2].to_file(path)
    with h5py.File(path, "r+") as file:
        file["density"].attrs["dither_seed"] = 0
    with pytest.raises(FileFormatError, match="dither_seed, but no scale_factor"):
        edviz.open(path)

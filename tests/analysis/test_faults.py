from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edviz.analysis import faults
from edviz.analysis.correlation import Shells
from edviz.errors import ArgumentError


@pytest.fixture(scope="module")
def frames(lithium):
    return lithium.density.values[:6]


def means(values):
    return values.mean(axis=(1, 2, 3), dtype=np.float64)


def test_contrast_alone_changes(frames):
    wrong = faults.wrong_contrast(frames, 0.95)
    np.testing.assert_allclose(wrong.std(axis=(1, 2, 3)), 0.95 * frames.std(axis=(1, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(means(wrong), means(frames), rtol=1e-6)
    fading = faults.fading(frames, 0.01)
    np.testing.assert_allclose(fading[0], frames[0], rtol=1e-4)
    np.testing.assert_allclose(fading[5].std() / frames[5].std(), 0.95, rtol=1e-4)


def test_a_region_is_frozen(frames):
    frozen = faults.frozen_region(frames, 0.25)
    np.testing.assert_allclose(means(frozen), means(frames), rtol=1e-6)
    still = frozen[:, :8] / frozen[:1, :8]
    np.testing.assert_allclose(still, still[:, :1, :1, :1] * np.ones_like(still), rtol=1e-5)
    moved = np.abs(np.diff(frozen, axis=0)).mean() / np.abs(np.diff(frames, axis=0)).mean()
    assert 0.7 < moved < 0.85


def test_charge_is_lost_everywhere(frames):
    np.testing.assert_allclose(means(faults.charge_lost(frames, 0.1 / 54)), means(frames) * 53.9 / 54, rtol=1e-6)


def test_memorised_frames_look_new(frames, lithium):
    same = faults.memorised(frames, np.eye(3, dtype=int), (3, 0, 0))
    np.testing.assert_array_equal(same[:, 3], frames[:, 0])
    turned = faults.memorised(frames, lithium.grid.symmetries()[17], (3, 5, 7))
    np.testing.assert_array_equal(np.sort(turned.ravel()), np.sort(frames.ravel()))
    assert np.abs(turned - frames).mean() > 0.1 * frames.mean()


def test_gaussianised_keeps_the_waves(frames, lithium):
    wrong = faults.gaussianised(frames)
    shells = Shells(lithium.grid, 6.0)
    np.testing.assert_allclose(shells.power(wrong), shells.power(frames), rtol=1e-3)
    after, before = (stats.kstest(stats.zscore(v.ravel()), "norm").statistic for v in (wrong, frames))
    assert after < 0.3 * before


def test_scrambled_phases_keep_values_and_waves_and_lose_the_order(frames, lithium):
    wrong = faults.scrambled_phases(frames)
    np.testing.assert_array_equal(np.sort(wrong.reshape(6, -1)), np.sort(frames.reshape(6, -1)))
    shells = Shells(lithium.grid, 6.0)
    np.testing.assert_allclose(shells.power(wrong), shells.power(frames), rtol=0.1)
    correlation = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(wrong, frames, strict=True)]
    assert np.abs(correlation).max() < 0.2
    np.testing.assert_array_equal(faults.scrambled_phases(frames[:1]), wrong[:1])


def test_shapes_are_checked(frames):
    with pytest.raises(ArgumentError, match=r"\(frame, a, b, c\)"):
        faults.wrong_contrast(frames[0], 0.9)

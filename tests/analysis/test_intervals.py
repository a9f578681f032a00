from __future__ import annotations

import numpy as np

from edviz.analysis.intervals import mean_of_blocks


def test_covers_the_truth_as_often_as_it_says():
    values = np.random.default_rng(0).normal(3.0, 2.0, (5, 4000))
    found = mean_of_blocks(values)
    covered = np.abs(found.mean - 3.0) <= found.half_width
    assert 0.93 < covered.mean() < 0.97


def test_one_block_has_a_mean_and_no_interval():
    found = mean_of_blocks([[1.0, 2.0]])
    np.testing.assert_array_equal(found.mean, [1, 2])
    assert np.isnan(found.half_width).all()
    assert np.isnan(mean_of_blocks(np.empty((0, 2))).mean).all()

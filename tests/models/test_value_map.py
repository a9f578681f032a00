"""Quantile mapping: the distribution becomes the true one, order and middle stay."""

import numpy as np
import pytest

from edviz.errors import ArgumentError
from edviz.models.value_map import ValueMap


def test_a_known_distortion_is_undone():
    true = np.random.default_rng(0).lognormal(sigma=0.5, size=(40, 16, 16, 16))
    distorted = true**0.9 + 0.05  # the lowest are lifted most
    mapped = ValueMap.fit(distorted, true)(distorted)
    np.testing.assert_allclose(mapped, true, rtol=0.1)  # three of 160,000 are further off than 3 %
    assert np.abs(mapped / true - 1).mean() < 2e-3
    assert (np.argsort(mapped, axis=None) == np.argsort(distorted, axis=None)).all()


def test_equal_samples_map_every_value_to_itself_also_beyond_them():
    values = np.random.default_rng(1).lognormal(size=5000)
    found = ValueMap.fit(values, np.random.default_rng(2).permutation(values))
    probe = np.geomspace(values.min() / 10, values.max() * 10, 50)
    np.testing.assert_allclose(found(probe), probe, rtol=1e-12)


def test_values_beyond_the_outermost_knots_keep_their_ratio():
    found = ValueMap([1.0, 2.0], [0.5, 2.0])
    np.testing.assert_allclose(found(np.array([0.1, 1.0, 2.0, 30.0])), [0.05, 0.5, 2.0, 30.0])
    rising = found(np.geomspace(0.01, 10, 200))
    assert (np.diff(rising) > 0).all()


def test_rounded_values_give_knots_that_rise():
    values = np.random.default_rng(3).lognormal(size=20000)
    found = ValueMap.fit(values.round(1) + 0.1, values.round(2) + 0.01)
    assert (np.diff(found.generated) > 0).all() and (np.diff(found.true) > 0).all()


@pytest.mark.parametrize("knots", [([1.0, 1.0], [1.0, 2.0]), ([1.0, 2.0], [2.0, 1.0]), ([0.0, 1.0], [1.0, 2.0])])
def test_knots_that_do_not_rise_are_refused(knots):
    with pytest.raises(ArgumentError, match="positive and increasing"):
        ValueMap(*knots)


def test_samples_of_different_sizes_are_refused():
    with pytest.raises(ArgumentError, match="two samples of one size"):
        ValueMap.fit(np.ones(100), np.ones(99))
    with pytest.raises(ArgumentError, match="64 values or more"):
        ValueMap.fit(np.ones(10), np.ones(10))

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from edviz.analysis.divergence import jensen_shannon, jsd, w1, wasserstein
from edviz.analysis.histogram import ValueBins, log_bins
from edviz.errors import GridMismatchError


def test_jensen_shannon_is_the_square_of_scipy_s_distance():
    rng = np.random.default_rng(0)
    p, q = rng.poisson(3, (4, 102)), rng.poisson(5, 102)
    p[0, :50] = 0
    expected = [jensenshannon(row, q, base=2) ** 2 for row in p]
    np.testing.assert_allclose(jensen_shannon(p, q), expected, rtol=1e-12)


def test_jensen_shannon_bounds():
    p = np.array([1.0, 2.0, 0.0, 0.0])
    assert jensen_shannon(p, 10 * p) == 0
    assert jensen_shannon(p, p[::-1]) == pytest.approx(1)


def test_jsd_of_trajectories(make_noise):
    generated, reference = make_noise(n_samples=2, sigma=0.35), make_noise(seed=1)
    edges = log_bins(reference).edges
    open_edges = np.array([-np.inf, *edges, np.inf])
    q = np.histogram(np.log10(reference.density.values), open_edges)[0]
    found = jsd(generated, reference)
    assert found.dims == ("sample",) and found.attrs["units"] == "bit"
    for sample in range(2):
        p = np.histogram(np.log10(generated.sample(sample).density.values), open_edges)[0]
        assert float(found[sample]) == pytest.approx(jensenshannon(p, q, base=2) ** 2, rel=1e-3)
    assert float(jsd(reference, reference)) == 0


def test_w1_is_scipy_s(make_noise):
    generated, reference = make_noise(n_samples=2, sigma=0.4), make_noise(seed=1)
    assert generated.density.values.max() > reference.density.values.max()  # beyond the reference on either side
    assert generated.density.values.min() < reference.density.values.min()
    found = w1(generated, reference)
    mean = reference.n_electrons / reference.grid.volume
    for sample in range(2):
        values = generated.sample(sample).density.values.ravel()
        expected = wasserstein_distance(values, reference.density.values.ravel()) / mean
        assert float(found[sample]) == pytest.approx(expected, rel=2e-3)
    assert float(w1(reference, reference)) == 0


def test_w1_of_a_shift_far_outside_the_bins():
    """All of one distribution beyond the other: the distance is the shift, whatever the bins."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, (1, 5000)).astype(np.float32)
    bins = ValueBins(float(values.min()), float(values.max()))
    counts, excess = bins.count(values)[0], bins.excess(values)[0]
    for shift in (-3.0, 3.0):
        moved = values + np.float32(shift)
        distance = wasserstein(bins.count(moved), bins.excess(moved), counts, excess, bins)
        assert float(distance[0]) == pytest.approx(3.0, rel=1e-5)


def test_neither_compares_different_grids(make_noise):
    for measure in (jsd, w1):
        with pytest.raises(GridMismatchError, match="resample_grid"):
            measure(make_noise(shape=(8, 8, 10)), make_noise())

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from edviz import DensityTrajectory
from edviz.analysis.difference import difference
from edviz.analysis.forecast import nmae
from edviz.errors import GridMismatchError, MissingDataError, SchemaError


def test_it_is_taken_where_both_have_a_frame(make_noise):
    one, two = make_noise(n_frames=12, seed=1), make_noise(n_frames=12, seed=2, start=40.0)
    found = one.difference(two)
    assert found.dims == ("time", "a", "b", "c") and found.attrs["units"] == "e/angstrom^3"
    np.testing.assert_array_equal(found["time"], np.arange(40, 120, 10))
    np.testing.assert_allclose(found, one.density.values[4:] - two.density.values[:8], atol=1e-7)
    np.testing.assert_allclose(found["nmae"], nmae(one, two))
    np.testing.assert_array_equal(found.attrs["cell"], one.grid.cell.ravel())
    np.testing.assert_allclose(difference(two, one), -found, atol=1e-7)
    assert not difference(one, one).any() and not difference(one, one)["nmae"].any()


def test_ensembles_and_lazy_frames(make_noise):
    many, one = make_noise(n_frames=5, n_samples=3), make_noise(n_frames=5, seed=9)
    chunks = da.from_array(many.density.values, chunks=(1, 1, -1, -1, -1))
    lazy = DensityTrajectory(many.ds.assign(density=(many.density.dims, chunks, many.density.attrs)))
    found = difference(lazy, one)
    assert found.chunks is not None and found.dims == ("sample", "time", "a", "b", "c")
    assert found["nmae"].dims == ("sample", "time")
    np.testing.assert_allclose(found, many.density.values - one.density.values, atol=1e-7)
    with pytest.raises(MissingDataError, match=r"sample\(0\)"):
        difference(one, many)


def test_what_does_not_fit(make_noise):
    one = make_noise(n_frames=5)
    with pytest.raises(MissingDataError, match="no time"):
        difference(one, make_noise(n_frames=5, start=1000.0))
    with pytest.raises(GridMismatchError, match="points"):
        difference(one, make_noise(n_frames=5, shape=(6, 8, 8)))
    field = DensityTrajectory.from_arrays(one.density.values, one.grid.cell, time=one.time, density_kind="potential")
    with pytest.raises(SchemaError):
        difference(field, field)

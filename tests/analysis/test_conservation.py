from __future__ import annotations

import numpy as np
import pytest

from edviz.analysis.conservation import conservation
from edviz.errors import SchemaError


@pytest.mark.parametrize("n_samples", [None, 3])
def test_lost_electrons_and_negative_values(make_noise, make_field, small_batches, n_samples):
    traj = make_noise(n_frames=5, n_samples=n_samples)
    values = traj.density.values.copy()
    values[..., 3, :, :, :] *= 0.999  # the frame before the last but one
    values[..., 1, 0, 0, 0] = -0.25
    found = conservation(make_field(values, n_electrons=125.0))
    frames = ("sample", "time") if n_samples else ("time",)
    assert found["charge_error"].dims == frames
    sums = values.sum(axis=(-3, -2, -1), dtype=np.float64) * 125 / 512
    np.testing.assert_allclose(found["electrons"], sums, rtol=1e-12)
    np.testing.assert_allclose(found["charge_error"], sums - 125, atol=1e-9)
    np.testing.assert_allclose(found["charge_error"].values[..., 3], -0.125, atol=1e-4)
    np.testing.assert_array_equal(found["minimum"], values.min(axis=(-3, -2, -1)))
    assert (found["minimum"].values[..., 1] == -0.25).all()


def test_other_fields_have_no_charge(make_field):
    with pytest.raises(SchemaError, match="potential"):
        conservation(make_field(np.ones((2, 4, 4, 4)), density_kind="potential", n_electrons=None))

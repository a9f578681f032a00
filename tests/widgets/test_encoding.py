"""Half precision must not move a surface: checked on real frames, at every level, and at the ends of the range."""

from __future__ import annotations

import numpy as np
import pytest

import edviz
from edviz.widgets.encoding import decode_half, encode_half


def interpolated(values: np.ndarray, times: int = 3) -> np.ndarray:
    """The field between grid points as surfaces see it: linear along each axis, periodic."""
    for axis in range(3):
        step = np.roll(values, -1, axis) - values
        parts = np.stack([values + step * (k / times) for k in range(times)], axis=axis + 1)
        values = parts.reshape([n * times if i == axis else n for i, n in enumerate(values.shape)])
    return values.ravel()


def electrons_above(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    ordered = np.sort(values)
    summed = np.concatenate([np.cumsum(ordered[::-1])[::-1], [0.0]])
    return summed[np.searchsorted(ordered, levels, side="right")]


@pytest.mark.parametrize("density", ["valence", "total"])
@pytest.mark.parametrize("frame", [0, 300])
def test_no_isosurface_of_a_real_frame_changes_its_electrons_by_a_thousandth(density: str, frame: int) -> None:
    values = edviz.load_sample("lithium-800K", density=density).frame(frame).astype(np.float64)
    levels = np.quantile(values, np.linspace(0.001, 0.999, 500)) * (1 + 1e-7)
    exact = electrons_above(interpolated(values), levels)
    sent = electrons_above(interpolated(decode_half(*encode_half(values))), levels)
    change, total = np.abs(sent - exact), interpolated(values).sum()
    assert change.max() < 2e-4 * total
    enclosing = exact > 0.06 * total  # the smaller ones lie on nearly flat maxima, where a level is hardly a place
    assert enclosing.sum() > 450
    assert (change[enclosing] / exact[enclosing]).max() < 1e-3


def test_eight_bits_would_change_them() -> None:
    values = edviz.load_sample("lithium-800K").frame(0).astype(np.float64)
    levels = np.quantile(values, np.linspace(0.001, 0.999, 500)) * (1 + 1e-7)
    low, high = values.min(), values.max()
    bytes_ = np.round((values - low) / (high - low) * 255) / 255 * (high - low) + low
    exact = electrons_above(interpolated(values), levels)
    change = np.abs(electrons_above(interpolated(bytes_), levels) - exact)
    enclosing = exact > 0.06 * interpolated(values).sum()
    assert (change[enclosing] / exact[enclosing]).max() > 1e-3


@pytest.mark.parametrize("size", [1e-12, 1e-7, 3e-5, 1.0, 3e4, 1e6, 1e20])
def test_any_size_of_field_keeps_eleven_bits(size: float) -> None:
    values = size * np.geomspace(1e-2, 1.0, 999).reshape(3, 9, 37)
    codes, scale = encode_half(values)
    assert codes.dtype == np.dtype("<f2") and codes.flags.c_contiguous
    np.testing.assert_allclose(decode_half(codes, scale), values, rtol=2**-11)
    assert np.log2(scale) == round(np.log2(scale))


def test_ordinary_densities_travel_without_a_scale() -> None:
    assert encode_half(np.array([0.001, 0.2]))[1] == 1.0
    assert encode_half(np.array([-20.0, 3000.0]))[1] == 1.0


def test_zero_and_signs_survive() -> None:
    codes, scale = encode_half(np.zeros(5))
    assert scale == 1.0 and not codes.any()
    np.testing.assert_allclose(decode_half(*encode_half([-1e-9, 0.0, 2e-9])), [-1e-9, 0.0, 2e-9], rtol=1e-3)


def test_bytes_decode_like_the_array() -> None:
    codes, scale = encode_half([[0.5, 0.25]])
    np.testing.assert_array_equal(decode_half(codes.tobytes(), scale), [0.5, 0.25])

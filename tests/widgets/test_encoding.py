"""Codes must not move a surface: checked on real frames at levels from one extreme to the other, and on odd fields."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

import edviz
from edviz.widgets.encoding import decode, encode


class Enclosed:
    """Integral of a field over the region above a level, exact for the field that is linear between grid points.

    Each cube of eight grid points is six tetrahedra around its diagonal; in a tetrahedron the integral is a polynomial
    of the level (as in the linear tetrahedron method, Bloechl, Jepsen and Andersen, Phys. Rev. B 49, 16223, 1994).
    """

    def __init__(self, values: np.ndarray) -> None:
        values = values.astype(np.float64)
        paths = [np.cumsum(np.eye(3, dtype=int)[list(order)], axis=0) for order in itertools.permutations(range(3))]
        corners = [
            [values, *(np.roll(values, tuple(-step), (0, 1, 2)) for step in path)] for path in paths
        ]  # each is one way from a corner of the cube to the opposite one
        self._all = np.concatenate([np.stack([each.ravel() for each in four], axis=-1) for four in corners])
        self._all.sort(axis=1)
        self._all = self._all[np.argsort(self._all[:, 0])]
        self._lowest = self._all[:, 0].copy()
        self._inside = np.append(np.cumsum(self._all.mean(axis=1)[::-1])[::-1] / 6, 0.0)
        self.total = self._inside[0]

    def __call__(self, level: float) -> float:
        first_inside = np.searchsorted(self._lowest, level)
        cut = self._all[:first_inside]
        return self._inside[first_inside] + _above(cut[cut[:, 3] > level], level).sum() / 6


def _above(tetrahedra: np.ndarray, x: float) -> np.ndarray:
    a, b, c, d = tetrahedra.T  # ascending
    with np.errstate(divide="ignore", invalid="ignore"):  # of the cases that do not apply
        tip = (d - x) ** 3 / ((d - a) * (d - b) * (d - c)) * (d + 3 * x) / 4
        base = (x - a) ** 3 / ((b - a) * (c - a) * (d - a)) * (a + 3 * x) / 4
        three = (
            (x - a) ** 2 / ((d - a) * (c - a)) * (a + b + 2 * x),
            (x - a) * (x - b) * (c - x) / ((d - a) * (c - b) * (c - a)) * (b + 3 * x),
            (x - b) ** 2 * (d - x) / ((d - b) * (c - b) * (d - a)) * (b + 3 * x),
        )
        whole = (a + b + c + d) / 4
        return np.select([x >= c, x >= b], [tip, whole - sum(three) / 4], whole - base)


def test_the_measure_is_right() -> None:
    """A ball of values max(0, 2 - r/10): inside the level 1 it holds 4 pi 10^3 (2/3 - 1/4)."""
    r = np.linalg.norm(np.stack(np.meshgrid(*[np.arange(-21, 21)] * 3, indexing="ij")), axis=0)
    measure = Enclosed(np.maximum(2 - r / 10, 0))
    assert measure(1.0) == pytest.approx(4 * np.pi * 1000 * (2 / 3 - 1 / 4), rel=0.01)
    assert measure(-1.0) == measure.total == pytest.approx(np.maximum(2 - r / 10, 0).sum()) and measure(3.0) == 0
    sums = np.array([measure(x) for x in np.linspace(-0.1, 2.1, 100)])
    assert (np.diff(sums) <= 1e-9 * measure.total).all()


Changes = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def changes(values: np.ndarray, seen: np.ndarray) -> Changes:
    """What codes change at 70 levels, as parts of it: the share of the electrons above a level, and that below it.

    The levels leave from half a grid point's volume to all but that above them.
    """
    edge = np.geomspace(0.5 / values.size, 0.01, 20)
    above = np.concatenate([edge, np.linspace(0.02, 0.98, 30), 1 - edge[::-1]])
    levels = np.quantile(values, 1 - above)
    exact, coded = Enclosed(values), Enclosed(seen)
    inside = np.array([[exact(x), coded(x)] for x in levels])
    outside = np.array([exact.total, coded.total]) - inside
    change = [np.abs(np.diff(each))[:, 0] / each[:, 0] for each in (inside, outside)]
    return inside[:, 0] / exact.total, change[0], outside[:, 0] / exact.total, change[1]


def worst(values: np.ndarray, code: Callable[[np.ndarray], np.ndarray]) -> float:
    """The largest change of what isosurfaces enclose, if over a 100,000th of electrons, or keep out, if a 1000th."""
    inside, change_inside, outside, change_outside = changes(values, code(values))
    assert (inside > 1e-5).sum() > 55 and (outside > 1e-3).sum() > 50
    return float(max(change_inside[inside > 1e-5].max(), change_outside[outside > 1e-3].max()))


def sent(values: np.ndarray) -> np.ndarray:
    return decode(*encode(values))


@pytest.mark.parametrize("density", ["valence", "total"])
@pytest.mark.parametrize("frame", [0, 120, 300])
def test_no_isosurface_of_a_real_frame_changes_its_electrons_by_a_thousandth(density: str, frame: int) -> None:
    assert worst(edviz.load_sample("lithium-800K", density=density).frame(frame), sent) < 1e-3


def test_nor_on_a_grid_that_shows_the_cores(lithium: edviz.DensityTrajectory) -> None:
    values = lithium[120:121].resample_grid((48, 48, 48)).with_core().frame(0)
    assert values.max() > 80 * np.median(values) and encode(values)[1]["knee"] > 0
    assert worst(values, sent) < 1e-3


@pytest.mark.parametrize("density", ["valence", "total"])
def test_half_precision_and_eight_bits_would_change_them(density: str) -> None:
    values = edviz.load_sample("lithium-800K", density=density).frame(0)
    low, high = values.min(), values.max()
    assert worst(values, lambda x: x.astype(np.float16)) > 1e-3
    assert worst(values, lambda x: np.round((x - low) / (high - low) * 255) / 255 * (high - low) + low) > 1e-2


def test_codes_take_two_bytes_grow_with_the_value_and_keep_the_extremes() -> None:
    values = np.random.default_rng(0).lognormal(-3, 2.5, 4000).reshape(10, 20, 20).astype(np.float32)
    for field in (values, np.sqrt(values).clip(0.3, 0.5), -values, values - values[::-1]):
        codes, code = encode(field)
        assert codes.dtype == np.dtype("<u2") and codes.flags.c_contiguous and codes.shape == field.shape
        assert (np.diff(codes.ravel()[np.argsort(field.ravel())].astype(int)) >= 0).all()
        seen = decode(codes, code)
        assert seen.min() == field.min() and seen.max() == field.max()
        scaled = [np.arcsinh(x.astype(float) / code["knee"]) if code["knee"] else x for x in (seen, field)]
        assert np.abs(scaled[0] - scaled[1]).max() < 0.501 * code["step"] + 1e-6 * np.abs(scaled[1]).max()


def test_a_field_that_fills_its_range_gets_even_codes_and_one_with_high_peaks_does_not() -> None:
    even = np.linspace(-1, 3, 999)
    peaked = np.append(np.full(9999, 0.05) + np.linspace(0, 1e-3, 9999), 3000.0)
    assert encode(even)[1]["knee"] == 0
    codes, code = encode(peaked)
    assert 0.04 < code["knee"] < 0.1
    np.testing.assert_allclose(decode(codes, code), peaked, rtol=2**-11)
    assert np.abs(decode(codes, code) - peaked)[:-1].max() < 1e-5


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1e-7, 1.0, 1e6, 1e38])
def test_any_size_of_field_keeps_its_digits(size: float) -> None:
    values = (size * np.linspace(-1, 1, 999)).astype(np.float32)
    seen = decode(*encode(values))
    np.testing.assert_allclose(seen.astype(float), values, rtol=0, atol=max(1.6e-5 * size, 1e-45))


@pytest.mark.parametrize("value", [0.0, 0.05, -3.0, 1e30])
def test_a_constant_field_is_that_constant(value: float) -> None:
    codes, code = encode(np.full((2, 3, 4), value))
    assert code["step"] == 0 and not codes.any()
    np.testing.assert_array_equal(decode(codes, code), np.float32(value))


def test_bytes_decode_like_the_array() -> None:
    codes, code = encode([[0.5, 0.25], [0.3, -0.1]])
    np.testing.assert_array_equal(decode(codes.tobytes(), code), decode(codes, code).ravel())

"""Frozen cores: amplitudes and power become the true ones; electrons, positions and symmetries stay."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import edviz
from edviz.analysis.sites import find_sites
from edviz.errors import ArgumentError
from edviz.grid import PeriodicGrid
from edviz.models.augmentation import Augmentation
from edviz.models.frozen_cores import FrozenCores
from tests.conftest import SKEWED

SKEW = PeriodicGrid(2 * SKEWED, (30, 27, 36))
WIDTH = 0.35
PLACES = np.stack(np.meshgrid([0.1, 0.6], [0.2, 0.7], [0.15, 0.65], indexing="ij"), -1).reshape(-1, 3) @ (2 * SKEWED)


def distances(at, grid):
    """From each site to each grid point, nearest image; (site, a, b, c)."""
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid.shape), indexing="ij"), -1)
    difference = points - grid.to_fractional(at)[:, None, None, None]
    return np.linalg.norm((difference - np.rint(difference)) @ grid.cell, axis=-1)


def frames(n, random, amplitudes=0.0, noise=0.0):
    """Gaussian cores in a skewed cell on a smooth background that differs from frame to frame; true and decoded."""
    true, decoded = [], []
    for _ in range(n):
        d = distances(PLACES + random.uniform(-0.3, 0.3, PLACES.shape), SKEW)
        shapes = np.exp(-0.5 * (d / WIDTH) ** 2)
        background = 0.1 + 0.005 * np.cos(2 * np.pi * np.arange(30) / 30 + random.uniform(0, 6))[:, None, None]
        true.append(shapes.sum(0) + background)
        wrong = np.tensordot(1 + amplitudes * random.normal(size=len(PLACES)), shapes, 1) + background
        blurred = gaussian_filter(random.normal(size=SKEW.shape), 1.0, mode="wrap")
        decoded.append(wrong + noise * blurred / blurred.std())
    return true, decoded


@pytest.fixture(scope="module")
def skewed():
    random = np.random.default_rng(0)
    return FrozenCores.fit(*frames(12, random, 0.02, 0.003)[::-1], SKEW), frames(4, random, 0.02, 0.003)


@pytest.fixture(scope="module")
def total():
    """Held-out frames of lithium with its cores, over their mean; the same through the autoencoder alone."""
    emulator = edviz.load_emulator("lithium-800K", density="total")
    cores, emulator.frozen_cores, emulator.value_map = emulator.frozen_cores, None, None
    test = edviz.load_sample("lithium-800K", density="total").split("test")[::30]
    true, decoded = test.density.values, emulator.reconstruct(test).density.values
    return cores, *(x / x.mean((1, 2, 3), keepdims=True, dtype=np.float64) for x in (true, decoded))


def test_a_core_written_in_takes_the_error_away(skewed):
    cores, (true, decoded) = skewed
    for frame, wrong in zip(true, decoded, strict=True):
        frame, wrong = frame / frame.mean(), wrong / wrong.mean()
        right = cores(wrong)
        assert np.abs(right - frame).mean() < 0.5 * np.abs(wrong - frame).mean()
        assert right.mean() == pytest.approx(1, rel=1e-9)
        core = distances(find_sites(frame, SKEW), SKEW).min(0) < 0.3
        assert (right - frame)[core].std() < 0.6 * (wrong - frame)[core].std()


def test_the_profile_is_the_known_one(skewed):
    cores, _ = skewed
    d = np.linspace(0, cores.inner, 20)
    found, known = cores._at(d), np.exp(-0.5 * (d / WIDTH) ** 2) + 0.1
    np.testing.assert_allclose(found / found[0], known / known[0], rtol=0.01)
    assert cores.inner < cores.outer


def test_held_out_lithium_comes_nearer_to_the_truth(total):
    cores, true, decoded = total
    right = cores(decoded)
    np.testing.assert_allclose(right.mean((1, 2, 3)), 1, rtol=1e-9)
    assert right.min() > 0
    assert np.abs(right - true).mean() < 0.92 * np.abs(decoded - true).mean()
    slope = [np.abs(np.gradient(x - true, axis=(1, 2, 3))).mean() for x in (right, decoded)]
    assert slope[0] < 0.85 * slope[1]
    here, there = (np.sort(find_sites(x[0], cores.grid), axis=0) for x in (right, decoded))
    np.testing.assert_allclose(here, there, atol=0.01)  # angstrom: atoms stay where they were


def test_amplitudes_of_lithium_scatter_as_true_ones(total):
    cores, true, decoded = total
    grid = cores.grid

    def scatter(fields):
        return np.std([cores._amplitudes(x, cores._around(find_sites(x, grid))) for x in fields])

    assert scatter(true) < 0.0015 < 2 * scatter(true) < scatter(decoded)
    assert scatter(cores(decoded)) < scatter(true)


def test_true_frames_change_less_than_the_decoder_errs(total):
    cores, true, decoded = total
    assert np.abs(cores(true) - true).mean() < 0.4 * np.abs(decoded - true).mean()


def test_it_commutes_with_translations_and_symmetries(total):
    cores, _, decoded = total
    frame = decoded[:1]
    moved = np.roll(frame, (3, -5, 11), (1, 2, 3))
    np.testing.assert_allclose(cores(moved), np.roll(cores(frame), (3, -5, 11), (1, 2, 3)), atol=1e-6)
    torch = pytest.importorskip("torch")
    augment = Augmentation(cores.grid)
    turn = augment.draw(np.random.default_rng(1))
    turned = augment.apply(torch.from_numpy(frame), turn).numpy()
    expected = augment.apply(torch.from_numpy(cores(frame)), turn).numpy()
    np.testing.assert_allclose(cores(turned), expected, atol=1e-6)


def test_where_there_is_no_frozen_core_there_is_none():
    random = np.random.default_rng(3)
    true, decoded = frames(4, random, 0.02, 0.003)
    assert FrozenCores.fit(true, true, SKEW) is None  # nothing to mend
    uneven = [x * (1 + 0.1 * y) for x, y in zip(true, random.normal(size=(4, *SKEW.shape)), strict=True)]
    assert FrozenCores.fit(decoded, uneven, SKEW) is None  # noise has maxima everywhere
    valence = edviz.load_sample("lithium-800K")[:3].density.values
    assert FrozenCores.fit(valence, valence, edviz.load_sample("lithium-800K").grid) is None


def test_a_field_without_maxima_is_left_alone(skewed):
    flat = np.ones(SKEW.shape)
    np.testing.assert_array_equal(skewed[0](flat), flat)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain": np.ones(3)}, "shells"),
        ({"profile": [np.nan]}, "finite"),
        ({"radii_and_floor": (1.0, 0.5, 0.1)}, "inner < outer"),
        ({"radii_and_floor": (0.5, 1.0, 0.0)}, "floor above zero"),
        ({"radii_and_floor": (0.5, 1.0)}, "two radii"),
    ],
)
def test_numbers_that_are_none_are_refused(skewed, change, message):
    cores = skewed[0]
    names = ("profile", "form_factor", "gain", "radii_and_floor")
    arguments = {name: getattr(cores, name) for name in names} | change
    with pytest.raises(ArgumentError, match=message):
        FrozenCores(SKEW, **arguments)
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        FrozenCores(SKEW, cores.profile, cores.form_factor, cores.gain + 1, cores.radii_and_floor)
    with pytest.raises(ArgumentError, match="as many decoded frames"):
        FrozenCores.fit([], [], SKEW)

"""Memorisation: how near a generated frame comes to a frame of the training data, translated, rotated or reflected.

The distance of two frames is the root mean square of their difference over the standard deviation of the density,
minimised over all translations and over the symmetries that cell and grid really have (`PeriodicGrid.symmetries`): 0
for the same frame, about sqrt(2) for unrelated ones that are not aligned. The mean square of a difference is the sum
of two norms less twice a cross-correlation, and one fast Fourier transform gives the cross-correlation at every
translation, as in phase-free image registration (R. Bracewell, The Fourier Transform and Its Applications). A rollout
that repeats its training data scores far below what frames of the test block, which nobody has trained on, score
against the same training frames.

Screening runs on the long waves alone, enough of them to carry nearly all of the variance; the best pairs of frame and
symmetry are then taken again on the full grid, and the best of these between grid points.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
import xarray as xr
from numpy.typing import NDArray

from edviz.analysis.floors import CONFIDENCE, N_RESAMPLES
from edviz.analysis.frames import TrajectoryLike, as_trajectory, batches, check_comparable
from edviz.analysis.sites import refine_maxima
from edviz.errors import ArgumentError, MissingDataError
from edviz.grid import PeriodicGrid, Shape, symmetry_index
from edviz.trajectory import DensityTrajectory

__all__ = ["GAP_FS", "memorisation", "nearest_frames"]

GAP_FS = 200.0  # training frames nearer than this in time to the test block are left out, as in the protocol's split
BLOCK_FS = 200.0  # frames of one such stretch are resampled together
BAND_SHARE = 0.9  # of the variance: what the screening keeps
N_REFINED = 48  # pairs of training frame and symmetry that are taken again on the full grid, a frame
N_SUBGRID = 4  # of them between grid points


def nearest_frames(
    frames: NDArray[np.floating],
    training: TrajectoryLike,
    symmetries: NDArray[np.int64] | None = None,
    leave_out: NDArray[np.bool_] | None = None,
    n_refined: int = N_REFINED,
    progress: Any = None,
) -> xr.Dataset:
    """The nearest training frame of each of a few frames, over all translations and symmetries.

    Parameters
    ----------
    frames
        (n, na, nb, nc) in e/angstrom^3, on the training data's grid.
    training
        A trajectory or its dataset, single or ensemble; walked through once, then some frames again.
    symmetries
        (m, 3, 3) integer matrices; by default those of the grid.
    leave_out
        (time,) training frames that do not count.
    n_refined
        Candidates of the screening that are taken again on the full grid, for each frame.
    progress
        A tqdm bar to update by one a training frame and sample.

    Returns
    -------
    Dataset over `query`: `distance` (root mean square of the difference, e/angstrom^3), and where the nearest frame is:
    `frame`, `sample` (its numbers in the training data), `symmetry` (number of the matrix W, which acts on the
    training frame) and `shift` (xyz; translation that follows, angstrom).

    Raises
    ------
    ArgumentError
        If the shapes differ or nothing is left to compare with.
    """
    training = as_trajectory(training)
    grid = training.grid
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[1:] != grid.shape:
        raise ArgumentError(f"frames must be (n, {', '.join(map(str, grid.shape))}); got shape {frames.shape}")
    keep = np.ones(len(training), dtype=bool) if leave_out is None else ~np.asarray(leave_out, dtype=bool)
    if keep.shape != (len(training),) or not keep.any() or n_refined < 1:
        raise ArgumentError("no training frame is left to compare with")
    symmetries = grid.symmetries() if symmetries is None else np.asarray(symmetries)
    # Comparing W x with f is comparing x with its inverse applied to f: the few frames are turned, not the many.
    turns = [symmetry_index(np.rint(np.linalg.inv(W)).astype(int), grid.shape) for W in symmetries]
    n_sym = len(turns)
    means = frames.mean(axis=(1, 2, 3), dtype=np.float64)
    centred = frames - means[:, None, None, None]
    norms = (centred**2).sum(axis=(1, 2, 3))
    band = _band(centred, grid.shape)
    turned = np.stack([_long_waves(centred.reshape(len(frames), -1)[:, turn], grid.shape, band) for turn in turns])

    # score = |t|^2 - 2 correlation: the squared distance without the part that all candidates share.
    best = np.full((len(frames), 0), np.inf)
    where = np.zeros((len(frames), 0, 3), dtype=np.int64)  # frame, sample, symmetry
    for span, values in batches(training, progress, "training"):
        for s in range(len(values)):
            numbers = np.arange(span.start, span.stop)[keep[span]]
            if not numbers.size:
                continue
            block = values[s][keep[span]]
            block = block - block.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
            squares = np.einsum("tabc,tabc->t", block, block, dtype=np.float64)
            waves = np.conj(_long_waves(block.reshape(len(block), -1), grid.shape, band))
            score = np.empty((len(frames), len(block), n_sym))
            for q in range(len(frames)):
                for w in range(n_sym):
                    score[q, :, w] = squares - 2 * _largest_correlation(turned[w, q], waves, band, grid)
            place = np.stack(np.meshgrid(numbers, [s], np.arange(n_sym), indexing="ij"), axis=-1).reshape(-1, 3)
            best = np.concatenate([best, score.reshape(len(frames), -1)], axis=1)
            where = np.concatenate([where, np.broadcast_to(place, (len(frames), *place.shape))], axis=1)
            if best.shape[1] > n_refined:
                chosen = np.argpartition(best, n_refined - 1, axis=1)[:, :n_refined]
                best = np.take_along_axis(best, chosen, axis=1)
                where = np.take_along_axis(where, chosen[..., None], axis=1)

    found = [
        _refined(centred[q], float(means[q]), float(norms[q]), training, where[q], turns, grid)
        for q in range(len(frames))
    ]
    shifts = np.array([shift for *_, shift in found])
    for q, (_, place, _) in enumerate(found):
        # x was compared with W^-1 f, f(r) = x(W^-1 (r - W u)) for the shift u found there.
        shifts[q] = grid.to_cartesian(symmetries[place[2]] @ grid.to_fractional(shifts[q]))
    places = np.array([place for _, place, _ in found])
    return xr.Dataset(
        {
            "distance": ("query", [distance for distance, *_ in found], {"units": "e/angstrom^3"}),
            "frame": ("query", places[:, 0]),
            "sample": ("query", places[:, 1]),
            "symmetry": ("query", places[:, 2]),
            "shift": (("query", "xyz"), grid.wrap(shifts), {"units": "angstrom"}),
        },
        attrs={"band": band},
    )


def _band(centred: NDArray[np.floating], shape: Shape) -> Shape:
    """The smallest even grid, of the same proportions, whose waves below Nyquist carry `BAND_SHARE` of the variance."""
    power = (np.abs(scipy.fft.fftn(centred, axes=(1, 2, 3))) ** 2).sum(axis=0)
    total = power.sum()
    longest = max(shape)
    orders = np.meshgrid(*[np.abs(np.fft.fftfreq(n, 1 / n)) for n in shape], indexing="ij")
    for size in range(4, longest, 2):
        band = tuple(min(n, max(2, 2 * round(size * n / longest / 2))) for n in shape)
        inside = np.logical_and.reduce(
            [h < m / 2 if m < n else h <= n for h, m, n in zip(orders, band, shape, strict=True)]
        )
        if power[inside].sum() >= BAND_SHARE * total:
            return band  # type: ignore[return-value]
    return shape


def _long_waves(flat: NDArray[np.floating], shape: Shape, band: Shape) -> NDArray[np.complex64]:
    """Waves of real fields (n, points) that a coarser grid carries, as its rfftn would hold them; Nyquist left out."""
    waves = scipy.fft.rfftn(flat.astype(np.float32, copy=False).reshape(-1, *shape), axes=(1, 2, 3))
    for axis, (n, m) in enumerate(zip(shape[:2], band[:2], strict=True), start=1):
        if m < n:
            index = np.concatenate([np.arange(m // 2), np.arange(n - m // 2, n)])
            waves = np.take(waves, index, axis=axis)
            waves[(slice(None),) * axis + (m // 2,)] = 0
    if band[2] < shape[2]:
        waves = waves[..., : band[2] // 2 + 1].copy()
        waves[..., -1] = 0
    return np.ascontiguousarray(waves)


def _largest_correlation(
    wave: NDArray[np.complex64], others: NDArray[np.complex64], band: Shape, grid: PeriodicGrid
) -> NDArray[np.float64]:
    """Largest sum over the grid of f(r) x(r - u) over translations u by steps of the band's grid, for each x."""
    product = wave * others
    correlation = scipy.fft.irfftn(product, s=band, axes=(1, 2, 3), overwrite_x=True)
    scale = np.prod(band) / grid.n_points
    return correlation.reshape(len(others), -1).max(axis=1).astype(np.float64) * scale


def _refined(
    query: NDArray[np.floating],
    mean: float,
    norm: float,
    training: DensityTrajectory,
    places: NDArray[np.int64],
    turns: list[NDArray[np.int64]],
    grid: PeriodicGrid,
) -> tuple[float, NDArray[np.int64], NDArray[np.float64]]:
    """Best of the candidates on the full grid: distance, (frame, sample, symmetry), translation of the turned frame."""
    spectra: dict[int, NDArray[np.complex128]] = {}
    candidates = []
    for frame, sample in np.unique(places[:, :2], axis=0):
        values = training.sample(int(sample)).frame(int(frame)).astype(np.float64)
        offset = (mean - float(values.mean())) ** 2 * grid.n_points
        values -= values.mean()
        waves = np.conj(scipy.fft.rfftn(values))
        for place in places[(places[:, 0] == frame) & (places[:, 1] == sample)]:
            w = int(place[2])
            if w not in spectra:
                spectra[w] = scipy.fft.rfftn(query.reshape(-1)[turns[w]].reshape(grid.shape).astype(np.float64))
            correlation = scipy.fft.irfftn(spectra[w] * waves, s=grid.shape)
            peak = np.array(np.unravel_index(int(correlation.argmax()), grid.shape))
            squared = norm + float((values**2).sum()) + offset - 2 * float(correlation.max())
            candidates.append((squared, place, correlation, peak))
            candidates.sort(key=lambda candidate: candidate[0])
            del candidates[N_SUBGRID:]
    best: tuple[float, NDArray[np.int64], NDArray[np.float64]] | None = None
    for squared, place, correlation, peak in candidates:
        start = grid.to_cartesian(peak / np.array(grid.shape))
        at_grid = float(correlation[tuple(peak)])
        position, height = refine_maxima(correlation, grid, start[None], False)
        if len(height) and height[0] > at_grid:
            squared, start = squared - 2 * (float(height[0]) - at_grid), position[0]
        if best is None or squared < best[0]:
            best = squared, place, start
    assert best is not None
    return float(np.sqrt(max(best[0], 0.0) / grid.n_points)), best[1], best[2]


def memorisation(
    generated: TrajectoryLike,
    test: TrajectoryLike,
    training: TrajectoryLike,
    n_frames: int = 24,
    gap: float = GAP_FS,
    n_refined: int = N_REFINED,
    seed: int = 0,
    progress: Any = None,
) -> xr.Dataset:
    """Distance of generated frames to their nearest training frame, over the same for test frames.

    Parameters
    ----------
    generated
        Single or ensemble.
    test
        Frames that no training has seen.
    training
        What the generator was trained on.
    n_frames
        How many frames of each are taken, spread evenly.
    gap
        Training frames within this of the test block's times, fs, are left out: a test frame's neighbours in time are
        near it for no interesting reason.
    n_refined
        As in `nearest_frames`.
    seed
        Of the bootstrap.
    progress
        A tqdm bar to update by one a training frame and sample.

    Returns
    -------
    Dataset: `ratio` (median generated / median test distance) with its 95 % interval `low`, `high` (bootstrap over
    stretches of 200 fs of both), `generated` (query) and `test` (test_query) distances over the standard deviation of
    the test block, `frame` and `test_frame` (nearest training frames), attributes `n_left_out` and `gap_fs`. A ratio
    near 1 is what a generator of new frames has, 0 that of a recording.

    Raises
    ------
    GridMismatchError
        If the three do not share grid, cell, kind and electrons.
    MissingDataError
        If no training frame is farther than the gap from the test block.
    """
    generated, test, training = (as_trajectory(traj) for traj in (generated, test, training))
    for traj, name in ((generated, "generated"), (training, "training")):
        check_comparable(traj[:1], test[:1], name)  # frames are compared, not steps: any interval will do
    near = (training.time > test.time[0] - gap) & (training.time < test.time[-1] + gap)
    if near.all():
        raise MissingDataError(
            f"all training frames ({training.time[0]:g} to {training.time[-1]:g} fs) lie within {gap:g} fs of the test "
            f"block ({test.time[0]:g} to {test.time[-1]:g} fs): nothing tells new frames from remembered ones"
        )
    ours, our_stretch = _spread(generated, n_frames)
    theirs, their_stretch = _spread(test, n_frames)
    found = nearest_frames(
        np.concatenate([ours, theirs]), training, leave_out=near, n_refined=n_refined, progress=progress
    )
    std = float(np.sqrt(theirs.var(axis=(1, 2, 3), dtype=np.float64).mean()))
    distances = found["distance"].values / std
    mine, real = distances[: len(ours)], distances[len(ours) :]
    rng = np.random.default_rng(seed)
    draws = _resampled_medians(mine, our_stretch, rng) / _resampled_medians(real, their_stretch, rng)
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if len(np.unique(our_stretch)) < 2 or len(np.unique(their_stretch)) < 2:
        low = high = np.nan
    units = {"units": "1"}
    return xr.Dataset(
        {
            "ratio": ((), float(np.median(mine) / np.median(real)), units),
            "low": ((), float(low), units),
            "high": ((), float(high), units),
            "generated": ("query", mine, units),
            "test": ("test_query", real, units),
            "frame": ("query", found["frame"].values[: len(ours)]),
            "test_frame": ("test_query", found["frame"].values[len(ours) :]),
        },
        attrs={"n_left_out": int(near.sum()), "gap_fs": gap, "band": found.attrs["band"]},
    )


def _spread(traj: DensityTrajectory, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Evenly spread frames of all samples, and the number of the stretch of `BLOCK_FS` that each belongs to."""
    each = max(1, min(len(traj), round(n / traj.n_samples)))
    numbers = np.unique(np.linspace(0, len(traj) - 1, each).round().astype(int))
    stretch = ((traj.time[numbers] - traj.time[0]) // BLOCK_FS).astype(np.int64)
    samples = np.unique(np.linspace(0, traj.n_samples - 1, min(n, traj.n_samples)).round().astype(int))
    chosen = [traj.sample(int(s)).isel(numbers).density.values for s in samples]
    labels = [stretch + i * (1 + stretch.max()) for i in range(len(samples))]
    return np.concatenate(chosen), np.concatenate(labels)


def _resampled_medians(
    values: NDArray[np.float64], stretch: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Medians of resampled stretches, each kept whole."""
    groups = [values[stretch == label] for label in np.unique(stretch)]
    drawn = rng.integers(len(groups), size=(N_RESAMPLES, len(groups)))
    return np.array([np.median(np.concatenate([groups[i] for i in row])) for row in drawn])

"""How well frames are predicted: the error of a forecast beside what extrapolation from the last frames gives.

A liquid's frames cannot be predicted for long. Persistence (nothing moves), linear and quadratic extrapolation in
time, point by point, are the yardsticks that a forecast must beat; they are exact on fields that are polynomials of
degree 0, 1 and 2 in time. Climatology, what one would say without looking at the last frames, is the yardstick that
every forecast of a chaotic system falls back to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from edviz.analysis import scores
from edviz.analysis.floors import CONFIDENCE, N_RESAMPLES
from edviz.analysis.frames import (
    TIME_TOLERANCE,
    TrajectoryLike,
    as_given,
    as_trajectory,
    batches,
    check_comparable,
    check_single,
    common_interval,
    even_interval,
    matching_frames,
    mean_density,
    with_sample_axis,
)
from edviz.analysis.segments import SegmentFrames, cut_segments, map_segments
from edviz.errors import ArgumentError, MissingDataError
from edviz.trajectory import DensityTrajectory

__all__ = [
    "BASELINES",
    "FORECASTS",
    "baselines",
    "beats_climatology_until",
    "extrapolate",
    "forecast_skill",
    "forecast_skill_over_starts",
    "lead_times",
    "nmae",
    "one_step",
    "steps",
]

#: Name of the extrapolation -> degree of the polynomial; it needs degree + 1 frames.
BASELINES = {"persistence": 0, "linear": 1, "quadratic": 2}

#: The forecasts that `forecast_skill` scores, in this order.
FORECASTS = ("rollout", "member", *BASELINES, "climatology")

N_CLIMATOLOGY = 16  # training frames in the climatological ensemble: the fair CRPS does not depend on how many
BLOCK_FS = 200.0  # frames closer than this count as dependent: densities decorrelate in about 100 fs

_PERCENT = {"units": "%"}
_NUMBER = {"units": "1"}


def extrapolate(frames: NDArray[Any], degree: int, lead: int = 1) -> NDArray[Any]:
    """Continue the polynomial through the last degree + 1 frames, point by point.

    Parameters
    ----------
    frames
        (n, ...) evenly spaced in time, n > degree.
    degree
        0 (persistence), 1 (linear), 2 (quadratic).
    lead
        How many frames ahead.

    Returns
    -------
    (...), by Newton's backward differences: rho + m d1 + m (m + 1) / 2 d2.
    """
    last = frames[-1]
    result = last.copy()
    if degree >= 1:
        first = last - frames[-2]
        result += lead * first
    if degree >= 2:
        second = first - (frames[-2] - frames[-3])
        result += lead * (lead + 1) / 2 * second
    return result


def _error(values: NDArray[Any], truth: NDArray[Any], mean: float) -> NDArray[np.float64]:
    """Mean absolute difference over the grid in per cent of the mean density, (..., a, b, c) to (...)."""
    return np.abs(values - truth).mean(axis=(-3, -2, -1), dtype=np.float64) * (100 / mean)


def nmae(generated: TrajectoryLike, reference: TrajectoryLike) -> xr.DataArray:
    """Normalised mean absolute error of the frames that both have at the same time.

    Returns
    -------
    ([sample,] time): mean abs(difference) / mean density, in per cent.

    Raises
    ------
    GridMismatchError
        If the two do not share cell, grid, kind and frame interval.
    MissingDataError
        If they share no time, or the reference is an ensemble.
    """
    generated, reference = as_trajectory(generated), as_trajectory(reference)
    check_comparable(generated, reference, "generated")
    mean = mean_density(reference)
    found = _scored(generated, reference, lambda values, truth, _: {"nmae": _error(values, truth, mean)})
    time = ("time", found["time"], {"units": "fs"})
    error = xr.DataArray(found["nmae"], dims=("sample", "time"), coords={"time": time}, name="nmae", attrs=_PERCENT)
    return as_given(error, generated)


Score = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]], Mapping[str, NDArray[np.float64]]]


def _scored(
    generated: DensityTrajectory, reference: DensityTrajectory, score: Score, progress: Any = None
) -> dict[str, NDArray[np.float64]]:
    """Walk over the frames that both have at the same time: the one loop behind every score of a rollout.

    `score` gets values (sample, frame, a, b, c), truth (frame, a, b, c) and how many frames ahead of the context each
    is, and returns arrays (..., frame) by name; they come back joined along their last axis, beside `time` and `lead`.
    """
    check_single(reference, "the reference of a forecast")
    interval = common_interval(generated, reference)
    ours, theirs = matching_frames(generated.time, reference.time, interval)
    if not len(ours):
        raise MissingDataError(
            f"the generated frames ({generated.time[0]:g} to {generated.time[-1]:g} fs) and the reference's "
            f"({reference.time[0]:g} to {reference.time[-1]:g} fs) share no time: forecasts align on `time`"
        )
    times = generated.time[ours]
    leads = np.rint((times - generated.time[0]) / interval).astype(np.int64) + 1
    truth = reference.density
    parts: dict[str, list[NDArray[np.float64]]] = {}
    done = 0
    for frames, values in batches(generated.isel(ours), progress, "generated"):
        true_values = np.asarray(truth.isel(time=theirs[frames]).data)
        for name, found in score(values, true_values, leads[frames]).items():
            parts.setdefault(name, []).append(found)
        done = frames.stop
    assert done == len(ours)
    joined = {name: np.concatenate(found, axis=-1) for name, found in parts.items()}
    return joined | {"time": times, "lead": leads * interval}


def _context(generated: DensityTrajectory, reference: DensityTrajectory) -> NDArray[np.float32] | None:
    """The three true frames before the rollout's first, (3, a, b, c), if the reference has them."""
    interval = common_interval(generated, reference)
    wanted = generated.time[0] - interval * np.array([3.0, 2.0, 1.0])
    found, context = matching_frames(wanted, reference.time, interval)
    return np.asarray(reference.density.isel(time=context).data) if len(found) == len(wanted) else None


def _extrapolations(context: NDArray[np.float32] | None, leads: NDArray[np.int64]) -> dict[str, Any]:
    """Name -> (frame, a, b, c) extrapolated from the context; nothing without it."""
    if context is None:
        return {}
    return {
        name: np.stack([extrapolate(context, degree, int(lead)) for lead in leads])
        for name, degree in BASELINES.items()
    }


def steps(traj: TrajectoryLike) -> xr.DataArray:
    """How far the density moves from one frame to the next.

    Returns
    -------
    ([sample,] time): mean abs(rho(t) - rho(t - dt)) / mean density in per cent, from the second frame on.

    Raises
    ------
    MissingDataError
        With fewer than two frames or uneven intervals.
    """
    traj = as_trajectory(traj)
    even_interval(traj)
    mean = mean_density(traj)
    previous: NDArray[np.float32] | None = None
    parts = []
    for _, values in batches(traj):
        joined = values if previous is None else np.concatenate([previous, values], axis=1)
        parts.append(_error(joined[:, 1:], joined[:, :-1], mean))
        previous = values[:, -1:]
    result = xr.DataArray(
        np.concatenate(parts, axis=1),
        dims=("sample", "time"),
        coords={"time": ("time", traj.time[1:], {"units": "fs"})},
        name="step",
        attrs=_PERCENT,
    )
    return as_given(result, traj)


def baselines(
    reference: TrajectoryLike, leads: Sequence[int] = tuple(range(1, 11)), progress: Any = None
) -> xr.Dataset:
    """Errors of persistence, linear and quadratic extrapolation within a trajectory.

    Parameters
    ----------
    reference
        The true frames.
    leads
        How many frames ahead.

    Returns
    -------
    Dataset with `persistence`, `linear`, `quadratic` (lead_time, time) in per cent: `lead_time` in fs, `time` that of
    the frame predicted. Not a number where the trajectory lacks the three frames that the quadratic one needs, for
    all three, so that they are always compared on the same frames.

    Raises
    ------
    MissingDataError
        If no frame can be predicted, or the reference is an ensemble.
    """
    reference = as_trajectory(reference)
    check_single(reference, "the reference of a forecast")
    interval = even_interval(reference)
    mean = mean_density(reference)
    leads = sorted(set(leads))
    needed = max(BASELINES.values()) + 1
    if not leads or leads[0] < 1 or len(reference) < needed + leads[0]:
        raise MissingDataError(
            f"extrapolating {leads[0] if leads else 0} frames ahead from three needs {needed + 1} frames or more; "
            f"there are {len(reference)}"
        )
    errors = {name: np.full((len(leads), len(reference)), np.nan) for name in BASELINES}
    found = map_segments(
        _segment_errors,
        reference,
        cut_segments(reference),
        leads,
        mean,
        before=leads[-1] + needed - 1,
        progress=progress,
        where="reference",
    )
    for segment, part in found:
        for name, values in part.items():
            errors[name][:, segment.frames] = values
    return xr.Dataset(
        {name: (("lead_time", "time"), values, _PERCENT) for name, values in errors.items()},
        coords={
            "lead_time": ("lead_time", interval * np.array(leads), {"units": "fs"}),
            "time": ("time", reference.time, {"units": "fs"}),
        },
    )


def _segment_errors(frames: SegmentFrames, leads: Sequence[int], mean: float) -> dict[str, NDArray[np.float64]]:
    """Errors of the extrapolations to the frames of one segment, name -> (lead, frame); see `baselines`."""
    needed = max(BASELINES.values()) + 1
    begin = frames.segment.start
    errors = {name: np.full((len(leads), len(frames.segment)), np.nan) for name in BASELINES}
    window, stop = frames.history, begin
    for values in frames.batches():
        window = np.concatenate([window, values])[-(len(values) + leads[-1] + needed - 1) :]
        start_of_batch, stop = stop, stop + len(values)
        first = stop - len(window)  # number of the window's first frame
        for row, lead in enumerate(leads):
            start = max(start_of_batch, lead + needed - 1)
            if start >= stop:
                continue
            targets = np.arange(start, stop) - first
            context = np.stack([window[targets - lead - back] for back in (2, 1, 0)])
            for name, degree in BASELINES.items():
                predicted = extrapolate(context, degree, lead)
                errors[name][row, start - begin : stop - begin] = _error(predicted, window[targets], mean)
    return errors


def lead_times(generated: TrajectoryLike, reference: TrajectoryLike, progress: Any = None) -> xr.Dataset:
    """Error of a rollout against the true continuation of its context, beside extrapolation from the same frames.

    The rollout's first frame is one interval after the last context frame (the clock of `DensityEmulator.rollout`).

    Parameters
    ----------
    generated
        The rollout, an ensemble or not.
    reference
        The true trajectory. If it holds the three frames before the rollout's first, the extrapolations start from
        them.

    Returns
    -------
    Dataset over `lead_time` (fs), in per cent: `nmae` (of a single sample, mean over samples), `nmae_ensemble_mean`,
    `persistence`, `linear`, `quadratic` (not a number if the reference lacks their frames). Coordinate `time`.

    Raises
    ------
    GridMismatchError
        If the two do not share cell, grid, kind and frame interval.
    MissingDataError
        If they share no time.
    """
    generated, reference = as_trajectory(generated), as_trajectory(reference)
    check_comparable(generated, reference, "generated")
    check_single(reference, "the reference of a forecast")
    mean = mean_density(reference)
    context = _context(generated, reference)

    def score(values: NDArray[Any], truth: NDArray[Any], leads: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        unknown = np.full(len(leads), np.nan)
        extrapolated = {name: _error(v, truth, mean) for name, v in _extrapolations(context, leads).items()}
        return {
            "nmae": _error(values, truth, mean).mean(axis=0),
            "nmae_ensemble_mean": _error(values.mean(axis=0), truth, mean),
            **{name: extrapolated.get(name, unknown) for name in BASELINES},
        }

    found = _scored(generated, reference, score, progress)
    lead, times = found.pop("lead"), found.pop("time")
    return xr.Dataset(
        {name: ("lead_time", values, _PERCENT) for name, values in found.items()},
        coords={"lead_time": ("lead_time", lead, {"units": "fs"}), "time": ("lead_time", times, {"units": "fs"})},
    )


def one_step(
    forecast: TrajectoryLike, reconstruction: TrajectoryLike, reference: TrajectoryLike, progress: Any = None
) -> xr.Dataset:
    """Errors of teacher-forced forecasts, each one frame ahead of true context, frame by frame.

    Parameters
    ----------
    forecast
        `DensityEmulator.predict_next` of the reference, with or without samples.
    reconstruction
        `DensityEmulator.reconstruct` of the reference: D(E(rho)).
    reference
        The true frames.

    Returns
    -------
    Dataset over `time`, in per cent: `ensemble_mean` and `single` (mean over samples) against the true frames,
    `against_reconstruction` (the ensemble mean against D(E(rho))), `autoencoder` (D(E(rho)) against the true frames),
    and `persistence`, `linear`, `quadratic` at the same frames. Only times at which all of them exist. The attribute
    `samples` says of how many forecasts the mean is.

    Raises
    ------
    MissingDataError
        If no time is left.
    """
    forecast, reconstruction = as_trajectory(forecast), as_trajectory(reconstruction)
    reference = as_trajectory(reference)
    extrapolated = baselines(reference, (1,), progress).isel(lead_time=0, drop=True).dropna("time")
    interval = even_interval(reference)
    times = extrapolated["time"].values
    for other in (forecast.time, reconstruction.time):
        times = times[matching_frames(times, other, interval)[0]]
    if not len(times):
        raise MissingDataError("the forecasts share no time with the reference's frames from the fourth on")
    numbers = [matching_frames(times, t, interval)[1] for t in (forecast.time, reconstruction.time, reference.time)]
    mean = mean_density(reference)
    errors = {
        name: np.empty(len(times)) for name in ("ensemble_mean", "single", "against_reconstruction", "autoencoder")
    }
    predicted = with_sample_axis(forecast.density)
    decoded = reconstruction.density.isel(time=numbers[1]).data
    for frames, truth in batches(reference.isel(numbers[2]), progress, "reference"):
        values = np.asarray(predicted.isel(time=numbers[0][frames]).data)
        centre = values.mean(axis=0)
        rebuilt = np.asarray(decoded[frames])
        errors["ensemble_mean"][frames] = _error(centre, truth[0], mean)
        errors["single"][frames] = _error(values, truth[0], mean).mean(axis=0)
        errors["against_reconstruction"][frames] = _error(centre, rebuilt, mean)
        errors["autoencoder"][frames] = _error(rebuilt, truth[0], mean)
    ds = extrapolated.sel(time=times, method="nearest", tolerance=TIME_TOLERANCE * interval).assign_coords(time=times)
    ds = ds.assign({name: ("time", values, _PERCENT) for name, values in errors.items()})
    return ds.assign_attrs(samples=predicted.sizes["sample"])


def _deterministic(
    forecast: NDArray[Any], truth: NDArray[Any], normal: NDArray[Any] | float, mean: float
) -> dict[str, NDArray[np.float64]]:
    """nmae, vrmse and acc of one forecast, (..., frame, a, b, c) to (..., frame)."""
    return {
        "nmae": _error(forecast, truth, mean),
        "vrmse": scores.vrmse(forecast, truth),
        "acc": scores.anomaly_correlation(forecast, truth, normal),
    }


@dataclass(frozen=True)
class _Climate:
    """The climatological mean field, and frames of the training data as an ensemble."""

    normal: NDArray[np.float32] | float
    frames: NDArray[np.float32] | None = None
    half_distance: NDArray[np.float64] | float = np.nan

    def crps(self, truth: NDArray[Any]) -> NDArray[np.float64]:
        """Of the frames against (frame, a, b, c), mean over the grid; not a number without them."""
        if self.frames is None:
            return np.full(len(truth), np.nan)
        found = [scores.mean_over_grid(scores.crps(self.frames, frame, self.half_distance)) for frame in truth]
        return np.array(found)


def _climate(
    forecasts: Sequence[DensityTrajectory],
    reference: DensityTrajectory,
    training: TrajectoryLike | None,
    climatology: str,
) -> _Climate:
    """What the training data say about times at which none of the forecasts is."""
    if climatology not in ("uniform", "field"):
        raise ArgumentError(f"climatology must be 'uniform' or 'field'; got {climatology!r}")
    if training is None:
        if climatology == "field":
            raise MissingDataError("the mean field of a crystal is that of the training data: pass training=")
        return _Climate(mean_density(reference))
    training = as_trajectory(training)
    if training.is_ensemble:
        raise MissingDataError("training data are one trajectory: take a sample, training.sample(0)")
    check_comparable(training[:1], reference, "training")  # its frame interval does not matter
    # Frames of these times, or that remember them, would tell the climatology what it must not know.
    first, last = min(f.time[0] for f in forecasts), max(f.time[-1] for f in forecasts)
    outside = np.flatnonzero((training.time < first - BLOCK_FS) | (training.time > last + BLOCK_FS))
    if len(outside) < 2:
        raise MissingDataError(
            f"the training data hold {len(outside)} frames that are more than {BLOCK_FS:g} fs away from the forecast "
            f"({first:g} to {last:g} fs): climatology needs two or more. If they are of another run, shift their time."
        )
    # Frames that remember each other would be an ensemble narrower than it claims to be.
    span = float(training.time[outside[-1]] - training.time[outside[0]])
    n = min(max(2, int(span / BLOCK_FS) + 1), N_CLIMATOLOGY, len(outside))
    chosen = outside[np.linspace(0, len(outside) - 1, n).round().astype(int)]
    ensemble = np.asarray(training.density.isel(time=chosen).data)
    half_distance = scores.half_pair_distance(ensemble)
    if climatology == "uniform":
        return _Climate(mean_density(reference), ensemble, half_distance)
    total = np.zeros(reference.grid.shape)
    for _, values in batches(training.isel(outside), where="training"):
        total += values[0].sum(axis=0, dtype=np.float64)
    return _Climate((total / len(outside)).astype(np.float32), ensemble, half_distance)


def forecast_skill(
    generated: TrajectoryLike,
    reference: TrajectoryLike,
    training: TrajectoryLike | None = None,
    climatology: str = "uniform",
    progress: Any = None,
) -> xr.Dataset:
    """Skill of a rollout per lead time, beside extrapolation from the same frames and climatology.

    The rollout's first frame is one interval after the last context frame (the clock of `DensityEmulator.rollout`).

    Parameters
    ----------
    generated
        The rollout, an ensemble or not.
    reference
        The true trajectory. If it holds the three frames before the rollout's first, the extrapolations start from
        them; else they are not a number.
    training
        Data that the climatology may know. At most 16 of its frames, 200 fs apart or more, are the climatological
        ensemble; frames at times of the rollout, or within 200 fs of it, are left out. Without it the climatology has
        no CRPS.
    climatology
        The mean field. "uniform": N_e / V, which it is exactly in a homogeneous liquid (a mean over a few
        picoseconds still remembers where its atoms were). "field": the training data's mean over time, for crystals.
    progress
        A tqdm bar that counts frames.

    Returns
    -------
    Dataset over `lead_time` (fs; coordinate `time`, fs) with

    - over `forecast` as well: `nmae` (mean abs error over the mean density, %), `vrmse` (root mean squared error over
      the standard deviation of the true frame; a uniform density scores 1), `acc` (anomaly correlation < f' o' > /
      sqrt(< f'^2 > < o'^2 >), anomalies from the mean field, averages over the grid; 0 for a forecast without any),
      `crps` (fair, mean over the grid, over the mean density, %; for one field the same as nmae);
    - `spread` (root of the members' mean variance, M - 1 in its denominator) and `skill` (root mean squared error of
      the ensemble mean), over the mean density, %, and `spread_skill_ratio` = sqrt((M + 1) / M) spread / skill: 1 if
      truth and members are draws from one distribution, below it if the ensemble is too sure. Not a number for one
      sample, but for `skill`.

    The forecast "rollout" is the mean over samples, except for its crps, that of the ensemble; "member" is the mean of
    the scores of single samples; then "persistence", "linear", "quadratic" and "climatology". `edviz.analysis.scores`
    has the sources.

    Raises
    ------
    SchemaError
        If the field is not an electron density.
    GridMismatchError
        If the trajectories do not share cell, grid and kind, or rollout and reference the frame interval.
    MissingDataError
        If rollout and reference share no time, the reference is an ensemble, or the training data are too few.
    ArgumentError
        If `climatology` is unknown.
    """
    generated, reference = as_trajectory(generated), as_trajectory(reference)
    mean_density(reference)  # an electron density, in a fixed cell
    check_comparable(generated, reference, "generated")
    check_single(reference, "the reference of a forecast")
    return _skill(generated, reference, _climate([generated], reference, training, climatology), progress)


def _skill(generated: DensityTrajectory, reference: DensityTrajectory, climate: _Climate, progress: Any) -> xr.Dataset:
    mean = mean_density(reference)
    normal = climate.normal
    context = _context(generated, reference)
    n_samples = generated.n_samples
    percent = 100 / mean

    def score(values: NDArray[Any], truth: NDArray[Any], leads: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        centre = values.mean(axis=0)
        each = _deterministic(values, truth, normal, mean)
        found = {
            "rollout": _deterministic(centre, truth, normal, mean),
            "member": {name: own.mean(axis=0) for name, own in each.items()},
            "climatology": _deterministic(np.broadcast_to(normal, truth.shape), truth, normal, mean),
        }
        for name, field in _extrapolations(context, leads).items():
            found[name] = _deterministic(field, truth, normal, mean)
        for own in found.values():
            own["crps"] = own["nmae"]
        found["rollout"]["crps"] = scores.mean_over_grid(scores.crps(values, truth)) * percent
        found["climatology"]["crps"] = climate.crps(truth) * percent
        unknown = np.full(len(leads), np.nan)
        result = {
            quantity: np.stack([found.get(name, {}).get(quantity, unknown) for name in FORECASTS])
            for quantity in _SCORES
        }
        result["skill"] = scores.rmse(centre, truth) * percent
        result["spread"] = scores.spread(values) * percent
        return result

    found = _scored(generated, reference, score, progress)
    return _skill_dataset(found, found["lead"], n_samples).assign_coords(
        time=("lead_time", found["time"], {"units": "fs"})
    )


_SCORES = {"nmae": _PERCENT, "vrmse": _NUMBER, "acc": _NUMBER, "crps": _PERCENT}


def _ratio(spread: NDArray[np.float64], skill: NDArray[np.float64], n_samples: int) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt((n_samples + 1) / n_samples) * spread / skill


def _skill_dataset(
    found: Mapping[str, NDArray[np.float64]], leads: NDArray[np.float64], n_samples: int, suffix: str = ""
) -> xr.Dataset:
    variables: dict[str, Any] = {
        name + suffix: (("forecast", "lead_time"), found[name], attrs) for name, attrs in _SCORES.items()
    }
    for name in ("spread", "skill"):
        variables[name + suffix] = ("lead_time", found[name], _PERCENT)
    ratio = found["ratio"] if "ratio" in found else _ratio(found["spread"], found["skill"], n_samples)
    variables["spread_skill_ratio" + suffix] = ("lead_time", ratio, _NUMBER)
    return xr.Dataset(
        variables,
        coords={"forecast": list(FORECASTS), "lead_time": ("lead_time", leads, {"units": "fs"})},
        attrs={"n_samples": n_samples},
    )


def forecast_skill_over_starts(
    forecasts: Sequence[TrajectoryLike],
    reference: TrajectoryLike,
    training: TrajectoryLike | None = None,
    climatology: str = "uniform",
    seed: int = 0,
    progress: Any = None,
) -> xr.Dataset:
    """Skill per lead time averaged over rollouts that were begun at different times, with 95 % intervals.

    Parameters
    ----------
    forecasts
        Rollouts, each with its own clock, all with the same number of samples.
    reference, training, climatology, progress
        See `forecast_skill`. All share one climatology, which leaves out the training data from the first start to the
        last end.
    seed
        Of the bootstrap.

    Returns
    -------
    The Dataset of `forecast_skill` over the lead times that all rollouts have, with `<name>_low` and `<name>_high`
    beside each variable. Scores are means over starts; `spread` and `skill` are root mean squares and
    `spread_skill_ratio` is made of them. Intervals: starts are resampled in blocks of neighbours that span 200 fs
    (starts closer than that see the same liquid); not a number with fewer than three blocks. The attribute
    `starts_per_block` says how many starts that is, `n_starts` how many there are.

    Raises
    ------
    MissingDataError
        Without forecasts, if they have no lead time in common, differ in their number of samples, start twice at the
        same time, or if the reference holds the context of some of them only.
    SchemaError, GridMismatchError, ArgumentError
        See `forecast_skill`.
    """
    if not len(forecasts):
        raise MissingDataError("an average over starts needs at least one forecast")
    trajectories = sorted((as_trajectory(f) for f in forecasts), key=lambda f: f.time[0])
    sizes = sorted({f.n_samples for f in trajectories})
    if len(sizes) > 1:
        raise MissingDataError(f"the forecasts have {' and '.join(map(str, sizes))} samples: give all the same number")
    starts = np.array([f.time[0] for f in trajectories])
    if len(starts) > 1 and (np.diff(starts) <= 0).any():
        where = int(np.argmax(np.diff(starts) <= 0))
        raise MissingDataError(
            f"two forecasts start at {starts[where]:g} fs: put samples of one start into one ensemble, not beside each "
            "other"
        )
    reference = as_trajectory(reference)
    mean_density(reference)  # an electron density, in a fixed cell
    check_single(reference, "the reference of a forecast")
    for one in trajectories:
        check_comparable(one, reference, "generated")
    climate = _climate(trajectories, reference, training, climatology)
    each = [_skill(one, reference, climate, progress) for one in trajectories]
    known = np.array([bool(np.isfinite(one["nmae"].sel(forecast="persistence")).all()) for one in each])
    if known.any() and not known.all():
        bad = starts[~known][0]
        raise MissingDataError(
            f"the reference lacks the three frames before the forecast that starts at {bad:g} fs: leave that one "
            "out, or give a longer reference, so that all are averaged over the same frames"
        )
    leads = each[0]["lead_time"].values
    interval = common_interval(trajectories[0], reference)
    for skill in each[1:]:
        leads = leads[matching_frames(leads, skill["lead_time"].values, interval)[0]]
    if not len(leads):
        raise MissingDataError("the forecasts have no lead time in common with the reference and each other")
    rows = [one.isel(lead_time=matching_frames(leads, one["lead_time"].values, interval)[1]) for one in each]
    values = {name: np.stack([one[name].values for one in rows]) for name in (*_SCORES, "spread", "skill")}
    n_block = 1
    if len(starts) > 1:
        n_block = max(1, int(np.ceil(BLOCK_FS / np.median(np.diff(starts)) - 1e-6)))
    result = _skill_dataset(_pooled(values, None, sizes[0]), leads, sizes[0])
    shares = _block_shares(len(starts), n_block, seed)
    for suffix, quantile in (("_low", (1 - CONFIDENCE) / 2), ("_high", (1 + CONFIDENCE) / 2)):
        bounds = {name: np.full_like(v, np.nan) for name, v in _pooled(values, None, sizes[0]).items()}
        if shares is not None:
            bounds = {name: np.quantile(v, quantile, axis=0) for name, v in _pooled(values, shares, sizes[0]).items()}
        result = result.merge(_skill_dataset(bounds, leads, sizes[0], suffix))
    result.attrs = {"n_samples": sizes[0], "n_starts": len(starts), "starts_per_block": n_block}
    return result


def _pooled(
    values: Mapping[str, NDArray[np.float64]], shares: NDArray[np.float64] | None, n_samples: int
) -> dict[str, NDArray[np.float64]]:
    """Averages over starts (the first axis), once, or with the share of each start in (resample, start)."""
    if shares is None:
        return {name: found[0] for name, found in _pooled(values, _equal(values), n_samples).items()}
    result = {}
    for name, found in values.items():
        power = 2 if name in ("spread", "skill") else 1
        result[name] = np.tensordot(shares, found**power, 1) ** (1 / power)
    result["ratio"] = _ratio(result["spread"], result["skill"], n_samples)
    return result


def _equal(values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    n = len(values["nmae"])
    return np.full((1, n), 1 / n)


def _block_shares(n: int, n_block: int, seed: int) -> NDArray[np.float64] | None:
    """(resample, start) the share that each start has in a moving-block resample; nothing below three blocks."""
    if n < 3 * n_block:
        return None
    rng = np.random.default_rng(seed)
    # Blocks run around the end, so that every start is drawn as often as any other.
    first = rng.integers(n, size=(N_RESAMPLES, int(np.ceil(n / n_block))))
    chosen = ((first[..., None] + np.arange(n_block)) % n).reshape(N_RESAMPLES, -1)[:, :n]
    shares = np.zeros((N_RESAMPLES, n))
    np.add.at(shares, (np.arange(N_RESAMPLES)[:, None], chosen), 1 / n)
    return shares


def beats_climatology_until(skill: xr.Dataset) -> float:
    """Last lead time, in fs, up to which the ensemble mean is closer to the truth than the climatological mean field.

    Parameters
    ----------
    skill
        From `forecast_skill` or `forecast_skill_over_starts`.

    Returns
    -------
    The lead time before the first at which the rollout's nmae is no longer below climatology's (later returns below it
    do not count), the last one if that never happens, 0 if it is so from the first. A rollout that is known only from a
    later lead time on counts from there.
    """
    errors = skill["nmae"].transpose("forecast", "lead_time")
    # below by more than single precision: a collapsed, uniform rollout is as good as climatology, not better
    below = errors.sel(forecast="rollout").values < errors.sel(forecast="climatology").values * (1 - 1e-5)
    n = len(below) if below.all() else int(np.argmin(below))
    return float(skill["lead_time"].values[n - 1]) if n else 0.0

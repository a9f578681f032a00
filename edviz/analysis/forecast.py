"""How well frames are predicted: the error of a forecast beside what extrapolation from the last frames gives.

A liquid's frames cannot be predicted for long. Persistence (nothing moves), linear and quadratic extrapolation in
time, point by point, are the yardsticks that a forecast must beat; they are exact on fields that are polynomials of
degree 0, 1 and 2 in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from edviz.analysis.frames import (
    TIME_TOLERANCE,
    TrajectoryLike,
    as_trajectory,
    batches,
    check_comparable,
    even_interval,
    matching_frames,
    mean_density,
    with_sample_axis,
)
from edviz.errors import MissingDataError
from edviz.trajectory import DensityTrajectory

__all__ = ["BASELINES", "baselines", "extrapolate", "lead_times", "nmae", "one_step", "steps"]

#: Name of the extrapolation -> degree of the polynomial; it needs degree + 1 frames.
BASELINES = {"persistence": 0, "linear": 1, "quadratic": 2}

_PERCENT = {"units": "%"}


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
    error, _ = _aligned_errors(generated, reference)
    return error if generated.is_ensemble else error.isel(sample=0)


def _interval(generated: DensityTrajectory, reference: DensityTrajectory) -> float:
    """The frame interval of whichever has one; 1 fs if both are single frames."""
    return even_interval(reference) if len(reference) > 1 else even_interval(generated) if len(generated) > 1 else 1.0


def _aligned_errors(
    generated: DensityTrajectory, reference: DensityTrajectory, progress: Any = None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Errors (sample, time) of each sample and (time,) of the mean over samples, at the shared times."""
    _single(reference)
    ours, theirs = matching_frames(generated.time, reference.time, _interval(generated, reference))
    if not len(ours):
        raise MissingDataError(
            f"the generated frames ({generated.time[0]:g} to {generated.time[-1]:g} fs) and the reference's "
            f"({reference.time[0]:g} to {reference.time[-1]:g} fs) share no time: forecasts align on `time`"
        )
    mean = mean_density(reference)
    truth = reference.density
    each = np.empty((generated.n_samples, len(ours)))
    together = np.empty(len(ours))
    done = 0
    for frames, values in batches(generated.isel(ours), progress, "generated"):
        true_values = np.asarray(truth.isel(time=theirs[frames]).data)
        each[:, frames] = _error(values, true_values, mean)
        together[frames] = _error(values.mean(axis=0), true_values, mean)
        done = frames.stop
    assert done == len(ours)
    time = {"time": generated.time[ours]}
    return (
        xr.DataArray(each, dims=("sample", "time"), coords=time, name="nmae", attrs=_PERCENT),
        xr.DataArray(together, dims="time", coords=time, name="nmae", attrs=_PERCENT),
    )


def _single(reference: DensityTrajectory) -> None:
    if reference.is_ensemble:
        raise MissingDataError("the reference of a forecast is one trajectory: take a sample, reference.sample(0)")


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
        coords={"time": traj.time[1:]},
        name="step",
        attrs=_PERCENT,
    )
    return result if traj.is_ensemble else result.isel(sample=0)


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
    _single(reference)
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
    window = np.empty((0, *reference.grid.shape), dtype=np.float32)
    for frames, values in batches(reference, progress, "reference"):
        window = np.concatenate([window[-(leads[-1] + needed - 1) :], values[0]])
        first = frames.stop - len(window)  # number of the window's first frame
        for row, lead in enumerate(leads):
            start = max(frames.start, lead + needed - 1)
            if start >= frames.stop:
                continue
            targets = np.arange(start, frames.stop) - first
            context = np.stack([window[targets - lead - back] for back in (2, 1, 0)])
            for name, degree in BASELINES.items():
                predicted = extrapolate(context, degree, lead)
                errors[name][row, start : frames.stop] = _error(predicted, window[targets], mean)
    return xr.Dataset(
        {name: (("lead_time", "time"), values, _PERCENT) for name, values in errors.items()},
        coords={"lead_time": ("lead_time", interval * np.array(leads), {"units": "fs"}), "time": reference.time},
    )


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
    each, together = _aligned_errors(generated, reference, progress)
    interval = _interval(generated, reference)
    times = each["time"].values
    lead = times - generated.time[0] + interval
    extrapolated = {name: np.full(len(times), np.nan) for name in BASELINES}
    origin = generated.time[0] - interval
    wanted = origin - interval * np.array([2.0, 1.0, 0.0])
    found, context = matching_frames(wanted, reference.time, interval)
    if len(found) == len(wanted):
        mean = mean_density(reference)
        last = np.asarray(reference.density.isel(time=context).data)
        _, where = matching_frames(times, reference.time, interval)
        for row, (index, fs) in enumerate(zip(where, lead, strict=True)):
            truth = np.asarray(reference.density.isel(time=int(index)).data)
            for name, degree in BASELINES.items():
                extrapolated[name][row] = _error(extrapolate(last, degree, round(fs / interval)), truth, mean)
    return xr.Dataset(
        {
            "nmae": ("lead_time", each.mean("sample").values, _PERCENT),
            "nmae_ensemble_mean": ("lead_time", together.values, _PERCENT),
            **{name: ("lead_time", values, _PERCENT) for name, values in extrapolated.items()},
        },
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
    and `persistence`, `linear`, `quadratic` at the same frames. Only times at which all of them exist.

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
    return ds.assign({name: ("time", values, _PERCENT) for name, values in errors.items()})

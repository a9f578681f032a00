"""What every measurement shares: reach a trajectory, check it, walk over its frames a batch at a time.

A trajectory may be larger than memory, so nothing here or above holds more than one batch of its frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from edviz.errors import GridMismatchError, MissingDataError, SchemaError
from edviz.schema import ELECTRON_KINDS, check_finite
from edviz.trajectory import DensityTrajectory

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = [
    "TrajectoryLike",
    "as_given",
    "as_trajectory",
    "batches",
    "check_comparable",
    "check_kind",
    "check_single",
    "common_interval",
    "even_interval",
    "matching_frames",
    "mean_density",
    "with_sample_axis",
]

TrajectoryLike = DensityTrajectory | xr.Dataset
Result = TypeVar("Result", xr.DataArray, xr.Dataset)

BATCH_BYTES = 4 << 20  # a batch and its temporaries then stay near the processor: larger ones are slower

TIME_TOLERANCE = 1e-3  # of the frame interval: two times that differ by less are the same frame


def as_trajectory(data: TrajectoryLike) -> DensityTrajectory:
    """The trajectory itself, or the one that wraps the dataset."""
    return DensityTrajectory(data) if isinstance(data, xr.Dataset) else data


def as_given(result: Result, traj: DensityTrajectory) -> Result:
    """The result without its dimension `sample` if the trajectory has none."""
    return result if traj.is_ensemble else result.isel(sample=0)  # type: ignore[return-value]


def check_single(traj: DensityTrajectory, what: str) -> None:
    """Raise `MissingDataError` for an ensemble where there has to be one trajectory, such as "the reference"."""
    if traj.is_ensemble:
        raise MissingDataError(f"{what} must be one trajectory: take a sample, traj.sample(0)")


def check_kind(traj: DensityTrajectory, kinds: Iterable[str], what: str) -> None:
    """Raise `SchemaError` for a field of another kind; `what` asks for the kinds, such as "atoms are found in"."""
    if traj.density_kind not in kinds:
        raise SchemaError(f"{what} electron densities ({', '.join(kinds)}); the field is of kind '{traj.density_kind}'")


def mean_density(traj: DensityTrajectory) -> float:
    """Electrons per volume, e/angstrom^3: what every relative error is relative to.

    Raises
    ------
    SchemaError
        If the field is not an electron density.
    """
    check_kind(traj, ELECTRON_KINDS, "this measurement is for")
    return traj.n_electrons / traj.grid.volume


def with_sample_axis(density: xr.DataArray) -> xr.DataArray:
    """(sample, time, a, b, c), with one sample if there was no such axis."""
    return density if "sample" in density.dims else density.expand_dims("sample")


def batches(
    traj: DensityTrajectory, progress: tqdm[Any] | None = None, where: str = ""
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Walk over the frames.

    Yields
    ------
    The frames' numbers as a slice, and their values (sample, frame, a, b, c), about four megabytes at a time.

    Raises
    ------
    NonFiniteError
        At the first NaN or infinity, naming the frame.
    """
    density = with_sample_axis(traj.density)
    n_samples, n_frames = density.shape[:2]
    # At least two frames, so that a file whose chunk holds one frame is read by two threads at once.
    size = max(2, BATCH_BYTES // (4 * n_samples * int(np.prod(density.shape[2:]))))
    for start in range(0, n_frames, size):
        frames = slice(start, min(start + size, n_frames))
        values = np.asarray(density.data[:, frames])
        check_finite(values, "density", where, first_frame=start, time_axis=1)
        yield frames, values
        if progress is not None:
            progress.update(values.shape[0] * values.shape[1])


def even_interval(traj: DensityTrajectory) -> float:
    """Time between frames, fs.

    Raises
    ------
    MissingDataError
        If there are fewer than two frames, or some are missing: steps and lead times would mean different things.
    """
    interval = traj.frame_interval
    steps = np.diff(traj.time)
    uneven = np.abs(steps - interval) > 10 * TIME_TOLERANCE * interval
    if uneven.any():
        frame = int(np.argmax(uneven))
        raise MissingDataError(
            f"the frames are not evenly spaced: frame {frame + 1} comes {steps[frame]:g} fs after frame {frame}, "
            f"others {interval:g} fs. Take an even stretch, traj.sel(time=slice(start, end)), or a stride, traj[::n]."
        )
    return interval


def common_interval(traj: DensityTrajectory, other: DensityTrajectory) -> float:
    """Time between frames of whichever has more than one, fs; 1 fs if both are single frames."""
    return even_interval(other) if len(other) > 1 else even_interval(traj) if len(traj) > 1 else 1.0


def check_comparable(traj: DensityTrajectory, reference: DensityTrajectory, name: str) -> None:
    """Two trajectories can only be compared on one grid, in one cell, of one kind, at one frame interval.

    Raises
    ------
    GridMismatchError
        Saying what differs and what to do about it.
    """
    if traj.density_kind != reference.density_kind:
        cure = "Add the core to the valence density with traj.with_core()."
        if {traj.density_kind, reference.density_kind} != {"valence", "total"}:
            cure = "Load both as the same kind."
        raise GridMismatchError(
            f"the {name} density is '{traj.density_kind}', the reference is '{reference.density_kind}'. {cure}"
        )
    if traj.grid.shape != reference.grid.shape:
        raise GridMismatchError(
            f"the {name} density has {traj.grid.shape} points, the reference {reference.grid.shape}. Bring one "
            f"to the other's grid with resample_grid({reference.grid.shape})."
        )
    if not traj.grid.matches(reference.grid):
        raise GridMismatchError(
            f"the {name} cell differs from the reference's by up to "
            f"{np.abs(traj.grid.cell - reference.grid.cell).max():.4g} angstrom:\n{traj.grid.cell}\n"
            f"{reference.grid.cell}\nCompare trajectories of the same cell."
        )
    if abs(traj.n_electrons - reference.n_electrons) > 1e-4 * reference.n_electrons:
        raise GridMismatchError(
            f"the {name} trajectory says it has {traj.n_electrons:g} electrons, the reference "
            f"{reference.n_electrons:g} (attribute n_electrons). Compare trajectories of the same system."
        )
    if len(traj) > 1 and len(reference) > 1:
        ours, theirs = even_interval(traj), even_interval(reference)
        if abs(ours - theirs) > TIME_TOLERANCE * theirs:
            stride = max(ours, theirs) / min(ours, theirs)
            finer = name if ours < theirs else "reference"
            cure = (
                f"Take every {round(stride)}th frame of the {finer}: traj[::{round(stride)}]."
                if abs(stride - round(stride)) < 0.01
                else "Neither divides the other: generate at the reference's interval."
            )
            raise GridMismatchError(f"the {name} frames are {ours:g} fs apart, the reference's {theirs:g} fs. {cure}")


def matching_frames(
    times: NDArray[np.float64], others: NDArray[np.float64], interval: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers of the frames that two trajectories have at the same time.

    Parameters
    ----------
    times, others
        Increasing times in fs.
    interval
        Frame interval in fs; times closer than a thousandth of it count as equal.

    Returns
    -------
    Two arrays of the same length: positions in `times` and in `others`.
    """
    nearest = np.clip(np.searchsorted(others, times - interval / 2), 0, len(others) - 1)
    found = np.flatnonzero(np.abs(others[nearest] - times) <= TIME_TOLERANCE * interval)
    return found, nearest[found]

"""Statistics of a trajectory while it is made, in memory that does not grow with its length.

A rollout of 100,000 frames keeps one frame in a hundred; whether it lasted is asked of the frames between as well. They
are summed up in at most `MAX_BLOCKS` blocks of consecutive frames. When all are full, neighbours are put together and a
block is twice as long from then on: so what is kept depends on the frames seen and on nothing else, not on how long the
rollout was meant to be or how often it was stopped.

The question they answer is whether the last tenth is as the nine before it. If tenths are long against the memory of
the liquid (a tenth of a picosecond in lithium), their means are close to independent Gaussian numbers, and the
next one lies with probability `CONFIDENCE` in Student's prediction interval, mean +- t(n - 1) s sqrt(1 + 1/n) of the n
before (e.g. G. J. Hahn and W. Q. Meeker, Statistical Intervals, 1991); distances are compared by their logarithms. A
steady drift widens that interval as much as it moves the last tenth, so a line through the blocks is tested for a slope
as well: through the blocks, since ten points cannot tell noise from correlation (of ten independent numbers one series
in twenty looks too correlated for an interval, of 64 or more none of 1,000).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from edviz.analysis.correlation import K_MAX, Shells, relative_rmse
from edviz.analysis.divergence import jensen_shannon
from edviz.analysis.frames import TrajectoryLike, as_trajectory
from edviz.analysis.histogram import PERCENTILES, LogBins, bin_coordinates, log_moments, log_power_sums, safe_log
from edviz.analysis.slopes import fit_slope
from edviz.errors import GridMismatchError, MissingDataError
from edviz.grid import PeriodicGrid

__all__ = ["RunningStatistics", "running_statistics"]

MAX_BLOCKS = 128
CONFIDENCE = 0.99  # a row: six rows are then all passed by 94 of 100 stationary rollouts
ELECTRONS = 1e-5  # of n_electrons: what float32 keeps with room to spare

Stored = tuple[tuple[str, ...], NDArray[Any], dict[str, Any]]


class RunningStatistics:
    """Sums over blocks of consecutive frames of an ensemble.

    Parameters
    ----------
    grid
        Of the density.
    n_electrons
        What every frame integrates to.
    n_samples
        Samples a frame.
    log_range
        (low, high) of the histogram of log10(rho / (e/angstrom^3)); `log_range` of the first frames is a good choice.
    """

    def __init__(self, grid: PeriodicGrid, n_electrons: float, n_samples: int, log_range: tuple[float, float]) -> None:
        self.grid, self.n_electrons = grid, n_electrons
        self._bins = LogBins(*log_range)
        try:
            self._shells: Shells | None = Shells(grid, K_MAX)
        except GridMismatchError:  # too coarse a grid for a single shell
            self._shells = None
        n_shells = len(self._shells) if self._shells else 1
        #: Frames that a full block has.
        self.block_length = 1
        self._sums = {
            "frames": np.zeros(MAX_BLOCKS, np.int64),
            "minimum": np.full((n_samples, MAX_BLOCKS), np.inf),
            "charge_error": np.zeros((n_samples, MAX_BLOCKS)),
            "contrast": np.zeros((n_samples, MAX_BLOCKS)),
            "counts": np.zeros((MAX_BLOCKS, self._bins.n + 2), np.int64),
            "log_sums": np.zeros((MAX_BLOCKS, 3)),
            "structure_factor": np.zeros((MAX_BLOCKS, n_shells)),
        }

    @property
    def n_frames(self) -> int:
        """Frames seen."""
        return int(self._sums["frames"].sum())

    def update(self, values: NDArray[np.float32]) -> None:
        """Take the next frame of every sample, (sample, a, b, c), e/angstrom^3, all finite."""
        block = self.n_frames // self.block_length
        if block == MAX_BLOCKS:
            self._merge()
            block = MAX_BLOCKS // 2
        flat = values.reshape(len(values), -1)
        logs = safe_log(flat)
        sums = self._sums
        electrons = flat.sum(axis=1, dtype=np.float64) * self.grid.voxel_volume
        error = np.abs(electrons - self.n_electrons)
        sums["frames"][block] += 1
        sums["minimum"][:, block] = np.minimum(sums["minimum"][:, block], flat.min(axis=1))
        sums["charge_error"][:, block] = np.maximum(sums["charge_error"][:, block], error)
        sums["contrast"][:, block] += flat.std(axis=1, dtype=np.float64) * self.grid.volume / self.n_electrons
        sums["counts"][block] += self._bins.count(logs).sum(axis=0)
        sums["log_sums"][block] += log_power_sums(logs).sum(axis=0)
        if self._shells:
            sums["structure_factor"][block] += self._shells.power(values).sum(axis=0) / self.n_electrons

    def _merge(self) -> None:
        """Put neighbouring blocks together."""
        for name, values in self._sums.items():
            axis = _DIMS[name].index("running_block")
            first, second = (np.moveaxis(values, axis, 0)[i::2] for i in (0, 1))
            merge = _EXTREMES.get(name, np.add)
            empty = np.full_like(first, np.inf if name == "minimum" else 0)
            self._sums[name] = np.ascontiguousarray(np.moveaxis(np.concatenate([merge(first, second), empty]), 0, axis))
        self.block_length *= 2

    def variables(self) -> dict[str, Stored]:
        """What it knows as variables of a dataset: name -> (dims, values, attributes). Their shapes never change."""
        n_samples = len(self._sums["minimum"])
        attrs: dict[str, float] = {"block_length": self.block_length, "n_samples": n_samples}
        attrs |= {"log_low": self._bins.low, "log_high": self._bins.high}
        stored: dict[str, Stored] = {
            f"running_{name}": (_DIMS[name], values.copy(), {}) for name, values in self._sums.items()
        }
        stored["running_frames"][2].update(attrs)
        centers = self._shells.centers if self._shells else np.zeros(1)
        stored["running_k"] = (("running_k",), centers, {"units": "1/angstrom"})
        return stored

    @classmethod
    def restored(
        cls, variables: Mapping[Any, xr.DataArray], grid: PeriodicGrid, n_electrons: float
    ) -> RunningStatistics:
        """Go on from `variables` of a dataset."""
        frames = variables["running_frames"]
        limits = float(frames.attrs["log_low"]), float(frames.attrs["log_high"])
        running = cls(grid, n_electrons, int(frames.attrs["n_samples"]), limits)
        running.block_length = int(frames.attrs["block_length"])
        for name in running._sums:
            running._sums[name] = np.array(variables[f"running_{name}"].values)
        return running


_DISTANCES = ("jsd", "structure_factor_error")
_OF_SAMPLES = ("minimum", "charge_error", "contrast")
_EXTREMES: dict[str, np.ufunc] = {"minimum": np.minimum, "charge_error": np.maximum}
_DIMS: dict[str, tuple[str, ...]] = {
    "frames": ("running_block",),
    "minimum": ("sample", "running_block"),
    "charge_error": ("sample", "running_block"),
    "contrast": ("sample", "running_block"),
    "counts": ("running_block", "running_bin"),
    "log_sums": ("running_block", "running_power"),
    "structure_factor": ("running_block", "running_k"),
}


def log_range(values: NDArray[np.float32]) -> tuple[float, float]:
    """Range for a histogram of frames like these: their outer percentiles of log10(rho), a tenth wider either way."""
    low, high = np.percentile(safe_log(values).astype(np.float64) / np.log(10), PERCENTILES)
    margin = 0.1 * (high - low) or 0.1
    return float(low - margin), float(high + margin)


def running_statistics(generated: TrajectoryLike) -> xr.Dataset:
    """Did a rollout last: its statistics in tenths, and whether the last is as the nine before.

    Parameters
    ----------
    generated
        From `DensityEmulator.rollout`, in memory or opened from its file: the whole of it, since the statistics cover
        every `stat_every`-th frame from the first to the last, kept or not. Slices carry those of the whole.

    Returns
    -------
    Dataset. Over `tenth` (all samples together): `frames` looked at, `minimum` (e/angstrom^3), `charge_error` (largest,
    electrons), `contrast` (standard deviation / mean), `log_mean`, `log_std`, `log_skewness` (of ln rho), `jsd` (bits,
    against the other tenths together), `structure_factor` (k) and `structure_factor_error` (relative RMSE over the
    shells against the other tenths together), `counts` (bin) of log10(rho); `contrast_sample` also over `sample`. Over
    `quantity`: `last` (the last tenth's value), `low` and `high` (where it should lie with 99 % probability, by the
    nine before; a distance has no lower limit), `same`; `drift` (change over the whole rollout, by a line through its
    64 to 128 blocks, fewer where fewer frames were looked at; not a number for distances) and `steady` (its 99 %
    interval holds zero). Scalars: `positive`, `electrons` (worst error at most 1e-5 of them), `lasted` (these two, and
    all that is the same and steady). A frame that is not finite ends a rollout with an error; so all frames here are.
    Tenths say something once they are long against the memory of the liquid: a few picoseconds for lithium.

    Raises
    ------
    MissingDataError
        If the trajectory has no running statistics, or looked at fewer than ten frames.
    """
    traj = as_trajectory(generated)
    ds = traj.ds
    if "running_frames" not in ds:
        raise MissingDataError(
            "the trajectory has no running statistics: DensityEmulator.rollout keeps them; edviz.evaluate measures any "
            "trajectory"
        )
    frames = ds["running_frames"].values
    used = int((frames > 0).sum())
    if used < 10:
        raise MissingDataError(
            f"statistics by tenths need ten frames looked at, this rollout has {int(frames.sum())}: make it longer, or "
            "look at more of its frames (stat_every)"
        )
    groups = np.array_split(np.arange(used), 10)

    def blocks(name: str) -> NDArray[Any]:
        """(block, ...)."""
        values: NDArray[Any] = ds[f"running_{name}"].values
        if "sample" in ds[f"running_{name}"].dims:
            values = np.moveaxis(values, -1, 0)
        elif name in _OF_SAMPLES:  # one sample was taken out of the ensemble
            values = values[:, None]
        return values[:used]

    def each(name: str, reduce: Any = np.sum) -> NDArray[Any]:
        """Reduced over the blocks of each tenth, (tenth, ...)."""
        values = blocks(name)
        return np.stack([reduce(values[group], axis=0) for group in groups])

    n = each("frames")
    counts, structure = each("counts"), each("structure_factor")
    contrast = each("contrast") / n[:, None]
    n_samples = int(ds["running_frames"].attrs["n_samples"])
    others = structure.sum(axis=0) - structure
    rest = n.sum() - n
    series = {
        **_levels(contrast, counts, each("log_sums")),
        "jsd": jensen_shannon(counts, counts.sum(axis=0) - counts),
        "structure_factor_error": np.array(
            [relative_rmse(s / m, o / r) for s, m, o, r in zip(structure, n, others, rest, strict=True)]
        ),
    }
    limits = [_limits(values[:-1], name in _DISTANCES) for name, values in series.items()]
    of_blocks = _levels(blocks("contrast") / blocks("frames")[:, None], blocks("counts"), blocks("log_sums"))
    slopes = {name: fit_slope(np.arange(used), values) for name, values in of_blocks.items()}
    steady = np.array([name not in slopes or slopes[name].may_be_zero(CONFIDENCE) for name in series])
    drift = np.array([used * slopes[name].value if name in slopes else np.nan for name in series])
    last = np.array([values[-1] for values in series.values()])
    low, high = np.array(limits).T
    same = (last >= low) & (last <= high) | np.isnan(last)  # a grid without a whole shell has no S(k) to compare
    minimum, error = each("minimum", np.min).min(axis=1), each("charge_error", np.max).max(axis=1)
    positive, electrons = bool(minimum.min() > 0), bool(error.max() <= ELECTRONS * traj.n_electrons)
    units = {"jsd": "bit", "minimum": "e/angstrom^3", "charge_error": "e"}
    tenths = {"frames": n, "minimum": minimum, "charge_error": error, **series}
    bins = LogBins(float(ds["running_frames"].attrs["log_low"]), float(ds["running_frames"].attrs["log_high"]))
    return xr.Dataset(
        {
            **{name: ("tenth", values, {"units": units.get(name, "1")}) for name, values in tenths.items()},
            "contrast_sample": (("tenth", "sample"), contrast),
            "structure_factor": (("tenth", "k"), structure / (n[:, None] * n_samples)),
            "counts": (("tenth", "bin"), counts),
            "last": ("quantity", last),
            "low": ("quantity", low),
            "high": ("quantity", high),
            "same": ("quantity", same),
            "drift": ("quantity", drift),
            "steady": ("quantity", steady),
            "positive": positive,
            "electrons": electrons,
            "lasted": positive and electrons and bool(same.all() and steady.all()),
        },
        coords={
            "tenth": np.arange(1, 11),
            "quantity": list(series),
            "k": ("k", ds["running_k"].values, {"units": "1/angstrom"}),
            **bin_coordinates(bins),
        },
    )


def _levels(
    contrast: NDArray[np.float64], counts: NDArray[Any], log_sums: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The quantities that are no distances, of tenths or of blocks: from (part, sample), (part, bin) and (part, 3)."""
    mean, std, skewness = log_moments(log_sums, counts.sum(axis=1)[:, None])
    return {"contrast": contrast.mean(axis=1), "log_mean": mean, "log_std": std, "log_skewness": skewness}


def _limits(before: NDArray[np.float64], distance: bool) -> tuple[float, float]:
    """Student's prediction interval for one more value like these."""
    n = len(before)
    values = np.log(before) if distance else before
    tail = 1 - CONFIDENCE if distance else (1 - CONFIDENCE) / 2
    half = float(stats.t.ppf(1 - tail, n - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / n))
    middle = float(values.mean())
    return (0.0, float(np.exp(middle + half))) if distance else (middle - half, middle + half)

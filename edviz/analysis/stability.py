"""Does a rollout last: contrast, motion and structure at every time, beside what AIMD itself does in the same windows.

A single frame of a liquid is not typical of it (the contrast of the bundled lithium, std / mean, varies by 5 % from
frame to frame), so "at every time" is asked of sliding windows, averaged over the samples, and AIMD is put through
the same windows.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from edviz.analysis.correlation import shell_ratios
from edviz.analysis.frames import TrajectoryLike
from edviz.analysis.rows import ROWS, WINDOW_FS, Evidence

__all__ = ["stability", "stability_of"]

N_DRAWS = 1000


def sliding_mean(series: NDArray[np.float64], n_window: int) -> NDArray[np.float64]:
    """Means of every stretch of `n_window` entries along the last axis, (..., n) to (..., n - n_window + 1)."""
    sums = np.cumsum(series, axis=-1)
    sums = np.concatenate([np.zeros((*series.shape[:-1], 1)), sums], axis=-1)
    return (sums[..., n_window:] - sums[..., :-n_window]) / n_window


def _largest(deviations: NDArray[np.float64]) -> float:
    """Largest size of those that are numbers; not a number if there is none."""
    known = np.abs(deviations[np.isfinite(deviations)])
    return float(known.max()) if known.size else np.nan


def stability(
    generated: TrajectoryLike,
    reference: TrajectoryLike,
    training: TrajectoryLike | None = None,
    window: float = WINDOW_FS,
    progress: bool = True,
) -> xr.Dataset:
    """Contrast, step, distribution and S(k) of a rollout against AIMD, at every time.

    Parameters
    ----------
    generated, reference, training
        As for `edviz.evaluate`.
    window
        Length of the sliding windows, fs; averages run over the window and all samples.
    progress
        Show a progress bar.

    Returns
    -------
    Dataset. Over `time` (the windows' middle, fs): `std_ratio`, `step_ratio` (std of rho and mean abs change from
    frame to frame, over the reference's), and over (sample, time) the same of each sample, `std_ratio_sample`,
    `step_ratio_sample`. Over `k`: `structure_factor_ratio` of the whole rollout. Scalars: `max_std_deviation`,
    `min_step_ratio`, `max_step_ratio`, `max_structure_factor_deviation`, `jsd_ratio` (jsd over its floor). AIMD's
    own: `aimd_std_scatter` (standard deviation of such window means), `aimd_max_std_deviation` (median, over draws,
    of the largest deviation in as many windows; `aimd_max_std_deviation_high` its 97.5 percentile),
    `aimd_min_step_ratio`, `aimd_max_step_ratio` (over all single windows of AIMD) and
    `aimd_max_structure_factor_deviation` (the largest over training blocks as long as the reference).

    Raises
    ------
    GridMismatchError, MissingDataError, NonFiniteError
        As `edviz.evaluate`.
    """
    from edviz.analysis.scorecard import gather

    return stability_of(gather(generated, reference, training, progress=progress, forecasts=False), window)


def stability_of(evidence: Evidence, window: float = WINDOW_FS) -> xr.Dataset:
    """`stability` from what `edviz.evaluate` has gathered."""
    generated = evidence.summaries["generated"]
    own = evidence.blocks["reference"].isel(block=0)
    n_window = max(1, round(window / evidence.interval))
    n_window = min(n_window, generated.sizes["time"])
    middle = sliding_mean(generated["time"].values.astype(np.float64), n_window)

    def ratios(summary: xr.Dataset, name: str) -> NDArray[np.float64]:
        series = summary[name].values / float(own[name])
        if name == "step":  # the first frame has no step: let it repeat the second
            series = np.concatenate([series[:, 1:2], series[:, 1:]], axis=1)
        return sliding_mean(series, min(n_window, series.shape[1]))

    std, step = ratios(generated, "contrast"), ratios(generated, "step")
    aimd_names = [name for name in ("reference", "training") if name in evidence.summaries]
    aimd_std = np.concatenate([ratios(evidence.summaries[name], "contrast")[0] for name in aimd_names])
    aimd_step = np.concatenate([ratios(evidence.summaries[name], "step")[0] for name in aimd_names])
    # As many windows as the rollout has, each the mean of n_samples windows of AIMD. Sliding windows overlap;
    # counting two for each window's length is what their correlation leaves.
    rng = np.random.default_rng(0)
    n_windows = max(1, 2 * generated.sizes["time"] // n_window)
    draws = rng.choice(aimd_std, size=(N_DRAWS, n_windows, generated.sizes["sample"])).mean(axis=-1)
    largest = np.abs(draws - 1).max(axis=1)

    reference_structure = own["structure_factor"].values
    structure = shell_ratios(generated["structure_factor"].mean(("sample", "time")).values, reference_structure)
    result = xr.Dataset(
        {
            "std_ratio": ("time", std.mean(axis=0)),
            "step_ratio": ("time", step.mean(axis=0)),
            "std_ratio_sample": (("sample", "time"), std),
            "step_ratio_sample": (("sample", "time"), step),
            "structure_factor_ratio": ("k", structure),
            "max_std_deviation": float(np.abs(std.mean(axis=0) - 1).max()),
            "min_step_ratio": float(step.mean(axis=0).min()),
            "max_step_ratio": float(step.mean(axis=0).max()),
            "max_structure_factor_deviation": _largest(structure - 1),
            "jsd_ratio": ROWS["jsd"](evidence).ratio,
            "aimd_std_scatter": float(draws.std()),
            "aimd_max_std_deviation": float(np.median(largest)),
            "aimd_max_std_deviation_high": float(np.quantile(largest, 0.975)),
            "aimd_min_step_ratio": float(aimd_step.min()),
            "aimd_max_step_ratio": float(aimd_step.max()),
            "aimd_max_structure_factor_deviation": np.nan,
        },
        coords={"time": ("time", middle, {"units": "fs"}), "k": own["k"]},
        attrs={"window_fs": n_window * evidence.interval, "n_samples": int(generated.sizes["sample"])},
    )
    if evidence.n_blocks("training"):
        blocks = evidence.blocks["training"]["structure_factor"].values
        result["aimd_max_structure_factor_deviation"] = _largest(shell_ratios(blocks, reference_structure) - 1)
    return result

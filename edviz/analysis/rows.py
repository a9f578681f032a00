"""The rows of the scorecard: one function each, all of them in `ROWS`. docs/metrics.md describes them for users.

A row gets `Evidence`, what one pass over each trajectory has left, and returns a `Row`. To add a metric, write its
function and add a line to `ROWS`.

Three rules give verdicts (all intervals and tests at 95 %):

* distance (jsd, w1, structure_factor, intermediate_scattering): zero is perfect, the floor is what AIMD blocks score
  among themselves. Passes while the ratio of value to floor is at most `TOLERATED`, times what the scatter of blocks
  leaves open: one-sided t-test on logarithms. Fails too if any single block is above `WORST` times the floor: the
  median would hide a sample that collapsed.
* level (step, lognormal_*, atoms_*): AIMD's own level is perfect and stands in the column `floor`. Passes while the
  two differ by at most a margin, the scatter between AIMD blocks, plus what the scatter of blocks leaves open: t-test.
  Fails too if any single block is off by more than `WORST` margins.
* drift: zero is perfect. Passes if zero lies in the interval of the slope at the confidence that leaves the whole card
  one false alarm in twenty (Bonferroni: 1 - 0.05 / number of rows), or if the change over the whole rollout is
  smaller than the scatter between AIMD blocks. Fails in any case if the change is above `WORST` times the scatter of
  AIMD's windows: a sudden collapse is no line, and its interval is wide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from edviz.analysis import histogram
from edviz.analysis.atoms import MIN_FOUND
from edviz.analysis.classifier import CLASSIFIERS, ClassifierName, classifier_two_sample_test, features
from edviz.analysis.correlation import relative_rmse, shell_ratios
from edviz.analysis.divergence import jensen_shannon, wasserstein
from edviz.analysis.floors import (
    CONFIDENCE,
    Estimate,
    cut_blocks,
    mean_with_interval,
    median_with_interval,
    noise_floor,
)
from edviz.analysis.motion import diffusion_coefficient
from edviz.analysis.pairs import fit_peak
from edviz.analysis.slopes import fit_slope
from edviz.analysis.summary import Plan, pool_windows
from edviz.errors import MissingDataError
from edviz.trajectory import DensityTrajectory

__all__ = ["ROWS", "WINDOW_FS", "Evidence", "Row"]

Verdict = Literal["pass", "fail", "no data"]

TOLERATED = 1.5  # times the floor: what a later release aims at
WORST = 10.0
CHARGE_TOLERANCE = 1e-5  # relative: float32 frames of a million points keep 1e-6
STEP_MARGIN = 0.05  # of AIMD's step: the least margin of the row step
LOG_MARGIN = 0.01  # of AIMD's level (of its log-std for the log-mean): the least margin of the rows lognormal_*
PEAK_MARGIN = 0.02  # angstrom: the least margin of the row atoms_peak_position
ATOMS_MARGIN = 0.03  # of AIMD's level: the least margin of the rows atoms_peak_height and atoms_diffusion
AUC_TOLERATED = 0.60  # of the rows c2st_*: what a later release aims at
REMEMBERED = 0.9  # of the test frames' distance to the training data: nearer means recorded
WINDOW_FS = 200.0  # about twice the time in which a liquid metal's density forgets itself
MIN_WINDOWS = 8  # fewer do not show a slope


@dataclass(frozen=True)
class Row:
    """One row of the table; `ratio` follows from the others."""

    value: float = np.nan
    floor: float = np.nan
    low: float = np.nan
    high: float = np.nan
    verdict: Verdict = "no data"
    note: str = ""

    @property
    def ratio(self) -> float:
        """Value over floor; not a number where there is no floor."""
        return self.value / self.floor if np.isfinite(self.floor) and self.floor != 0 else np.nan


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the rows are made from.

    Attributes
    ----------
    generated, reference, training
        The trajectories; `training` may be missing.
    plan
        Bins and shells, fixed by the reference.
    interval
        Frame interval, fs.
    summaries
        "generated", "reference", "training" -> `summarise`; training only if there is any.
    blocks
        The same keys -> `pool_blocks`, blocks of the reference's length. `generated` and `training` may have none.
    one_step
        `forecast.one_step`, if there is an emulator.
    lead_times, baselines
        `forecast.lead_times`, if the generated trajectory overlaps the reference; `forecast.baselines` of the
        reference.
    memorised
        `memory.memorisation` of some generated frames, if there are training data.
    autocorrelation_time
        Longest integrated autocorrelation time of contrast, step and S(k) in AIMD, fs; not a number if unknown.
    notes
        How the evidence was gathered.
    """

    generated: DensityTrajectory
    reference: DensityTrajectory
    training: DensityTrajectory | None
    plan: Plan
    interval: float
    summaries: dict[str, xr.Dataset]
    blocks: dict[str, xr.Dataset]
    one_step: xr.Dataset | None = None
    lead_times: xr.Dataset | None = None
    baselines: xr.Dataset | None = None
    memorised: xr.Dataset | None = None
    autocorrelation_time: float = np.nan
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def n_window(self) -> int:
        """Frames in a window of `WINDOW_FS`."""
        return max(1, round(WINDOW_FS / self.interval))

    def n_blocks(self, name: str) -> int:
        """Number of blocks of a trajectory."""
        return int(self.blocks[name].sizes["block"]) if name in self.blocks else 0

    @cached_property
    def windows(self) -> dict[str, xr.Dataset]:
        """The same keys as `summaries` -> `pool_windows`."""
        return {name: pool_windows(summary, self.n_window) for name, summary in self.summaries.items()}

    @cached_property
    def features(self) -> dict[str, NDArray[np.float64]]:
        """The same keys as `summaries` -> (block, frame, feature), what the classifiers see."""
        return {name: _features(self, name) for name in self.summaries}

    @cached_property
    def aimd(self) -> xr.Dataset:
        """The reference block and the training blocks together."""
        parts = [self.blocks["reference"]]
        if self.n_blocks("training"):
            parts.append(self.blocks["training"])
        return xr.concat(parts, dim="block", coords="minimal", compat="override", join="override")

    @property
    def block_fs(self) -> float:
        """Duration of a block, fs."""
        return len(self.reference) * self.interval


# Rules
# ----------------------------------------------------------------------------------------------------------------


def _missing(evidence: Evidence) -> str:
    """Why block statistics lack an input, or nothing."""
    n_block = len(evidence.reference)
    if not evidence.n_blocks("generated"):
        return (
            f"the generated trajectory has {len(evidence.generated)} frames; a block as long as the reference takes "
            f"{n_block} ({evidence.block_fs:.5g} fs): generate more"
        )
    return ""


def _no_floor(evidence: Evidence) -> str:
    if evidence.training is None:
        return "no training data, so no noise floor: pass training=, or a reference with its split attributes"
    return (
        f"the training data ({len(evidence.training)} frames) hold no block as long as the reference "
        f"({len(evidence.reference)} frames), so there is no noise floor"
    )


def _describe_blocks(evidence: Evidence) -> str:
    generated, training = evidence.n_blocks("generated"), evidence.n_blocks("training")
    return (
        f"{generated} generated block{'s' * (generated != 1)}, floor from {training} training "
        f"block{'s' * (training != 1)} of {evidence.block_fs:.5g} fs"
    )


def _pooled_scatter(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, int]:
    """Standard deviation within two groups and its degrees of freedom."""
    freedom = len(x) + len(y) - 2
    squares = ((x - x.mean()) ** 2).sum() + ((y - y.mean()) ** 2).sum()
    return (float(np.sqrt(squares / freedom)) if freedom > 0 else np.nan), freedom


def distance_row(evidence: Evidence, metric: Callable[[xr.Dataset, xr.Dataset], NDArray[np.float64]]) -> Row:
    """A row for a distance: metric(blocks, reference block) -> (block,), zero for equal."""
    if reason := _missing(evidence):
        return Row(note=reason)
    reference = evidence.blocks["reference"].isel(block=0)
    found = median_with_interval(metric(evidence.blocks["generated"], reference))
    if not evidence.n_blocks("training"):
        return Row(found.value, np.nan, found.low, found.high, note=_no_floor(evidence))
    training = [evidence.blocks["training"].isel(block=[i]) for i in range(evidence.n_blocks("training"))]
    floor = noise_floor(lambda block, ref: float(metric(block, ref)[0]), reference, training)
    verdict, note = _distance_verdict(found, floor)
    return Row(found.value, floor.value, found.low, found.high, verdict, f"{_describe_blocks(evidence)}; {note}")


def _distance_verdict(found: Estimate, floor: Estimate) -> tuple[Verdict, str]:
    if not (np.isfinite(found.values).all() and np.isfinite(floor.values).all()):
        return "no data", "a block has no finite value"
    if not floor.value > 0:
        return "no data", "the floor is zero: the training data repeat the reference"
    worst = float(found.values.max() / floor.value)
    if worst > WORST:
        return "fail", f"one block is {worst:.3g} times the floor, above {WORST:g}"
    tiny = np.finfo(np.float64).tiny
    logs = [np.log(np.maximum(values, tiny)) for values in (found.values, floor.values)]
    scatter, freedom = _pooled_scatter(*logs)
    if freedom == 0:
        return "no data", "one generated and one training block do not show how much blocks scatter"
    open_question = scatter * np.sqrt(1 / len(logs[0]) + 1 / len(logs[1]))
    limit = min(TOLERATED * float(np.exp(stats.t.ppf(0.95, freedom) * open_question)), WORST)
    ratio = float(np.exp(logs[0].mean() - logs[1].mean()))
    text = (
        f"{ratio:.3g} times the floor by geometric means; up to {limit:.3g} passes "
        f"({TOLERATED:g}, widened by the scatter of the blocks)"
    )
    return ("pass" if ratio <= limit else "fail"), text


def level_row(evidence: Evidence, level: Callable[[xr.Dataset], NDArray[np.float64]], margin: float = 0.0) -> Row:
    """A row for a level that should be AIMD's: level(blocks) -> (block,). The margin is at least `margin`."""
    if reason := _missing(evidence):
        return Row(note=reason)
    found = median_with_interval(level(evidence.blocks["generated"]))
    aimd = level(evidence.aimd)
    own = float(np.median(aimd))
    row = Row(found.value, own, found.low, found.high)
    if not np.isfinite(found.values).all() or not np.isfinite(aimd).all():
        return _noted(row, "no data", "a block has no finite value")
    if len(aimd) < 2:
        return _noted(row, "no data", _no_floor(evidence))
    between = max(float(np.std(aimd, ddof=1)), margin)
    worst = float(np.abs(found.values - own).max())
    if worst > WORST * between:
        return _noted(row, "fail", f"one block is off by {worst:.3g}, above {WORST:g} times the margin {between:.3g}")
    scatter, freedom = _pooled_scatter(found.values, aimd)
    limit = between + float(stats.t.ppf(0.975, freedom) * scatter * np.sqrt(1 / len(found.values) + 1 / len(aimd)))
    off = abs(float(found.values.mean() - aimd.mean()))
    note = (
        f"{_describe_blocks(evidence)}; means differ by {off:.3g}, up to {limit:.3g} passes (margin {between:.3g}, "
        "widened by the scatter of the blocks)"
    )
    return _noted(row, "pass" if off <= limit else "fail", note)


def _noted(row: Row, verdict: Verdict, note: str) -> Row:
    return Row(row.value, row.floor, row.low, row.high, verdict, note)


def drift_row(
    evidence: Evidence,
    series: Callable[[xr.Dataset], NDArray[np.float64]],
    scatter: Callable[[Evidence], NDArray[np.float64]],
    alike: tuple[str, ...] = ("reference", "training"),
) -> Row:
    """A row for the slope of series(windows) -> (window,) in 1/ps.

    scatter(evidence) is the level of AIMD's blocks; `alike` names the trajectories whose windows scatter as the
    rollout's should.
    """
    windows = evidence.windows["generated"]
    n = windows.sizes["time"]
    if n < MIN_WINDOWS:
        window = evidence.n_window * evidence.interval
        return Row(
            note=f"the rollout has {n} windows of {window:g} fs; a slope takes {MIN_WINDOWS}: generate "
            f"{MIN_WINDOWS * evidence.n_window} frames or more"
        )
    aimd = {name: series(evidence.windows[name]) for name in evidence.windows if name != "generated"}
    # A window of the rollout is a mean over samples.
    spread = np.sqrt(evidence.summaries["generated"].sizes["sample"])
    slope = fit_slope(windows["time"].values / 1000, series(windows), [aimd[k] / spread for k in alike if k in aimd])
    duration = n * evidence.n_window * evidence.interval / 1000
    levels = scatter(evidence)
    floor = float(np.std(levels, ddof=1)) / duration if len(levels) > 1 else np.nan
    row = Row(slope.value, floor, *slope.interval())
    if not np.isfinite(slope.value):
        return _noted(row, "no data", "a window has no finite value")
    change = abs(slope.value) * duration
    own = np.concatenate(list(aimd.values()))
    usual = float(np.std(own, ddof=1)) if len(own) > 2 else np.nan
    note = f"changes by {change:.3g} over {duration:.4g} ps"
    if change > WORST * usual:
        return _noted(row, "fail", f"{note}, above {WORST:g} times the scatter {usual:.3g} of AIMD's windows")
    confidence = 1 - (1 - CONFIDENCE) / len(ROWS)
    if slope.may_be_zero(confidence):
        return _noted(row, "pass", f"{note}; zero lies in the interval of {confidence:.2%}")
    if np.isfinite(floor):
        note = f"{note}; AIMD's own blocks scatter by {floor * duration:.3g}"
        if change <= floor * duration:
            return _noted(row, "pass", note)
    if not np.isfinite(row.low):
        return _noted(row, "no data", f"{note}; the windows are too correlated for an interval")
    missing = "" if np.isfinite(floor) else f"; {_no_floor(evidence)}"
    return _noted(row, "fail", f"{note}; zero lies outside the interval of {confidence:.2%}{missing}")


# Forecasts
# ------------------------------------------------------------------------------------------------------------


def _forecast_row(evidence: Evidence, name: str, tolerated: float, single: bool) -> Row:
    """A row of `one_step` beside quadratic extrapolation at the same frames."""
    if evidence.one_step is not None:
        found = mean_with_interval(evidence.one_step[name].values, evidence.n_window)
        yardsticks = {k: float(evidence.one_step[k].mean()) for k in ("persistence", "linear", "quadratic")}
        samples = evidence.one_step.attrs["samples"]
        note = f"{len(found.values)} frames, each forecast from true context, {samples} times"
    elif evidence.lead_times is not None and name in ("ensemble_mean", "single"):
        first = evidence.lead_times.isel(lead_time=0)
        if abs(float(first["lead_time"]) - evidence.interval) > 0.01 * evidence.interval:
            return Row(note="the reference lacks the rollout's first frame; pass emulator= for one-step forecasts")
        value = float(first["nmae" if single else "nmae_ensemble_mean"])
        found = Estimate(value, np.nan, np.nan, np.array([value]))
        yardsticks = {k: float(first[k]) for k in ("persistence", "linear", "quadratic")}
        note = "the rollout's first frame only; pass emulator= to average over the reference"
        if evidence.baselines is not None and not np.isfinite(yardsticks["quadratic"]):
            means = evidence.baselines.isel(lead_time=0).mean("time")
            yardsticks = {k: float(means[k]) for k in yardsticks}
            note += "; the reference lacks the context, so extrapolations are averages over it"
    else:
        reason = "no emulator, and no frame at a time of the reference: pass emulator="
        return Row(note=evidence.notes.get("one_step", reason))
    floor = yardsticks["quadratic"]
    beside = ", ".join(f"{k} {v:.3g} %" for k, v in yardsticks.items())
    note += f"; beside {beside}; up to {tolerated:.3g} times quadratic passes"
    if not np.isfinite(found.value) or not np.isfinite(floor):
        return Row(found.value, floor, found.low, found.high, "no data", f"{note}; too few frames for an extrapolation")
    verdict: Verdict = "pass" if found.value <= tolerated * floor else "fail"
    return Row(found.value, floor, found.low, found.high, verdict, note)


def nmae(evidence: Evidence) -> Row:
    """One-step error of the mean of the forecast's samples, %; at most quadratic extrapolation's passes."""
    return _forecast_row(evidence, "ensemble_mean", 1.0, single=False)


def nmae_single(evidence: Evidence) -> Row:
    """One-step error of a single sample, %; at most sqrt(2) times quadratic extrapolation's passes.

    A draw from the right distribution is sqrt(2) times as far from the truth as the mean of that distribution.
    """
    return _forecast_row(evidence, "single", float(np.sqrt(2)), single=True)


def nmae_vs_reconstruction(evidence: Evidence) -> Row:
    """One-step error against D(E(rho)), %: the dynamics' share, without the autoencoder's."""
    return _forecast_row(evidence, "against_reconstruction", 1.0, single=False)


def nmae_autoencoder(evidence: Evidence) -> Row:
    """Error of D(E(rho)), %; at most half of quadratic extrapolation's one-step error passes.

    A larger one would dominate the forecast's.
    """
    return _forecast_row(evidence, "autoencoder", 0.5, single=False)


# Distributions
# --------------------------------------------------------------------------------------------------------


def jsd(evidence: Evidence) -> Row:
    """Base-2 Jensen-Shannon divergence of the histograms of log10 rho, bits."""
    return distance_row(evidence, _jsd_of)


def _jsd_of(blocks: xr.Dataset, reference: xr.Dataset) -> NDArray[np.float64]:
    return jensen_shannon(blocks["counts"].values, reference["counts"].values)


def w1(evidence: Evidence) -> Row:
    """Wasserstein-1 distance of the values of rho over the mean density."""

    def metric(blocks: xr.Dataset, reference: xr.Dataset) -> NDArray[np.float64]:
        distance = wasserstein(
            blocks["value_counts"].values,
            blocks["value_excess"].values,
            reference["value_counts"].values,
            reference["value_excess"].values,
            evidence.plan.value_bins,
        )
        return distance / evidence.plan.mean

    return distance_row(evidence, metric)


def _log_levels(evidence: Evidence, blocks: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    mean, std, skewness = histogram.log_moments(blocks["log_sums"].values, blocks["n_values"].values[:, None])
    ks = histogram.lognormal_ks(blocks["value_counts"].values, evidence.plan.value_bins, mean, std)
    return {"mean": mean, "std": std, "skewness": skewness, "ks": ks}


def _lognormal_row(evidence: Evidence, name: str) -> Row:
    for which in ("generated", "reference", "training"):
        if evidence.n_blocks(which) and (bad := float(evidence.blocks[which]["not_positive"].sum())):
            return Row(note=f"{bad:.0f} values of the {which} density are not positive and have no logarithm")
    own = _log_levels(evidence, evidence.blocks["reference"])["std" if name == "mean" else name]
    return level_row(evidence, lambda blocks: _log_levels(evidence, blocks)[name], LOG_MARGIN * abs(float(own[0])))


def lognormal_mean(evidence: Evidence) -> Row:
    """Mean of ln(rho / (e/angstrom^3)); AIMD's stands in the column floor."""
    return _lognormal_row(evidence, "mean")


def lognormal_std(evidence: Evidence) -> Row:
    """Standard deviation of ln rho; AIMD's stands in the column floor."""
    return _lognormal_row(evidence, "std")


def lognormal_skewness(evidence: Evidence) -> Row:
    """Skewness of ln rho; AIMD's stands in the column floor."""
    return _lognormal_row(evidence, "skewness")


def lognormal_ks(evidence: Evidence) -> Row:
    """Kolmogorov-Smirnov distance of rho to its log-normal fit; AIMD's stands in the column floor."""
    return _lognormal_row(evidence, "ks")


# Structure and motion
# -------------------------------------------------------------------------------------------------


def structure_factor(evidence: Evidence) -> Row:
    """Relative RMSE of S(k) over the shells up to 6 1/angstrom."""
    return distance_row(evidence, _structure_of)


def _structure_of(blocks: xr.Dataset, reference: xr.Dataset) -> NDArray[np.float64]:
    return relative_rmse(blocks["structure_factor"].values, reference["structure_factor"].values)


def intermediate_scattering(evidence: Evidence) -> Row:
    """RMSE of F(k,t) over the shells from 1 to 4 1/angstrom and t up to 200 fs, each shell counting the same."""
    if "scattering" not in evidence.blocks["reference"]:
        return Row(
            note=f"F(k,t) takes a block longer than 200 fs, frames at most 200 fs apart and a grid that carries waves "
            f"of 1 to 4 1/angstrom; the reference has {len(evidence.reference)} frames {evidence.interval:.4g} fs apart"
        )

    def metric(blocks: xr.Dataset, reference: xr.Dataset) -> NDArray[np.float64]:
        squared = (blocks["scattering"].values - reference["scattering"].values) ** 2
        rmse: NDArray[np.float64] = np.sqrt(squared.mean(axis=(-2, -1)))
        return rmse

    return distance_row(evidence, metric)


def _atoms_row(
    evidence: Evidence, level: Callable[[xr.Dataset], NDArray[np.float64]], margin: float = 0.0, share: float = 0.0
) -> Row:
    """A level row for what the atoms found in the density do; the margin is at least `margin` and `share` of AIMD's."""
    if evidence.plan.no_atoms:
        return Row(note=evidence.plan.no_atoms)
    if reason := _missing(evidence):
        return Row(note=reason)
    found = {
        name: float(blocks["atoms_found"].min()) for name, blocks in evidence.blocks.items() if blocks.sizes["block"]
    }
    lost = [name for name in found if name != "generated" and found[name] < MIN_FOUND]
    if lost:
        return Row(note=f"only {found[lost[0]]:.1%} of the atoms can be followed in a block of the {lost[0]} density")
    own = level(evidence.aimd)
    if found["generated"] < MIN_FOUND:
        note = (
            f"in one block only {found['generated']:.1%} of the atoms are found and followed ({MIN_FOUND:.0%} needed)"
        )
        return Row(floor=float(np.median(own)), verdict="fail", note=note)
    row = level_row(evidence, level, max(margin, share * abs(float(np.median(own)))))
    return _noted(row, row.verdict, f"{row.note}; {found['generated']:.2%} of the atoms found")


def _peaks(blocks: xr.Dataset) -> NDArray[np.float64]:
    """(block, 2) position and height of the first peak of g(r)."""
    r = blocks["r"].values
    return np.array([fit_peak(r, g) for g in blocks["pair_distribution"].values])


def atoms_peak_position(evidence: Evidence) -> Row:
    """Position of the first peak of g(r) of the atoms found in the density, angstrom; AIMD's in the column floor."""
    return _atoms_row(evidence, lambda blocks: _peaks(blocks)[:, 0], margin=PEAK_MARGIN)


def atoms_peak_height(evidence: Evidence) -> Row:
    """Height of the first peak of g(r) of the atoms found in the density; AIMD's in the column floor."""
    return _atoms_row(evidence, lambda blocks: _peaks(blocks)[:, 1], share=ATOMS_MARGIN)


def atoms_diffusion(evidence: Evidence) -> Row:
    """Diffusion coefficient of the atoms found in the density, angstrom^2/ps; AIMD's in the column floor."""
    if not evidence.plan.no_atoms and not evidence.blocks["reference"].sizes["msd_lag"]:
        return Row(note=f"D takes blocks longer than 500 fs; the reference has {evidence.block_fs:.4g} fs")

    def level(blocks: xr.Dataset) -> NDArray[np.float64]:
        curves = blocks["msd"].rename(msd_lag="lag")
        return diffusion_coefficient(xr.Dataset({"msd": curves.mean("block"), "blocks": curves})).values

    return _atoms_row(evidence, level, share=ATOMS_MARGIN)


def step(evidence: Evidence) -> Row:
    """Mean abs change between successive frames, over the reference's; AIMD's blocks stand in the column floor."""
    own = float(evidence.blocks["reference"]["step"].values[0])
    return level_row(evidence, lambda blocks: blocks["step"].values / own, margin=STEP_MARGIN)


# Conservation
# ---------------------------------------------------------------------------------------------------------


def charge(evidence: Evidence) -> Row:
    """Largest abs(N_e(t) - N_e), electrons; passes at 1e-5 N_e or less if no value is negative."""
    n_electrons = evidence.plan.n_electrons
    value, floor = (
        float(np.abs(evidence.summaries[name]["electrons"].values - n_electrons).max())
        for name in ("generated", "reference")
    )
    smallest = float(evidence.summaries["generated"]["minimum"].min())
    kept = value <= CHARGE_TOLERANCE * n_electrons
    note = f"{value / n_electrons:.2g} of {n_electrons:g} electrons; smallest density {smallest:.3g} e/angstrom^3"
    return Row(value, floor, verdict="pass" if kept and smallest >= 0 else "fail", note=note)


def minimum(evidence: Evidence) -> Row:
    """Smallest value of rho, e/angstrom^3; AIMD's stands in the column floor; passes unless negative."""
    value, floor = (float(evidence.summaries[name]["minimum"].min()) for name in ("generated", "reference"))
    return Row(value, floor, verdict="pass" if value >= 0 else "fail", note="the floor is the reference's own minimum")


# Drift
# ----------------------------------------------------------------------------------------------------------------


def drift_jsd(evidence: Evidence) -> Row:
    """Slope of the jsd of windows to the reference, bits/ps."""
    reference = evidence.blocks["reference"].isel(block=0)

    def scatter(evidence: Evidence) -> NDArray[np.float64]:
        if not evidence.n_blocks("training"):
            return np.empty(0)
        return _jsd_of(evidence.blocks["training"], reference)

    # The reference's own windows are part of what they would be compared with: only the training data's scatter alike.
    return drift_row(evidence, lambda windows: _jsd_of(windows, reference), scatter, alike=("training",))


def drift_std(evidence: Evidence) -> Row:
    """Slope of the standard deviation of rho relative to the reference's, 1/ps."""
    own = float(evidence.blocks["reference"]["contrast"].values[0])
    return drift_row(
        evidence,
        lambda windows: windows["contrast"].values / own,
        lambda evidence: evidence.aimd["contrast"].values / own,
    )


def drift_structure_factor(evidence: Evidence) -> Row:
    """Slope of S(k) / AIMD's S(k), mean over the shells up to 6 1/angstrom, 1/ps."""
    own = evidence.blocks["reference"]["structure_factor"].values[0]
    counted = np.isfinite(shell_ratios(own, own))
    if not counted.any():
        return Row(note="S(k) of the reference is zero in every shell: it is uniform")

    def mean_ratio(ds: xr.Dataset) -> NDArray[np.float64]:
        return shell_ratios(ds["structure_factor"].values, own)[..., counted].mean(axis=-1)

    return drift_row(evidence, mean_ratio, lambda evidence: mean_ratio(evidence.aimd))


# Classifiers
# ----------------------------------------------------------------------------------------------------------


def _features(evidence: Evidence, name: str) -> NDArray[np.float64]:
    """(block, frame, feature) as classifiers see them."""
    per_sample = features(evidence.summaries[name])
    n_frames, n_block = evidence.summaries[name].sizes["time"], len(evidence.reference)
    blocks = [sample[block] for sample in per_sample for block in cut_blocks(n_frames, n_block)]
    return np.stack(blocks) if blocks else np.empty((0, n_block, per_sample.shape[-1]))


def _c2st_row(evidence: Evidence, classifier: ClassifierName) -> Row:
    """AUC against the reference; the control, training blocks against the reference, stands in the column floor."""
    if reason := _missing(evidence):
        return Row(note=reason)
    features = evidence.features
    reference = features["reference"][0]
    training = features.get("training", np.empty((0, *reference.shape)))
    try:
        test = classifier_two_sample_test(features["generated"], reference, training, evidence.interval, classifier)
    except MissingDataError as error:
        return Row(note=str(error))
    found, control = test.value, test.control
    row = Row(found.value, control.value, found.low, found.high)
    if not np.isfinite(control.value):
        return _noted(row, "no data", _no_floor(evidence))
    highest = float(control.values.max())
    note = (
        f"{CLASSIFIERS[classifier]}, median of {len(found.values)} blocks; 0.5 = cannot tell; AIMD against AIMD "
        f"{control.values.min():.2f} to {highest:.2f}; up to {AUC_TOLERATED:g} or that passes"
    )
    return _noted(row, "pass" if found.value <= max(AUC_TOLERATED, highest) else "fail", note)


def c2st_logistic(evidence: Evidence) -> Row:
    """AUC of logistic regression telling generated from real frames; AIMD against AIMD stands in the column floor."""
    return _c2st_row(evidence, "logistic")


def c2st_trees(evidence: Evidence) -> Row:
    """AUC of boosted trees telling generated from real frames; AIMD against AIMD stands in the column floor."""
    return _c2st_row(evidence, "trees")


# Memory
# ---------------------------------------------------------------------------------------------------------------


def memory(evidence: Evidence) -> Row:
    """Distance of generated frames to their nearest training frame over the same for test frames; passes from 0.9."""
    if evidence.memorised is None:
        reason = "no training data, so nothing that could be remembered: pass training="
        return Row(note=evidence.notes.get("memory", reason))
    ds = evidence.memorised
    value, low, high = (float(ds[name]) for name in ("ratio", "low", "high"))
    note = (
        f"{ds.sizes['query']} generated and {ds.sizes['test_query']} test frames, each at its best translation and "
        f"symmetry, against {ds.attrs['n_training']} training frames {ds.attrs['stride_fs']:g} fs apart; from "
        f"{REMEMBERED:g} passes; 1 is what new frames have"
    )
    if not np.isfinite(value):
        return Row(value, 1.0, low, high, "no data", f"{note}; the test frames are among the training data")
    return Row(value, 1.0, low, high, "pass" if value >= REMEMBERED else "fail", note)


#: The table of rows, in the order in which they are shown.
ROWS: dict[str, Callable[[Evidence], Row]] = {
    "nmae": nmae,
    "nmae_single": nmae_single,
    "nmae_vs_reconstruction": nmae_vs_reconstruction,
    "nmae_autoencoder": nmae_autoencoder,
    "jsd": jsd,
    "w1": w1,
    "lognormal_mean": lognormal_mean,
    "lognormal_std": lognormal_std,
    "lognormal_skewness": lognormal_skewness,
    "lognormal_ks": lognormal_ks,
    "structure_factor": structure_factor,
    "intermediate_scattering": intermediate_scattering,
    "atoms_peak_position": atoms_peak_position,
    "atoms_peak_height": atoms_peak_height,
    "atoms_diffusion": atoms_diffusion,
    "step": step,
    "charge": charge,
    "minimum": minimum,
    "drift_jsd": drift_jsd,
    "drift_std": drift_std,
    "drift_structure_factor": drift_structure_factor,
    "c2st_logistic": c2st_logistic,
    "c2st_trees": c2st_trees,
    "memory": memory,
}

"""The scorecard: one table that says how right a generated trajectory is, each number beside its noise floor.

`evaluate` reads every trajectory once (`summary.summarise`), asks each row of `rows.ROWS` and returns a `Scorecard`.
"""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from edviz.analysis import forecast
from edviz.analysis.divergence import jensen_shannon
from edviz.analysis.floors import autocorrelation_time, cut_blocks
from edviz.analysis.frames import TrajectoryLike, as_trajectory, check_comparable, check_single, even_interval
from edviz.analysis.memory import memorisation
from edviz.analysis.rows import ROWS, WINDOW_FS, Evidence, Row
from edviz.analysis.stability import stability_of
from edviz.analysis.summary import Plan, pool_blocks, summarise
from edviz.errors import MissingDataError
from edviz.trajectory import DensityTrajectory

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from edviz.analysis.comparison import Comparison
    from edviz.emulator import DensityEmulator

__all__ = ["COLUMNS", "Scorecard", "evaluate", "gather"]

COLUMNS = ("value", "floor", "ratio", "low", "high", "verdict")
N_LEADS = 10  # frames ahead that the extrapolations are averaged for
N_SAMPLES = 16  # of the teacher-forced forecasts, at most
FEWEST_SAMPLES = 4  # where the forecasts would be larger than this:
FORECAST_BYTES = 1 << 30
FORECAST_SEED = 0
KEPT_BYTES = 1 << 28
MEMORY_FRAMES = 8  # generated and test frames whose nearest training frame is looked for
MEMORY_STRIDE_FS = 40.0  # between the training frames compared: a remembered frame is still near its neighbours
MEMORY_TRAINING = 1000  # training frames at most
MEMORY_REFINED = 16


def evaluate(
    generated: TrajectoryLike,
    reference: TrajectoryLike,
    training: TrajectoryLike | None = None,
    emulator: DensityEmulator | None = None,
    progress: bool = True,
) -> Scorecard:
    """Compare a generated trajectory with a held-out one.

    Parameters
    ----------
    generated
        The rollout, with or without `sample`. Statistics take at least as many frames as the reference has.
    reference
        The held-out block, ``traj.split("test")``. A trajectory that carries split times and holds both parts is
        split: its test block is the reference, its training block the training data.
    training
        Real data that the reference is disjoint from, for the noise floors: ``traj.split("train")``.
    emulator
        For one-step errors: forecasts every frame of the reference from true context, and reconstructs it.
    progress
        Show a progress bar on anything over two seconds.

    Returns
    -------
    Scorecard

    Raises
    ------
    GridMismatchError
        If the trajectories do not share cell, grid, density kind and frame interval.
    NonFiniteError
        At a NaN or an infinity, naming trajectory and frame.
    MissingDataError
        If frames are unevenly spaced, or the reference is an ensemble or shorter than two frames.
    SchemaError
        If the field is not an electron density, or the reference is constant.

    Examples
    --------
    >>> card = edviz.evaluate(generated, traj.split("test"), traj.split("train"))  # doctest: +SKIP
    >>> card.to_dataframe()  # doctest: +SKIP
    """
    evidence = gather(generated, reference, training, emulator, progress)
    return Scorecard(evidence, {name: row(evidence) for name, row in ROWS.items()})


def gather(
    generated: TrajectoryLike,
    reference: TrajectoryLike,
    training: TrajectoryLike | None = None,
    emulator: DensityEmulator | None = None,
    progress: bool = True,
    forecasts: bool = True,
) -> Evidence:
    """Read the trajectories and keep what the rows need; arguments and errors as `evaluate`."""
    notes: dict[str, str] = {}
    generated = as_trajectory(generated)
    reference, training = _split(as_trajectory(reference), training, notes)
    for name, traj in (("reference", reference), ("training", training)):
        if traj is not None:
            check_single(traj, f"the {name}")
    interval = even_interval(reference)
    reference = _kept(reference)
    check_comparable(generated, reference, "generated")
    if training is not None:
        check_comparable(training, reference, "training")

    given = {"generated": generated, "reference": reference}
    if training is not None:
        given["training"] = training
    slices = {name: cut_blocks(len(traj), len(reference)) for name, traj in given.items()}
    n_frames = sum(traj.n_samples * len(traj) for traj in given.values()) + (2 if forecasts else 1) * len(reference)
    with _progress_bar(n_frames, progress) as bar:
        plan = Plan.of(reference, bar)
        summaries = {name: summarise(traj, plan, slices[name], bar, name) for name, traj in given.items()}
        rows = _baselines(reference, bar) if forecasts else None
    blocks = {name: pool_blocks(summaries[name], slices[name]) for name in given}
    longest = summaries["training" if training is not None and len(training) > len(reference) else "reference"]
    memory = _memory(longest) * interval
    notes["blocks"] = _describe_memory(memory, len(reference) * interval)
    evidence = Evidence(
        generated,
        reference,
        training,
        plan,
        interval,
        summaries,
        blocks,
        baselines=rows,
        autocorrelation_time=memory,
        notes=notes,
    )
    if not forecasts:
        return evidence
    evidence = replace(evidence, memorised=_memorised(generated, reference, training, notes))
    return replace(evidence, **_forecasts(generated, reference, emulator, notes))  # type: ignore[arg-type]


def _memorised(
    generated: DensityTrajectory,
    reference: DensityTrajectory,
    training: DensityTrajectory | None,
    notes: dict[str, str],
) -> xr.Dataset | None:
    """How near some generated frames are to the training data, beside the same for test frames."""
    if training is None:
        return None
    interval = training.frame_interval if len(training) > 1 else MEMORY_STRIDE_FS
    stride = max(1, int(MEMORY_STRIDE_FS / interval + 1e-6), -(-len(training) // MEMORY_TRAINING))
    some = training[::stride]
    try:
        found = memorisation(generated, reference, some, n_frames=MEMORY_FRAMES, n_refined=MEMORY_REFINED)
    except MissingDataError as error:
        notes["memory"] = str(error)
        return None
    return found.assign_attrs(n_training=len(some) - found.attrs["n_left_out"], stride_fs=stride * interval)


def _memory(summary: xr.Dataset) -> float:
    """The longest autocorrelation time that the rows' series have in AIMD, in frames."""
    series = [summary["contrast"].values[0], summary["step"].values[0, 1:], *summary["structure_factor"].values[0].T]
    return max((time for time in map(autocorrelation_time, series) if np.isfinite(time)), default=np.nan)


def _describe_memory(memory: float, length: float) -> str:
    """How long a block is in units of the longest autocorrelation time; both in fs."""
    text = (
        f"blocks of {length:.5g} fs; contrast, step and S(k) of AIMD have autocorrelation times up to {memory:.3g} fs"
    )
    return text if length >= 10 * memory else f"{text}: too near for independent blocks, intervals are too narrow"


def _split(
    reference: DensityTrajectory, training: TrajectoryLike | None, notes: dict[str, str]
) -> tuple[DensityTrajectory, DensityTrajectory | None]:
    """The test block and the training block, by the attributes where a whole run was given."""
    lines = []
    given = None if training is None else as_trajectory(training)
    start, end = (reference.ds.attrs.get(name) for name in ("test_start_fs", "train_end_fs"))
    if start is not None and reference.time[0] < float(start) <= reference.time[-1]:
        whole, reference = reference, reference.split("test")
        lines.append("reference: the test block of the trajectory given")
        if given is None and end is not None and whole.time[0] <= float(end):
            given = whole.split("train")
            lines.append("training: its training block")
    if given is not None:
        end = given.ds.attrs.get("train_end_fs")
        if end is not None and given.time[0] <= float(end) < given.time[-1]:
            given = given.split("train")
            lines.append("training: the training block of the trajectory given")
    notes["split"] = "; ".join(lines) or "reference and training as given"
    return reference, given


def _kept(reference: DensityTrajectory) -> DensityTrajectory:
    """The reference in memory if it is small: it is read several times, the other trajectories once."""
    density = reference.density
    if density.chunks is None or density.nbytes > KEPT_BYTES:
        return reference
    return DensityTrajectory(reference.ds.assign(density=density.compute()))


def _baselines(reference: DensityTrajectory, bar: Any) -> xr.Dataset | None:
    leads = tuple(range(1, min(N_LEADS, len(reference) - 3) + 1))
    return forecast.baselines(reference, leads, bar) if leads else None


def _forecasts(
    generated: DensityTrajectory, reference: DensityTrajectory, emulator: Any, notes: dict[str, str]
) -> dict[str, xr.Dataset | None]:
    """Lead times, and one-step errors if there is an emulator, as fields of `Evidence`."""
    found: dict[str, xr.Dataset | None] = {"lead_times": None, "one_step": None}
    try:
        found["lead_times"] = forecast.lead_times(generated, reference)
    except MissingDataError as error:
        notes["lead_times"] = str(error)
    if emulator is not None:
        one = 4 * len(reference) * math.prod(reference.grid.shape)
        n_samples = max(FEWEST_SAMPLES, min(N_SAMPLES, FORECAST_BYTES // one))
        predicted = emulator.predict_next(reference, n_samples=n_samples, seed=FORECAST_SEED)
        try:
            found["one_step"] = forecast.one_step(predicted, emulator.reconstruct(reference), reference)
        except MissingDataError as error:
            notes["one_step"] = str(error)
    return found


@contextmanager
def _progress_bar(total: int, show: bool) -> Iterator[Any]:
    from tqdm.auto import tqdm

    # `delay` keeps short evaluations quiet.
    with tqdm(total=total, desc="evaluate", unit="frame", delay=2, disable=not show, leave=False) as bar:
        yield bar


@dataclass(frozen=True, eq=False)
class Scorecard:
    """What `evaluate` found.

    Attributes
    ----------
    evidence
        What the rows were made from: trajectories, per-frame summaries, blocks.
    rows
        Metric -> `Row`.
    """

    evidence: Evidence
    rows: dict[str, Row]

    def to_dataframe(self) -> pd.DataFrame:
        """The table: index `metric`, columns value, floor, ratio, low, high (95 % interval of value), verdict."""
        table = {name: [getattr(row, column) for column in COLUMNS] for name, row in self.rows.items()}
        frame = pd.DataFrame.from_dict(table, orient="index", columns=list(COLUMNS))
        frame.index.name = "metric"
        return frame

    @cached_property
    def notes(self) -> dict[str, str]:
        """Metric -> how its verdict was reached or what was missing; "split" and "blocks" concern all of them."""
        return {**self.evidence.notes, **{name: row.note for name, row in self.rows.items() if row.note}}

    @property
    def autocorrelation_time(self) -> float:
        """How long AIMD remembers, fs: the longest integrated autocorrelation time of its contrast, step and S(k).

        Frames nearer than about twice that are not independent. Intervals come from blocks, which should be ten times
        as long; `notes["blocks"]` says if they are not.
        """
        return self.evidence.autocorrelation_time

    @property
    def lead_times(self) -> xr.Dataset:
        """Error per lead time of the rollout, see `forecast.lead_times`; empty without overlap with the reference."""
        if self.evidence.lead_times is not None:
            return self.evidence.lead_times
        names = ("nmae", "nmae_ensemble_mean", *forecast.BASELINES)
        empty = ("lead_time", np.empty(0))
        return xr.Dataset({name: empty for name in names}, coords={"lead_time": empty, "time": empty})

    @cached_property
    def forecast_skill(self) -> xr.Dataset:
        """Skill of the rollout per lead time, see `forecast.forecast_skill`; empty without overlap with the reference.

        With nmae, VRMSE, anomaly correlation, CRPS and spread-skill of rollout, extrapolations and climatology. Worked
        out (and the trajectories read once more) when it is first asked for.
        """
        evidence = self.evidence
        if evidence.lead_times is None:
            return self.lead_times[["lead_time"]]
        try:
            return forecast.forecast_skill(evidence.generated, evidence.reference, evidence.training)
        except MissingDataError:  # too few training frames far enough away: climatology has no CRPS then
            return forecast.forecast_skill(evidence.generated, evidence.reference)

    @cached_property
    def baselines(self) -> xr.Dataset:
        """Error per lead time of the extrapolations in %, averaged over the reference; empty if that is too short."""
        if self.evidence.baselines is not None:
            return self.evidence.baselines.mean("time", keep_attrs=True)
        empty = ("lead_time", np.empty(0))
        return xr.Dataset({name: empty for name in forecast.BASELINES}, coords={"lead_time": empty})

    @cached_property
    def timeline(self) -> xr.Dataset:
        """Every generated frame, over (sample, time).

        `contrast` (std / mean), `jsd` to the reference (bits), `step_ratio` (not a number for the first frame),
        `charge_error` (electrons), `minimum` (e/angstrom^3).
        """
        return self._timeline("generated")

    @cached_property
    def reference_timeline(self) -> xr.Dataset:
        """The same for the reference's own frames: what single frames scatter like."""
        return self._timeline("reference").isel(sample=0)

    def _timeline(self, name: str) -> xr.Dataset:
        summary = self.evidence.summaries[name]
        own = self.evidence.blocks["reference"].isel(block=0)
        counts, reference = summary["counts"].values, own["counts"].values
        # Some frames at a time: as float64 the counts of a long rollout are gigabytes.
        parts = [jensen_shannon(counts[:, i : i + 4096], reference) for i in range(0, counts.shape[1], 4096)]
        divergence = np.concatenate(parts, axis=1)
        return xr.Dataset(
            {
                "contrast": summary["contrast"],
                "jsd": (("sample", "time"), divergence, {"units": "bit"}),
                "step_ratio": summary["step"].copy(data=summary["step"].values / float(own["step"])),
                "charge_error": summary["electrons"] - self.evidence.plan.n_electrons,
                "minimum": summary["minimum"],
            }
        ).drop_vars(["lower", "upper", "center", "k", "k_mean", "n_vectors"], errors="ignore")

    def stability(self, window: float = WINDOW_FS) -> xr.Dataset:
        """Contrast, motion and structure at every time, see `edviz.analysis.stability.stability`."""
        return stability_of(self.evidence, window)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Table, notes, errors per lead time and the sizes behind them as JSON; written to `path` if given."""
        evidence = self.evidence
        content = {
            "rows": {n: {c: _plain(getattr(row, c)) for c in COLUMNS} for n, row in self.rows.items()},
            "notes": self.notes,
            "lead_times": _columns(self.lead_times),
            "baselines": _columns(self.baselines),
            "settings": {
                "density_kind": evidence.reference.density_kind,
                "n_electrons": evidence.plan.n_electrons,
                "frame_interval_fs": evidence.interval,
                "block_fs": evidence.block_fs,
                "autocorrelation_time_fs": _plain(evidence.autocorrelation_time),
                "n_samples": evidence.generated.n_samples,
                "n_frames": {name: int(s.sizes["time"]) for name, s in evidence.summaries.items()},
                "n_blocks": {name: evidence.n_blocks(name) for name in evidence.summaries},
                "log10_rho_bins": [evidence.plan.log_bins.low, evidence.plan.log_bins.high, evidence.plan.log_bins.n],
            },
        }
        text = json.dumps(content, indent=2, allow_nan=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    def to_html(self, path: str | os.PathLike[str] | None = None, name: str = "generated") -> str:
        """The scorecard as one self-contained HTML page; written to `path` if given.

        The table with every row's definition and how its verdict was reached, and the curves behind it, with values
        under the pointer. plotly.js is in the page: it opens offline.

        Parameters
        ----------
        path
            The file; its folder is made if missing.
        name
            What the generated trajectory is called in it.

        Raises
        ------
        WriteError
            If the file cannot be written.
        """
        from edviz.plotting.page import write_page
        from edviz.plotting.scorecard_page import scorecard_page

        page = scorecard_page({name: self})
        if path is not None:
            write_page(path, page)
        return page

    def compare(self, *others: Scorecard, names: Sequence[str] | None = None) -> Comparison:
        """This scorecard beside others of the same reference, see `edviz.analysis.comparison`.

        Parameters
        ----------
        others
            From `evaluate` with the same reference and training data.
        names
            One for each card, this one first; by default "model 1", "model 2", ...

        Raises
        ------
        GridMismatchError
            If the cards have different references.
        ArgumentError
            If the names are too few, too many or not distinct.
        """
        from edviz.analysis.comparison import compare

        return compare((self, *others), names)

    def plot(self) -> go.Figure:
        """Histogram, S(k), errors per lead time, and contrast, step and jsd in time, generated beside AIMD."""
        from edviz.plotting.scorecard import plot_scorecard

        return plot_scorecard(self)

    def __repr__(self) -> str:
        verdicts = [row.verdict for row in self.rows.values()]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("pass", "fail", "no data"))
        return f"<Scorecard: {counts}>\n{self.to_dataframe().to_string(float_format=lambda x: f'{x:.4g}')}"

    def _repr_html_(self) -> str:
        colours = {"pass": "#1a7f37", "fail": "#cf222e", "no data": "#6e7781"}
        head = "".join(f"<th>{column}</th>" for column in ("metric", *COLUMNS))
        body = []
        for name, row in self.rows.items():
            numbers = "".join(f"<td>{_short(getattr(row, column))}</td>" for column in COLUMNS[:-1])
            verdict = f'<td style="color:{colours[row.verdict]};font-weight:600">{row.verdict}</td>'
            note = html.escape(row.note, quote=True)
            body.append(f'<tr title="{note}"><th style="text-align:left">{name}</th>{numbers}{verdict}</tr>')
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _short(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "–"


def _plain(value: Any) -> Any:
    """JSON has no NaN: null."""
    if isinstance(value, str):
        return value
    return float(value) if np.isfinite(value) else None


def _columns(ds: xr.Dataset) -> dict[str, list[float | None]]:
    names = [*ds.coords, *ds.data_vars]
    return {str(name): [_plain(x) for x in np.atleast_1d(ds[name].values)] for name in names}

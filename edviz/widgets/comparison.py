"""ComparisonPanel: a generated trajectory beside AIMD, in three linked views and the measurements under them.

The views are `TrajectoryViewer`s; the measurements are those of `edviz.analysis` in the pictures of `edviz.plotting`.
This module only arranges them. Whatever takes time runs in a thread, so the views stay free.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
import traitlets as t

from edviz.analysis.difference import difference, difference_trajectory
from edviz.analysis.divergence import jsd
from edviz.analysis.frames import TrajectoryLike, as_trajectory, check_comparable, matching_frames
from edviz.analysis.scorecard import Scorecard, evaluate
from edviz.errors import ArgumentError, EdvizError, MissingDataError
from edviz.plotting.histogram import plot_histogram
from edviz.plotting.page import number
from edviz.plotting.scorecard_page import (
    REFERENCE,
    histogram_figure,
    pair_figure,
    scattering_figure,
    structure_figure,
)
from edviz.plotting.structure import plot_structure_factor
from edviz.plotting.theme import AIMD, GENERATED
from edviz.plotting.timelines import plot_timelines
from edviz.widgets.answering import answer_in_subshell
from edviz.widgets.figure import FigureView
from edviz.widgets.moment import Moments
from edviz.widgets.viewer import TrajectoryViewer, link

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from edviz.trajectory import DensityTrajectory

__all__ = ["TABS", "ComparisonPanel", "compare"]

#: Name of a tab -> the picture of the whole trajectories, and the row of the scorecard that judges it.
TABS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "values": (histogram_figure, ("jsd", "w1")),
    "S(k)": (structure_figure, ("structure_factor",)),
    "g(r)": (pair_figure, ("atoms_peak_position", "atoms_peak_height")),
    "F(k,t)": (scattering_figure, ("intermediate_scattering",)),
    "in time": (plot_timelines, ("charge", "drift_jsd")),
}
#: These can be drawn of the frames shown, F(k,t) of the time about them; the others are curves in time anyway.
_OF_A_FRAME = ("values", "S(k)", "g(r)", "F(k,t)")
_SHARED = ("levels", "level_mode", "fractions", "repeat", "shift", "slices", "show_cell", "volume")
#: While time moves the measurements wait for a rest this long, s: the views come first.
_REST = 0.15
_STYLE = """<style>
.edviz-panel .edviz { --edviz-height: 300px; }
.edviz-panel .edviz-bar { display: none; }
</style>"""


def compare(
    generated: TrajectoryLike, reference: TrajectoryLike, training: TrajectoryLike | None = None, **options: Any
) -> ComparisonPanel:
    """Look at a generated trajectory beside AIMD: a `ComparisonPanel`, which has the arguments and errors."""
    return ComparisonPanel(generated, reference, training, **options)


class ComparisonPanel(ipywidgets.VBox):
    """Look at a generated trajectory beside AIMD: ``edviz.compare(generated, reference)``.

    Parameters
    ----------
    generated : DensityTrajectory or its dataset
        The rollout, single or ensemble.
    reference : DensityTrajectory or its dataset
        The held-out AIMD block, one trajectory of the same cell, grid, kind and frame interval.
    training : DensityTrajectory or its dataset, optional
        Real data that the reference is disjoint from, for the noise floors.
    label : str
        What the generated trajectory is called.
    sample : int
        Member of the ensemble that is shown first.
    card : Scorecard, optional
        `edviz.evaluate` of the same trajectories, if it is there already. Otherwise the panel evaluates them, in the
        background, when a picture of the whole trajectories is first asked for.

    Attributes
    ----------
    tab : str
        One of "values", "S(k)", "g(r)", "F(k,t)", "in time".
    scope : "frame" or "whole"
        Whether histograms, S(k) and g(r) are those of the frames shown or of the whole trajectories. F(k,t) takes
        time: "frame" means the picosecond about the frames shown. The tab "in time" marks them.
    aimd, generated_view : TrajectoryViewer
    difference_view : TrajectoryViewer or None
        None where the two share no times.

    Raises
    ------
    GridMismatchError
        If the two do not share cell, grid, kind and frame interval.
    MissingDataError
        If the reference is an ensemble.
    ArgumentError
        If the label is "AIMD".

    Notes
    -----
    Views are linked in the page: camera and time (the nearest frame in fs). Trajectories that share no time are both
    shown with the time since their own start.
    """

    tab = t.Unicode("values")
    scope = t.Unicode("frame")

    def __init__(
        self,
        generated: TrajectoryLike,
        reference: TrajectoryLike,
        training: TrajectoryLike | None = None,
        *,
        label: str = "generated",
        sample: int = 0,
        card: Scorecard | None = None,
    ) -> None:
        self.generated, self.reference = as_trajectory(generated), as_trajectory(reference)
        self.training = training
        if label == REFERENCE or not label:
            raise ArgumentError(f"'{REFERENCE}' is the name of the reference: give the generated one another label")
        if self.reference.is_ensemble:
            raise MissingDataError("the reference must be one trajectory: take a sample, reference.sample(0)")
        check_comparable(self.generated, self.reference, "generated")
        self.label = label
        self._card = card
        self._card_lock = threading.Lock()
        self._work = _Latest(self._complain)
        self._judging = _Latest(self._complain)
        self._no_card = ""  # why there is none
        self._moments = Moments({REFERENCE: self.reference, label: self.generated}, REFERENCE)

        ours, _ = self._shared_times()
        self.overlap = len(ours) > 0
        start = 0 if not self.overlap else int(ours[0])
        shown_reference, shown_generated = self.reference, self.generated
        if not self.overlap:
            shown_reference, shown_generated = map(_from_zero, (self.reference, self.generated))
        look: dict[str, Any] = {"show_atoms": False, "show_histogram": True}
        self.aimd = TrajectoryViewer(
            shown_reference,
            name=REFERENCE,
            colors=[AIMD],
            frame=int(np.abs(shown_reference.time - shown_generated.time[start]).argmin()),
            **look,
        )
        self.generated_view = TrajectoryViewer(
            shown_generated,
            name=label,
            colors=[GENERATED[0]],
            frame=start,
            sample=sample,
            level=self.aimd.levels,
            **look,
        )
        self.difference_view: TrajectoryViewer | None = None
        if self.overlap:
            change = difference_trajectory(difference(self.generated, self.reference))
            # The first frames of a forecast are nearly right: a level from there would enclose everything later.
            later = np.abs(change.sample(sample).frame(len(change) // 2))
            self.difference_view = TrajectoryViewer(
                change,
                name=f"{label} − {REFERENCE}",
                sample=sample,
                level=float(np.quantile(later, 0.95)) or None,
                **look,
            )
            t.link((self.generated_view, "sample"), (self.difference_view, "sample"))
        alike = self.aimd.meta["signed"] == self.generated_view.meta["signed"]
        for name in _SHARED if alike else _SHARED[3:]:
            t.link((self.aimd, name), (self.generated_view, name))
        link(*self.views)
        self._leader = max(self.views[:2], key=lambda view: view.traj.n_frames)
        for view in self.views:
            view.observe(self._refresh, ["frame", "sample"])
        self._build()
        self._refresh()

    # Parts ------------------------------------------------------------------------------------------------

    @property
    def views(self) -> list[TrajectoryViewer]:
        """The viewers: AIMD, generated and, where there is one, the difference."""
        return [view for view in (self.aimd, self.generated_view, self.difference_view) if view is not None]

    def _build(self) -> None:
        for view in self.views:
            view.layout.width = "auto"
            view.layout.min_width = "0"
        columns = ipywidgets.GridBox(
            self.views,
            layout={"grid_template_columns": f"repeat({len(self.views)}, minmax(0, 1fr))", "grid_gap": "6px"},
        )
        # Linked in the page, so that time moves while the kernel is busy.
        self._play = ipywidgets.ToggleButton(icon="play", tooltip="Play", layout={"width": "42px"})
        self._slider = ipywidgets.IntSlider(
            value=self._leader.frame, max=self._leader.traj.n_frames - 1, readout=False, layout={"flex": "1 1 auto"}
        )
        self._moment = ipywidgets.HTML(layout={"min_width": "90px"})
        ipywidgets.jslink((self._play, "value"), (self._leader, "playing"))
        ipywidgets.jslink((self._slider, "value"), (self._leader, "frame"))
        clock = ipywidgets.HBox([self._play, self._slider, self._moment])
        self._tabs = ipywidgets.ToggleButtons(options=list(TABS), value=self.tab, style={"button_width": "auto"})
        self._scopes = ipywidgets.ToggleButtons(
            options=[("frames shown", "frame"), ("whole trajectories", "whole")],
            value=self.scope,
            style={"button_width": "auto"},
        )
        t.link((self, "tab"), (self._tabs, "value"))
        t.link((self, "scope"), (self._scopes, "value"))
        self.observe(self._refresh, ["tab", "scope"])
        self.note = ipywidgets.HTML()
        self.figure = FigureView()
        bar = ipywidgets.HBox(
            [self._tabs, self._scopes], layout={"justify_content": "space-between", "flex_flow": "wrap"}
        )
        for control in (self._play, self._slider, self._tabs, self._scopes):
            answer_in_subshell(control)
        super().__init__([ipywidgets.HTML(_STYLE), clock, columns, bar, self.note, self.figure])
        self.add_class("edviz-panel")

    @t.validate("tab")
    def _valid_tab(self, proposal: Any) -> str:
        if proposal["value"] not in TABS:
            raise ArgumentError(f"tab must be one of {', '.join(TABS)}; got {proposal['value']!r}")
        return proposal["value"]

    @t.validate("scope")
    def _valid_scope(self, proposal: Any) -> str:
        if proposal["value"] not in ("frame", "whole"):
            raise ArgumentError(f'scope must be "frame" or "whole"; got {proposal["value"]!r}')
        return proposal["value"]

    def _shared_times(self) -> tuple[Any, Any]:
        interval = (self.generated if len(self.generated) > 1 else self.reference).frame_interval
        return matching_frames(self.generated.time, self.reference.time, interval)

    # Measuring --------------------------------------------------------------------------------------------

    @property
    def card(self) -> Scorecard:
        """The scorecard of the whole trajectories; evaluated when it is first asked for."""
        with self._card_lock:
            if self._card is None:
                self._card = evaluate(self.generated, self.reference, self.training, progress=False)
            return self._card

    def draw(self) -> tuple[go.Figure | None, str]:
        """The picture of the present tab and scope, and a sentence of HTML about it."""
        if self.tab in _OF_A_FRAME and self.scope == "frame":
            return self._draw_frame()
        cards = {self.label: self.card}
        figure_of, rows = TABS[self.tab]
        if self.tab == "in time":
            figure = plot_timelines(cards, self._times(), self.generated_view.sample)
        else:
            figure = figure_of(cards)
        judged = [_judgement(name, self.card) for name in rows if name in self.card.rows]
        text = "; ".join(judged)
        if figure is None:
            text = f"Nothing to draw: {text or 'the trajectories are too short'}."
        return figure, text

    def _times(self) -> dict[str, float]:
        """The time of each trajectory that is shown, on its own clock, fs."""
        return {
            REFERENCE: float(self.reference.time[self.aimd.frame]),
            self.label: float(self.generated.time[self.generated_view.frame]),
        }

    def _draw_frame(self) -> tuple[go.Figure | None, str]:
        view = self.generated_view
        if self.tab in ("g(r)", "F(k,t)"):
            return self._draw_moment()
        far = (self.aimd.frame + len(self.reference) // 2) % len(self.reference)
        aimd, unrelated = (_read(self.reference[frame]) for frame in (self.aimd.frame, far))
        ours = _read(self.generated.sample(view.sample)[view.frame])
        both = {REFERENCE: aimd, self.label: ours}
        times = f"AIMD at {aimd.time[0]:g} fs, {escape(self.label)} at {ours.time[0]:g} fs"
        if self.tab == "S(k)":
            return plot_structure_factor(both, n_blocks=0, title="Structure factor of the frames shown"), times
        figure = plot_histogram(both, title="Distribution of the values in the frames shown")
        # The floor: what two AIMD frames that have nothing to do with each other differ by.
        value, floor = (float(jsd(frame, aimd).values.ravel()[0]) for frame in (ours, unrelated))
        return figure, (
            f"{times}: jsd {number(value)} bit; AIMD's own frame at {self.reference.time[far]:g} fs differs from this "
            f"one by {number(floor)} bit"
        )

    def _draw_moment(self) -> tuple[go.Figure | None, str]:
        """g(r) of the frames shown, or F(k,t) of the time about them, on the curves of the whole trajectories."""
        shown = {REFERENCE: (0, self.aimd.frame), self.label: (self.generated_view.sample, self.generated_view.frame)}
        curves, texts, missing = {}, [], []
        for label, (sample, frame) in shown.items():
            times = (self.reference if label == REFERENCE else self.generated).time
            try:
                if self.tab == "g(r)":
                    curves[label] = self._moments.pair_distribution(label, sample, frame)
                    texts.append(f"{escape(label)} at {times[frame]:g} fs")
                else:
                    scattering = self._moments.scattering(label, sample, frame)
                    curves[label] = scattering.rename(k="scattering_k")
                    window = times[self._moments.window(label, frame)]
                    texts.append(f"{escape(label)} from {window[0]:g} to {window[-1]:g} fs")
            except MissingDataError as error:
                missing.append(escape(str(error)))
        if not curves:
            return None, f"Nothing to draw: {'; '.join(dict.fromkeys(missing))}."
        if self._card is None and not self._no_card:
            self._judging.ask(self._judge)
        if self._card is None:
            missing.append(self._no_card or "<i>reading both trajectories for their whole curves …</i>")
        cards = {} if self._card is None else {self.label: self._card}
        draw = pair_figure if self.tab == "g(r)" else scattering_figure
        return draw(cards, curves), "; ".join([", ".join(texts), *missing])

    def _judge(self) -> None:
        """Evaluate, then draw again: the curves of the whole trajectories are there now."""
        try:
            self.card  # noqa: B018  evaluates
        except EdvizError as error:
            self._no_card = f"no curves of whole trajectories: {escape(str(error))}"
        self._refresh()

    # Drawing ----------------------------------------------------------------------------------------------

    def _refresh(self, _: Any = None) -> None:
        if not hasattr(self, "figure"):
            return
        self._moment.value = f"<b>{self._leader.time:,.6g} fs</b>"
        self._scopes.disabled = self.tab not in _OF_A_FRAME
        follows = self.tab == "in time" or (self.tab in _OF_A_FRAME and self.scope == "frame")
        if _ is not None and _["name"] in ("frame", "sample") and not follows:
            return
        self._work.ask(lambda: self._show())

    def _show(self) -> None:
        whole = not (self.tab in _OF_A_FRAME and self.scope == "frame")
        if whole and self._card is None:
            self.note.value = "<i>reading both trajectories …</i>"
        try:
            figure, text = self.draw()
        except EdvizError as error:
            figure, text = None, f"<b>{escape(str(error))}</b>"
        self.note.value = text
        self.figure.show(figure)

    def _complain(self, text: str) -> None:
        self.note.value = f"<pre>{escape(text)}</pre>"

    def wait(self, timeout: float | None = None) -> None:
        """Until the picture is up to date."""
        for work in (self._work, self._judging, self._work):
            work.join(timeout)

    # Leaving ----------------------------------------------------------------------------------------------

    def report(self, path: str | os.PathLike[str] = "report.html") -> Path:
        """Write pictures, curves and tables as one self-contained page: `edviz.plotting.write_report`.

        Raises
        ------
        RenderingError
            Outside the main thread.
        WriteError
            If the file cannot be written.
        """
        from edviz.plotting.report import write_report

        return write_report(
            path, reference=self.reference, generated={self.label: self.generated}, cards={self.label: self.card}
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The panel, and both pictures for where there are no widgets."""
        data = dict(super()._repr_mimebundle_(**kwargs))
        cells = []
        for view in self.views[:2]:
            picture = view._repr_mimebundle_()[0].get("image/png", "")
            cells.append(
                f'<td style="text-align:center">{escape(view.meta["name"])}, {view.time:g} fs<br>'
                f'<img src="data:image/png;base64,{picture}" width="400"></td>'
            )
        data["text/html"] = f"<table><tr>{''.join(cells)}</tr></table>"
        data["text/plain"] = repr(self)
        return data

    def __repr__(self) -> str:
        return (
            f"<ComparisonPanel: {self.label} ({self.generated.n_samples} x {len(self.generated)} frames) beside "
            f"{REFERENCE} ({len(self.reference)} frames)>"
        )


def _read(traj: DensityTrajectory) -> DensityTrajectory:
    """The same frames in memory: several measurements follow."""
    return traj._from_valid(traj.ds.assign(density=traj.density.compute()))


def _from_zero(traj: Any) -> Any:
    """The same frames with the time since the first one."""
    return traj._from_valid(traj.ds.assign_coords(time=("time", traj.time - traj.time[0], {"units": "fs"})))


def _judgement(name: str, card: Scorecard) -> str:
    row = card.rows[name]
    floor = f", floor {number(row.floor)}" if np.isfinite(row.floor) else ""
    value = f" {number(row.value)}{floor}" if np.isfinite(row.value) else ""
    why = f" ({escape(row.note)})" if row.verdict == "no data" else ""
    return f'<span title="{escape(row.note, quote=True)}"><b>{escape(name)}</b>{value}: {row.verdict}{why}</span>'


class _Latest:
    """Runs one job at a time in a thread; of those that are asked for meanwhile only the last."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self._complain = complain
        self._lock = threading.Lock()
        self._next: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None

    def ask(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._next = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="edviz-panel", daemon=True)
                self._thread.start()

    def join(self, timeout: float | None = None) -> None:
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _run(self) -> None:
        while True:
            asked = None
            while asked is not self._next:
                asked = self._next
                time.sleep(_REST)
            with self._lock:
                job, self._next = self._next, None
                if job is None:
                    self._thread = None
                    return
            try:
                job()
            except Exception:
                self._complain(traceback.format_exc(limit=3))

"""The comparison panel without a page: what it pairs, what it draws, what it says, where its numbers come from."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import numpy as np
import pytest

import edviz
from edviz.analysis.divergence import jsd
from edviz.analysis.pairs import pair_distribution
from edviz.analysis.scattering import intermediate_scattering
from edviz.errors import ArgumentError, GridMismatchError, MissingDataError
from edviz.plotting.page import number
from edviz.widgets import ComparisonPanel
from edviz.widgets.comparison import TABS


@pytest.fixture(scope="module")
def reference(lithium: edviz.DensityTrajectory) -> edviz.DensityTrajectory:
    return lithium.resample_grid((12, 12, 12))[500:540]


@pytest.fixture(scope="module")
def rollout(lithium: edviz.DensityTrajectory, reference: edviz.DensityTrajectory) -> edviz.DensityTrajectory:
    """Earlier AIMD on the reference's clock, as if generated: two samples of 60 frames, three of context."""
    early = lithium.resample_grid((12, 12, 12))[:120].density.values.reshape(2, 60, 12, 12, 12)
    time = reference.time[3] + 10 * np.arange(60)
    return edviz.DensityTrajectory.from_arrays(early, reference.grid.cell, time=time, n_electrons=54)


@pytest.fixture(scope="module")
def card(
    rollout: edviz.DensityTrajectory, reference: edviz.DensityTrajectory, lithium: edviz.DensityTrajectory
) -> object:
    return edviz.evaluate(rollout, reference, lithium.resample_grid((12, 12, 12))[200:400], progress=False)


@pytest.fixture
def panel(rollout: edviz.DensityTrajectory, reference: edviz.DensityTrajectory, card: object) -> ComparisonPanel:
    made = edviz.compare(rollout, reference, card=card)
    made.wait(30)
    return made


def decoded(values: object) -> list[float]:
    """Numbers of a plotly figure, which has longer arrays as base64."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).tolist()
    return list(values)  # type: ignore[call-overload]


def names(panel: ComparisonPanel) -> set[str]:
    return {trace.get("name", "") for trace in panel.figure.figure["data"]}


def test_the_views_start_at_one_time_with_one_level_and_are_linked(panel: ComparisonPanel) -> None:
    assert panel.aimd.time == panel.generated_view.time == panel.difference_view.time == panel.reference.time[3]
    assert panel.aimd.levels == panel.generated_view.levels
    assert len({view.link_id for view in panel.views}) == 1 and panel.aimd.link_id
    panel.aimd.level = 0.05
    assert panel.generated_view.levels == [0.05]
    panel.generated_view.sample = 1
    assert panel.difference_view.sample == 1


def test_the_difference_is_generated_minus_aimd(panel: ComparisonPanel) -> None:
    view = panel.difference_view
    assert view.meta["signed"] and view.meta["n_electrons"] is None
    expected = panel.generated.sample(1).frame(4) - panel.reference.frame(7)
    np.testing.assert_allclose(view.traj.sample(1).frame(4), expected, atol=1e-7)


def test_numbers_of_the_frames_shown_are_those_of_analysis(panel: ComparisonPanel) -> None:
    panel.generated_view.sample = 1
    panel.aimd.frame, panel.generated_view.frame = 10, 7
    panel.wait(30)
    value = float(jsd(panel.generated.sample(1)[7], panel.reference[10]).values.ravel()[0])
    assert f"jsd {number(value)} bit" in panel.note.value
    assert f"AIMD at {panel.reference.time[10]:g} fs" in panel.note.value
    assert {"AIMD", "generated"} <= names(panel)


def test_the_picture_follows_the_slider_only_where_it_shows_frames(panel: ComparisonPanel) -> None:
    first = panel.figure.figure
    panel.generated_view.frame = 20
    panel.wait(30)
    assert panel.figure.figure != first
    panel.scope = "whole"
    panel.wait(30)
    whole = panel.figure.figure
    panel.generated_view.frame = 25
    panel.wait(30)
    assert panel.figure.figure is whole


@pytest.fixture(scope="module")
def with_atoms(lithium: edviz.DensityTrajectory) -> ComparisonPanel:
    """All electrons on a grid that shows the atoms: test frames beside earlier ones; evaluated by the panel itself."""
    total = lithium.resample_grid((20, 20, 20)).with_core()
    reference = total[500:540]
    density = total[:100].density.values.reshape(2, 50, 20, 20, 20)
    ours = edviz.DensityTrajectory.from_arrays(
        density,
        reference.grid.cell,
        time=reference.time[3] + 10 * np.arange(50),
        density_kind="total",
        n_electrons=162,
    )
    return edviz.compare(ours, reference)


def lines(panel: ComparisonPanel, faint: bool) -> list[dict]:
    panel.wait(120)
    return [line for line in panel.figure.figure["data"] if line["line"]["color"].startswith("rgba") is faint]


def test_pair_distribution_follows_the_slider_above_that_of_the_whole(with_atoms: ComparisonPanel) -> None:
    panel = with_atoms
    panel.tab = "g(r)"
    panel.aimd.frame, panel.generated_view.frame = 13, 10
    first = lines(panel, faint=False)
    assert [line["name"] for line in first] == [line["name"] for line in lines(panel, faint=True)]
    assert f"generated at {panel.generated.time[10]:g} fs" in panel.note.value
    # What is drawn is g(r) of the stored atoms of this frame, which the density shows.
    stored = panel.reference.ds["positions"].values[13:14]
    expected = pair_distribution(stored, panel.reference.grid.cell, dr=0.2)
    drawn = np.array(decoded(first[0]["y"]))
    assert np.abs(drawn - expected["g"].values).mean() < 0.1 and drawn.max() > 1.5
    panel.aimd.frame, panel.generated_view.frame = 33, 30
    assert decoded(lines(panel, faint=False)[0]["y"]) != decoded(first[0]["y"])
    panel.scope = "whole"
    assert lines(panel, faint=False) and not lines(panel, faint=True)
    panel.scope = "frame"


def test_scattering_is_that_of_the_time_about_the_frame(with_atoms: ComparisonPanel) -> None:
    panel = with_atoms
    panel.tab = "F(k,t)"
    panel.aimd.frame, panel.generated_view.frame = 13, 10
    drawn = lines(panel, faint=False)
    times = panel.reference.time
    assert f"AIMD from {times[0]:g} to {times[-1]:g} fs" in panel.note.value  # it has less than a picosecond
    expected = intermediate_scattering(panel.reference, t_max=130).values
    np.testing.assert_allclose(decoded(drawn[0]["y"]), expected[0], atol=1e-5)
    assert len(drawn) == 6 and len(lines(panel, faint=True)) == 6
    assert "faint" in panel.figure.figure["layout"]["title"]["text"]


def test_a_density_without_its_atoms_is_said_to_show_none(panel: ComparisonPanel) -> None:
    panel.tab = "g(r)"
    panel.wait(30)
    assert panel.figure.figure == {} and "Nothing to draw" in panel.note.value


@pytest.mark.parametrize("tab", list(TABS))
def test_every_tab_draws_the_whole_trajectories_with_their_verdict(panel: ComparisonPanel, tab: str) -> None:
    panel.scope = "whole"
    panel.tab = tab
    panel.wait(30)
    for row in TABS[tab][1]:
        assert f"<b>{row}</b>" in panel.note.value and panel.card.rows[row].verdict in panel.note.value
    if tab == "values":
        assert (
            f"{number(panel.card.rows['jsd'].value)}, floor {number(panel.card.rows['jsd'].floor)}" in panel.note.value
        )
    if panel.figure.figure:
        assert any(name.startswith("generated") for name in names(panel))
    else:
        assert "Nothing to draw" in panel.note.value


def test_the_present_time_is_marked_in_the_timelines(panel: ComparisonPanel) -> None:
    def marks() -> dict[float, str]:
        panel.wait(30)
        shapes = panel.figure.figure["layout"]["shapes"]
        return {shape["x0"]: shape["line"]["color"] for shape in shapes if shape["x0"] == shape["x1"]}

    panel.tab = "in time"
    panel.aimd.frame, panel.generated_view.frame = 12, 9
    assert list(marks()) == [panel.reference.time[12]]
    # The rollout goes on where AIMD has ended: both moments are marked.
    panel.aimd.frame, panel.generated_view.frame = 39, 50
    both = marks()
    assert set(both) == {panel.reference.time[39], panel.generated.time[50]} and len(set(both.values())) == 2


def test_without_a_card_it_evaluates_by_itself(
    rollout: edviz.DensityTrajectory, reference: edviz.DensityTrajectory
) -> None:
    panel = edviz.compare(rollout, reference)
    panel.scope = "whole"
    panel.wait(60)
    assert "jsd" in panel.note.value
    assert panel.card.evidence.generated is panel.generated


def test_trajectories_without_a_common_time_are_shown_from_their_starts(
    lithium: edviz.DensityTrajectory, reference: edviz.DensityTrajectory
) -> None:
    panel = edviz.compare(lithium.resample_grid((12, 12, 12))[:30], reference)
    assert panel.difference_view is None and len(panel.views) == 2
    assert panel.aimd.meta["times"][:2] == panel.generated_view.meta["times"][:2] == [0.0, 10.0]
    assert panel.reference.time[0] == 5000.0 + 70.0 or panel.reference.time[0] > 0


def test_a_rollout_gone_wrong_can_still_be_looked_at(reference: edviz.DensityTrajectory) -> None:
    wild = reference.density.values[:5] - 2 * reference.density.values[5:10] + reference.density.values[10:15]
    traj = edviz.DensityTrajectory._from_valid(reference[:5].ds.assign(density=reference[:5].density.copy(data=wild)))
    panel = edviz.compare(traj, reference)
    panel.wait(60)
    panel.aimd.fraction = 0.25
    assert panel.generated_view.meta["signed"] and panel.generated_view.level_mode == "value"
    assert panel.note.value


def test_what_does_not_belong_together_is_refused(
    rollout: edviz.DensityTrajectory, reference: edviz.DensityTrajectory, lithium: edviz.DensityTrajectory
) -> None:
    with pytest.raises(GridMismatchError, match="resample_grid"):
        edviz.compare(rollout, lithium[500:540])
    with pytest.raises(MissingDataError, match="sample"):
        edviz.compare(rollout, rollout)
    with pytest.raises(ArgumentError, match="label"):
        edviz.compare(rollout, reference, label="AIMD")
    panel = edviz.compare(rollout, reference)
    with pytest.raises(ArgumentError, match="tab"):
        panel.tab = "histogram"
    with pytest.raises(ArgumentError, match="scope"):
        panel.scope = "all"


def test_a_failure_is_said_in_the_panel(panel: ComparisonPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise GridMismatchError("the cure <here>")

    monkeypatch.setattr(panel, "draw", broken)
    panel.tab = "S(k)"
    panel.wait(30)
    assert "the cure &lt;here&gt;" in panel.note.value and panel.figure.figure == {}


def test_where_there_are_no_widgets_both_pictures_stand_in(panel: ComparisonPanel) -> None:
    data = panel._repr_mimebundle_()
    pictures = re.findall(r'base64,([^"]+)"', data["text/html"])
    assert len(pictures) == 2 and all(base64.b64decode(p).startswith(b"\x89PNG") for p in pictures)
    assert "2 x 60 frames" in data["text/plain"]


def test_the_report_is_one_page_with_the_card_and_no_addresses(panel: ComparisonPanel, tmp_path: Path) -> None:
    path = panel.report(tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert number(panel.card.rows["jsd"].floor) in text and "generated" in text
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="http', text)


def test_the_state_that_a_notebook_saves_is_small(panel: ComparisonPanel) -> None:
    import json

    from ipywidgets import Widget

    state = Widget.get_manager_state(widgets=None)["state"]
    ours = [entry for entry in state.values() if entry["state"].get("_anywidget_id", "").endswith("FigureView")]
    assert ours and all(len(json.dumps(entry)) < 300_000 for entry in ours)

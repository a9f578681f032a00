"""The panel of a molecular dynamics run: what it tells, and a run from a cell in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from edviz.aimd.progress import Report
from edviz.widgets import aimd
from edviz.widgets.aimd import AIMDPanel
from edviz.widgets.charts import POINTS
from tests.aimd.conftest import qepy
from tests.widgets.browser import Lab, Notebook, number_in, wait_for

__all__ = ["qepy"]

RUN = """import edviz
traj = edviz.aimd.run(
    edviz.aimd.liquid("Li", 4, 0.483, seed=3), temperature=800, duration=2000, grid=(16, 16, 16), checkpoint_every=20,
    out="li.h5", engine_options={"cutoff": 8.0}, seed=1,
)
print("frames:", len(traj))"""


def report(step: int, target: float | None = 800.0) -> Report:
    """One of a run in a skewed cell, with a density that tells a from b."""
    density = np.zeros((100, 40, 4))
    density[:50] = 1.0
    return Report(
        stage="produce",
        target=target,
        step=step,
        n_steps=2000,
        time=2.0 * step,
        temperature=800.0 + step,
        energy=-30.0,
        conserved=-29.123456789,
        n_iterations=5,
        n_frames=step,
        steps_per_second=10.0,
        seconds_left=9.0,
        density=density,
        cell=np.array([[6.0, 0, 0], [1.5, 5.0, 0], [0, 0, 7.0]]),
    )


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> AIMDPanel:
    shown: list[object] = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    made = AIMDPanel()
    made.start("Li4 at 800 K", Path("runs/li.h5"), 2000, 4)
    assert shown == [made] and made.state["state"] == "starting"
    return made


def test_it_tells_the_run_twice_a_second_and_the_last_step_always(
    panel: AIMDPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(aimd.time, "monotonic", lambda: clock[0])
    told: list[int] = []
    panel.observe(lambda change: told.append(change["new"]["step"]), "state")
    for step in range(1, 1001):
        clock[0] = 0.1 * step
        assert panel.step(report(step, 800.0 if step > 500 else None)) is False
    panel.end("finished", "")
    assert 150 < len(told) < 210 and told[-1] == 1000
    curves = panel.state["curves"]
    assert (
        len(curves["time"]) <= POINTS and curves["temperature"][-1] == 1800 and curves["conserved"][-1] == -29.1234568
    )
    assert curves["target"][0] is None and curves["target"][-1] == 800
    values = np.array(panel.plane["values"])
    assert values.shape == (34, 40) and values[:17].min() == 1 and values[17:].max() == 0
    assert np.array(panel.plane["vectors"]) == pytest.approx(np.array([[6, 0], [1.5, 5]]))
    assert len(json.dumps(panel.state)) + len(json.dumps(panel.plane)) < 40_000


def test_its_button_stops_the_run_and_is_answered(panel: AIMDPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr(panel, "send", sent.append)
    panel.step(report(1))
    panel._receive(panel, {"type": "stop"}, [])
    assert sent == [{"type": "stop"}] and panel.step(report(2)) is True


@pytest.fixture(scope="module")
def notebook(lab: Lab, page: Page, qepy: None) -> Notebook:
    opened = lab.open(page, "aimd.ipynb", RUN)
    opened.run_first_cell()
    opened.page.locator(".edviz-aimd").first.wait_for(timeout=120_000)
    return opened


def step(notebook: Notebook) -> float:
    """The step that the panel shows."""
    facts = notebook.page.locator(".edviz-aimd .edviz-training-facts span").filter(has_text="step").first
    return number_in(facts.locator("b").inner_text()) if facts.count() else 0.0


def state(notebook: Notebook) -> str:
    return notebook.page.locator(".edviz-aimd .edviz-training-badge").last.inner_text()


def running(notebook: Notebook) -> bool:
    """Whether the cell runs: the kernel's status is also that of the widgets' thread."""
    return bool(notebook.page.locator(".jp-InputPrompt", has_text="[*]").count())


def frames(notebook: Notebook) -> int:
    """What the cell has printed."""
    printed = notebook.page.locator(".jp-OutputArea-output").filter(has_text="frames:")
    return int(number_in(printed.inner_text().split("frames:")[1])) if printed.count() else 0


def test_a_running_cell_shows_its_run_and_its_button_ends_it_with_a_trajectory(notebook: Notebook) -> None:
    wait_for(lambda: state(notebook) == "running" and step(notebook) > 30, 240)
    page = notebook.page
    assert page.locator(".edviz-aimd svg polyline").count() == 4  # three curves and the thermostat's temperature
    assert page.locator(".edviz-aimd .edviz-training-plane").count() == 1
    before = step(notebook)
    wait_for(lambda: step(notebook) > before)
    assert running(notebook)
    page.locator('.edviz-aimd [data-edviz="stop"]').click()
    wait_for(lambda: state(notebook) == "stopped")
    wait_for(lambda: 20 < frames(notebook) < 900)
    wait_for(lambda: not running(notebook))


def test_the_same_cell_goes_on_and_the_notebook_stays_small(notebook: Notebook) -> None:
    got = frames(notebook)
    notebook.run_first_cell()
    wait_for(lambda: state(notebook) == "running" and step(notebook) > got - 20, 120)
    notebook.interrupt()
    wait_for(lambda: state(notebook) == "stopped")
    wait_for(lambda: not running(notebook))
    notebook.command("docmanager:save")
    wait_for(lambda: "AIMDPanel" in notebook.path.read_text())
    assert notebook.path.stat().st_size < 500_000

"""The training panel: what it tells of a run directory, and a run from a cell in a real browser."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import Page

import edviz
from edviz.training.config import TrainingConfig
from edviz.training.directory import RunDirectory
from edviz.widgets.charts import POINTS
from edviz.widgets.training import TrainingPanel
from tests.widgets.browser import Lab, Notebook, number_in, wait_for

RUN = """import edviz, time
traj = edviz.load_sample("lithium-800K")[400:460].resample_grid((16, 16, 16))
config = edviz.TrainingConfig(
    fine_channels=8, coarse_channels=16, autoencoder_batch=2, autoencoder_steps=1000000, diffusion_steps=40,
    diffusion_batch=2, diffusion_channels=16, diffusion_blocks=1, augmented_copies=1, checkpoint_seconds=1,
    validate_every=10, decoder_steps=20, thermostat_frames=4,
)
run = edviz.train(traj, config, out="runs/li", device="cpu")
panel = run.panel()
panel"""


@pytest.fixture
def ended(tmp_path: Path) -> edviz.TrainingRun:
    """A run directory as a failed run leaves it."""
    run = RunDirectory(tmp_path)
    run.write_json("config.json", TrainingConfig().to_dict())
    run.write_status(
        state="failed", stage="autoencoder", step=5000, steps=10000, progress=0.5, error="the disk is full"
    )
    for step in range(1, 5001):
        run.append_metrics({"stage": "autoencoder", "step": step, "elapsed": 1.0 * step, "loss": 1 / step})
    run.append_metrics({"stage": "autoencoder", "step": 5000, "validation_nmae": 2.0})
    return edviz.TrainingRun(tmp_path)


def test_the_state_is_small_and_ends_with_the_last_figures(ended: edviz.TrainingRun) -> None:
    panel = TrainingPanel(ended)
    steps, values = panel.state["curves"]["autoencoder"]["loss"]
    assert len(steps) <= POINTS and steps[-1] == 5000 and values[-1] == pytest.approx(1 / 5000, rel=1e-3)
    assert panel.state["curves"]["autoencoder"]["validation_nmae"] == [[5000], [2.0]]
    assert panel.state["error"] == "the disk is full"
    assert len(str(panel.state)) < 20_000
    panel.close()


def test_it_follows_what_is_appended_and_skips_a_torn_line(ended: edviz.TrainingRun) -> None:
    panel = TrainingPanel(ended)
    with open(ended.directory["metrics.jsonl"], "a") as file:
        file.write('{"stage": "autoencoder", "st')
        file.flush()
        panel.refresh()
        assert panel.state["curves"]["autoencoder"]["loss"][0][-1] == 5000
        file.write('ep": 5001, "loss": 0.5}\n')
    wait_for(lambda: panel.state["curves"]["autoencoder"]["loss"][0][-1] == 5001)  # by its own thread
    panel.close()


def test_buttons_do_what_they_say_and_errors_are_told(ended: edviz.TrainingRun) -> None:
    panel = TrainingPanel(ended)
    panel._receive(panel, {"type": "change", "fields": {"autoencoder_learning_rate": 1e-3}}, [])
    wait_for(lambda: ended.directory.read_json("control.json") == {"autoencoder_learning_rate": 1e-3})
    panel._receive(panel, {"type": "change", "fields": {"autoencoder_learning_rate": 50}}, [])
    wait_for(lambda: "outside" in panel.notice)
    assert ended.directory.read_json("control.json") == {"autoencoder_learning_rate": 1e-3}
    panel.close()


@pytest.fixture(scope="module")
def notebook(lab: Lab, page: Page) -> Notebook:
    opened = lab.open(page, "training.ipynb", RUN)
    opened.run_first_cell()
    opened.page.locator(".edviz-training").first.wait_for(timeout=120_000)
    return opened


def step(notebook: Notebook) -> float:
    """The step that the panel shows."""
    facts = notebook.page.locator(".edviz-training-facts span").filter(has_text="step").first
    return number_in(facts.locator("b").inner_text()) if facts.count() else 0.0


def badge(notebook: Notebook) -> str:
    return notebook.page.locator(".edviz-training-badge").first.inner_text()


def curve_points(notebook: Notebook) -> int:
    lines = notebook.page.locator(".edviz-training-chart polyline")
    return len(str(lines.first.get_attribute("points")).split()) if lines.count() else 0


def button(notebook: Notebook, name: str) -> None:
    notebook.page.locator(f'[data-edviz="{name}"]').first.click()


def test_a_run_started_from_a_cell_shows_its_curve_growing_while_another_cell_runs(notebook: Notebook) -> None:
    wait_for(lambda: curve_points(notebook) >= 2, 120)
    notebook.add_cell("end = time.time() + 8\nwhile time.time() < end: pass")
    wait_for(lambda: notebook.status() == "busy")
    before, points = step(notebook), curve_points(notebook)
    wait_for(lambda: step(notebook) > before and curve_points(notebook) > points, 60)
    assert badge(notebook) == "running"
    notebook.wait_until_idle()
    wait_for(lambda: notebook.page.locator(".edviz-training-plane").count() == 2, 30)


def test_the_rate_is_changed_from_the_panel(notebook: Notebook) -> None:
    notebook.page.locator('[data-edviz="learning_rate"]').fill("0.0007")
    button(notebook, "change")
    wait_for(lambda: "0.0007" in notebook.page.locator(".edviz-training-events").inner_text(), 30)


def test_after_a_reload_of_the_page_it_is_there_again_and_stops(notebook: Notebook) -> None:
    notebook.command("docmanager:save")
    notebook.page.reload()
    notebook.wait_until_idle()
    notebook.page.locator(".edviz-training").first.wait_for(timeout=60_000)
    before = step(notebook)
    wait_for(lambda: step(notebook) > before, 60)
    button(notebook, "stop")
    wait_for(lambda: badge(notebook) == "stopped", 60)
    assert notebook.path.stat().st_size < 500_000


def test_after_a_restart_of_the_kernel_another_cell_reattaches_and_resumes_to_the_end(notebook: Notebook) -> None:
    notebook.ask("run.change(autoencoder_steps=run.status['step'] + 30)")
    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    time.sleep(1)
    notebook.wait_until_idle()
    notebook.command("notebook:clear-all-cell-outputs")
    notebook.add_cell('import edviz\nrun = edviz.TrainingRun("runs/li")\nrun.panel()')
    notebook.page.locator(".edviz-training").first.wait_for(timeout=60_000)
    assert badge(notebook) == "stopped"
    button(notebook, "resume")
    wait_for(lambda: badge(notebook) == "finished", 180)
    wait_for(lambda: notebook.page.locator(".edviz-training-legend").count() == 1, 30)

"""The comparison panel in JupyterLab: one slider for all views, pictures that follow, a notebook that stays small."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.widgets.browser import Lab, Notebook, View, is_a_picture, wait_for

FIRST = """import edviz, numpy as np
traj = edviz.load_sample("lithium-800K").resample_grid((24, 24, 24))
test = traj[500:540]
rollout = edviz.DensityTrajectory.from_arrays(
    traj[:60].density.values.reshape(2, 30, 24, 24, 24), traj.grid.cell, time=test.time[3] + 10 * np.arange(30),
    n_electrons=54,
)
panel = edviz.compare(rollout, test)
panel"""


@pytest.fixture(scope="module")
def notebook(lab: Lab, page: Page) -> Notebook:
    opened = lab.open(page, "panel.ipynb", FIRST)
    opened.run_first_cell()
    page.locator(".edviz").first.wait_for(timeout=120_000)
    for number in range(3):
        View(page, number).wait("edviz.stats.drawnFrame !== null", 120)
    return opened


def test_three_views_and_a_figure_appear(notebook: Notebook) -> None:
    page = notebook.page
    page.locator(".edviz-figure .main-svg").first.wait_for(timeout=60_000)
    assert all(is_a_picture(View(page, number).pixels()) for number in range(3))
    assert "jsd" in page.locator(".edviz-panel").inner_text()


def test_one_slider_moves_all_views_and_what_is_measured(notebook: Notebook) -> None:
    page = notebook.page
    handle = page.locator(".edviz-panel .noUi-handle").first
    handle.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    for number, frame in enumerate((8, 5, 5)):
        View(page, number).wait_for_frame(frame)
    time = notebook.ask("print(f'{test.time[8]:g}')")
    wait_for(lambda: f"generated at {time} fs" in page.locator(".edviz-panel").inner_text())


def test_tabs_change_the_figure(notebook: Notebook) -> None:
    page = notebook.page
    page.get_by_role("button", name="in time").click()
    title = page.locator(".edviz-figure .gtitle")
    wait_for(lambda: title.text_content() == "Frame by frame", 120)
    assert "charge" in page.locator(".edviz-panel").inner_text()


def test_scattering_follows_the_slider(notebook: Notebook) -> None:
    page = notebook.page
    page.get_by_role("button", name="F(k,t)").click()
    title = page.locator(".edviz-figure .gtitle")
    wait_for(lambda: (title.text_content() or "").startswith("F(k,t) around the time shown"), 120)
    # The rollout has less than a picosecond: its window is all of it.
    times = notebook.ask("print(f'{rollout.time[0]:g} to {rollout.time[-1]:g} fs')")
    wait_for(lambda: f"generated from {times}" in page.locator(".edviz-panel").inner_text())


def test_the_saved_notebook_is_small(notebook: Notebook) -> None:
    notebook.command("docmanager:save")
    wait_for(lambda: "ComparisonPanel" in notebook.path.read_text())
    assert notebook.path.stat().st_size < 1_000_000

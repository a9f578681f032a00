"""The viewer in JupyterLab, as a user meets it. One notebook, in the order in which one would work."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Page

import edviz
from edviz.plotting.surfaces import extract_surface
from tests.widgets.browser import Lab, Notebook, View, is_a_picture, number_in, wait_for

FIRST = """import edviz, time
traj = edviz.load_sample("lithium-800K")
v = traj.view()
v"""


@pytest.fixture(scope="module")
def notebook(lab: Lab, page: Page) -> Notebook:
    opened = lab.open(page, "viewer.ipynb", FIRST)
    opened.run_first_cell()
    return opened


@pytest.fixture
def view(notebook: Notebook) -> View:
    """The first viewer, showing its first frame at the level it started with."""
    notebook.page.locator(".edviz").first.wait_for(timeout=60_000)
    view = View(notebook.page)
    view.bring_into_view()
    view.wait("edviz.stats.drawnFrame !== null")
    notebook.ask("v.playing = False; v.frame = 0; v.camera = None; v.level_mode = 'value'; v.levels = [0.0439]")
    view.wait("edviz.stats.drawnFrame === 0 && edviz.stats.levels[0] === 0.0439")
    return view


def test_the_viewer_appears(view: View) -> None:
    assert is_a_picture(view.pixels())
    assert "0 fs" in view.part("time-label").inner_text()
    assert view.part("badge").inner_text() == ""


def test_the_slider_changes_the_frame(view: View, notebook: Notebook) -> None:
    before = view.pixels()
    view.part("time").fill("37")
    view.wait_for_frame(37)
    assert "370 fs" in view.part("time-label").inner_text()
    after = view.pixels()
    assert is_a_picture(after) and np.abs(after - before).mean() > 2
    wait_for(lambda: notebook.ask("print(v.frame)") == "37")


def test_keys_step_through_time(view: View, notebook: Notebook) -> None:
    view.root.focus()
    for key, frame in [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("Shift+ArrowRight", 11), ("End", 633), ("ArrowRight", 0)]:  # fmt: skip  # noqa: E501
        view.page.keyboard.press(key)
        view.wait_for_frame(frame)
    view.page.keyboard.press("Space")
    view.wait("edviz.stats.drawnFrame > 5")
    view.page.keyboard.press("Space")
    wait_for(lambda: notebook.ask("print(v.playing)") == "False")
    assert notebook.page.locator(".jp-Notebook .jp-Cell").count() == 1  # no key reached the notebook


def test_the_isovalue_changes_the_surface_and_it_is_that_of_vtk(view: View, lithium: edviz.DensityTrajectory) -> None:
    values, cell = lithium.frame(0), lithium.grid.cell
    pictures = []
    for level in (0.03, 0.05, 0.065):
        view.part("level-number").fill(str(level))
        view.part("level-number").press("Enter")
        view.wait(f"Math.abs(edviz.stats.levels[0] - {level}) < 1e-9 && !edviz.stats.coarse")
        surface = extract_surface(values, cell, level, capped=True)
        assert view.read("edviz.stats.surfaceVolume") == pytest.approx(surface.volume, rel=5e-3)
        assert view.read("edviz.stats.surfaceArea") == pytest.approx(surface.area, rel=5e-3)
        pictures.append(view.pixels())
        assert is_a_picture(pictures[-1])
        share = 100 * values[values > level].sum() / values.sum()
        assert number_in(view.part("level-note").inner_text()) == pytest.approx(share, rel=0.02)
    assert np.abs(pictures[0] - pictures[1]).mean() > 2 and np.abs(pictures[1] - pictures[2]).mean() > 2


def test_what_is_set_in_python_shows_in_the_page(view: View, notebook: Notebook) -> None:
    view.root.focus()  # a number that is being typed is not overwritten
    notebook.ask("v.fraction = 0.25; v.time = 101")
    view.wait_for_frame(10)
    view.wait("edviz.session.state.level_mode === 'electrons'")
    assert number_in(view.part("level-number").input_value()) == 25
    plain = view.pixels()
    notebook.ask("v.slices = [{'hkl': [1, 1, 0], 'position': 0.5}]; v.repeat = [2, 1, 1]")
    view.wait("edviz.session.state.slices.length === 1 && edviz.session.state.repeat[0] === 2")
    assert np.abs(view.pixels() - plain).mean() > 2
    notebook.ask("v.slices = []; v.repeat = [1, 1, 1]")


def test_it_answers_while_another_cell_runs(view: View, notebook: Notebook) -> None:
    notebook.add_cell("while True:\n    time.sleep(0.01)")
    running = notebook.page.locator(".jp-InputPrompt", has_text="[*]")
    running.wait_for()
    view.bring_into_view()
    try:
        for frame in (400, 250, 555):  # far from what was prefetched
            view.part("time").fill(str(frame))
            view.wait_for_frame(frame, 10)
        assert running.count() == 1
        wait_for(lambda: view.part("badge").inner_text() == "")
    finally:
        notebook.interrupt()
    running.wait_for(state="detached")


def test_views_of_one_model_move_together(view: View, notebook: Notebook) -> None:
    notebook.add_cell("v")
    other = View(notebook.page, 1)
    other.bring_into_view()
    other.wait_for_frame(0)
    other.part("time").fill("8")
    view.wait_for_frame(8)
    assert is_a_picture(other.pixels())


def test_linked_viewers_share_camera_and_time(view: View, notebook: Notebook) -> None:
    shown = notebook.page.locator(".edviz")
    before = shown.count()
    notebook.add_cell("a, b = traj.view(show_histogram=False), traj.view(show_histogram=False)\n"
                      "edviz.widgets.link(a, b)\ndisplay(a, b)")  # fmt: skip
    wait_for(lambda: shown.count() == before + 2)
    left, right = View(notebook.page, before), View(notebook.page, before + 1)
    for each in (left, right):
        each.bring_into_view()
        each.wait_for_frame(0)
    unturned = right.pixels()
    left.part("canvas").scroll_into_view_if_needed()
    box = left.part("canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    notebook.page.mouse.move(x, y)
    notebook.page.mouse.down()
    notebook.page.mouse.move(x + 120, y + 40, steps=5)
    left.wait("edviz.session.state.camera !== null")
    notebook.page.mouse.up()
    position = left.read("edviz.session.state.camera.position")
    right.wait("edviz.session.state.camera !== null")
    assert right.read("edviz.session.state.camera.position") == pytest.approx(position)
    assert np.abs(right.pixels() - unturned).mean() > 2
    left.part("time").fill("12")
    right.wait_for_frame(12)
    wait_for(lambda: notebook.ask("print(b.frame, b.camera is not None)") == "12 True")
    assert view.read("edviz.session.state.camera") is None  # the viewer that is not linked stays


def test_a_snapshot_of_the_page_reaches_the_kernel(view: View, notebook: Notebook) -> None:
    notebook.ask("v.snapshot('page.png')")
    path = notebook.path.parent / "page.png"
    wait_for(path.exists)
    from PIL import Image

    assert is_a_picture(np.asarray(Image.open(path).convert("RGB"), dtype=float))


def test_the_saved_notebook_is_small_and_has_a_picture(view: View, notebook: Notebook) -> None:
    import nbformat

    notebook.command("docmanager:save")
    wait_for(lambda: "image/png" in notebook.path.read_text())
    assert notebook.path.stat().st_size < 1_000_000
    outputs = (
        nbformat.read(notebook.path, as_version=4).cells[0].outputs
    )  # on a slow machine a progress bar comes first
    assert {"image/png", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(outputs[-1].data)


def test_after_a_kernel_restart_it_shows_what_it_has_and_says_so(view: View, notebook: Notebook) -> None:
    view.part("time").fill("20")
    view.wait_for_frame(20)
    view.wait("edviz.stats.cacheFrames > 25")
    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    view.wait("!edviz.session.answering")
    assert "kernel" in view.part("badge").inner_text()
    view.part("time").fill("22")
    view.wait_for_frame(22)
    assert is_a_picture(view.pixels())

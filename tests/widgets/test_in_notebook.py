"""The viewer in Notebook 7: it appears, follows its slider, and hears Python. The rest is in test_in_jupyterlab.py."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.widgets.browser import Lab, Notebook, View, chromium_path, is_a_picture, wait_for


@pytest.fixture(scope="module")
def notebook(page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    chromium_path()
    pytest.importorskip("notebook", minversion="7")
    server = Lab(tmp_path_factory.mktemp("notebook"), "notebook")
    opened = server.open(page, "viewer.ipynb", 'import edviz\nv = edviz.load_sample("lithium-800K").view()\nv')
    opened.run_first_cell()
    yield opened
    server.close()


def test_the_viewer_works_in_notebook_7(notebook: Notebook) -> None:
    assert "/notebooks/" in notebook.page.url
    notebook.page.locator(".edviz").first.wait_for(timeout=60_000)
    view = View(notebook.page)
    view.bring_into_view()
    view.wait_for_frame(0)
    first = view.pixels()
    assert is_a_picture(first)
    view.part("time").fill("37")
    view.wait_for_frame(37)
    later = view.pixels()
    assert is_a_picture(later) and np.abs(later - first).mean() > 2
    wait_for(lambda: notebook.ask("print(v.frame)") == "37")
    notebook.ask("v.frame = 64")
    view.wait_for_frame(64)
    assert "640 fs" in view.part("time-label").inner_text()


def test_it_answers_while_a_cell_runs(notebook: Notebook) -> None:
    notebook.add_cell("import time\nwhile True:\n    time.sleep(0.01)")
    running = notebook.page.locator(".jp-InputPrompt", has_text="[*]")
    running.wait_for()
    view = View(notebook.page)
    view.bring_into_view()
    try:
        for frame in (400, 250):  # far from what was prefetched
            view.part("time").fill(str(frame))
            view.wait_for_frame(frame, 10)
        assert running.count() == 1
    finally:
        notebook.interrupt()
    running.wait_for(state="detached")

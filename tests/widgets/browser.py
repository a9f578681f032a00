"""A real notebook in a real browser: JupyterLab or Notebook 7, driven by Playwright through Debian's chromium.

Where there is no chromium the tests are skipped, saying so; with EDVIZ_REQUIRE_BROWSER set (continuous integration)
that is an error instead.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import nbformat
import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

REPOSITORY = Path(__file__).parents[2]
#: How long to wait for anything, s. Machines that run tests are often busy; what is right comes much sooner.
PATIENCE = 60
#: Software rendering, so that results do not depend on a graphics card.
FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox", "--disable-dev-shm-usage"]


def chromium_path() -> str:
    """Debian's chromium, or a skip that says what is missing."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    missing = None
    if found is None:
        missing = "no chromium found: apt-get install chromium"
    try:
        import playwright  # noqa: F401
    except ImportError:
        missing = "playwright is not installed: pip install playwright"
    if missing is None:
        return str(found)
    if os.environ.get("EDVIZ_REQUIRE_BROWSER"):
        pytest.fail(f"EDVIZ_REQUIRE_BROWSER is set, but {missing}")
    pytest.skip(missing)


@contextmanager
def launched() -> Iterator[Browser]:
    """A headless browser."""
    path = chromium_path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


#: How each front end is told to be quiet and to let itself be driven, and where it shows a notebook.
FRONT_ENDS = {
    "jupyterlab": (
        ["--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None",
         "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
        "lab/tree/{}?reset",
    ),
    "notebook": (["--JupyterNotebookApp.expose_app_in_browser=True"], "notebooks/{}"),
}  # fmt: skip


class Lab:
    """A server of JupyterLab, or of another front end, in a folder of its own."""

    def __init__(self, folder: Path, front_end: str = "jupyterlab") -> None:
        self.folder = folder
        options, self.place = FRONT_ENDS[front_end]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
            "JUPYTER_CONFIG_DIR": str(folder / ".config"),
            "JUPYTER_DATA_DIR": str(folder / ".data"),
            "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(folder / ".settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces"),
            "IPYTHONDIR": str(folder / ".ipython"),
        }
        quiet = folder / ".settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
        quiet.parent.mkdir(parents=True)
        quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
        self.log = (folder / "lab.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", front_end, "--no-browser", "--allow-root", f"--port={port}", "--port-retries=0",
             "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=", "--ServerApp.password=", *options,
             f"--ServerApp.root_dir={folder}"],
            env=environment, cwd=folder, stdout=self.log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        deadline = time.monotonic() + 180
        while True:
            try:
                urlopen(f"{self.url}/api", timeout=5).close()
                return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    text = (folder / "lab.log").read_text()
                    raise RuntimeError(f"{front_end} did not start:\n{text}") from error
                time.sleep(0.2)

    def close(self) -> None:
        """Stop the server and its kernels."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()

    def open(self, page: Page, name: str, first_cell: str = "") -> Notebook:
        """A new notebook, open and with its kernel ready."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(first_cell)],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        nbformat.write(notebook, self.folder / name)
        page.goto(f"{self.url}/{self.place.format(name)}")
        opened = Notebook(page, self.folder / name)
        opened.wait_until_idle()
        return opened


class Notebook:
    """A notebook that is open in a page."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.path = path

    def wait_until_idle(self) -> None:
        """Until the kernel has nothing to do."""
        self.page.wait_for_function(
            """() => {
                const session = window.jupyterapp?.shell?.currentWidget?.sessionContext?.session;
                return session?.kernel?.status === 'idle' && session.kernel.connectionStatus === 'connected';
            }""",
            timeout=1000 * PATIENCE,
        )

    def command(self, name: str) -> None:
        """Run a command of JupyterLab."""
        self.page.evaluate("name => window.jupyterapp.commands.execute(name)", name)

    def run_first_cell(self) -> None:
        """Run the first cell without waiting for its end."""
        self.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0; }")
        self.start("notebook:run-cell")

    def start(self, name: str) -> None:
        """Begin a command without waiting for its end."""
        self.page.evaluate("name => { window.jupyterapp.commands.execute(name); }", name)

    def add_cell(self, code: str) -> None:
        """A new cell below, run without waiting for its end."""
        self.command("notebook:insert-cell-below")
        self.page.evaluate(
            "code => { window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.setSource(code); }",
            code,
        )
        self.start("notebook:run-cell")

    def ask(self, code: str) -> str:
        """Run code in the kernel beside the notebook and return what it prints."""
        return self.page.evaluate(
            """async code => {
                const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({ code, store_history: false });
                let text = '';
                future.onIOPub = m => {
                    if (m.header.msg_type === 'stream') text += m.content.text;
                    if (m.header.msg_type === 'error') text += m.content.traceback.join('\\n');
                };
                await future.done;
                return text;
            }""",
            code,
        ).strip()

    def interrupt(self) -> None:
        """Stop what the kernel is doing."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")

    def status(self) -> str:
        """The kernel's status, such as "busy"."""
        return self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status")


_FIND = "const edviz = document.querySelectorAll('.edviz')[n]?.parentElement.edviz;"


class View:
    """One viewer in a page, notebook or not."""

    def __init__(self, page: Page, number: int = 0) -> None:
        self.page = page
        self.number = number
        self.root: Locator = page.locator(".edviz").nth(number)

    def bring_into_view(self) -> None:
        """Scroll to it: JupyterLab leaves out what is not on the screen."""
        self.root.wait_for(state="attached", timeout=1000 * PATIENCE)
        self.root.scroll_into_view_if_needed(timeout=1000 * PATIENCE)

    def part(self, name: str) -> Locator:
        """An element by the name that the front end gives it."""
        return self.root.locator(f'[data-edviz="{name}"]')

    def read(self, expression: str) -> Any:
        """A JavaScript expression of `edviz`, the view's handle."""
        return self.page.evaluate(f"n => {{ {_FIND} return {expression}; }}", self.number)

    def wait(self, condition: str, timeout: float = PATIENCE) -> None:
        """Until a JavaScript condition of `edviz` holds."""
        self.page.wait_for_function(
            f"n => {{ {_FIND} return edviz && ({condition}); }}", arg=self.number, timeout=1000 * timeout
        )

    def wait_for_frame(self, frame: int, timeout: float = PATIENCE) -> None:
        """Until the frame is drawn in full."""
        self.wait(f"edviz.stats.drawnFrame === {frame} && !edviz.stats.coarse", timeout)

    def pixels(self) -> np.ndarray:
        """(height, width, 3) of what the user sees of the picture, 0 to 255."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        png = self.part("canvas").screenshot()
        return np.asarray(Image.open(BytesIO(png)).convert("RGB"), dtype=np.float64)


def is_a_picture(pixels: np.ndarray) -> bool:
    """Neither blank nor noise: there is contrast, and neighbours are alike."""
    grey = pixels.mean(axis=-1)
    if grey.std() < 10:
        return False
    return bool(np.abs(np.diff(grey, axis=1)).mean() < 0.2 * grey.std())


def number_in(text: str) -> float:
    """The first number in a text."""
    found = re.search(r"-?\d+(\.\d+)?(e-?\d+)?", text)
    assert found, text
    return float(found.group())


def wait_for(condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
    """Until a condition on this side holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.1)

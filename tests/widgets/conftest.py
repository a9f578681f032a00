"""Trajectories that the widgets' tests share with those of the pictures, and one browser and server for all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.plotting.conftest import gaussian, lumps
from tests.widgets.browser import Lab, chromium_path, launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser", "gaussian", "lab", "lumps", "page"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One headless chromium."""
    with launched() as running:
        yield running


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One JupyterLab server."""
    chromium_path()
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """One page, as wide as a laptop's."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()

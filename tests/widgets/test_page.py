"""A trajectory as one HTML file: what is in it, and that it works from disk with the network off."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import edviz
from edviz.errors import ArgumentError, FrameIndexError
from edviz.widgets import page as page_module
from edviz.widgets.page import embed, json_for_html, viewer_page
from tests.widgets.browser import View, is_a_picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Make = Callable[..., edviz.DensityTrajectory]


def test_frames_are_chosen_and_renumbered(make_trajectory: Make) -> None:
    viewer = make_trajectory(n_samples=2).view(sample=1, frame=3)
    data = embed(viewer, slice(1, None, 2))
    assert [f["frame"] for f in data["frames"]] == [0, 1] and {f["sample"] for f in data["frames"]} == {0}
    meta = data["state"]["meta"]
    assert meta["times"] == [13.0, 33.0] and meta["n_frames"] == 2 and meta["n_samples"] == 1
    assert data["state"]["frame"] == 1 and data["state"]["sample"] == 0
    assert viewer.meta["n_frames"] == 5


@pytest.mark.parametrize("frames", [[0, 7], [], [2, 1], [0.5], slice(9, None)])
def test_frames_that_are_not_there_are_refused(make_trajectory: Make, frames: object) -> None:
    with pytest.raises((ArgumentError, FrameIndexError)):
        embed(make_trajectory().view(), frames)


def test_a_long_trajectory_is_thinned_and_says_so(make_trajectory: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "DEFAULT_MEGABYTES", 3 * 2e-6 * 4 / 3 * 240)
    with pytest.warns(UserWarning, match="3 of them"):
        data = embed(make_trajectory().view())
    assert data["state"]["meta"]["times"] == [3.0, 23.0, 43.0]


def test_nothing_in_the_data_ends_the_script_element() -> None:
    nasty = {"name": "</script><b>&\u2028"}
    text = json_for_html(nasty)
    assert "<" not in text and json.loads(text) == nasty


def test_the_page_holds_everything_it_needs(trajectory: edviz.DensityTrajectory) -> None:
    text = viewer_page(trajectory.view(name="a <b>"), title="Lithium & co")
    assert "<title>Lithium &amp; co</title>" in text
    markup = re.sub(r"<script type=\"application/json\".*?</script>", "", text, flags=re.S)
    assert not re.search(r"(src|href)\s*=|https?://", markup)


def test_the_name_must_end_in_html(trajectory: edviz.DensityTrajectory, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="html"):
        trajectory.view().to_html(tmp_path / "x.txt")


def test_it_opens_from_disk_with_the_network_off(
    browser: Browser, lithium: edviz.DensityTrajectory, tmp_path: Path
) -> None:
    path = lithium.view(frame=3).to_html(tmp_path / "lithium.html", slice(0, 12))
    context = browser.new_context(viewport={"width": 1000, "height": 700}, offline=True)
    try:
        page = context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda r: None if r.url.startswith(("file:", "blob:", "data:")) else complaints.append(r.url)
        )
        page.goto(path.as_uri())
        view = View(page)
        view.wait_for_frame(3)
        first = view.pixels()
        assert is_a_picture(first)
        view.part("time").fill("9")
        view.wait_for_frame(9)
        moved = view.pixels()
        assert np.abs(moved - first).mean() > 2
        view.part("level-number").fill("0.06")
        view.part("level-number").press("Enter")
        view.wait("edviz.stats.levels[0] === 0.06")
        assert np.abs(view.pixels() - moved).mean() > 2
        view.page.wait_for_timeout(3500)  # without a kernel nobody owes an answer
        assert view.part("badge").inner_text() == "" and not complaints
    finally:
        context.close()

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edviz.analysis.comparison import Comparison
from edviz.analysis.scorecard import evaluate
from edviz.errors import ArgumentError, GridMismatchError


@pytest.fixture(scope="module")
def pair(coarse):
    """A rollout that is real data, and the same fading away."""
    real = coarse.split("train")[:260]
    values = real.density.values
    mean = values.mean()
    fading = mean + (values - mean) * np.linspace(1, 0.7, 260)[:, None, None, None]
    faded = type(coarse)(real.ds.assign(density=real.density.copy(data=fading.astype(np.float32))))
    return [evaluate(traj, coarse, progress=False) for traj in (real, faded)]


def test_side_by_side(pair):
    found = pair[0].compare(pair[1], names=["real", "fading"])
    assert isinstance(found, Comparison)
    frame = found.to_dataframe()
    for name, card in zip(("real", "fading"), pair, strict=True):
        pd.testing.assert_frame_equal(
            frame[name], card.to_dataframe()[["value", "ratio", "verdict"]], check_names=False
        )
    assert frame.loc["drift_std", ("real", "verdict")] == "pass"
    assert frame.loc["drift_std", ("fading", "verdict")] == "fail"
    assert list(pair[0].compare(pair[1], pair[0]).cards) == ["model 1", "model 2", "model 3"]
    assert "fading" in repr(found) and found._repr_html_().count("<tr") == len(frame) + 1


def test_as_a_page(pair, tmp_path):
    path = tmp_path / "both.html"
    text = pair[0].compare(pair[1], names=["real", "fading"]).to_html(path)
    assert path.read_text(encoding="utf-8") == text
    assert text.count("<tbody>") == 3 and text.count("plotly.js v") == 1
    assert text.index("Side by side") < text.index("how it was judged") < text.index("Does the contrast last?")


def test_what_cannot_be_compared(pair, coarse):
    with pytest.raises(ArgumentError, match="two scorecards"):
        pair[0].compare()
    for names in (["one"], ["same", "same"]):
        with pytest.raises(ArgumentError, match="distinct names"):
            pair[0].compare(pair[1], names=names)
    with pytest.raises(ArgumentError, match="reference"):
        pair[0].compare(pair[1], names=["AIMD", "b"])
    other = evaluate(coarse[:60], coarse.split("test")[:50], progress=False)
    with pytest.raises(GridMismatchError, match="another reference"):
        pair[0].compare(other)

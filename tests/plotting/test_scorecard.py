"""The scorecard's figure: every panel has AIMD and the rollout, in the colours that all pictures share."""

import pytest

import edviz
from edviz.plotting.scorecard import plot_scorecard
from edviz.plotting.theme import AIMD, GENERATED


@pytest.fixture(scope="module")
def figure():
    traj = edviz.load_sample("lithium-800K").resample_grid((12, 12, 12))
    return plot_scorecard(edviz.evaluate(traj[:60], traj[500:540], training=traj[200:400], progress=False))


def test_colours_and_panels(figure):
    colours = {(trace.name, trace.line.color) for trace in figure.data if trace.name in ("AIMD", "generated")}
    assert colours == {("AIMD", AIMD), ("generated", GENERATED[0])}
    axes = {trace.xaxis for trace in figure.data if trace.name == "AIMD"}
    assert axes == {"x", "x2", "x4", "x5", "x6"}  # errors per lead time have no AIMD line but its extrapolations


def test_axes_carry_units(figure):
    titles = [axis.title.text for axis in figure.select_xaxes()]
    assert titles == ["log<sub>10</sub> ρ (e/Å³)", "k (1/Å)", "lead time (fs)"] + 3 * ["time (ps)"]

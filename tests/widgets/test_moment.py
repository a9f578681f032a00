"""One frame's atoms, and the motion in the time about it: right windows, the numbers of analysis, nothing twice."""

from __future__ import annotations

import numpy as np
import pytest

import edviz
from edviz.analysis.pairs import pair_distribution
from edviz.analysis.scattering import intermediate_scattering
from edviz.errors import MissingDataError
from edviz.widgets.moment import FRAME_DR, Moments


@pytest.fixture(scope="module")
def aimd(lithium: edviz.DensityTrajectory) -> edviz.DensityTrajectory:
    return lithium[200:400].resample_grid((12, 12, 12))


@pytest.fixture(scope="module")
def moments(aimd: edviz.DensityTrajectory) -> Moments:
    return Moments({"AIMD": aimd}, "AIMD")


@pytest.mark.parametrize(("frame", "start"), [(0, 0), (40, 0), (75, 25), (100, 50), (150, 99), (199, 99)])
def test_windows_hold_a_picosecond_about_the_frame_and_end_with_the_trajectory(
    moments: Moments, frame: int, start: int
) -> None:
    window = moments.window("AIMD", frame)
    assert window == slice(start, start + 101)
    assert window.start <= frame < window.stop


def test_every_frame_lies_in_its_window(moments: Moments) -> None:
    windows = [moments.window("AIMD", frame) for frame in range(200)]
    assert all(window.start <= frame < window.stop for frame, window in enumerate(windows))
    assert len({window.start for window in windows}) == 5


def test_scattering_is_that_of_analysis_and_is_computed_once_a_window(
    moments: Moments, aimd: edviz.DensityTrajectory
) -> None:
    found = moments.scattering("AIMD", 0, 100)
    np.testing.assert_array_equal(found.values, intermediate_scattering(aimd[50:151], t_max=200).values)
    assert moments.scattering("AIMD", 0, 104) is found
    assert not np.array_equal(moments.scattering("AIMD", 0, 150).values, found.values)


def test_a_short_trajectory_is_its_own_window_with_shorter_times(aimd: edviz.DensityTrajectory) -> None:
    short = Moments({"AIMD": aimd[:30]}, "AIMD")
    assert short.window("AIMD", 29) == slice(0, 30)
    assert float(short.scattering("AIMD", 0, 3)["lag"].max()) == 90  # a third of 290 fs, in frames
    with pytest.raises(MissingDataError):
        Moments({"AIMD": aimd[:1]}, "AIMD").scattering("AIMD", 0, 0)


def test_atoms_of_a_frame_are_those_stored(lithium: edviz.DensityTrajectory) -> None:
    total = lithium[:20].resample_grid((20, 20, 20)).with_core()
    found = Moments({"AIMD": total}, "AIMD").pair_distribution("AIMD", 0, 7)
    stored = pair_distribution(total.ds["positions"].values[7:8], total.grid.cell, dr=FRAME_DR)["g"]
    np.testing.assert_allclose(found["r"], stored["r"])
    # The same pairs, but those that a hundredth of an angstrom takes into the next shell.
    shells = found["r"].values ** 2
    assert np.abs(np.cumsum((found - stored).values * shells)).max() < 0.05 * np.sum(stored.values * shells)


def test_a_frame_that_has_lost_its_atoms_is_refused(lithium: edviz.DensityTrajectory) -> None:
    total = lithium[:2].resample_grid((20, 20, 20)).with_core()
    wave = 0.12 + 0.01 * np.sin(2 * np.pi * np.arange(20) / 20)
    flat = edviz.DensityTrajectory.from_arrays(
        np.tile(wave[:, None, None] + wave[:, None] + wave, (2, 1, 1, 1)),
        total.grid.cell,
        time=total.time,
        density_kind="total",
    )
    moments = Moments({"AIMD": total, "generated": flat}, "AIMD")
    with pytest.raises(MissingDataError, match="generated at 10 fs shows 1 of 54 atoms"):
        moments.pair_distribution("generated", 0, 1)


def test_a_density_that_does_not_show_atoms_says_so(moments: Moments) -> None:
    with pytest.raises(MissingDataError, match="holes"):
        moments.pair_distribution("AIMD", 0, 0)

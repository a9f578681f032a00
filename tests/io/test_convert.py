"""`edviz convert`: a series in, a native file or another series out, resumed after a stop."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import edviz
from edviz.cli import app
from edviz.errors import GridMismatchError
from edviz.io import convert as module
from edviz.io.convert import convert

runner = CliRunner()


@pytest.fixture
def series(make_trajectory, tmp_path):
    """Twelve CHGCARs whose names sort naturally only, and what is in them."""
    traj = make_trajectory(n_frames=12)
    folder = tmp_path / "run"
    folder.mkdir()
    for i in range(12):
        traj[i].to_file(folder / f"CHGCAR_{i}")
    return traj, folder


def same(found, traj, n=None):
    n = len(traj) if n is None else n
    assert len(found) == n
    for i in range(n):
        np.testing.assert_array_equal(found.frame(i), traj.frame(i))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_series_becomes_a_native_file(series, tmp_path, workers):
    traj, folder = series
    assert convert(edviz.open(folder, timestep=10.0), tmp_path / "out.h5", workers=workers) == 12
    back = edviz.open(tmp_path / "out.h5")
    same(back, traj)
    assert back.time.tolist() == (10.0 * np.arange(12)).tolist()
    assert back.ds.attrs["unwrapped"] == "minimum image"


def test_a_stopped_conversion_goes_on(series, tmp_path, monkeypatch):
    traj, folder = series
    opened, out = edviz.open(folder, timestep=10.0), tmp_path / "out.h5"
    read = module._read

    def stopped(i):
        if i == 7:
            raise KeyboardInterrupt
        return read(i)

    monkeypatch.setattr(module, "_read", stopped)
    with pytest.raises(KeyboardInterrupt):
        convert(opened, out, workers=1)
    same(edviz.open(out), traj, 7)
    monkeypatch.setattr(module, "_read", read)
    assert convert(opened, out, workers=1) == 5
    same(edviz.open(out), traj)
    assert convert(opened, out, workers=1) == 0
    with pytest.raises(GridMismatchError, match="not the first of these"):
        convert(edviz.open(folder, timestep=5.0), out, workers=1)


def test_a_series_of_another_format(series, tmp_path):
    traj, folder = series
    opened = edviz.open(folder, timestep=10.0)
    out = tmp_path / "cubes" / "rho-%03d.cube"
    assert convert(opened, out, workers=1) == 12
    (tmp_path / "cubes" / "rho-004.cube").unlink()
    assert convert(opened, out, workers=1) == 1
    back = edviz.open(tmp_path / "cubes" / "*.cube", timestep=10.0)
    np.testing.assert_allclose(back.density.values, traj.density.values, rtol=6e-5)


def test_the_command_line(series, tmp_path):
    traj, folder = series
    out = str(tmp_path / "out.h5")
    command = ["convert", str(folder / "CHGCAR_*"), out, "--timestep", "10", "--workers", "1"]
    done = runner.invoke(app, [*command, "--option", "density_kind=pseudo"])
    assert done.exit_code == 0, done.output
    assert "12 frames written" in done.output
    back = edviz.open(out)
    same(back, traj)
    assert back.density_kind == "pseudo"
    wrong = runner.invoke(app, ["convert", str(folder / "CHGCAR_*"), str(tmp_path / "o.h5"), "--option", "colour=red"])
    assert wrong.exit_code == 1 and "take no option colour=" in wrong.output

import shutil
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from oracles import FIXTURES

import edviz
from edviz.errors import ArgumentError, FileFormatError
from edviz.io.backend import EdvizBackend

LIH = FIXTURES / "qe" / "lih-spin.save"


def test_open_dataset_gives_what_edviz_open_gives() -> None:
    ds = xr.open_dataset(LIH, engine=EdvizBackend)
    expected = edviz.open(LIH).ds
    xr.testing.assert_identical(ds.load(), expected.load())
    edviz.DensityTrajectory(ds)


@pytest.mark.parametrize("chunks", [None, {}, {"time": 1}])
def test_chunks(chunks: dict[str, int] | None) -> None:
    ds = xr.open_dataset(LIH, engine=EdvizBackend, chunks=chunks)
    assert ds["density"].isel(time=0).mean().compute() > 0
    np.testing.assert_array_equal(ds["density"].values, edviz.open(LIH).density.values)


def test_native_files_too_and_lazily(tmp_path: Path) -> None:
    traj = edviz.load_sample("lithium-800K")[:3]
    traj.to_file(tmp_path / "x.h5")
    ds = xr.open_dataset(tmp_path / "x.h5", engine=EdvizBackend)
    np.testing.assert_array_equal(ds["density"][1].values, traj.frame(1))
    assert ds.attrs["density_kind"] == "valence"


def test_options_and_errors_pass_through(tmp_path: Path) -> None:
    ds = xr.open_dataset(LIH, engine=EdvizBackend, drop_variables=["magnetization"])
    assert "magnetization" not in ds and "density" in ds
    with pytest.raises(ArgumentError, match="no option all_electron="):
        xr.open_dataset(LIH, engine=EdvizBackend, all_electron=True)
    (tmp_path / "x.cube").write_text("nothing of the kind\n")
    with pytest.raises(FileFormatError, match=r"x\.cube is in no format edviz reads"):
        xr.open_dataset(tmp_path / "x.cube", engine=EdvizBackend)


def test_a_pattern_is_one_dataset(tmp_path: Path) -> None:
    for i in (2, 10):
        shutil.copytree(LIH, tmp_path / f"step{i}.save")
    ds = xr.open_dataset(tmp_path / "step*.save", engine=EdvizBackend, timestep=2.5)
    assert ds["time"].values.tolist() == [0, 2.5]


def test_engine_may_be_left_away_for_names_that_only_edviz_reads() -> None:
    guess = EdvizBackend().guess_can_open
    for name in ("CHGCAR", "CHG_001", "AECCAR0.gz", "run/lih.save/", "rho.cube.xz", "x.gpw", "lih_DEN", Path("a.xsf")):
        assert guess(name), name
    for name in ("x.nc", "x.h5", "lih_DEN.nc", "x.zarr", "CHANGES", b"CHGCAR", ["CHGCAR"], 3):
        assert not guess(name), name


def test_entry_point_names_the_class() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"]["xarray.backends"]
    assert EntryPoint("edviz", declared["edviz"], "xarray.backends").load() is EdvizBackend

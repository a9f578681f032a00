from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray as xr

import edviz
from edviz import samples
from edviz.errors import UnknownSampleError

FILE = samples._FOLDER / "lithium-800K.h5"


def test_the_sample_is_small_and_complete(lithium):
    assert FILE.stat().st_size <= 25e6
    assert lithium.n_frames == 634
    assert lithium.frame_interval == 10
    assert lithium.density.shape == (634, 32, 32, 32)
    assert {"positions", "velocities", "forces", "energy", "temperature", "numbers"} <= set(lithium.ds)
    assert lithium.ds["numbers"].values.tolist() == [3] * 54


def test_the_split_is_that_of_the_full_run(lithium):
    attrs = lithium.ds.attrs
    assert (attrs["train_end_fs"], attrs["validation_start_fs"], attrs["test_start_fs"]) == (4870, 4384, 5070)
    assert [lithium.split(part).n_frames for part in ("train", "validation", "test")] == [488, 49, 127]


@pytest.mark.parametrize(("density", "electrons"), [("valence", 54), ("total", 162)])
def test_every_frame_integrates_to_its_electrons(density, electrons):
    traj = edviz.load_sample("lithium-800K", density=density)
    assert traj.density_kind == density
    assert traj.n_electrons == electrons
    some = traj[::53].density.values.astype(float)
    assert some.min() > 0
    assert some.mean(axis=(1, 2, 3)) * traj.grid.volume == pytest.approx(electrons, rel=1e-6)


def test_the_sample_is_liquid_lithium_at_800_kelvin(lithium):
    assert float(lithium.ds["temperature"].mean()) == pytest.approx(780, abs=15)
    some = lithium[::20].density.values.astype(float)
    assert some.std() / some.mean() == pytest.approx(0.253, abs=0.005)
    # Valence densities have holes at the ions.
    i = np.round(lithium.grid.to_fractional(lithium.ds["positions"].values[0]) * 32).astype(int) % 32
    assert np.median(lithium.frame(0)[tuple(i.T)]) < 0.5 * some.mean()


def test_persistence_has_the_known_error(lithium):
    frames = lithium[:60].density.values.astype(float)
    assert 100 * np.abs(np.diff(frames, axis=0)).mean() / frames.mean() == pytest.approx(6.7, abs=0.3)


def test_what_was_lost_is_said(lithium):
    attrs = lithium.ds.attrs
    assert "rounded" in attrs["loss"] and f"{attrs['density_max_error']:.2e}" in attrs["loss"]
    assert attrs["density_max_error"] <= 4.01e-5
    assert attrs["density_mean_error"] < attrs["density_max_error"]
    assert "k-points" in attrs["caveats"]
    assert "54 electrons" in attrs["history"]
    assert "/" not in attrs["settings"], "no path of the machine that ran it"


def test_plain_tools_read_the_file(lithium):
    with xr.open_dataset(FILE) as ds:
        plain = ds["density"].isel(time=7).values
        assert ds["positions"].values == pytest.approx(lithium.ds["positions"].values)
    with h5py.File(FILE) as file:
        stored = file["density"]
        assert stored.chunks == (1, 32, 32, 32)
        step = stored.attrs["scale_factor"]
        assert plain == pytest.approx(stored[7] * step)
    # Plain tools do not take the dither off: half a step at most, and the scaling to 54 electrons.
    assert np.abs(lithium.frame(7) - plain).max() <= 0.51 * step


def test_loading_is_lazy(lithium):
    assert set(lithium.density.chunks[0]) == {1}


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownSampleError, match="no sample 'sodium'; there are: lithium-800K"):
        edviz.load_sample("sodium")
    with pytest.raises(ValueError, match="'valence' or 'total'"):
        edviz.load_sample("lithium-800K", density="core")

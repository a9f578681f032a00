"""Readers beside pymatgen, ASE and pandas on the same files of 160^3 points; peak memory; a series of a thousand files.

Every reader gives the values as an array (na, nb, nc); edviz also in e/angstrom^3 and checked. The best of the rounds
counts: other programs on the machine only ever make a run slower.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edviz
from edviz.io.series import open_files

pytest.importorskip("pytest_benchmark")
N = 160
CELL = np.array([[10.0, 0.0, 0.0], [0.5, 10.0, 0.0], [0.0, 0.3, 12.0]])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A CHGCAR and a cube file of the same density."""
    folder = tmp_path_factory.mktemp("readers")
    values = np.random.default_rng(0).lognormal(-3, 1.5, (N, N, N)).astype(np.float32)
    atoms = {"positions": np.zeros((1, 1, 3)), "numbers": [14]}
    traj = edviz.DensityTrajectory.from_arrays(values, CELL, **atoms)
    traj.to_file(folder / "CHGCAR")
    traj.to_file(folder / "x.cube")
    return folder


def read_edviz(path):
    return edviz.open(path).density.values[0]


def chgcar_pymatgen(path):
    outputs = pytest.importorskip("pymatgen.io.vasp.outputs")
    return outputs.Chgcar.from_file(str(path)).data["total"]


def chgcar_ase(path):
    from ase.calculators.vasp import VaspChargeDensity

    return VaspChargeDensity(str(path)).chg[0]


def with_pandas(path, skip, columns):
    import pandas as pd

    frame = pd.read_csv(path, sep=r"\s+", header=None, skiprows=skip, names=range(columns), engine="c", dtype=float)
    flat = frame.to_numpy().ravel()
    return flat[~np.isnan(flat)]


def chgcar_pandas(path):
    return with_pandas(path, 11, 5).reshape(N, N, N).transpose(2, 1, 0)


def cube_pymatgen(path):
    return pytest.importorskip("pymatgen.io.common").VolumetricData.from_cube(str(path)).data["total"]


def cube_ase(path):
    from ase.io.cube import read_cube

    with open(path) as file:
        return read_cube(file)["data"]


def cube_pandas(path):
    return with_pandas(path, 7, 6).reshape(N, N, N)


def compare(benchmark, read, path, rounds):
    values = benchmark.pedantic(read, args=(path,), rounds=rounds, warmup_rounds=1 if rounds > 2 else 0)
    benchmark.extra_info["MB_per_second"] = path.stat().st_size / 1e6 / benchmark.stats["min"]
    assert np.asarray(values).squeeze().shape == (N, N, N)
    reference = read_edviz(path)
    ratio = np.asarray(values).squeeze()[::17, ::13, ::11] / reference[::17, ::13, ::11]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-4)  # each in its own unit


@pytest.mark.benchmark(group="CHGCAR, 160^3")
@pytest.mark.parametrize(
    "read, rounds",
    [(read_edviz, 9), (chgcar_pymatgen, 9), (chgcar_pandas, 5), (chgcar_ase, 1)],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_chgcar(benchmark, files, read, rounds):
    compare(benchmark, read, files / "CHGCAR", rounds)


@pytest.mark.benchmark(group="cube, 160^3")
@pytest.mark.parametrize(
    "read, rounds",
    [(read_edviz, 9), (cube_pymatgen, 2), (cube_pandas, 5), (cube_ase, 2)],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_cube(benchmark, files, read, rounds):
    compare(benchmark, read, files / "x.cube", rounds)


# VmHWM is the peak of this program; ru_maxrss starts at that of the process that forked it, pytest with its arrays.
PEAK = """
import re, sys, edviz

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])

edviz.open(sys.argv[2]).density.values  # imports and buffers
before = peak()
values = edviz.open(sys.argv[1]).density.values
print((peak() - before) / values.nbytes)
"""


@pytest.mark.benchmark(group="peak memory over the array")
@pytest.mark.parametrize("name", ["CHGCAR", "x.cube"])
def test_peak_memory(benchmark, files, make_trajectory, name):
    small = files / f"small-{name}"
    make_trajectory(n_frames=1).to_file(small if name.endswith("cube") else files / "CHGCAR_small")
    small = small if name.endswith("cube") else files / "CHGCAR_small"
    command = [sys.executable, "-c", PEAK, str(files / name), str(small)]
    found = benchmark.pedantic(lambda: subprocess.run(command, check=True, capture_output=True, text=True), rounds=1)
    benchmark.extra_info["times_the_array"] = float(found.stdout)
    assert 1 <= float(found.stdout) <= 3  # less than the array itself would be no measurement


@pytest.mark.benchmark(group="opening 1,000 files")
@pytest.mark.parametrize("name", ["CHGCAR_{}", "x_{}.cube"])
def test_series(benchmark, make_trajectory, tmp_path, name):
    """Files of 32^3 points; opening reads their headers and the first one's values."""
    first = tmp_path / name.format(0)
    make_trajectory(n_frames=1, shape=(32, 32, 32)).to_file(first)
    content = first.read_bytes()
    paths = [tmp_path / name.format(i) for i in range(1000)]
    for path in paths:
        path.write_bytes(content)
    opened(benchmark, paths)


def opened(benchmark, paths):
    traj = benchmark.pedantic(open_files, args=(paths, 1.0, {}), rounds=3)
    benchmark.extra_info["ms_per_file"] = 1e3 * benchmark.stats["min"] / len(paths)
    assert len(traj) == len(paths) == 1000


@pytest.mark.benchmark(group="opening 1,000 files")
@pytest.mark.parametrize("name", ["lih.save", "lih-gamma-hdf5.save"])
def test_series_of_quantum_espresso(benchmark, tmp_path, name):
    """charge-density.dat and .hdf5, each with its XML file; the first round also imports."""
    paths = [tmp_path / f"run_{i}.save" for i in range(1000)]
    for path in paths:
        shutil.copytree(Path(__file__).parents[1] / "io" / "fixtures" / "qe" / name, path)
    opened(benchmark, paths)

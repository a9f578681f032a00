from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import long_run
import numpy as np
import pytest
from ase import Atoms, units
from ase.constraints import FixAtoms

import edviz
from edviz.aimd.engine import EngineResult
from edviz.errors import ArgumentError

VARIABLES = ("time", "positions", "velocities", "forces", "energy", "temperature", "density")


@pytest.fixture(scope="module")
def whole(qepy, tmp_path_factory):
    """The uninterrupted run."""
    return long_run.run(tmp_path_factory.mktemp("whole") / "run.h5", progress=False)


def same(one, other):
    for name in VARIABLES:
        assert np.array_equal(one.ds[name].values, other.ds[name].values), name


def test_the_file_is_a_trajectory_of_the_schema(whole):
    edviz.schema.validate(whole.ds)
    assert whole.time.tolist() == [2.0 * k for k in range(21)]
    assert whole.density.shape == (21, 12, 12, 12)
    electrons = whole.density.mean(axis=(1, 2, 3)).values * whole.grid.volume
    assert electrons == pytest.approx(2.0, abs=1e-5)
    assert "Quantum ESPRESSO" in whole.ds.attrs["source"] and "cut-off 6 Ry" in whole.ds.attrs["source"]


def test_stored_quantities_agree_with_each_other(whole):
    ds = whole.ds
    masses = Atoms("Li2").get_masses()
    kinetic = 0.5 * (masses[:, None] * (ds.velocities.values / units.fs) ** 2).sum(axis=(1, 2))
    assert ds.temperature.values == pytest.approx(2 * kinetic / (3 * units.kB), rel=1e-9)  # 6 - 3 degrees of freedom
    assert (masses[:, None] * ds.velocities.values).sum(axis=1) == pytest.approx(0, abs=1e-9)
    moved = np.diff(ds.positions.values, axis=0) / 2.0
    mean = (ds.velocities.values[1:] + ds.velocities.values[:-1]) / 2
    # Verlet positions against the mean of velocities: what the acceleration and the thermostat's noise leave.
    assert np.abs(moved - mean).max() < 0.1 * np.abs(mean).max()


def test_killed_at_random_and_resumed_it_is_the_uninterrupted_run(whole, tmp_path):
    out = tmp_path / "run.h5"
    choose = random.Random(1)
    for kill in range(2):
        process = subprocess.Popen([sys.executable, long_run.__file__, str(out)], stderr=subprocess.DEVNULL)
        until = 1 + 2 * kill
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("run.h5.parts/part-*.h5"))) < until and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(choose.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        so_far = edviz.open(out)
        same(so_far, whole[: len(so_far)])
    same(long_run.run(out, progress=False), whole)
    assert not list(tmp_path.glob("*.parts*"))


def test_what_is_complete_is_returned_and_what_is_longer_goes_on(whole, tmp_path):
    out = tmp_path / "run.h5"
    short = long_run.run(out, duration=16.0, progress=False)
    assert len(short) == 9
    positions = short.ds.positions.values.copy()
    written = out.stat().st_mtime_ns
    same(long_run.run(out, duration=16.0, progress=False), short)
    assert out.stat().st_mtime_ns == written
    # Started anew where the whole run went on: equal within the SCF tolerance.
    run_until_engine_dies(out, 3)
    longer = long_run.run(out, progress=False)
    assert longer.time.tolist() == whole.time.tolist()
    assert np.array_equal(longer.ds.positions[:9], positions)
    assert longer.ds.positions.values == pytest.approx(whole.ds.positions.values, abs=1e-4)
    with pytest.raises(ArgumentError, match=r"another timestep_fs, seed: .*overwrite=True"):
        long_run.run(out, seed=8, timestep=1.0)
    with pytest.raises(ArgumentError, match="another grid"):
        long_run.run(out, grid=(10, 10, 10))


def test_energy_is_conserved_without_a_thermostat(qepy, tmp_path):
    traj = edviz.aimd.run(
        edviz.aimd.liquid("Li", 2, 0.483, seed=3),
        out=tmp_path / "nve.h5",
        ensemble="nve",
        timestep=1.0,
        duration=50.0,
        grid=(8, 8, 8),
        engine_options={"cutoff": 8.0},
        progress=False,
    )
    kinetic = 1.5 * (2 - 1) * units.kB * traj.ds.temperature.values
    total = traj.ds.energy.values + kinetic
    # Potential and kinetic energy exchange tens of meV; their sum keeps to a fraction of one.
    assert np.ptp(kinetic) > 0.02
    assert np.ptp(total) < 0.02 * np.ptp(kinetic)
    slope = np.polyfit(traj.time * 1e-3, total / 2, 1)[0]
    assert abs(slope) < 0.02  # eV an atom and ps


def test_eight_atoms_conserve_energy_and_electrons(qepy, tmp_path):
    """The short form of scripts/check_aimd.py: in 1 ps the drift is 0.5 meV an atom, see docs/aimd.md."""
    traj = edviz.aimd.run(
        edviz.aimd.liquid("Li", 8, 0.483, seed=5),
        out=tmp_path / "nve.h5",
        ensemble="nve",
        timestep=2.0,
        duration=60.0,
        checkpoint_every=20,  # the engine starts anew twice on the way
        progress=False,
    )
    kinetic = 1.5 * (8 - 1) * units.kB * traj.ds.temperature.values
    total = traj.ds.energy.values + kinetic
    assert np.ptp(kinetic) / 8 > 0.05
    assert np.ptp(total) / 8 < 1.5e-3
    electrons = traj.density.mean(axis=(1, 2, 3)).values.astype(float) * traj.grid.volume
    assert electrons == pytest.approx(8.0, abs=1e-5)


class Springs:
    """An engine with a known canonical ensemble: every atom on a spring of its own, in an even density."""

    name, density_kind, n_electrons, stiffness = "springs", "valence", 8.0, 1.0  # eV/angstrom^2

    def prepare(self, atoms):
        self.volume = atoms.get_volume()

    def start(self, atoms):
        pass

    def compute(self, positions):
        away = positions - SITES
        away -= away.mean(axis=0)  # as a whole it is free: the centre of mass rests
        energy = 0.5 * self.stiffness * np.sum(away**2)
        return EngineResult(energy, -self.stiffness * away, np.full((4, 4, 4), 8.0 / self.volume), 1)

    def describe(self):
        return {"engine": "springs", "method": "harmonic"}

    def close(self):
        pass


SITES = 3.0 * np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)], dtype=float)


def test_the_thermostat_gives_the_canonical_distribution(tmp_path):
    atoms = Atoms("Li8", SITES, cell=6 * np.eye(3), pbc=True)
    traj = edviz.aimd.run(
        atoms,
        engine=Springs(),
        temperature=600,
        timestep=2.0,
        duration=8_000.0,
        friction=0.05,
        save_every=5,
        grid=(8, 8, 8),
        checkpoint_every=1000,
        out=tmp_path / "springs.h5",
        progress=False,
    )
    table = edviz.aimd.diagnose(traj, 600.0)
    mean, error, _ = table.loc["mean temperature"]
    assert abs(mean - 600) < 4 * error < 0.15 * 600
    ratio, error, _ = table.loc["temperature fluctuation / canonical"]
    assert abs(ratio - 1) < 4 * error < 0.5
    # 21 springs hold kT/2 each; their sum is gamma-distributed, of variance 21/2 (kT)^2.
    energy = traj.ds.energy.values[200:] / (units.kB * 600)
    assert energy.mean() == pytest.approx(10.5, rel=0.12)
    assert energy.var() == pytest.approx(10.5, rel=0.5)
    with pytest.raises(ArgumentError, match="springs gives no stress"):
        edviz.aimd.run(
            atoms, engine=Springs(), ensemble="npt", pressure=0.0, duration=10.0, grid=(8, 8, 8), out=tmp_path / "no.h5"
        )


def test_nonsense_is_refused_before_anything_runs(pair, tmp_path):
    def refused(match, atoms=pair, **changes):
        with pytest.raises(ArgumentError, match=match):
            edviz.aimd.run(atoms, **{"duration": 10.0, "out": tmp_path / "no.h5"} | changes)

    refused("too long for Li", timestep=5.0)
    refused("on top of each other", Atoms("Li2", [[0, 0, 0], [0, 0, 0.5]], cell=[6, 6, 6], pbc=True))
    refused("no right-handed periodic cell", Atoms("Li2", [[0, 0, 0], [0, 0, 3]]))
    refused("pbc = True", Atoms("Li2", [[0, 0, 0], [0, 0, 3]], cell=[6, 6, 6]))
    fixed = pair.copy()
    fixed.set_constraint(FixAtoms([0]))
    refused("constraints are not kept", fixed)
    refused("too coarse", grid=(4, 4, 4))
    refused("finer than any engine", grid=(1024, 32, 32))
    refused("three whole numbers", grid=(32, 32))
    refused("no stage 'cook'", stages=("cook", "produce"))
    refused("last stage", stages=("melt",))
    refused("'nvt' .* 'nve' .* or 'npt'", ensemble="nph")
    refused("needs a pressure in GPa", ensemble="npt")
    refused("other ensembles have none", pressure=1.0)
    refused("at least 20 fs", ensemble="npt", pressure=0.0, barostat_time=5.0)
    refused("stage 'produce' too", ensemble="npt", pressure=0.0, stages=(edviz.aimd.Stage("produce", 10, 800, 0.01),))
    refused("no engine 'vasp'", engine="vasp")
    refused("'qepy' has no setting 'ecut'; it takes cutoff, kpoints", engine_options={"ecut": 12})
    refused("'espresso' has no setting 'ecut'; it takes command, cutoff", engine="espresso", engine_options={"ecut": 1})
    refused("engine_options is a dictionary", engine_options=["cutoff"])
    refused("'Lithium' is no chemical symbol", engine_options={"pseudopotentials": {"Lithium": "Li.UPF"}})
    refused("object with the methods prepare", engine=None)
    refused("object with the methods prepare", engine=edviz.aimd.QEpyEngine)
    refused("an ase.Atoms object; got a str", atoms="liquid.cif")
    refused("melt of 13 fs is no whole number of steps of 2 fs: take 12 or 14", stages=(stage(duration=13), "produce"))
    refused("produce of 1 fs .* take 2 fs", duration=1.0)
    refused("a stage is a name", stages=(("melt", 20, 1800), "produce"))
    for wrong in ({"duration": -4}, {"duration": 0}, {"temperature": -1}, {"friction": -0.1}, {"pressure": "air"}):
        with pytest.raises(ArgumentError, match=f"stage melt: {next(iter(wrong))}"):
            stage(**wrong)
    refused("before the second frame", duration=10.0, save_every=100)
    refused("whole number from 1", save_every=0)
    for nothing in (-5, 0, None, "hot", np.nan):
        refused("temperature is a positive number in K", temperature=nothing)
        refused("timestep is a positive number in fs", timestep=nothing)
    for nothing in (-1, 1.5, None):
        refused("seed is a whole number from 0", seed=nothing)
    refused("three whole numbers", grid=32)
    refused("whole number from 1", grid=(32.5, 32, 32))
    assert not list(tmp_path.iterdir())


def stage(**changes):
    return edviz.aimd.Stage("melt", **{"duration": 20.0, "temperature": 1800.0, "friction": 0.02} | changes)


def test_numbers_of_any_kind_are_the_same_run(tmp_path):
    """Numpy's as well as Python's, whole or not: they go into the file, and a resumed run compares them."""
    atoms = Atoms("Li8", SITES, cell=6 * np.eye(3), pbc=True)
    out = tmp_path / "run.h5"
    settings = {"engine": Springs(), "out": out, "progress": False}
    plain = edviz.aimd.run(
        atoms, temperature=600, timestep=2, duration=8, seed=3, grid=[8, 8, 8], stages=(stage(), "produce"), **settings
    )
    written = out.stat().st_mtime_ns
    numpy = edviz.aimd.run(
        atoms,
        temperature=np.float32(600),
        timestep=np.float64(2),
        duration=np.int64(8),
        seed=np.int32(3),
        grid=np.array([8, 8, 8]),
        stages=(stage(temperature=np.int64(1800), duration=20), "produce"),
        **settings,
    )
    assert out.stat().st_mtime_ns == written and len(plain) == len(numpy) == 5
    # 400 and 600 fs are no whole numbers of steps of 3 fs: named stages go to the nearest step.
    odd = edviz.aimd.run(
        atoms,
        timestep=3.0,
        duration=6.0,
        grid=(8, 8, 8),
        stages=("melt", "produce"),
        **settings | {"out": tmp_path / "3.h5"},
    )
    assert json.loads(odd.ds.attrs["settings"])["stages"][0]["duration"] == 399.0


def run_until_engine_dies(out, calls, **changes):
    """An engine that dies in the middle: what QE does when memory runs out."""
    engine = edviz.aimd.QEpyEngine(cutoff=6.0, electron_temperature=800)
    compute, left = engine.compute, iter(range(calls, 0, -1))

    def dying(positions):
        if next(left) == 1:
            os.kill(engine.pid, signal.SIGKILL)
        return compute(positions)

    engine.compute = dying
    with pytest.raises(edviz.errors.EngineError, match="killed by signal 9"):
        long_run.run(out, engine=engine, engine_options=None, progress=False, **changes)


def test_a_failing_engine_keeps_its_frames_and_the_run_goes_on(whole, tmp_path):
    run_until_engine_dies(tmp_path / "run.h5", 16)
    same(edviz.open(tmp_path / "run.h5"), whole[: len(edviz.open(tmp_path / "run.h5"))])
    same(long_run.run(tmp_path / "run.h5", progress=False), whole)


def test_what_failed_before_its_first_checkpoint_holds_no_settings(qepy, tmp_path):
    """A first try with a setting that QE refuses must not stand in the way of the second."""
    with pytest.raises(edviz.errors.EngineError, match="meaningless value for ecutwfc"):
        long_run.run(tmp_path / "run.h5", engine_options={"cutoff": 0.5}, progress=False)
    mended = long_run.run(tmp_path / "run.h5", duration=4.0, stages=("produce",), progress=False)
    assert json.loads(mended.ds.attrs["settings"])["cutoff_Ry"] == 6.0 and len(mended) == 3


def test_a_file_is_overwritten_by_a_whole_one_or_not_at_all(whole, tmp_path):
    out = tmp_path / "run.h5"
    whole.isel(time=slice(0, 3)).to_file(out)
    old = out.read_bytes()
    run_until_engine_dies(out, 1, overwrite=True)  # no frame at all
    assert out.read_bytes() == old and not list(tmp_path.glob("*.parts*"))
    run_until_engine_dies(out, 4, overwrite=True, seed=9)  # in the melt, before any checkpoint
    assert out.read_bytes() == old
    # Killed in the melt after a checkpoint, when there is no frame yet: the same run goes on, not that of the old file.
    run_until_engine_dies(out, 7, overwrite=True, seed=9, stages=(MELT, "produce"))
    assert out.read_bytes() == old
    resumed = long_run.run(out, seed=9, stages=(MELT, "produce"), progress=False)
    assert len(resumed) == 21 and not list(tmp_path.glob("*.parts*"))
    assert json.loads(resumed.ds.attrs["settings"])["seed"] == 9
    # Frames of an unfinished run stay until the engine works.
    run_until_engine_dies(tmp_path / "two.h5", 12)
    run_until_engine_dies(tmp_path / "two.h5", 1, overwrite=True)
    same(edviz.open(tmp_path / "two.h5"), whole[: len(edviz.open(tmp_path / "two.h5"))])


MELT = edviz.aimd.Stage("melt", 20.0, 1800.0, 0.02)


@pytest.mark.filterwarnings("ignore:at a cut-off:UserWarning")
def test_at_constant_pressure_the_cell_moves_and_a_killed_run_is_the_uninterrupted_one(qepy, tmp_path):
    settings = {"ensemble": "npt", "pressure": 3.0, "barostat_time": 100.0, "duration": 60.0, "checkpoint_every": 7}
    reports = []
    whole = long_run.run(tmp_path / "whole.h5", progress=reports.append, **settings)
    cells = whole.ds["cell"].values
    edges = cells[:, 0, 0]
    assert cells.shape == (31, 3, 3) and cells == pytest.approx(edges[:, None, None] * np.eye(3))
    # Moves at steps 10, 20, 30 of the whole run, which are 6, 16 and 26 of production; 3 GPa squeeze the liquid.
    moved = np.flatnonzero(np.diff(edges)) + 1
    assert moved.tolist() == [7, 17, 27] and edges[-1] < edges[0]
    fractions = [whole.ds.positions.values[k] / edges[k] for k in (6, 7)]
    assert np.abs(fractions[1] - fractions[0]).max() < 0.02  # atoms went with the cell
    electrons = whole.density.mean(axis=(1, 2, 3)).values * edges**3
    assert electrons == pytest.approx(2.0, abs=1e-5)
    assert "NPT" in whole.ds.attrs["source"] and reports[-1].pressure is not None
    run_until_engine_dies(tmp_path / "run.h5", 25, **settings)
    resumed = long_run.run(tmp_path / "run.h5", progress=False, **settings)
    same(resumed, whole)
    assert np.array_equal(resumed.ds["cell"], cells)


@pytest.mark.filterwarnings("ignore:at a cut-off:UserWarning")
def test_a_run_at_constant_pressure_is_continued_with_its_last_cell(qepy, tmp_path):
    settings = {"ensemble": "npt", "pressure": 3.0, "barostat_time": 100.0}
    short = long_run.run(tmp_path / "run.h5", progress=False, duration=40.0, **settings)
    longer = long_run.run(tmp_path / "run.h5", progress=False, duration=60.0, **settings)
    assert np.array_equal(longer.ds["cell"][: len(short)], short.ds["cell"]) and len(longer) == 31
    steps = np.abs(np.diff(longer.ds["cell"].values[:, 0, 0]))
    assert np.count_nonzero(steps) == 3 and steps.max() < 0.5


def test_a_listener_stops_the_run_and_the_same_call_goes_on(whole, tmp_path):
    out = tmp_path / "run.h5"
    reports = []

    def enough(report):
        reports.append(report)
        return report.step == 14

    part = long_run.run(out, progress=enough)
    assert 1 < len(part) < len(whole)
    same(part, whole[: len(part)])
    same(long_run.run(out, progress=reports.append), whole)
    assert [r.step for r in reports[:14]] == list(range(1, 15)) and reports[14].step == 13  # from the checkpoint at 12
    assert {r.stage for r in reports[:4]} == {"melt"} and reports[3].time == 0 and reports[-1].seconds_left == 0
    last = reports[-1]
    assert last.energy == whole.ds.energy.values[-1] and last.temperature == whole.ds.temperature.values[-1]
    # The heat goes over into the resumed run: the conserved quantity has no jump, though the energy moves by 100 meV.
    conserved = {r.step: r.conserved for r in reports}
    values = np.array([conserved[k] for k in range(1, 25)])
    assert np.abs(np.diff(values)).max() < 2e-3 and np.ptp([r.energy for r in reports]) > 0.1
    with pytest.raises(edviz.errors.MissingDataError, match="before its first frame"):
        long_run.run(tmp_path / "other.h5", progress=lambda report: True)
    with pytest.raises(ArgumentError, match="progress is True, False, 'bar', 'panel' or a function"):
        long_run.run(out, progress="loud")

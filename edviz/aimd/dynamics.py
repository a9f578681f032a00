"""Ab initio molecular dynamics that writes the electron density of every saved step.

Langevin dynamics (E. Vanden-Eijnden, G. Ciccotti, Chem. Phys. Lett. 429, 310 (2006), eq. 23, as in ASE) or
velocity Verlet, with the centre of mass at rest. Two things make a resumed run the uninterrupted one:

* the random numbers of a step come from (seed, number of the step), not from a stream;
* every `checkpoint_every` steps the frames so far go to disk, then the state (`state.json` in the parts folder,
  all digits), and the engine starts anew, whether the run was interrupted or not. What it remembers from step to
  step, extrapolated wave functions, is thus forgotten at the same places.

A kill loses the steps since the last checkpoint; they are computed again, and frames already on disk are not
written twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from edviz.aimd.engine import Engine, EngineCalculator, EngineResult
from edviz.aimd.engines import engine_of
from edviz.aimd.plan import Stage, as_settings, check_atoms, check_grid, check_timestep, stages_of
from edviz.errors import ArgumentError, EngineError, WriteError
from edviz.grid import fourier_resample
from edviz.io.atomic import replacing
from edviz.io.parts import PartWriter, parts_folder, unfinished

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["run"]

_STATE = "state.json"
_CHARGE_ERROR = 1e-4  # electrons an atom: the density that QE gives integrates to 1e-12


def run(
    atoms: Atoms,
    engine: str | Engine = "qepy",
    *,
    temperature: float = 800.0,
    timestep: float = 2.0,
    duration: float,
    stages: Sequence[str | Stage] = ("produce",),
    save_every: int = 1,
    grid: Sequence[int] = (32, 32, 32),
    out: str | os.PathLike[str],
    seed: int = 0,
    ensemble: str = "nvt",
    friction: float = 0.002,
    checkpoint_every: int = 50,
    overwrite: bool = False,
    progress: bool = True,
    engine_options: Mapping[str, Any] | None = None,
) -> DensityTrajectory:
    """Run molecular dynamics and write density, positions, velocities, forces, energy and temperature.

    The same call again goes on with a run that was killed, and returns one that is complete; with a longer
    `duration` it continues.

    Parameters
    ----------
    atoms
        Start structure in a periodic cell. Momenta that are not all zero are kept; otherwise they are drawn at the
        temperature of the first stage. Not changed.
    engine
        "qepy", "dftpy", "espresso" or "gpaw" (docs/aimd.md says what each needs and gives), or any object with the
        interface `edviz.aimd.engine.Engine`, such as a `QEpyEngine` with settings.
    temperature
        K; of the atoms, and of the electrons where the engine gives them one, unless `engine_options` says otherwise.
    timestep
        fs.
    duration
        Of production, fs; frames are at 0, save_every * timestep, ... up to and with `duration`.
    stages
        Names or `Stage` objects; the last is "produce". The clock of the file starts with it.
    save_every
        Steps from one stored frame to the next.
    grid
        Of the stored density; the engine's own is Fourier-resampled to it.
    out
        Path of the file.
    seed
        Of momenta and thermostat.
    ensemble
        "nvt": Langevin. "nve": velocity Verlet.
    friction
        Of the Langevin thermostat in production, 1/fs.
    checkpoint_every
        Steps between checkpoints, at which the engine starts anew (see the module).
    overwrite
        Throw away what is at `out`.
    progress
        Show a bar with temperature, energy, steps a second and time left.
    engine_options
        Keyword arguments of the named engine.

    Returns
    -------
    The trajectory, read from the file.

    Raises
    ------
    ArgumentError
        A setting that makes no sense, with the cure; or `out` holds a run with other settings.
    MissingDataError
        No pseudopotential for an element.
    EngineError
        The engine failed; finished frames are kept, and the same call goes on after the last checkpoint.
    WriteError
        The disk refuses.
    """
    from edviz.io import open as open_trajectory

    check_atoms(atoms)
    check_timestep(atoms, timestep)
    plan = stages_of(stages, temperature, duration, ensemble, friction)
    shape = check_grid(atoms, grid)
    for label, value in {"save_every": save_every, "checkpoint_every": checkpoint_every}.items():
        if int(value) != value or value < 1:
            raise ArgumentError(f"{label} is a whole number from 1 on; got {value}")
    if plan[-1].steps(timestep) < save_every:
        raise ArgumentError(f"a duration of {duration} fs ends before the second frame, {save_every * timestep} fs")
    chosen = engine_of(engine, temperature, engine_options)
    path = Path(out).expanduser()
    system = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True, masses=atoms.get_masses())
    momenta = atoms.get_momenta()
    if not momenta.any():
        momenta = _thermal_momenta(system, plan[0].temperature, seed)
    system.arrays["momenta"] = momenta - system.get_masses()[:, None] * (
        momenta.sum(axis=0) / system.get_masses().sum()
    )
    system.set_constraint(FixCom())
    try:
        chosen.prepare(system)
        settings = {
            **chosen.describe(),
            "timestep_fs": timestep,
            "stages": [*as_settings(plan[:-1]), {**as_settings(plan[-1:])[0], "duration": None}],
            "save_every": save_every,
            "seed": seed,
            "ensemble": ensemble,
            "checkpoint_every": checkpoint_every,
            "start": _fingerprint(atoms),
        }
        last_step = plan[-1].steps(timestep) // save_every * save_every
        if not overwrite and _is_complete(path, settings, shape, last_step * timestep):
            return open_trajectory(path)
        attrs = {
            "density_kind": chosen.density_kind,
            "n_electrons": chosen.n_electrons,
            "title": f"{system.get_chemical_formula()} at {temperature:g} K, {settings['method']} molecular dynamics",
            "source": _source(settings, plan[-1], timestep),
            "settings": json.dumps(settings),
        }
        if overwrite and path.exists():
            path.unlink()
        extended = _state_of_file(path) if path.exists() and unfinished(path) is None else None
        writer = PartWriter(
            path,
            cell=np.asarray(system.cell),
            attrs=attrs,
            numbers=system.numbers,
            frames_per_part=1 << 30,  # parts end at checkpoints, nowhere else
            resume=not overwrite,
            overwrite=overwrite,
        )
        with writer:
            dynamics = _Dynamics(system, chosen, plan, timestep, seed, writer, shape, save_every, checkpoint_every)
            dynamics.take_up(extended)
            dynamics.go(progress)
    finally:
        with suppress(Exception):
            chosen.close()
    return open_trajectory(path)


class _Dynamics:
    """The loop over steps, numbered through all stages."""

    def __init__(
        self,
        atoms: Atoms,
        engine: Engine,
        plan: Sequence[Stage],
        timestep: float,
        seed: int,
        writer: PartWriter,
        shape: tuple[int, int, int],
        save_every: int,
        checkpoint_every: int,
    ) -> None:
        self.atoms, self.engine, self.plan, self.timestep, self.seed = atoms, engine, plan, timestep, seed
        self.writer, self.shape, self.save_every, self.checkpoint_every = writer, shape, save_every, checkpoint_every
        self.ends = np.cumsum([stage.steps(timestep) for stage in plan])
        self.produce_from = int(self.ends[-1]) - plan[-1].steps(timestep)
        self.step = 0

    def take_up(self, extended: tuple[float, NDArray[Any], NDArray[Any]] | None) -> None:
        """Go on from the last checkpoint, or from the last frame of a complete file."""
        file = self.writer.folder / _STATE
        if extended is not None:  # newer than any state: the folder is what a kill left after folding, or new
            time, positions, velocities = extended
            self.step = self.produce_from + round(time / self.timestep)
            self.atoms.arrays["positions"][:] = positions
            self.atoms.arrays["momenta"][:] = velocities / units.fs * self.atoms.get_masses()[:, None]
            self._write_state()
        elif file.exists():
            state = json.loads(file.read_text(encoding="utf-8"))
            last_frame = (state["step"] - self.produce_from) // self.save_every * self.save_every * self.timestep
            if last_frame >= 0 and (self.writer.last_time is None or self.writer.last_time < last_frame - 1e-9):
                return  # parts were taken away: their frames are computed again, from the start
            self.step = state["step"]
            self.atoms.arrays["positions"][:] = state["positions"]
            self.atoms.arrays["momenta"][:] = state["momenta"]

    def go(self, progress: bool) -> None:
        """Run to the end."""
        from tqdm.auto import tqdm

        total = int(self.ends[-1])
        with tqdm(total=total, initial=self.step, unit="step", desc="AIMD", disable=not progress) as bar:
            self._start_engine()
            self._save()
            while self.step < total:
                stage = self.plan[int(np.searchsorted(self.ends, self.step, side="right"))]
                mover = self._mover(stage)
                mover.step()
                self.step += 1
                self._check()
                self._save()
                bar.set_description(stage.name, refresh=False)
                bar.set_postfix(
                    {
                        "T": f"{self.atoms.get_temperature():.0f} K",
                        "E": f"{self.atoms.get_potential_energy():.4f} eV",
                        "scf": self._result().n_iterations,
                    },
                    refresh=False,
                )
                bar.update()
                if self.step % self.checkpoint_every == 0 and self.step < total:
                    self._checkpoint()

    def _mover(self, stage: Stage) -> Any:
        if stage.friction == 0:
            return VelocityVerlet(self.atoms, self.timestep * units.fs)
        return Langevin(
            self.atoms,
            self.timestep * units.fs,
            temperature_K=stage.temperature,
            friction=stage.friction / units.fs,
            fixcm=False,
            rng=np.random.default_rng([self.seed, 1, self.step]),
        )

    def _start_engine(self) -> None:
        self.engine.start(self.atoms)
        self.atoms.calc = EngineCalculator(self.engine)
        self.atoms.get_forces()
        self._check()

    def _result(self) -> EngineResult:
        result = self.atoms.calc.result
        assert result is not None
        return result

    def _check(self) -> None:
        self.atoms.get_forces()
        result = self._result()
        electrons = float(result.density.mean()) * self.atoms.get_volume()
        where = f"step {self.step}"
        if not (np.isfinite(result.forces).all() and np.isfinite(result.energy)):
            raise EngineError(f"{where}: {self.engine.name} gave forces or an energy that are no numbers")
        allowed = _CHARGE_ERROR * len(self.atoms)
        if self.engine.density_kind == "pseudo":  # its integral is no conserved charge; the schema's 1 % holds
            allowed = 0.01 * self.engine.n_electrons
        if abs(electrons - self.engine.n_electrons) > allowed:
            raise EngineError(
                f"{where}: the density of {self.engine.name} integrates to {electrons:.4f} electrons; there are "
                f"{self.engine.n_electrons:g}"
            )

    def _save(self) -> None:
        done = self.step - self.produce_from
        if done < 0 or done % self.save_every:
            return
        time = done * self.timestep
        if self.writer.last_time is not None and time <= self.writer.last_time + 1e-9:
            return  # on disk already: a kill came between the frames and the state
        result = self._result()
        self.writer.append(
            fourier_resample(result.density, self.shape).astype(np.float32),
            time,
            positions=self.atoms.positions,
            velocities=self.atoms.get_velocities() * units.fs,
            forces=result.forces,
            energy=result.energy,
            temperature=self.atoms.get_temperature(),
        )

    def _checkpoint(self) -> None:
        """First the frames, then the state: a kill between the two repeats steps, and loses nothing."""
        self.writer.flush()
        self._write_state()
        self._start_engine()

    def _write_state(self) -> None:
        state = {
            "step": self.step,
            "positions": self.atoms.positions.tolist(),
            "momenta": self.atoms.get_momenta().tolist(),
        }
        file = self.writer.folder / _STATE
        with replacing(file, file.with_suffix(".tmp")) as temporary:
            temporary.write_text(json.dumps(state), encoding="utf-8")


def _thermal_momenta(atoms: Atoms, temperature: float, seed: int) -> NDArray[np.float64]:
    """Maxwell-Boltzmann momenta, in ASE's units."""
    random = np.random.default_rng([seed, 0])
    widths = np.sqrt(atoms.get_masses() * units.kB * temperature)
    return np.asarray(widths[:, None] * random.standard_normal((len(atoms), 3)))


def _fingerprint(atoms: Atoms) -> str:
    """Short hash of the start structure, so that a run is never resumed with another one."""
    import hashlib

    data = [atoms.numbers, np.round(atoms.positions, 6), np.round(atoms.get_momenta(), 6), np.asarray(atoms.cell)]
    return hashlib.sha256(b"".join((np.asarray(x, dtype=np.float64) + 0.0).tobytes() for x in data)).hexdigest()[:16]


def _is_complete(path: Path, settings: Mapping[str, Any], shape: tuple[int, int, int], until: float) -> bool:
    """Whether `out` already holds all of this run.

    Raises
    ------
    ArgumentError
        It holds another run.
    """
    import h5py

    source = path if path.exists() and unfinished(path) is None else None
    if source is None:
        header = parts_folder(path) / "header.json"
        if not header.exists():
            return False
        stored = json.loads(header.read_text(encoding="utf-8"))["attrs"].get("settings")
        time, found_shape = None, None
        parts = sorted(parts_folder(path).glob("part-*.h5"))
        if parts:
            with h5py.File(parts[0], "r") as file:
                found_shape = file["density"].shape[-3:]
    else:
        try:
            with h5py.File(source, "r") as file:
                stored = file.attrs.get("settings")
                time, found_shape = float(file["time"][-1]), file["density"].shape[-3:]
        except (OSError, KeyError) as error:
            raise WriteError(f"{path} is there and no trajectory of edviz: choose another name for out") from error
    old = json.loads(stored) if stored else {}
    different = [key for key in settings if old.get(key) != settings[key]]
    if found_shape is not None and tuple(found_shape) != shape:
        different.append("grid")
    if different:
        raise ArgumentError(
            f"{path} holds a run with another {', '.join(different)}: give the settings it had to go on with it, "
            "another out, or overwrite=True"
        )
    return time is not None and time >= until - 1e-6


def _state_of_file(path: Path) -> tuple[float, NDArray[Any], NDArray[Any]]:
    import h5py

    with h5py.File(path, "r") as file:
        return float(file["time"][-1]), file["positions"][-1], file["velocities"][-1]


def _source(settings: Mapping[str, Any], stage: Stage, timestep: float) -> str:
    thermostat = (
        f"NVT by Langevin dynamics with friction {stage.friction:g}/fs" if stage.friction else "NVE by velocity Verlet"
    )
    kept = ("kinetic_functional", "cutoff_Ry", "cutoff_eV", "density", "kpoints", "smearing", "xc", "pseudopotentials")
    details = ", ".join(f"{key} {settings[key]}" for key in kept if settings.get(key) is not None)
    energy = settings.get("energy", "free energy E - TS of electrons and ions")
    return (
        f"Born-Oppenheimer molecular dynamics by edviz.aimd: {settings['engine']}, {settings['method']} ({details}); "
        f"{thermostat}, steps of {timestep:g} fs. Energy: {energy}."
    )

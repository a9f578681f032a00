"""Ab initio molecular dynamics that writes the electron density of every saved step.

Langevin dynamics (E. Vanden-Eijnden, G. Ciccotti, Chem. Phys. Lett. 429, 310 (2006), eq. 23, as in ASE) or
velocity Verlet, with the centre of mass at rest; at constant pressure the cell is rescaled every few steps
(`edviz.aimd.barostat`) and the engine starts anew with it. Two things make a resumed run the uninterrupted one:

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
import time
import warnings
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

from edviz.aimd.arguments import positive, whole
from edviz.aimd.barostat import EVERY, pressure_of, volume_step
from edviz.aimd.engine import Engine, EngineCalculator, EngineResult
from edviz.aimd.engines import engine_of
from edviz.aimd.plan import Stage, as_settings, check_atoms, check_grid, check_timestep, stages_of
from edviz.aimd.progress import Listener, Progress, Report, Stopped, check_progress, listening
from edviz.errors import ArgumentError, EngineError, MissingDataError, WriteError
from edviz.grid import fourier_resample
from edviz.io.atomic import replacing
from edviz.io.parts import PartWriter, parts_folder, unfinished

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["run"]

Array = NDArray[np.float64]

_STATE = "state.json"
_CUTOFF_FOR_STRESS = 20.0  # Ry
_KPOINTS = {"mean": "the one at (1/4, 1/4, 1/4)", "gamma": "Gamma only"}
_WORDS = {
    "kinetic_functional": "kinetic functional {}",
    "xc": "exchange and correlation {}",
    "cutoff_Ry": "cut-off {} Ry",
    "cutoff_eV": "cut-off {} eV",
    "spacing_A": "grid spacing {} angstrom",
    "kpoints": "k-points: {}",
    "smearing": "smearing {}",
    "density": "{} density",
    "pseudopotentials": "pseudopotentials: {}",
}
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
    pressure: float | None = None,
    barostat_time: float = 500.0,
    checkpoint_every: int = 50,
    overwrite: bool = False,
    progress: Progress = True,
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
        Of production, fs, a whole number of steps; frames are at 0, save_every * timestep, ... up to and with
        `duration`.
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
        "nvt": Langevin. "nve": velocity Verlet. "npt": Langevin at constant pressure, for engines that give stress; the
        shape of the cell is kept, its volume moves, and the file has a cell for each frame.
    friction
        Of the Langevin thermostat in production, 1/fs.
    pressure
        GPa, for "npt" alone; of equilibration and production. Plane waves need a higher cut-off for it than for forces.
    barostat_time
        fs in which the volume relaxes, if the compressibility is 0.1/GPa.
    checkpoint_every
        Steps between checkpoints, at which the engine starts anew (see the module).
    overwrite
        Start anew whatever is at `out`. A file there is replaced when the new run is complete; frames of an unfinished
        run are thrown away once the engine has solved for the first positions.
    progress
        True: in a notebook a panel with a button to stop ("panel"), elsewhere a bar ("bar"). False: neither. A function
        is called after each step with a `Report`; when it returns True the run stops there.
    engine_options
        Keyword arguments of the named engine.

    Returns
    -------
    The trajectory, read from the file; of a run that was stopped, what there is of it.

    Raises
    ------
    ArgumentError
        A setting that makes no sense, with the cure; or `out` holds a run with other settings.
    MissingDataError
        No pseudopotential for an element; or the run was stopped before its first frame.
    EngineError
        The engine failed; finished frames are kept, and the same call goes on after the last checkpoint.
    WriteError
        The disk refuses.
    """
    from edviz.io import open as open_trajectory

    check_atoms(atoms)
    timestep = check_timestep(atoms, timestep)
    temperature = positive("temperature", temperature, "K")
    plan = stages_of(stages, temperature, duration, ensemble, friction, pressure, timestep=timestep)
    barostat_time = positive("barostat_time", barostat_time, "fs")
    if barostat_time < EVERY * timestep:
        raise ArgumentError(
            f"barostat_time is at least {EVERY * timestep:g} fs, the time between two moves; got {barostat_time}"
        )
    shape = check_grid(atoms, grid)
    save_every, checkpoint_every = whole("save_every", save_every), whole("checkpoint_every", checkpoint_every)
    seed = whole("seed", seed, least=0)
    if plan[-1].steps(timestep) < save_every:
        raise ArgumentError(f"a duration of {duration} fs ends before the second frame, {save_every * timestep} fs")
    check_progress(progress)
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
        if ensemble == "npt":
            if not hasattr(chosen, "with_stress"):
                raise ArgumentError(
                    f"the engine {chosen.name} gives no stress, which ensemble='npt' needs: take 'qepy'"
                )
            settings["barostat_time_fs"] = barostat_time
            _warn_of_pulay_stress(settings)
        last_step = plan[-1].steps(timestep) // save_every * save_every
        if not overwrite and _is_complete(path, settings, shape, last_step * timestep):
            return open_trajectory(path)
        title = f"{system.get_chemical_formula()} at {temperature:g} K, molecular dynamics ({settings['method']})"
        attrs = {
            "density_kind": chosen.density_kind,
            "n_electrons": chosen.n_electrons,
            "title": title,
            "source": _source(settings, plan[-1], timestep),
            "settings": json.dumps(settings),
        }
        dynamics = _Dynamics(system, chosen, plan, timestep, seed, shape, save_every, checkpoint_every, barostat_time)
        with listening(progress, title, path, int(dynamics.ends[-1]), len(system)) as listener:
            if overwrite:
                dynamics.start_engine()  # what is there stays until the engine has shown that it works
            complete = None if overwrite else _complete_file(path)
            extended = _state_of_file(complete) if complete else None
            writer = PartWriter(
                path,
                cell=None if dynamics.cell_moves else np.asarray(system.cell),
                attrs=attrs,
                numbers=system.numbers,
                frames_per_part=1 << 30,  # parts end at checkpoints, nowhere else
                resume=not overwrite and (complete is not None or not _replaces_a_file(path)),
                overwrite=overwrite or (complete is None and _holds_nothing(parts_folder(path))),
            )
            with writer:
                dynamics.take_up(writer, extended)
                dynamics.go(listener)
    finally:
        with suppress(Exception):
            chosen.close()
    if writer.n_frames == 0:
        raise MissingDataError(f"{path}: the run was stopped before its first frame. The same call goes on with it")
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
        shape: tuple[int, int, int],
        save_every: int,
        checkpoint_every: int,
        barostat_time: float,
    ) -> None:
        self.atoms, self.engine, self.plan, self.timestep, self.seed = atoms, engine, plan, timestep, seed
        self.shape, self.save_every, self.checkpoint_every = shape, save_every, checkpoint_every
        self.ends = np.cumsum([stage.steps(timestep) for stage in plan])
        self.produce_from = int(self.ends[-1]) - plan[-1].steps(timestep)
        self.step = 0
        self.heat = 0.0  # eV from thermostat and barostat so far
        self.barostat_time = barostat_time
        self.pressure: float | None = None
        self.cell_moves = any(stage.pressure is not None for stage in plan)

    def take_up(self, writer: PartWriter, extended: tuple[float, Array, Array, Array] | None) -> None:
        """Write here from now on; go on from the last checkpoint, or from the last frame of a complete file."""
        self.writer = writer
        file = self.writer.folder / _STATE
        if extended is not None:  # newer than any state: the folder is what a kill left after folding, or new
            time, cell, positions, velocities = extended
            self.step = self.produce_from + round(time / self.timestep)
            self.atoms.set_cell(cell)
            self.atoms.arrays["positions"][:] = positions
            self.atoms.arrays["momenta"][:] = velocities / units.fs * self.atoms.get_masses()[:, None]
            self._write_state()
        elif file.exists():
            state = json.loads(file.read_text(encoding="utf-8"))
            last_frame = (state["step"] - self.produce_from) // self.save_every * self.save_every * self.timestep
            if last_frame >= 0 and (self.writer.last_time is None or self.writer.last_time < last_frame - 1e-9):
                return  # parts were taken away: their frames are computed again, from the start
            self.step = state["step"]
            self.heat = state.get("heat", 0.0)
            self.atoms.set_cell(state.get("cell", self.atoms.cell))
            self.atoms.arrays["positions"][:] = state["positions"]
            self.atoms.arrays["momenta"][:] = state["momenta"]

    def go(self, listener: Listener) -> None:
        """Run to the end, or until the listener has enough."""
        total = int(self.ends[-1])
        if self.atoms.calc is None:
            self.start_engine()
        self._save()
        first, began = self.step, time.monotonic()
        while self.step < total:
            stage = self.plan[int(np.searchsorted(self.ends, self.step, side="right"))]
            if stage.pressure is not None and self.step % EVERY == 0:
                self._rescale(stage, stage.pressure)
            self._ask_for_stress(self.step + 1)
            self._advance(stage)
            self.step += 1
            self._check()
            self._save()
            speed = (self.step - first) / (time.monotonic() - began)
            enough = listener.step(self._report(stage, speed)) is True
            if self.step == total:
                return
            if enough:
                raise Stopped
            if self.step % self.checkpoint_every == 0:
                self._checkpoint()

    def _advance(self, stage: Stage) -> None:
        """One step; what the integrator's work does not account for is heat."""
        kinetic, forces = self.atoms.get_kinetic_energy(), self.atoms.get_forces()
        positions = self.atoms.get_positions()
        self._mover(stage).step()
        new = self.atoms.get_forces()
        work = 0.5 * np.sum((forces + new) * (self.atoms.get_positions() - positions))
        # In velocity Verlet the kinetic energy grows by just this work and this change of dt^2/8 sum F^2/m: no heat.
        square = np.sum((new**2 - forces**2) / self.atoms.get_masses()[:, None]) * (self.timestep * units.fs) ** 2 / 8
        self.heat += float(self.atoms.get_kinetic_energy() - kinetic - work - square)

    def _rescale(self, stage: Stage, wanted: float) -> None:
        """A move of the barostat; its random number comes from the number of the step, like the thermostat's."""
        before = self.atoms.get_potential_energy() + self.atoms.get_kinetic_energy()
        volume, stress = self.atoms.get_volume(), self._result().stress
        if stress is None:
            raise EngineError(f"{self.engine.name} gave no stress, which ensemble='npt' needs: take another engine")
        self.pressure = pressure_of(self.atoms, stress)
        noise = float(np.random.default_rng([self.seed, 2, self.step]).standard_normal())
        share = EVERY * self.timestep / self.barostat_time
        change = volume_step(volume, self.pressure, wanted, stage.temperature, share, noise)
        scale = np.exp(change / 3)
        self.atoms.set_cell(scale * np.asarray(self.atoms.cell))
        self.atoms.arrays["positions"] *= scale
        self.atoms.arrays["momenta"] /= scale
        try:
            check_grid(self.atoms, self.shape)
        except ArgumentError as error:
            raise EngineError(
                f"step {self.step}: at {wanted:g} GPa and {stage.temperature:g} K the cell has grown to "
                f"{self.atoms.get_volume():.0f} angstrom^3 ({error}). Raise the pressure or lower the temperature"
            ) from error
        self.start_engine()
        self.heat += self.atoms.get_potential_energy() + self.atoms.get_kinetic_energy() - before

    def _ask_for_stress(self, step: int) -> None:
        """Have it with the calculation of this step where the barostat moves: it costs as much as half a step."""
        if self.cell_moves:
            self.engine.with_stress = step % EVERY == 0

    def _report(self, stage: Stage, speed: float) -> Report:
        result = self._result()
        energy = float(result.energy)
        return Report(
            stage=stage.name,
            target=stage.temperature if stage.friction else None,
            step=self.step,
            n_steps=int(self.ends[-1]),
            time=(self.step - self.produce_from) * self.timestep,
            temperature=float(self.atoms.get_temperature()),
            energy=energy,
            conserved=energy + float(self.atoms.get_kinetic_energy()) - self.heat,
            n_iterations=result.n_iterations,
            n_frames=self.writer.n_frames,
            steps_per_second=speed,
            seconds_left=(int(self.ends[-1]) - self.step) / speed,
            density=result.density,
            cell=np.asarray(self.atoms.cell),
            pressure=self.pressure,
        )

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

    def start_engine(self) -> None:
        """Start the engine, with nothing left of earlier calculations, and solve for the present positions."""
        self._ask_for_stress(self.step)
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
        cell: dict[str, Any] = {"cell": np.asarray(self.atoms.cell)} if self.cell_moves else {}
        self.writer.append(
            fourier_resample(result.density, self.shape).astype(np.float32),
            time,
            positions=self.atoms.positions,
            velocities=self.atoms.get_velocities() * units.fs,
            forces=result.forces,
            energy=result.energy,
            temperature=self.atoms.get_temperature(),
            **cell,
        )

    def _checkpoint(self) -> None:
        """First the frames, then the state: a kill between the two repeats steps, and loses nothing."""
        self.writer.flush()
        self._write_state()
        self.start_engine()

    def _write_state(self) -> None:
        state = {
            "step": self.step,
            "heat": self.heat,
            "cell": np.asarray(self.atoms.cell).tolist(),
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


def _complete_file(path: Path) -> Path | None:
    """The file at `path`, unless a run beside it has gone further or has begun to replace it."""
    return path if path.exists() and unfinished(path) is None and not _replaces_a_file(path) else None


def _replaces_a_file(path: Path) -> bool:
    """Whether a run beside the file has come to a checkpoint, though to no frame yet: one with overwrite=True."""
    folder = parts_folder(path)
    if not (path.exists() and (folder / _STATE).exists()) or any(folder.glob("part-*.h5")):
        return False
    return (folder / _STATE).stat().st_mtime_ns > path.stat().st_mtime_ns


def _holds_nothing(folder: Path) -> bool:
    """Whether a run ended before its first checkpoint: there is nothing to go on with, and no settings to keep."""
    return not (folder / _STATE).exists() and not any(folder.glob("part-*.h5"))


def _is_complete(path: Path, settings: Mapping[str, Any], shape: tuple[int, int, int], until: float) -> bool:
    """Whether `out` already holds all of this run.

    Raises
    ------
    ArgumentError
        It holds another run.
    """
    import h5py

    source = _complete_file(path)
    if source is None:
        header = parts_folder(path) / "header.json"
        if not header.exists() or _holds_nothing(header.parent):
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


def _state_of_file(path: Path) -> tuple[float, Array, Array, Array]:
    """Time, cell, positions and velocities of the last frame."""
    import h5py

    with h5py.File(path, "r") as file:
        cell = file["cell"][()].reshape(-1, 3, 3)[-1]
        return float(file["time"][-1]), cell, file["positions"][-1], file["velocities"][-1]


def _warn_of_pulay_stress(settings: Mapping[str, Any]) -> None:
    """Of 8 Li atoms, QE's pressure is 0.15 GPa low at 12 Ry, 0.02 at 20: the basis does not grow with the cell."""
    cutoff = settings.get("cutoff_Ry")
    if cutoff is not None and cutoff < _CUTOFF_FOR_STRESS:
        warnings.warn(
            f"at a cut-off of {cutoff:g} Ry the stress of plane waves is not converged (in lithium 0.15 GPa at 12 Ry): "
            f"the run will have too small a volume. engine_options={{'cutoff': {_CUTOFF_FOR_STRESS:g}}} or more; see "
            "docs/aimd.md",
            UserWarning,
            stacklevel=3,
        )


def _plain(value: Any) -> str:
    """A setting as one writes it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    if isinstance(value, list):
        return " x ".join(map(str, value))
    return f"{value:.12g}" if isinstance(value, float) else _KPOINTS.get(value, str(value))


def _source(settings: Mapping[str, Any], stage: Stage, timestep: float) -> str:
    thermostat = (
        f"NVT by Langevin dynamics with friction {stage.friction:g}/fs" if stage.friction else "NVE by velocity Verlet"
    )
    if stage.pressure is not None:
        thermostat = thermostat.replace("NVT", "NPT") + f" and stochastic cell rescaling to {stage.pressure:g} GPa"
    details = ", ".join(
        words.format(_plain(settings[key])) for key, words in _WORDS.items() if settings.get(key) is not None
    )
    energy = settings.get("energy", "free energy E - TS of electrons and ions")
    return (
        f"Born-Oppenheimer molecular dynamics by edviz.aimd: {settings['engine']}, {settings['method']} ({details}); "
        f"{thermostat}, steps of {timestep:g} fs. Energy: {energy}."
    )

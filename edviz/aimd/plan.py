"""What a run does: its stages, and the checks that refuse nonsense before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from edviz.aimd.arguments import finite, positive, whole
from edviz.aimd.structures import nearest_distance
from edviz.errors import ArgumentError

__all__ = ["Stage", "check_atoms", "check_grid", "check_timestep", "stages_of"]

_LONGEST_STEP = 1.2  # fs for an atom of mass 1; grows as the root of the mass. Lithium 3.2 fs, aluminium 6.2 fs
_OVERLAP = 0.55  # of the sum of covalent radii
_COARSEST = 0.8  # angstrom between grid points: no valence density is resolved beyond
_MAX_POINTS = 512


@dataclass(frozen=True)
class Stage:
    """A stretch of dynamics under one thermostat, and perhaps a barostat.

    Attributes
    ----------
    name
        "melt", "equilibrate" or "produce"; only frames of the last are written.
    duration
        fs.
    temperature
        K.
    friction
        Of the Langevin thermostat, 1/fs; 0 is velocity Verlet, constant energy.
    pressure
        GPa; None: the cell is fixed.

    Raises
    ------
    ArgumentError
        A duration or temperature that is not positive, a negative friction, or something that is no number.
    """

    name: str
    duration: float
    temperature: float
    friction: float
    pressure: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ArgumentError(
                f"a stage begins with its name, such as Stage('melt', 400, 1800, 0.02); got {self.name!r}"
            )
        where = f"stage {self.name}"
        values = {
            "duration": positive(f"{where}: duration", self.duration, "fs"),
            "temperature": positive(f"{where}: temperature", self.temperature, "K"),
            "friction": finite(f"{where}: friction", self.friction),
            "pressure": None if self.pressure is None else finite(f"{where}: pressure", self.pressure),
        }
        if self.friction < 0:
            raise ArgumentError(f"{where}: friction is in 1/fs, 0 for constant energy; got {self.friction}")
        for name, value in values.items():
            object.__setattr__(self, name, value)  # plain floats: they go into the file as JSON

    def steps(self, timestep: float) -> int:
        """Number of steps."""
        return round(self.duration / timestep)


def stages_of(
    stages: Sequence[str | Stage],
    temperature: float,
    duration: float,
    ensemble: str,
    friction: float,
    pressure: float | None = None,
    *,
    timestep: float,
) -> list[Stage]:
    """The stages in order. Names stand for the recipe of the bundled data.

    "melt": 400 fs at 2.25 times the temperature, friction 0.02/fs. "equilibrate": 600 fs, friction 0.02/fs; both to
    the nearest step. "produce": `duration`, `friction`. With `ensemble` "npt" the last two are under `pressure` (GPa).

    Raises
    ------
    ArgumentError
        A name that is none of the three, no "produce" at the end, a number that is not positive, or a duration that is
        no whole number of steps.
    """
    duration = positive("duration", duration, "fs")
    if ensemble not in ("nvt", "nve", "npt"):
        raise ArgumentError(
            f"ensemble is 'nvt' (Langevin), 'nve' (constant energy) or 'npt' (constant pressure); got {ensemble!r}"
        )
    pressure = None if pressure is None else finite("pressure", pressure)
    if (ensemble == "npt") != (pressure is not None):
        raise ArgumentError(
            f"ensemble='npt' needs a pressure in GPa (0 for that of air), the other ensembles have none; got {pressure}"
        )
    friction = positive("friction", friction, "1/fs", cure="For none: ensemble='nve'")
    melt, equilibrate = (round(length / timestep) * timestep for length in (400.0, 600.0))
    known = {
        "melt": Stage("melt", melt, 2.25 * temperature, 0.02),
        "equilibrate": Stage("equilibrate", equilibrate, temperature, 0.02, pressure),
        "produce": Stage("produce", duration, temperature, 0.0 if ensemble == "nve" else friction, pressure),
    }
    found = []
    for stage in [stages] if isinstance(stages, str) else stages:
        if isinstance(stage, str):
            if stage not in known:
                raise ArgumentError(f"no stage '{stage}'; there are {', '.join(known)}, or a Stage of your own")
            stage = known[stage]
        if not isinstance(stage, Stage):
            raise ArgumentError(
                f"a stage is a name ({', '.join(known)}) or edviz.aimd.Stage(name, duration, temperature, friction); "
                f"got {stage!r}"
            )
        _check_length(stage, timestep)
        if stage.pressure is not None and (ensemble != "npt" or not stage.friction > 0):
            raise ArgumentError(f"stage {stage.name} has a pressure: it needs ensemble='npt' and a friction")
        found.append(stage)
    if ensemble == "npt" and found and found[-1].pressure is None:
        raise ArgumentError("ensemble='npt' needs a pressure in the stage 'produce' too: Stage(..., pressure=...)")
    if not found or found[-1].name != "produce" or any(stage.name == "produce" for stage in found[:-1]):
        raise ArgumentError("the last stage, and only that, is 'produce': its frames are the trajectory")
    return found


def _check_length(stage: Stage, timestep: float) -> None:
    """Raise ArgumentError if the stage is no whole number of steps: it would be longer or shorter than it says."""
    steps = stage.duration / timestep
    if abs(steps - round(steps)) < 1e-6:
        return
    around = [f"{n * timestep:g}" for n in (int(steps), int(steps) + 1) if n]
    raise ArgumentError(
        f"the stage {stage.name} of {stage.duration:g} fs is no whole number of steps of {timestep:g} fs: take "
        f"{' or '.join(around)} fs"
    )


def check_atoms(atoms: Atoms) -> None:
    """Raise ArgumentError if no dynamics can start from these atoms."""
    if not isinstance(atoms, Atoms):
        raise ArgumentError(
            f"atoms is an ase.Atoms object; got a {type(atoms).__name__}. Read a file with ase.io.read(...), take a "
            "frame of a trajectory with traj.to_ase()[0], or start with edviz.aimd.liquid('Li', 54, 0.483)"
        )
    if len(atoms) < 2:
        raise ArgumentError(f"dynamics needs at least 2 atoms; got {len(atoms)}")
    if atoms.constraints:
        raise ArgumentError(
            "constraints are not kept in this dynamics: remove them (atoms.set_constraint()), all atoms move"
        )
    cell = np.asarray(atoms.cell)
    if not np.isfinite(cell).all() or not np.linalg.det(cell) > 1e-6:
        raise ArgumentError(
            "the atoms have no right-handed periodic cell: give one (atoms.cell = ..., atoms.pbc = True); "
            "a molecule needs a box"
        )
    if not all(atoms.pbc):
        raise ArgumentError(
            "the density is periodic in all directions: set atoms.pbc = True (vacuum may stay in the cell)"
        )
    if not np.isfinite(atoms.positions).all():
        raise ArgumentError("a position of the atoms is not a finite number")
    distance, i, j = nearest_distance(atoms)
    limit = _OVERLAP * (covalent_radii[atoms.numbers[i]] + covalent_radii[atoms.numbers[j]])
    if distance < limit:
        raise ArgumentError(
            f"atoms {i} and {j} ({atoms.symbols[i]}, {atoms.symbols[j]}) are {distance:.2f} angstrom apart, on top "
            f"of each other (limit {limit:.2f}): move them, or take edviz.aimd.liquid() for a start without overlaps"
        )


def check_timestep(atoms: Atoms, timestep: float) -> float:
    """The time step in fs.

    Raises
    ------
    ArgumentError
        It is not positive, or too long for the lightest atom.
    """
    timestep = positive("timestep", timestep, "fs")
    masses = atoms.get_masses()
    lightest = int(np.argmin(masses))
    longest = _LONGEST_STEP * float(masses[lightest]) ** 0.5
    if timestep > longest:
        raise ArgumentError(
            f"a time step of {timestep} fs is too long for {atoms.symbols[lightest]} ({masses[lightest]:.2f} u): "
            f"its fastest vibrations would be missed and energy drifts. At most {longest:.1f} fs"
        )
    return timestep


def check_grid(atoms: Atoms, grid: Sequence[int]) -> tuple[int, int, int]:
    """The stored grid as three integers.

    Raises
    ------
    ArgumentError
        Not three positive whole numbers, too coarse for a valence density, or too fine to be meant.
    """
    if isinstance(grid, str) or not hasattr(grid, "__len__") or len(grid) != 3:
        raise ArgumentError(f"grid is three whole numbers, such as (32, 32, 32); got {grid!r}")
    a, b, c = (whole("each of the three numbers of grid", n) for n in grid)
    shape = (a, b, c)
    lengths = np.linalg.norm(np.asarray(atoms.cell), axis=1)
    spacing = float((lengths / np.array(shape)).max())
    if spacing > _COARSEST:
        fit = tuple(int(np.ceil(length / 0.35)) for length in lengths)
        raise ArgumentError(
            f"a grid of {shape} puts points {spacing:.2f} angstrom apart, too coarse for a density "
            f"(limit {_COARSEST}): take about {fit}"
        )
    if max(shape) > _MAX_POINTS:
        raise ArgumentError(
            f"a grid of {shape} is finer than any engine here computes and would only be interpolated: "
            f"at most {_MAX_POINTS} an axis"
        )
    return shape


def as_settings(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """The stages as plain values for the file; no pressure, no entry."""
    return [{name: value for name, value in asdict(stage).items() if value is not None} for stage in stages]

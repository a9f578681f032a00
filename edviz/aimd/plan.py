"""What a run does: its stages, and the checks that refuse nonsense before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

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
    """

    name: str
    duration: float
    temperature: float
    friction: float
    pressure: float | None = None

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
) -> list[Stage]:
    """The stages in order. Names stand for the recipe of the bundled data.

    "melt": 400 fs at 2.25 times the temperature, friction 0.02/fs. "equilibrate": 600 fs, friction 0.02/fs.
    "produce": `duration`, `friction`. With `ensemble` "npt" the last two are under `pressure` (GPa).

    Raises
    ------
    ArgumentError
        A name that is none of the three, no "produce" at the end, or a number that is not positive.
    """
    for label, value in {"temperature": temperature, "duration": duration}.items():
        if not (np.isfinite(value) and value > 0):
            raise ArgumentError(f"{label} is a positive number; got {value}")
    if ensemble not in ("nvt", "nve", "npt"):
        raise ArgumentError(
            f"ensemble is 'nvt' (Langevin), 'nve' (constant energy) or 'npt' (constant pressure); got {ensemble!r}"
        )
    if (ensemble == "npt") != (pressure is not None) or (pressure is not None and not np.isfinite(pressure)):
        raise ArgumentError(
            f"ensemble='npt' needs a pressure in GPa (0 for that of air), the other ensembles have none; got {pressure}"
        )
    if not (np.isfinite(friction) and friction > 0):
        raise ArgumentError(f"friction is a positive number in 1/fs; got {friction}. For none: ensemble='nve'")
    known = {
        "melt": Stage("melt", 400.0, 2.25 * temperature, 0.02),
        "equilibrate": Stage("equilibrate", 600.0, temperature, 0.02, pressure),
        "produce": Stage("produce", duration, temperature, 0.0 if ensemble == "nve" else friction, pressure),
    }
    found = []
    for stage in [stages] if isinstance(stages, str) else stages:
        if isinstance(stage, str):
            if stage not in known:
                raise ArgumentError(f"no stage '{stage}'; there are {', '.join(known)}, or a Stage of your own")
            stage = known[stage]
        if stage.pressure is not None and (ensemble != "npt" or not stage.friction > 0):
            raise ArgumentError(f"stage {stage.name} has a pressure: it needs ensemble='npt' and a friction")
        found.append(stage)
    if ensemble == "npt" and found and found[-1].pressure is None:
        raise ArgumentError("ensemble='npt' needs a pressure in the stage 'produce' too: Stage(..., pressure=...)")
    if not found or found[-1].name != "produce" or any(stage.name == "produce" for stage in found[:-1]):
        raise ArgumentError("the last stage, and only that, is 'produce': its frames are the trajectory")
    return found


def check_atoms(atoms: Atoms) -> None:
    """Raise ArgumentError if no dynamics can start from these atoms."""
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


def check_timestep(atoms: Atoms, timestep: float) -> None:
    """Raise ArgumentError if the step is too long for the lightest atom."""
    masses = atoms.get_masses()
    lightest = int(np.argmin(masses))
    longest = _LONGEST_STEP * float(masses[lightest]) ** 0.5
    if not (np.isfinite(timestep) and timestep > 0):
        raise ArgumentError(f"timestep is a positive number in fs; got {timestep}")
    if timestep > longest:
        raise ArgumentError(
            f"a time step of {timestep} fs is too long for {atoms.symbols[lightest]} ({masses[lightest]:.2f} u): "
            f"its fastest vibrations would be missed and energy drifts. At most {longest:.1f} fs"
        )


def check_grid(atoms: Atoms, grid: Sequence[int]) -> tuple[int, int, int]:
    """The stored grid as three integers.

    Raises
    ------
    ArgumentError
        Not three positive whole numbers, too coarse for a valence density, or too fine to be meant.
    """
    if len(grid) != 3 or any(int(n) != n or n < 1 for n in grid):
        raise ArgumentError(f"grid is three whole numbers, such as (32, 32, 32); got {tuple(grid)}")
    shape = (int(grid[0]), int(grid[1]), int(grid[2]))
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

"""What an engine is: positions in; energy, forces and electron density out.

Engines differ in where they run and what they approximate; the dynamics (`edviz.aimd.dynamics`) knows only this
interface. `EngineCalculator` shows any engine to ASE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

__all__ = ["Engine", "EngineCalculator", "EngineResult"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class EngineResult:
    """One converged calculation.

    Attributes
    ----------
    energy
        eV. With smeared occupations the free energy E - TS, whose derivative the forces are.
    forces
        (atom, 3) eV/angstrom.
    density
        (na, nb, nc) e/angstrom^3 on the engine's own grid.
    n_iterations
        Steps to self-consistency; without orbitals, evaluations of the energy.
    stress
        (3, 3) eV/angstrom^3, positive under tension, as in ASE: the derivative of `energy` with the strain, divided by
        the volume. Without the ions' kinetic part. None unless `Engine.with_stress` asks for it and the engine has one.
    """

    energy: float
    forces: Array
    density: Array
    n_iterations: int
    stress: Array | None = None


class Engine(Protocol):
    """A source of energies, forces and densities for a fixed cell and fixed atoms.

    Attributes
    ----------
    name
        As in `edviz.aimd.run`.
    density_kind
        "valence", "total" or "pseudo", as in the schema.
    n_electrons
        What the density integrates to; known from `prepare` on.
    with_stress
        Set it to True to have the stress in every result from an engine that can give one; False at first, for it makes
        a step of 8 Li dearer by a third ("qepy", "dftpy").
    """

    name: str
    density_kind: str
    n_electrons: float
    with_stress: bool

    def prepare(self, atoms: Any) -> None:
        """Learn which atoms are to come, without starting anything; sets `n_electrons`."""
        ...

    def start(self, atoms: Any) -> None:
        """Get ready for these atoms, with nothing left of earlier calculations; also called to start anew."""
        ...

    def compute(self, positions: Array) -> EngineResult:
        """Solve for the electrons at these positions, (atom, 3) angstrom."""
        ...

    def describe(self) -> dict[str, Any]:
        """Every setting that the results depend on; goes into the file and must be the same at a resume."""
        ...

    def close(self) -> None:
        """Stop, and free what was taken."""
        ...


class EngineCalculator(Calculator):
    """An engine as an ASE calculator; `result` is the last calculation with its density."""

    implemented_properties: list[str] = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 - ASE wants a list

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.result: EngineResult | None = None

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        """Run the engine; ASE calls this when positions have changed."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        self.result = self.engine.compute(self.atoms.get_positions())
        self.results = {
            "energy": self.result.energy,
            "free_energy": self.result.energy,
            "forces": self.result.forces,
        }
        if self.result.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(self.result.stress)

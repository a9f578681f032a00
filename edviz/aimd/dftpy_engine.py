"""Orbital-free density-functional theory: DFTpy, in process. The cheap source, and not a Kohn-Sham one.

The density itself is varied; the kinetic energy is a functional of it: L.-W. Wang, M. P. Teter, Phys. Rev. B 45,
13196 (1992). DFTpy: X. Shao, K. Jiang, W. Mi, A. Genova, M. Pavanello, WIREs Comput. Mol. Sci. 11, e1482 (2021).
Without orbitals only local pseudopotentials can be used. The one for lithium was fitted by us to Kohn-Sham forces
and densities of four frames of the melt (800 K, PBE); its density differs from Kohn-Sham's by 4.7 % in L1, its
forces by 15 %. Exchange and correlation: LDA (J. P. Perdew, A. Zunger, Phys. Rev. B 23, 5048 (1981)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from edviz.aimd.arguments import positive, symbols_of
from edviz.aimd.engine import EngineResult
from edviz.errors import ArgumentError, EngineError, MissingDataError, MissingDependencyError

__all__ = ["DFTpyEngine"]

BOHR, HARTREE = 0.529177210903, 27.211386245988  # CODATA 2018: angstrom, eV

#: Charge; r_loc (bohr), C1, C2 (hartree) of the local part of a Goedecker-Teter-Hutter pseudopotential.
_FITTED = {"Li": (1.0, 1.3871, 0.3412, -0.1359)}
_KINETIC = {"WT": "Wang-Teter", "TFvW": "Thomas-Fermi and von Weizsaecker"}


class DFTpyEngine:
    """Orbital-free DFT with local pseudopotentials.

    Parameters
    ----------
    spacing
        Largest distance of grid points, angstrom. The grid is the only basis.
    kinetic
        "WT" (Wang-Teter, for nearly free electrons) or "TFvW" (Thomas-Fermi with the full von Weizsaecker term).
    pseudopotentials
        Symbol to (charge, r_loc, C1, C2) in atomic units: the local part of S. Goedecker, M. Teter, J. Hutter, Phys.
        Rev. B 54, 1703 (1996), eq. 1. Only lithium is bundled; parameters of a Kohn-Sham potential do not serve, for
        they leave the non-local part out.
    tolerance
        Change of the energy at convergence, hartree an atom.

    Raises
    ------
    ArgumentError
        A setting that makes no sense.
    """

    name = "dftpy"
    density_kind = "valence"

    def __init__(
        self,
        *,
        spacing: float = 0.345,
        kinetic: str = "WT",
        pseudopotentials: Mapping[str, Sequence[float]] | None = None,
        tolerance: float = 1e-7,
    ) -> None:
        spacing, tolerance = positive("spacing", spacing, "angstrom"), positive("tolerance", tolerance, "hartree")
        pseudopotentials = symbols_of("pseudopotentials", pseudopotentials)
        if kinetic not in _KINETIC:
            raise ArgumentError(f"kinetic is 'WT' or 'TFvW'; got {kinetic!r}")
        for symbol, numbers in pseudopotentials.items():
            if len(numbers) != 4 or not np.isfinite(numbers).all() or numbers[0] <= 0 or numbers[1] <= 0:
                raise ArgumentError(
                    f"the pseudopotential of {symbol} is (charge, r_loc, C1, C2), the first two positive; got {numbers}"
                )
        self.spacing, self.kinetic, self.tolerance = spacing, kinetic, tolerance
        self._parameters = {**_FITTED, **{s: tuple(map(float, p)) for s, p in pseudopotentials.items()}}
        self._symbols: list[str] = []
        self._atoms: Atoms | None = None
        self._functional: Any = None
        self._roots: list[NDArray[np.float64]] = []  # sqrt(rho) of up to three steps
        self.n_electrons = 0.0
        self.with_stress = False

    def prepare(self, atoms: Atoms) -> None:
        """Look up the pseudopotentials of these atoms and count the electrons.

        Raises
        ------
        MissingDataError
            No local pseudopotential for an element.
        MissingDependencyError
            DFTpy is not installed.
        """
        symbols = atoms.get_chemical_symbols()
        self._symbols = sorted(set(symbols))
        for symbol in self._symbols:
            if symbol not in self._parameters:
                raise MissingDataError(
                    f"no local pseudopotential for {symbol}, only for {', '.join(self._parameters)}: give one as "
                    f"engine_options={{'pseudopotentials': {{'{symbol}': (charge, r_loc, C1, C2)}}}}, or take "
                    "engine='qepy', which solves for orbitals"
                )
        self.n_electrons = float(sum(self._parameters[s][0] for s in symbols))
        _import()

    def start(self, atoms: Atoms) -> None:
        """Set up grid and functionals for these atoms.

        Raises
        ------
        MissingDataError
            No local pseudopotential for an element.
        MissingDependencyError
            DFTpy is not installed.
        """
        self.close()
        self.prepare(atoms)
        dftpy = _import()
        self._atoms = atoms.copy()
        lengths = np.linalg.norm(np.asarray(atoms.cell), axis=1)
        shape = [_points(float(length) / self.spacing) for length in lengths]
        ions = dftpy.Ions.from_ase(self._atoms)
        self._grid = dftpy.DirectGrid(lattice=ions.cell, nr=shape, full=False)
        self._pseudo = dftpy.Functional(
            type="PSEUDO",
            grid=self._grid,
            ions=ions,
            PP_list={s: dftpy.local_potential(*self._parameters[s]) for s in self._symbols},
            PME=False,  # structure factors exactly: forces are then the slope of the energy
        )
        self._functional = dftpy.Counting(
            KE=dftpy.Functional(type="KEDF", name=self.kinetic),
            XC=dftpy.Functional(type="XC", name="LDA", libxc=False),
            HARTREE=dftpy.Functional(type="HARTREE"),
            PSEUDO=self._pseudo,
        )

    def compute(self, positions: NDArray[np.float64]) -> EngineResult:
        """Find the density of least energy at these positions, (atom, 3) angstrom.

        The search starts from sqrt(rho) extrapolated to second order in time, once three steps are known.

        Raises
        ------
        EngineError
            The search does not converge, or `start` was not called.
        """
        if self._functional is None or self._atoms is None:
            raise EngineError("the engine is not running: call start(atoms) first")
        dftpy = _import()
        self._atoms.set_positions(positions, apply_constraint=False)
        ions = dftpy.Ions.from_ase(self._atoms)
        self._pseudo.restart(ions=ions, grid=self._grid)
        if len(self._roots) == 3:
            guess = (3 * self._roots[2] - 3 * self._roots[1] + self._roots[0]) ** 2
        elif self._roots:
            guess = self._roots[-1] ** 2
        else:
            guess = np.full(self._grid.nr, self.n_electrons / self._grid.volume)
        rho = dftpy.DirectField(grid=self._grid, griddata_3d=guess)
        rho *= self.n_electrons / rho.integral()
        search = dftpy.Optimization(
            EnergyEvaluator=self._functional,
            optimization_method="TN",
            optimization_options={"econv": self.tolerance * len(self._atoms), "maxiter": 100},
        )
        self._functional.evaluations = 0
        rho = search.optimize_rho(guess_rho=rho)
        if search.converged != 0:
            raise EngineError(
                "DFTpy did not converge: orbital-free theory is for nearly free electrons; is the structure sound "
                "(atoms not on top of each other), and the pseudopotential meant for it?"
            )
        density = np.asarray(rho, dtype=np.float64)
        self._roots = [*self._roots, np.sqrt(density)][-3:]
        stress = None
        if self.with_stress:
            stress = np.asarray(self._functional.get_stress(rho)) * (HARTREE / BOHR**3)
        return EngineResult(
            energy=float(self._functional(rho, calcType={"E"}).energy) * HARTREE,
            forces=np.asarray(self._functional.get_forces(rho, ions=ions)) * (HARTREE / BOHR),
            density=density / BOHR**3,
            n_iterations=self._functional.evaluations,
            stress=stress,
        )

    def describe(self) -> dict[str, Any]:
        """The settings that results depend on."""
        return {
            "engine": "DFTpy",
            "method": "orbital-free density-functional theory",
            "kinetic_functional": _KINETIC[self.kinetic],
            "spacing_A": self.spacing,
            "xc": "LDA",
            "pseudopotentials": {
                s: f"local, fitted, {self._parameters[s]} (charge, r_loc, C1, C2)" for s in self._symbols
            },
            "tolerance_hartree_an_atom": self.tolerance,
            "energy": "electrons without temperature, and ions",
        }

    def close(self) -> None:
        """Forget everything."""
        self._functional, self._atoms, self._roots = None, None, []


def _points(least: float) -> int:
    """The smallest even number from `least` on with no prime factor but 2, 3 and 5: quick Fourier transforms."""
    n = 2 * max(1, int(np.ceil(least / 2 - 1e-9)))
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 2


@cache
def _import() -> Any:
    """What is needed of DFTpy, silenced."""
    try:
        from dftpy.constants import environ
        from dftpy.field import DirectField
        from dftpy.functional import Functional, TotalFunctional
        from dftpy.functional.pseudo.abstract_pseudo import BasePseudo
        from dftpy.grid import DirectGrid
        from dftpy.ions import Ions
        from dftpy.optimization import Optimization
    except ImportError as error:
        raise MissingDependencyError(
            f"engine 'dftpy' needs DFTpy ({error}): pip install 'edviz[aimd]', or pip install dftpy"
        ) from error
    environ["LOGLEVEL"] = 5  # it prints every iteration

    def local_potential(charge: float, r_loc: float, c1: float, c2: float) -> Any:
        """The potential in reciprocal space, hartree bohr^3; at zero without its -4 pi Z / G^2."""
        wave_numbers = np.linspace(0.0, 30.0, 3001)
        x = (wave_numbers * r_loc) ** 2
        values = (2 * np.pi) ** 1.5 * r_loc**3 * np.exp(-x / 2) * (c1 + c2 * (3 - x))
        values[0] += 2 * np.pi * charge * r_loc**2
        values[1:] -= 4 * np.pi * charge / wave_numbers[1:] ** 2 * np.exp(-x[1:] / 2)
        potential = BasePseudo(None, direct=False)
        potential.r, potential.v, potential._zval = wave_numbers, values, charge
        return potential

    class Counting(TotalFunctional):
        """The total energy, with a count of its evaluations."""

        evaluations = 0

        def compute(self, *args: Any, **kwargs: Any) -> Any:
            self.evaluations += 1
            return super().compute(*args, **kwargs)

    found = (Counting, DirectField, DirectGrid, Functional, Ions, Optimization, local_potential)
    return SimpleNamespace(**{each.__name__: each for each in found})

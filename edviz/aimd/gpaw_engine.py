"""Kohn-Sham theory by projector-augmented waves: GPAW, in process, for whoever has it installed.

GPAW: J. J. Mortensen et al., J. Chem. Phys. 160, 092503 (2024); plane-wave mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from edviz.aimd.arguments import kpoints_of, positive
from edviz.aimd.engine import EngineResult
from edviz.errors import ArgumentError, EngineError, MissingDependencyError

__all__ = ["GPAWEngine"]

_DENSITIES = {"pseudo": "pseudo", "all-electron valence": "valence"}


class GPAWEngine:
    """PAW in plane waves, with GPAW's own data sets.

    Parameters
    ----------
    cutoff
        Of the wave functions, eV.
    kpoints
        "mean" is the one point (1/4, 1/4, 1/4), "gamma" the origin, (n, m, l) a Monkhorst-Pack grid.
    electron_temperature
        K, of the Fermi-Dirac occupations.
    xc
        A functional for which GPAW has data sets.
    density
        "pseudo": GPAW's smooth density, pseudo-cores in it and no compensation charges, as in a .gpw file; it fits a
        coarse grid, but its integral is not the number of electrons (lithium: 1.15 an atom). "all-electron valence":
        with the PAW corrections and without core states, on a grid twice as fine; it has the nodes and peaks at the
        nuclei that a valence density of norm-conserving pseudopotentials lacks, and wants a fine `grid`.
    tolerance
        Convergence of the density, electrons an electron.

    Raises
    ------
    ArgumentError
        A setting that makes no sense.
    """

    name = "gpaw"

    def __init__(
        self,
        *,
        cutoff: float = 250.0,
        kpoints: str | Sequence[int] = "mean",
        electron_temperature: float = 800.0,
        xc: str = "PBE",
        density: str = "pseudo",
        tolerance: float = 1e-6,
    ) -> None:
        if density not in _DENSITIES:
            raise ArgumentError(f"density is {' or '.join(map(repr, _DENSITIES))}; got {density!r}")
        self.cutoff, self.kpoints = positive("cutoff", cutoff, "eV"), kpoints_of(kpoints)
        self.electron_temperature = positive("electron_temperature", electron_temperature, "K")
        self.xc, self.density, self.tolerance = xc, density, positive("tolerance", tolerance)
        self.density_kind = _DENSITIES[density]
        self._atoms: Atoms | None = None
        self.n_electrons = 0.0
        self.with_stress = False

    def prepare(self, atoms: Atoms) -> None:
        """Find out what the density integrates to, by a first calculation: the pseudo-density's integral is no integer.

        Raises
        ------
        MissingDependencyError
            GPAW or its data sets are not installed.
        """
        self.start(atoms)
        self._solve(atoms.get_positions())
        if self.density == "pseudo":
            self.n_electrons = float(self._density().mean() * atoms.get_volume())
        else:
            self.n_electrons = float(self._calculator().get_number_of_electrons())

    def start(self, atoms: Atoms) -> None:
        """Set GPAW up for these atoms, with nothing left of earlier calculations.

        Raises
        ------
        MissingDependencyError
            GPAW is not installed.
        """
        try:
            from gpaw import GPAW, PW, FermiDirac
        except ImportError as error:
            raise MissingDependencyError(
                f"engine 'gpaw' needs GPAW ({error}): pip install gpaw gpaw-data (needs a C compiler, libxc and BLAS, "
                "on Debian and Ubuntu libxc-dev and libopenblas-dev), or take engine='qepy', which brings its own"
            ) from error
        kpts: Any = tuple(self.kpoints)
        if isinstance(self.kpoints, str):
            kpts = [(0.25, 0.25, 0.25)] if self.kpoints == "mean" else [(0.0, 0.0, 0.0)]
        self._atoms = atoms.copy()
        self._atoms.set_constraint()
        self._atoms.calc = GPAW(
            mode=PW(self.cutoff),
            xc=self.xc,
            kpts=kpts,
            occupations=FermiDirac(8.617333262e-5 * self.electron_temperature),
            symmetry="off",
            convergence={"density": self.tolerance, "energy": 1e-7, "eigenstates": 1e-9},
            txt=None,
        )

    def compute(self, positions: NDArray[np.float64]) -> EngineResult:
        """Solve for the electrons at these positions, (atom, 3) angstrom.

        Raises
        ------
        EngineError
            GPAW fails or does not converge, in its own words.
        """
        atoms = self._solve(positions)
        stress = voigt_6_to_full_3x3_stress(atoms.get_stress()) if self.with_stress else None
        return EngineResult(
            energy=float(atoms.get_potential_energy(force_consistent=True)),
            forces=np.asarray(atoms.get_forces(), dtype=np.float64),
            density=self._density(),
            n_iterations=int(self._calculator().get_number_of_iterations()),
            stress=stress,
        )

    def describe(self) -> dict[str, Any]:
        """The settings that results depend on."""
        return {
            "engine": "GPAW",
            "method": "Kohn-Sham, projector-augmented waves",
            "cutoff_eV": self.cutoff,
            "kpoints": self.kpoints if isinstance(self.kpoints, str) else list(self.kpoints),
            "smearing": f"Fermi-Dirac, {self.electron_temperature:.12g} K",
            "xc": self.xc,
            "pseudopotentials": "GPAW's PAW data sets",
            "density": self.density,
            "tolerance": self.tolerance,
        }

    def close(self) -> None:
        """Forget everything."""
        self._atoms = None

    def _solve(self, positions: NDArray[np.float64]) -> Atoms:
        if self._atoms is None:
            raise EngineError("the engine is not running: call start(atoms) first")
        self._atoms.set_positions(positions)
        try:
            self._atoms.get_forces()
        except FileNotFoundError as error:
            raise MissingDependencyError(f"GPAW has no PAW data set: {error}. pip install gpaw-data") from error
        except Exception as error:
            raise EngineError(f"GPAW: {type(error).__name__}: {error}") from error
        return self._atoms

    def _calculator(self) -> Any:
        assert self._atoms is not None
        return self._atoms.calc

    def _density(self) -> NDArray[np.float64]:
        calculator = self._calculator()
        if self.density == "pseudo":
            if not hasattr(calculator, "dft"):
                return np.asarray(calculator.get_pseudo_density(), dtype=np.float64)
            # get_pseudo_density() of the newer interface adds compensation charges: with negative holes, no density.
            fields = calculator.dft.densities().pseudo_densities(grid_refinement=1, add_compensation_charges=False)
            return np.asarray(fields.data.sum(axis=0), dtype=np.float64)
        return np.asarray(calculator.get_all_electron_density(gridrefinement=2, skip_core=True), dtype=np.float64)

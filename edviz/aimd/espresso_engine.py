"""Kohn-Sham theory in plane waves: the user's own pw.x, run through ASE once a step.

For whoever has Quantum ESPRESSO installed (P. Giannozzi et al., J. Phys.: Condens. Matter 29, 465901 (2017)), with MPI
if wanted. Each step starts from density and wave functions that the step before left on disk. Energy, forces and
stress are those ASE reads from the output, the density is read from the save folder by `edviz.io.qe`.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from edviz.aimd.engine import EngineResult
from edviz.aimd.qepy_engine import KB, RYDBERG, QEpyEngine
from edviz.errors import ArgumentError, EngineError, MissingDependencyError
from edviz.io.qe import headers

__all__ = ["EspressoEngine"]


class EspressoEngine(QEpyEngine):
    """pw.x with the settings of `QEpyEngine`.

    Parameters
    ----------
    command
        How pw.x is started, such as "mpirun -n 4 pw.x"; ASE adds the input file.
    **settings
        As `QEpyEngine` takes them; `threads` is for the command to say.

    Raises
    ------
    ArgumentError
        A setting that QE could not use.
    """

    name = "espresso"

    def __init__(self, *, command: str = "pw.x", **settings: Any) -> None:
        if not command.strip() or "threads" in settings:
            raise ArgumentError("command starts pw.x, with its threads: 'env OMP_NUM_THREADS=4 pw.x'")
        super().__init__(**settings)
        self.command = command
        self._calculator: Any = None

    def prepare(self, atoms: Atoms) -> None:
        """Find pw.x and the pseudopotentials of these atoms, and count the electrons.

        Raises
        ------
        MissingDependencyError
            There is no such program.
        MissingDataError
            No pseudopotential for an element.
        ArgumentError
            Too few bands for the electrons.
        """
        program = shlex.split(self.command)[0]
        if shutil.which(program) is None:
            raise MissingDependencyError(
                f"engine 'espresso' needs Quantum ESPRESSO, and there is no program '{program}': install it (Debian, "
                "Ubuntu: apt install quantum-espresso), name it in engine_options={'command': '/path/to/pw.x'}, or "
                "take engine='qepy', which brings its own"
            )
        super().prepare(atoms)

    def start(self, atoms: Atoms) -> None:
        """Set up an empty folder; pw.x is first run by `compute`."""
        from ase.calculators.espresso import Espresso, EspressoProfile

        self.close()
        self.prepare(atoms)
        self._atoms = atoms.copy()
        self._atoms.set_constraint()
        self._folder = Path(tempfile.mkdtemp(prefix="edviz-pw-"))
        for i, header in enumerate(self._headers.values()):
            shutil.copyfile(header.path, self._folder / f"{i}.UPF")
        kpts: Any = None
        if self.kpoints == "mean":
            kpts = np.array([[0.25, 0.25, 0.25, 1.0]])
        elif not isinstance(self.kpoints, str):
            kpts = tuple(int(n) for n in self.kpoints)
        self._calculator = Espresso(
            profile=EspressoProfile(command=self.command, pseudo_dir=self._folder),
            directory=self._folder,
            pseudopotentials={s: f"{i}.UPF" for i, s in enumerate(self._headers)},
            input_data=self.input_data(len(atoms)),
            kpts=kpts,
            koffset=(1, 1, 1) if isinstance(kpts, tuple) else (0, 0, 0),
        )
        self._first = True

    def input_data(self, n_atoms: int) -> dict[str, dict[str, Any]]:
        """The namelists of pw.x."""
        filled = self.n_electrons / 2
        return {
            "control": {
                "calculation": "scf",
                "prefix": "q",
                "outdir": "./",
                "disk_io": "low",
                "tprnfor": True,
                "tstress": self.with_stress,
            },
            "system": {
                "ecutwfc": self.cutoff,
                "nosym": True,
                "occupations": "smearing",
                "smearing": "fd",
                "degauss": KB * self.electron_temperature / RYDBERG,
                "nbnd": self.n_bands or max(int(np.ceil(0.7 * self.n_electrons)), int(np.ceil(filled)) + 4),
            },
            "electrons": {"conv_thr": self.tolerance * n_atoms, "mixing_beta": 0.5, "electron_maxstep": 200},
        }

    def compute(self, positions: NDArray[np.float64]) -> EngineResult:
        """Run pw.x at these positions, (atom, 3) angstrom.

        Raises
        ------
        EngineError
            pw.x fails or does not converge, in its own words.
        """
        if self._atoms is None or self._folder is None or self._calculator is None:
            raise EngineError("the engine is not running: call start(atoms) first")
        data = self.input_data(len(self._atoms))
        if not self._first:
            data["electrons"] |= {"startingpot": "file", "startingwfc": "file"}
        self._calculator.parameters["input_data"] = data
        self._atoms.set_positions(positions)
        try:
            self._calculator.calculate(
                self._atoms, ["energy", "forces", *(["stress"] if self.with_stress else [])], ["positions"]
            )
            found = self._calculator.results
            energy, forces = float(found["energy"]), np.asarray(found["forces"], dtype=np.float64)
        except Exception as error:
            raise EngineError(f"pw.x failed ({type(error).__name__}){self._last_words() or f': {error}'}") from error
        output = (self._folder / "espresso.pwo").read_text(errors="replace")
        if "convergence has been achieved" not in output:
            raise EngineError(f"pw.x: no self-consistency{self._last_words()}")
        (frame,) = headers(self._folder / "q.save")
        self._first = False
        return EngineResult(
            energy=energy,
            forces=forces,
            density=frame.values("density").astype(np.float64),
            n_iterations=output.count("iteration #"),
            stress=_full(found["stress"]) if self.with_stress else None,
        )

    def describe(self) -> dict[str, Any]:
        """The settings that results depend on."""
        return {**super().describe(), "engine": "Quantum ESPRESSO (pw.x through ASE)"}

    def close(self) -> None:
        """Remove the folder."""
        super().close()
        self._calculator = None

    def _last_words(self) -> str:
        if self._folder is not None:
            for here, there in (("espresso.pwo", "pw.out"), ("espresso.err", "stderr")):
                if (self._folder / here).exists():
                    shutil.copyfile(self._folder / here, self._folder / there)
        return super()._last_words()


def _full(voigt: Any) -> NDArray[np.float64]:
    from ase.stress import voigt_6_to_full_3x3_stress

    return np.asarray(voigt_6_to_full_3x3_stress(voigt), dtype=np.float64)

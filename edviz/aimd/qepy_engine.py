"""Kohn-Sham density-functional theory in plane waves: Quantum ESPRESSO 7.2 through QEpy, in a child process.

QE: P. Giannozzi et al., J. Phys.: Condens. Matter 29, 465901 (2017). QEpy: https://gitlab.com/shaoxc/qepy.
Between steps QE extrapolates potential and wave functions to second order (T. A. Arias, M. C. Payne, J. D.
Joannopoulos, Phys. Rev. B 45, 1538 (1992)), so a result depends, within the SCF tolerance, on the steps before.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from edviz.aimd import wire
from edviz.aimd.arguments import kpoints_of, positive, symbols_of, whole
from edviz.aimd.engine import EngineResult
from edviz.aimd.gth import CUTOFFS
from edviz.aimd.qepy_environment import environment_variables, qepy_python
from edviz.aimd.upf import UPFHeader, pseudopotential, read_upf_header
from edviz.errors import ArgumentError, EngineError, MissingDataError

__all__ = ["QEpyEngine"]

BOHR, RYDBERG, KB = 0.529177210903, 13.605693122994, 8.617333262e-5  # CODATA 2018: angstrom, eV, eV/K


class QEpyEngine:
    """Plane waves and pseudopotentials.

    Parameters
    ----------
    cutoff
        Of the wave functions, Ry; the density has four times as much. By default the largest that one of the
        pseudopotentials needs: `edviz.aimd.gth.CUTOFFS`, 12 for lithium; of a file of your own, what its header says.
    kpoints
        "mean" is the one point (1/4, 1/4, 1/4): against 2x2x2 points, forces on 54 Li atoms are off by 6 %, where
        those of "gamma" are off by 17 %, at 2.6 times the cost. (n, m, l) is a Monkhorst-Pack grid shifted by half a
        step.
    electron_temperature
        K, of the Fermi-Dirac occupations.
    xc
        "PBE" or "LDA": which bundled pseudopotentials are used, and so which functional.
    pseudopotentials
        Symbol to UPF file, for elements where the bundled GTH ones are not wanted.
    tolerance
        SCF convergence, Ry an atom.
    n_bands
        By default 0.7 an electron, and at least 4 more than are filled.
    threads
        Of OpenBLAS.

    Raises
    ------
    ArgumentError
        A setting that QE could not use.
    """

    name = "qepy"
    density_kind = "valence"

    def __init__(
        self,
        *,
        cutoff: float | None = None,
        kpoints: str | Sequence[int] = "mean",
        electron_temperature: float = 800.0,
        xc: str = "PBE",
        pseudopotentials: Mapping[str, str | Path] | None = None,
        tolerance: float = 1e-9,
        n_bands: int | None = None,
        threads: int = 1,
    ) -> None:
        if xc not in ("PBE", "LDA"):
            raise ArgumentError(f"xc is 'PBE' or 'LDA'; got {xc!r}")
        self._cutoff = None if cutoff is None else positive("cutoff", cutoff, "Ry")
        self.cutoff, self.kpoints = self._cutoff or 0.0, kpoints_of(kpoints)
        self.electron_temperature = positive("electron_temperature", electron_temperature, "K")
        self.xc, self.tolerance = xc, positive("tolerance", tolerance, "Ry")
        self.n_bands, self.threads = None if n_bands is None else whole("n_bands", n_bands), whole("threads", threads)
        self._files = symbols_of("pseudopotentials", pseudopotentials)
        self._headers: dict[str, UPFHeader] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._first = True
        self.with_stress = False
        self._atoms: Atoms | None = None
        self.n_electrons = 0.0

    def prepare(self, atoms: Atoms) -> None:
        """Find the pseudopotentials of these atoms and count the electrons.

        Raises
        ------
        MissingDataError
            No pseudopotential for an element.
        ArgumentError
            Too few bands for the electrons, or no cut-off for a file of the user's.
        """
        symbols = atoms.get_chemical_symbols()
        self._headers = {symbol: self._header(symbol) for symbol in sorted(set(symbols))}
        self.cutoff = self._cutoff or max(self._needed(symbol) for symbol in self._headers)
        self.n_electrons = float(sum(self._headers[s].n_valence for s in symbols))
        if self.n_bands is not None and self.n_bands <= self.n_electrons / 2:
            raise ArgumentError(
                f"n_bands={self.n_bands} has no room for {self.n_electrons:g} electrons in smeared levels: more than "
                f"{self.n_electrons / 2:g} are needed, some 40 % more are usual"
            )

    def start(self, atoms: Atoms) -> None:
        """Start QE for these atoms, in a new process.

        Raises
        ------
        MissingDataError
            No pseudopotential for an element.
        EngineError
            QE refuses; with its own words.
        """
        self.close()
        self.prepare(atoms)
        self._atoms = atoms.copy()
        python = qepy_python()
        self._folder = Path(tempfile.mkdtemp(prefix="edviz-qe-"))
        for i, header in enumerate(self._headers.values()):
            shutil.copyfile(header.path, self._folder / f"{i}.UPF")
        (self._folder / "pw.in").write_text(self._input(atoms), encoding="ascii")
        with open(self._folder / "stderr", "wb") as errors:
            self._child = subprocess.Popen(
                [str(python), "-I", str(Path(__file__).with_name("qepy_child.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self._folder,
                env=environment_variables(self.threads),
                start_new_session=True,  # an interrupt in the notebook must not reach it: the frame would be lost
            )
        self._first = True
        self._ask({"do": "start", "input": "pw.in"})

    def compute(self, positions: NDArray[np.float64]) -> EngineResult:
        """Solve for the electrons at these positions, (atom, 3) angstrom.

        Raises
        ------
        EngineError
            QE fails, does not converge or was killed.
        """
        if self._first and self._atoms is not None and not np.array_equal(positions, self._atoms.positions):
            moved = self._atoms.copy()
            moved.arrays["positions"] = np.array(positions, dtype=np.float64)
            self.start(moved)  # QE has no density to carry along yet
        arrays = {} if self._first else {"positions": np.asarray(positions, dtype=np.float64) / BOHR}
        answer, found = self._ask({"do": "compute", "stress": self.with_stress}, **arrays)
        self._first = False
        return EngineResult(
            energy=answer["energy"] * RYDBERG,
            forces=found["forces"] * (RYDBERG / BOHR),
            density=found["density"] / BOHR**3,
            n_iterations=answer["iterations"],
            stress=found["stress"] * -(RYDBERG / BOHR**3) if "stress" in found else None,  # QE counts pressure
        )

    def describe(self) -> dict[str, Any]:
        """The settings that results depend on."""
        return {
            "engine": "Quantum ESPRESSO 7.2 (QEpy 7.2.0)",
            "method": "Kohn-Sham, plane waves",
            "cutoff_Ry": self.cutoff,
            "kpoints": self.kpoints if isinstance(self.kpoints, str) else list(self.kpoints),
            "smearing": f"Fermi-Dirac, {self.electron_temperature:.12g} K",
            # QE takes the functional from the files, whatever `xc` says.
            "xc": ", ".join(sorted({self._functional_of(symbol) for symbol in self._headers})),
            "pseudopotentials": {s: h.path.name for s, h in self._headers.items()},
            "scf_tolerance_Ry_an_atom": self.tolerance,
            "n_bands": self.n_bands,
        }

    def close(self) -> None:
        """End the child and remove its folder."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for stream in (self._child.stdin, self._child.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            self._child = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __del__(self) -> None:
        if getattr(self, "_child", None) is not None:
            self.close()

    @property
    def pid(self) -> int | None:
        """Process number of the child."""
        return None if self._child is None else self._child.pid

    # Inside -----------------------------------------------------------------------------------------------

    def _header(self, symbol: str) -> UPFHeader:
        header = read_upf_header(self._files.get(symbol) or pseudopotential(symbol, self.xc))
        if header.element != symbol:
            raise MissingDataError(f"{header.path} is for {header.element}, given for {symbol}: name the right file")
        return header

    def _needed(self, symbol: str) -> float:
        """Cut-off for a pseudopotential, Ry."""
        if symbol not in self._files:
            return CUTOFFS[symbol]
        header = self._headers[symbol]
        if not header.cutoff > 0:
            raise ArgumentError(
                f"{header.path} does not say which cut-off it needs: give one in Ry, engine_options={{'cutoff': ...}}; "
                "its authors recommend one"
            )
        return header.cutoff

    def _functional_of(self, symbol: str) -> str:
        return self._headers[symbol].functional if symbol in self._files else self.xc

    def _input(self, atoms: Atoms) -> str:
        symbols = list(self._headers)
        filled = self.n_electrons / 2
        bands = self.n_bands or max(int(np.ceil(0.7 * self.n_electrons)), int(np.ceil(filled)) + 4)
        lines = [
            "&control",
            " calculation = 'md', prefix = 'q', outdir = './', pseudo_dir = './', disk_io = 'none', tprnfor = .true.",
            "/",
            "&system",
            f" ibrav = 0, nat = {len(atoms)}, ntyp = {len(symbols)}, ecutwfc = {self.cutoff}, nosym = .true.",
            f" occupations = 'smearing', smearing = 'fd', degauss = {KB * self.electron_temperature / RYDBERG:.12f}",
            f" nbnd = {bands}",
            "/",
            "&electrons",
            f" conv_thr = {self.tolerance * len(atoms):.6e}, mixing_beta = 0.5, electron_maxstep = 200",
            "/",
            "&ions",
            " pot_extrapolation = 'second_order', wfc_extrapolation = 'second_order'",
            "/",
            "ATOMIC_SPECIES",
            *(f"{s} {Atoms(s).get_masses()[0]} {i}.UPF" for i, s in enumerate(symbols)),
            "CELL_PARAMETERS angstrom",
            *(" ".join(f"{x:.16g}" for x in row) for row in np.asarray(atoms.cell)),
            "ATOMIC_POSITIONS angstrom",
            *(f"{s} " + " ".join(f"{x:.16g}" for x in r) for s, r in zip(atoms.symbols, atoms.positions, strict=True)),
        ]
        if self.kpoints == "gamma":
            lines.append("K_POINTS gamma")
        elif self.kpoints == "mean":
            lines += ["K_POINTS crystal", "1", "0.25 0.25 0.25 1.0"]
        else:
            lines += ["K_POINTS automatic", " ".join(str(int(n)) for n in self.kpoints) + " 1 1 1"]
        return "\n".join(lines) + "\n"

    def _ask(self, message: dict[str, Any], **arrays: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise EngineError("the engine is not running: call start(atoms) first")
        try:
            wire.send(cast(BinaryIO, child.stdin), message, **arrays)
            answer, found = wire.receive(cast(BinaryIO, child.stdout))
        except (EOFError, OSError, ValueError) as error:
            code = child.wait()
            words = self._last_words()
            self.close()
            how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
            raise EngineError(f"Quantum ESPRESSO {how}{words or ' without a word'}") from error
        except KeyboardInterrupt:
            self.close()  # its answer would be taken for that to the next request
            raise
        if "error" in answer:
            raise EngineError(f"Quantum ESPRESSO: {answer['error']}{self._last_words()}")
        return answer, found

    def _last_words(self) -> str:
        """What QE said: its file CRASH, or the end of its output."""
        if self._folder is None:
            return ""
        for name, n_lines in (("CRASH", 20), ("pw.out", 8), ("stderr", 5)):
            file = self._folder / name
            if file.exists():
                text = [line.strip() for line in file.read_text(errors="replace").splitlines()]
                text = [line for line in text if line and not set(line) <= {"%"}][-n_lines:]
                routine = [k for k, line in enumerate(text) if line.startswith("Error in routine")]
                if routine:
                    text = text[routine[0] :]
                if text:
                    return ":\n" + "\n".join(text)
        return ""

"""Quantum ESPRESSO: the folder ``prefix.save/`` with charge-density.dat or charge-density.hdf5.

pw.x stores the Fourier coefficients rho(G) of the density, in electrons/bohr^3, for all G inside the sphere
``|G|^2 <= ecutrho``: first their Miller indices, then one record a component (`write_rhog` in Modules/io_base.f90). The
density on the FFT grid is ``rho(r) = sum_G rho(G) exp(i G r)``. A Gamma-only run stores half the sphere; the other half
is ``rho(-G) = conj(rho(G))``. Two components are the sum and the difference of both spins, four are the density and
the three components of the magnetization. Cell, atoms, FFT grid and the number of electrons come from
data-file-schema.xml (QE 6.2 and newer). For ultrasoft and PAW data sets the coefficients hold the augmentation charges
as pw.x puts them on the grid, so the density integrates to the number of valence electrons.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edviz.errors import FileFormatError, MissingDataError, TruncatedFileError
from edviz.grid import PeriodicGrid
from edviz.io.fields import checked, grid_of, number_of, same_file
from edviz.io.fortran import RecordReader, byte_order, read_pieces
from edviz.io.hdf5 import HDF5_SIGNATURE, hdf5_file, names_in, read_dataset
from edviz.io.lazy import Extra, FrameHeader, identity
from edviz.schema import BOHR

__all__ = ["headers", "is_density_file", "is_save_folder"]

HARTREE = 27.211386245981  # eV, CODATA 2022
_XML = "data-file-schema.xml"
_DATA = ("charge-density.dat", "charge-density.hdf5")
_COMPONENTS = {1: ("rhotot_g",), 2: ("rhotot_g", "rhodiff_g"), 4: ("rhotot_g", "m_x", "m_y", "m_z")}
#: Of |rho(G)| at its largest: what rounding may leave of the imaginary part of a real density.
_REAL = 1e-6


def is_save_folder(path: Path) -> bool:
    """Whether a folder is a prefix.save/."""
    return any((path / name).exists() for name in (_XML, *_DATA)) or (path / "data-file.xml").exists()


def is_density_file(head: bytes, path: Path) -> bool:
    """Whether a file starts like charge-density.dat, records of 12 (flag, count, spins) and 72 bytes (lattice); or is
    charge-density.hdf5."""
    if head.startswith(HDF5_SIGNATURE):
        return {"MillerIndices", "rhotot_g"} <= names_in(head, path)
    order = byte_order(head, (12,))
    return bool(order) and byte_order(head[20:], (72,)) == order


@dataclass(frozen=True)
class _Run:
    """What data-file-schema.xml says."""

    grid: PeriodicGrid
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    n_electrons: float
    cutoff: float  # ecutrho, hartree
    ngm: int
    gamma_only: bool
    version: str
    extras: dict[str, Extra]


def headers(path: str | os.PathLike[str]) -> list[FrameHeader]:
    """The one frame of a ``prefix.save/`` folder, or of the charge-density file in it.

    Parameters
    ----------
    path
        The folder, or charge-density.dat or charge-density.hdf5 with data-file-schema.xml beside it.

    Raises
    ------
    MissingDataError
        If the folder holds no charge density or no data-file-schema.xml.
    TruncatedFileError, FileFormatError
        If a file is cut off, damaged, of another calculation than the other, or of QE 6.1 or older.
    """
    folder, data = _locate(Path(path))
    run = _read_xml(folder / _XML)
    values = _from_hdf5 if data.suffix == ".hdf5" else _from_records
    n_spin = (_spins_hdf5 if data.suffix == ".hdf5" else _spins_records)(data, run)
    return [
        FrameHeader(
            path=str(path),
            shape=run.grid.shape,
            cell=run.grid.cell,
            values=partial(values, str(data), identity(data), run),
            density_kind="valence",
            numbers=run.numbers,
            positions=run.positions,
            components={1: 0, 2: 1, 4: 3}[n_spin],
            source=f"Quantum ESPRESSO {run.version}".strip(),
            n_electrons=run.n_electrons,
            extras=run.extras,
        )
    ]


def _locate(path: Path) -> tuple[Path, Path]:
    """The folder and the density file that is meant."""
    if not path.is_dir():
        folder, data = path.parent, path
    else:
        folder = path
        found = [path / name for name in _DATA if (path / name).exists()]
        if len(found) > 1:
            raise FileFormatError(
                f"{path} holds {_DATA[0]} and {_DATA[1]}, from two builds of Quantum ESPRESSO: open the newer one by "
                "its name"
            )
        if not found:
            raise MissingDataError(
                f"{path} holds no {' or '.join(_DATA)}: pw.x writes it at the end of an scf run unless disk_io = 'none'"
            )
        data = found[0]
    if not (folder / _XML).exists():
        if (folder / "data-file.xml").exists():
            raise FileFormatError(
                f"{folder} was written by Quantum ESPRESSO 6.1 or older: run pw.x of 6.2 or newer again, or export a "
                "cube with pp.x and open that"
            )
        raise MissingDataError(f"{folder} holds no {_XML}, which has cell, atoms and grid: copy the whole .save folder")
    return folder, data


# data-file-schema.xml -------------------------------------------------------------------------------------------


def _read_xml(path: Path) -> _Run:
    with path.open("rb") as file:
        start = file.read(4096)
    if not start:
        raise TruncatedFileError(f"{path} is empty: copy it again")
    if b"<!DOCTYPE" in start or b"<!ENTITY" in start:
        raise FileFormatError(f"{path} has a document type, which Quantum ESPRESSO never writes: it is not read")
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise TruncatedFileError(
            f"{path} is not whole XML ({error}): it was cut off or damaged; copy it again"
        ) from error
    except (ValueError, LookupError, RecursionError) as error:
        raise FileFormatError(f"{path} is damaged ({error}): copy it again") from error
    output = root.find("output")
    if output is None:
        raise FileFormatError(f"{path} has no <output>: the run did not end, or the file is damaged")
    cell = np.array([_numbers(output, f"atomic_structure/cell/a{i}", 3, path) for i in (1, 2, 3)]) * BOHR
    atoms = output.findall("atomic_structure/atomic_positions/atom")
    numbers = np.array([number_of(atom.get("name", ""), str(path)) for atom in atoms], dtype=np.int64)
    positions = np.array([_floats(atom.text, 3, f"{path}, atom {i}") for i, atom in enumerate(atoms, 1)]).reshape(-1, 3)
    fft = _element(output, "basis_set/fft_grid", path)
    shape = tuple(_integer(fft.get(name), f"{path}, fft_grid {name}") for name in ("nr1", "nr2", "nr3"))
    grid = grid_of(cell, shape, f"{path}, fft_grid and cell")  # type: ignore[arg-type]
    if not np.isfinite(positions).all():
        raise FileFormatError(f"{path}: a position is not a finite number")
    declared = _element(output, "atomic_structure", path).get("nat")
    if not atoms or _integer(declared, f"{path}, nat") != len(atoms):
        raise FileFormatError(f"{path} says {declared} atoms and lists {len(atoms)}: it is damaged")
    creator = root.find("general_info/creator")
    n_electrons = _numbers(output, "band_structure/nelec", 1, path)[0]
    if not n_electrons > 0:
        raise FileFormatError(f"{path}: nelec is {n_electrons}, not positive")
    return _Run(
        grid=grid,
        numbers=numbers,
        positions=positions * BOHR,
        n_electrons=n_electrons,
        cutoff=_numbers(output, "basis_set/ecutrho", 1, path)[0],
        ngm=_integer(_element(output, "basis_set/ngm", path).text, f"{path}, ngm"),
        gamma_only=(_element(output, "basis_set/gamma_only", path).text or "").strip().lower() == "true",
        version="" if creator is None else creator.get("VERSION", ""),
        extras=_energy_and_forces(output, len(atoms), path),
    )


def _energy_and_forces(output: ET.Element, n_atoms: int, path: Path) -> dict[str, Extra]:
    extras: dict[str, Extra] = {}
    if output.find("total_energy/etot") is not None:
        energy = np.float64(_numbers(output, "total_energy/etot", 1, path)[0] * HARTREE)
        extras["energy"] = (
            (),
            np.asarray(energy),
            {"units": "eV", "long_name": "total energy (free energy with smearing)"},
        )
    forces = output.find("forces")
    if forces is not None:
        values = np.array(_floats(forces.text, 3 * n_atoms, f"{path}, forces")).reshape(n_atoms, 3)
        extras["forces"] = (("atom", "xyz"), values * (HARTREE / BOHR), {"units": "eV/angstrom"})
    for name, (_, values, _attrs) in extras.items():
        if not np.isfinite(values).all():
            raise FileFormatError(f"{path}: {name} is not a finite number")
    return extras


def _element(parent: ET.Element, tag: str, path: Path) -> ET.Element:
    found = parent.find(tag)
    if found is None:
        raise FileFormatError(f"{path} has no <output>/{tag}: the run did not end, or the file is damaged")
    return found


def _numbers(parent: ET.Element, tag: str, count: int, path: Path) -> list[float]:
    return _floats(_element(parent, tag, path).text, count, f"{path}, {tag}")


def _floats(text: str | None, count: int, where: str) -> list[float]:
    try:
        values = [float(token) for token in (text or "").split()]
    except ValueError as error:
        raise FileFormatError(f"{where}: {error}") from error
    if len(values) != count:
        raise FileFormatError(f"{where}: {len(values)} numbers where {count} are expected")
    return values


def _integer(text: str | None, where: str) -> int:
    try:
        return int(text or "")
    except ValueError as error:
        raise FileFormatError(f"{where}: {text!r} is no integer") from error


# charge-density.dat ---------------------------------------------------------------------------------------------


def _open_records(path: str | os.PathLike[str]) -> RecordReader:
    with Path(path).open("rb") as file:
        order = byte_order(file.read(20), (12,))
    if not order:
        raise FileFormatError(
            f"{path} is no charge-density.dat of Quantum ESPRESSO 6.2 or newer, or its start is damaged"
        )
    return RecordReader(path, order, "Quantum ESPRESSO charge density")


def _head(records: RecordReader, run: _Run) -> tuple[bool, int, int]:
    """Read the first two records: Gamma-only, number of G vectors, number of components."""
    gamma, ngm, n_spin = (int(n) for n in np.frombuffer(records.read("sizes", 12), records.order + "i4"))
    lattice = np.frombuffer(records.read("reciprocal lattice", 72), records.order + "f8").reshape(3, 3)
    _agree(records.path, run, gamma != 0, ngm, n_spin, lattice)
    return gamma != 0, ngm, n_spin


def _spins_records(path: Path, run: _Run) -> int:
    with _open_records(path) as records:
        _, ngm, n_spin = _head(records, run)
        records.skip("Miller indices", 12 * ngm)
        for name in _COMPONENTS[n_spin]:
            records.skip(name, 16 * ngm)
        if not records.at_end():
            raise FileFormatError(
                f"{path} goes on after its {n_spin} components: it is damaged or of an unknown version"
            )
    return n_spin


def _from_records(path: str, known: tuple[int, int, int], run: _Run, name: str) -> NDArray[np.float32]:
    same_file(path, known)
    with _open_records(path) as records:
        _, ngm, n_spin = _head(records, run)
        miller = read_pieces(path, records.skip("Miller indices", 12 * ngm), np.int32, records.order).reshape(ngm, 3)
        pieces = [records.skip(component, 16 * ngm) for component in _COMPONENTS[n_spin]]
    wanted = pieces[:1] if name == "density" else pieces[1:]
    coefficients = [read_pieces(path, one, np.complex128, records.order) for one in wanted]
    return _field(path, run, name, miller, coefficients)


# charge-density.hdf5 --------------------------------------------------------------------------------------------


def _spins_hdf5(path: Path, run: _Run) -> int:
    with hdf5_file(path) as file:
        return _head_hdf5(str(path), file, run)


def _head_hdf5(path: str, file: Any, run: _Run) -> int:
    """Check the attributes and that all data sets are there and of the right size; the number of components."""
    missing = [name for name in ("gamma_only", "ngm_g", "nspin") if name not in file.attrs]
    if missing or "MillerIndices" not in file:
        lacking = ", ".join(missing) or "MillerIndices"
        raise FileFormatError(f"{path} is HDF5 but no charge density of Quantum ESPRESSO (it lacks {lacking})")
    flag = file.attrs["gamma_only"]
    text = flag.decode("ascii", "replace") if isinstance(flag, bytes) else str(flag)
    ngm, n_spin = int(np.ravel(file.attrs["ngm_g"])[0]), int(np.ravel(file.attrs["nspin"])[0])
    indices = file["MillerIndices"]
    lattice = np.array([np.asarray(indices.attrs[f"bg{i}"], dtype=np.float64) for i in (1, 2, 3)])
    _agree(path, run, "TRUE" in text.upper(), ngm, n_spin, lattice)
    for name, shape in (("MillerIndices", (ngm, 3)), *((name, (2 * ngm,)) for name in _COMPONENTS[n_spin])):
        if name not in file or file[name].shape != shape:
            raise FileFormatError(f"{path}: the data set {name} is missing or not of shape {shape}")
    return n_spin


def _from_hdf5(path: str, known: tuple[int, int, int], run: _Run, name: str) -> NDArray[np.float32]:
    same_file(path, known)
    with hdf5_file(path) as file:
        components = _COMPONENTS[_head_hdf5(path, file, run)]
        miller = read_dataset(file["MillerIndices"], path).astype(np.int64)
        wanted = components[:1] if name == "density" else components[1:]
        coefficients = [read_dataset(file[one], path).astype(np.float64).view(np.complex128) for one in wanted]
    return _field(path, run, name, miller, coefficients)


# rho(G) to rho(r) -----------------------------------------------------------------------------------------------


def _agree(path: str, run: _Run, gamma: bool, ngm: int, n_spin: int, lattice: NDArray[np.float64]) -> None:
    """Raise FileFormatError unless the density belongs to the XML file beside it."""
    if n_spin not in _COMPONENTS:
        raise FileFormatError(f"{path}: {n_spin} spin components; there can be 1, 2 or 4")
    if gamma != run.gamma_only or ngm != run.ngm:
        raise FileFormatError(
            f"{path} has {ngm} G vectors ({'half' if gamma else 'whole'} sphere), {_XML} beside it says {run.ngm} "
            f"({'half' if run.gamma_only else 'whole'} sphere): they are of different calculations, or one is damaged"
        )
    product = lattice @ (run.grid.cell.T / BOHR) / (2 * np.pi) if lattice.shape == (3, 3) else np.full((3, 3), np.nan)
    if not np.abs(product - np.eye(3)).max() < 1e-5:
        raise FileFormatError(
            f"{path}: its reciprocal lattice does not belong to the cell in {_XML}: they are of different calculations"
        )


def _field(
    path: str,
    run: _Run,
    name: str,
    miller: NDArray[np.integer],
    coefficients: list[NDArray[np.complex128]],
) -> NDArray[np.float32]:
    """The density or the magnetization in e/angstrom^3 from the coefficients of its components."""
    flat = _places(path, run, miller)
    fields = [_to_real_space(path, run, flat, rho) / BOHR**3 for rho in coefficients]
    values = fields[0] if name == "density" else np.stack(fields)
    return checked(path, name, values, run.grid, run.n_electrons)


def _places(path: str, run: _Run, miller: NDArray[np.integer]) -> NDArray[np.int64]:
    """(ngm,) index of every G in the FFT grid; each must lie in the sphere and be there once."""
    shape = np.array(run.grid.shape)
    miller = miller.astype(np.int64)
    if (2 * np.abs(miller) >= shape).any():
        raise FileFormatError(f"{path}: Miller indices go beyond the FFT grid {run.grid.shape}: the file is damaged")
    energies = 0.5 * ((miller @ (run.grid.reciprocal * BOHR)) ** 2).sum(axis=1)
    if not energies.max() <= run.cutoff * (1 + 1e-6):
        raise FileFormatError(f"{path}: Miller indices lie beyond the cut-off of the density: the file is damaged")
    flat = np.ravel_multi_index(tuple((miller % shape).T), run.grid.shape)
    both = flat
    if run.gamma_only:
        both = np.concatenate([flat, np.ravel_multi_index(tuple((-miller[flat != 0] % shape).T), run.grid.shape)])
    if np.unique(both).size != both.size:
        raise FileFormatError(f"{path}: the same wave is listed twice: the file is damaged")
    return flat


def _to_real_space(path: str, run: _Run, flat: NDArray[np.int64], rho: NDArray[np.complex128]) -> NDArray[np.float64]:
    """rho(r) in electrons/bohr^3 on the FFT grid."""
    waves = np.zeros(run.grid.n_points, dtype=np.complex128)
    waves[flat] = rho
    waves = waves.reshape(run.grid.shape)
    if run.gamma_only:
        # The missing half: adding conj(rho(G)) at -G doubles the real part of the sum, and G = 0 is its own mirror.
        values = np.fft.ifftn(waves, norm="forward")
        return np.asarray(2 * values.real - rho[flat == 0].real.sum())
    values = np.fft.ifftn(waves, norm="forward")
    largest = np.abs(rho).max()
    if not np.abs(values.imag).max() <= _REAL * max(largest, np.abs(values.real).max()):
        raise FileFormatError(
            f"{path}: rho(-G) is not the conjugate of rho(G), so the density is not real: the file is damaged"
        )
    return np.asarray(values.real)

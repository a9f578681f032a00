"""ABINIT: the density on the FFT grid, from the binary ``_DEN`` or the netCDF ``_DEN.nc``.

The binary file is Fortran unformatted: a header of records (`hdr_io` in ABINIT's m_hdr.F90; the layout of header
version 80, ABINIT 8.0 to 10), then one record of real numbers a component, x fastest. The netCDF file follows the ETSF
specification (Gonze et al., Comput. Mater. Sci. 43, 1056 (2008)), in netCDF-4 or classic netCDF. Both are in atomic
units. Components: nspden = 1, the density; 2, the density and the density of spin up (also in the netCDF file, although
ETSF's text says up and down); 4, the density and the three components of the magnetization.

In PAW runs ABINIT stores the pseudo-density with compensation charges, without the one-centre terms: density_kind
"pseudo".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edviz.errors import EdvizError, FileFormatError, TruncatedFileError
from edviz.grid import PeriodicGrid
from edviz.io.fields import checked, grid_of, same_file
from edviz.io.fortran import Piece, RecordReader, byte_order, read_pieces
from edviz.io.hdf5 import HDF5_SIGNATURE, hdf5_file, names_in, read_dataset
from edviz.io.lazy import Extra, FrameHeader, identity
from edviz.schema import BOHR

__all__ = ["headers", "is_density_file"]

HARTREE = 27.211386245981  # eV, CODATA 2022
#: The one header layout that is read.
_HEADFORM = 80
#: fform of a density on the real-space grid.
_DENSITY = 52
#: Lengths that the first record can have: 6 or 8 characters of the version and two integers.
_FIRST = (16, 14)
_CLASSIC = (b"CDF\x01", b"CDF\x02")


def is_density_file(head: bytes, path: Path) -> bool:
    """Whether a file starts like an ABINIT file with a header, or is netCDF with ABINIT's names in it."""
    if head.startswith(_CLASSIC):
        return b"reduced_atom_positions" in head and b"primitive_vectors" in head
    if head.startswith(HDF5_SIGNATURE):
        return {"reduced_atom_positions", "primitive_vectors"} <= names_in(head, path)
    order = byte_order(head, _FIRST)
    if not order:
        return False
    length = int.from_bytes(head[:4], "little" if order == "<" else "big")
    version = head[4 : 4 + length - 8]
    return all(32 <= c < 127 for c in version) and version[:1].isdigit()


@dataclass(frozen=True)
class _Run:
    """What the header says; lengths in bohr until they are handed on."""

    grid: PeriodicGrid
    n_spin: int
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    n_electrons: float
    energy: float
    paw: bool
    version: str


def headers(path: str | os.PathLike[str]) -> list[FrameHeader]:
    """The one frame of a ``_DEN`` or ``_DEN.nc`` file.

    Raises
    ------
    TruncatedFileError, FileFormatError
        If the file is cut off or damaged, holds another field than a density, or has a header of another version than
        80 (ABINIT 8.0 and newer).
    """
    with Path(path).open("rb") as file:
        head = file.read(16)
    read: Callable[[str], NDArray[np.float32]]
    known = identity(str(path))
    if head.startswith(HDF5_SIGNATURE):
        with hdf5_file(path) as file:
            run = _netcdf_run(str(path), _Netcdf4(str(path), file))
        read = partial(_from_netcdf4, str(path), known, run)
    elif head.startswith(_CLASSIC):
        with _classic(str(path)) as variables:
            run = _netcdf_run(str(path), variables)
        read = partial(_from_classic, str(path), known, run)
    else:
        run, pieces, order = _records(path)
        read = partial(_from_records, str(path), known, run, pieces, order)
    extras: dict[str, Extra] = {}
    if run.energy:  # 0 in a density that was made without a total energy
        extras["energy"] = ((), np.asarray(run.energy * HARTREE), {"units": "eV", "long_name": "total energy"})
    return [
        FrameHeader(
            path=str(path),
            shape=run.grid.shape,
            cell=run.grid.cell,
            values=read,
            density_kind="pseudo" if run.paw else "valence",
            numbers=run.numbers,
            positions=run.positions,
            components={1: 0, 2: 1, 4: 3}[run.n_spin],
            source=f"ABINIT {run.version}".strip(),
            n_electrons=run.n_electrons,
            extras=extras,
        )
    ]


def _run(
    path: str,
    cell: NDArray[np.float64],
    shape: tuple[int, int, int],
    n_spin: int,
    nuclear_charges: NDArray[np.float64],
    types: NDArray[np.integer],
    fractional: NDArray[np.float64],
    n_electrons: float,
    energy: float,
    paw: bool,
    version: str,
) -> _Run:
    """Check what the header says and put it together; `cell` in bohr."""
    grid = grid_of(cell * BOHR, shape, path)
    if n_spin not in (1, 2, 4):
        raise FileFormatError(f"{path}: nspden = {n_spin}; it can be 1, 2 or 4")
    if types.size == 0 or types.min() < 1 or types.max() > nuclear_charges.size:
        raise FileFormatError(f"{path}: the types of the atoms are not numbers from 1 to {nuclear_charges.size}")
    charges = nuclear_charges[types - 1]
    if not (np.isfinite(charges).all() and (charges == np.rint(charges)).all() and (charges >= 1).all()):
        raise FileFormatError(
            f"{path}: nuclear charges {nuclear_charges.tolist()} are not those of elements (alchemical mixing is not "
            "read)"
        )
    if not np.isfinite(fractional).all() or not np.isfinite(energy):
        raise FileFormatError(f"{path}: a position or the energy is not a finite number")
    if not (np.isfinite(n_electrons) and n_electrons > 0):
        raise FileFormatError(f"{path}: nelect = {n_electrons} is not a positive number")
    return _Run(
        grid=grid,
        n_spin=n_spin,
        numbers=charges.astype(np.int64),
        positions=grid.to_cartesian(fractional),
        n_electrons=n_electrons,
        energy=energy,
        paw=paw,
        version=version,
    )


def _field(path: str, run: _Run, name: str, component: Callable[[int], NDArray[np.float64]]) -> NDArray[np.float32]:
    """The density or the magnetization; `component` reads one of ABINIT's, (na, nb, nc) in electrons/bohr^3."""
    if name == "density":
        values = component(0)
    elif run.n_spin == 2:
        values = (2 * component(1) - component(0))[None]
    else:
        values = np.stack([component(i) for i in (1, 2, 3)])
    return checked(path, name, values / BOHR**3, run.grid, run.n_electrons)


# Binary ---------------------------------------------------------------------------------------------------------


class _Numbers:
    """Takes numbers off a record from the left."""

    def __init__(self, data: bytes, order: str, where: str) -> None:
        self.data = data
        self.order = order
        self.where = where
        self.position = 0

    def take(self, kind: str, count: int) -> NDArray[Any]:
        dtype = np.dtype(self.order + kind)
        end = self.position + count * dtype.itemsize
        if count < 0 or end > len(self.data):
            raise FileFormatError(f"{self.where}: the record is too short for its content: the file is damaged")
        values = np.frombuffer(self.data[self.position : end], dtype=dtype)
        self.position = end
        return values.astype(dtype.newbyteorder("="))

    def integers(self, count: int) -> list[int]:
        return [int(n) for n in self.take("i4", count)]


def _records(path: str | os.PathLike[str]) -> tuple[_Run, list[list[Piece]], str]:
    """The header of a binary file and where the components lie."""
    with Path(path).open("rb") as file:
        order = byte_order(file.read(32), _FIRST)
    if not order:
        raise FileFormatError(f"{path} is no ABINIT density, or its start is damaged")
    with RecordReader(path, order, "ABINIT file") as records:
        first = records.read("version")
        version = first[:-8].decode("ascii", "replace").strip()
        headform, fform = (int(n) for n in np.frombuffer(first[-8:], order + "i4"))
        if headform != _HEADFORM:
            raise FileFormatError(
                f"{path} has an ABINIT header of version {headform} (ABINIT {version}); edviz reads version "
                f"{_HEADFORM} (ABINIT 8.0 and newer). Run with iomode 3 and open the _DEN.nc, or export a cube "
                "with cut3d."
            )
        if fform != _DENSITY:
            raise FileFormatError(
                f"{path} holds no density (its fform is {fform}, a density has {_DENSITY}): open the _DEN"
            )
        sizes = _Numbers(records.read("sizes"), order, f"{path}, record 2")
        (_, _, _, _, n_atoms, n1, n2, n3, n_k, n_spin, _, n_sppol, n_sym, n_psp, n_types, _, _, paw) = sizes.integers(
            18
        )
        limit = records.size
        if not (0 < n_atoms < limit and 0 < n_types <= n_atoms and 0 < n_k < limit and 0 < n_sym < limit):
            raise FileFormatError(
                f"{path}, record 2: {n_atoms} atoms of {n_types} types, {n_k} k-points: the file is damaged"
            )
        if n_sppol not in (1, 2) or not 0 < n_psp < limit:
            raise FileFormatError(f"{path}, record 2: nsppol = {n_sppol}, npsp = {n_psp}: the file is damaged")
        sizes.take("f8", 7)  # ecut, ecutdg, ecutsm, ecut_eff, qptn
        cell = sizes.take("f8", 9).reshape(3, 3)  # rprimd(:, i) is lattice vector i
        lists = _Numbers(records.read("k-points, symmetries and types"), order, f"{path}, record 3")
        # istwfk, nband, npwarr, so_psp, symafm, symrel
        lists.integers(n_k + n_k * n_sppol + n_k + n_psp + n_sym + 9 * n_sym)
        types = lists.take("i4", n_atoms)
        lists.take("f8", 3 * n_k)  # kptns
        _skip_occupations(lists, n_k, n_sym, n_types)
        charges = lists.take("f8", n_types)
        energies = _Numbers(records.read("positions and energies", 8 * (3 + 3 * n_atoms + n_types)), order, "record 4")
        energies.take("f8", 1)  # residm
        fractional = energies.take("f8", 3 * n_atoms).reshape(n_atoms, 3)
        energy = float(energies.take("f8", 1)[0])
        settings = _Numbers(records.read("number of electrons"), order, f"{path}, record 5")
        settings.integers(2)  # kptopt, pawcpxocc
        n_electrons = float(settings.take("f8", 1)[0])
        for i in range(n_psp):
            records.skip(f"pseudopotential {i + 1}")
        if paw:
            records.skip("PAW sizes")
            records.skip("PAW occupancies")
        run = _run(
            str(path), cell, (n1, n2, n3), n_spin, charges, types, fractional, n_electrons, energy, bool(paw), version
        )
        pieces = [records.skip(f"component {i + 1} of {n_spin}", 8 * run.grid.n_points) for i in range(n_spin)]
        # PAW files go on with rhoij; others end here.
        if not records.at_end() and not paw:
            raise FileFormatError(f"{path} goes on after its {n_spin} components: it is damaged")
    return run, pieces, order


def _skip_occupations(lists: _Numbers, n_k: int, n_sym: int, n_types: int) -> None:
    """Go over occ (whose length is the total number of bands) and tnons, to the charges of the types."""
    # What follows occ is known: tnons(3, nsym), znucltypat(ntypat), wtk(nkpt).
    rest = 8 * (3 * n_sym + n_types + n_k)
    start = len(lists.data) - rest
    if start < lists.position:
        raise FileFormatError(f"{lists.where}: the record is too short for its content: the file is damaged")
    lists.position = start
    lists.take("f8", 3 * n_sym)


def _from_records(
    path: str, known: tuple[int, int, int], run: _Run, pieces: list[list[Piece]], order: str, name: str
) -> NDArray[np.float32]:
    same_file(path, known)
    shape = run.grid.shape[::-1]
    return _field(path, run, name, lambda i: read_pieces(path, pieces[i], np.float64, order).reshape(shape).T)


# netCDF ---------------------------------------------------------------------------------------------------------


class _Netcdf4(Mapping[str, NDArray[Any]]):
    """Variables of a netCDF-4 file by name, read when asked for."""

    def __init__(self, path: str, file: Any) -> None:
        self.path = path
        self.file = file

    def __getitem__(self, name: str) -> NDArray[Any]:
        return read_dataset(self.file[name], self.path)

    def __iter__(self) -> Any:
        return iter(self.file)

    def __len__(self) -> int:
        return len(self.file)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.file[name].shape)

    def version(self) -> str:
        value = self.file.attrs.get("abinit_version", b"")
        return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


class _Classic(Mapping[str, NDArray[Any]]):
    """Variables of a classic netCDF file by name, copied when asked for."""

    def __init__(self, path: str, file: Any) -> None:
        self.path = path
        self.file = file

    def __getitem__(self, name: str) -> NDArray[Any]:
        values = np.array(self.file.variables[name].data)
        return values.astype(values.dtype.newbyteorder("="))

    def __iter__(self) -> Any:
        return iter(self.file.variables)

    def __len__(self) -> int:
        return len(self.file.variables)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.file.variables[name].shape)

    def version(self) -> str:
        value = getattr(self.file, "abinit_version", b"")
        return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


class _classic:
    """A classic netCDF file opened by scipy; whatever it raises becomes a TruncatedFileError."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: Any = None

    def __enter__(self) -> _Classic:
        from scipy.io import netcdf_file

        try:
            self.file = netcdf_file(self.path, "r", mmap=False)
        except Exception as error:  # scipy reports damage by almost any exception
            raise self._damaged(error) from error
        return _Classic(self.path, self.file)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self.file is not None:
            self.file.close()
        if isinstance(error, Exception) and not isinstance(error, EdvizError):
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> TruncatedFileError:
        return TruncatedFileError(
            f"{self.path} cannot be read ({error}). It was cut off or damaged while it was written or copied: copy it "
            "again."
        )


def _netcdf_run(path: str, variables: _Netcdf4 | _Classic) -> _Run:
    needed = (
        "density",
        "primitive_vectors",
        "reduced_atom_positions",
        "atom_species",
        "atomic_numbers",
        "nelect",
        "usepaw",
    )
    missing = [name for name in needed if name not in variables]
    if missing:
        raise FileFormatError(
            f"{path} is netCDF of ABINIT but holds no {' or '.join(missing)}: open the file that ends in _DEN.nc"
        )
    shape = variables.shape("density")
    if len(shape) != 5 or shape[-1] != 1:
        raise FileFormatError(
            f"{path}: density has shape {shape}; (nspden, n3, n2, n1, 1) is expected (real, not complex)"
        )
    n_spin, n3, n2, n1, _ = shape
    types = np.ravel(variables["atom_species"])
    cell = np.asarray(variables["primitive_vectors"], dtype=np.float64)
    fractional = np.asarray(variables["reduced_atom_positions"], dtype=np.float64)
    if cell.shape != (3, 3) or fractional.shape != (types.size, 3) or types.dtype.kind not in "iu":
        raise FileFormatError(
            f"{path}: cell, positions or types of the atoms have the wrong shape: the file is damaged"
        )
    return _run(
        path,
        cell,
        (n1, n2, n3),
        n_spin,
        np.ravel(np.asarray(variables["atomic_numbers"], dtype=np.float64)),
        types,
        fractional,
        float(np.ravel(variables["nelect"])[0]),
        float(np.ravel(variables["etot"])[0]) if "etot" in variables else 0.0,
        bool(np.ravel(variables["usepaw"])[0]),
        variables.version(),
    )


def _from_variables(path: str, run: _Run, variables: _Netcdf4 | _Classic, name: str) -> NDArray[np.float32]:
    stored = np.asarray(variables["density"][..., 0], dtype=np.float64)
    return _field(path, run, name, lambda i: stored[i].T)


def _from_netcdf4(path: str, known: tuple[int, int, int], run: _Run, name: str) -> NDArray[np.float32]:
    same_file(path, known)
    with hdf5_file(path) as file:
        return _from_variables(path, run, _Netcdf4(path, file), name)


def _from_classic(path: str, known: tuple[int, int, int], run: _Run, name: str) -> NDArray[np.float32]:
    same_file(path, known)
    with _classic(path) as variables:
        return _from_variables(path, run, variables, name)

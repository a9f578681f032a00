"""GPAW: the pseudo-density of a .gpw file, and the all-electron density where gpaw is installed.

A .gpw file is an ULM container (Åsmund Hjorth Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017); layout in
ase.io.ulm): a header, arrays as plain numbers, and JSON that says where they lie. It is read here directly, so that
nothing in the file is ever executed (JSON without object hooks, no pickles) and every offset is checked against the
size of the file first.

GPAW stores the pseudo-density in electrons/angstrom^3 without compensation charges: it does not integrate to the number
of valence electrons (density_kind "pseudo", `n_electrons` is its integral). Along an axis that is not periodic GPAW
leaves the boundary point out, where the density is zero; it is put back, so that the grid divides the whole cell. Two
components are spin up and spin down; four are the density and the magnetization.

``all_electron=True`` lets GPAW itself put the PAW corrections onto a grid (`get_all_electron_density`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edviz.errors import ArgumentError, FileFormatError, MissingDataError, MissingDependencyError, TruncatedFileError
from edviz.grid import PeriodicGrid
from edviz.io.fields import checked, grid_of, same_file
from edviz.io.lazy import Extra, FrameHeader, identity

__all__ = ["headers", "is_gpw", "read_ulm"]

_MAGIC = b"- of Ulm"
_TAG = b"gpaw"
#: More JSON than this is a damaged count.
_MAX_JSON = 64 << 20


def is_gpw(head: bytes, path: Path) -> bool:
    """Whether a file is an ULM container of GPAW."""
    return head.startswith(_MAGIC) and head[8:24].rstrip(b"\x00 ").lower() == _TAG


def headers(path: str | os.PathLike[str], all_electron: bool = False, refinement: int = 2) -> list[FrameHeader]:
    """The one frame of a .gpw file.

    Parameters
    ----------
    path
        The file.
    all_electron
        The density of all electrons instead of the pseudo-density; gpaw must be installed and finds its PAW data sets.
        It is computed when the frame is read. Only the density is given, no magnetization.
    refinement
        With `all_electron`: the grid is this many times finer than the stored one; 1, 2 or 4.

    Raises
    ------
    TruncatedFileError, FileFormatError
        If the file is cut off, damaged or no ULM container.
    MissingDataError
        If it holds no density.
    MissingDependencyError
        If gpaw is needed and not installed.
    """
    if refinement not in (1, 2, 4):
        raise ArgumentError(f"refinement is 1, 2 or 4 (as in GPAW); got {refinement}")
    path = str(path)
    content = read_ulm(path)
    atoms = _section(content, "atoms", path)
    numbers = _array(atoms, "numbers", path, (None,)).astype(np.int64)
    positions = _array(atoms, "positions", path, (numbers.size, 3))
    cell = _array(atoms, "cell", path, (3, 3))
    periodic = _array(atoms, "pbc", path, (3,)).astype(bool)
    if numbers.size == 0 or numbers.min() < 1 or numbers.max() > 118 or not np.isfinite(positions).all():
        raise FileFormatError(f"{path}: atomic numbers or positions are not possible: the file is damaged")
    density = content.get("density")
    stored = density.get("density") if isinstance(density, dict) else None
    if not isinstance(stored, StoredArray):
        raise MissingDataError(f"{path} holds no density: write it with calc.write('name.gpw') after a calculation")
    if len(stored.shape) != 4 or stored.shape[0] not in (1, 2, 4) or stored.dtype.kind != "f":
        raise FileFormatError(
            f"{path}: the density has shape {stored.shape} and dtype {stored.dtype}, no (spin, x, y, z)"
        )
    shape = tuple(n + (0 if axis else 1) for n, axis in zip(stored.shape[1:], periodic, strict=True))
    grid = grid_of(cell, shape, path)  # type: ignore[arg-type]
    if all_electron:
        _gpaw()
        grid = PeriodicGrid(cell, tuple(refinement * n for n in grid.shape))  # type: ignore[arg-type]
        read: Any = partial(_all_electron, path, identity(path), grid, refinement)
        components = 0
    else:
        read = partial(_pseudo, path, identity(path), grid, stored, [bool(p) for p in periodic])
        components = {1: 0, 2: 1, 4: 3}[stored.shape[0]]
    version = content.get("gpaw_version", "")
    return [
        FrameHeader(
            path=path,
            shape=grid.shape,
            cell=grid.cell,
            values=read,
            density_kind="total" if all_electron else "pseudo",
            numbers=numbers,
            positions=positions,
            components=components,
            periodic=tuple(int(p) for p in periodic),  # type: ignore[arg-type]
            source=f"GPAW {version}" if isinstance(version, str) and version else "GPAW",
            extras=_energy_and_forces(content, numbers.size, path),
        )
    ]


def _pseudo(
    path: str, known: tuple[int, int, int], grid: PeriodicGrid, stored: StoredArray, periodic: list[bool], name: str
) -> NDArray[np.float32]:
    same_file(path, known)
    values = stored.read().astype(np.float64, copy=False)
    values = np.pad(values, [(0, 0), *((0 if axis else 1, 0) for axis in periodic)])
    if len(values) == 2:
        field = values[0] + values[1] if name == "density" else (values[0] - values[1])[None]
    else:
        field = values[0] if name == "density" else values[1:]
    return checked(path, name, field, grid)


def _gpaw() -> Any:
    try:
        import gpaw
    except ImportError as error:
        raise MissingDependencyError(
            "all_electron=True lets GPAW compute the density and gpaw is not installed: pip install gpaw. Without it "
            "the pseudo-density can be read."
        ) from error
    return gpaw


def _all_electron(
    path: str, known: tuple[int, int, int], grid: PeriodicGrid, refinement: int, name: str
) -> NDArray[np.float32]:
    same_file(path, known)
    gpaw = _gpaw()
    try:
        values = np.asarray(gpaw.GPAW(path, txt=None).get_all_electron_density(gridrefinement=refinement))
    except Exception as error:  # GPAW raises almost anything, e.g. where its PAW data sets are not found
        raise FileFormatError(f"{path}: GPAW {gpaw.__version__} cannot compute the density ({error!r})") from error
    return checked(path, name, values, grid)


def _energy_and_forces(content: Mapping[str, Any], n_atoms: int, path: str) -> dict[str, Extra]:
    results = content.get("results")
    extras: dict[str, Extra] = {}
    if not isinstance(results, dict):
        return extras
    energy = results.get("energy")
    if isinstance(energy, float):
        extras["energy"] = (
            (),
            np.asarray(energy),
            {"units": "eV", "long_name": "energy extrapolated to zero smearing"},
        )
    if "forces" in results:
        extras["forces"] = (("atom", "xyz"), _array(results, "forces", path, (n_atoms, 3)), {"units": "eV/angstrom"})
    for name, (_, values, _attrs) in extras.items():
        if not np.isfinite(values).all():
            raise FileFormatError(f"{path}: {name} is not a finite number")
    return extras


# The container --------------------------------------------------------------------------------------------------


class StoredArray:
    """An array in an ULM file: where it lies and what it is."""

    def __init__(self, path: str, size: int, shape: Any, dtype: Any, offset: Any, order: Literal["<", ">"]) -> None:
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise FileFormatError(f"{path}: an array of shape {shape!r}: the file is damaged")
        kinds = {"float64", "complex128", "int64", "int32", "float32", "bool", "int8", "uint8", "complex64"}
        if not isinstance(dtype, str) or dtype not in kinds or type(offset) is not int:
            raise FileFormatError(f"{path}: an array of type {dtype!r} at {offset!r}: the file is damaged")
        self.path = path
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.offset = offset
        self.order = order
        self.count = 1
        for n in shape:
            self.count *= n
        end = offset + self.count * self.dtype.itemsize
        if offset < 0 or end > size:
            raise TruncatedFileError(
                f"{path}: an array of shape {self.shape} should end at byte {end}, the file has {size}. It was cut "
                "off or damaged: copy it again."
            )

    def read(self) -> NDArray[Any]:
        """The values."""
        with Path(self.path).open("rb") as file:
            file.seek(self.offset)
            values = np.fromfile(file, dtype=self.dtype.newbyteorder(self.order), count=self.count)
        if values.size != self.count:
            raise TruncatedFileError(f"{self.path} became shorter since it was opened: open it again")
        return values.astype(self.dtype, copy=False).reshape(self.shape)


def read_ulm(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The first item of an ULM file as nested dictionaries; arrays as `StoredArray`, not read yet.

    Raises
    ------
    TruncatedFileError
        If the file ends before its content does.
    FileFormatError
        If it is no ULM file or damaged.
    """
    path = str(path)
    size = os.path.getsize(path)
    with Path(path).open("rb") as file:
        head = file.read(48)
        if head[:8] != _MAGIC:
            raise FileFormatError(f"{path} is no .gpw file of GPAW 1.0 or newer")
        if len(head) < 48:
            raise TruncatedFileError(f"{path} ends inside its header: copy it again")
        # Numbers of the header are in the byte order of the machine that wrote it, which the version (1 to 3) tells.
        order: Literal["<", ">"] = "<" if 0 < int.from_bytes(head[24:32], "little") < 1000 else ">"
        _, n_items, position = (int(n) for n in np.frombuffer(head[24:48], order + "i8"))
        if n_items < 1:
            raise TruncatedFileError(f"{path} holds no item: the calculation was stopped while it wrote the file")
        if not 0 <= position <= size - 8 * n_items:
            raise TruncatedFileError(
                f"{path} should list {n_items} items at byte {position}, the file has {size} bytes"
            )
        item = _integer(file, position, size, order, path)
        length = _integer(file, item, size, order, path)
        if not 0 < length <= min(size - item - 8, _MAX_JSON):
            raise TruncatedFileError(f"{path}: its table of contents should have {length} bytes, the file ends before")
        text = file.read(length)
    try:
        content = json.loads(text.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: its table of contents is damaged ({error}): copy it again") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{path}: its table of contents is damaged: copy it again")
    if content.pop("_little_endian", True) is not (order == "<"):
        raise FileFormatError(f"{path}: its table of contents and its header differ in byte order: it is damaged")
    return _with_arrays(content, path, size, order)


def _integer(file: Any, position: int, size: int, order: str, path: str) -> int:
    if not 0 <= position <= size - 8:
        raise TruncatedFileError(f"{path}: an offset points to byte {position} of {size}: it was cut off or damaged")
    file.seek(position)
    return int(np.frombuffer(file.read(8), order + "i8")[0])


def _with_arrays(content: dict[str, Any], path: str, size: int, order: Literal["<", ">"]) -> dict[str, Any]:
    """Replace every reference to an array; a name that ends in '.' marks a reference or a nested dictionary."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if name.endswith(".") and isinstance(value, dict):
            name = name[:-1]
            reference = value.get("ndarray")
            if isinstance(reference, list) and len(reference) == 3:
                shape, dtype, offset = reference
                found[name] = StoredArray(path, size, shape, dtype, offset, order)
                continue
            if reference is not None:
                raise FileFormatError(f"{path}: the reference to the array {name} is damaged")
            value = _with_arrays(value, path, size, order)
        found[name] = value
    return found


def _section(content: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    found = content.get(name)
    if not isinstance(found, dict):
        raise FileFormatError(f"{path} holds no '{name}': it is no .gpw file of GPAW, or damaged")
    return found


def _array(section: Mapping[str, Any], name: str, path: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """An array or a list of numbers with this shape (None: any size)."""
    value = section.get(name)
    if isinstance(value, dict) and set(value) == {"__ndarray__"} and isinstance(value["__ndarray__"], list):
        value = value["__ndarray__"][-1]  # a small array inside the JSON: [shape, dtype, numbers]
    try:
        array = value.read() if isinstance(value, StoredArray) else np.asarray(value)
    except ValueError as error:
        raise FileFormatError(f"{path}: '{name}' is damaged ({error})") from error
    fits = array.ndim == len(shape) and all(n is None or n == m for n, m in zip(shape, array.shape, strict=False))
    if not fits or array.dtype.kind not in "iufb":
        raise FileFormatError(
            f"{path}: '{name}' has shape {array.shape} where {shape} is expected: the file is damaged"
        )
    return array

"""VASP's HDF5 files: the density in vaspwave.h5 or vaspout.h5, and the ionic steps of vaspout.h5.

VASP 6.5 and newer write the density to the group ``charge`` of vaspwave.h5 when LCHARGH5 (or LH5) is set:
``charge/grid`` (three integers) and ``charge/charge`` of shape (components, nz, ny, nx), rho times the volume of the
cell as in CHGCAR. Names and layout follow VASP's own reader py4vasp (py4vasp/_raw/definition.py) and pymatgen's
Vaspwave, which is the oracle of the tests; VASP itself cannot be run here. One component is the density, two are the
density and the magnetization, four the density and the three components of the magnetization.

A vaspout.h5 without a density (the default) still has the ionic steps: `ionic_steps` gives them as ASE atoms, which
`edviz.open(..., positions=)` takes from a file beside a series of CHGCARs.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edviz.errors import FileFormatError, MissingDataError, TruncatedFileError
from edviz.grid import PeriodicGrid
from edviz.io.fields import checked, grid_of, number_of, same_file
from edviz.io.hdf5 import hdf5_file, names_in, read_dataset, read_texts
from edviz.io.lazy import FrameHeader, identity

if TYPE_CHECKING:
    import ase

__all__ = ["headers", "ionic_steps", "is_vasp_hdf5"]

_STRUCTURES = ("structure/positions", "results/positions")
_STEPS = "intermediate/ion_dynamics"
#: More atoms than this is a damaged count.
_MAX_ATOMS = 10_000_000


def is_vasp_hdf5(head: bytes, path: Path) -> bool:
    """Whether a file is HDF5 with VASP's groups at its root."""
    names = names_in(head, path)
    return "version" in names and bool(names & {"results", "intermediate", "charge", "structure", "wave"})


def headers(path: str | os.PathLike[str]) -> list[FrameHeader]:
    """The one frame of vaspwave.h5, or of a vaspout.h5 that holds a density.

    Raises
    ------
    MissingDataError
        If the file holds no density, as most vaspout.h5 do.
    TruncatedFileError, FileFormatError
        If the file was cut off while it was written (ionic steps of unequal number included) or is damaged.
    """
    path = str(path)
    with hdf5_file(path) as file:
        version = _version(file)
        if _STEPS in file:
            _count_steps(file, path)
        if "charge/charge" not in file:
            raise MissingDataError(
                f"{path} holds no charge density. VASP 6.5 writes it to vaspwave.h5 with LCHARGH5 = .TRUE.; else open "
                "the CHGCAR. The ionic steps of this file: edviz.io.vaspout.ionic_steps(path)."
            )
        numbers, cell, fractional = _structure(file, path)
        stored = file["charge/charge"]
        shape = tuple(getattr(stored, "shape", ()))
        if len(shape) != 4 or shape[0] not in (1, 2, 4):
            raise FileFormatError(f"{path}: charge/charge has shape {shape}, not (1, 2 or 4, nz, ny, nx)")
        if "charge/grid" in file:
            grid = tuple(int(n) for n in np.ravel(read_dataset(file["charge/grid"], path)))
            if grid != shape[:0:-1]:
                raise FileFormatError(f"{path}: charge/grid says {grid}, charge/charge holds {shape[:0:-1]} points")
        place = grid_of(cell, shape[:0:-1], path)  # type: ignore[arg-type]
    return [
        FrameHeader(
            path=path,
            shape=place.shape,
            cell=place.cell,
            values=partial(_values, path, identity(path), place),
            density_kind="valence",
            numbers=numbers,
            positions=place.to_cartesian(fractional),
            components=shape[0] - 1,
            source=f"VASP {version}".strip(),
        )
    ]


def _values(path: str, known: tuple[int, int, int], grid: PeriodicGrid, name: str) -> NDArray[np.float32]:
    same_file(path, known)
    with hdf5_file(path) as file:
        stored = np.asarray(read_dataset(file["charge/charge"], path), dtype=np.float64)
    wanted = stored[0] if name == "density" else stored[1:]
    return checked(path, name, np.swapaxes(wanted, -1, -3) / grid.volume, grid)


def _version(file: Any) -> str:
    try:
        return ".".join(str(int(file[f"version/{part}"][()])) for part in ("major", "minor", "patch"))
    except Exception:  # the version is only for the attribute `source`
        return ""


def _structure(file: Any, path: str) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Atomic numbers, cell in angstrom and fractional coordinates of the structure that the density belongs to."""
    name = next((name for name in _STRUCTURES if name in file), None)
    if name is None:
        raise FileFormatError(f"{path} holds no {' or '.join(_STRUCTURES)}: the file is damaged")
    group = file[name]
    # vaspwave.h5 always says these two; the results of vaspout.h5 need not.
    missing = [one for one in ("scale", "direct_coordinates") if one not in group]
    if missing and name == _STRUCTURES[0]:
        raise FileFormatError(f"{path} holds no {name}/{missing[0]}: the file is damaged")
    numbers = _numbers(group, path)
    cell = _scaled(group, _floats(group, "lattice_vectors", path))
    positions = _floats(group, "position_ions", path)
    if cell.shape != (3, 3) or positions.shape != (numbers.size, 3):
        raise FileFormatError(
            f"{path}: {name} has a cell of shape {cell.shape} and positions of shape {positions.shape} for "
            f"{numbers.size} atoms"
        )
    if "direct_coordinates" in group and int(np.ravel(read_dataset(group["direct_coordinates"], path))[0]) != 1:
        positions = positions @ np.linalg.inv(cell)
    if not np.isfinite(positions).all():
        raise FileFormatError(f"{path}: {name} has positions that are not finite numbers")
    return numbers, cell, positions


def _numbers(group: Any, path: str) -> NDArray[np.int64]:
    """Atomic numbers, atom by atom, from the types and how many there are of each."""
    types = read_texts(group["ion_types"], path)
    counts = np.ravel(read_dataset(group["number_ion_types"], path))
    if len(types) != counts.size or (counts < 0).any() or not 0 < counts.sum() < _MAX_ATOMS:
        raise FileFormatError(f"{path}: types {types} and counts {counts.tolist()} of the atoms do not fit together")
    return np.repeat([number_of(one, path) for one in types], counts).astype(np.int64)


def _floats(group: Any, name: str, path: str) -> NDArray[np.float64]:
    if name not in group:
        raise FileFormatError(f"{path} holds no {group.name}/{name}: the file is damaged")
    return np.asarray(read_dataset(group[name], path), dtype=np.float64)


def _scaled(group: Any, cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lattice vectors times the scale of the POSCAR; a negative one is the volume of the cell."""
    scale = float(group["scale"][()]) if "scale" in group else 1.0
    if scale < 0:
        scale = (-scale / abs(np.linalg.det(cell))) ** (1 / 3)
    return cell * scale


# Ionic steps ----------------------------------------------------------------------------------------------------


def _count_steps(file: Any, path: str) -> int:
    """The number of ionic steps, once all arrays agree on it."""
    steps = file[_STEPS]
    counts = {
        name: steps[name].shape[0]
        for name in ("position_ions", "lattice_vectors", "forces", "energies")
        if name in steps and steps[name].ndim > 1
    }
    if len(set(counts.values())) > 1:
        listing = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise TruncatedFileError(
            f"{path}: the ionic steps are not whole ({listing}): VASP was stopped while it wrote the file. "
            "edviz.io.vaspout.ionic_steps(path, whole=False) gives the steps that are complete."
        )
    return min(counts.values(), default=0)


def ionic_steps(path: str | os.PathLike[str], whole: bool = True) -> list[ase.Atoms]:
    """The ionic steps of a vaspout.h5: cells, positions, and energies and forces as results of a calculator.

    Parameters
    ----------
    path
        The file.
    whole
        False: of a file that was cut off while it was written, the steps that are complete.

    Returns
    -------
    One `ase.Atoms` a step, in angstrom, eV and eV/angstrom; the energy is VASP's energy for sigma towards 0.

    Raises
    ------
    MissingDataError
        If the file holds no ionic steps.
    TruncatedFileError, FileFormatError
        If it was cut off or is damaged.
    """
    import ase
    from ase.calculators.singlepoint import SinglePointCalculator

    path = str(path)
    with hdf5_file(path) as file:
        if _STEPS not in file or "position_ions" not in file[_STEPS]:
            raise MissingDataError(f"{path} holds no ionic steps ({_STEPS}/position_ions)")
        steps = file[_STEPS]
        if whole:
            _count_steps(file, path)
        source = next((name for name in _STRUCTURES if name in file), None)
        if source is None:
            raise FileFormatError(f"{path} holds no {' or '.join(_STRUCTURES)}: the file is damaged")
        numbers = _numbers(file[source], path)
        positions = _floats(steps, "position_ions", path)
        cells = _scaled(steps, _floats(steps, "lattice_vectors", path))
        forces = _floats(steps, "forces", path) if "forces" in steps else None
        energies = _floats(steps, "energies", path) if "energies" in steps else None
        tags = read_texts(steps["energies_tags"], path) if "energies_tags" in steps else []
    count = min(len(array) for array in (positions, cells, forces, energies) if array is not None)
    if positions.shape[1:] != (numbers.size, 3) or cells.shape[1:] != (3, 3):
        raise FileFormatError(f"{path}: ionic steps of shape {positions.shape} for {numbers.size} atoms")
    if forces is not None and forces.shape[1:] != (numbers.size, 3):
        raise FileFormatError(f"{path}: forces of shape {forces.shape} for {numbers.size} atoms")
    column = next((i for i, tag in enumerate(tags) if "sigma->0" in tag.replace(" ", "")), None)
    frames = []
    for i in range(count):
        atoms = ase.Atoms(numbers, cell=cells[i], scaled_positions=positions[i], pbc=True)
        results: dict[str, Any] = {}
        if energies is not None and column is not None and column < energies.shape[1]:
            results["energy"] = float(energies[i, column])
        if forces is not None:
            results["forces"] = forces[i]
        if results:
            atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames

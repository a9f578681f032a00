"""A trajectory from several files: put in order, checked against each other, joined in time, opened lazily.

Files of formats that describe their frames by headers (see `edviz.io.lazy`) cost their headers; others are opened one
by one and concatenated.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edviz.errors import ArgumentError, FileFormatError, GridMismatchError, MissingDataError, SchemaError
from edviz.io.formats import Format, recognise
from edviz.io.parts import CARRIED

if TYPE_CHECKING:
    import xarray as xr

    from edviz.io.lazy import FrameHeader
    from edviz.trajectory import DensityTrajectory

__all__ = ["files_of", "natural", "open_files"]


def natural(path: Path) -> list[tuple[int, str]]:
    """Sort key under which CHG_2 comes before CHG_10."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", str(path))]


def files_of(folder: Path) -> list[Path]:
    """The files of a folder that make one trajectory, in natural order.

    Files that no format recognises (INCAR, logs) are left out.

    Raises
    ------
    FileFormatError
        If there are none, or they are of several formats or (CHGCAR beside LOCPOT) plainly of several kinds.
    """
    found: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.iterdir(), key=natural):
        if path.name.startswith(".") or not path.exists() or (path.is_file() and path.stat().st_size == 0):
            continue
        try:
            known = recognise(path)
        except (FileFormatError, FileNotFoundError):
            continue
        found.setdefault((known.name, _family(path)), []).append(path)
    if not found:
        raise FileFormatError(
            f"{folder} is a folder without files that edviz reads: name a file, a pattern such as '{folder}/*.h5', or "
            "a .parts folder"
        )
    if len(found) > 1:
        kinds = "; ".join(f"{paths[0].name} ({len(paths)}, {name})" for (name, _), paths in found.items())
        raise FileFormatError(
            f"{folder} is a folder with files of several kinds: {kinds}. Name the file, or give a pattern"
        )
    return next(iter(found.values()))


def _family(path: Path) -> str:
    """What files of one series share in their names: the letters before the first digit, dot, dash or underscore."""
    if path.is_dir():
        return path.suffix
    aeccar = re.match(r"AECCAR\d", path.name)
    return aeccar[0] if aeccar else re.split(r"[\d._-]", path.name, maxsplit=1)[0]


def _accepted(function: Any, options: Mapping[str, Any], known: Format) -> dict[str, Any]:
    """The options, if the function takes them all.

    Raises
    ------
    ArgumentError
        Naming the option and those there are.
    """
    parameters = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return dict(options)
    names = [name for name in list(parameters)[1:] if name != "like"]
    wrong = [name for name in options if name not in names]
    if wrong:
        there = ", ".join(f"{name}=" for name in names) or "none"
        raise ArgumentError(f"{known.name} files take no option {wrong[0]}= (they take: {there})")
    return dict(options)


def open_files(
    paths: Sequence[Path], timestep: float | None, options: Mapping[str, Any], name: Path | None = None
) -> DensityTrajectory:
    """Open files and put them one after the other in time.

    Parameters
    ----------
    paths
        In the order of time.
    timestep
        Between frames, fs, for files without times of their own.
    options
        For the format's reader; `variable_cell` as for `edviz.open`.
    name
        What messages call the whole; by default the first file.

    Raises
    ------
    GridMismatchError
        Naming the first file that does not fit the first one.
    ArgumentError
        If an option does not fit the format.
    """
    from edviz.trajectory import DensityTrajectory

    if not paths:
        raise FileNotFoundError("the list of files is empty")
    if timestep is not None and not timestep > 0:
        raise ArgumentError(f"timestep is the time between frames in fs, a positive number; got {timestep}")
    known = recognise(paths[0])
    module = import_module(known.module)
    options = dict(options)
    variable_cell = bool(options.pop("variable_cell", False))
    if variable_cell and not hasattr(module, "headers"):
        raise ArgumentError(
            f"{paths[0]}: variable_cell= is for the files of other codes; {known.name} states its cells"
        )
    if known.clock and timestep is not None:
        raise ArgumentError(f"{paths[0]}: {known.name} files carry their own times; leave timestep= away")
    if hasattr(module, "headers"):
        ds = _from_headers(paths, known, module, timestep, _accepted(module.headers, options, known), variable_cell)
    else:
        ds = _concatenated(paths, known, module, timestep, _accepted(module.read, options, known))
    if name is not None:
        ds.encoding["source"] = str(name)
    traj = DensityTrajectory(ds)
    if not hasattr(module, "headers"):
        traj.check_electrons()
    return traj


def _times(n_frames: int, timestep: float | None, stacklevel: int) -> np.ndarray[Any, Any]:
    if timestep is None and n_frames > 1:
        warnings.warn("no timestep given: frames count 1 fs apart", UserWarning, stacklevel=stacklevel)
    return np.arange(n_frames, dtype=np.float64) * (1.0 if timestep is None else float(timestep))


def _bar(paths: Sequence[Path]) -> Any:
    from tqdm.auto import tqdm

    return tqdm(paths, desc="opening", unit="file", delay=2, leave=False)


def _same_format(path: Path, known: Format, first: Path) -> None:
    found = recognise(path)
    if found != known:
        raise GridMismatchError(f"{path} cannot follow {first}: it is {found.name}, the first one {known.name}")


def _from_headers(
    paths: Sequence[Path],
    known: Format,
    module: Any,
    timestep: float | None,
    options: Mapping[str, Any],
    variable_cell: bool,
) -> xr.Dataset:
    from edviz.io.lazy import dataset

    headers: list[FrameHeader] = []
    likes = "like" in inspect.signature(module.headers).parameters
    for path in _bar(paths):
        if headers:
            _same_format(path, known, paths[0])
        extra = {"like": headers[0]} if headers and likes else {}
        headers += module.headers(path, **options, **extra)
    return dataset(headers, _times(len(headers), timestep, 6), variable_cell)


def _concatenated(
    paths: Sequence[Path], known: Format, module: Any, timestep: float | None, options: Mapping[str, Any]
) -> xr.Dataset:
    import xarray as xr

    from edviz.trajectory import DensityTrajectory

    trajectories: list[DensityTrajectory] = []
    for path in _bar(paths):
        if trajectories:
            _same_format(path, known, paths[0])
        trajectories.append(DensityTrajectory(module.read(path, **options)))
        if trajectories[1:]:
            difference = _difference(trajectories[0], trajectories[-1])
            if difference:
                raise GridMismatchError(f"{path} cannot follow {paths[0]}: {difference}")
    first = trajectories[0]
    if not known.clock:
        times = _times(sum(map(len, trajectories)), timestep, 6)
        attrs = first.ds["time"].attrs or {"units": "fs"}
        start = 0
        for i, traj in enumerate(trajectories):
            stretch = ("time", times[start : start + len(traj)], attrs)
            trajectories[i] = DensityTrajectory._from_valid(traj.ds.assign_coords(time=stretch))
            start += len(traj)
        first = trajectories[0]
    if len(trajectories) == 1:
        return first.ds
    end = first.time[-1]
    for path, traj in zip(paths[1:], trajectories[1:], strict=True):
        if traj.time[0] <= end:
            raise SchemaError(
                f"{path} starts at {traj.time[0]:g} fs, not after the end of the file before it ({end:g} fs): put the "
                "files in the order of time, without overlaps"
            )
        end = traj.time[-1]
    in_time = [key for key, variable in first.ds.variables.items() if "time" in variable.dims and key != "time"]
    joined = xr.concat(
        [traj.ds[in_time] for traj in trajectories],
        "time",
        data_vars="all",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    static = first.ds.drop_vars([*in_time, "time"])
    # What stands for the run so far (`PartWriter.append`) is the last file's.
    static = static.assign({key: v for key, v in trajectories[-1].ds.variables.items() if CARRIED in v.attrs})
    ds = xr.merge([static, joined], combine_attrs="override", compat="override", join="override")
    ds.attrs = dict(first.ds.attrs)
    ds.encoding["source"] = str(paths[0])
    return ds


def _difference(one: DensityTrajectory, other: DensityTrajectory) -> str:
    """What two trajectories must share but do not; empty if nothing."""
    if one.density.shape[-3:] != other.density.shape[-3:]:
        return f"grid {one.density.shape[-3:]} and {other.density.shape[-3:]}"
    fixed = one.ds["cell"].ndim == 2
    if fixed != (other.ds["cell"].ndim == 2) or (fixed and not one.grid.matches(other.grid)):
        return f"cell {one.ds['cell'].values.tolist()} and {other.ds['cell'].values.tolist()}"
    if one.density_kind != other.density_kind:
        return f"density kind '{one.density_kind}' and '{other.density_kind}'"
    if abs(one.ds.attrs.get("n_electrons", 0) - other.ds.attrs.get("n_electrons", 0)) > 1e-6:
        return f"{one.n_electrons:g} and {other.n_electrons:g} electrons"
    if one.n_samples != other.n_samples or one.is_ensemble != other.is_ensemble:
        return f"{one.n_samples} and {other.n_samples} samples"
    if set(one.ds.variables) != set(other.ds.variables):
        return f"variables {sorted(map(str, one.ds.variables))} and {sorted(map(str, other.ds.variables))}"
    if "numbers" in one.ds and not np.array_equal(one.ds["numbers"].values, other.ds["numbers"].values):
        return "the atoms differ"
    return ""


def with_positions_of(traj: DensityTrajectory, path: Path) -> DensityTrajectory:
    """Take the positions of the atoms from a trajectory file that ASE reads.

    Parameters
    ----------
    traj
        n frames.
    path
        Anything `ase.io.read` understands, or a vaspout.h5, with the same n frames in the same order.

    Raises
    ------
    MissingDataError
        If ASE cannot read it, or it has another number of frames.
    GridMismatchError
        If atoms, cell, or positions that the density files hold themselves, disagree; it names the first frame.
    """
    from edviz.trajectory import DensityTrajectory

    frames = _structures(path)
    if len(frames) != len(traj):
        raise MissingDataError(
            f"{path} has {len(frames)} frames, the densities {len(traj)}: give a trajectory with one frame a density, "
            "e.g. every n-th written with ase.io.write"
        )
    ds = traj.ds
    cells = np.broadcast_to(ds["cell"].values, (len(traj), 3, 3))
    for i, atoms in enumerate(frames):
        at = f"{path}, frame {i}"
        if "numbers" in ds and not np.array_equal(atoms.numbers, ds["numbers"].values):
            raise GridMismatchError(f"{at}: the atoms differ from those of the densities, or their order does")
        if not np.array_equal(atoms.numbers, frames[0].numbers):
            raise GridMismatchError(f"{at}: the atoms differ from those of frame 0")
        if atoms.cell.rank == 3 and np.abs(atoms.cell.array - cells[i]).max() > 1e-2:
            raise GridMismatchError(
                f"{at}: the cell {atoms.cell.tolist()} differs from the densities' {cells[i].tolist()}"
            )
        if "positions" in ds:
            shift = (atoms.positions - ds["positions"].values[i]) @ np.linalg.inv(cells[i])
            shift -= np.rint(shift)
            off = np.abs(shift @ cells[i]).max()
            if off > 1e-2:
                raise GridMismatchError(
                    f"{at}: its positions are up to {off:.3g} angstrom away from those in the density file: the two do "
                    "not belong together"
                )
    ds = ds.drop_vars("positions", errors="ignore").assign(
        numbers=(("atom",), np.asarray(frames[0].numbers, dtype=np.int64)),
        positions=(("time", "atom", "xyz"), np.stack([a.positions for a in frames]), {"units": "angstrom"}),
    )
    return DensityTrajectory._from_valid(ds)


def _structures(path: Path) -> Any:
    """The frames of a trajectory file as a list of `ase.Atoms`."""
    import ase.io

    try:
        vasp = recognise(path).module == "edviz.io.vaspout"
    except (FileFormatError, FileNotFoundError):
        vasp = False
    if vasp:  # ASE does not read it
        from edviz.io.vaspout import ionic_steps

        return ionic_steps(path)
    try:
        return ase.io.read(path, index=":")
    except Exception as error:  # ASE's readers raise almost anything
        raise MissingDataError(f"{path}: ASE cannot read positions from it ({error})") from error

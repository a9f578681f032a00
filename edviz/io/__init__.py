"""Reading and writing trajectories: `open` and `save` choose the format, by content where there is content.

A format is one module here and one line in `FORMATS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from glob import glob
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from edviz.errors import FileFormatError, GridMismatchError, SchemaError, TruncatedFileError

if TYPE_CHECKING:
    import xarray as xr

    from edviz.trajectory import DensityTrajectory

__all__ = ["FORMATS", "Format", "open", "save"]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Format:
    """A file format: how to recognise it, and the module whose `read(path)` and `write(traj, path)` handle it.

    `sniff` gets the first 4096 bytes and the path; `suffixes` choose the format of a file to be written.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    sniff: Callable[[bytes, Path], bool]


FORMATS: tuple[Format, ...] = (
    Format(
        "edviz native (netCDF-4)",
        "edviz.io.native",
        (".h5", ".hdf5", ".nc", ".nc4"),
        lambda head, path: head.startswith(b"\x89HDF\r\n\x1a\n"[: max(len(head), 4)]),
    ),
)


def open(path: PathLike | Sequence[PathLike]) -> DensityTrajectory:
    """Open a trajectory, lazily: fields are read frame by frame when they are used.

    Parameters
    ----------
    path
        A file; a list of files or a pattern with ``*`` (joined in time, a pattern in natural order of the
        names); the folder ``run.h5.parts`` of a run that is still being written, or its ``run.h5``: whichever
        is newer is read.

    Raises
    ------
    FileNotFoundError
        Nothing there.
    FileFormatError, TruncatedFileError
        Not a format edviz reads; cut off or damaged.
    SchemaError, UnitsError, NonFiniteError
        The content breaks the schema. A NaN in a field is found when its frame is read.
    GridMismatchError
        Files of a list do not share cell, grid, atoms and density kind.
    """
    from edviz.io import parts

    if not isinstance(path, (str, os.PathLike)):
        return _join([Path(one) for one in path])
    path = Path(path).expanduser()
    if re.search(r"[*?\[]", str(path)) and not path.exists():
        found = sorted((Path(name) for name in glob(str(path))), key=_natural)
        if not found:
            raise FileNotFoundError(f"no file matches {path}")
        return _join(found)
    folder = parts.unfinished(path)
    if folder is None:
        return _open_one(path)
    try:
        return _join(parts.finished_parts(folder), folder)
    except FileNotFoundError:
        # The run ended while its parts were opened: they are in the file now.
        return _open_one(Path(str(folder).removesuffix(".parts")))


def save(traj: DensityTrajectory | xr.Dataset, path: PathLike) -> None:
    """Write a trajectory; the suffix chooses the format (.h5, .hdf5, .nc: edviz native).

    The file appears whole or not at all; one that was there before is replaced in one step.

    Raises
    ------
    FileFormatError
        For a suffix that no format claims.
    WriteError
        If the disk refuses; a file that was there before is untouched.
    """
    from edviz.trajectory import DensityTrajectory

    if not isinstance(traj, DensityTrajectory):
        traj = DensityTrajectory(traj)
    path = Path(path).expanduser()
    for known in FORMATS:
        if path.suffix.lower() in known.suffixes:
            import_module(known.module).write(traj, path)
            return
    raise FileFormatError(f"{path}: no format for the suffix '{path.suffix}'; edviz writes {_listing()}")


def _listing() -> str:
    return "; ".join(f"{known.name}: {', '.join(known.suffixes)}" for known in FORMATS)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key under which CHG_2 comes before CHG_10."""
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", str(path))]


def _open_one(path: Path) -> DensityTrajectory:
    from edviz.trajectory import DensityTrajectory

    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist (looked from {Path.cwd()})")
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder: name a file, a pattern such as '{path}/*.h5', or a .parts folder")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise TruncatedFileError(f"{path} is empty: copy or write it again")
    for known in FORMATS:
        if known.sniff(head, path):
            traj = DensityTrajectory(import_module(known.module).read(path))
            traj.check_electrons()
            return traj
    raise FileFormatError(f"{path} is in no format edviz reads ({_listing()})")


def _join(paths: Sequence[Path], name: Path | None = None) -> DensityTrajectory:
    """Open files and put them one after the other in time."""
    import xarray as xr
    from tqdm.auto import tqdm

    from edviz.trajectory import DensityTrajectory

    if not paths:
        raise FileNotFoundError("the list of files is empty")
    trajectories = [_open_one(path) for path in tqdm(paths, desc="opening", unit="file", delay=2, leave=False)]
    first = trajectories[0]
    if len(trajectories) == 1:
        return first
    end = first.time[-1]
    for path, traj in zip(paths[1:], trajectories[1:], strict=True):
        difference = _difference(first, traj)
        if difference:
            raise GridMismatchError(f"{path} cannot follow {paths[0]}: {difference}")
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
    ds = xr.merge([static, joined], combine_attrs="override", compat="override", join="override")
    ds.attrs = dict(first.ds.attrs)
    if name is not None:
        ds.encoding["source"] = str(name)
    return DensityTrajectory._from_valid(ds)


def _difference(one: DensityTrajectory, other: DensityTrajectory) -> str:
    """What two trajectories must share but do not; empty if nothing."""
    import numpy as np

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

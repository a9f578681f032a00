"""Reading and writing trajectories: `open` and `save` choose the format, by content where there is content.

A format is one module here and one line in `edviz.io.formats.FORMATS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from glob import glob
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edviz.errors import FileFormatError
from edviz.io.formats import FORMATS, Format, for_writing, recognise

if TYPE_CHECKING:
    import xarray as xr

    from edviz.trajectory import DensityTrajectory

__all__ = ["FORMATS", "Format", "open", "save"]

PathLike = str | os.PathLike[str]


def open(
    path: PathLike | Sequence[PathLike],
    *,
    timestep: float | None = None,
    positions: PathLike | None = None,
    variable_cell: bool = False,
    **options: Any,
) -> DensityTrajectory:
    """Open a trajectory, lazily: fields are read frame by frame when they are used.

    Parameters
    ----------
    path
        A file, plain or packed (.gz, .bz2, .xz, .zst); a list of files or a pattern with ``*`` (joined in time, a
        pattern in natural order of the names); a folder that is one data set (``prefix.save``), or whose files of one
        kind are the frames; the folder ``run.h5.parts`` of a run that is still being written, or its ``run.h5``:
        whichever is newer is read.
    timestep
        Time between frames in fs, for files that hold no times. Without it they count 1 fs apart, with a warning.
    positions
        A trajectory file that ASE reads, with the atoms' positions in each frame.
    variable_cell
        The files' cells may differ, as in a run at constant pressure; their grids must have the same shape. Without it
        a cell that differs is an error.
    **options
        Options of the format's reader, such as ``density_kind="potential"`` or ``orbital=21`` (docs/formats.md).

    Notes
    -----
    Opening reads headers only, and the first frame of a density (its number of electrons is its integral). Positions of
    files without times of their own are unwrapped across frames by minimum image; the attribute `unwrapped` says so.

    Raises
    ------
    FileNotFoundError
        Nothing there.
    FileFormatError, TruncatedFileError
        Not a format edviz reads; cut off or damaged.
    SchemaError, UnitsError, NonFiniteError
        The content breaks the schema. A NaN in a field is found when its frame is read.
    GridMismatchError
        Files of a list do not share cell, grid, atoms and density kind; the message names the first that differs.
    ArgumentError
        An option does not fit the format.
    """
    from edviz.io import parts

    if variable_cell:
        options["variable_cell"] = True
    if not isinstance(path, (str, os.PathLike)):
        return _open_files([Path(one).expanduser() for one in path], timestep, positions, options)
    path = Path(path).expanduser()
    if re.search(r"[*?\[]", str(path)) and not path.exists():
        from edviz.io.series import natural

        found = sorted((Path(name) for name in glob(str(path))), key=natural)
        if not found:
            raise FileNotFoundError(f"no file matches {path}")
        return _open_files(found, timestep, positions, options)
    folder = parts.unfinished(path)
    if folder is None:
        return _open_one(path, timestep, positions, options)
    try:
        return _open_files(parts.finished_parts(folder), timestep, positions, options, folder)
    except FileNotFoundError:
        # The run ended while its parts were opened: they are in the file now.
        return _open_one(Path(str(folder).removesuffix(".parts")), timestep, positions, options)


def save(traj: DensityTrajectory | xr.Dataset, path: PathLike, **options: Any) -> None:
    """Write a trajectory; the name chooses the format: its suffix, or its start as in CHGCAR_001 (docs/formats.md).

    The file appears whole or not at all; one that was there before is replaced in one step.

    Raises
    ------
    FileFormatError
        For a name that no format claims.
    ArgumentError
        If the format holds one frame and the trajectory has several.
    WriteError
        If the disk refuses; a file that was there before is untouched.
    """
    from edviz.trajectory import DensityTrajectory

    if not isinstance(traj, DensityTrajectory):
        traj = DensityTrajectory(traj)
    path = Path(path).expanduser()
    import_module(for_writing(path).module).write(traj, path, **options)


def _open_one(
    path: Path, timestep: float | None, positions: PathLike | None, options: dict[str, Any]
) -> DensityTrajectory:
    """A file, or a folder: one data set, or the files in it."""
    if path.is_dir():
        try:
            recognise(path)
        except FileFormatError:
            from edviz.io.series import files_of

            return _open_files(files_of(path), timestep, positions, options)
    return _open_files([path], timestep, positions, options)


def _open_files(
    paths: Sequence[Path],
    timestep: float | None,
    positions: PathLike | None,
    options: dict[str, Any],
    name: Path | None = None,
) -> DensityTrajectory:
    from edviz.io.series import open_files, with_positions_of
    from edviz.io.unwrap import unwrapped_dataset
    from edviz.trajectory import DensityTrajectory

    traj = open_files(paths, timestep, options, name)
    if positions is not None:
        traj = with_positions_of(traj, Path(positions).expanduser())
    if positions is None and recognise(paths[0]).clock:
        return traj
    return DensityTrajectory._from_valid(unwrapped_dataset(traj.ds))

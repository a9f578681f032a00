"""Writing a long run frame by frame, so that a kill at any moment loses at most the frames since the last part.

While a run grows, its frames go into part files in a folder: ``run.h5.parts/part-00000000.h5``, named by
their first frame. Each part is a complete native file, written beside its place, fsynced and renamed into it.
`PartWriter.close` folds the parts into ``run.h5`` (built inside the folder, renamed onto its place) and only
then moves the folder away. So at every moment either the folder or the file holds all finished frames. This
module imports little: long jobs and their tests start quickly.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edviz import schema
from edviz.errors import (
    FileFormatError,
    GridMismatchError,
    MissingDataError,
    SchemaError,
    TruncatedFileError,
    WriteError,
)
from edviz.io.atomic import flush_to_disk, replacing, write_errors
from edviz.io.native import (
    FieldHeader,
    Small,
    attributes_of,
    creating,
    dims_of,
    is_bare_dimension,
    storable_attribute,
    write_frame,
)

__all__ = ["CARRIED", "PartWriter", "carried_by", "finished_parts", "parts_folder", "unfinished"]

_HEADER = "header.json"
CARRIED = "carried"  # attribute of the variables that stand for the run so far
_PART_BYTES = 64 << 20
_PART_FRAMES = 64


def parts_folder(path: str | os.PathLike[str]) -> Path:
    """``run.h5`` -> ``run.h5.parts``."""
    path = Path(path)
    return path if path.name.endswith(".parts") else path.with_name(path.name + ".parts")


def finished_parts(folder: Path) -> list[Path]:
    """The finished part files in order.

    Raises
    ------
    MissingDataError
        If there is none yet.
    """
    found = sorted(folder.glob("part-*.h5"))
    if not found:
        raise MissingDataError(f"{folder} holds no finished part yet: wait for the run, or resume it")
    return found


def unfinished(path: Path) -> Path | None:
    """The parts folder to read instead of `path`: the folder itself, or one newer than the file beside it."""
    folder = parts_folder(path)
    if not folder.is_dir():
        return None
    file = folder.with_name(folder.name.removesuffix(".parts"))
    if path == folder or not file.exists():
        return folder
    # A part is newer than the file only if a run started, or went on, after the file was folded.
    newest = max((part.stat().st_mtime_ns for part in folder.glob("part-*.h5")), default=0)
    return folder if newest > file.stat().st_mtime_ns else None


class PartWriter:
    """Write a trajectory frame by frame.

    Use it as a context manager: leaving it folds the parts into the file; leaving it by an exception keeps
    the finished frames in the parts folder, which `edviz.open` reads and `PartWriter.resume` continues.

    Parameters
    ----------
    path
        The file to be, such as ``run.h5``. One that is there is replaced when the new one is complete.
    cell
        (3, 3) in angstrom; None if every frame brings its own.
    attrs
        Attributes of the dataset; `density_kind` (and for densities `n_electrons`) at least.
    numbers
        (atom,) atomic numbers.
    frames_per_part
        By default 64, or fewer if these take more than 64 MB.
    resume
        Go on with what is there: parts of an unfinished run, or a complete file. Starts afresh if there is
        nothing.
    overwrite
        Throw the parts of an unfinished run away.

    Raises
    ------
    WriteError
        If the folder holds an unfinished run (and neither `resume` nor `overwrite`), or the disk refuses.
    GridMismatchError
        If `resume` finds a run with another cell, other atoms or another density kind.
    SchemaError
        If an attribute is missing or wrong.

    Examples
    --------
    >>> attrs = {"density_kind": "valence", "n_electrons": 54}
    >>> with PartWriter("run.h5", cell=cell, attrs=attrs, numbers=numbers) as writer:  # doctest: +SKIP
    ...     for time, density, positions in simulation:
    ...         writer.append(density, time, positions=positions)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        cell: ArrayLike | None,
        attrs: Mapping[str, Any],
        numbers: ArrayLike | None = None,
        frames_per_part: int | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path).expanduser()
        self.folder = parts_folder(self.path)
        self._cell = None if cell is None else np.array(cell, dtype=np.float64)
        self._numbers = None if numbers is None else np.array(numbers, dtype=np.int64)
        base = schema.base_attributes(str(attrs.get("density_kind", "")))
        self._attrs = {**base, **attrs}
        schema.validate_attributes(self._attrs, str(self.path))
        for name, value in self._attrs.items():
            storable_attribute(name, value)
        if self._cell is not None:
            _check_cell(self._cell)
        self._frames_per_part = frames_per_part
        self._buffer: list[dict[str, NDArray[Any]]] = []
        self._carried: dict[str, Small] = {}
        self._frame_shapes: dict[str, tuple[int, ...]] = {}
        self._last_time = -np.inf
        #: Frames in finished parts.
        self.n_finished = 0
        self._closed = False
        self._start(resume, overwrite)

    @classmethod
    def resume(cls, path: str | os.PathLike[str]) -> PartWriter:
        """Go on with the unfinished run at `path` after its last finished part; `n_frames` tells how far it came.

        Raises
        ------
        MissingDataError
            If there is no unfinished run.
        """
        header_path = parts_folder(path) / _HEADER
        if not header_path.exists():
            raise MissingDataError(f"there is no unfinished run to resume: {header_path} does not exist")
        header = _read_header(header_path)
        return cls(
            str(parts_folder(path)).removesuffix(".parts"),
            cell=header["cell"],
            attrs=header["attrs"],
            numbers=header["numbers"],
            frames_per_part=header["frames_per_part"],
            resume=True,
        )

    @property
    def n_frames(self) -> int:
        """Frames appended so far, those of a resumed run included."""
        return self.n_finished + len(self._buffer)

    @property
    def last_time(self) -> float | None:
        """Time of the last frame, fs; None before the first."""
        return float(self._last_time) if self.n_frames else None

    def append(
        self, density: ArrayLike, time: float, *, carried: Mapping[str, Small] | None = None, **variables: ArrayLike
    ) -> None:
        """Add one frame.

        Parameters
        ----------
        density
            (na, nb, nc), or (sample, na, nb, nc) for an ensemble; unit as in the schema.
        time
            In fs, later than the frame before.
        carried
            What stands for the run as a whole after this frame, such as the state to go on from: small variables
            without a time, name -> (dims, values, attributes), of the same shapes at every frame. Each part holds
            those of its last frame, and so does the file.
        **variables
            Further variables of the schema that have a time: positions (atom, 3), velocities, forces, energy,
            temperature, magnetization (component, na, nb, nc), or cell (3, 3) if it changes.

        Raises
        ------
        SchemaError, NonFiniteError, UnitsError
            If a value breaks the schema; the message names variable and frame. The frame is not added.
        WriteError
            If the disk refuses a part; its frames stay in memory and the next append or flush tries again.
        """
        if self._closed:
            raise WriteError(f"{self.path} is closed: PartWriter(..., resume=True) goes on with it")
        frame = self._checked({"density": density, "time": time, **variables})
        if not self._frame_shapes:
            self._frame_shapes = {name: values.shape for name, values in frame.items()}
        self._buffer.append(frame)
        self._last_time = float(frame["time"])
        if carried is not None:
            self._carried = {name: (dims, values, {**at, CARRIED: 1}) for name, (dims, values, at) in carried.items()}
        if len(self._buffer) >= self._part_length(frame):
            self.flush()

    def flush(self) -> None:
        """Make the frames since the last part a part of their own: on disk, and visible to `edviz.open`."""
        if not self._buffer:
            return
        part = self.folder / f"part-{self.n_finished:08d}.h5"
        small, fields = self._layout()
        sizes = self._sizes(len(self._buffer))
        with replacing(part, part.with_suffix(".tmp")) as temporary:
            with creating(temporary, sizes, small, fields, self._attrs) as (targets, _):
                for name, header in fields.items():
                    for i, frame in enumerate(self._buffer):
                        write_frame(targets[name], header.dims, i, frame[name])
        self.n_finished += len(self._buffer)
        self._buffer = []

    def close(self) -> None:
        """Finish the last part and fold all parts into the file; the folder goes away.

        Raises
        ------
        MissingDataError
            If there is no frame.
        WriteError
            If the disk refuses; the parts stay.
        """
        if self._closed:
            return
        self.flush()
        _fold(self.folder, self.path)
        self._closed = True

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            with suppress(WriteError):  # the first error is the one to see; its cause may be a full disk
                self.flush()
            self._closed = True

    # Inside -----------------------------------------------------------------------------------------------

    def _start(self, resume: bool, overwrite: bool) -> None:
        with write_errors(self.folder):
            if self.folder.is_dir() and overwrite:
                _discard(self.folder)
        there = sorted(self.folder.glob("part-*.h5")) if self.folder.is_dir() else []
        if there and not resume:
            raise WriteError(
                f"{self.folder} holds finished frames of an unfinished run: PartWriter.resume({str(self.path)!r}) goes "
                "on with it; overwrite=True, or deleting the folder, throws it away"
            )
        with write_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for leftover in self.folder.glob("*.tmp"):
                leftover.unlink()
            if resume and self.path.exists() and unfinished(self.path) is None:
                # The file is complete and newer than any part: it becomes the first part.
                for part in there:
                    part.unlink()
                first = self.folder / "part-00000000.h5"
                try:
                    os.link(self.path, first)
                except OSError:
                    shutil.copy2(self.path, first)
                there = [first]
            header = self.folder / _HEADER
            if resume and header.exists():
                found = _read_header(header)
                self._check_same(found["cell"], found["numbers"], found["attrs"], header)
            else:
                with replacing(header, header.with_suffix(".tmp")) as temporary:
                    temporary.write_text(json.dumps(self._header(), indent=1), encoding="utf-8")
        for part in there:
            self._take_up(part)

    def _header(self) -> dict[str, Any]:
        return {
            "format": "edviz parts",
            "version": 1,
            "frames_per_part": self._frames_per_part,
            "cell": None if self._cell is None else self._cell.tolist(),
            "numbers": None if self._numbers is None else self._numbers.tolist(),
            "attrs": {key: np.asarray(value).tolist() for key, value in self._attrs.items()},
        }

    def _check_same(self, cell: Any, numbers: Any, attrs: Mapping[str, Any], where: Path) -> None:
        """Raise GridMismatchError if what is on disk is a run of something else."""
        same = {
            "cell": _same(self._cell, cell, 1e-4),
            "atoms": _same(self._numbers, numbers, 0),
            "density kind": self._attrs["density_kind"] == attrs["density_kind"],
            "number of electrons": _same(self._attrs.get("n_electrons"), attrs.get("n_electrons"), 1e-6),
        }
        different = [what for what, equal in same.items() if not equal]
        if different:
            raise GridMismatchError(
                f"{where} belongs to a run with another {' and '.join(different)}: it cannot be resumed with these. "
                "PartWriter.resume() takes them from the run; overwrite=True starts a new one."
            )

    def _take_up(self, part: Path) -> None:
        """Count a finished part and learn what its frames look like."""
        first = int(part.stem.removeprefix("part-"))
        if first != self.n_finished:
            raise TruncatedFileError(
                f"{self.folder}: frames {self.n_finished} to {first - 1} are missing: bring their part back, or move "
                f"{part.name} and the later ones away"
            )
        with _opened(part) as file:
            time = file["time"][:]
            shapes: dict[str, tuple[int, ...]] = {}
            for name, stored in file.items():
                dims = dims_of(stored)
                if "time" in dims and name in schema.SPECS:
                    axis = dims.index("time")
                    shapes[name] = stored.shape[:axis] + stored.shape[axis + 1 :]
            cell = file["cell"][()] if "cell" in file and "cell" not in shapes else None
            numbers = file["numbers"][()] if "numbers" in file else None
            self._check_same(cell, numbers, file.attrs, part)
            density = file["density"]
            if density.dtype != np.float32 or (density.compression, density.compression_opts) != ("gzip", 4):
                raise SchemaError(
                    f"{part}: the density is not stored as PartWriter stores it; save it with to_file() first"
                )
        if self._frame_shapes and shapes != self._frame_shapes:
            raise GridMismatchError(f"{part}: its frames have {shapes}, those before {self._frame_shapes}")
        self._frame_shapes = shapes
        self.n_finished += len(time)
        self._last_time = float(time[-1])

    def _part_length(self, frame: Mapping[str, NDArray[Any]]) -> int:
        if self._frames_per_part is not None:
            return self._frames_per_part
        return min(_PART_FRAMES, max(1, _PART_BYTES // sum(values.nbytes for values in frame.values())))

    def _checked(self, given: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        number = self.n_frames
        at = f"{self.path}, frame {number}"
        expected = dict(self._frame_shapes)
        frame: dict[str, NDArray[Any]] = {}
        for name, value in given.items():
            spec = schema.SPECS.get(name)
            if spec is None or not any("time" in dims for dims in spec.dims):
                raise SchemaError(f"{at}: '{name}' is no variable with a time; see docs/schema.md")
            values = np.array(value, dtype=np.float32 if spec.dtype == "float32" else np.float64)
            if not expected:
                self._check_first_shape(name, values, np.ndim(given["density"]) == 4, at)
            elif values.shape != expected.get(name):
                raise SchemaError(f"{at}: {name} has shape {values.shape}; the frames before had {expected.get(name)}")
            schema.check_finite(values[None], name, str(self.path), first_frame=number)
            frame[name] = values
        missing = set(expected) - set(frame)
        if missing:
            raise SchemaError(f"{at}: {', '.join(sorted(missing))} is missing; the frames before had it")
        if "positions" in frame and self._numbers is None:
            raise SchemaError(f"{at}: positions need numbers, given when the writer is made")
        if "cell" in frame:
            _check_cell(frame["cell"])
        if ("cell" in frame) == (self._cell is not None):
            raise SchemaError(f"{at}: give the cell either once to the writer or (cell=None there) with every frame")
        if frame["time"] <= self._last_time:
            raise SchemaError(f"{at}: time {frame['time']} fs is not after the frame before ({self._last_time} fs)")
        if not expected and self._attrs["density_kind"] in schema.ELECTRON_KINDS:
            volume = float(np.linalg.det(frame["cell"] if self._cell is None else self._cell))
            density = frame["density"].reshape(-1, *frame["density"].shape[-3:])[0]
            electrons = float(density.mean(dtype=np.float64)) * volume
            schema.check_electrons(electrons, float(self._attrs["n_electrons"]), volume, at)
        return frame

    def _check_first_shape(self, name: str, values: NDArray[Any], ensemble: bool, at: str) -> None:
        rank = len(self._dims(name, values.ndim, ensemble))
        if values.ndim != rank - 1:
            raise SchemaError(f"{at}: {name} has shape {values.shape}, which no frame of it can have")
        atoms = -1 if self._numbers is None else self._numbers.size
        if name in ("positions", "velocities", "forces") and values.shape[-2:] != (atoms, 3):
            raise SchemaError(f"{at}: {name} has shape {values.shape}; with these numbers it must end in ({atoms}, 3)")

    @staticmethod
    def _dims(name: str, frame_rank: int, ensemble: bool) -> tuple[str, ...]:
        """Dims of a variable in the file, by the rank of one frame of it."""
        dims = next(dims for dims in schema.SPECS[name].dims if "time" in dims)
        return ("sample", *dims) if ensemble and frame_rank == len(dims) else dims

    def _layout(self) -> tuple[dict[str, Small], dict[str, FieldHeader]]:
        """Headers for the frames in the buffer: small variables with their values, fields without."""
        small: dict[str, Small] = dict(self._carried)
        fields: dict[str, FieldHeader] = {}
        ensemble = len(self._frame_shapes["density"]) == 4
        if self._cell is not None:
            small["cell"] = (("vector", "xyz"), self._cell, {"units": schema.SPECS["cell"].units})
        if self._numbers is not None:
            small["numbers"] = (("atom",), self._numbers, {})
        for name, shape in self._frame_shapes.items():
            dims = self._dims(name, len(shape), ensemble)
            units = schema.SPECS[name].units
            if name == "density":
                units = schema.DENSITY_KINDS[str(self._attrs["density_kind"])][0]
            attrs = {"units": units}
            if schema.is_field(dims):
                fields[name] = FieldHeader(dims, np.dtype(np.float32), attrs)
            else:
                small[name] = (
                    dims,
                    np.stack([f[name] for f in self._buffer], axis=dims.index("time")),
                    attrs,
                )
        return small, fields

    def _sizes(self, n_frames: int) -> dict[str, int]:
        density = self._frame_shapes["density"]
        sizes = {
            "time": n_frames,
            "vector": 3,
            "xyz": 3,
            **dict(zip(schema.FIELD_DIMS, density[-3:], strict=True)),
        }
        if len(density) == 4:
            sizes["sample"] = density[0]
        if self._numbers is not None:
            sizes["atom"] = self._numbers.size
        if "magnetization" in self._frame_shapes:
            sizes["component"] = self._frame_shapes["magnetization"][-4]
        for dims, values, _ in self._carried.values():
            sizes |= dict(zip(dims, values.shape, strict=True))
        return sizes


def carried_by(part: Path) -> dict[str, Small]:
    """What the frames up to the end of a part, or of a file, carry: see `PartWriter.append`.

    Raises
    ------
    TruncatedFileError
        If the file is damaged.
    """
    with _opened(part) as file:
        return {
            name: (dims_of(stored), stored[()], attributes_of(stored))
            for name, stored in file.items()
            if isinstance(stored, h5py.Dataset) and CARRIED in stored.attrs
        }


def _check_cell(cell: NDArray[np.float64]) -> None:
    if cell.shape != (3, 3) or not np.isfinite(cell).all() or not np.linalg.det(cell) > 0:
        raise SchemaError("a cell is a finite right-handed (3, 3) matrix in angstrom, rows a, b, c")


def _same(one: Any, other: Any, tol: float) -> bool:
    if one is None or other is None:
        return one is other
    return np.size(one) == np.size(other) and bool(np.allclose(np.ravel(one), np.ravel(other), rtol=0, atol=tol))


def _read_header(path: Path) -> dict[str, Any]:
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        if header["format"] != "edviz parts" or header["version"] != 1:
            raise FileFormatError(f"{path} is of a newer edviz: update edviz")
        header["attrs"] = {k: np.array(v) if isinstance(v, list) else v for k, v in header["attrs"].items()}
        return header
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path} is damaged ({error}): the parts beside it can still be opened") from error


def _opened(part: Path) -> h5py.File:
    try:
        return h5py.File(part, "r")
    except OSError as error:
        raise TruncatedFileError(
            f"{part} cannot be read ({error}). It is damaged: move it and the later parts away and resume the run"
        ) from error


def _discarded(folder: Path) -> Path:
    """Where a folder goes that is not needed any more: a name that no reader looks at."""
    return folder.with_name(folder.name + "-done")


def _fold(folder: Path, path: Path) -> None:
    """Put the parts together, chunk by chunk as they are stored, then take the folder away."""
    from tqdm.auto import tqdm

    parts = finished_parts(folder)
    small: dict[str, list[NDArray[Any]]] = {}
    n_frames = 0
    for part in parts:
        with _opened(part) as file:
            n_frames += file["time"].shape[0]
            for name, stored in file.items():
                if (
                    isinstance(stored, h5py.Dataset)
                    and not schema.is_field(dims_of(stored))
                    and not is_bare_dimension(stored)
                    and CARRIED not in stored.attrs
                ):
                    small.setdefault(name, []).append(stored[()])
    with _opened(parts[0]) as file:
        attrs = attributes_of(file)
        sizes = {name: stored.shape[0] for name, stored in file.items() if stored.is_scale}
        sizes["time"] = n_frames
        merged: dict[str, Small] = {}
        for name, pieces in small.items():
            dims = dims_of(file[name])
            values = np.concatenate(pieces, axis=dims.index("time")) if "time" in dims else pieces[0]
            merged[name] = (dims, values, attributes_of(file[name], coding=True))
        merged |= carried_by(parts[-1])
        fields = {
            name: FieldHeader(dims_of(stored), stored.dtype, attributes_of(stored, coding=True))
            for name, stored in file.items()
            if schema.is_field(dims_of(stored))
        }
    with replacing(path, folder / "folded.tmp") as temporary:
        with (
            creating(temporary, sizes, merged, fields, attrs) as (targets, disk),
            tqdm(total=n_frames, desc="folding", unit="frame", delay=2) as bar,
        ):
            first = 0
            for part in parts:
                with _opened(part) as file:
                    for name, header in fields.items():
                        _copy_chunks(file[name], targets[name], header.dims.index("time"), first)
                    length = file["time"].shape[0]
                disk.check()
                first += length
                bar.update(length)
    with write_errors(folder):
        _discard(folder)


def _discard(folder: Path) -> None:
    """Take a parts folder away. Renamed in one step first: no reader ever sees one with some of its parts gone."""
    shutil.rmtree(_discarded(folder), ignore_errors=True)
    os.replace(folder, _discarded(folder))
    flush_to_disk(folder.parent)
    shutil.rmtree(_discarded(folder), ignore_errors=True)


def _copy_chunks(source: h5py.Dataset, target: h5py.Dataset, time_axis: int, first: int) -> None:
    """Copy compressed chunks as they are: both datasets have the same filters."""
    for i in range(source.id.get_num_chunks()):
        offset = list(source.id.get_chunk_info(i).chunk_offset)
        filter_mask, data = source.id.read_direct_chunk(tuple(offset))
        offset[time_axis] += first
        target.id.write_direct_chunk(tuple(offset), data, filter_mask)

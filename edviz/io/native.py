"""edviz's own files: netCDF-4, which is plain HDF5 with named dimensions.

One frame a chunk, gzip and shuffle, so `xarray.open_dataset` and h5py read them without edviz. Small
variables are read at once; fields lazily, frame by frame. A field stored as integers with the CF attributes
scale_factor and add_offset is decoded on the way, and so is edviz's own dither_seed (see dither.py; who reads the file
without edviz gets the values with the dither in, off by at most one step).
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from edviz.errors import FileFormatError, SchemaError, TruncatedFileError
from edviz.io import dither
from edviz.io.atomic import replacing
from edviz.schema import FIELD_DIMS, is_field

if TYPE_CHECKING:
    import xarray as xr

    from edviz.trajectory import DensityTrajectory

__all__ = [
    "HDF5_SIGNATURE",
    "Disk",
    "FieldHeader",
    "Frames",
    "attributes_of",
    "close_handles",
    "creating",
    "dims_of",
    "is_bare_dimension",
    "read",
    "storable_attribute",
    "write",
    "write_frame",
]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_CURE = (
    "It was cut off or damaged while it was copied or written: copy it again. If a writer was killed, its finished "
    "frames are in the folder beside it whose name ends in .parts: open that."
)


# Writing --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FieldHeader:
    """What is known of a field before its values: dimensions, dtype and attributes."""

    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    attrs: Mapping[str, Any] = field(default_factory=dict)


#: Frames are computed and written in runs of this size: large enough for dask, small enough for any machine.
_BATCH_BYTES = 64 << 20

Small = tuple[tuple[str, ...], NDArray[Any], Mapping[str, Any]]


class Disk:
    """The file HDF5 writes to, as an object that never fails it.

    HDF5 does not survive a full disk: it loses track of what it wrote and crashes when the process ends. So the first
    error is kept here, what comes after is dropped, and `check` raises the error once it is safe.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._position = 0
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error there was."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    # What h5py calls --------------------------------------------------------------------------------------

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the start or from the end."""
        self._position = offset + (os.fstat(self._descriptor).st_size if whence == os.SEEK_END else 0)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def read(self, size: int) -> bytes:
        """Bytes from the position on."""
        data = os.pread(self._descriptor, size, self._position)
        self._position += len(data)
        return data

    def write(self, data: Any) -> int:
        """Write at the position; after an error, drop it."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self._error is None and done < len(view):
                done += os.pwrite(self._descriptor, view[done:], self._position + done)
        except OSError as error:
            self._error = error
        self._position += len(view)
        return len(view)

    def truncate(self, size: int) -> int:
        """Set the size; after an error, do nothing."""
        try:
            if self._error is None:
                os.ftruncate(self._descriptor, size)
        except OSError as error:
            self._error = error
        return size

    def flush(self) -> None:
        """Nothing is buffered here."""


@contextmanager
def creating(
    path: Path,
    sizes: Mapping[str, int],
    small: Mapping[str, Small],
    fields: Mapping[str, FieldHeader],
    attrs: Mapping[str, Any],
    level: int = 4,
) -> Iterator[tuple[dict[str, h5py.Dataset], Disk]]:
    """Make a file with everything in it but the values of its fields, and hand the fields out to be filled.

    Parameters
    ----------
    path
        The new file.
    sizes
        Size of every dimension.
    small
        name -> (dims, values, attributes).
    fields
        name -> header.
    attrs
        Attributes of the dataset: texts, numbers and 1-D arrays of numbers.
    level
        gzip level.

    Yields
    ------
    The datasets of the fields, for `write_frame`; and the disk, to `check` it now and then in a long run.

    Raises
    ------
    OSError
        At the end, or by `Disk.check`, if the disk refused anything.
    """
    import h5netcdf

    disk = Disk(path)
    try:
        with h5py.File(disk, "w", track_order=True) as file:
            with h5netcdf.File(file, "w") as structure:
                _lay_out(structure, sizes, small, fields, attrs, level)
            yield {name: file[name] for name in fields}, disk
        disk.check()
    finally:
        disk.close()


def _lay_out(
    file: Any,
    sizes: Mapping[str, int],
    small: Mapping[str, Small],
    fields: Mapping[str, FieldHeader],
    attrs: Mapping[str, Any],
    level: int,
) -> None:
    """Write dimensions, attributes, small variables and the headers of the fields."""
    file.dimensions = dict(sizes)
    for name, value in attrs.items():
        file.attrs[name] = storable_attribute(name, value)
    for name, (dims, values, variable_attrs) in small.items():
        values = _storable_values(name, values)
        packed: dict[str, Any] = {}
        if values.ndim and values.dtype.kind in "iuf" and values.nbytes > 4096:
            packed = {
                "compression": "gzip",
                "compression_opts": level,
                "shuffle": True,
                "chunks": values.shape,
            }
            if values.nbytes > 1 << 20:
                rows = max(1, (1 << 20) * values.shape[0] // values.nbytes)
                packed["chunks"] = (rows, *values.shape[1:])
        dtype = h5py.string_dtype() if values.dtype.kind == "O" else values.dtype
        variable = file.create_variable(name, dims, dtype, data=values, **packed)
        for key, value in variable_attrs.items():
            variable.attrs[key] = storable_attribute(f"{name}.{key}", value)
    for name, header in fields.items():
        variable = file.create_variable(
            name,
            header.dims,
            header.dtype,
            chunks=tuple(sizes[dim] if dim in FIELD_DIMS else 1 for dim in header.dims),
            compression="gzip",
            compression_opts=level,
            shuffle=True,
        )
        for key, value in header.attrs.items():
            variable.attrs[key] = storable_attribute(f"{name}.{key}", value)


def write_frame(dataset: h5py.Dataset, dims: tuple[str, ...], index: int, values: NDArray[Any]) -> None:
    """Write the values of one time, shaped as the dims without `time`."""
    dataset[tuple(index if dim == "time" else slice(None) for dim in dims)] = values


def storable_attribute(name: str, value: Any) -> Any:
    """The value as netCDF stores it; SchemaError if it cannot. A one-element array comes back as a number."""
    array = np.asarray(value)
    if isinstance(value, (str, int, float, np.number)) and not isinstance(value, bool):
        return value
    if array.ndim == 1 and array.size and array.dtype.kind in "iuf":
        return array
    raise SchemaError(
        f"attribute {name} = {value!r} cannot be stored: attributes are texts, numbers or 1-D arrays of numbers. Turn "
        "it into a text (json.dumps), or drop it."
    )


def _storable_values(name: str, values: Any) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind == "U" or (array.dtype.kind == "O" and all(isinstance(x, str) for x in array.ravel())):
        return array.astype(object)
    if array.dtype.kind not in "iuf":
        raise SchemaError(f"variable {name} of dtype {array.dtype} cannot be stored: make it numbers or texts")
    return array


def write(traj: DensityTrajectory, path: Path) -> None:
    """Write a trajectory whole or not at all; frames are computed and written in small batches.

    Raises
    ------
    SchemaError
        If an attribute or a variable cannot be stored.
    NonFiniteError
        If a field holds a NaN, naming variable and frame.
    WriteError
        If the disk refuses; a file that was there before is untouched.
    """
    from edviz.schema import check_finite, validate

    ds = validate(traj.ds, "to_file")
    traj.check_electrons()
    streamed = {str(k): v for k, v in ds.variables.items() if is_field(v.dims)}
    small: dict[str, Small] = {
        str(k): (tuple(map(str, v.dims)), v.values, dict(v.attrs)) for k, v in ds.variables.items() if k not in streamed
    }
    fields = {name: FieldHeader(tuple(map(str, v.dims)), v.dtype, dict(v.attrs)) for name, v in streamed.items()}
    attrs = {str(k): v for k, v in ds.attrs.items()}
    plain_coords = sorted(str(k) for k in ds.coords if k not in ds.dims)
    if plain_coords:
        attrs["coordinates"] = " ".join(plain_coords)  # CF: xarray makes these coordinates again
    with replacing(Path(path)) as temporary:
        sizes = {str(k): v for k, v in ds.sizes.items()}
        with creating(temporary, sizes, small, fields, attrs) as (targets, disk):
            for first, frames in _batches(ds[list(streamed)]):
                for name, header in fields.items():
                    axis = header.dims.index("time")
                    for i, values in enumerate(np.moveaxis(frames[name].values, axis, 0)):
                        check_finite(values[None], name, first_frame=first + i)
                        write_frame(targets[name], header.dims, first + i, values)
                disk.check()


def _batches(ds: xr.Dataset) -> Iterable[tuple[int, xr.Dataset]]:
    """Runs of frames in memory."""
    from tqdm.auto import tqdm

    n_frames = ds.sizes["time"]
    length = max(1, _BATCH_BYTES * n_frames // sum(variable.nbytes for variable in ds.data_vars.values()))
    with tqdm(total=n_frames, desc="writing", unit="frame", delay=2) as bar:
        for first in range(0, n_frames, length):
            batch = ds.isel(time=slice(first, first + length)).compute()
            yield first, batch
            bar.update(batch.sizes["time"])


# Reading --------------------------------------------------------------------------------------------------


_MAX_HANDLES = 64
_Identity = tuple[int, int, int]
_handles: OrderedDict[tuple[str, _Identity], h5py.File] = OrderedDict()
_handles_lock = threading.Lock()


def _drop_inherited_handles() -> None:
    global _handles_lock
    _handles_lock = threading.Lock()
    _handles.clear()


# A forked process opens its own handles: the lock may have been held, and HDF5's state is not to be shared.
os.register_at_fork(after_in_child=_drop_inherited_handles)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _handle(path: str, identity: _Identity) -> h5py.File:
    """The open file with this path and identity; opened if it is not, refused if the path holds another one now."""
    key = (path, identity)
    with _handles_lock:
        if key in _handles:
            _handles.move_to_end(key)
            return _handles[key]
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path} is gone since it was opened: open the trajectory again")
        file = h5py.File(path, "r")
        if _identity(os.fstat(file.id.get_vfd_handle())) != identity:
            raise FileFormatError(f"{path} was replaced since it was opened: open it again")
        _handles[key] = file
        while len(_handles) > _MAX_HANDLES:
            # Dropped, not closed: another thread may be reading from it. The last reference closes it.
            _handles.popitem(last=False)
        return file


def close_handles() -> None:
    """Close the files that lazy fields keep open; they are opened again when needed."""
    with _handles_lock:
        _handles.clear()


class Frames:
    """A field in a file, as an array of frames that reads what is indexed; safe to pickle, to fork and to share.

    The files last used stay open, and an open one keeps its content even when its path gets a new file. A file that was
    replaced while it was closed is refused, so frames of two runs never mix.
    """

    def __init__(self, path: str, identity: _Identity, name: str, stored: h5py.Dataset) -> None:
        self.path = path
        self.identity = identity
        self.name = name
        self.shape = stored.shape
        self.ndim = stored.ndim
        coding = attributes_of(stored, coding=True)
        self.scale = coding.get("scale_factor")
        self.offset = coding.get("add_offset")
        self.fill = coding.get("_FillValue") if stored.dtype.kind in "iu" else None
        self.dither_seed: Any = coding.get("dither_seed")
        coded = self.scale is not None or self.offset is not None
        if self.dither_seed is not None and (self.scale is None or dims_of(stored)[0] != "time"):
            raise FileFormatError(
                f"{path}: {name} has a dither_seed, but no scale_factor or no leading dimension time: the file was "
                "changed after edviz wrote it. Take it from its source again."
            )
        self.dtype = np.dtype(np.float32) if coded else stored.dtype.newbyteorder("=")

    def __getitem__(self, index: Any) -> NDArray[Any]:
        try:
            raw = _handle(self.path, self.identity)[self.name][index]
        except (FileFormatError, FileNotFoundError):
            raise
        except Exception as error:  # h5py reports damage by almost any exception
            raise TruncatedFileError(
                f"{self.path}: {self.name}{_place(index)} cannot be read ({error}). {_CURE}"
            ) from error
        if self.scale is None and self.offset is None:
            return np.asarray(raw, dtype=self.dtype)
        values = raw if self.dither_seed is None else raw - self._dither(index)
        values = values * np.float64(1 if self.scale is None else self.scale)
        if self.offset is not None:
            values = values + np.float64(self.offset)
        if self.fill is not None:
            values = np.where(raw == self.fill, np.nan, values)
        return np.asarray(values, dtype=self.dtype)

    def _dither(self, index: Any) -> NDArray[Any]:
        """The noise that was added to the values at an index before they were rounded."""
        time, *rest = index if isinstance(index, tuple) else (index,)
        frames = np.arange(self.shape[0])[time]
        noise = dither.uniform(self.dither_seed, np.atleast_1d(frames), self.shape[1:])
        return noise[(slice(None) if np.ndim(frames) else 0, *rest)]


def _place(index: Any) -> str:
    first = index[0] if isinstance(index, tuple) and index else index
    if isinstance(first, slice):
        first = first.start
    return f" at frame {first}" if isinstance(first, (int, np.integer)) else ""


def read(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a native file: small variables into memory, fields as dask arrays with one frame a chunk.

    Raises
    ------
    TruncatedFileError
        If the file is cut off or damaged.
    FileFormatError
        If it is HDF5 but not edviz's.
    """
    import dask.array as da
    import xarray as xr
    from dask.base import tokenize

    path = os.path.abspath(path)
    identity = _identity(os.stat(path))
    try:
        file = _handle(path, identity)
        names = sorted(file)
        stored = {name: one for name, one in file.items() if isinstance(one, h5py.Dataset) and is_field(dims_of(one))}
        if "density" not in stored:
            raise FileFormatError(
                f"{path} is HDF5 but not an edviz file: it has no variable 'density' with dimensions time, a, b, c (it "
                f"has {', '.join(names) or 'nothing'}). Read its arrays with h5py and give them to "
                "DensityTrajectory.from_arrays()."
            )
        lazy = {name: Frames(path, identity, name, one) for name, one in stored.items()}
        headers = {name: (dims_of(one), attributes_of(one)) for name, one in stored.items()}
        variables = {
            name: (dims_of(one), _values_of(one), attributes_of(one))
            for name, one in file.items()
            if isinstance(one, h5py.Dataset) and name not in lazy and not is_bare_dimension(one)
        }
        attrs = attributes_of(file)
    except (FileFormatError, FileNotFoundError, PermissionError, BlockingIOError):
        raise
    except Exception as error:  # h5py reports damage by almost any exception
        with _handles_lock:
            _handles.pop((path, identity), None)
        raise TruncatedFileError(f"{path} cannot be read ({error}). {_CURE}") from error
    if _identity(os.stat(path)) != identity:
        return read(path)  # replaced while it was read: what was read may be of two files
    for name, frames in lazy.items():
        dims, variable_attrs = headers[name]
        chunks = tuple(n if dim in FIELD_DIMS else 1 for dim, n in zip(dims, frames.shape, strict=True))
        array = da.from_array(
            frames,
            chunks=chunks,
            name=f"{name}-{tokenize(path, identity)}",
            lock=False,
            asarray=False,
            meta=np.empty((0,) * frames.ndim, frames.dtype),
        )
        variables[name] = (dims, array, variable_attrs)
    # CF: names of coordinates that are no dimensions, of the dataset or (as xarray writes them) of a variable.
    plain_coords = [attrs.pop("coordinates", ""), *(one[2].pop("coordinates", "") for one in variables.values())]
    ds = xr.Dataset(variables, attrs=attrs).set_coords(set(" ".join(plain_coords).split()))
    ds.encoding["source"] = path
    return ds


def _values_of(stored: h5py.Dataset) -> NDArray[Any]:
    """Values of a small variable: texts as texts, scaled integers decoded to float64."""
    if h5py.check_string_dtype(stored.dtype):
        return np.array(stored.asstr()[()], dtype=str)
    values = np.asarray(stored[()])
    coding = attributes_of(stored, coding=True)
    if "scale_factor" not in coding and "add_offset" not in coding:
        return values
    return values * np.float64(coding.get("scale_factor", 1)) + np.float64(coding.get("add_offset", 0))


def dims_of(stored: h5py.Dataset) -> tuple[str, ...]:
    """Names of the netCDF dimensions of a dataset; '' where there is none."""
    if stored.is_scale and stored.ndim == 1:
        return (stored.name.rsplit("/", 1)[-1],)
    return tuple(dim[0].name.rsplit("/", 1)[-1] if len(dim) else "" for dim in stored.dims)


_HIDDEN = {"DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME"}
_CODING = {"scale_factor", "add_offset", "_FillValue", "dither_seed"}


def attributes_of(stored: h5py.Dataset | h5py.File, coding: bool = False) -> dict[str, Any]:
    """Attributes without netCDF's own; with `coding` also those that say how values are coded."""
    hidden = _HIDDEN if coding else _HIDDEN | _CODING
    attrs = {}
    for key, value in stored.attrs.items():
        if key in hidden or key.startswith(("_Netcdf4", "_NC")):
            continue
        if isinstance(value, h5py.Empty):
            value = ""
        elif isinstance(value, np.ndarray) and value.size == 1:
            value = value.item() if value.dtype.kind in "OSU" else value.ravel()[0]
        attrs[key] = value.decode() if isinstance(value, bytes) else value
    return attrs


def is_bare_dimension(stored: h5py.Dataset) -> bool:
    """Whether a dataset only stands for a netCDF dimension and holds no values."""
    return stored.is_scale and bytes(stored.attrs.get("NAME", b"")).startswith(b"This is a netCDF dimension but not")

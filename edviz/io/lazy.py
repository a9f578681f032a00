"""From the headers of frames to a dataset whose fields are read frame by frame, for one file or thousands.

A reader of a text format describes each frame in a `FrameHeader`: everything but the values, and a function that reads
those. `dataset` checks that the frames belong together and makes one dask array with a chunk a frame, so that opening
a series costs the headers and nothing else. The first frame alone is read at once: a density's number of electrons is
its integral, which no text format states.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edviz import schema
from edviz.errors import FileFormatError, GridMismatchError, SchemaError, UnitsError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CELL_TOLERANCE", "Extra", "FrameHeader", "LazyExtra", "dataset", "electrons_of", "identity"]

#: Cells of a series may differ by this much (angstrom) and still count as the same: text files round.
CELL_TOLERANCE = 1e-4

#: A further variable of a frame: dims without time, values, attributes.
Extra = tuple[tuple[str, ...], NDArray[Any], Mapping[str, Any]]

#: One that is read when it is used: dims without time, shape, dtype, attributes.
LazyExtra = tuple[tuple[str, ...], tuple[int, ...], Any, Mapping[str, Any]]


def identity(path: str | Path) -> tuple[int, int, int]:
    """What tells a file from one that later takes its place: inode, size and time of change."""
    import os

    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


@dataclass
class FrameHeader:
    """What is known of one frame before its values are read.

    Attributes
    ----------
    path
        The file, for messages.
    shape
        (na, nb, nc).
    cell
        (3, 3), rows are lattice vectors, angstrom.
    values
        Reads one field of the frame, given its name: "density" (na, nb, nc) float32 in the unit of its kind,
        "magnetization" (component, na, nb, nc) float32, or a name of `lazy`. It must be picklable, e.g. a
        `functools.partial` of a module's function.
    density_kind
        As in `edviz.schema.DENSITY_KINDS`; None if only the values tell (see `decide`).
    numbers, positions
        (atom,) atomic numbers and (atom, 3) angstrom; None where the file has no atoms.
    components
        Components of the magnetization: 0, 1 or 3.
    periodic, origin
        As in the schema.
    source
        The code that wrote the file, as far as it says.
    n_electrons
        Where the file states it.
    attrs
        Further attributes; taken from the first frame.
    extras
        Further small variables of this frame.
    lazy
        Further variables that `values` reads by name.
    decide
        For density_kind None: gets the values of the first frame and its integral, gives the kind.
    """

    path: str
    shape: tuple[int, int, int]
    cell: NDArray[np.float64]
    values: Callable[[str], NDArray[Any]]
    density_kind: str | None = "valence"
    numbers: NDArray[np.int64] | None = None
    positions: NDArray[np.float64] | None = None
    components: int = 0
    periodic: tuple[int, int, int] = (1, 1, 1)
    origin: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    source: str = ""
    n_electrons: float | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Extra] = field(default_factory=dict)
    lazy: Mapping[str, LazyExtra] = field(default_factory=dict)
    decide: Callable[[NDArray[np.float32], float], str] | None = None


class _Reader:
    """Reads the fields of one frame.

    The first frame is read when a file is opened; the first use of it then finds it here, once. Nothing is kept that
    was handed out, since somebody else may change it.
    """

    def __init__(self, header: FrameHeader) -> None:
        self.read = header.values
        self.path = header.path
        self.shapes = {"density": header.shape, "magnetization": (header.components, *header.shape)}
        self.shapes |= {name: one[1] for name, one in header.lazy.items()}
        self.kept: NDArray[np.float32] | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "kept": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def load(self) -> NDArray[np.float32]:
        """Read the field and keep it for the next call of `take`."""
        self.kept = self._read("density")
        return self.kept

    def take(self, name: str) -> NDArray[Any]:
        """One field of the frame."""
        if name == "density":
            with self._lock:
                kept, self.kept = self.kept, None
            if kept is not None:
                return kept
        return self._read(name)

    def _read(self, name: str) -> NDArray[Any]:
        values = self.read(name)
        if values.shape != self.shapes[name]:
            raise FileFormatError(
                f"{self.path} changed since it was opened: {name} has shape {values.shape}, its header said "
                f"{self.shapes[name]}. Open it again."
            )
        return values


def dataset(headers: Sequence[FrameHeader], time: NDArray[np.float64], variable_cell: bool = False) -> xr.Dataset:
    """Make one dataset of frames that must share grid, atoms and kind, and the cell unless one file says otherwise.

    Parameters
    ----------
    headers
        One a frame, in the order of time.
    time
        (time,) fs.
    variable_cell
        Cells may differ from file to file.

    Returns
    -------
    A dataset that satisfies the schema. Only the first frame has been read.

    Raises
    ------
    GridMismatchError
        Naming the first file that differs from the first one, and in what.
    UnitsError
        If the first frame of a density does not integrate to a positive number.
    """
    import xarray as xr

    first = headers[0]
    changing = _check_series(headers, variable_cell)
    readers = [_Reader(header) for header in headers]
    kind, n_electrons = _first_frame(first, readers[0])
    variables: dict[str, Any] = {
        "density": (
            ("time", *schema.FIELD_DIMS),
            _density(readers, first.shape),
            {"units": schema.DENSITY_KINDS[kind][0]},
        )
    }
    if first.components:
        variables["magnetization"] = (
            ("component", "time", *schema.FIELD_DIMS),
            _frames(readers, "magnetization", (first.components, *first.shape), np.float32, time_axis=1),
            {"units": schema.SPECS["magnetization"].units},
        )
    if changing:
        cells = np.stack([header.cell for header in headers])
        variables["cell"] = (("time", "vector", "xyz"), cells, {"units": "angstrom"})
    else:
        variables["cell"] = (("vector", "xyz"), first.cell, {"units": "angstrom"})
    if first.numbers is not None and len(first.numbers):
        variables["numbers"] = (("atom",), first.numbers, {})
        if first.positions is not None:
            positions = np.stack([np.asarray(header.positions) for header in headers])
            variables["positions"] = (("time", "atom", "xyz"), positions, {"units": "angstrom"})
    for name, (dims, values, attrs) in first.extras.items():
        timed = name in schema.SPECS and all("time" in allowed for allowed in schema.SPECS[name].dims)
        if not timed and all(np.array_equal(values, header.extras[name][1]) for header in headers[1:]):
            variables[name] = (dims, values, dict(attrs))
        else:
            stacked = np.stack([header.extras[name][1] for header in headers])
            variables[name] = (("time", *dims), stacked, dict(attrs))
    for name, (dims, shape, dtype, attrs) in first.lazy.items():
        variables[name] = (("time", *dims), _frames(readers, name, shape, dtype), dict(attrs))
    ds = xr.Dataset(variables, coords={"time": ("time", np.asarray(time, dtype=np.float64), {"units": "fs"})})
    ds.attrs = schema.base_attributes(kind, n_electrons, first.periodic, first.origin)
    if first.source:
        ds.attrs["source"] = first.source
    ds.attrs |= dict(first.attrs)
    ds.encoding["source"] = first.path
    return ds


def _density(readers: Sequence[_Reader], shape: tuple[int, int, int]) -> Any:
    """The density of all frames: as it is if there is one and it has been read (dask would copy it), else by dask."""
    kept = readers[0].kept
    if len(readers) == 1 and kept is not None:
        return kept[None]
    return _frames(readers, "density", shape, np.float32)


def _frames(readers: Sequence[_Reader], name: str, shape: tuple[int, ...], dtype: Any, time_axis: int = 0) -> Any:
    """A dask array of frames of this shape with one chunk a frame."""
    import uuid

    import dask.array as da

    key = f"{name}-{uuid.uuid4().hex}"
    graph: dict[Any, Any] = {}
    for i, reader in enumerate(readers):
        index = [0] * len(shape)
        index.insert(time_axis, i)
        graph[(key, *index)] = (_Block(reader, name, time_axis),)
    chunks: list[tuple[int, ...]] = [(n,) for n in shape]
    chunks.insert(time_axis, (1,) * len(readers))
    return da.Array(graph, key, tuple(chunks), meta=np.empty((0,) * (len(shape) + 1), dtype))


class _Block:
    """A call that reads one chunk; a class of its own so that it can be pickled and dask does not look inside."""

    def __init__(self, reader: _Reader, name: str, time_axis: int) -> None:
        self.reader, self.name, self.time_axis = reader, name, time_axis

    def __call__(self) -> NDArray[Any]:
        return np.expand_dims(self.reader.take(self.name), self.time_axis)


def electrons_of(values: NDArray[np.float32], cell: NDArray[np.float64]) -> float:
    """Integral of a density (na, nb, nc) in e/angstrom^3 over its cell."""
    # Twice as fast as mean(dtype=np.float64), and in double precision too.
    total = np.einsum("ijk->", values, dtype=np.float64)
    return float(total / values.size * np.linalg.det(cell))


def _first_frame(header: FrameHeader, reader: _Reader) -> tuple[str, float | None]:
    """The kind of the field and, for a density, its number of electrons."""
    kind, n_electrons = header.density_kind, header.n_electrons
    if kind is not None and (kind not in schema.ELECTRON_KINDS or n_electrons is not None):
        return kind, n_electrons if kind in schema.ELECTRON_KINDS else None
    values = reader.load()
    electrons = electrons_of(values, header.cell)
    if not np.isfinite(electrons):
        schema.check_finite(values[None], "density", header.path)
    if kind is None:
        if header.decide is None:
            raise SchemaError(f"{header.path}: the reader neither states density_kind nor decides it")
        kind = header.decide(values, electrons)
        if kind not in schema.ELECTRON_KINDS:
            return kind, None
    if n_electrons is None:
        if electrons <= 0:
            raise UnitsError(
                f"{header.path}: the field integrates to {electrons:.4g} electrons, so it is no electron density. Say "
                'what it is, e.g. edviz.open(..., density_kind="potential" | "orbital" | "elf").'
            )
        nearest = round(electrons)
        n_electrons = float(nearest) if nearest and abs(electrons / nearest - 1) <= 1e-4 else electrons
    return kind, n_electrons


def _check_series(headers: Sequence[FrameHeader], variable_cell: bool) -> bool:
    """Check that all frames belong together; whether the cell changes from frame to frame."""
    first = headers[0]
    changing = False
    for header in headers[1:]:
        difference = _difference(first, header)
        if difference:
            raise GridMismatchError(f"{header.path} cannot follow {first.path}: {difference}")
        if np.abs(header.cell - first.cell).max() > CELL_TOLERANCE:
            if header.path != first.path and not variable_cell:
                raise GridMismatchError(
                    f"{header.path} cannot follow {first.path}: cell {first.cell.tolist()} and {header.cell.tolist()}. "
                    "If the cell is meant to change, as in a run at constant pressure, say variable_cell=True"
                )
            changing = True
    return changing


def _difference(one: FrameHeader, other: FrameHeader) -> str:
    """What two frames must share but do not, besides the cell; empty if nothing."""
    if one.shape != other.shape:
        return f"grid {one.shape} and {other.shape}"
    if one.density_kind != other.density_kind:
        return f"density kind '{one.density_kind}' and '{other.density_kind}'"
    if one.components != other.components:
        return f"{one.components} and {other.components} components of magnetization"
    if not np.array_equal(_or_none(one.numbers), _or_none(other.numbers)):
        return "the atoms differ"
    if one.periodic != other.periodic:
        return f"periodic {one.periodic} and {other.periodic}"
    if np.abs(one.origin - other.origin).max() > CELL_TOLERANCE:
        return f"origin {one.origin.tolist()} and {other.origin.tolist()}"
    if set(one.extras) != set(other.extras) or any(
        one.extras[name][1].shape != other.extras[name][1].shape for name in one.extras
    ):
        return f"variables {sorted(one.extras)} and {sorted(other.extras)}"
    if {k: v[:2] for k, v in one.lazy.items()} != {k: v[:2] for k, v in other.lazy.items()}:
        return f"variables {sorted(one.lazy)} and {sorted(other.lazy)}, or their sizes"
    return ""


def _or_none(numbers: NDArray[np.int64] | None) -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64) if numbers is None else numbers

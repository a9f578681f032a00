"""DensityTrajectory: an electron density in time, with the cell and the atoms that go with it.

It wraps one `xarray.Dataset` that satisfies `edviz.schema` (`traj.ds`) and adds what a dataset cannot know:
its grid, its split into training and test, its electrons. Measuring and drawing live elsewhere; the table at
the end lends them as methods.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from edviz import accessor, core, schema  # noqa: F401  accessor: results can draw themselves
from edviz.errors import GridMismatchError, MissingDataError, SchemaError
from edviz.grid import PeriodicGrid, fourier_resample

if TYPE_CHECKING:
    import ase

__all__ = ["DensityTrajectory"]


class DensityTrajectory:
    """An electron density rho(t, r) in a periodic cell, with its atoms.

    Parameters
    ----------
    ds
        A dataset that satisfies the schema (docs/schema.md). `from_arrays` builds one from arrays,
        `edviz.open` reads one.

    Raises
    ------
    SchemaError, UnitsError, NonFiniteError
        If it does not. The frames of a lazy density are checked when they are read.
    """

    def __init__(self, ds: xr.Dataset) -> None:
        where = str(ds.encoding.get("source", ""))
        schema.validate(ds, where)
        self._ds = _one_frame_a_chunk(ds, where)

    @classmethod
    def _from_valid(cls, ds: xr.Dataset) -> DensityTrajectory:
        """Wrap a dataset that was derived from a valid one: no second look at its values."""
        traj = cls.__new__(cls)
        traj._ds = ds
        return traj

    @classmethod
    def from_arrays(
        cls,
        density: Any,
        cell: ArrayLike,
        time: ArrayLike | None = None,
        positions: ArrayLike | None = None,
        numbers: ArrayLike | None = None,
        density_kind: str = "valence",
        *,
        n_electrons: float | None = None,
        velocities: ArrayLike | None = None,
        forces: ArrayLike | None = None,
        energy: ArrayLike | None = None,
        temperature: ArrayLike | None = None,
        magnetization: Any = None,
        periodic: Sequence[int] = (1, 1, 1),
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        source: str = "",
        history: str = "",
        attrs: Mapping[str, Any] | None = None,
    ) -> DensityTrajectory:
        """Build a trajectory from arrays.

        Parameters
        ----------
        density
            (time, na, nb, nc); (na, nb, nc) for a single frame; (sample, time, na, nb, nc) for an ensemble.
            numpy or dask, made float32; in e/angstrom^3 (other kinds: see `edviz.schema.DENSITY_KINDS`).
        cell
            (3, 3) or (time, 3, 3), rows are lattice vectors, angstrom.
        time
            (time,) in fs. Without it frames count 1 fs apart, with a warning if there is more than one.
        positions, velocities, forces
            (time, atom, 3) in angstrom, angstrom/fs, eV/angstrom; (atom, 3) for a single frame; ensembles may
            have `sample` in front.
        numbers
            (atom,) atomic numbers; needed with positions.
        density_kind
            "valence", "total", "pseudo", "potential", "elf" or "orbital".
        n_electrons
            Number of electrons each frame integrates to. Without it, the integral of the first frame (rounded
            to an integer if within 1e-4 of one, relatively).
        energy, temperature
            (time,) in eV and K.
        magnetization
            (component, time, na, nb, nc) in e/angstrom^3.
        periodic, origin
            Periodicity along a, b, c and the position of the first grid point, angstrom.
        source, history
            Where the data come from and what was done to them.
        attrs
            Further attributes, such as train_end_fs.

        Raises
        ------
        SchemaError
            Wrong shapes or values.
        UnitsError
            The first frame's integral is off n_electrons by more than 1 %.
        NonFiniteError
            A NaN or an infinity, naming variable and frame.
        """
        density = density if hasattr(density, "dask") else np.asarray(density)
        single = density.ndim == 3
        if single:
            density = density[None]
        if density.ndim not in (4, 5):
            raise SchemaError(
                "density must be (time, na, nb, nc), (na, nb, nc) or (sample, time, na, nb, nc); got shape "
                f"{density.shape}"
            )
        if density.dtype.kind not in "iuf":
            raise SchemaError(f"density must be real numbers; got {density.dtype}")
        density = density.astype(np.float32, copy=False)
        ensemble = density.ndim == 5
        n_frames = density.shape[-4]
        if time is None:
            if n_frames > 1:
                warnings.warn("no time given: frames count 1 fs apart", UserWarning, stacklevel=2)
            time = np.arange(n_frames, dtype=np.float64)
        given = {
            "density": density,
            "cell": np.asarray(cell, dtype=np.float64),
            "time": np.atleast_1d(np.asarray(time, dtype=np.float64)),
            "numbers": None if numbers is None else np.asarray(numbers),
            "positions": _per_frame_array(positions, single),
            "velocities": _per_frame_array(velocities, single),
            "forces": _per_frame_array(forces, single),
            "energy": _per_frame_array(energy, single),
            "temperature": _per_frame_array(temperature, single),
            "magnetization": magnetization,
        }
        if density_kind not in schema.DENSITY_KINDS:
            raise SchemaError(
                f"density_kind '{density_kind}' is unknown; choose one of {', '.join(schema.DENSITY_KINDS)}"
            )
        variables = {}
        for name, values in given.items():
            if values is None:
                continue
            spec = schema.SPECS[name]
            if name == "magnetization":
                values = values if hasattr(values, "dask") else np.asarray(values)
                values = values.astype(np.float32, copy=False)
            dims = {len(d): d for d in spec.dims}
            if ensemble:
                dims |= {len(d) + 1: ("sample", *d) for d in spec.dims if "time" in d and name not in ("time", "cell")}
            if values.ndim not in dims:
                raise SchemaError(
                    f"{name} must have dims {' or '.join(map(str, dims.values()))}; got shape {values.shape}"
                )
            units = schema.DENSITY_KINDS[density_kind][0] if name == "density" else spec.units
            variables[name] = (dims[values.ndim], values, {"units": units} if units else {})
        try:
            ds = xr.Dataset({k: v for k, v in variables.items() if k != "time"}, coords={"time": variables["time"]})
        except ValueError as error:
            raise SchemaError(f"the arrays do not fit together: {error}") from error
        ds.attrs = schema.base_attributes(density_kind, None, periodic, origin)
        if source:
            ds.attrs["source"] = source
        if history:
            ds.attrs["history"] = history
        ds.attrs |= dict(attrs or {})
        if density_kind in schema.ELECTRON_KINDS:
            _require_finite_cell(ds)
            if n_electrons is None:
                n_electrons = _round_electrons(_electrons_of_first_frame(ds))
            ds.attrs["n_electrons"] = float(n_electrons)
        elif n_electrons is not None:
            raise SchemaError(f"n_electrons belongs to densities, not to a field of kind '{density_kind}'")
        traj = cls(ds)
        traj.check_electrons()
        return traj

    # What it holds ----------------------------------------------------------------------------------------

    @property
    def ds(self) -> xr.Dataset:
        """The dataset. Treat it as read-only; wrap a changed copy with `DensityTrajectory(ds)`."""
        return self._ds

    @property
    def density(self) -> xr.DataArray:
        """The field, ([sample,] time, a, b, c) float32."""
        return self._ds["density"]

    @property
    def density_kind(self) -> str:
        """What the field is: "valence", "total", "pseudo", "potential", "elf" or "orbital"."""
        return str(self._ds.attrs["density_kind"])

    @property
    def time(self) -> NDArray[np.float64]:
        """(time,) in fs."""
        return np.asarray(self._ds["time"].values, dtype=np.float64)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return int(self._ds.sizes["time"])

    def __len__(self) -> int:
        return self.n_frames

    @property
    def n_electrons(self) -> float:
        """Number of electrons each frame integrates to."""
        if "n_electrons" not in self._ds.attrs:
            raise MissingDataError(f"a field of kind '{self.density_kind}' does not integrate to electrons")
        return float(self._ds.attrs["n_electrons"])

    @property
    def frame_interval(self) -> float:
        """Median time between successive frames, fs."""
        if self.n_frames < 2:
            raise MissingDataError("one frame has no frame interval: at least two are needed")
        return float(np.median(np.diff(self.time)))

    @cached_property
    def grid(self) -> PeriodicGrid:
        """The grid. A cell that changes in time has one only frame by frame: ``traj[5].grid``."""
        cell = self._ds["cell"].values.reshape(-1, 3, 3)
        if np.abs(cell - cell[0]).max() > 1e-9:
            raise GridMismatchError("the cell changes in time: take the grid of one frame, as in traj[0].grid")
        return PeriodicGrid(cell[0], self.density.shape[-3:])  # type: ignore[arg-type]

    @property
    def is_ensemble(self) -> bool:
        """Whether there is a dimension `sample`: several trajectories over the same times."""
        return "sample" in self._ds.dims

    @property
    def n_samples(self) -> int:
        """Number of samples of an ensemble, else 1."""
        return int(self._ds.sizes.get("sample", 1))

    def sample(self, index: int) -> DensityTrajectory:
        """One member of an ensemble, without the dimension `sample`."""
        if not -self.n_samples <= index < self.n_samples:
            raise IndexError(f"sample {index} of {self.n_samples}")
        return self._from_valid(self._ds.isel(sample=index, drop=True)) if self.is_ensemble else self

    def frame(self, index: int) -> NDArray[np.float32]:
        """The values of one frame, (na, nb, nc); (sample, na, nb, nc) of an ensemble."""
        if not -self.n_frames <= index < self.n_frames:
            raise IndexError(f"frame {index} of {self.n_frames}")
        return np.asarray(self.density.isel(time=index).values)

    # Selecting --------------------------------------------------------------------------------------------

    def isel(self, time: int | slice | Sequence[int] | NDArray[Any]) -> DensityTrajectory:
        """Frames by number; a single number gives a trajectory of one frame."""
        if isinstance(time, (int, np.integer)):
            if not -self.n_frames <= time < self.n_frames:
                raise IndexError(f"frame {time} of {self.n_frames}")
            time = [int(time)]
        return self._select(self._ds.isel(time=time), f"frames {time}")

    def sel(self, time: float | slice | Sequence[float], method: str | None = None) -> DensityTrajectory:
        """Frames by time in fs, ends included; `method="nearest"` for times that are not there exactly."""
        if isinstance(time, (int, float, np.number)):
            time = [float(time)]
        try:
            found = self._ds.sel(time=time, method=method)  # type: ignore[arg-type]
        except KeyError as error:
            raise MissingDataError(
                f"no frame at {time} fs; the trajectory runs from {self.time[0]:g} to {self.time[-1]:g} fs. "
                'method="nearest" takes the nearest one.'
            ) from error
        return self._select(found, f"times {time} fs")

    def __getitem__(self, index: int | slice | Sequence[int]) -> DensityTrajectory:
        return self.isel(index)

    def split(self, part: str) -> DensityTrajectory:
        """A part of the one absolute split that every copy of a run keeps in its attributes.

        Parameters
        ----------
        part
            "train": times up to train_end_fs. "validation": from validation_start_fs to train_end_fs (the end
            of the training block). "test": from test_start_fs.

        Raises
        ------
        MissingDataError
            If an attribute is missing or no frame lies in the part.
        """
        ends = {
            "train": (None, "train_end_fs"),
            "validation": ("validation_start_fs", "train_end_fs"),
            "test": ("test_start_fs", None),
        }
        if part not in ends:
            raise ValueError(f"part must be one of {', '.join(ends)}; got {part!r}")
        missing = [name for name in ends[part] if name and name not in self._ds.attrs]
        if missing:
            raise MissingDataError(
                f"the trajectory has no attribute {' and '.join(missing)}; set it in ds.attrs, in fs of traj.time"
            )
        low, high = (
            (-np.inf, np.inf)[i] if name is None else float(self._ds.attrs[name]) for i, name in enumerate(ends[part])
        )
        chosen = np.flatnonzero((self.time >= low) & (self.time <= high))
        return self._select(self._ds.isel(time=chosen), f"{part} part, {low:g} to {high:g} fs")

    def _select(self, ds: xr.Dataset, what: str) -> DensityTrajectory:
        if ds.sizes["time"] == 0:
            raise MissingDataError(
                f"no frame left ({what}): the trajectory has {self.n_frames} frames from {self.time[0]:g} to "
                f"{self.time[-1]:g} fs"
            )
        if not (np.diff(ds["time"].values) > 0).all():
            raise SchemaError(f"frames must stay in the order of time ({what})")
        return self._from_valid(ds)

    # Changing ---------------------------------------------------------------------------------------------

    def resample_grid(self, shape: tuple[int, int, int]) -> DensityTrajectory:
        """The same field on another grid, by Fourier interpolation, lazily.

        The charge is kept exactly. Near sharp features a positive density may come out slightly negative;
        nothing is clipped and a frozen core is not smoothed again. See `edviz.grid.fourier_resample`.
        """
        ds = _one_frame_a_chunk(self._ds, lazy=True)
        fields = {name: v for name, v in ds.data_vars.items() if schema.on_grid(v.dims)}
        resample = partial(fourier_resample, shape=shape)
        resampled = {name: _map_fields(resample, v, shape) for name, v in fields.items()}
        ds = ds.drop_dims(schema.FIELD_DIMS).assign(resampled)
        old = " x ".join(map(str, self.density.shape[-3:]))
        return self._derived(ds, f"Fourier-resampled from {old} to {' x '.join(map(str, shape))} points")

    def renormalized(self) -> DensityTrajectory:
        """The same density scaled frame by frame to integrate to `n_electrons`, lazily."""
        ds = _one_frame_a_chunk(self._ds, lazy=True)
        volume = xr.apply_ufunc(np.linalg.det, ds["cell"], input_core_dims=[["vector", "xyz"]])
        voxel = volume / np.prod(self.density.shape[-3:])

        scale = partial(_scaled, n_electrons=self.n_electrons)
        ds["density"] = _map_fields(scale, ds["density"], self.density.shape[-3:], voxel)
        return self._derived(ds, f"each frame scaled to {self.n_electrons:g} electrons")

    def with_core(self, sigma: float | None = None) -> DensityTrajectory:
        """Valence density plus the frozen 1s core of each atom: the density of all electrons, lazily.

        Parameters
        ----------
        sigma
            Width of the Gaussian that smooths the core, angstrom; by default the largest grid spacing. Kept
            as attribute `core_sigma`. Method: `edviz.core`.

        Raises
        ------
        SchemaError
            If the density is not a valence density without 1s electrons, or (when a frame is computed) if the
            sum is negative somewhere; nothing is clipped.
        MissingDataError
            If there are no positions or an element has no tabulated core.
        """
        if self.density_kind != "valence":
            raise SchemaError(f"with_core() needs a valence density; this one is '{self.density_kind}'")
        if "positions" not in self._ds or "numbers" not in self._ds:
            raise MissingDataError(
                "with_core() places a core at each atom, and this trajectory has no positions. find_atoms() looks for "
                "the atoms in the density itself; or give from_arrays() positions= and numbers="
            )
        numbers = self._ds["numbers"].values
        core.check_elements(numbers)
        n_total = self.n_electrons + core.CORE_ELECTRONS * numbers.size
        if n_total > numbers.sum() + 0.5 * numbers.size:
            raise SchemaError(
                f"{self.n_electrons:g} valence electrons and two 1s electrons an atom are more than the "
                f"{numbers.sum()} of neutral atoms: this valence density holds the 1s electrons already"
            )
        ds = _one_frame_a_chunk(self._ds, lazy=True)
        if sigma is None:
            lengths = np.linalg.norm(ds["cell"].values, axis=-1).reshape(-1, 3)
            sigma = float((lengths / np.array(self.density.shape[-3:])).max())
        ds["density"] = _map_fields(
            core.add_core,
            ds["density"],
            self.density.shape[-3:],
            (ds["positions"], ["atom", "xyz"]),
            (ds["cell"], ["vector", "xyz"]),
            xr.DataArray(np.arange(self.n_frames), dims="time"),
            numbers=numbers,
            sigma=sigma,
        )
        ds.attrs |= {"density_kind": "total", "n_electrons": n_total, "core_sigma": sigma}
        return self._derived(ds, f"frozen 1s core added (core_sigma {sigma:.6g} angstrom)")

    def _derived(self, ds: xr.Dataset, line: str) -> DensityTrajectory:
        history = ds.attrs.get("history", "")
        ds.attrs = {**ds.attrs, "history": f"{history}\n{line}" if history else line}
        return self._from_valid(ds)

    # Checking and leaving ---------------------------------------------------------------------------------

    def check_electrons(self) -> None:
        """Raise UnitsError if the first frame's integral is off `n_electrons` by more than 1 %."""
        if self.density_kind in schema.ELECTRON_KINDS:
            where = str(self._ds.encoding.get("source", ""))
            volume = float(np.linalg.det(self._ds["cell"].values.reshape(-1, 3, 3)[0]))
            schema.check_electrons(_electrons_of_first_frame(self._ds), self.n_electrons, volume, where)

    def to_ase(self) -> list[ase.Atoms]:
        """One `ase.Atoms` a frame, with positions, cell, periodicity and, where known, velocities, in ASE's units.

        Raises
        ------
        MissingDataError
            If there are no positions.
        """
        import ase
        from ase import units

        if "positions" not in self._ds:
            raise MissingDataError("to_ase() needs positions and the trajectory has none")
        if "sample" in self._ds["positions"].dims:
            raise MissingDataError("an ensemble has several sets of positions: take one, traj.sample(0).to_ase()")
        cells = np.broadcast_to(self._ds["cell"].values, (self.n_frames, 3, 3))
        pbc = np.asarray(self._ds.attrs["periodic"], dtype=bool)
        frames = []
        for i in range(self.n_frames):
            atoms = ase.Atoms(
                self._ds["numbers"].values, positions=self._ds["positions"].values[i], cell=cells[i], pbc=pbc
            )
            if "velocities" in self._ds:
                atoms.set_velocities(self._ds["velocities"].values[i] / units.fs)
            atoms.info["time_fs"] = float(self.time[i])
            frames.append(atoms)
        return frames

    def __repr__(self) -> str:
        from edviz._card import summary

        return f"<DensityTrajectory {summary(self)}>"

    def _repr_html_(self) -> str:
        from edviz._card import html_card

        return html_card(self)

    if TYPE_CHECKING:  # lent by the table below
        plot_isosurface: Callable[..., Any]
        plot_slice: Callable[..., Any]
        plot_histogram: Callable[..., Any]
        plot_structure_factor: Callable[..., Any]
        histogram: Callable[..., Any]
        structure_factor: Callable[..., Any]
        structure_factor_vectors: Callable[..., Any]
        two_point_correlation: Callable[..., Any]
        intermediate_scattering: Callable[..., Any]
        dynamic_structure_factor: Callable[..., Any]
        running_statistics: Callable[..., Any]
        find_atoms: Callable[..., Any]
        found_fraction: Callable[..., Any]
        difference: Callable[..., Any]
        planar_average: Callable[..., Any]
        line_profile: Callable[..., Any]
        integrate_sphere: Callable[..., Any]
        view: Callable[..., Any]
        to_movie: Callable[..., Any]
        to_file: Callable[..., Any]


def _per_frame_array(values: ArrayLike | None, single: bool) -> NDArray[Any] | None:
    """An array with `time` in front: a single frame's may come without."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        array = array.astype(np.float64)
    return array[None] if single and array.ndim in (0, 2) else array


def _require_finite_cell(ds: xr.Dataset) -> None:
    schema.check_finite(ds["cell"].values, "cell")
    if not (np.linalg.det(ds["cell"].values) > 0).all():
        raise SchemaError("the cell has no positive volume: rows must be right-handed lattice vectors, angstrom")


def _electrons_of_first_frame(ds: xr.Dataset) -> float:
    first = ds["density"].isel(time=0)
    if "sample" in first.dims:
        first = first.isel(sample=0)
    values = np.asarray(first.values)
    schema.check_finite(values[None], "density", str(ds.encoding.get("source", "")))
    volume = np.linalg.det(ds["cell"].values.reshape(-1, 3, 3)[0])
    return float(values.mean(dtype=np.float64) * volume)


def _round_electrons(electrons: float) -> float:
    nearest = round(electrons)
    return float(nearest) if nearest and abs(electrons / nearest - 1) <= 1e-4 else electrons


def _one_frame_a_chunk(ds: xr.Dataset, where: str | None = None, lazy: bool = False) -> xr.Dataset:
    """A shallow copy whose lazy fields (all fields with `lazy`) have one frame a chunk.

    With `where` every lazy frame is checked for NaN when it is read; messages then name that file.
    """
    ds = ds.copy()
    source = ds.encoding.get("source")
    for name, variable in ds.data_vars.items():
        if not schema.is_field(variable.dims) or (variable.chunks is None and not lazy):
            continue
        chunks = {dim: -1 if dim in schema.FIELD_DIMS else 1 for dim in variable.dims}
        chunked = variable.chunk(chunks)
        if where is not None:
            # Block by block, not through apply_ufunc, which would copy every frame once more.
            check = partial(_checked, name=str(name), where=where, time_axis=variable.dims.index("time"))
            data = chunked.data
            chunked = chunked.copy(data=data.map_blocks(check, dtype=data.dtype, meta=data._meta))
        ds[name] = chunked
    if source is not None:
        ds.encoding["source"] = source
    return ds


def _checked(
    values: NDArray[Any], *, name: str, where: str, time_axis: int, block_info: dict[Any, Any] | None = None
) -> NDArray[Any]:
    frame = block_info[0]["chunk-location"][time_axis] if block_info else 0  # one frame a chunk
    schema.check_finite(values[None], name, where, first_frame=int(frame))
    return values


def _scaled(values: NDArray[Any], voxel: NDArray[Any], *, n_electrons: float) -> NDArray[Any]:
    electrons = values.sum(axis=(-3, -2, -1), dtype=np.float64) * voxel
    return (values * (n_electrons / electrons)[..., None, None, None]).astype(np.float32)


def _map_fields(
    function: Callable[..., NDArray[Any]],
    field: xr.DataArray,
    shape: Sequence[int],
    *others: xr.DataArray | tuple[xr.DataArray, list[str]],
    **options: Any,
) -> xr.DataArray:
    """Apply a function frame by frame to a chunked field, lazily.

    The function gets (..., na, nb, nc) and returns (..., *shape); `others` go along, with their core dims if they
    have any.
    """
    pairs = [other if isinstance(other, tuple) else (other, []) for other in others]
    dims = list(schema.FIELD_DIMS)
    result = xr.apply_ufunc(
        function,
        field,
        *(array for array, _ in pairs),
        input_core_dims=[dims, *(core_dims for _, core_dims in pairs)],
        output_core_dims=[dims],
        exclude_dims=set(dims),
        kwargs=options,
        dask="parallelized",
        output_dtypes=[field.dtype],
        dask_gufunc_kwargs={"output_sizes": dict(zip(dims, map(int, shape), strict=True))},
        keep_attrs="override",
    )
    return result.transpose(*field.dims)


#: Methods that live elsewhere: name -> "module:function". Each function takes the trajectory as its first
#: argument.
DELEGATES: dict[str, str] = {
    "plot_isosurface": "edviz.plotting.isosurface:plot_isosurface",
    "plot_slice": "edviz.plotting.slices:plot_slice",
    "plot_histogram": "edviz.plotting.histogram:plot_histogram",
    "plot_structure_factor": "edviz.plotting.structure:plot_structure_factor",
    "histogram": "edviz.analysis.histogram:histogram",
    "structure_factor": "edviz.analysis.correlation:structure_factor",
    "structure_factor_vectors": "edviz.analysis.pair:structure_factor_vectors",
    "two_point_correlation": "edviz.analysis.pair:two_point_correlation",
    "intermediate_scattering": "edviz.analysis.scattering:intermediate_scattering",
    "dynamic_structure_factor": "edviz.analysis.scattering:dynamic_structure_factor",
    "running_statistics": "edviz.analysis.running:running_statistics",
    "find_atoms": "edviz.analysis.atoms:find_atoms",
    "found_fraction": "edviz.analysis.atoms:found_fraction",
    "difference": "edviz.analysis.difference:difference",
    "planar_average": "edviz.analysis.profiles:planar_average",
    "line_profile": "edviz.analysis.profiles:line_profile",
    "integrate_sphere": "edviz.analysis.profiles:integrate_sphere",
    "view": "edviz.widgets.viewer:TrajectoryViewer",
    "to_movie": "edviz.plotting.movie:to_movie",
    "to_file": "edviz.io:save",
}


def _delegate(name: str, target: str) -> Callable[..., Any]:
    module, function = target.split(":")

    def method(self: DensityTrajectory, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(module), function)(self, *args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"DensityTrajectory.{name}"
    method.__doc__ = f"Call `{module}.{function}` with this trajectory: its documentation has the arguments."
    return method


for _name, _target in DELEGATES.items():
    setattr(DensityTrajectory, _name, _delegate(_name, _target))

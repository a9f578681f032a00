"""The dataset schema: every variable's dimensions, dtype, unit and meaning, in one place.

`SPECS` and `ATTRIBUTES` are the truth; `validate` checks a dataset against them and docs/schema.md describes
them. One frozen spec a variable that both documents and validates is sgkit's idea (sgkit/variables.py). This
module is light: it needs xarray only for typing, so that the streaming writer can use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edviz.errors import NonFiniteError, SchemaError, UnitsError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ATTRIBUTES",
    "DENSITY_KINDS",
    "ELECTRON_KINDS",
    "FIELD_DIMS",
    "SCHEMA_VERSION",
    "SPECS",
    "AttributeSpec",
    "VariableSpec",
    "base_attributes",
    "check_electrons",
    "check_finite",
    "is_field",
    "on_grid",
    "validate",
    "validate_attributes",
]

SCHEMA_VERSION = 1

FIELD_DIMS = ("a", "b", "c")
_FRAME = ("time", *FIELD_DIMS)

#: density_kind -> (unit of the field, what it is)
DENSITY_KINDS: dict[str, tuple[str, str]] = {
    "valence": ("e/angstrom^3", "density of the valence electrons"),
    "total": ("e/angstrom^3", "density of all electrons, core + valence"),
    "pseudo": ("e/angstrom^3", "density of pseudo wave functions without augmentation"),
    "core": ("e/angstrom^3", "density of the core electrons alone"),
    "partial": ("e/angstrom^3", "density of chosen states only"),
    "potential": ("eV", "local potential"),
    "elf": ("1", "electron localization function"),
    "orbital": ("angstrom^-1.5", "one orbital, real part"),
}
#: The kinds that integrate to a number of electrons.
ELECTRON_KINDS = ("valence", "total", "pseudo", "core", "partial")

BOHR = 0.529177210544  # angstrom, CODATA 2022


@dataclass(frozen=True)
class VariableSpec:
    """What one variable must be.

    Attributes
    ----------
    name
        Its name in the dataset.
    dims
        The dimensions it may have, in order; in an ensemble those with `time` may have `sample` in front.
    dtype
        "float32", "float" (float32 or float64) or "int".
    units
        The text its attribute `units` must hold; empty for a variable without unit.
    meaning
        One sentence.
    required
        Whether every dataset has it.
    """

    name: str
    dims: tuple[tuple[str, ...], ...]
    dtype: str
    units: str
    meaning: str
    required: bool = False


@dataclass(frozen=True)
class AttributeSpec:
    """What one attribute of the dataset must be: `kind` is "text", "number", "3 numbers" or "3 flags"."""

    name: str
    kind: str
    meaning: str
    required: bool = False


SPECS: dict[str, VariableSpec] = {
    spec.name: spec
    for spec in (
        VariableSpec(
            "density",
            (_FRAME,),
            "float32",
            "e/angstrom^3",
            "The field: value [i, j, k] at fractional coordinates (i/na, j/nb, k/nc). Its unit follows density_kind.",
            required=True,
        ),
        VariableSpec(
            "cell",
            (("vector", "xyz"), ("time", "vector", "xyz")),
            "float",
            "angstrom",
            "Rows are the lattice vectors a, b, c; right-handed.",
            required=True,
        ),
        VariableSpec("time", (("time",),), "float", "fs", "Time of each frame, strictly increasing.", required=True),
        VariableSpec("numbers", (("atom",),), "int", "", "Atomic numbers, 1 to 118."),
        VariableSpec(
            "positions", (("time", "atom", "xyz"),), "float", "angstrom", "Positions of the atoms, unwrapped."
        ),
        VariableSpec("velocities", (("time", "atom", "xyz"),), "float", "angstrom/fs", "Velocities of the atoms."),
        VariableSpec("forces", (("time", "atom", "xyz"),), "float", "eV/angstrom", "Forces on the atoms."),
        VariableSpec("energy", (("time",),), "float", "eV", "Energy of the frame; the source says which."),
        VariableSpec("temperature", (("time",),), "float", "K", "Kinetic temperature of the atoms."),
        VariableSpec(
            "magnetization",
            (("component", *_FRAME),),
            "float32",
            "e/angstrom^3",
            "Spin density on the density's grid: one component (up minus down) or three (x, y, z).",
        ),
    )
}

ATTRIBUTES: dict[str, AttributeSpec] = {
    spec.name: spec
    for spec in (
        AttributeSpec("schema_version", "number", f"Version of this schema, now {SCHEMA_VERSION}.", required=True),
        AttributeSpec("density_kind", "text", "What the field is: " + ", ".join(DENSITY_KINDS) + ".", required=True),
        AttributeSpec(
            "n_electrons", "number", "What every frame integrates to; densities have it, other fields do not."
        ),
        AttributeSpec("periodic", "3 flags", "1 or 0 along a, b, c.", required=True),
        AttributeSpec("origin", "3 numbers", "Cartesian position of grid point [0, 0, 0], angstrom.", required=True),
        AttributeSpec("source", "text", "The code and the settings that made the data."),
        AttributeSpec("history", "text", "What was done to the data since, a line each."),
        AttributeSpec("train_end_fs", "number", "Last time of the training block, fs."),
        AttributeSpec("validation_start_fs", "number", "First time of the validation part of the training block, fs."),
        AttributeSpec("test_start_fs", "number", "First time of the test block, fs."),
        AttributeSpec("unwrapped", "text", "How positions were followed through the boundaries: minimum image."),
        AttributeSpec("core_sigma", "number", "Width of the Gaussian that smooths the frozen core, angstrom."),
    )
}


def base_attributes(
    density_kind: str,
    n_electrons: float | None = None,
    periodic: Any = (1, 1, 1),
    origin: Any = (0.0, 0.0, 0.0),
) -> dict[str, Any]:
    """The attributes every dataset has."""
    attrs: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "density_kind": density_kind,
        "periodic": np.asarray(periodic, dtype=np.int64),
        "origin": np.asarray(origin, dtype=np.float64),
    }
    if n_electrons is not None:
        attrs["n_electrons"] = float(n_electrons)
    return attrs


def on_grid(dims: tuple[Any, ...]) -> bool:
    """Whether a variable with these dimensions has values on the grid."""
    return set(FIELD_DIMS) <= set(dims)


def is_field(dims: tuple[Any, ...]) -> bool:
    """Whether a variable with these dimensions has values on the grid at every time, and so is large."""
    return on_grid(dims) and "time" in dims


def check_finite(values: np.ndarray, variable: str, where: str = "", first_frame: int = 0, time_axis: int = 0) -> None:
    """Raise NonFiniteError naming file, variable and frame if `values` holds a NaN or an infinity."""
    # A sum is four times faster than isfinite().all() and cannot hide a NaN or an infinity; it may overflow,
    # though, so only a suspicious sum is looked at closely.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(values)):
            return
    bad = ~np.isfinite(values)
    if not bad.any():
        return
    at = ""
    if values.ndim:
        frame = first_frame + int(np.argwhere(bad)[0][time_axis])
        at = f", frame {frame}"
    raise NonFiniteError(
        f"{_prefix(where)}{variable}{at}: {int(bad.sum())} values are NaN or infinite. Drop these frames or repair "
        "them where they were written."
    )


def check_electrons(electrons: float, n_electrons: float, volume: float, where: str = "") -> None:
    """Raise UnitsError if a frame's integral is off `n_electrons` by more than 1 %, saying which unit explains it.

    Parameters
    ----------
    electrons
        (V / N_grid) times the sum of the values.
    n_electrons
        What it should be.
    volume
        Of the cell, angstrom^3.
    where
        Name of the file or frame for the message.
    """
    if abs(electrons - n_electrons) <= 0.01 * abs(n_electrons):
        return
    explanations = {
        "the values look like e/bohr^3: divide them by 0.529177^3": BOHR**3,
        "the values look like rho * V, as CHGCAR holds them: divide them by the volume of the cell": volume,
        "the values look like rho * V in bohr^3 (or a cell in bohr): divide them by the volume": volume / BOHR**3,
        "the cell looks like bohr instead of angstrom: multiply it by 0.529177": 1 / BOHR**3,
        "the values look like e/nm^3: divide them by 1000": 1e3,
        "the cell looks like nm instead of angstrom: multiply it by 10": 1e-3,
    }
    ratio = electrons / n_electrons
    reason = next(
        (text for text, factor in explanations.items() if abs(ratio / factor - 1) <= 0.01),
        "no usual unit explains it: check the unit, the cell and n_electrons",
    )
    raise UnitsError(
        f"{_prefix(where)}the density integrates to {electrons:.6g} electrons, n_electrons says {n_electrons:.6g}; "
        f"{reason}"
    )


def validate(ds: xr.Dataset, where: str = "") -> xr.Dataset:
    """Check a dataset against the schema and hand it back unchanged.

    Dimensions, dtypes, units and attributes of everything; values of what is in memory (a lazy density is not
    read: DensityTrajectory checks each of its frames when it is read).

    Parameters
    ----------
    ds
        The dataset.
    where
        Name of the file for the messages.

    Raises
    ------
    SchemaError
        A variable or attribute is missing, or has wrong dimensions, dtype or values.
    UnitsError
        A variable carries no unit or another one than the schema's.
    NonFiniteError
        A value in memory is NaN or infinite.
    """
    at = _prefix(where)
    validate_attributes(ds.attrs, where)
    for spec in SPECS.values():
        if spec.name in ds.variables:
            _validate_variable(ds, spec, where)
        elif spec.required:
            raise SchemaError(f"{at}the dataset has no variable '{spec.name}' ({spec.meaning})")
    density = ds["density"]
    if "sample" in ds.dims and "sample" not in density.dims:
        raise SchemaError(f"{at}the dataset has a dimension 'sample' but its density has dims {density.dims}")
    if 0 in density.shape:
        raise SchemaError(f"{at}density is empty: its shape is {dict(density.sizes)}")
    time = ds["time"].values
    steps = np.diff(time)
    if (steps <= 0).any():
        frame = int(np.argmax(steps <= 0)) + 1
        raise SchemaError(
            f"{at}time must increase strictly: frame {frame} is at {time[frame]} fs, after {time[frame - 1]} fs. Sort "
            "the frames and drop doubles."
        )
    if not (np.linalg.det(ds["cell"].values) > 0).all():
        raise SchemaError(f"{at}the cell has no positive volume: rows must be right-handed lattice vectors, angstrom")
    if "numbers" in ds.variables:
        numbers = ds["numbers"].values
        if ((numbers < 1) | (numbers > 118)).any():
            raise SchemaError(f"{at}atomic numbers run from 1 to 118; got {numbers.min()} to {numbers.max()}")
    if "positions" in ds.variables and "numbers" not in ds.variables:
        raise SchemaError(f"{at}positions need 'numbers' (atomic numbers of the atoms) beside them")
    return ds


def _prefix(where: str) -> str:
    return f"{where}: " if where else ""


def _validate_variable(ds: xr.Dataset, spec: VariableSpec, where: str) -> None:
    at = _prefix(where)
    variable = ds[spec.name]
    allowed = list(spec.dims)
    if "sample" in ds.dims:
        allowed += [("sample", *dims) for dims in spec.dims if "time" in dims and spec.name not in ("time", "cell")]
    if variable.dims not in allowed:
        raise SchemaError(f"{at}{spec.name} has dims {variable.dims}; it must have {' or '.join(map(str, allowed))}")
    for dim in ("vector", "xyz"):
        if dim in variable.dims and variable.sizes[dim] != 3:
            raise SchemaError(f"{at}{spec.name} has {variable.sizes[dim]} entries along '{dim}'; there must be 3")
    if "component" in variable.dims and variable.sizes["component"] not in (1, 3):
        raise SchemaError(f"{at}{spec.name} must have 1 or 3 components, not {variable.sizes['component']}")
    kinds = {"float32": np.float32, "float": np.floating, "int": np.integer}
    if not np.issubdtype(variable.dtype, kinds[spec.dtype]):
        raise SchemaError(f"{at}{spec.name} is {variable.dtype}; it must be {spec.dtype}: convert it with .astype()")
    expected = DENSITY_KINDS[ds.attrs["density_kind"]][0] if spec.name == "density" else spec.units
    if expected:
        found = variable.attrs.get("units")
        if found is None:
            raise UnitsError(f"{at}{spec.name} has no attribute 'units'; it must be '{expected}'")
        if str(found) != expected:
            raise UnitsError(
                f"{at}{spec.name} is in '{found}'; it must be in '{expected}'. Convert the values and set "
                f"ds['{spec.name}'].attrs['units'] = '{expected}'."
            )
    if isinstance(variable.variable._data, np.ndarray) and np.issubdtype(variable.dtype, np.floating):
        time_axis = variable.dims.index("time") if "time" in variable.dims else 0
        check_finite(variable.values, spec.name, where, time_axis=time_axis)


def validate_attributes(attrs: Mapping[Any, Any], where: str = "") -> None:
    """Check the attributes of a dataset; raise SchemaError naming the one that is missing or wrong."""
    at = _prefix(where)
    for spec in ATTRIBUTES.values():
        if spec.name not in attrs:
            if spec.required:
                raise SchemaError(f"{at}the dataset has no attribute '{spec.name}' ({spec.meaning})")
            continue
        value = attrs[spec.name]
        if spec.kind == "text":
            good = isinstance(value, str)
        else:
            array = np.asarray(value)
            size = 1 if spec.kind == "number" else 3
            good = array.size == size and array.dtype.kind in "iuf" and bool(np.isfinite(array).all())
            if good and spec.kind == "3 flags":
                good = bool(np.isin(array, (0, 1)).all())
        if not good:
            raise SchemaError(f"{at}attribute '{spec.name}' must be {spec.kind}; got {value!r}")
    kind = attrs["density_kind"]
    if kind not in DENSITY_KINDS:
        raise SchemaError(f"{at}density_kind '{kind}' is unknown; choose one of {', '.join(DENSITY_KINDS)}")
    if kind in ELECTRON_KINDS:
        if not attrs.get("n_electrons", 0) > 0:
            raise SchemaError(f"{at}a {kind} density needs a positive attribute 'n_electrons'")
    elif "n_electrons" in attrs:
        raise SchemaError(f"{at}n_electrons belongs to densities; a field of kind '{kind}' must not have it")
    if int(attrs["schema_version"]) > SCHEMA_VERSION:
        raise SchemaError(
            f"{at}schema version {attrs['schema_version']} is newer than this edviz knows ({SCHEMA_VERSION}): update "
            "edviz"
        )

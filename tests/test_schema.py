from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edviz import schema
from edviz.errors import NonFiniteError, SchemaError, UnitsError


def test_a_good_dataset_passes_unchanged(trajectory):
    assert schema.validate(trajectory.ds) is trajectory.ds


@pytest.mark.parametrize("name", [name for name, spec in schema.SPECS.items() if spec.required])
def test_required_variables(trajectory, name):
    with pytest.raises(SchemaError, match=f"run.h5: the dataset has no variable '{name}'"):
        schema.validate(trajectory.ds.drop_vars(name), "run.h5")


@pytest.mark.parametrize("name", [name for name, spec in schema.ATTRIBUTES.items() if spec.required])
def test_required_attributes(trajectory, name):
    ds = trajectory.ds.copy()
    del ds.attrs[name]
    with pytest.raises(SchemaError, match=name):
        schema.validate(ds)


@pytest.mark.parametrize(
    "name", ["density", "cell", "time", "positions", "velocities", "forces", "energy", "temperature"]
)
def test_units_are_required_and_exact(trajectory, name):
    ds = trajectory.ds.copy(deep=True)
    ds[name].attrs["units"] = "furlong"
    with pytest.raises(
        UnitsError, match=re.escape(f"{name} is in 'furlong'; it must be in '{schema.SPECS[name].units}'")
    ):
        schema.validate(ds)
    del ds[name].attrs["units"]
    with pytest.raises(UnitsError, match=f"{name} has no attribute 'units'"):
        schema.validate(ds)


@pytest.mark.parametrize("name", ["density", "cell", "positions", "velocities", "forces", "energy", "temperature"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_every_value_in_memory_is_finite(trajectory, name, bad):
    ds = trajectory.ds.copy(deep=True)
    values = ds[name].values
    at = (2, *(0,) * (values.ndim - 1))
    values[at] = bad
    where = "" if name == "cell" else ", frame 2"
    with pytest.raises(NonFiniteError, match=f"{name}{where}"):
        schema.validate(ds)


def test_large_finite_values_are_not_mistaken_for_infinities():
    schema.check_finite(np.full(4, 3e38, dtype=np.float32), "density")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: ds.transpose("a", "time", ...), "density has dims"),
        (lambda ds: ds.assign(density=ds.density.astype(float).assign_attrs(ds.density.attrs)), "it must be float32"),
        (lambda ds: ds.assign(numbers=ds.numbers.astype(float)), "numbers is float64; it must be int"),
        (lambda ds: ds.assign(numbers=ds.numbers + 116), "1 to 118"),
        (lambda ds: ds.assign(cell=(-ds.cell).assign_attrs(ds.cell.attrs)), "right-handed"),
        (lambda ds: ds.isel(time=[0, 2, 1]), "frame 2 is at 13.0 fs, after 23.0 fs"),
        (lambda ds: ds.isel(time=[0, 0]), "increase strictly"),
        (lambda ds: ds.isel(time=[]), "empty"),
        (lambda ds: ds.isel(xyz=[0, 1]), "there must be 3"),
        (lambda ds: ds.drop_vars("numbers"), "positions need 'numbers'"),
        (lambda ds: ds.assign_attrs(density_kind="charge"), "choose one of valence"),
        (lambda ds: ds.assign_attrs(density_kind="potential"), "must not have it"),
        (lambda ds: ds.assign_attrs(n_electrons=-1.0), "positive attribute 'n_electrons'"),
        (lambda ds: ds.assign_attrs(n_electrons=np.nan), "'n_electrons' must be number"),
        (lambda ds: ds.assign_attrs(periodic=[1, 1, 2]), "'periodic' must be 3 flags"),
        (lambda ds: ds.assign_attrs(origin=[0.0, 0.0]), "'origin' must be 3 numbers"),
        (lambda ds: ds.assign_attrs(history=7), "'history' must be text"),
        (lambda ds: ds.assign_attrs(train_end_fs="late"), "'train_end_fs' must be number"),
        (lambda ds: ds.assign_attrs(schema_version=99), "update edviz"),
        (lambda ds: ds.assign(energy=ds.energy.expand_dims(sample=2).assign_attrs(units="eV")), "dimension 'sample'"),
    ],
)
def test_what_breaks_the_schema(trajectory, change, message):
    with pytest.raises(SchemaError, match=message):
        schema.validate(change(trajectory.ds))


def test_ensembles_may_share_or_differ_in_their_small_variables(make_trajectory):
    ds = make_trajectory(n_samples=3).ds
    schema.validate(ds)
    schema.validate(ds.assign(energy=ds.energy.expand_dims(sample=3).assign_attrs(units="eV")))


def test_other_kinds_have_their_own_unit(trajectory):
    ds = trajectory.ds.copy(deep=True)
    ds.attrs["density_kind"] = "potential"
    del ds.attrs["n_electrons"]
    with pytest.raises(UnitsError, match="must be in 'eV'"):
        schema.validate(ds)
    ds["density"].attrs["units"] = "eV"
    schema.validate(ds)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (0.529177**3, "e/bohr"),
        (135.0, "rho \\* V"),
        (135.0 / 0.529177**3, "rho \\* V in bohr"),
        (0.529177**-3, "the cell looks like bohr"),
        (1000.0, "e/nm"),
        (0.001, "the cell looks like nm"),
        (1.7, "no usual unit"),
    ],
)
def test_a_wrong_integral_is_explained_by_its_unit(factor, message):
    with pytest.raises(UnitsError, match=message):
        schema.check_electrons(54 * factor, 54, 135.0)


def test_one_per_cent_is_allowed():
    schema.check_electrons(54.5, 54, 135.0)
    with pytest.raises(UnitsError):
        schema.check_electrons(54.6, 54, 135.0)


def test_the_page_says_what_the_schema_says():
    page = (Path(__file__).parent.parent / "docs" / "schema.md").read_text(encoding="utf-8")
    for spec in schema.SPECS.values():
        dims = " or ".join(", ".join(dims) for dims in spec.dims)
        assert f"| `{spec.name}` | {dims} | {spec.dtype} | {spec.units or '–'} | {spec.meaning} |" in page
    for attribute in schema.ATTRIBUTES.values():
        assert f"| `{attribute.name}` | {attribute.kind} | {attribute.meaning} |" in page
    for kind, (unit, meaning) in schema.DENSITY_KINDS.items():
        assert f"| `{kind}` | {unit} | {meaning} |" in page

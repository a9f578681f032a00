"""Importing edviz loads nothing heavy: what keeps it well under half a second (`make bench` has the time)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import edviz

SCRIPT = "import json, sys, edviz; print(json.dumps(sorted(sys.modules)))"
HEAVY = {
    "torch",
    "lightning_fabric",
    "azula",
    "pyvista",
    "vtk",
    "plotly",
    "xarray",
    "dask",
    "pandas",
    "scipy",
    "sklearn",
}
HEAVY |= {"ase", "ipywidgets", "h5py", "safetensors"}


def test_import_loads_nothing_heavy():
    loaded = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True).stdout
    assert not HEAVY & set(json.loads(loaded))


def test_every_public_name_is_there():
    assert set(edviz.__all__) <= set(dir(edviz))
    for name in edviz.__all__:
        assert getattr(edviz, name) is not None


def test_unknown_names_are_attribute_errors():
    assert not hasattr(edviz, "no_such_name")


def test_the_streaming_writer_is_light():
    script = "import sys, edviz.io.parts; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout.split()
    assert not {"xarray", "dask", "pandas", "torch"} & set(loaded)


def test_a_viewer_loads_no_measurements():
    script = "import sys, edviz.widgets.viewer; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout.split()
    assert not {"edviz.analysis.scorecard", "scipy.stats", "plotly", "pyvista", "torch"} & set(loaded)


@pytest.mark.parametrize("package", [edviz.plotting, edviz.widgets], ids=lambda each: each.__name__)
def test_every_name_of_a_lazy_package_is_there(package):
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name).__module__.startswith(package.__name__)
    assert not hasattr(package, "no_such_name")

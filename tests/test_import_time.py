from __future__ import annotations

import json
import subprocess
import sys

import edviz

SCRIPT = """
import json, sys, time
start = time.perf_counter()
import edviz
print(json.dumps([time.perf_counter() - start, sorted(sys.modules)]))
"""


def test_import_is_quick_and_loads_nothing_heavy():
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(seconds for seconds, _ in runs) < 0.5
    heavy = {"torch", "lightning", "pyvista", "vtk", "plotly", "xarray", "dask", "sklearn", "ase", "ipywidgets"}
    assert not heavy & set(runs[0][1])


def test_every_public_name_is_there():
    assert set(edviz.__all__) <= set(dir(edviz))
    for name in edviz.__all__:
        assert getattr(edviz, name) is not None


def test_unknown_names_are_attribute_errors():
    assert not hasattr(edviz, "no_such_name")

"""Time of ``import edviz`` in a fresh interpreter, beside an empty interpreter and the libraries it loads on demand."""

import subprocess
import sys

import pytest


@pytest.mark.benchmark(group="import, a fresh interpreter")
@pytest.mark.parametrize("statement", ["pass", "import edviz", "import xarray", "import torch"])
def test_import(benchmark, statement):
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", statement], check=True), rounds=5, warmup_rounds=1)

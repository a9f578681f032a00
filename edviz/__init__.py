"""edviz: see, measure and learn the motion of electron densities.

The public names are imported when they are first used, so that ``import edviz`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edviz import errors

if TYPE_CHECKING:
    from edviz.analysis.scorecard import Scorecard, evaluate
    from edviz.emulator import DensityEmulator, load_emulator
    from edviz.grid import PeriodicGrid
    from edviz.io import open
    from edviz.samples import load_sample
    from edviz.training import TrainingConfig, TrainingRun, train
    from edviz.trajectory import DensityTrajectory
    from edviz.widgets.comparison import compare

__version__ = "0.1.0"

__all__ = [
    "DensityEmulator",
    "DensityTrajectory",
    "PeriodicGrid",
    "Scorecard",
    "TrainingConfig",
    "TrainingRun",
    "__version__",
    "compare",
    "errors",
    "evaluate",
    "load_emulator",
    "load_sample",
    "open",
    "train",
]

_HOME = {
    "compare": "edviz.widgets.comparison",
    "DensityEmulator": "edviz.emulator",
    "DensityTrajectory": "edviz.trajectory",
    "PeriodicGrid": "edviz.grid",
    "Scorecard": "edviz.analysis.scorecard",
    "TrainingConfig": "edviz.training",
    "TrainingRun": "edviz.training",
    "evaluate": "edviz.analysis.scorecard",
    "load_emulator": "edviz.emulator",
    "load_sample": "edviz.samples",
    "open": "edviz.io",
    "train": "edviz.training",
}


_ROOMS = ("analysis", "io", "models", "plotting", "samples", "training", "widgets")
"""Subpackages that ``edviz.<name>`` reaches without an import of their own."""


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"edviz.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'edviz' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

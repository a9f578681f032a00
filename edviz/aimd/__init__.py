"""Make a density trajectory: ab initio molecular dynamics with a real density-functional engine.

``edviz.aimd.run(edviz.aimd.liquid("Li", 8, 0.483), temperature=800, duration=100, out="run.h5")``
"""

from edviz.aimd.dftpy_engine import DFTpyEngine
from edviz.aimd.diagnostics import diagnose
from edviz.aimd.dynamics import run
from edviz.aimd.espresso_engine import EspressoEngine
from edviz.aimd.gpaw_engine import GPAWEngine
from edviz.aimd.plan import Stage
from edviz.aimd.progress import Report
from edviz.aimd.qepy_engine import QEpyEngine
from edviz.aimd.structures import liquid, solid
from edviz.aimd.upf import pseudopotential

__all__ = [
    "DFTpyEngine",
    "EspressoEngine",
    "GPAWEngine",
    "QEpyEngine",
    "Report",
    "Stage",
    "diagnose",
    "liquid",
    "pseudopotential",
    "run",
    "solid",
]

"""Pictures of trajectories: pyvista in three dimensions, plotly for slices and curves. No widget state, no torch."""

from edviz.plotting.histogram import plot_histogram
from edviz.plotting.isosurface import IsosurfacePicture, plot_isosurface
from edviz.plotting.report import write_report
from edviz.plotting.scorecard import plot_scorecard
from edviz.plotting.slices import plot_slice
from edviz.plotting.structure import plot_structure_factor

__all__ = [
    "IsosurfacePicture",
    "plot_histogram",
    "plot_isosurface",
    "plot_scorecard",
    "plot_slice",
    "plot_structure_factor",
    "write_report",
]

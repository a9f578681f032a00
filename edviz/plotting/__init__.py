"""Pictures of trajectories: pyvista in three dimensions, plotly for slices and curves. No widget state, no torch."""

from typing import TYPE_CHECKING

from edviz.lazy import lazily

if TYPE_CHECKING:
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

# The report takes the scorecard with it, half a second that a viewer's first frame would wait for.
__getattr__ = lazily(
    __name__,
    {
        "IsosurfacePicture": "isosurface",
        "plot_histogram": "histogram",
        "plot_isosurface": "isosurface",
        "plot_scorecard": "scorecard",
        "plot_slice": "slices",
        "plot_structure_factor": "structure",
        "write_report": "report",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

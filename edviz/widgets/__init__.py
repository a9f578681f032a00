"""Widgets for notebooks: look at a trajectory as it moves, and at two of them side by side.

Their front end is written in TypeScript (widgets/js) and comes built in widgets/static; nothing is fetched from a
network. They hold no measurements and no pictures of their own: those are in `edviz.analysis` and `edviz.plotting`.
"""

from typing import TYPE_CHECKING

from edviz.lazy import lazily

if TYPE_CHECKING:
    from edviz.widgets.aimd import AIMDPanel
    from edviz.widgets.comparison import ComparisonPanel
    from edviz.widgets.training import TrainingPanel
    from edviz.widgets.viewer import TrajectoryViewer, link

__all__ = ["AIMDPanel", "ComparisonPanel", "TrainingPanel", "TrajectoryViewer", "link"]

# The viewer does not wait for what the panels measure with.
__getattr__ = lazily(
    __name__,
    {
        "AIMDPanel": "aimd",
        "ComparisonPanel": "comparison",
        "TrainingPanel": "training",
        "TrajectoryViewer": "viewer",
        "link": "viewer",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

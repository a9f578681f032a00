"""A run to be killed: started by test_dynamics.py with the name of its file."""

from __future__ import annotations

import sys

import edviz

SETTINGS = {
    "temperature": 800,
    "timestep": 2.0,
    "duration": 40.0,
    "grid": (12, 12, 12),
    "seed": 7,
    "checkpoint_every": 4,
    "stages": (edviz.aimd.Stage("melt", 8.0, 1800.0, 0.02), "produce"),
    "engine_options": {"cutoff": 6.0},
}


def run(out: str, **changes: object) -> edviz.DensityTrajectory:
    """Two atoms, 4 + 20 steps."""
    return edviz.aimd.run(edviz.aimd.liquid("Li", 2, 0.483, seed=3), out=out, **(SETTINGS | changes))


if __name__ == "__main__":
    run(sys.argv[1])

"""Trajectories that the widgets' tests share with those of the pictures."""

from tests.plotting.conftest import gaussian, lumps

__all__ = ["gaussian", "lumps"]

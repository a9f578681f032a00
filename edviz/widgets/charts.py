"""The scripts and style sheets of panels that draw curves: static/charts.js in front of a panel's own."""

from __future__ import annotations

from pathlib import Path

__all__ = ["POINTS", "STATIC", "script", "thinned"]

STATIC = Path(__file__).parent / "static"
POINTS = 300
"""Points a curve, at most: the state is stored with the notebook."""


def script(name: str) -> str:
    """Source of a panel's module."""
    return "\n".join((STATIC / part).read_text(encoding="utf-8") for part in ("charts.js", name))


def thinned(values: list[float]) -> list[float]:
    """At most POINTS of them, the last one included."""
    every = -(-len(values) // POINTS)
    return values[(len(values) - 1) % every :: every] if values else []

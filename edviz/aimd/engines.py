"""Engines by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edviz.aimd.dftpy_engine import DFTpyEngine
from edviz.aimd.engine import Engine
from edviz.aimd.espresso_engine import EspressoEngine
from edviz.aimd.gpaw_engine import GPAWEngine
from edviz.aimd.qepy_engine import QEpyEngine
from edviz.errors import ArgumentError

__all__ = ["ENGINES", "engine_of"]

ENGINES: dict[str, Any] = {"qepy": QEpyEngine, "dftpy": DFTpyEngine, "espresso": EspressoEngine, "gpaw": GPAWEngine}
_WITHOUT_ELECTRON_TEMPERATURE = ("dftpy",)


def engine_of(engine: str | Engine, temperature: float, options: Mapping[str, Any] | None) -> Engine:
    """The engine that is meant, with electrons at the temperature (K) of the atoms unless the options say otherwise.

    Raises
    ------
    ArgumentError
        No such name, or options that the engine does not know.
    """
    if not isinstance(engine, str):
        if options:
            raise ArgumentError("engine_options go with the name of an engine; this one has its settings already")
        return engine
    if engine not in ENGINES:
        names = ", ".join(f"'{name}'" for name in ENGINES)
        raise ArgumentError(f"no engine '{engine}'; there are {names}, or give an object (see edviz.aimd.engine)")
    preset = {} if engine in _WITHOUT_ELECTRON_TEMPERATURE else {"electron_temperature": temperature}
    try:
        chosen: Engine = ENGINES[engine](**{**preset, **(options or {})})
    except TypeError as error:
        raise ArgumentError(f"engine_options: {error}") from error
    return chosen

"""Engines by name."""

from __future__ import annotations

import inspect
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
_METHODS = ("prepare", "start", "compute", "describe", "close")


def engine_of(engine: str | Engine, temperature: float, options: Mapping[str, Any] | None) -> Engine:
    """The engine that is meant, with electrons at the temperature (K) of the atoms unless the options say otherwise.

    Raises
    ------
    ArgumentError
        No such name, no engine, or options that the engine does not know.
    """
    if not isinstance(engine, str):
        if isinstance(engine, type) or any(not callable(getattr(engine, name, None)) for name in _METHODS):
            raise ArgumentError(
                f"engine is a name ({', '.join(map(repr, ENGINES))}) or an object with the methods "
                f"{', '.join(_METHODS)} (edviz.aimd.engine.Engine), such as edviz.aimd.QEpyEngine(cutoff=20); "
                f"got {engine!r}"
            )
        if options:
            raise ArgumentError("engine_options go with the name of an engine; this one has its settings already")
        return engine
    if engine not in ENGINES:
        names = ", ".join(f"'{name}'" for name in ENGINES)
        raise ArgumentError(f"no engine '{engine}'; there are {names}, or give an object (see edviz.aimd.engine)")
    if options is not None and not isinstance(options, Mapping):
        raise ArgumentError(f"engine_options is a dictionary, such as {{'cutoff': 20}}; got {options!r}")
    known = _settings_of(ENGINES[engine])
    for name in options or {}:
        if name not in known:
            raise ArgumentError(f"engine_options: '{engine}' has no setting {name!r}; it takes {', '.join(known)}")
    preset = {} if engine in _WITHOUT_ELECTRON_TEMPERATURE else {"electron_temperature": temperature}
    chosen: Engine = ENGINES[engine](**{**preset, **(options or {})})
    return chosen


def _settings_of(engine: type) -> list[str]:
    """What its constructor takes by name; with **settings also what that of its base takes."""
    names: list[str] = []
    for each in engine.__mro__:
        parameters = inspect.signature(vars(each).get("__init__", object)).parameters.values()
        names += [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in names]
        if parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names

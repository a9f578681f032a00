"""Numbers that a user gives: those that are none, or not of the kind meant, are refused by name.

What comes back is a plain float or int, whatever kind of number came: it goes into the file as JSON, and two runs with
800 and 800.0 are the same run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from edviz.errors import ArgumentError

__all__ = ["finite", "is_symbol", "kpoints_of", "positive", "symbols_of", "whole"]


def finite(label: str, value: Any) -> float:
    """Any real number."""
    if not _is_finite(value):
        raise ArgumentError(f"{label} is a number; got {value!r}")
    return float(value)


def positive(label: str, value: Any, unit: str = "", cure: str = "") -> float:
    """A number above zero; `unit` and `cure` go into the message."""
    if not (_is_finite(value) and value > 0):
        raise ArgumentError(
            f"{label} is a positive number{unit and f' in {unit}'}; got {value!r}{cure and f'. {cure}'}"
        )
    return float(value)


def whole(label: str, value: Any, least: int = 1) -> int:
    """A whole number from `least` on."""
    if not (_is_finite(value) and int(value) == value and value >= least):
        raise ArgumentError(f"{label} is a whole number from {least} on; got {value!r}")
    return int(value)


def kpoints_of(value: Any) -> str | tuple[int, int, int]:
    """ "mean", "gamma" or three whole numbers from 1 on."""
    if isinstance(value, str) and value in ("mean", "gamma"):
        return value
    if not isinstance(value, str) and isinstance(value, Sequence) and len(value) == 3:
        a, b, c = (whole("each of the three kpoints", n) for n in value)
        return a, b, c
    raise ArgumentError(f"kpoints is 'mean', 'gamma' or three whole numbers from 1 on; got {value!r}")


def is_symbol(value: Any) -> bool:
    """Whether an element has this symbol; ASE counts "X", no element, among them."""
    from ase.data import atomic_numbers

    return value in atomic_numbers and value != "X"


def symbols_of(label: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """A dictionary whose keys are chemical symbols: one misspelt would be passed over without a word."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ArgumentError(f"{label} is a dictionary from chemical symbols, such as {{'Li': ...}}; got {value!r}")
    for symbol in value:
        if not is_symbol(symbol):
            raise ArgumentError(f"{label}: {symbol!r} is no chemical symbol; write it as in the periodic table, 'Li'")
    return dict(value)


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)

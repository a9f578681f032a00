"""Goedecker-Teter-Hutter pseudopotentials: the bundled parameters and the functions they stand for.

In Hartree atomic units (S. Goedecker, M. Teter, J. Hutter, Phys. Rev. B 54, 1703 (1996))::

    V_loc(r)    = -Z/r erf(r / (sqrt2 r_loc)) + exp(-(r/r_loc)^2 / 2) sum_k C_k (r/r_loc)^(2k-2)
    p_i^l(r)    = sqrt2 r^(l+2i-2) exp(-(r/r_l)^2 / 2) / (r_l^(l+2i-1/2) sqrt(Gamma(l+2i-1/2)))
    V_nonlocal  = sum_lm sum_ij |p_i^l Y_lm> h_ij^l <p_j^l Y_lm|

Sources and licence of the numbers are in gth.txt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, gamma

from edviz.errors import FileFormatError, MissingDataError

__all__ = ["BUNDLED", "CUTOFFS", "GTHPotential", "bundled_elements", "read_gth"]

BUNDLED = Path(__file__).with_name("gth.txt")
#: Ry of the wave functions at which forces are within 0.05 eV/angstrom of those at twice as much, with PBE; so does
#: tests/aimd/test_cutoffs.py say.
CUTOFFS = {"Li": 12.0, "Na": 10.0, "Mg": 14.0, "Al": 23.0, "Si": 26.0, "H": 90.0, "C": 100.0, "O": 190.0}
_NAMES = {"PBE": "GTH-PBE", "LDA": "GTH-PADE"}


@dataclass(frozen=True)
class GTHPotential:
    """One pseudopotential.

    Attributes
    ----------
    element, name
        Such as "Li" and "GTH-PBE-q1".
    occupations
        Valence electrons in the s, p, ... shells.
    r_loc, c
        Range (bohr) and coefficients (Ha) of the local part.
    channels
        For l = 0, 1, ...: range (bohr) and the symmetric matrix h (Ha).
    """

    element: str
    name: str
    occupations: tuple[int, ...]
    r_loc: float
    c: tuple[float, ...]
    channels: tuple[tuple[float, NDArray[np.float64]], ...]

    @property
    def n_valence(self) -> int:
        """Valence electrons of the atom."""
        return sum(self.occupations)

    def local(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        """V_loc at radii r > 0 (bohr), in Ha."""
        x = r / self.r_loc
        gaussian = np.exp(-(x**2) / 2)
        return -self.n_valence / r * erf(x / np.sqrt(2)) + gaussian * sum(
            c * x ** (2 * k) for k, c in enumerate(self.c)
        )

    def projectors(self, l: int, r: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: E741 - the field's name
        """(n, len(r)) the functions r p_i^l(r) of one channel, bohr^(-1/2)."""
        r_l, h = self.channels[l]
        found = []
        for i in range(1, len(h) + 1):
            a = l + 2 * i - 0.5
            found.append(np.sqrt(2) * r ** (l + 2 * i - 1) * np.exp(-((r / r_l) ** 2) / 2) / (r_l**a * gamma(a) ** 0.5))
        return np.array(found).reshape(len(h), len(r))


def bundled_elements(xc: str = "PBE") -> list[str]:
    """Elements that `read_gth` knows for "PBE" or "LDA"."""
    return sorted({words[0] for words in _entries(BUNDLED) if words[1].startswith(_NAMES[xc] + "-")})


def read_gth(element: str, xc: str = "PBE", path: str | Path = BUNDLED) -> GTHPotential:
    """Read one potential from a file in CP2K's format.

    Parameters
    ----------
    element
        Chemical symbol.
    xc
        "PBE", "LDA", or the full name of an entry, such as "GTH-PBE-q3".
    path
        By default the parameters that come with edviz.

    Raises
    ------
    MissingDataError
        The file has no such entry; the message lists those of edviz and what else to do.
    FileFormatError
        The entry ends early or holds something that is no number.
    """
    path = Path(path)
    name = _NAMES.get(xc, xc)
    lines = [line.split("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines()]
    for number, words in enumerate(lines):
        if len(words) >= 2 and words[0] == element and any(w == name or w.startswith(name + "-q") for w in words[1:]):
            try:
                return _parse(element, words[1], iter([line for line in lines[number + 1 :] if line]))
            except (StopIteration, ValueError, IndexError) as error:
                raise FileFormatError(
                    f"{path}, line {number + 1}: the entry {words[1]} of {element} is damaged"
                ) from error
    known = ", ".join(f"{xc}: {' '.join(bundled_elements(xc))}" for xc in _NAMES)
    raise MissingDataError(
        f"no pseudopotential {name} for {element} in {path.name}. edviz brings GTH potentials for {known}. For "
        f"another element give a UPF file of your own: "
        f"engine_options={{'pseudopotentials': {{'{element}': 'path/to/file.UPF'}}}}"
    )


def _entries(path: Path) -> Iterator[list[str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split("#")[0].split()
        if len(words) >= 2 and words[0].isalpha():
            yield words


def _parse(element: str, name: str, lines: Iterator[list[str]]) -> GTHPotential:
    occupations = tuple(int(x) for x in next(lines))
    words = next(lines)
    r_loc, n_c = float(words[0]), int(words[1])
    c = tuple(float(x) for x in words[2 : 2 + n_c])
    channels = []
    for _ in range(int(next(lines)[0])):
        words = next(lines)
        r_l, n = float(words[0]), int(words[1])
        h = np.zeros((n, n))
        row = words[2:]
        for i in range(n):
            h[i, i:] = [float(x) for x in (row if i == 0 else next(lines))][: n - i]
        channels.append((r_l, h + np.triu(h, 1).T))
    return GTHPotential(element, name, occupations, r_loc, c, tuple(channels))

"""Cube files of Gaussian, ORCA, Psi4, CP2K and Quantum ESPRESSO's pp.x: read and written.

Two titles; number of atoms and origin; three lines of a number of points and the step along that axis (steps, so the
cell is points times step); the atoms; the values, the last axis fastest, lines starting anew after each run along it.
Points given as negative numbers mean angstrom, else bohr. A negative number of atoms announces a list of orbitals,
whose values stand side by side at each point; a fifth number in the third line says how many values a point has.
CP2K can append: a file then holds several such cubes, the frames of a run. Source: Gaussian's cubegen page and h5cube's
"Gaussian CUBE file format".

A file does not say what its field is nor whether it is periodic. Here:

- An orbital list means ``orbital``; else the options `density_kind` and `units` decide; else it is a density in
  e/bohr^3, ``valence`` if the column of nuclear charges shows pseudopotentials or the integral falls short of the
  nuclei's charge by more than a tenth, else ``total``. Titles that speak of something else are refused without them.
- Orbital lists and files with an origin other than zero are molecules, not periodic; codes with periodic cells put the
  origin at zero. `periodic=` says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edviz.errors import ArgumentError, FileFormatError, UnitsError
from edviz.io.lazy import FrameHeader, identity
from edviz.io.numbers import check_count, jump_block, read_block
from edviz.io.text import Text
from edviz.schema import BOHR, DENSITY_KINDS, ELECTRON_KINDS

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["UNITS", "decide", "headers", "write"]

HARTREE = 27.211386245981  # eV, CODATA 2022

#: kind -> unit in the file -> factor to the schema's unit; the first is what cube files usually hold.
UNITS: dict[str, dict[str, float]] = {
    "potential": {"hartree": HARTREE, "rydberg": HARTREE / 2, "eV": 1.0},
    "orbital": {"bohr^-1.5": BOHR**-1.5, "angstrom^-1.5": 1.0},
    "elf": {"1": 1.0},
} | {kind: {"e/bohr^3": BOHR**-3, "e/angstrom^3": 1.0} for kind in ELECTRON_KINDS}

_TAG = re.compile(r"edviz density_kind=(\w+) periodic=([01])([01])([01])")
_OTHER = re.compile(
    r"potential|\besp\b|hartree|orbital|\bmo\b|\bpsi|wave ?function|\belf\b|spin dens|difference|deformation|gradient"
    r"|laplac",
    re.IGNORECASE,
)


@dataclass
class _Header:
    """The head of a cube file."""

    titles: tuple[str, str]
    shape: tuple[int, int, int]
    cell: NDArray[np.float64]
    origin: NDArray[np.float64]
    numbers: NDArray[np.int64]
    charges: NDArray[np.float64]
    positions: NDArray[np.float64]
    orbitals: list[int]
    n_values: int
    #: Where it starts and where its values do: byte offset and lines before.
    head: tuple[int, int]
    place: tuple[int, int]


def _frames(path: str) -> list[tuple[_Header, int | None]]:
    """The heads of the cubes in a file, each with the offset of the next one; None for the last.

    Programs that append (CP2K) put one whole cube after the other. Where the next one starts follows from the even
    columns of the values, so a packed file, or one without them, counts as a single cube; its reader notices what
    follows.
    """
    found = [_header(path, (0, 0))]
    while (place := _next(path, found[-1])) is not None:
        try:
            found.append(_header(path, place))
        except FileFormatError:
            if len(found) == 1:  # no second cube: a damaged file, of which the values tell more
                break
            raise
    places = [header.head[0] for header in found[1:]]
    return list(zip(found, [*places, None], strict=True))


def _next(path: str, header: _Header) -> tuple[int, int] | None:
    """Where the next cube would start: byte offset and lines before it; None if nothing but blanks follows."""
    na, nb, nc = header.shape
    with Text(path, *header.place) as text:
        if text.size is None or not jump_block(text, na * nb * nc * header.n_values, run=nc * header.n_values):
            return None
        place = text.offset, text.line_number
        while raw := text.raw_line():
            if raw.strip():
                return place
    return None


def _header(path: str, head: tuple[int, int]) -> _Header:
    with Text(path, *head) as text:
        titles = (_title(text.line("the first title")), _title(text.line("the second title")))
        third = text.line("number of atoms and origin").split()
        if len(third) not in (4, 5):
            text.fail(f"{len(third)} words where number of atoms, origin and perhaps the values a point should be")
        n_atoms = text.integer(third[0], "number of atoms", -(10**8), 10**8)
        origin = np.array(text.numbers_of(third[1:4], "origin"))
        n_values = text.integer(third[4], "values a point", 1, 10**6) if len(third) == 5 else 1
        points, steps = [], []
        for axis in "abc":
            tokens = text.line(f"points and step along {axis}").split()
            if len(tokens) != 4:
                text.fail(f"{len(tokens)} words where points and step along {axis} should be")
            points.append(text.integer(tokens[0], f"points along {axis}", -(1 << 24), 1 << 24))
            steps.append(text.numbers_of(tokens[1:], f"step along {axis}"))
        if 0 in points or len({n < 0 for n in points}) > 1:
            text.fail(f"{points} points: all positive (lengths in bohr) or all negative (angstrom)")
        length = 1.0 if points[0] < 0 else BOHR
        shape = (abs(points[0]), abs(points[1]), abs(points[2]))
        cell = np.array(shape)[:, None] * np.array(steps) * length
        volume = float(np.linalg.det(cell))
        if not np.isfinite(volume) or volume <= 0:
            text.fail(f"the axes have the triple product {volume:.6g} angstrom^3; it must be positive")
        check_count(text, 5 * abs(n_atoms), "numbers of atoms")
        atoms = np.empty((abs(n_atoms), 5))
        for i in range(len(atoms)):
            atoms[i] = text.floats("an atom: number, charge and position", 5, 5)
        numbers = atoms[:, 0].astype(np.int64)
        if (numbers != atoms[:, 0]).any() or ((numbers < 0) | (numbers > 118)).any():
            text.fail("an atomic number is not between 0 and 118")
        orbitals: list[int] = []
        if n_atoms < 0:
            tokens = text.line("the list of orbitals").split()
            count = text.integer(tokens[0], "number of orbitals", 1, 10**6) if tokens else 0
            check_count(text, count, "orbitals")
            while len(tokens) < count + 1 or not tokens:
                tokens += text.line("the list of orbitals").split()
            if len(tokens) > count + 1:
                text.fail(f"{len(tokens) - 1} numbers of orbitals where {count} are announced")
            orbitals = [text.integer(token, "number of an orbital", -(10**9), 10**9) for token in tokens[1:]]
            if n_values not in (1, count):
                text.fail(f"{count} orbitals, but the third line says {n_values} values a point")
            n_values = count
        total = shape[0] * shape[1] * shape[2] * n_values
        if total > 1 << 42:
            text.truncated(f"{total} values are more than any file holds")
        check_count(text, total)
        real = numbers > 0  # ghost atoms have number 0: they carry basis functions, no nucleus
        return _Header(
            titles,
            shape,
            cell,
            origin * length,
            numbers[real],
            atoms[real, 1],
            atoms[real, 2:] * length,
            orbitals,
            n_values,
            head,
            (text.offset, text.line_number),
        )


def _title(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip()


def headers(
    path: Path,
    *,
    density_kind: str | None = None,
    units: str | None = None,
    orbital: int | None = None,
    value: int | None = None,
    periodic: Sequence[int] | None = None,
) -> list[FrameHeader]:
    """Describe the frames of a file: one, or several cubes one after the other.

    Parameters
    ----------
    path
        The file.
    density_kind
        What the field is.
    units
        Unit of the values in the file: "e/bohr^3" or "e/angstrom^3" for densities, "hartree", "rydberg" or "eV" for
        potentials, "bohr^-1.5" or "angstrom^-1.5" for orbitals. The first of each is the default.
    orbital
        Which orbital of several, by its number in the file's list.
    value
        Which of several values a point (without an orbital list), from 0.
    periodic
        Flags along the three axes.

    Raises
    ------
    FileFormatError, TruncatedFileError, NonFiniteError
        Naming file and line.
    ArgumentError
        If only an option can say what the field is, or an option does not fit.
    """
    frames = _frames(str(path))
    header = frames[0][0]
    index = _chosen(path, header, orbital, value)
    for one, _ in frames[1:]:
        if (one.orbitals, one.n_values) != (header.orbitals, header.n_values):
            raise FileFormatError(
                f"{path}, line {one.head[1] + 1}: this cube has {one.n_values} values a point (orbitals "
                f"{one.orbitals}), the first one of the file {header.n_values} ({header.orbitals})"
            )
    titles = " ".join(dict.fromkeys(title for one, _ in frames for title in one.titles))
    tag = _TAG.search(titles)
    kind = density_kind or ("orbital" if header.orbitals else tag[1] if tag else None)
    if kind is not None and kind not in DENSITY_KINDS:
        raise ArgumentError(f"{path}: density_kind '{kind}' is unknown; choose one of {', '.join(DENSITY_KINDS)}")
    if kind is None and (word := _OTHER.search(titles)):
        raise ArgumentError(
            f"{path}: the title '{titles[:80]}' speaks of '{word[0]}', so this may be no density. Say what it is: "
            'density_kind="potential" | "orbital" | "elf" | "valence" | "total"'
        )
    known = UNITS[kind or "valence"]
    if units is None:
        if kind == "potential" and "PWScf" in titles:
            raise ArgumentError(f'{path}: pp.x writes potentials in Rydberg: confirm with units="rydberg"')
        units = next(iter(known))
    if units not in known:
        raise ArgumentError(f"{path}: units '{units}' is none of {', '.join(known)}, those of a field of kind '{kind}'")
    if periodic is None:
        molecule = bool(header.orbitals) or np.abs(header.origin).max() > 1e-6
        flags = [int(tag[i]) for i in (2, 3, 4)] if tag else [0 if molecule else 1] * 3
    else:
        flags = [int(bool(flag)) for flag in periodic]
        if len(flags) != 3:
            raise ArgumentError(f"periodic= has three flags, one an axis; got {periodic}")
    attrs = {"orbital": header.orbitals[index]} if header.orbitals else {}
    source = "; ".join(title for title in header.titles if title and not _TAG.search(title))
    return [
        FrameHeader(
            path=str(path),
            shape=one.shape,
            cell=one.cell,
            values=_Reader(
                str(path), identity(path), one.shape, one.n_values, index, one.place, following, known[units]
            ),
            density_kind=kind,
            numbers=one.numbers,
            positions=one.positions,
            periodic=(flags[0], flags[1], flags[2]),
            origin=one.origin,
            source=f"cube: {source}" if source else "cube",
            attrs=attrs,
            decide=partial(decide, str(path), one.numbers, one.charges),
        )
        for one, following in frames
    ]


def _chosen(path: Path, header: _Header, orbital: int | None, value: int | None) -> int:
    """Which of the values at a point."""
    if header.orbitals:
        if value is not None:
            raise ArgumentError(f"{path} lists orbitals: choose with orbital=, one of {header.orbitals}")
        if orbital is None and len(header.orbitals) == 1:
            return 0
        if orbital not in header.orbitals:
            raise ArgumentError(f"{path} holds the orbitals {header.orbitals}: choose one with orbital=; got {orbital}")
        return header.orbitals.index(orbital)
    if orbital is not None:
        raise ArgumentError(f"{path} lists no orbitals: orbital={orbital} chooses nothing")
    if value is None and header.n_values > 1:
        last = header.n_values - 1
        raise ArgumentError(f"{path} holds {header.n_values} values a point: choose one, value=0 to {last}")
    if value is not None and not 0 <= value < header.n_values:
        raise ArgumentError(f"{path}: value {value} of {header.n_values} a point")
    return value or 0


def decide(
    path: str, numbers: NDArray[np.int64], charges: NDArray[np.float64], values: NDArray[np.float32], electrons: float
) -> str:
    """Valence or total, or a complaint that it is neither."""
    low, high = float(values.min()), float(values.max())
    if low < -0.1 * abs(high) or electrons <= 0:
        raise UnitsError(
            f"{path}: values from {low:.3g} to {high:.3g} are no electron density. Say what the field is: "
            'density_kind="potential" | "orbital" | "elf"'
        )
    pseudo = charges.any() and not np.allclose(charges, numbers)
    return "valence" if pseudo or electrons < 0.9 * numbers.sum() else "total"


@dataclass
class _Reader:
    """Reads the values."""

    path: str
    identity: tuple[int, int, int]
    shape: tuple[int, int, int]
    n_values: int
    index: int
    place: tuple[int, int]
    #: Where the next cube of the file starts.
    following: int | None
    scale: float

    def __call__(self, name: str) -> NDArray[Any]:
        if identity(self.path) != self.identity:
            raise FileFormatError(f"{self.path} was replaced since it was opened: open it again")
        na, nb, nc = self.shape
        with Text(self.path, *self.place) as text:
            values = read_block(text, na * nb * nc * self.n_values, run=nc * self.n_values, scale=self.scale)
            if self.following is not None:
                if text.offset != self.following:
                    text.fail("the values end elsewhere than their columns promised: lines are doubled or lost")
            else:
                while raw := text.raw_line():
                    if raw.strip():
                        text.fail(
                            "more follows the values: lines are doubled, or several cubes are in one file, which then "
                            "must not be packed and have even columns"
                        )
        values = values.reshape(na, nb, nc, self.n_values)
        return values[..., 0] if self.n_values == 1 else values[..., self.index].copy()


def write(traj: DensityTrajectory, path: Path, digits: int = 5) -> None:
    """Write one frame in bohr and atomic units.

    Parameters
    ----------
    traj, path
        One frame, and where to.
    digits
        Digits of each value; 5 is what Gaussian writes and every program reads.

    Raises
    ------
    ArgumentError
        If there are several frames, or digits is not between 3 and 15.
    WriteError
        If the disk refuses.
    """
    from edviz.io.atomic import replacing
    from edviz.io.printing import fortran_lines
    from edviz.io.single import one_frame

    if not 3 <= digits <= 15:
        raise ArgumentError(f"digits is between 3 and 15; got {digits}")
    frame = one_frame(traj, path)
    ds, kind = frame.ds, frame.density_kind
    flags = "".join(str(int(flag)) for flag in ds.attrs["periodic"])
    source = str(ds.attrs.get("source", "")).split("\n")[0].removeprefix("cube: ")[:70]
    numbers = ds["numbers"].values if "positions" in ds else np.empty(0, dtype=np.int64)
    positions = ds["positions"].values[0] if "positions" in ds else np.empty((0, 3))
    count = -len(numbers) if kind == "orbital" and len(numbers) else len(numbers)

    def line(first: int, values: Any) -> str:
        return f"{first:5d}" + "".join(f"{x:18.12f}" for x in values)

    lines = [source.encode("ascii", "replace").decode() or "electron density", ""]
    lines[1] = f"edviz density_kind={kind} periodic={flags}, {next(iter(UNITS[kind]))}"
    lines.append(line(count, np.asarray(ds.attrs["origin"], dtype=float) / BOHR))
    lines += [line(n, side / n / BOHR) for n, side in zip(frame.grid.shape, frame.grid.cell, strict=True)]
    lines += [line(int(z), (float(z), *(x / BOHR))) for z, x in zip(numbers, positions, strict=True)]
    if count < 0:
        lines.append(f"{1:5d}{int(ds.attrs.get('orbital', 1)):5d}")
    scale = 1 / next(iter(UNITS[kind].values()))
    with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
        file.write(("\n".join(lines) + "\n").encode())
        flat = ds["density"].values[0].reshape(-1)
        pieces = fortran_lines(flat, per_line=6, digits=digits, width=digits + 8, scale=scale, run=frame.grid.shape[2])
        for piece in pieces:
            file.write(piece)

"""VASP's scalar fields in text: CHGCAR, CHG, PARCHG, AECCAR0 and 2, LOCPOT, ELFCAR; CHGCAR is written too.

All have a POSCAR as header, then for each field three grid sizes and the values, the first axis fastest. Charge files
hold density times cell volume, so their values average to the number of electrons; LOCPOT (eV) and ELFCAR do not. A
spin-polarised charge file has a second field, up minus down; a non-collinear one three more, the magnetization along
x, y and z. After each charge in CHGCAR stand the PAW one-centre occupancies, which a restart of VASP needs: they are
kept word for word as the variable `augmentation` (time, part) and written back. Source: the VASP wiki pages CHGCAR,
CHG, LOCPOT, ELFCAR, AECCAR and POSCAR.

Content cannot tell which of these a file is: its name does, else it counts as a valence density. `density_kind=` says
otherwise. ``edviz.open("AECCAR0", density_kind="total")`` adds AECCAR0 and AECCAR2 of the folder: core plus valence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edviz._processors import available_processors
from edviz.errors import ArgumentError, EdvizError, FileFormatError, GridMismatchError, MissingDataError, SchemaError
from edviz.io.compression import SUFFIXES
from edviz.io.compression import kind as packed_by
from edviz.io.lazy import FrameHeader, identity
from edviz.io.numbers import check_count, jump_block, read_block, read_pieces, skip_block
from edviz.io.text import Text, shown
from edviz.schema import DENSITY_KINDS, ELECTRON_KINDS

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["headers", "kind_of", "write"]

#: Start of the file's name -> kind. AECCAR1, the overlapping atomic charges, is none of the schema's kinds.
KINDS = {
    "AECCAR0": "core",
    "AECCAR2": "valence",
    "PARCHG": "partial",
    "LOCPOT": "potential",
    "ELFCAR": "elf",
    "CHGCAR": "valence",
    "CHG": "valence",
}
_MOST_POINTS = 1 << 40
#: A multiple of the numbers a line, whatever the grid; sixteen and more fill a line of the processor's cache.
_PLANES = 20
#: Bytes of values that are worth a thread, which needs less than twice as much to work in.
_LEAST_PART = 2_000_000


def kind_of(path: Path) -> str | None:
    """The kind of field that a file's name says, such as "potential" for LOCPOT_003.gz; None if it says none."""
    name = Path(path).name.upper()
    return next((kind for start, kind in KINDS.items() if start in name), None)


# The header ---------------------------------------------------------------------------------------------------


@dataclass
class _Poscar:
    """The structure at the head of a file."""

    title: bytes
    scale: bytes
    cell: NDArray[np.float64]
    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]


def _scaled(text: Text, factors: Sequence[float], cell: NDArray[np.float64]) -> tuple[NDArray[np.float64], Any]:
    """The cell in angstrom, and the factors that Cartesian positions get."""
    factor: Any = np.array(factors) if len(factors) == 3 else factors[0]
    if len(factors) == 1 and factors[0] < 0:
        volume = abs(float(np.linalg.det(cell)))
        if not volume > 0:
            text.fail("the lattice vectors span no volume")
        factor = (-factors[0] / volume) ** (1 / 3)
    if np.any(np.asarray(factor) <= 0):
        text.fail(
            f"the scale of the lattice is {' '.join(map(str, factors))}; it must be positive, or minus the volume"
        )
    cell = cell * factor
    volume = float(np.linalg.det(cell))
    if not np.isfinite(volume) or volume <= 0:
        text.fail(
            f"the lattice vectors have the triple product {volume:.6g} angstrom^3; it must be positive: exchange two "
            "of them, and the grid's axes with them"
        )
    return cell, factor


def _atomic_number(symbol: bytes) -> int:
    """Li, Li_sv, Li_sv/abc123, H.75: the element in front; 0 if there is none."""
    from ase.data import atomic_numbers

    match = re.match(rb"([A-Z][a-z]?)(?![a-z])", symbol)
    return atomic_numbers.get(match[1].decode(), 0) if match else 0


def _species(text: Text, title: bytes, species: Sequence[str] | None) -> NDArray[np.int64]:
    """(atom,) atomic numbers, from symbols and counts; the text stands behind the counts."""
    line = text.line("the species or their counts")
    symbols: list[bytes] = []
    while line.split() and not line.split()[0].lstrip(b"-").isdigit():
        symbols += line.split()
        line = text.line("the counts of the species")
        if len(symbols) > 10_000:
            text.fail("no line of counts follows the species")
    tokens = line.split()
    while len(tokens) < len(symbols):
        more = text.line("the counts of the species").split()
        if not more:
            text.fail(f"{len(symbols)} species but {len(tokens)} counts")
        tokens += more
    counts = [text.integer(token, "count of a species", 0, 10**9) for token in tokens]
    if not counts or (symbols and len(symbols) != len(counts)):
        text.fail(f"{len(symbols)} species but {len(counts)} counts")
    if species is not None:
        symbols = [one.encode() for one in species]
        if len(symbols) != len(counts):
            raise ArgumentError(f"{text.path} has {len(counts)} species, species= names {len(symbols)}")
    elif not symbols:
        symbols = title.split()[: len(counts)]
        if len(symbols) < len(counts) or not all(map(_atomic_number, symbols)):
            text.fail(
                f"a VASP 4 header names no elements, and its title '{shown(title)}' does not either: name them, "
                'edviz.open(..., species=["Li", "O"])'
            )
    numbers = [_atomic_number(symbol) for symbol in symbols]
    if 0 in numbers:
        text.fail(f"'{shown(symbols[numbers.index(0)])}' is no chemical element")
    n_atoms = sum(counts)
    check_count(text, 3 * n_atoms, "coordinates of atoms")
    if n_atoms > 10**8:
        text.fail(f"{n_atoms} atoms")
    return np.repeat(np.array(numbers, dtype=np.int64), counts)


def _poscar(text: Text, species: Sequence[str] | None) -> _Poscar:
    title = text.line("the title")
    line = text.line("the scale of the lattice")
    tokens = line.split()
    if len(tokens) not in (1, 3):
        text.fail(f"{len(tokens)} words where the scale of the lattice should be, one number or three")
    factors = text.numbers_of(tokens, "scale of the lattice")
    rows = [text.floats("a lattice vector", 3, 3) for _ in range(3)]
    cell, factor = _scaled(text, factors, np.array(rows))
    numbers = _species(text, title, species)
    mode = text.line("Direct or Cartesian").strip()
    if mode[:1].lower() == b"s":
        mode = text.line("Direct or Cartesian").strip()
    if mode[:1].lower() not in (b"d", b"c", b"k"):
        text.fail(f"'{shown(mode)}' where Direct or Cartesian should be")
    # Selective dynamics, and some programs' labels, put words behind the coordinates.
    coordinates = np.empty((len(numbers), 3))
    for i in range(len(numbers)):
        coordinates[i] = text.floats("coordinates of an atom", 3)
    positions = coordinates @ cell if mode[:1].lower() == b"d" else coordinates * factor
    return _Poscar(title.strip(), line.strip(), cell, numbers, positions)


def _grid_line(text: Text, line: bytes) -> tuple[int, int, int]:
    tokens = line.split()
    if len(tokens) != 3:
        text.fail(f"'{shown(line.strip())}' where three grid sizes should be (a POSCAR alone has none)")
    na, nb, nc = (text.integer(token, "grid size", 1, 1 << 24) for token in tokens)
    if na * nb * nc > _MOST_POINTS:
        text.truncated(f"a grid of {na} x {nb} x {nc} points is more than any file holds")
    return na, nb, nc


# The frames of a file -----------------------------------------------------------------------------------------

Place = tuple[int, int]  # byte offset and lines before it


@dataclass
class _Frame:
    """Where the parts of one frame are."""

    poscar: _Poscar
    shape: tuple[int, int, int]
    blocks: list[Place] = field(default_factory=list)
    ends: list[Place] = field(default_factory=list)
    #: Whether one-centre occupancies follow the first field.
    augmented: bool = False
    #: Of a packed file whose header alone was read.
    rest_unknown: bool = False


def _first_block(text: Text, species: Sequence[str] | None) -> _Frame:
    """Header and grid of the frame that starts here; the text stands at its first value."""
    poscar = _poscar(text, species)
    line = text.line("the grid")
    while not line.strip():
        line = text.line("the grid")
    shape = _grid_line(text, line)
    check_count(text, shape[0] * shape[1] * shape[2])
    return _Frame(poscar, shape, [(text.offset, text.line_number)])


def _is_integers(line: bytes) -> bool:
    tokens = line.split()
    return len(tokens) == 3 and all(token.isdigit() for token in tokens)


def _after_block(text: Text, frame: _Frame, first: _Poscar) -> str:
    """Go over what follows a field; "grid" (the text stands behind its sizes), "frame" (before its title) or "end"."""
    moments = 0
    while True:
        raw = text.raw_line()
        if not raw:
            return "end"
        line = raw.strip()
        if line == first.title:
            following = text.raw_line()
            text.push_back(following)
            if following.strip() == first.scale:
                text.push_back(raw)
                return "frame"
        if not line:
            continue
        if line.startswith(b"augmentation occupancies"):
            if len(frame.blocks) == 1:
                frame.augmented = True
            _augmentation(text, line)
        elif _is_integers(line):
            if _grid_line(text, line) != frame.shape:
                text.fail(f"a second field on another grid, {line.decode()}, than the first, {frame.shape}")
            if moments not in (0, len(frame.poscar.numbers), 3 * len(frame.poscar.numbers)):
                text.fail(f"{moments} numbers after a field, where moments of {len(frame.poscar.numbers)} atoms may be")
            check_count(text, frame.shape[0] * frame.shape[1] * frame.shape[2])
            return "grid"
        else:
            moments += len(text.numbers_of(line.split(), "after a field"))
            if moments > 3 * len(frame.poscar.numbers):
                text.fail(
                    "more numbers than the grid has points, or a title that differs from that of the first frame: "
                    "lines are doubled or lost"
                )


def _augmentation(text: Text, line: bytes) -> None:
    """Check and go over the occupancies of one atom; `line` is their heading."""
    tokens = line.split()
    if len(tokens) < 4 or not tokens[-1].isdigit() or not tokens[-2].isdigit():
        text.fail(f"'{shown(line)}' is no heading of augmentation occupancies")
    count = text.integer(tokens[-1], "number of occupancies", 0, 1 << 24)
    check_count(text, count, "occupancies")
    found = 0
    while found < count:
        found += len(text.numbers_of(text.line("augmentation occupancies").split(), "augmentation occupancy"))
    if found > count:
        text.fail(f"{found} augmentation occupancies where the heading says {count}")


def _scan(path: str, species: Sequence[str] | None, quick: bool = True) -> list[_Frame]:
    """Find the frames of a file and their parts; values are jumped over (`quick`) or read."""
    frames: list[_Frame] = []
    with Text(path) as text:
        what = "frame"
        while what != "end":
            if what == "frame":
                frames.append(_first_block(text, species))
            else:
                frames[-1].blocks.append((text.offset, text.line_number))
            frame = frames[-1]
            count = frame.shape[0] * frame.shape[1] * frame.shape[2]
            if not quick:
                skip_block(text, count, strict=True)
            elif not jump_block(text, count):
                return _scan(path, species, quick=False)
            frame.ends.append((text.offset, text.line_number))
            try:
                what = _after_block(text, frame, frames[0].poscar)
            except FileFormatError:
                if quick:  # the columns may not be as even as the first line promised
                    return _scan(path, species, quick=False)
                raise
    if any(len(frame.blocks) != len(frames[0].blocks) for frame in frames):
        odd = next(i for i, frame in enumerate(frames) if len(frame.blocks) != len(frames[0].blocks))
        raise FileFormatError(
            f"{path}, line {frames[odd].blocks[0][1]}: frame {odd} has {len(frames[odd].blocks)} fields, frame 0 has "
            f"{len(frames[0].blocks)}"
        )
    if len(frames[0].blocks) not in (1, 2, 4):
        raise FileFormatError(f"{path} has {len(frames[0].blocks)} fields a frame; VASP writes 1, 2 or 4")
    return frames


# Reading ------------------------------------------------------------------------------------------------------


def headers(
    path: Path,
    *,
    density_kind: str | None = None,
    component: int | None = None,
    species: Sequence[str] | None = None,
    like: FrameHeader | None = None,
) -> list[FrameHeader]:
    """Describe the frames of a file.

    Parameters
    ----------
    path
        The file. A CHG of a run of molecular dynamics holds several frames.
    density_kind
        What the field is, where the name (CHGCAR, LOCPOT, ...) does not say or says wrong. "total" for AECCAR0 or
        AECCAR2: the sum of the two files.
    component
        Which field of a LOCPOT or ELFCAR with one for each spin, from 0.
    species
        Chemical symbols for a VASP 4 header, which has none.
    like
        A frame of the same series: a packed file then counts as made of the same parts, and only its header is read.

    Raises
    ------
    FileFormatError, TruncatedFileError, NonFiniteError
        Naming file and line.
    ArgumentError
        An option that does not fit.
    """
    name = str(path)
    kind = density_kind or kind_of(path)
    if kind is None and "AECCAR1" in path.name.upper():
        raise ArgumentError(f"{path}: AECCAR1 holds overlapping atomic charges; say what to take it for, density_kind=")
    kind = kind or "valence"
    if kind not in DENSITY_KINDS:
        raise ArgumentError(f"density_kind '{kind}' is unknown; choose one of {', '.join(DENSITY_KINDS)}")
    if kind == "orbital":
        raise ArgumentError(f"{path}: VASP writes no orbitals; density_kind is one of the others")
    if like is not None and packed_by(path):
        with Text(path) as text:
            frame = _first_block(text, species)
        frame.rest_unknown = True
        frame.blocks += [(0, 0)] * like.components
        frame.augmented = bool(like.lazy)
        frames = [frame]
    else:
        frames = _scan(name, species)
    if kind in ELECTRON_KINDS:
        if component is not None:
            raise ArgumentError(
                "component= is for LOCPOT and ELFCAR; a charge file's fields are density and magnetization"
            )
        first = [_describe(name, frame, kind, 0, len(frame.blocks) - 1, species) for frame in frames]
        if kind == "total" and density_kind and (other := _other_aeccar(path)):
            return [
                _sum(a, b) for a, b in zip(first, headers(other, density_kind="core", species=species), strict=True)
            ]
        return first
    n_blocks = len(frames[0].blocks)
    if component is None and n_blocks > 1:
        raise ArgumentError(f"{path} holds {n_blocks} fields, one a spin: choose one, component=0 to {n_blocks - 1}")
    if component is not None and not 0 <= component < n_blocks:
        raise ArgumentError(f"{path}: component {component} of {n_blocks}")
    return [_describe(name, frame, kind, component or 0, 0, species) for frame in frames]


def _describe(
    path: str, frame: _Frame, kind: str, block: int, components: int, species: Sequence[str] | None
) -> FrameHeader:
    reader = _Reader(path, identity(path), frame, kind in ELECTRON_KINDS, block, components, species)
    lazy: dict[str, Any] = {}
    if frame.augmented and kind in ELECTRON_KINDS:
        lazy["augmentation"] = (("part",), (1 + components,), object, {})
    title = frame.poscar.title.decode("utf-8", "replace")
    return FrameHeader(
        path=path,
        shape=frame.shape,
        cell=frame.poscar.cell,
        values=reader,
        density_kind=kind,
        numbers=frame.poscar.numbers,
        positions=frame.poscar.positions,
        components=components,
        source=f"VASP: {title}" if title else "VASP",
        lazy=lazy,
    )


@dataclass
class _Reader:
    """Reads one field of one frame by its name."""

    path: str
    identity: tuple[int, int, int]
    frame: _Frame
    times_volume: bool
    block: int
    components: int
    species: Sequence[str] | None

    def __call__(self, name: str) -> NDArray[Any]:
        if identity(self.path) != self.identity:
            raise FileFormatError(f"{self.path} was replaced since it was opened: open it again")
        if self.frame.rest_unknown and name != "density":
            self._find_rest()
        if name == "density":
            return self._field(self.block)
        if name == "magnetization":
            return np.stack([self._field(1 + i) for i in range(self.components)])
        return np.array([self._augmentation(i) for i in range(1 + self.components)], dtype=object)

    def _find_rest(self) -> None:
        frames = _scan(self.path, self.species)
        if len(frames) != 1 or len(frames[0].blocks) != 1 + self.components:
            raise GridMismatchError(
                f"{self.path} holds {len(frames)} frames of {len(frames[0].blocks)} fields, the first file of the "
                f"series one frame of {1 + self.components}"
            )
        self.frame = frames[0]

    def _field(self, block: int) -> NDArray[np.float32]:
        na, nb, nc = self.frame.shape
        scale = 1 / float(np.linalg.det(self.frame.poscar.cell)) if self.times_volume else 1.0
        with Text(self.path, *self.frame.blocks[block]) as text:
            if text.left is None:
                flat = read_block(text, na * nb * nc, strict=True, scale=scale)
                values = np.ascontiguousarray(flat.reshape(nc, nb, na).transpose(2, 1, 0))
            else:
                check_count(text, na * nb * nc)
                values = np.empty((na, nb, nc), dtype=np.float32)
                if block < len(self.frame.ends) and self._in_parts(text, values, block, scale):
                    return values
                self._planes(text, values, scale)
            if block < len(self.frame.ends) and text.offset != self.frame.ends[block][0]:
                text.fail("the values end elsewhere than their columns promised: lines are doubled or lost")
        return values

    def _planes(self, text: Text, values: NDArray[np.float32], scale: float) -> None:
        """Read values (na, nb, planes) from where the text stands, some planes at a time: no second copy is needed."""
        na, nb, nc = values.shape
        first = 0
        for piece in read_pieces(text, na * nb * nc, _PLANES * na * nb, strict=True, scale=scale):
            planes = piece.reshape(-1, nb, na)
            values[:, :, first : first + len(planes)] = planes.transpose(2, 1, 0)
            first += len(planes)

    def _in_parts(self, text: Text, values: NDArray[np.float32], block: int, scale: float) -> bool:
        """Read a large field as several parts at once, each by a thread of its own (numpy lets them run side by side).

        Where a part starts follows from the columns of the first line. It holds if the part before ends there, having
        read all its values. If it does not, or anything is wrong with a part, the answer is False and the field is to
        be read from its start: only then is every line's number known.
        """
        na, nb, nc = values.shape
        line = text.peek_line()
        row = max(1, len(line.split()))
        n_parts = min(available_processors(), 3, values.nbytes // _LEAST_PART)
        unit = row // math.gcd(na * nb, row)  # planes that fill their last line
        if n_parts < 2 or nc <= unit:
            return False
        step = -(-nc // (n_parts * unit)) * unit
        planes = list(range(0, nc, step))
        starts = [plane * na * nb // row for plane in planes]
        places = [(text.offset + lines * len(line), text.line_number + lines) for lines in starts]

        def read(first: int, place: Place) -> int:
            with Text(self.path, *place) as part:
                if len(part.peek_line().split()) != row:
                    return -1
                self._planes(part, values[:, :, first : first + step], scale)
                return part.offset

        with ThreadPoolExecutor(len(planes), thread_name_prefix="edviz") as threads:
            try:
                ends = list(threads.map(read, planes, places))
            except EdvizError:
                return False
        return ends == [place[0] for place in places[1:]] + [self.frame.ends[block][0]]

    def _augmentation(self, block: int) -> str:
        """What stands between a field and the next one, as it is."""
        lines: list[bytes] = []
        with Text(self.path, *self.frame.ends[block]) as text:
            while raw := text.raw_line():
                if _is_integers(raw) or (lines and raw.strip() == self.frame.poscar.title):
                    break
                if lines or raw.startswith(b"augmentation"):
                    lines.append(raw.rstrip(b"\r\n"))
        return b"\n".join(lines).decode("ascii", "replace").rstrip()


def _other_aeccar(path: Path) -> Path | None:
    """AECCAR2 beside AECCAR0 and the other way round, packed or not; None for other names."""
    match = re.search(r"(?i)(AECCAR)([02])", path.name)
    if match is None:
        return None
    name = path.name[: match.start(2)] + ("2" if match[2] == "0" else "0") + path.name[match.end(2) :]
    bare = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)
    for candidate in (name, bare, *(bare + suffix for suffix in SUFFIXES)):
        if (found := path.with_name(candidate)).exists():
            return found
    raise MissingDataError(
        f"{path}: the total density is AECCAR0 + AECCAR2, and {path.with_name(name)} is not there. VASP writes both "
        "with LAECHG = .TRUE."
    )


def _sum(one: FrameHeader, other: FrameHeader) -> FrameHeader:
    same = one.shape == other.shape and np.abs(one.cell - other.cell).max() < 1e-4
    if not same or not np.array_equal(one.numbers, other.numbers):  # type: ignore[arg-type]
        raise GridMismatchError(f"{other.path} cannot be added to {one.path}: grid, cell or atoms differ")
    # The density of the core is not polarised: the magnetization is that of whichever file has one.
    components = max(one.components, other.components)
    return replace(
        one,
        values=partial(_added, one, other),
        density_kind="total",
        components=components,
        lazy={},
        source=f"{one.source} (AECCAR0 + AECCAR2)",
    )


def _added(one: FrameHeader, other: FrameHeader, name: str) -> NDArray[Any]:
    if name == "density":
        return one.values(name) + other.values(name)
    return (one if one.components else other).values(name)


# Writing ------------------------------------------------------------------------------------------------------


def write(traj: DensityTrajectory, path: Path) -> None:
    """Write one frame as CHGCAR (or, of a potential or an ELF, as LOCPOT or ELFCAR), 11 digits a value.

    Magnetization and, where there are any, PAW occupancies are written too.

    Raises
    ------
    ArgumentError
        If there are several frames, or the file's name says another kind of field.
    MissingDataError
        If there are no atoms.
    WriteError
        If the disk refuses.
    """
    from edviz.io.atomic import replacing
    from edviz.io.printing import fortran_lines
    from edviz.io.single import one_frame

    frame = one_frame(traj, path)
    ds = frame.ds
    kind = frame.density_kind
    times_volume = kind in ELECTRON_KINDS
    named = kind_of(path) or "valence"
    if (named in ELECTRON_KINDS) != times_volume or (not times_volume and named != kind):
        raise ArgumentError(
            f"{path}: its name stands for a field of kind '{named}', this one is '{kind}'. A potential goes into a "
            "file named LOCPOT, an ELF into ELFCAR, densities into CHGCAR"
        )
    if "positions" not in ds:
        raise MissingDataError(f"{path}: a CHGCAR holds atoms, and the trajectory has no positions")
    cell = frame.grid.cell
    fields = [ds["density"].values[0]]
    if "magnetization" in ds:
        fields += list(ds["magnetization"].values[:, 0])
    augmentation = [""] * len(fields)
    if "augmentation" in ds and ds["augmentation"].dims == ("time", "part"):
        kept = [str(text) for text in ds["augmentation"].values[0]]
        if len(kept) != len(fields):
            raise SchemaError(f"{path}: {len(kept)} parts of augmentation for {len(fields)} fields")
        augmentation = kept
    scale = frame.grid.volume if times_volume else 1.0
    with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
        file.write(_header_text(ds, cell, frame.grid.to_fractional(ds["positions"].values[0])).encode())
        for values, kept_text in zip(fields, augmentation, strict=True):
            file.write(" {:d} {:d} {:d}\n".format(*values.shape).encode())
            # z planes one after the other, so that no second copy of the field is needed.
            flat = values.transpose(2, 1, 0).reshape(-1)
            for piece in fortran_lines(flat, per_line=5, digits=11, width=18, scale=scale):
                file.write(piece)
            if kept_text:
                file.write(kept_text.encode() + b"\n")


def _header_text(ds: Any, cell: NDArray[np.float64], fractional: NDArray[np.float64]) -> str:
    from itertools import groupby

    from ase.data import chemical_symbols

    title = str(ds.attrs.get("source", "") or "written by edviz").split("\n")[0].removeprefix("VASP: ")[:80]
    runs = [(chemical_symbols[number], len(list(run))) for number, run in groupby(ds["numbers"].values.tolist())]
    lines = [title.encode("ascii", "replace").decode(), "1.0"]
    lines += [" ".join(f"{x:21.16f}" for x in row) for row in cell]
    lines += [" ".join(symbol for symbol, _ in runs), " ".join(str(n) for _, n in runs), "Direct"]
    lines += [" ".join(f"{x:19.16f}" for x in row) for row in fractional]
    return "\n".join(lines) + "\n\n"

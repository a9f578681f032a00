"""XSF, the format of XCrySDen, which Quantum ESPRESSO, SIESTA and VESTA know too: read and written.

Keywords with the structure (CRYSTAL, SLAB, POLYMER, MOLECULE; PRIMVEC, PRIMCOORD or ATOMS; angstrom), then blocks of
data grids: sizes, origin, three spanning vectors, the values, the first axis fastest. Grids are general ones: the
vectors span from the first point to the last, so along a periodic axis the last plane repeats the first. It is left out
when read (and must be equal), put back when written. Along other axes all points are kept, and the cell is one step
longer than the span. Source: the XSF specification at xcrysden.org.

The format states no unit: values count as e/bohr^3, hartree or bohr^-1.5 like those of cube files; `units=` says
otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edviz.errors import ArgumentError, FileFormatError
from edviz.io.cube import UNITS, decide
from edviz.io.lazy import FrameHeader, identity
from edviz.io.numbers import check_count, read_block, skip_block
from edviz.io.text import NUMBER, Text, shown
from edviz.schema import DENSITY_KINDS

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["headers", "write"]

_PERIODIC: dict[bytes, tuple[int, int, int]] = {
    b"CRYSTAL": (1, 1, 1),
    b"SLAB": (1, 1, 0),
    b"POLYMER": (1, 0, 0),
    b"MOLECULE": (0, 0, 0),
}


@dataclass
class _Grid:
    """A data grid of a file."""

    name: str
    points: tuple[int, int, int]
    origin: NDArray[np.float64]
    span: NDArray[np.float64]
    place: tuple[int, int]


@dataclass
class _Content:
    """What a file holds besides values."""

    periodic: tuple[int, int, int] = (0, 0, 0)
    primitive: NDArray[np.float64] | None = None
    numbers: NDArray[np.int64] | None = None
    positions: NDArray[np.float64] | None = None
    grids: list[_Grid] | None = None


def _atomic_number(text: Text, token: bytes) -> int:
    from ase.data import atomic_numbers

    number = int(token) if token.isdigit() and len(token) < 4 else atomic_numbers.get(token.decode("ascii", "?"), 0)
    if not 1 <= number <= 118:
        text.fail(f"'{shown(token)}' is no atomic number or symbol")
    return number


def _atom(text: Text, tokens: list[bytes]) -> tuple[int, list[float]]:
    if len(tokens) < 4:
        text.fail(f"{len(tokens)} words where an atom and its position should be")
    return _atomic_number(text, tokens[0]), text.numbers_of(tokens[1:4], "position of an atom")


def _vectors(text: Text, what: str) -> NDArray[np.float64]:
    return np.array([text.floats(what, 3, 3) for _ in range(3)])


def _scan(path: str) -> _Content:
    content = _Content(grids=[])
    assert content.grids is not None
    with Text(path) as text:
        while raw := text.raw_line():
            tokens = raw.split()
            if not tokens or tokens[0].startswith(b"#"):
                continue
            keyword = tokens[0].upper()
            if keyword == b"ANIMSTEPS":
                text.fail(
                    "several structures in one file (ANIMSTEPS): write one file a frame, and open them as a series"
                )
            elif keyword in _PERIODIC:
                content.periodic = _PERIODIC[keyword]
            elif keyword == b"PRIMVEC":
                content.primitive = _vectors(text, "a lattice vector")
            elif keyword == b"CONVVEC":
                _vectors(text, "a lattice vector")
            elif keyword in (b"PRIMCOORD", b"CONVCOORD"):
                count = text.integer(
                    (text.line("the number of atoms").split() or [b""])[0], "number of atoms", 0, 10**8
                )
                check_count(text, 4 * count, "numbers of atoms")
                atoms = [_atom(text, text.line("an atom").split()) for _ in range(count)]
                if keyword == b"PRIMCOORD":
                    _set_atoms(content, atoms)
            elif keyword == b"ATOMS":
                atoms = []
                while (following := text.raw_line()) and (words := following.split()):
                    if len(words) < 4 or not NUMBER.fullmatch(words[1]):
                        break
                    atoms.append(_atom(text, words))
                text.push_back(following)
                _set_atoms(content, atoms)
                if not following.strip() and following:
                    text.raw_line()
            elif keyword.startswith((b"BEGIN_DATAGRID_3D", b"DATAGRID_3D")):
                content.grids.append(_grid(text, tokens[0]))
            elif keyword.startswith((b"BEGIN_DATAGRID_2D", b"DATAGRID_2D")):
                text.fail("a plane (DATAGRID_2D): only grids in space are read")
            elif keyword.startswith(b"BEGIN_BLOCK_DATAGRID"):
                text.line("the name of the block")
            elif keyword.startswith(b"BEGIN_INFO"):
                while text.line("END_INFO").strip().upper() != b"END_INFO":
                    pass
            elif not keyword.startswith((b"END_BLOCK_DATAGRID", b"DIM-GROUP", b"END_")) and not content.grids:
                if not all(NUMBER.fullmatch(token) for token in tokens):
                    text.fail(f"'{shown(tokens[0])}' is no keyword of XSF")
            elif not keyword.startswith(b"END_BLOCK_DATAGRID"):
                text.fail(f"'{shown(tokens[0])}' where a keyword should be")
    if not content.grids:
        raise FileFormatError(f"{path}, last line: there is no data grid (DATAGRID_3D) in the file, only a structure")
    return content


def _set_atoms(content: _Content, atoms: list[tuple[int, list[float]]]) -> None:
    content.numbers = np.array([number for number, _ in atoms], dtype=np.int64)
    content.positions = np.array([position for _, position in atoms]).reshape(-1, 3)


def _grid(text: Text, keyword: bytes) -> _Grid:
    """Read the head of a grid and go over its values."""
    tokens = text.line("the sizes of the grid").split()
    if len(tokens) != 3:
        text.fail(f"{len(tokens)} words where three sizes of the grid should be")
    points = tuple(text.integer(token, "points of the grid", 2, 1 << 24) for token in tokens)
    origin = np.array(text.floats("the origin of the grid", 3, 3))
    span = _vectors(text, "a vector that spans the grid")
    count = points[0] * points[1] * points[2]
    if count > 1 << 40:
        text.truncated(f"{count} points are more than any file holds")
    name = keyword.decode("ascii", "replace").split("_3D", 1)[-1].strip("_")
    grid = _Grid(name, (points[0], points[1], points[2]), origin, span, (text.offset, text.line_number))
    skip_block(text, count)
    _end_of_grid(text)
    return grid


def _end_of_grid(text: Text) -> None:
    line = text.line("END_DATAGRID_3D").strip()
    while not line:
        line = text.line("END_DATAGRID_3D").strip()
    if not line.upper().startswith(b"END_DATAGRID"):
        text.fail(f"'{shown(line)}' where END_DATAGRID_3D should be: the grid has another number of values than points")


def headers(
    path: Path, *, density_kind: str | None = None, units: str | None = None, grid: str | int | None = None
) -> list[FrameHeader]:
    """Describe the one frame of a file.

    Parameters
    ----------
    path
        The file. Its numbers are gone over once, since only that tells how many grids it holds.
    density_kind
        What the field is; without it a density, total if it integrates to the nuclei's charge.
    units
        Unit of the values, as for cube files.
    grid
        Which of several grids, by name or number from 0.

    Raises
    ------
    FileFormatError, TruncatedFileError, NonFiniteError
        Naming file and line.
    ArgumentError
        An option that does not fit.
    """
    content = _scan(str(path))
    grids = content.grids or []
    names = [one.name for one in grids]
    if grid is None and len(grids) > 1:
        raise ArgumentError(f"{path} holds the grids {names}: choose one with grid=, by name or number")
    index = names.index(grid) if grid in names else grid if isinstance(grid, int) else 0 if grid is None else -1
    if not 0 <= index < len(grids):
        raise ArgumentError(f"{path} holds the grids {names}; grid={grid!r} is none of them")
    chosen = grids[index]
    if density_kind is not None and density_kind not in DENSITY_KINDS:
        raise ArgumentError(
            f"{path}: density_kind '{density_kind}' is unknown; choose one of {', '.join(DENSITY_KINDS)}"
        )
    known = UNITS[density_kind or "valence"]
    units = units or next(iter(known))
    if units not in known:
        raise ArgumentError(f"{path}: units '{units}' is none of {', '.join(known)}")
    repeats = content.periodic
    shape = tuple(n - repeat for n, repeat in zip(chosen.points, repeats, strict=True))
    steps = np.where(np.array(repeats) == 1, 1.0, np.array(chosen.points) / (np.array(chosen.points) - 1.0))
    cell = chosen.span * steps[:, None]
    line = chosen.place[1]
    volume = float(np.linalg.det(cell))
    if not np.isfinite(volume) or volume <= 0:
        raise FileFormatError(
            f"{path}, line {line}: the grid's vectors have the triple product {volume:.6g} angstrom^3"
        )
    if all(repeats) and content.primitive is not None:
        # A grid may cover several primitive cells, but whole ones: else its field is not periodic in its own cell.
        cells = cell @ np.linalg.pinv(content.primitive)
        if not np.isfinite(cells).all() or np.abs(cells - np.rint(cells)).max() > 1e-3:
            raise FileFormatError(f"{path}, line {line}: the grid spans no whole number of primitive cells")
    numbers = np.empty(0, dtype=np.int64) if content.numbers is None else content.numbers
    return [
        FrameHeader(
            path=str(path),
            shape=(shape[0], shape[1], shape[2]),
            cell=cell,
            values=_Reader(str(path), identity(path), chosen, repeats, known[units]),
            density_kind=density_kind,
            numbers=content.numbers,
            positions=content.positions,
            periodic=content.periodic,
            origin=chosen.origin,
            source="XSF",
            decide=partial(decide, str(path), numbers, np.zeros(0)),
        )
    ]


@dataclass
class _Reader:
    """Reads the values."""

    path: str
    identity: tuple[int, int, int]
    grid: _Grid
    repeats: tuple[int, int, int]
    scale: float

    def __call__(self, name: str) -> NDArray[Any]:
        if identity(self.path) != self.identity:
            raise FileFormatError(f"{self.path} was replaced since it was opened: open it again")
        nx, ny, nz = self.grid.points
        with Text(self.path, *self.grid.place) as text:
            values = read_block(text, nx * ny * nz, scale=self.scale).reshape(nz, ny, nx).transpose(2, 1, 0)
            _end_of_grid(text)
            for axis, repeat in enumerate(self.repeats):
                if repeat:
                    first, last = values.take(0, axis), values.take(-1, axis)
                    if not np.allclose(first, last, rtol=1e-3, atol=1e-4 * float(np.abs(values).max())):
                        text.fail(
                            f"the last plane along {'xyz'[axis]} does not repeat the first, as in a general grid of a "
                            "periodic field it must"
                        )
        keep = tuple(slice(0, n - repeat) for n, repeat in zip((nx, ny, nz), self.repeats, strict=True))
        return np.ascontiguousarray(values[keep])


def write(traj: DensityTrajectory, path: Path, digits: int = 9) -> None:
    """Write one frame; values in e/bohr^3, hartree or bohr^-1.5.

    Raises
    ------
    ArgumentError
        If there are several frames, or the field is periodic along axes that XSF has no keyword for.
    WriteError
        If the disk refuses.
    """
    from edviz.io.atomic import replacing
    from edviz.io.printing import fortran_lines
    from edviz.io.single import one_frame

    frame = one_frame(traj, path)
    ds = frame.ds
    flags = tuple(int(flag) for flag in ds.attrs["periodic"])
    keyword = next((name for name, known in _PERIODIC.items() if known == flags), None)
    if keyword is None:
        raise ArgumentError(
            f"{path}: XSF knows fields periodic along abc, ab, a or nothing, not along the axes {flags}"
        )
    values = np.pad(ds["density"].values[0], [(0, flag) for flag in flags], mode="wrap")
    span = frame.grid.cell * [[1.0 if flag else 1 - 1 / n] for flag, n in zip(flags, frame.grid.shape, strict=True)]

    def row(vector: Any) -> str:
        return "".join(f"{x:20.12f}" for x in vector)

    lines = [keyword.decode()]
    if any(flags):
        lines += ["PRIMVEC", *map(row, frame.grid.cell)]
    if "positions" in ds:
        lines += ["PRIMCOORD", f"{ds.sizes['atom']} 1"] if any(flags) else ["ATOMS"]
        lines += [f"{z:4d}{row(x)}" for z, x in zip(ds["numbers"].values, ds["positions"].values[0], strict=True)]
    lines += ["BEGIN_BLOCK_DATAGRID_3D", "edviz", f"BEGIN_DATAGRID_3D_{frame.density_kind}"]
    lines += ["{} {} {}".format(*values.shape), row(ds.attrs["origin"]), *map(row, span)]
    scale = 1 / next(iter(UNITS[frame.density_kind].values()))
    with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
        file.write(("\n".join(lines) + "\n").encode())
        flat = values.transpose(2, 1, 0).reshape(-1)
        for piece in fortran_lines(flat, per_line=5, digits=digits, width=digits + 8, scale=scale):
            file.write(piece)
        file.write(b"END_DATAGRID_3D\nEND_BLOCK_DATAGRID_3D\n")

"""The registry of file formats: how each is recognised and which module reads and writes it.

A format is one module in `edviz.io` and one line in `FORMATS`. Recognition looks at content; the name of a file decides
only between formats whose content is the same. The modules are imported when they are needed.

What a module offers:

- ``headers(path, **options) -> list[edviz.io.lazy.FrameHeader]``: what is known of each frame without reading its
  values. Series of thousands of files open through this. Or, where that does not pay,
- ``read(path, **options) -> xarray.Dataset``: a dataset that satisfies the schema, fields as dask arrays where
  possible.
- ``write(traj, path, **options)`` where the format can be written.

`edviz.open` hands its keyword options to `headers` or `read`; an option the function does not name is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edviz.errors import FileFormatError, TruncatedFileError
from edviz.io.compression import SUFFIXES

__all__ = ["FORMATS", "HEAD_BYTES", "Format", "for_writing", "listing", "recognise"]

#: How much of a file `sniff` gets to see, after decompression.
HEAD_BYTES = 16384

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def _never(head: bytes, path: Path) -> bool:
    return False


def _no_folder(path: Path) -> bool:
    return False


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes
    ----------
    name
        What messages call it.
    module
        Dotted name of the module.
    suffixes
        Endings of names that choose the format for writing.
    names
        A regular expression for the start of a file name without its folder (CHGCAR_001, ...): chooses the format for
        writing, and settles a tie when several formats recognise the content.
    sniff
        Gets the first `HEAD_BYTES` bytes, decompressed, and the path; says whether the content is of this format.
    folder
        Gets the path of a folder; says whether the folder as a whole is one data set of this format (prefix.save/).
    reads, writes
        What the module can do.
    clock
        Whether files carry times of their own. Else the frames of a series count from 0 in steps of `timestep`.
    compressed
        Whether the module reads files packed with gzip, bzip2, xz or zstd itself (through `edviz.io.compression`).
    """

    name: str
    module: str
    suffixes: tuple[str, ...] = ()
    names: str = ""
    sniff: Callable[[bytes, Path], bool] = _never
    folder: Callable[[Path], bool] = _no_folder
    reads: bool = True
    writes: bool = False
    clock: bool = False
    compressed: bool = False

    def named(self, path: Path) -> bool:
        """Whether the name of the file is typical of the format."""
        bare = next((path.stem for suffix in SUFFIXES if path.suffix.lower() == suffix), path.name)
        return bool(self.names and re.match(self.names, bare)) or bare.lower().endswith(self.suffixes or ("\0",))


# Recognition by content ---------------------------------------------------------------------------------------


def _numbers(line: bytes) -> list[float] | None:
    """The numbers of a line, None if it holds anything else."""
    try:
        return [float(token) for token in line.split()]
    except ValueError:
        return None


def _is_vasp(head: bytes, path: Path) -> bool:
    """A title, one scale (or three), three lattice vectors, then species or counts."""
    lines = head.split(b"\n")[:8]
    if len(lines) < 7 or len(_numbers(lines[1]) or ()) not in (1, 3):
        return False
    if any(len(_numbers(line) or ()) != 3 for line in lines[2:5]):
        return False
    counts = lines[5].split()
    return bool(counts) and (all(c.isdigit() for c in counts) or all(c[:1].isalpha() for c in counts))


_VASP_NAMES = "CHG|PARCHG|AECCAR|LOCPOT|ELFCAR"


def _is_cube(head: bytes, path: Path) -> bool:
    """Two titles, a count and an origin, three lines of a count and a vector."""
    lines = head.split(b"\n")[2:6]
    if len(lines) < 4:
        return False
    for i, line in enumerate(lines):
        numbers = _numbers(line)
        if numbers is None or len(numbers) not in ((4, 5) if i == 0 else (4,)) or not numbers[0].is_integer():
            return False
    return True


_XSF_FIRST = (
    rb"(?:ANIMSTEPS|CRYSTAL|SLAB|POLYMER|MOLECULE|DIM-GROUP|PRIMVEC|CONVVEC|PRIMCOORD|ATOMS"
    rb"|BEGIN_BLOCK_DATAGRID|BEGIN_INFO)"
)


def _is_xsf(head: bytes, path: Path) -> bool:
    """A keyword of XCrySDen after comments and empty lines."""
    return re.match(rb"(?:\s*#[^\n]*\n|\s)*" + _XSF_FIRST, head) is not None


# Formats whose content only their own module can tell.


def _is_qe(head: bytes, path: Path) -> bool:
    from edviz.io import qe

    return qe.is_density_file(head, path)


def _is_qe_folder(path: Path) -> bool:
    from edviz.io import qe

    return qe.is_save_folder(path)


def _is_abinit(head: bytes, path: Path) -> bool:
    from edviz.io import abinit

    return abinit.is_density_file(head, path)


def _is_gpw(head: bytes, path: Path) -> bool:
    from edviz.io import gpaw

    return gpaw.is_gpw(head, path)


def _is_vasp_hdf5(head: bytes, path: Path) -> bool:
    from edviz.io import vaspout

    return vaspout.is_vasp_hdf5(head, path)


def _is_native(head: bytes, path: Path) -> bool:
    """HDF5 that no other code wrote, whatever it is: the reader says what is missing."""
    others = (_is_qe, _is_abinit, _is_vasp_hdf5)
    return head.startswith(HDF5_SIGNATURE[: max(len(head), 4)]) and not any(other(head, path) for other in others)


#: Asked from top to bottom. Formats inside HDF5 come before edviz's own, which takes any HDF5 file that is left.
FORMATS: tuple[Format, ...] = (
    Format("Quantum ESPRESSO charge density", "edviz.io.qe", sniff=_is_qe, folder=_is_qe_folder),
    Format("ABINIT _DEN", "edviz.io.abinit", sniff=_is_abinit),
    Format("GPAW .gpw", "edviz.io.gpaw", sniff=_is_gpw),
    Format("VASP HDF5 (vaspout.h5, vaspwave.h5)", "edviz.io.vaspout", sniff=_is_vasp_hdf5),
    Format("VASP text", "edviz.io.vasp", (".vasp",), _VASP_NAMES, _is_vasp, writes=True, compressed=True),
    Format("XSF", "edviz.io.xsf", (".xsf",), sniff=_is_xsf, writes=True, compressed=True),
    Format("VTK", "edviz.io.vtk", (".vti", ".vts", ".pvd"), reads=False, writes=True),
    Format("cube", "edviz.io.cube", (".cube", ".cub"), sniff=_is_cube, writes=True, compressed=True),
    Format(
        "edviz native (netCDF-4)",
        "edviz.io.native",
        (".h5", ".hdf5", ".nc", ".nc4"),
        sniff=_is_native,
        writes=True,
        clock=True,
    ),
)


# Choosing -----------------------------------------------------------------------------------------------------


def recognise(path: Path) -> Format:
    """The format of a file or of a folder that is one data set.

    Raises
    ------
    FileNotFoundError
        Nothing there.
    TruncatedFileError
        An empty file.
    FileFormatError
        No format recognises it, or it is packed and its format cannot be read so.
    """
    from edviz.io import compression

    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist (looked from {Path.cwd()})")
    if path.is_dir():
        found = [known for known in FORMATS if known.reads and known.folder(path)]
        if not found:
            raise FileFormatError(f"{path} is a folder, and not one that edviz reads as a whole ({listing()})")
        return found[0]
    packed = compression.kind(path)
    head = compression.head(path, HEAD_BYTES)
    if not head:
        raise TruncatedFileError(f"{path} is empty: copy or write it again")
    found = [known for known in FORMATS if known.reads and known.sniff(head, path)]
    if not found:
        raise FileFormatError(f"{path} is in no format edviz reads ({listing()})")
    known = next((one for one in found if one.named(path)), found[0])
    if packed and not known.compressed:
        raise FileFormatError(f"{path} is {known.name} inside {packed}: unpack it first, e.g. with {packed} -d")
    return known


def for_writing(path: str | os.PathLike[str]) -> Format:
    """The format that the name of a file to be written chooses.

    Raises
    ------
    FileFormatError
        If none does, listing what edviz writes.
    """
    path = Path(path)
    if path.suffix.lower() in SUFFIXES:
        raise FileFormatError(f"{path}: edviz writes no packed text files; write {path.stem} and pack it afterwards")
    found = [known for known in FORMATS if known.writes and known.named(path)]
    if not found:
        raise FileFormatError(f"{path}: no format for the suffix '{path.suffix}'; edviz writes {listing(writing=True)}")
    return found[0]


def listing(writing: bool = False) -> str:
    """The formats and their endings, for messages."""
    shown = [known for known in FORMATS if (known.writes if writing else known.reads)]
    return "; ".join(f"{known.name}: {', '.join(known.suffixes)}" if known.suffixes else known.name for known in shown)

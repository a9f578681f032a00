"""xarray's door to edviz: ``xarray.open_dataset(path, engine="edviz")`` reads whatever `edviz.open` reads.

xarray finds the class through the entry point "edviz" of the group "xarray.backends" in pyproject.toml. Fields stay on
disk until a frame is used; with ``chunks={}`` they are dask arrays with one frame a chunk. Variables and attributes are
those of docs/schema.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

__all__ = ["EdvizBackend"]

#: Names that only edviz opens: for these `engine=` may be left away. HDF5 and netCDF files stay with xarray's own.
_NAMES = re.compile(
    r"(CHGCAR|CHG|PARCHG|AECCAR\d|LOCPOT|ELFCAR)([._-].*)?|vasp(out|wave).*\.h5|charge-density\.(dat|hdf5)"
    r"|.*\.(save|cube|cub|xsf|gpw)|.*_DEN"
)
_PACKED = (".gz", ".bz2", ".xz", ".zst")


class EdvizBackend(BackendEntrypoint):
    """Densities of DFT codes as datasets that satisfy edviz's schema."""

    description: ClassVar[str] = "Electron densities of DFT codes (VASP, cube, XSF, Quantum ESPRESSO, ABINIT, GPAW)"
    url: ClassVar[str] = ""
    open_dataset_parameters: ClassVar[tuple[str, ...] | None] = (
        "filename_or_obj",
        "drop_variables",
        "timestep",
        "positions",
        "variable_cell",
        "density_kind",
        "units",
        "orbital",
        "value",
        "periodic",
        "grid",
        "component",
        "species",
        "all_electron",
        "refinement",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        **options: Any,
    ) -> xr.Dataset:
        """Open a file, a folder, a pattern or a list of files.

        Parameters
        ----------
        filename_or_obj
            As the `path` of `edviz.open`.
        drop_variables
            Names of variables to leave out.
        **options
            As for `edviz.open`: timestep, positions, variable_cell, and options of the format's reader.

        Raises
        ------
        edviz.errors.EdvizError
            As `edviz.open`.
        """
        import edviz

        given = {name: value for name, value in options.items() if value is not None}
        ds = edviz.open(filename_or_obj, **given).ds
        if drop_variables is not None:
            names = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables)
            ds = ds.drop_vars(names, errors="ignore")
        return ds

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether the name is one that no other engine reads."""
        if isinstance(filename_or_obj, Sequence) and not isinstance(filename_or_obj, (str, bytes)):
            return False
        if not isinstance(filename_or_obj, (str, os.PathLike)):
            return False
        name = os.path.basename(os.fspath(filename_or_obj).rstrip("/"))
        for suffix in _PACKED:
            name = name.removesuffix(suffix)
        return _NAMES.fullmatch(name) is not None

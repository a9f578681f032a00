"""VTK files for ParaView and VisIt, written by VTK itself: one frame as .vti or .vts, a trajectory as .pvd.

A .vti image has rectangular voxels, turned in space by a direction matrix: for cells with right angles. A .vts grid
lists every point and takes any cell. A .pvd is a list of such files with their times; it lies beside a folder of the
same name that holds them. Along periodic axes the first plane is repeated at the end, so that surfaces close at the
boundary. Lengths are angstrom, values in the unit of their kind, as point data `density` (and `magnetization`). Atoms
are not written: viewers read them from XYZ or XSF.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from edviz.errors import ArgumentError
from edviz.io.atomic import replacing
from edviz.io.single import one_frame

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["write"]


def _right_angled(cell: Any) -> bool:
    lengths = np.linalg.norm(cell, axis=1)
    return bool(np.abs((cell @ cell.T) / np.outer(lengths, lengths) - np.eye(3)).max() < 1e-6)


def _mesh(frame: DensityTrajectory, path: Path) -> Any:
    """The frame as a pyvista grid of the kind that the file's ending asks for."""
    import pyvista as pv

    ds = frame.ds
    cell, shape = frame.grid.cell, frame.grid.shape
    pad = [(0, int(flag)) for flag in ds.attrs["periodic"]]
    points = tuple(n + more for n, (_, more) in zip(shape, pad, strict=True))
    origin = np.asarray(ds.attrs["origin"], dtype=float)
    if path.suffix.lower() == ".vti":
        if not _right_angled(cell):
            raise ArgumentError(
                f"{path}: a .vti holds cells with right angles only, and this one is oblique: write .vts"
            )
        lengths = np.linalg.norm(cell, axis=1)
        mesh: Any = pv.ImageData(dimensions=points, spacing=lengths / shape, origin=origin)
        mesh.direction_matrix = (cell / lengths[:, None]).T
    else:
        fractions = np.stack(
            np.meshgrid(*(np.arange(p) / n for p, n in zip(points, shape, strict=True)), indexing="ij")
        )
        xyz = np.einsum("fijk,fx->ijkx", fractions, cell) + origin
        mesh = pv.StructuredGrid(*(np.ascontiguousarray(xyz[..., i]) for i in range(3)))
    # VTK counts the first axis fastest.
    mesh.point_data["density"] = np.pad(ds["density"].values[0], pad, mode="wrap").ravel(order="F")
    if "magnetization" in ds:
        parts = [np.pad(one, pad, mode="wrap").ravel(order="F") for one in ds["magnetization"].values[:, 0]]
        mesh.point_data["magnetization"] = parts[0] if len(parts) == 1 else np.stack(parts, axis=1)
    return mesh


def _write_one(frame: DensityTrajectory, path: Path) -> None:
    mesh = _mesh(one_frame(frame, path), path)
    with replacing(path, path.with_name(f".{path.stem}.tmp{path.suffix.lower()}")) as temporary:
        mesh.save(temporary, binary=True)


def write(traj: DensityTrajectory, path: Path) -> None:
    """Write one frame (.vti, .vts) or all of them (.pvd), one after the other.

    Raises
    ------
    ArgumentError
        Several frames for one file, or an oblique cell in a .vti.
    WriteError
        If the disk refuses.
    """
    path = Path(path)
    if path.suffix.lower() != ".pvd":
        _write_one(traj, path)
        return
    if traj.is_ensemble and traj.n_samples > 1:
        raise ArgumentError(f"{path} holds one trajectory: choose a sample first, traj.sample(0)")
    traj = traj.sample(0)
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    cells = traj.ds["cell"].values.reshape(-1, 3, 3)
    ending = ".vti" if all(map(_right_angled, cells)) else ".vts"
    root = ElementTree.Element("VTKFile", type="Collection", version="0.1", byte_order="LittleEndian")
    collection = ElementTree.SubElement(root, "Collection")
    for i, time in enumerate(traj.time):
        name = f"frame-{i:06d}{ending}"
        _write_one(traj[i], folder / name)
        attributes = {"timestep": repr(float(time)), "group": "", "part": "0", "file": f"{folder.name}/{name}"}
        ElementTree.SubElement(collection, "DataSet", attributes)
    with replacing(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)

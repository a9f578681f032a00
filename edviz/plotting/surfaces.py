"""Isosurfaces of periodic fields: closed across the cell border, exact at it, in any cell.

The field is sampled at fractional coordinates (i/na, j/nb, k/nc). One plane is repeated on each axis, so the
contour runs over the whole cell and ends exactly on its border, where the opposite face takes it up again. The
contour is made in fractional coordinates by VTK's flying edges (Schroeder, Maynard and Geveci, "Flying Edges: A
High-Performance Scalable Isocontouring Algorithm", LDAV 2015; the cases are those of marching cubes, Lorensen and
Cline 1987) and mapped to cartesian space by the lattice vectors, which is exact for cells of any angles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from edviz.errors import ArgumentError

if TYPE_CHECKING:
    import pyvista

__all__ = ["Surface", "extract_surface", "level_from_fraction", "subdivide"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangulated isosurface.

    Attributes
    ----------
    vertices : (n, 3) float64, angstrom
    faces : (m, 3) int64
        Counter-clockwise seen from outside the enclosed region.
    normals : (n, 3) float64
        Unit vectors that point out of the enclosed region (along the field's gradient; flat on caps).
    caps : (m,) bool
        Which faces lie on the cell border and close the region there. All false where none were asked for.
    level : float
        The field's value on the surface, in the field's unit.
    capped : bool
        Whether it was closed at the cell border.
    """

    vertices: FloatArray
    faces: NDArray[np.int64]
    normals: FloatArray
    caps: NDArray[np.bool_]
    level: float
    capped: bool

    def _face_areas(self) -> FloatArray:
        p, q, r = (self.vertices[self.faces[:, i]] for i in range(3))
        return 0.5 * np.linalg.norm(np.cross(q - p, r - p), axis=1)

    @property
    def area(self) -> float:
        """Area of the isosurface in one cell, without caps, angstrom^2."""
        return float(self._face_areas()[~self.caps].sum())

    @property
    def volume(self) -> float:
        """Volume of the enclosed region in one cell, angstrom^3, by the divergence theorem.

        Raises
        ------
        ArgumentError
            If the surface was not extracted with ``capped=True``: it may be open at the cell border.
        """
        if not self.capped:
            raise ArgumentError("only a closed surface has a volume: extract it with capped=True")
        p, q, r = (self.vertices[self.faces[:, i]] for i in range(3))
        return float(np.einsum("ij,ij->", p, np.cross(q, r)) / 6)

    def to_polydata(self) -> pyvista.PolyData:
        """The same surface as a `pyvista.PolyData` with point normals ``Normals`` and cell data ``cap``."""
        import pyvista as pv

        mesh: Any = pv.PolyData.from_regular_faces(self.vertices, cast(Any, self.faces))
        mesh.point_data.active_normals = self.normals
        mesh.cell_data["cap"] = self.caps
        return mesh


def level_from_fraction(values: ArrayLike, fraction: float) -> float:
    """Level whose isosurface encloses a given fraction of the electrons.

    The points are taken from the densest down until they hold ``fraction`` of the sum; the level lies half-way
    between the last point taken and the next one. This is the usual "enclosed charge" isovalue of orbital and
    density plots.

    Parameters
    ----------
    values : (a, b, c) array
        A density, not negative, in any unit.
    fraction : float
        Between 0 and 1, both excluded.

    Raises
    ------
    ArgumentError
        If the fraction is not between 0 and 1, or the field is uniform.
    """
    if not 0.0 < fraction < 1.0:
        raise ArgumentError(f"fraction is {fraction:g}, but must lie between 0 and 1 (both excluded)")
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=None)[::-1]
    if ordered[0] == ordered[-1]:
        raise ArgumentError(f"the field is uniform ({ordered[0]:.6g} everywhere), so it has no isosurface")
    enclosed = np.cumsum(ordered)
    last = int(np.searchsorted(enclosed, fraction * enclosed[-1]))
    last = min(last, ordered.size - 2)
    return float(0.5 * (ordered[last] + ordered[last + 1]))


def subdivide(values: ArrayLike, times: int = 1) -> FloatArray:
    """Double the grid ``times`` times by periodic cubic interpolation; the old points keep their values.

    New points are midpoints by the four-point rule (-1, 9, 9, -1)/16, exact for cubics. Being local it does not
    ring around sharp maxima as a Fourier interpolation would, and the result is held within the field's own
    range, so a density stays non-negative.

    Parameters
    ----------
    values : (a, b, c) array
    times : int

    Returns
    -------
    (a * 2**times, b * 2**times, c * 2**times) float64 array
    """
    fine = np.asarray(values, dtype=np.float64)
    low, high = fine.min(), fine.max()
    for _ in range(times):
        for axis in range(3):
            after = np.roll(fine, -1, axis)
            middle = (9 * (fine + after) - np.roll(fine, 1, axis) - np.roll(fine, -2, axis)) / 16
            fine = np.stack([fine, middle], axis=axis + 1)
            shape = [*fine.shape]
            shape[axis : axis + 2] = [2 * shape[axis]]
            fine = fine.reshape(shape)
    return np.clip(fine, low, high)


def extract_surface(
    values: ArrayLike,
    cell: ArrayLike,
    level: float,
    *,
    inside: Literal["above", "below"] = "above",
    capped: bool = False,
) -> Surface:
    """Isosurface of a periodic field over exactly one cell.

    Parameters
    ----------
    values : (a, b, c) array
        Field at fractional coordinates (i/na, j/nb, k/nc).
    cell : (3, 3) array, angstrom
        Lattice vectors in rows; right- or left-handed, any angles.
    level : float
        Value of the field on the surface.
    inside : "above" or "below"
        Which side counts as enclosed. Normals point away from it. "below" is for holes.
    capped : bool
        Also close the enclosed region by flat faces where it meets the cell border, which makes the surface
        watertight, so that it has a volume.

    Returns
    -------
    Surface

    Raises
    ------
    ArgumentError
        If the level is outside the field's range, so that there is no surface.
    """
    field = np.asarray(values, dtype=np.float64)
    lattice = np.asarray(cell, dtype=np.float64)
    low, high = float(field.min()), float(field.max())
    if not low < level < high:
        raise ArgumentError(
            f"no isosurface at level {level:.6g}: the field lies between {low:.6g} and {high:.6g}; "
            "choose a level between them"
        )
    sign = 1.0 if inside == "above" else -1.0
    shape = np.array(field.shape, dtype=np.float64)

    # The volume to contour: sign * (field - level), with the first plane repeated after the last.
    wrapped = np.pad(sign * (field - level), [(0, 1)] * 3, mode="wrap")
    if capped:
        # One more layer that is outside by so much that the contour leaves the cell right at its border; what it
        # is too far out (one part in a million of a voxel) is taken back by the clip below.
        wrapped = np.pad(wrapped, 1, constant_values=-1e6 * (high - low))
    grid_points, faces = _contour_zero(wrapped)
    grid_points = np.clip(grid_points - 1.0 if capped else grid_points, 0.0, shape)

    vertices = (grid_points / shape) @ lattice
    # VTK orders the corners so that the right-hand normal points to falling values; a left-handed cell mirrors that.
    if np.linalg.det(lattice) < 0:
        faces = faces[:, ::-1]
    corners = vertices[faces]
    doubled_areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    kept = np.linalg.norm(doubled_areas, axis=1) > 1e-12 * abs(np.linalg.det(lattice)) ** (2 / 3)
    faces, doubled_areas = faces[kept], doubled_areas[kept]

    on_border = (grid_points == 0.0)[faces] | (grid_points == shape)[faces]
    caps = on_border.all(axis=1).any(axis=1) if capped else np.zeros(len(faces), dtype=bool)
    normals = -sign * _gradient_at(field, grid_points, lattice)

    # Caps meet the isosurface at an edge that must look sharp: they get corners of their own with flat normals.
    flat = doubled_areas[caps]
    cap_normals = np.repeat(flat / np.linalg.norm(flat, axis=1, keepdims=True), 3, axis=0)
    cap_vertices = vertices[faces[caps]].reshape(-1, 3)
    faces = faces.copy()
    faces[caps] = np.arange(len(vertices), len(vertices) + len(cap_vertices)).reshape(-1, 3)
    return Surface(
        vertices=np.concatenate([vertices, cap_vertices]),
        faces=faces,
        normals=np.concatenate([normals, cap_normals]),
        caps=caps,
        level=float(level),
        capped=capped,
    )


def _contour_zero(volume: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Zero contour of a volume as vertices in grid units and triangles, through VTK's flying edges."""
    import pyvista as pv

    image = pv.ImageData(dimensions=volume.shape)
    image.point_data["field"] = volume.ravel(order="F")
    mesh = image.contour([0.0], scalars="field", method="flying_edges", compute_scalars=False)
    return np.asarray(mesh.points, dtype=np.float64), np.asarray(mesh.regular_faces, dtype=np.int64)


def _gradient_at(field: FloatArray, grid_points: FloatArray, lattice: FloatArray) -> FloatArray:
    """Unit vectors along the cartesian gradient at points given in grid units; periodic central differences."""
    inverse = np.linalg.inv(lattice)
    by_fraction = np.stack(
        [
            ndimage.map_coordinates(
                (np.roll(field, -1, axis) - np.roll(field, 1, axis)) * (0.5 * field.shape[axis]),
                grid_points.T,
                order=1,
                mode="grid-wrap",
            )
            for axis in range(3)
        ],
        axis=1,
    )
    gradient = by_fraction @ inverse.T
    length = np.linalg.norm(gradient, axis=1, keepdims=True)
    return gradient / np.where(length > 0, length, 1.0)

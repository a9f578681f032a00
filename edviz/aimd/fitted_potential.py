"""A classical potential fitted to a trajectory's own forces: what a rollout of densities must be worth more than.

Finnis-Sinclair form (Finnis and Sinclair, Phil. Mag. A 50, 45 (1984); knots as Ackland and Vitek, Phys. Rev. B 41,
10324 (1990)), the simplest that knows a metal's many-body cohesion:

    E = sum_pairs sum_m a_m (R_m - r)^3_+  +  sum_i sum_q (b_q sqrt(n_iq) + c_q n_iq^2)
    n_iq = sum_j (P_q - r_ij)^3_+ / P_q^3

It is linear in a, b and c, hence so are the forces, and the fit is one least-squares problem. One element, no charges,
no angles, no electrons at all: it moves atoms, and says nothing of the density.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from edviz.errors import ArgumentError, MissingDataError
from edviz.trajectory import DensityTrajectory

__all__ = ["FittedPotential", "fit_potential"]

PAIR_RANGES = (2.6, 2.9, 3.2, 3.5, 3.8, 4.1, 4.4, 4.7, 5.0, 5.4)
DENSITY_RANGES = (3.5, 4.2, 4.8, 5.4)
RIDGE = 1e-8  # of the normal matrix with columns scaled to one: picks among fits that the data cannot tell apart


class FittedPotential(Calculator):
    """An ASE calculator: energy in eV, forces in eV/angstrom.

    Parameters
    ----------
    coefficients
        (n,) as `fit_potential` orders them.
    pair_ranges, density_ranges
        R_m and P_q in angstrom; at most half the smallest height of the cell, since only nearest images are summed.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (the name and type that ASE asks for)

    def __init__(
        self,
        coefficients: NDArray[np.float64],
        pair_ranges: tuple[float, ...] = PAIR_RANGES,
        density_ranges: tuple[float, ...] = DENSITY_RANGES,
    ) -> None:
        super().__init__()
        self.pair_ranges, self.density_ranges = np.array(pair_ranges), np.array(density_ranges)
        n, q = len(self.pair_ranges), len(self.density_ranges)
        if np.shape(coefficients) != (n + 2 * q,):
            raise ArgumentError(f"{n} pair and {q} density ranges need {n + 2 * q} coefficients")
        self.coefficients = np.asarray(coefficients, dtype=np.float64)

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """ASE's entry: sets `results`."""
        super().calculate(atoms, properties, system_changes)
        i, j, r, unit = _pairs(atoms.positions, np.asarray(atoms.cell), max(*self.pair_ranges, *self.density_ranges))
        n, q = len(self.pair_ranges), len(self.density_ranges)
        a, b, c = np.split(self.coefficients, [n, n + q])
        size = len(atoms)
        reach = np.maximum(self.pair_ranges - r[:, None], 0)
        energy = float((reach**3).sum(0) @ a)
        slope = -3 * reach**2 @ a  # dE/dr of each pair
        near = np.maximum(1 - r[:, None] / self.density_ranges, 0)
        density = _gather(near**3, i, j, size)
        energy += float((np.sqrt(density) @ b + density**2 @ c).sum())
        with np.errstate(divide="ignore"):
            embedding = np.where(density > 0, b / (2 * np.sqrt(density)), 0) + 2 * c * density
        slope = slope - ((embedding[i] + embedding[j]) * 3 * near**2 / self.density_ranges).sum(1)
        pull = slope[:, None] * unit  # unit points from i to j: the force on i is +dE/dr unit
        forces = np.stack([np.bincount(i, p, size) - np.bincount(j, p, size) for p in pull.T], axis=1)
        self.results = {"energy": energy, "forces": forces}


def _pairs(positions: NDArray[Any], cell: NDArray[Any], cutoff: float) -> tuple[NDArray[Any], ...]:
    """Nearest-image pairs i < j within the cutoff: i, j, distance, unit vector from i to j."""
    inverse = np.linalg.inv(cell)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    if cutoff > heights.min() / 2:
        raise ArgumentError(
            f"the potential reaches {cutoff:g} angstrom, more than half the cell's smallest height "
            f"({heights.min():.4g}): choose shorter ranges or a larger cell."
        )
    i, j = np.triu_indices(len(positions), 1)
    fractional = (positions[j] - positions[i]) @ inverse
    vector = (fractional - np.round(fractional)) @ cell
    distance = np.sqrt((vector**2).sum(1))
    near = distance < cutoff
    return i[near], j[near], distance[near], vector[near] / distance[near, None]


def _gather(values: NDArray[Any], i: NDArray[Any], j: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Sum over an atom's pairs: (pair, q) to (atom, q)."""
    return np.stack([np.bincount(i, v, size) + np.bincount(j, v, size) for v in values.T], axis=1)


def fit_potential(
    trajectory: DensityTrajectory,
    pair_ranges: tuple[float, ...] = PAIR_RANGES,
    density_ranges: tuple[float, ...] = DENSITY_RANGES,
) -> tuple[FittedPotential, float]:
    """Least squares of the forces of all frames.

    Parameters
    ----------
    trajectory
        With positions and forces, one element, a fixed cell: the training block, never the test block.
    pair_ranges, density_ranges
        See `FittedPotential`.

    Returns
    -------
    potential, error
        The error is the root mean square of the residual force over that of the forces (0 is perfect, 1 is no
        potential).

    Raises
    ------
    MissingDataError
        Without positions or forces, or with fewer force components than coefficients.
    ArgumentError
        With several elements, or ranges above half the cell.
    """
    ds = trajectory.ds
    for name in ("positions", "forces", "numbers"):
        if name not in ds:
            raise MissingDataError(f"a potential is fitted to positions and forces; the trajectory has no `{name}`")
    if len(np.unique(ds["numbers"].values)) > 1:
        raise ArgumentError("this potential is for one element; the trajectory has several")
    positions, forces = ds["positions"].values, ds["forces"].values.astype(np.float64)
    size = positions.shape[1]
    pair, dense = np.array(pair_ranges), np.array(density_ranges)
    columns = len(pair) + 2 * len(dense)
    if forces.size <= columns:
        raise MissingDataError(f"{columns} coefficients need more than {forces.size} force components")
    matrix, target = np.zeros((columns, columns)), np.zeros(columns)
    cutoff = max(*pair_ranges, *density_ranges)
    for at, force in zip(positions, forces, strict=True):
        i, j, r, unit = _pairs(at, trajectory.grid.cell, cutoff)
        slopes = np.empty((len(r), columns))
        slopes[:, : len(pair)] = -3 * np.maximum(pair - r[:, None], 0) ** 2
        near = np.maximum(1 - r[:, None] / dense, 0)
        density = _gather(near**3, i, j, size)
        reach = -3 * near**2 / dense
        root = 1 / (2 * np.sqrt(np.maximum(density, 1e-12)))
        slopes[:, len(pair) : len(pair) + len(dense)] = (root[i] + root[j]) * reach
        slopes[:, len(pair) + len(dense) :] = 2 * (density[i] + density[j]) * reach
        incidence = np.zeros((size, len(r)))
        pairs = np.arange(len(r))
        incidence[i, pairs], incidence[j, pairs] = 1, -1
        for x in range(3):
            design = (incidence * unit[:, x]) @ slopes
            matrix += design.T @ design
            target += design.T @ force[:, x]
    scale = np.sqrt(np.maximum(matrix.diagonal(), 1e-300))
    normal = matrix / np.outer(scale, scale) + RIDGE * np.eye(columns)
    found = np.linalg.solve(normal, target / scale) / scale
    square = (forces**2).sum()
    residual = square - 2 * found @ target + found @ matrix @ found
    return FittedPotential(found, pair_ranges, density_ranges), float(np.sqrt(max(residual, 0) / square))

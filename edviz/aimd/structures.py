"""Structures to start a molecular dynamics run from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edviz.aimd.arguments import finite, is_symbol, positive, whole
from edviz.errors import ArgumentError

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["liquid", "nearest_distance", "solid"]

_U_PER_A3 = 1.66053906892  # g/cm3 of one atomic mass unit a cubic angstrom (CODATA 2022)
_CLOSEST = 0.75  # of twice the covalent radius. Lithium: 1.92 angstrom; the bundled liquid at 800 K comes to 2.16
_LATTICES: dict[str, list[list[float]]] = {
    "sc": [[0, 0, 0]],
    "bcc": [[0, 0, 0], [0.5, 0.5, 0.5]],
    "fcc": [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
}


def liquid(element: str, n_atoms: int, density: float, seed: int = 0) -> Atoms:
    """A disordered start structure in a periodic cube: a lattice whose atoms are displaced at random.

    The lattice is the simple, body-centred or face-centred cubic one with the fewest sites that hold all
    atoms; sites left over are emptied at random. No pair is closer than 0.75 of twice the covalent radius. It
    is a start, not a liquid yet: melt and equilibrate it.

    Parameters
    ----------
    element
        Chemical symbol.
    n_atoms
        At least 2.
    density
        g/cm3; liquid lithium at 800 K has 0.483.
    seed
        Same seed, same structure.

    Raises
    ------
    ArgumentError
        An unknown element, fewer than 2 atoms, or a density at which atoms would lie on top of each other.
    """
    from ase import Atoms
    from ase.data import atomic_masses, atomic_numbers, covalent_radii

    if not is_symbol(element):
        raise ArgumentError(f"'{element}' is no chemical symbol; write it as in the periodic table, such as 'Li'")
    n_atoms, density = whole("n_atoms", n_atoms, least=2), positive("density", density, "g/cm3")
    seed = whole("seed", seed, least=0)
    number = atomic_numbers[element]
    edge = float(n_atoms * atomic_masses[number] * _U_PER_A3 / density) ** (1 / 3)
    closest = _CLOSEST * 2 * float(covalent_radii[number])
    random = np.random.default_rng(seed)
    sites, nearest = _lattice(int(n_atoms))
    ideal = edge * sites[np.sort(random.permutation(len(sites))[:n_atoms])]
    if edge * nearest <= closest:
        raise ArgumentError(
            f"{n_atoms} atoms of {element} at {density} g/cm3 are {edge * nearest:.2f} angstrom apart even on a "
            f"lattice; atoms closer than {closest:.2f} overlap. The density is in g/cm3: "
            f"at most {density * (edge * nearest / closest) ** 3:.3g} here"
        )
    shift = random.normal(0, 1, (n_atoms, 3))
    width = 0.17 * edge * nearest  # about the Lindemann ratio at melting, times a bit: enough to lose the lattice
    while True:
        atoms = Atoms([element] * n_atoms, positions=ideal + width * shift, cell=edge * np.eye(3), pbc=True)
        if nearest_distance(atoms)[0] > closest:
            return atoms
        width *= 0.97


def solid(element: str, repeats: int = 2, rattle: float = 0.0, seed: int = 0) -> Atoms:
    """The crystal that ASE knows for an element (cubic ones), repeated, with atoms displaced by `rattle` angstrom.

    Raises
    ------
    ArgumentError
        The element has no cubic crystal in ASE, or `repeats` is below 1.
    """
    from ase.build import bulk

    repeats, rattle, seed = whole("repeats", repeats), finite("rattle", rattle), whole("seed", seed, least=0)
    try:
        atoms = bulk(element, cubic=True).repeat(int(repeats))
    except Exception as error:  # ASE raises several kinds
        raise ArgumentError(
            f"ASE knows no cubic crystal of '{element}' ({error}); build the structure with ase.build, or use liquid()"
        ) from error
    atoms.positions += rattle * np.random.default_rng(seed).normal(size=(len(atoms), 3))
    return atoms


def nearest_distance(atoms: Atoms) -> tuple[float, int, int]:
    """The shortest distance between two atoms under periodic boundaries (angstrom), and which two."""
    from ase.geometry import minkowski_reduce
    from ase.neighborlist import primitive_neighbor_list

    # Grow the cut-off until a pair is in it: cheap, and right for small skewed cells, where an atom may meet its
    # own image first (i == j).
    cell = np.asarray(atoms.cell)
    longest = float(np.linalg.norm(minkowski_reduce(cell)[0], axis=1).min()) * 1.001
    cutoff = min(3.0, longest)
    while True:
        i, j, d = primitive_neighbor_list("ijd", (True, True, True), cell, atoms.positions, cutoff)
        if len(d):
            k = int(np.argmin(d))
            return float(d[k]), int(i[k]), int(j[k])
        cutoff = min(1.5 * cutoff, longest)


def _lattice(n: int) -> tuple[NDArray[np.float64], float]:
    """Fractional sites of the fitting cubic lattice, and its nearest distance in units of the edge."""
    choices: list[tuple[int, float, NDArray[np.float64]]] = []
    for name, basis in _LATTICES.items():
        m = int(np.ceil((n / len(basis)) ** (1 / 3) - 1e-9))
        corners = np.stack(np.meshgrid(*[np.arange(m)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
        sites = ((corners + np.array(basis)[None]) / m).reshape(-1, 3)
        nearest = {"sc": 1.0, "bcc": np.sqrt(0.75), "fcc": np.sqrt(0.5)}[name] / m
        choices.append((len(sites), -nearest, sites))
    best = min(choices, key=lambda choice: choice[:2])
    return best[2], -best[1]

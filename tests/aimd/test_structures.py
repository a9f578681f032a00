from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_masses, covalent_radii

from edviz.aimd.structures import liquid, nearest_distance, solid
from edviz.errors import ArgumentError


@pytest.mark.parametrize(("element", "density"), [("Li", 0.483), ("Na", 0.925), ("Al", 2.375), ("Si", 2.57)])
@pytest.mark.parametrize("n", [2, 8, 13, 54])
def test_liquid_has_the_density_and_no_overlaps(element, density, n):
    atoms = liquid(element, n, density, seed=1)
    grams = n * atomic_masses[atoms.numbers[0]] * 1.66053906892e-24
    assert grams / (atoms.get_volume() * 1e-24) == pytest.approx(density, rel=1e-9)
    assert len(atoms) == n and all(atoms.pbc)
    assert nearest_distance(atoms)[0] > 1.5 * covalent_radii[atoms.numbers[0]]


def test_lithium_cell_is_that_of_the_bundled_sample(lithium):
    assert liquid("Li", 54, 0.483).cell.lengths() == pytest.approx(np.diag(lithium.grid.cell), rel=1e-4)


def test_the_seed_alone_decides_and_the_lattice_is_lost():
    one, same, other = (liquid("Li", 54, 0.483, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.positions, same.positions)
    assert not np.allclose(one.positions, other.positions)
    distances = np.sort(one.get_all_distances(mic=True)[np.triu_indices(54, 1)])
    assert np.std(distances[:216]) > 0.2  # 216 nearest pairs of bcc, all equal in the crystal


def test_nearest_distance_agrees_with_all_pairs_and_sees_images():
    random = np.random.default_rng(0)
    for _ in range(10):
        cell = 6 * np.eye(3) + random.uniform(-1, 1, (3, 3))
        atoms = Atoms("Li6", scaled_positions=random.uniform(size=(6, 3)), cell=cell, pbc=True)
        expected = atoms.get_all_distances(mic=True)[np.triu_indices(6, 1)].min()
        assert nearest_distance(atoms)[0] == pytest.approx(expected, abs=1e-9)
    alone = Atoms("Li2", positions=[[0, 0, 0], [0, 0, 20]], cell=[5, 5, 40], pbc=True)
    assert nearest_distance(alone)[0] == pytest.approx(5.0)


def test_nonsense_is_refused_with_a_cure():
    with pytest.raises(ArgumentError, match=r"g/cm3: at most"):
        liquid("Li", 54, 483)
    with pytest.raises(ArgumentError, match="no chemical symbol"):
        liquid("lithium", 54, 0.483)
    with pytest.raises(ArgumentError, match="whole number from 2 on"):
        liquid("Li", 1, 0.483)
    with pytest.raises(ArgumentError, match="positive number"):
        liquid("Li", 54, -1.0)
    with pytest.raises(ArgumentError, match="no cubic crystal"):
        solid("Mg")


def test_solid_is_the_rattled_crystal():
    atoms = solid("Li", 2, rattle=0.05, seed=4)
    assert len(atoms) == 16
    assert 0.01 < np.abs(atoms.positions - solid("Li", 2).positions).max() < 0.3

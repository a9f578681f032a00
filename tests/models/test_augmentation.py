"""Augmentation permutes voxels, keeps physics and can be undone."""

import numpy as np
import torch

import edviz
from edviz.analysis.correlation import structure_factor
from edviz.grid import PeriodicGrid
from edviz.models.augmentation import Augmentation


def test_augmentation_permutes_values_and_keeps_the_structure_factor():
    cell = np.array([[4.0, 0, 0], [2.0, 2 * 3**0.5, 0], [0, 0, 6.0]])  # hexagonal: not only axis swaps
    grid = PeriodicGrid(cell, (6, 6, 8))
    augment = Augmentation(grid)
    assert len(augment.symmetries) == 24
    field = torch.rand(1, 6, 6, 8)
    traj = edviz.DensityTrajectory.from_arrays(field.numpy(), cell, density_kind="valence")
    reference = structure_factor(traj).values
    random = np.random.default_rng(0)
    seen = set()
    for _ in range(20):
        turned = augment(field, random)
        assert torch.equal(turned.flatten().sort().values, field.flatten().sort().values)
        moved = edviz.DensityTrajectory.from_arrays(turned.numpy(), cell, density_kind="valence")
        np.testing.assert_allclose(structure_factor(moved).values, reference, rtol=1e-4, atol=1e-6)
        seen.add(tuple(turned.flatten().tolist()))
    assert len(seen) == 20


def test_every_symmetry_and_shift_can_be_undone():
    augment = Augmentation(PeriodicGrid(np.eye(3), (5, 5, 5)))
    fields, random = torch.rand(2, 5, 5, 5), np.random.default_rng(0)
    assert len(augment.symmetries) == 48
    for symmetry in range(48):
        operation = augment.draw(random)._replace(symmetry=symmetry)
        moved = augment.apply(fields, operation)
        assert symmetry == 0 or not torch.equal(moved, fields)
        assert torch.equal(augment.undo(moved, operation), fields)

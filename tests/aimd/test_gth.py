from __future__ import annotations

import numpy as np
import pytest

from edviz.aimd.gth import bundled_elements, read_gth
from edviz.errors import FileFormatError, MissingDataError


@pytest.mark.parametrize("xc", ["PBE", "LDA"])
def test_projectors_are_normalised(xc):
    r = np.linspace(1e-6, 25, 50001)
    for element in bundled_elements(xc):
        potential = read_gth(element, xc)
        for l in range(len(potential.channels)):  # noqa: E741
            for p in potential.projectors(l, r):
                assert np.trapezoid(p**2, r) == pytest.approx(1, abs=1e-6)


def test_local_potential_is_that_of_the_ion_far_away_and_finite_at_the_nucleus():
    potential = read_gth("Al")
    assert potential.local(np.array([20.0]))[0] == pytest.approx(-3 / 20, rel=1e-12)
    r_loc, c1 = potential.r_loc, potential.c[0]
    assert potential.local(np.array([1e-7]))[0] == pytest.approx(-3 * np.sqrt(2 / np.pi) / r_loc + c1, rel=1e-6)


def test_matrices_are_read_symmetric_from_their_upper_triangles():
    r_l, h = read_gth("Si").channels[0]
    assert r_l == 0.43563383
    assert h.tolist() == [[8.95174150, -2.70627082], [-2.70627082, 3.49378060]]


def test_what_is_missing_or_damaged_is_said(tmp_path):
    with pytest.raises(MissingDataError, match=r"for U .* PBE: Al C H Li .* UPF file of your own"):
        read_gth("U")
    (tmp_path / "cut.txt").write_text("Li GTH-PBE-q1\n 1\n 0.7 2 -1.9 0.3\n 2\n 0.6 1 1.7\n")
    with pytest.raises(FileFormatError, match=r"cut.txt, line 1"):
        read_gth("Li", "PBE", tmp_path / "cut.txt")

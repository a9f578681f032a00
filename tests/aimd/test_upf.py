from __future__ import annotations

import re

import numpy as np
import pytest

from edviz.aimd.gth import read_gth
from edviz.aimd.upf import gth_to_upf, pseudopotential, read_upf_header
from edviz.errors import FileFormatError, MissingDataError

# Rows 10, 500 and 1000 of the file with which the bundled lithium data were computed (Li.gth-pbe-q1.UPF).
RECIPE = {
    "PP_R": [1.26709653e-04, 5.79246478e-02, 3.00057104e01],
    "PP_LOCAL": [-5.88727569, -5.87055603, -0.06665398],
    "PP_BETA.1": [0.00035021, 0.15949231, 0.0],
}


def table(text, tag):
    return np.array(re.search(rf"<{tag}\s[^>]*>(.*?)</{tag}>", text, re.DOTALL).group(1).split(), dtype=float)


def test_lithium_is_the_potential_of_the_bundled_data():
    text = pseudopotential("Li").read_text()
    for tag, expected in RECIPE.items():
        assert table(text, tag)[[10, 500, 1000]] == pytest.approx(expected, rel=1e-4, abs=1e-8)
    assert table(text, "PP_DIJ") == pytest.approx([3.47355422, 0, 0, -0.0307877], rel=1e-6)


@pytest.mark.parametrize("element", ["H", "Li", "Al"])
def test_files_are_consistent(element):
    text = gth_to_upf(read_gth(element))
    rab, rho = table(text, "PP_RAB"), table(text, "PP_RHOATOM")
    assert np.sum(rab * rho) == pytest.approx(read_gth(element).n_valence, rel=1e-9)
    for k in range(1, int(re.search(r'number_of_wfc="(\d)"', text).group(1)) + 1):
        assert np.sum(rab * table(text, f"PP_CHI.{k}") ** 2) == pytest.approx(1, abs=5e-3)


def test_header_and_errors(tmp_path):
    header = read_upf_header(pseudopotential("Al", "LDA"))
    assert (header.element, header.n_valence, header.functional) == ("Al", 3.0, "SLA PW NOGX NOGC")
    with pytest.raises(MissingDataError, match="cannot be read"):
        read_upf_header(tmp_path / "none.UPF")
    (tmp_path / "old.UPF").write_text("<PP_HEADER>\n 0 Version Number\n</PP_HEADER>")
    with pytest.raises(FileFormatError, match="version 2"):
        read_upf_header(tmp_path / "old.UPF")

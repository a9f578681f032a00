from __future__ import annotations

import numpy as np
import pytest

from edviz.aimd.arguments import finite, kpoints_of, positive, symbols_of, whole
from edviz.errors import ArgumentError


def test_any_kind_of_number_becomes_a_plain_one():
    for value in (2, 2.0, np.float32(2), np.int64(2)):
        assert type(positive("x", value)) is type(finite("x", value)) is float
        assert type(whole("x", value)) is int
    assert kpoints_of(np.array([2, 2, 1]).tolist()) == kpoints_of((2.0, 2, 1)) == (2, 2, 1)
    assert kpoints_of("gamma") == "gamma"


def test_what_is_none_is_refused_by_name():
    for value in ("2", None, True, np.nan, np.inf, [2], 2j):
        for check in (finite, positive, whole):
            with pytest.raises(ArgumentError, match=r"^length is a"):
                check("length", value)
    with pytest.raises(ArgumentError, match=r"length is a positive number in fs; got 0\. For none"):
        positive("length", 0, "fs", cure="For none: another")
    with pytest.raises(ArgumentError, match=r"n is a whole number from 2 on; got 1$"):
        whole("n", 1, least=2)
    for value in (2, "Gamma", (1, 2), None):
        with pytest.raises(ArgumentError, match="'mean', 'gamma' or three whole numbers"):
            kpoints_of(value)
    with pytest.raises(ArgumentError, match="three kpoints is a whole number from 1"):
        kpoints_of((0, 1, 1))
    with pytest.raises(ArgumentError, match="files: 'li' is no chemical symbol"):
        symbols_of("files", {"li": "Li.UPF"})
    with pytest.raises(ArgumentError, match="files is a dictionary"):
        symbols_of("files", "Li.UPF")

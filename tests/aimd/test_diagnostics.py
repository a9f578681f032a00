from __future__ import annotations

import numpy as np
import pytest

from edviz.aimd.diagnostics import diagnose, equilibrated_from, statistical_inefficiency
from edviz.errors import MissingDataError


def autoregressive(n, memory, seed):
    noise = np.random.default_rng(seed).normal(size=n)
    values = np.zeros(n)
    for i in range(1, n):
        values[i] = memory * values[i - 1] + noise[i]
    return values


def test_inefficiency_of_an_autoregressive_process_is_known():
    assert statistical_inefficiency(autoregressive(200_000, 0.0, 1)) == pytest.approx(1, abs=0.05)
    assert statistical_inefficiency(autoregressive(200_000, 0.8, 1)) == pytest.approx(1.8 / 0.2, rel=0.1)
    assert statistical_inefficiency(np.ones(10)) == 1


def test_equilibration_is_found_where_the_decay_ends():
    n = 2000
    values = autoregressive(n, 0.5, 2) + 40 * np.exp(-np.arange(n) / 60)
    assert 120 < equilibrated_from(values) < 500
    assert equilibrated_from(autoregressive(n, 0.5, 3)) < 400


def test_bundled_run_is_canonical_and_in_equilibrium(lithium):
    table = diagnose(lithium, 800.0)
    mean, error, expected = table.loc["mean temperature"]
    assert expected == 800 and abs(mean - expected) < 4 * error and error < 20
    ratio, error, _ = table.loc["temperature fluctuation / canonical"]
    assert abs(ratio - 1) < 4 * error
    drift, error, _ = table.loc["potential energy drift"]
    assert abs(drift) < 4 * error
    assert table.loc["uncorrelated samples", "value"] > 20


def test_what_is_missing_is_said(lithium):
    with pytest.raises(MissingDataError, match="at least 20"):
        diagnose(lithium[:10])
    bare = type(lithium)(lithium[:30].ds.drop_vars("temperature"))
    with pytest.raises(MissingDataError, match="no temperature"):
        diagnose(bare)

"""LDA and PBE of the uniform and the slowly varying gas, and the derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from edviz.aimd.functional import derivatives, energy_density

DENSITY = np.array([1e-3, 0.05, 0.7, 20.0])


def test_uniform_gas():
    none = np.zeros(4)
    assert energy_density(DENSITY, none, "PBE") == pytest.approx(energy_density(DENSITY, none, "LDA"), rel=1e-12)
    at_rs = 3 / (4 * np.pi * np.array([2.0, 5.0]) ** 3)
    exchange = -0.75 * (3 / np.pi) ** (1 / 3) * at_rs ** (1 / 3)
    # Correlation energy an electron, Perdew and Wang's table of Monte Carlo results: -0.0448 and -0.0282 Ha.
    assert energy_density(at_rs, 0 * at_rs, "LDA") / at_rs - exchange == pytest.approx([-0.0448, -0.0282], abs=1e-4)


def test_gradients_lower_exchange_and_raise_correlation_to_nothing():
    # For steep densities PBE's correlation vanishes and exchange is (1 + kappa) times LDA's, its Lieb-Oxford bound.
    steep = 1e12 * DENSITY ** (8 / 3)
    exchange = -0.75 * (3 / np.pi) ** (1 / 3) * DENSITY ** (4 / 3)
    assert energy_density(DENSITY, steep, "PBE") == pytest.approx(1.804 * exchange, rel=1e-3)


@pytest.mark.parametrize("xc", ["LDA", "PBE"])
def test_derivatives_are_those_of_differences(xc):
    sigma = 0.5 * DENSITY ** (8 / 3)
    by_density, by_sigma = derivatives(DENSITY, sigma, xc)
    h, k = 1e-5 * DENSITY, 1e-5 * sigma
    slope = (energy_density(DENSITY + h, sigma, xc) - energy_density(DENSITY - h, sigma, xc)) / (2 * h)
    assert by_density == pytest.approx(slope, rel=1e-6)
    slope = (energy_density(DENSITY, sigma + k, xc) - energy_density(DENSITY, sigma - k, xc)) / (2 * k)
    assert by_sigma == pytest.approx(slope, rel=1e-4, abs=1e-12)

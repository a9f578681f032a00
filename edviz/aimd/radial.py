"""The ground state of a spherical atom in the local density approximation, by Chebyshev collocation.

It serves two ends: the starting density and orbitals in a UPF file, and the check of a pseudopotential against
all-electron eigenvalues. Kohn-Sham equation for u(r) = r R(r) with u(0) = u(R) = 0::

    -u''/2 + (l(l+1)/(2 r^2) + V_ext + V_H + V_xc) u + V_nonlocal u = e u

Exchange and correlation: Slater and Perdew-Wang 1992 (J. P. Perdew, Y. Wang, Phys. Rev. B 45, 13244), without
spin. Collocation and quadrature: L. N. Trefethen, "Spectral Methods in MATLAB" (2000), cheb.m and clencurt.m.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eig

from edviz.aimd.gth import GTHPotential

__all__ = ["RadialAtom", "solve_all_electron", "solve_atom", "solve_pseudo_atom"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RadialAtom:
    """Radii r (bohr), density (1/bohr^3), and for each (n, l) the eigenvalue (Ha) and u(r), normalised to 1."""

    r: Array
    density: Array
    states: dict[tuple[int, int], tuple[float, Array]]


def solve_pseudo_atom(potential: GTHPotential) -> RadialAtom:
    """The valence states of a pseudo-atom; n counts from l + 1 in each channel."""

    def nonlocal_part(l: int, r: Array, weights: Array) -> Array | float:  # noqa: E741
        if l >= len(potential.channels):
            return 0.0
        p = potential.projectors(l, r)
        return p.T @ potential.channels[l][1] @ (p * weights)

    occupations = {(l + 1, l): n for l, n in enumerate(potential.occupations) if n}  # noqa: E741
    return solve_atom(potential.local, occupations, nonlocal_part)


def solve_all_electron(z: int, occupations: Mapping[tuple[int, int], float], n_points: int = 300) -> RadialAtom:
    """All states of an atom of nuclear charge `z`; `occupations` maps (n, l) to electrons."""
    return solve_atom(lambda r: -z / r, occupations, n_points=n_points)


def solve_atom(
    external: Callable[[Array], Array],
    occupations: Mapping[tuple[int, int], float],
    nonlocal_part: Callable[[int, Array, Array], Array | float] | None = None,
    n_points: int = 140,
    r_max: float = 30.0,
) -> RadialAtom:
    """Solve the Kohn-Sham equation to self-consistency (change of the density below 1e-9 electrons).

    Raises
    ------
    RuntimeError
        If 300 iterations are not enough, which no neutral atom up to argon needs.
    """
    x, derivative, weights = _chebyshev(n_points)
    r, weights = r_max / 2 * (1 + x), weights * r_max / 2
    second = (derivative @ derivative)[1:-1, 1:-1] * (2 / r_max) ** 2
    r, weights = r[1:-1], weights[1:-1]
    n_electrons = sum(occupations.values())
    density = n_electrons * np.exp(-r) / (8 * np.pi)
    for _ in range(300):
        # (r V_H)'' = -4 pi r rho with r V_H = 0 at 0 and N at r_max: a straight line plus what vanishes at both.
        hartree = (np.linalg.solve(second, -4 * np.pi * r * density) + n_electrons * r / r_max) / r
        potential = external(r) + hartree + _v_xc(density)
        states = {}
        new = np.zeros_like(density)
        for l in sorted({l for _, l in occupations}):  # noqa: E741
            matrix = -second / 2 + np.diag(potential + l * (l + 1) / (2 * r**2))
            if nonlocal_part is not None:
                matrix = matrix + nonlocal_part(l, r, weights)
            values, vectors = eig(matrix)
            order = np.argsort(values.real)
            for (n, l_of_state), occupation in occupations.items():
                if l_of_state != l:
                    continue
                which = order[n - l - 1]
                u = vectors[:, which].real
                u = u / np.sqrt(np.sum(weights * u**2))
                u *= np.sign(u[np.argmax(np.abs(u))])
                states[n, l] = (float(values[which].real), u)
                new += occupation * u**2 / (4 * np.pi * r**2)
        change = float(np.sum(weights * 4 * np.pi * r**2 * np.abs(new - density)))
        if change < 1e-9:
            return RadialAtom(r, new, states)
        density = 0.55 * density + 0.45 * new
    raise RuntimeError(f"the atom is not self-consistent after 300 iterations (change {change:.1e} electrons)")


def _chebyshev(n: int) -> tuple[Array, Array, Array]:
    """Points from -1 to 1 (n + 1 of them), differentiation matrix, Clenshaw-Curtis weights."""
    x = -np.cos(np.pi * np.arange(n + 1) / n)
    c = np.r_[2.0, np.ones(n - 1), 2.0] * (-1.0) ** np.arange(n + 1)
    difference = x[:, None] - x[None, :]
    derivative = np.outer(c, 1 / c) / (difference + np.eye(n + 1))
    derivative -= np.diag(derivative.sum(axis=1))
    theta = np.pi * np.arange(n + 1) / n
    weights = np.zeros(n + 1)  # n is even
    inner = np.ones(n - 1)
    for k in range(1, n // 2):
        inner -= 2 * np.cos(2 * k * theta[1:-1]) / (4 * k**2 - 1)
    inner -= np.cos(n * theta[1:-1]) / (n**2 - 1)
    weights[1:-1] = 2 * inner / n
    weights[0] = weights[-1] = 1 / (n**2 - 1)
    return x, derivative, weights


def _v_xc(density: Array) -> Array:
    rs = (3 / (4 * np.pi * np.maximum(density, 1e-20))) ** (1 / 3)
    a, alpha, beta = 0.0310907, 0.21370, (7.5957, 3.5876, 1.6382, 0.49294)
    root = np.sqrt(rs)
    q = 2 * a * (beta[0] * root + beta[1] * rs + beta[2] * rs * root + beta[3] * rs**2)
    slope = a * (beta[0] / root + 2 * beta[1] + 3 * beta[2] * root + 4 * beta[3] * rs)
    log = np.log1p(1 / q)
    energy = -2 * a * (1 + alpha * rs) * log
    d_energy = -2 * a * alpha * log + 2 * a * (1 + alpha * rs) * slope / (q * (q + 1))
    return -((9 / (4 * np.pi**2)) ** (1 / 3)) / rs + energy - rs / 3 * d_energy

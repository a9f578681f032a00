"""The ground state of a spherical atom in LDA or PBE, by Chebyshev collocation.

It serves two ends: the starting density and orbitals in a UPF file, and the check of a pseudopotential against
all-electron eigenvalues. Kohn-Sham equation for u(r) = r R(r) with u(0) = u(R) = 0::

    -u''/2 + (l(l+1)/(2 r^2) + V_ext + V_H + V_xc) u + V_nonlocal u = e u

Exchange and correlation, without spin: `edviz.aimd.functional`; the potential of PBE is de/drho - div(2 de/dsigma grad
rho), sigma = (grad rho)^2. Collocation and quadrature: L. N. Trefethen, "Spectral Methods in MATLAB" (2000), cheb.m and
clencurt.m.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eig

from edviz.aimd.functional import derivatives
from edviz.aimd.gth import GTHPotential

__all__ = ["RadialAtom", "solve_all_electron", "solve_atom", "solve_pseudo_atom"]

Array = NDArray[np.float64]

_TAIL = 1e-12  # 1/bohr^3: where less is left, gradients are rounding errors and LDA takes over


@dataclass(frozen=True)
class RadialAtom:
    """Radii r (bohr), density (1/bohr^3), and for each (n, l) the eigenvalue (Ha) and u(r), normalised to 1."""

    r: Array
    density: Array
    states: dict[tuple[int, int], tuple[float, Array]]


def solve_pseudo_atom(potential: GTHPotential, xc: str = "LDA") -> RadialAtom:
    """The valence states of a pseudo-atom in "LDA" or "PBE"; n counts from l + 1 in each channel."""

    def nonlocal_part(l: int, r: Array, weights: Array) -> Array | float:  # noqa: E741
        if l >= len(potential.channels):
            return 0.0
        p = potential.projectors(l, r)
        return p.T @ potential.channels[l][1] @ (p * weights)

    occupations = {(l + 1, l): n for l, n in enumerate(potential.occupations) if n}  # noqa: E741
    # Where a pseudo-orbital passes through zero near the nucleus (sodium) PBE's potential has a spike, and the density
    # does not settle to better than some 1e-5 electrons; eigenvalues are then right to 1e-6 Ha.
    return solve_atom(potential.local, occupations, nonlocal_part, xc=xc, tolerance=2e-5 if xc == "PBE" else 1e-9)


def solve_all_electron(
    z: int, occupations: Mapping[tuple[int, int], float], n_points: int = 300, xc: str = "LDA"
) -> RadialAtom:
    """All states of an atom of nuclear charge `z`; `occupations` maps (n, l) to electrons."""
    return solve_atom(lambda r: -z / r, occupations, n_points=n_points, xc=xc)


def solve_atom(
    external: Callable[[Array], Array],
    occupations: Mapping[tuple[int, int], float],
    nonlocal_part: Callable[[int, Array, Array], Array | float] | None = None,
    n_points: int = 140,
    r_max: float = 30.0,
    xc: str = "LDA",
    tolerance: float = 1e-9,
) -> RadialAtom:
    """Solve the Kohn-Sham equation to self-consistency (change of the density below `tolerance`, electrons).

    Raises
    ------
    RuntimeError
        If 300 iterations are not enough, which no neutral atom up to argon needs.
    """
    x, derivative, weights = _chebyshev(n_points)
    r, weights = r_max / 2 * (1 + x), weights * r_max / 2
    second = (derivative @ derivative)[1:-1, 1:-1] * (2 / r_max) ** 2
    r, weights = r[1:-1], weights[1:-1]
    slope = derivative * (2 / r_max)
    n_electrons = sum(occupations.values())
    density = n_electrons * np.exp(-r) / (8 * np.pi)
    v_xc = derivatives(density, np.zeros_like(density), "LDA")[0]
    for _ in range(300):
        # (r V_H)'' = -4 pi r rho with r V_H = 0 at 0 and N at r_max: a straight line plus what vanishes at both.
        hartree = (np.linalg.solve(second, -4 * np.pi * r * density) + n_electrons * r / r_max) / r
        potential = external(r) + hartree + v_xc
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
        if change < tolerance:
            return RadialAtom(r, new, states)
        density = 0.55 * density + 0.45 * new
        v_xc = 0.55 * v_xc + 0.45 * _v_xc(r, new, slope, states, occupations, xc)
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


def _v_xc(
    r: Array,
    density: Array,
    slope: Array,
    states: Mapping[tuple[int, int], tuple[float, Array]],
    occupations: Mapping[tuple[int, int], float],
    xc: str,
) -> Array:
    """Potential of exchange and correlation at the inner points (Ha)."""
    if xc == "LDA":
        return derivatives(np.maximum(density, 1e-20), np.zeros_like(density), xc)[0]
    # Gradients of orbitals, not of the density: rounding then stays small beside the density's tail.
    rho, gradient = np.zeros(len(r) + 2), np.zeros(len(r) + 2)
    for state, occupation in occupations.items():
        u = np.r_[0, states[state][1], 0]
        orbital = np.r_[slope[0] @ u, u[1:-1] / r, 0]
        rho += occupation * orbital**2 / (4 * np.pi)
        gradient += occupation * 2 * orbital * (slope @ orbital) / (4 * np.pi)
    there = rho > _TAIL
    by_density, by_sigma = derivatives(np.maximum(rho, 1e-20), np.where(there, gradient**2, 0.0), xc)
    flow = np.where(there, 2 * by_sigma * gradient, 0.0)
    return (by_density - slope @ flow)[1:-1] - 2 * flow[1:-1] / r

"""Frozen cores written into decoded densities: what does not change from atom to atom need not be learned.

In a total density from pseudopotentials every atom carries the same core, and near its centre the density is a function
of the distance alone: in liquid lithium at 800 K to 0.03 % out to 0.2 angstrom. A decoder knows it to 0.3 %, a
rollout's latents to 0.8 %, and by that a classifier tells every frame. So each decoded frame is compared with atoms at
its own maxima, and

1. each atom's amplitude, the projection of the density near the maximum on the mean profile, is set to one; what that
   takes or gives is put between the atoms, in proportion to the density there, so that the electrons stay;
2. the deviation from superposed pseudo-atoms (`edviz.analysis.pseudo_atoms`) is damped, shell by shell of abs(k), to
   the power that it has in true densities (Wiener's filter would take more, and leave too smooth a density);
3. the amplitudes are set again.

Profile, form factor and gains come from training frames and their reconstructions. The steps commute with translations
and with the symmetries of grid and cell; positions are not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray

from edviz.analysis.pseudo_atoms import structure_amplitude
from edviz.analysis.sites import find_sites
from edviz.errors import ArgumentError
from edviz.grid import PeriodicGrid

__all__ = ["FrozenCores"]

_DEGREE = 12  # of ln(profile) in the squared distance: right to 0.02 % for lithium's core
_FLOOR = 0.5  # times the lowest true value: the damped density is kept above
_FROZEN = 0.5  # true amplitudes scatter less than this times the decoded ones, or are no frozen cores
_NEAR = 0.25  # of the profile's peak: out to there an amplitude is measured
_FADE = 1.6  # times that radius: out to there it acts


class _Near(NamedTuple):
    """Grid points near atoms, flat, one entry a point and atom."""

    points: NDArray[np.intp]
    owner: NDArray[np.intp]
    core: NDArray[np.float64]
    """The mean profile there."""
    fade: NDArray[np.float64]
    """One within the inner radius, zero at the outer one."""
    measured: NDArray[np.bool_]
    """Within the inner radius."""
    n_sites: int


class FrozenCores:
    """Mean profile of an atom, form factor of the pseudo-atoms and gain of the deviation; densities over their mean.

    Parameters
    ----------
    grid
        The grid that they are for.
    profile
        (n,) Chebyshev coefficients of ln(rho) at a distance d from an atom, in 2 (d / outer)^2 - 1.
    form_factor, gain
        (m,) of the shells of abs(k) of `grid`, from the smallest: the former for waves in the order and norm of
        `numpy.fft`, the latter between 0 and 1.
    radii_and_floor
        (3,): the radii within which an amplitude is measured and acts, angstrom; the lowest value given out.

    Raises
    ------
    ArgumentError
        If the numbers are not such.
    """

    def __init__(
        self,
        grid: PeriodicGrid,
        profile: ArrayLike,
        form_factor: ArrayLike,
        gain: ArrayLike,
        radii_and_floor: ArrayLike,
    ) -> None:
        self.profile, self.form_factor, self.gain, self.radii_and_floor = (
            np.asarray(x, np.float64) for x in (profile, form_factor, gain, radii_and_floor)
        )
        self.grid = grid
        self._shell = _shells(grid)
        shells = (int(self._shell.max()) + 1,)
        numbers = np.concatenate([self.profile.ravel(), self.form_factor.ravel(), self.radii_and_floor.ravel()])
        if not (np.isfinite(numbers).all() and self.profile.ndim == 1 and self.radii_and_floor.shape == (3,)):
            raise ArgumentError("frozen cores need finite numbers, two radii and a floor.")
        if not (0 < self.inner < self.outer and self.floor > 0):
            raise ArgumentError("frozen cores need 0 < inner < outer radius and a floor above zero.")
        if self.form_factor.shape != shells or self.gain.shape != shells:
            raise ArgumentError(f"frozen cores for this grid have {shells[0]} shells of abs(k).")
        if not ((self.gain >= 0) & (self.gain <= 1)).all():
            raise ArgumentError("the gains of frozen cores lie between 0 and 1.")

    @property
    def inner(self) -> float:
        """Within this distance of an atom its amplitude is measured, angstrom."""
        return float(self.radii_and_floor[0])

    @property
    def outer(self) -> float:
        """Out to this distance an amplitude acts, angstrom."""
        return float(self.radii_and_floor[1])

    @property
    def floor(self) -> float:
        """Lowest value given out."""
        return float(self.radii_and_floor[2])

    @classmethod
    def fit(
        cls, decoded: Sequence[NDArray[np.floating]], true: Sequence[NDArray[np.floating]], grid: PeriodicGrid
    ) -> FrozenCores | None:
        """From true frames and what the autoencoder makes of them, both (time, a, b, c), of any unit, positive.

        Returns
        -------
        None where there is no such core: where the frames do not all have the same number of maxima, or the true
        amplitudes scatter more than half as much as the decoded ones.
        """
        ours, theirs = ([np.asarray(x, np.float64) / x.mean() for x in frames] for frames in (decoded, true))
        if len(ours) != len(theirs) or not ours:
            raise ArgumentError("frozen cores need as many decoded frames as true ones, and at least one.")
        sites, found = ([find_sites(x, grid) for x in frames] for frames in (theirs, ours))
        if len({len(one) for one in (*sites, *found)}) != 1 or not len(sites[0]):
            return None
        closest = min(_closest(one, grid) for one in sites)
        profile, inner, outer = _profile(theirs, sites, grid, closest / 2)
        blank = np.ones(int(_shells(grid).max()) + 1)
        cores = cls(grid, profile, blank, blank, (inner, outer, _FLOOR * min(x.min() for x in theirs)))
        near, near_found = ([cores._around(one) for one in where] for where in (sites, found))
        scatter = [
            np.std([cores._amplitudes(x, one) for x, one in zip(frames, around, strict=True)])
            for frames, around in ((theirs, near), (ours, near_found))
        ]
        if scatter[0] > _FROZEN * scatter[1]:
            return None
        atoms, atoms_found = ([structure_amplitude(one, grid) for one in where] for where in (sites, found))
        waves = [np.fft.rfftn(x) for x in theirs]
        overlap = cores._sum((x * one.conj()).real for x, one in zip(waves, atoms, strict=True))
        power = cores._sum(np.abs(one) ** 2 for one in atoms)
        cores.form_factor = np.divide(overlap, power, out=np.zeros(len(blank)), where=power > 0)
        factor = cores.form_factor[cores._shell]
        mended = [np.fft.rfftn(cores._with_amplitudes(x, one)) for x, one in zip(ours, near_found, strict=True)]
        right, wrong = (
            cores._sum(np.abs(x - one * factor) ** 2 for x, one in zip(frames, where, strict=True))
            for frames, where in ((waves, atoms), (mended, atoms_found))
        )
        ratio = np.divide(right, wrong, out=np.ones(len(blank)), where=wrong > 0)
        cores.gain = np.sqrt(np.minimum(ratio, 1.0))
        cores.gain[0] = 1.0
        return cores

    def __call__(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Densities (..., a, b, c) over their mean, on `grid`, with the cores in."""
        result = np.empty(values.shape)
        for index in np.ndindex(values.shape[:-3]):
            result[index] = self._frame(np.asarray(values[index], np.float64))
        return result

    def _frame(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        sites = find_sites(values, self.grid)
        if not len(sites):
            return values
        near = self._around(sites)
        atoms = structure_amplitude(sites, self.grid) * self.form_factor[self._shell]
        deviation = np.fft.rfftn(self._with_amplitudes(values, near)) - atoms
        waves = atoms + self.gain[self._shell] * deviation
        damped = np.fft.irfftn(waves, s=self.grid.shape, axes=(0, 1, 2))
        result: NDArray[np.float64] = np.maximum(self._with_amplitudes(damped, near), self.floor)
        return result

    def _around(self, sites: NDArray[np.float64]) -> _Near:
        """Grid points within `outer` of each site."""
        points, distances, owner = _points_within(self.grid, sites, self.outer)
        fade = np.clip((self.outer - distances) / (self.outer - self.inner), 0.0, 1.0)
        return _Near(points, owner, self._at(distances), fade, distances < self.inner, len(sites))

    def _at(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean profile."""
        return _evaluate(self.profile, distances, self.outer)

    def _amplitudes(self, values: NDArray[np.float64], near: _Near) -> NDArray[np.float64]:
        """Each atom's amplitude less one, by least squares in which the centre counts most; 0 if no point is near."""
        use = near.measured
        core, atom = near.core[use], near.owner[use]
        above = np.bincount(atom, core**3 * (values.ravel()[near.points[use]] - core), near.n_sites)
        weight = np.bincount(atom, core**4, near.n_sites)
        return np.divide(above, weight, out=np.zeros(near.n_sites), where=weight > 0)

    def _with_amplitudes(self, values: NDArray[np.float64], near: _Near) -> NDArray[np.float64]:
        """All amplitudes one, and the mean what it was."""
        excess = self._amplitudes(values, near)[near.owner] * near.core * near.fade
        result = values.ravel().copy()
        np.subtract.at(result, near.points, excess)
        between = np.ones_like(result)
        np.subtract.at(between, near.points, near.fade)
        between = between.clip(0.0) * result
        result += between * (excess.sum() / between.sum())
        return result.reshape(values.shape)

    def _sum(self, powers: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Over each shell, of something that waves k and -k share."""
        total = np.zeros(int(self._shell.max()) + 1)
        for power in powers:
            total += np.bincount(self._shell.ravel(), (power * self.grid.half_weights()).ravel())
        return total


def _shells(grid: PeriodicGrid) -> NDArray[np.intp]:
    """Number of the shell of abs(k) of each wave of `numpy.fft.rfftn`."""
    norms = grid.k_norms(half=True)
    return np.asarray(np.unique(norms.round(6), return_inverse=True)[1], np.intp).reshape(norms.shape)


def _points_within(
    grid: PeriodicGrid, sites: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.intp]]:
    """Grid points within a radius of each site: their flat numbers, distances and the numbers of the sites."""
    shape = np.array(grid.shape)
    reach = np.ceil(radius / grid.heights * shape).astype(int) + 1
    box = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1).reshape(-1, 3)
    fractional = grid.to_fractional(sites) * shape
    points = np.rint(fractional).astype(int)[:, None] + box
    distances = np.linalg.norm(((points - fractional[:, None]) / shape) @ grid.cell, axis=-1)
    owner, which = np.nonzero(distances < radius)
    numbers = np.ravel_multi_index(tuple(np.moveaxis(points[owner, which] % shape, -1, 0)), grid.shape)
    return numbers, distances[owner, which], owner


def _closest(sites: NDArray[np.float64], grid: PeriodicGrid) -> float:
    """Smallest distance between two sites, or between a site and its image along an edge."""
    distances = np.linalg.norm(grid.nearest_image(sites[:, None] - sites[None]), axis=-1)
    distances[np.diag_indices(len(sites))] = np.linalg.norm(grid.cell, axis=1).min()
    return float(distances.min())


def _evaluate(coefficients: NDArray[np.float64], distances: NDArray[np.float64], outer: float) -> NDArray[np.float64]:
    """A profile at distances up to `outer`."""
    result: NDArray[np.float64] = np.exp(chebyshev.chebval(2 * (distances / outer) ** 2 - 1, coefficients))
    return result


def _profile(
    frames: Sequence[NDArray[np.float64]], sites: Sequence[NDArray[np.float64]], grid: PeriodicGrid, outer: float
) -> tuple[NDArray[np.float64], float, float]:
    """Coefficients of the mean profile, and the radii within which amplitudes are measured and act.

    At first out to `outer`, half the smallest distance of two atoms, to find how wide a core is; then to no more than
    its width asks for.
    """
    coefficients, inner = _profile_within(frames, sites, grid, outer)
    if outer > 1.01 * _FADE * inner:
        outer = _FADE * inner
        coefficients, inner = _profile_within(frames, sites, grid, outer)
    return coefficients, min(inner, outer / 1.01), outer


def _profile_within(
    frames: Sequence[NDArray[np.float64]], sites: Sequence[NDArray[np.float64]], grid: PeriodicGrid, outer: float
) -> tuple[NDArray[np.float64], float]:
    """Coefficients of the mean profile out to `outer`, and where it has fallen to `_NEAR` of its peak."""
    near = [_points_within(grid, one, outer) for one in sites]
    distances = np.concatenate([distance for _, distance, _ in near])
    values = np.concatenate([frame.ravel()[points] for frame, (points, _, _) in zip(frames, near, strict=True)])
    degree = min(_DEGREE, max(1, len(values) // 10))
    coefficients = chebyshev.chebfit(2 * (distances / outer) ** 2 - 1, np.log(values), degree)
    along = np.linspace(0.0, outer, 201)
    shape = _evaluate(coefficients, along, outer)
    low = np.flatnonzero(shape < _NEAR * shape[0])
    return coefficients, float(along[low[0]]) if low.size else outer / _FADE

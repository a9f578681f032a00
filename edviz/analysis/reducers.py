"""What the one pass keeps of every frame and of every block: one small class a measurement, all of them in `REDUCERS`.

To measure something else in the same pass, write a class and add it to `REDUCERS`: its variables then stand in every
summary, are pooled over blocks and windows as `Variable.pool` says, and reach the rows through `Evidence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edviz.analysis.block_atoms import BlockAtoms, msd_lags, pair_distances
from edviz.analysis.correlation import Shells, waves
from edviz.analysis.gradients import gradient_magnitude
from edviz.analysis.histogram import bin_coordinates, log_power_sums, safe_log
from edviz.analysis.scattering import shell_correlation
from edviz.errors import GridMismatchError

if TYPE_CHECKING:
    from edviz.analysis.summary import Plan

__all__ = ["REDUCERS", "Batch", "PerFrame", "Reducer", "Variable", "scattering_shells"]

SCATTERING_FS = 200.0  # longest lag of F(k,t), and its shells: the protocol's
SCATTERING_K = (1.0, 4.0)  # 1/angstrom


@dataclass(frozen=True)
class Variable:
    """A variable of a summary.

    Attributes
    ----------
    dims
        After (sample, time), or after (sample, block).
    units
        In the schema's spelling; empty for counts.
    pool
        Over the frames of a block or a window: their sum, their mean, or nothing.
    """

    dims: tuple[str, ...] = ()
    units: str = ""
    pool: Literal["sum", "mean"] | None = None


class Batch:
    """A few consecutive frames of one sample, and what several reducers need of them, worked out once.

    Attributes
    ----------
    values
        (frame, a, b, c) float32, e/angstrom^3.
    previous
        (a, b, c) the frame before; None at the beginning of a trajectory.
    """

    def __init__(self, values: NDArray[np.float32], previous: NDArray[np.float32] | None) -> None:
        self.values = values
        self.previous = previous

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def flat(self) -> NDArray[np.float32]:
        """(frame, point)."""
        return self.values.reshape(len(self.values), -1)

    @cached_property
    def logs(self) -> NDArray[np.float32]:
        """(frame, point) ln(rho)."""
        return safe_log(self.flat)

    @cached_property
    def waves(self) -> NDArray[np.complex64]:
        """(frame, a, b, c // 2 + 1) half of the Fourier transform, see `edviz.analysis.correlation.waves`."""
        return waves(self.values)

    @cached_property
    def minimum(self) -> NDArray[np.float32]:
        """(frame,) smallest value."""
        return self.flat.min(axis=1)


class Reducer:
    """One measurement over the frames of one segment: made with the plan, fed batch by batch, asked once.

    `finish` returns an array for each name in `variables`. ``over = "time"``: one entry a frame seen, in order.
    ``over = "block"``: what the block has so far; only fed in blocks, and pieces of a block are added up, so with no
    frame seen it must be zeros of the right shape. A block comes in one piece if `whole_blocks`: for statistics that
    relate frames far apart, at the price of one worker a block.
    """

    over: ClassVar[Literal["time", "block"]] = "time"
    whole_blocks: ClassVar[bool] = False
    variables: ClassVar[Mapping[str, Variable]]

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @classmethod
    def applies(cls, plan: Plan) -> bool:
        """Whether the data have what it measures."""
        return True

    @classmethod
    def coordinates(cls, plan: Plan) -> dict[str, Any]:
        """Coordinates of the dimensions that it brings."""
        return {}

    def update(self, batch: Batch) -> None:
        """Take the next frames."""
        raise NotImplementedError

    def finish(self) -> dict[str, NDArray[Any]]:
        """What was found."""
        raise NotImplementedError


class PerFrame(Reducer):
    """Base of what is measured frame by frame: a subclass only has to say how, in `measure`."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._found: list[dict[str, NDArray[Any]]] = []

    def measure(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """(frame, ...) of each variable."""
        raise NotImplementedError

    def update(self, batch: Batch) -> None:
        """Measure the next frames."""
        self._found.append(self.measure(batch))

    def finish(self) -> dict[str, NDArray[Any]]:
        """All frames' values."""
        return {name: np.concatenate([found[name] for found in self._found]) for name in self.variables}


class LogValues(PerFrame):
    """Histogram and moments of ln(rho), and how many values have no logarithm."""

    variables: ClassVar = {
        "counts": Variable(("bin",), pool="sum"),
        "log_sums": Variable(("power",), pool="sum"),
        "not_positive": Variable(pool="sum"),
    }

    @classmethod
    def coordinates(cls, plan: Plan) -> dict[str, Any]:
        """The bins."""
        return bin_coordinates(plan.log_bins)

    def measure(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """(frame, bin), (frame, 3) and (frame,)."""
        # Counts are most of a summary: the smallest integers that hold them.
        smallest = np.uint16 if batch.flat.shape[1] < 1 << 16 else np.int32
        return {
            "counts": self.plan.log_bins.count(batch.logs).astype(smallest),
            "log_sums": log_power_sums(batch.logs),
            "not_positive": (batch.flat <= 0).sum(axis=1) if batch.minimum.min() <= 0 else np.zeros(len(batch), int),
        }


class Levels(PerFrame):
    """Electrons, contrast (standard deviation / mean density) and smallest value."""

    variables: ClassVar = {
        "electrons": Variable(units="e"),
        "contrast": Variable(units="1", pool="mean"),
        "minimum": Variable(units="e/angstrom^3"),
    }

    def measure(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """(frame,) each."""
        return {
            "electrons": batch.flat.sum(axis=1, dtype=np.float64) * self.plan.shells.grid.voxel_volume,
            "contrast": batch.flat.std(axis=1, dtype=np.float64) / self.plan.mean,
            "minimum": batch.minimum.astype(np.float64),
        }


class Structure(PerFrame):
    """S(k) of each frame."""

    variables: ClassVar = {"structure_factor": Variable(("k",), "1", "mean")}

    @classmethod
    def coordinates(cls, plan: Plan) -> dict[str, Any]:
        """The shells."""
        return plan.shells.coordinates()

    def measure(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """(frame, k)."""
        return {"structure_factor": self.plan.shells.power_of(batch.waves) / self.plan.n_electrons}


class Gradients(PerFrame):
    """Histogram of abs(grad rho): which values lie beside which."""

    variables: ClassVar = {"gradient_counts": Variable(("gradient_bin",), pool="sum")}

    @classmethod
    def applies(cls, plan: Plan) -> bool:
        """Whether the plan has bins for it."""
        return plan.gradient_bins is not None

    def measure(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """(frame, gradient_bin)."""
        bins = self.plan.gradient_bins
        assert bins is not None, "applies() was not asked"
        magnitude = gradient_magnitude(batch.values, self.plan.shells.grid)
        smallest = np.uint16 if batch.flat.shape[1] < 1 << 16 else np.int32
        return {"gradient_counts": bins.count(magnitude.reshape(len(batch), -1)).astype(smallest)}


class Step(PerFrame):
    """Mean abs change since the frame before / mean density, %; not a number for a trajectory's first frame."""

    variables: ClassVar = {"step": Variable(units="%", pool="mean")}

    def measure(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """(frame,)."""
        first = batch.values[:1] if batch.previous is None else batch.previous[None]
        moved = np.concatenate([first, batch.values])
        change = np.abs(np.diff(moved, axis=0)).mean(axis=(-3, -2, -1), dtype=np.float64) * (100 / self.plan.mean)
        if batch.previous is None:
            change[0] = np.nan
        return {"step": change}


class Values(Reducer):
    """The distribution of rho in each block, finely enough for Wasserstein and Kolmogorov-Smirnov distances."""

    over: ClassVar = "block"
    variables: ClassVar = {"value_counts": Variable(("value_bin",)), "value_excess": Variable(("side",))}

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._counts = np.zeros(plan.value_bins.n + 2, dtype=np.int64)
        self._excess = np.zeros(2)

    def update(self, batch: Batch) -> None:
        """Count."""
        self._counts += self.plan.value_bins.count(batch.flat).sum(axis=0)
        self._excess += self.plan.value_bins.excess(batch.flat).sum(axis=0)

    def finish(self) -> dict[str, NDArray[Any]]:
        """(value_bin,) and (side,)."""
        return {"value_counts": self._counts, "value_excess": self._excess}


def scattering_shells(plan: Plan) -> Shells | None:
    """The shells of F(k,t) that the reference's grid carries; None if there is none."""
    try:
        return Shells(plan.shells.grid, SCATTERING_K[1], SCATTERING_K[0])
    except GridMismatchError:
        return None


class Scattering(Reducer):
    """F(k,t) of each block, from pairs of frames inside it."""

    over: ClassVar = "block"
    whole_blocks: ClassVar = True
    variables: ClassVar = {"scattering": Variable(("scattering_k", "lag"), "1")}

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        shells = scattering_shells(plan)
        assert shells is not None, "applies() was not asked"
        self._shells = shells
        self._n_lags = self.n_lags(plan)
        self._sums = np.zeros((len(shells), self._n_lags))
        self._counts = np.zeros(self._n_lags, dtype=np.int64)
        self._waiting: list[NDArray[np.complex64]] = []
        self._halo = np.empty((0, len(shells.weights)), dtype=np.complex64)

    @staticmethod
    def n_lags(plan: Plan) -> int:
        """Lags from 0 to `SCATTERING_FS`; 0 if frames are too far apart for any."""
        longest = int(SCATTERING_FS / plan.interval + 1e-6) if plan.interval > 0 else 0
        return longest + 1 if longest else 0

    @classmethod
    def applies(cls, plan: Plan) -> bool:
        """Whether a block is long enough and the grid fine enough."""
        return 0 < cls.n_lags(plan) < plan.n_frames and scattering_shells(plan) is not None

    @classmethod
    def coordinates(cls, plan: Plan) -> dict[str, Any]:
        """Shells and lags."""
        shells = scattering_shells(plan)
        assert shells is not None
        lags = plan.interval * np.arange(cls.n_lags(plan))
        return {
            "scattering_k": ("scattering_k", shells.centers, {"units": "1/angstrom"}),
            "lag": ("lag", lags, {"units": "fs"}),
        }

    def update(self, batch: Batch) -> None:
        """Collect rho_k of a few times the longest lag, then correlate."""
        self._waiting.append(self._shells.modes_of(batch.waves))
        if sum(map(len, self._waiting)) >= 4 * self._n_lags:
            self._correlate()

    def _correlate(self) -> None:
        modes = np.concatenate([self._halo, *self._waiting])
        added, pairs = shell_correlation(modes, self._shells, self._n_lags, len(self._halo))
        self._sums += added
        self._counts += pairs
        self._halo, self._waiting = modes[max(0, len(modes) - self._n_lags + 1) :], []

    def finish(self) -> dict[str, NDArray[Any]]:
        """(scattering_k, lag); not a number on a shell without any wave."""
        if self._waiting:
            self._correlate()
        if not self._counts.any():
            return {"scattering": self._sums}
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = self._sums / self._counts
            return {"scattering": correlation / correlation[:, :1]}


class Atoms(Reducer):
    """The atoms of each block as the density shows them: g(r), mean squared displacement, and how many were found."""

    over: ClassVar = "block"
    whole_blocks: ClassVar = True
    variables: ClassVar = {
        "pair_distribution": Variable(("r",), "1"),
        "msd": Variable(("msd_lag",), "angstrom^2"),
        "atoms_found": Variable(units="1"),
    }

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._atoms = BlockAtoms(plan.shells.grid, plan.density_kind, plan.n_atoms, plan.n_frames, plan.interval)

    @classmethod
    def applies(cls, plan: Plan) -> bool:
        """Whether the reference shows its atoms."""
        return not plan.no_atoms

    @classmethod
    def coordinates(cls, plan: Plan) -> dict[str, Any]:
        """Distances and lags."""
        return {
            "r": ("r", pair_distances(plan.shells.grid), {"units": "angstrom"}),
            "msd_lag": ("msd_lag", msd_lags(plan.n_frames, plan.interval), {"units": "fs"}),
        }

    def update(self, batch: Batch) -> None:
        """Find and follow."""
        for field in batch.values:
            self._atoms.follow(field)

    def finish(self) -> dict[str, NDArray[Any]]:
        """(r,), (msd_lag,) and ()."""
        return self._atoms.measure()


#: What every pass measures, in this order.
REDUCERS: tuple[type[Reducer], ...] = (LogValues, Levels, Structure, Gradients, Step, Values, Scattering, Atoms)

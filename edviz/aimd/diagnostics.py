"""Is a run in equilibrium, and does its thermostat do what it should?

The kinetic temperature of f degrees of freedom in the canonical ensemble is a chi-squared variable: its standard
deviation is T sqrt(2 / f), with f = 3 N - 3 for a fixed centre of mass. Correlated samples count as n / g, with g
the statistical inefficiency; equilibration ends where the most uncorrelated samples are left (J. D. Chodera, J.
Chem. Theory Comput. 12, 1799 (2016)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edviz.errors import MissingDataError

if TYPE_CHECKING:
    import pandas as pd

    from edviz.trajectory import DensityTrajectory

__all__ = ["diagnose", "equilibrated_from", "statistical_inefficiency"]

_FEWEST = 20


def diagnose(traj: DensityTrajectory, temperature: float | None = None) -> pd.DataFrame:
    """Thermostat and equilibration of a trajectory, one quantity a row.

    Parameters
    ----------
    traj
        With `temperature` and `energy` for each frame.
    temperature
        The thermostat's, K; None for a run without one.

    Returns
    -------
    Columns `value`, `error` (one standard error, of correlated samples) and `expected`, over the equilibrated
    part: mean temperature (K); its standard deviation over the canonical one; drift of the potential energy and of
    the total energy (eV an atom and ps; the latter should vanish without a thermostat); `equilibrated from` (fs),
    the later of temperature's and energy's; and the number of uncorrelated samples.

    Raises
    ------
    MissingDataError
        No temperature, energy or positions, or fewer than 20 frames.
    """
    import pandas as pd

    for name in ("temperature", "energy", "numbers"):
        if name not in traj.ds:
            raise MissingDataError(f"the trajectory has no {name}: diagnose() is for runs of edviz.aimd or alike")
    if len(traj) < _FEWEST:
        raise MissingDataError(f"{len(traj)} frames say nothing about equilibrium: at least {_FEWEST}")
    time = traj.ds["time"].values
    heat = traj.ds["temperature"].values.astype(float)
    energy = traj.ds["energy"].values.astype(float)
    n = traj.ds.sizes["atom"]
    freedom = 3 * n - 3
    first = max(equilibrated_from(heat), equilibrated_from(energy))
    heat, energy, time = heat[first:], energy[first:], time[first:]
    g = statistical_inefficiency(heat)
    mean, samples = float(heat.mean()), len(heat) / g
    canonical = (temperature or mean) * (2 / freedom) ** 0.5
    total = energy + 0.5 * freedom * 8.617333262e-5 * heat
    rows = {
        "mean temperature": (mean, float(heat.std() * (g / len(heat)) ** 0.5), temperature),
        "temperature fluctuation / canonical": (
            float(heat.std() / canonical),
            float(1 / (2 * samples) ** 0.5),
            None if temperature is None else 1.0,
        ),
        "potential energy drift": (*_slope(time * 1e-3, energy / n), 0.0),
        "total energy drift": (*_slope(time * 1e-3, total / n), 0.0 if temperature is None else None),
        "equilibrated from": (float(time[0]), None, None),
        "uncorrelated samples": (samples, None, None),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "error", "expected"]).astype(float)


def statistical_inefficiency(values: ArrayLike) -> float:
    """g = 1 + 2 sum of the autocorrelation up to where it first vanishes: samples it takes for a new one; >= 1."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    x = x - x.mean()
    variance = float(np.mean(x**2))
    if n < 3 or variance == 0:
        return 1.0
    spectrum = np.abs(np.fft.rfft(x, 2 * n)) ** 2
    correlation: NDArray[np.float64] = np.fft.irfft(spectrum)[:n] / (np.arange(n, 0, -1) * variance)
    negative = np.flatnonzero(correlation <= 0)
    end = int(negative[0]) if len(negative) else n
    lags = np.arange(1, end)
    return max(1.0, 1 + 2 * float(np.sum((1 - lags / n) * correlation[1:end])))


def equilibrated_from(values: ArrayLike) -> int:
    """Index from which the most uncorrelated samples are left; looks at up to 50 places in the first 80 %."""
    x = np.asarray(values, dtype=np.float64)
    starts = np.unique(np.linspace(0, 0.8 * len(x), 50).astype(int))
    return int(max(starts, key=lambda start: (len(x) - start) / statistical_inefficiency(x[start:])))


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope of a straight line and its standard error, with the residuals' correlation."""
    slope, offset = np.polyfit(x, y, 1)
    residual = y - slope * x - offset
    g = statistical_inefficiency(residual)
    spread = float(np.sum((x - x.mean()) ** 2))
    return float(slope), float((g * np.sum(residual**2) / max(len(x) - 2, 1) / spread) ** 0.5)

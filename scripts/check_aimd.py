"""Does edviz.aimd do what statistical mechanics says? About an hour on one core; the figures are in docs/aimd.md.

    python scripts/check_aimd.py                     # all of it
    python scripts/check_aimd.py nve nvt --folder checks

nve     8 and 16 Li atoms at constant energy: drift of the total energy an atom and ps.
npt     16 Li atoms by DFTpy, 8 by QE, at 0 GPa: volume; pressure at constant volume, the mean one.
nvt     54 Li atoms with a fitted potential for 120 ps, 8 by DFTpy for 20 ps, 8 by QE for 4 ps: temperatures against the
        canonical (chi-squared) distribution.
liquid  54 Li atoms, settings of the bundled data, from one of its frames with new velocities: g(r) of the last 200 of
        300 fs against the bundled run, beside what 200 fs of that run differ from it; the electron count.
melted  the same of 2 ps after melting and equilibrating a start structure of our own; some thirty core-minutes.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from ase import Atoms, units
from numpy.typing import NDArray
from scipy import stats

import edviz
from edviz.aimd.barostat import pressure_of
from edviz.aimd.diagnostics import diagnose, statistical_inefficiency
from edviz.aimd.engine import EngineResult
from edviz.aimd.engines import engine_of
from edviz.aimd.fitted_potential import fit_potential
from edviz.analysis.pairs import first_peak, fit_peak, pair_distribution


def core_seconds() -> float:
    """Of this process and of the engines it has started and ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def nve(folder: Path) -> None:
    """Drift at constant energy."""
    for n_atoms, timestep, duration in ((8, 1.0, 500.0), (8, 2.0, 1000.0), (16, 2.0, 400.0)):
        traj = edviz.aimd.run(
            edviz.aimd.liquid("Li", n_atoms, 0.483, seed=5), temperature=800, timestep=timestep, duration=duration,
            ensemble="nve", out=folder / f"nve-{n_atoms}-{timestep:g}.h5", seed=5, grid=(16, 16, 16),
        )  # fmt: skip
        value, error, _ = diagnose(traj).loc["total energy drift"]
        total = traj.ds.energy.values + 1.5 * (n_atoms - 1) * 8.617333262e-5 * traj.ds.temperature.values
        exchanged = np.ptp(traj.ds.energy.values) / n_atoms
        print(
            f"nve, {n_atoms} Li, {timestep:g} fs, {duration:g} fs: drift {1e3 * value:+.3f} +- {1e3 * error:.3f} meV "
            f"an atom and ps; standard deviation {1e3 * total.std() / n_atoms:.3f} meV an atom, where potential and "
            f"kinetic energy exchange {1e3 * exchanged:.1f}"
        )


AS_BUNDLED = {"kpoints": "gamma", "tolerance": 2e-8}  # the bundled run's engine


class Fitted:
    """An engine for long runs: a classical potential fitted to the bundled forces, in an even density."""

    name, density_kind, n_electrons, with_stress = "fitted", "valence", 54.0, False

    def __init__(self) -> None:
        self.potential, _ = fit_potential(edviz.load_sample("lithium-800K")[:200:4])

    def prepare(self, atoms: Atoms) -> None:
        """Nothing to look up."""

    def start(self, atoms: Atoms) -> None:
        """For this cell."""
        self.atoms = atoms.copy()
        self.atoms.set_constraint()
        self.density = np.full((2, 2, 2), self.n_electrons / atoms.get_volume())

    def compute(self, positions: NDArray[np.float64]) -> EngineResult:
        """Energy and forces of the potential."""
        self.atoms.set_positions(positions)
        self.potential.calculate(self.atoms)
        found = self.potential.results
        return EngineResult(found["energy"], found["forces"], self.density, 1)

    def describe(self) -> dict[str, Any]:
        """What it is."""
        return {"engine": "classical potential fitted to the bundled forces", "method": "no electrons"}

    def close(self) -> None:
        """Nothing to end."""


def nvt(folder: Path) -> None:
    """Temperatures of the thermostat: many with a classical potential, fewer with DFT."""
    target = 800.0
    eight = edviz.aimd.liquid("Li", 8, 0.483, seed=6)
    many = edviz.load_sample("lithium-800K")[0].to_ase()[0]
    for name, engine, start, duration, save_every in (
        ("fitted", Fitted(), many, 120_000.0, 10),
        ("dftpy", "dftpy", eight, 20_000.0, 1),
        ("qepy", "qepy", eight, 4000.0, 1),
    ):
        traj = edviz.aimd.run(
            start, engine, temperature=target, timestep=2.0, duration=duration, friction=0.02, save_every=save_every,
            checkpoint_every=1000 if name == "fitted" else 50, out=folder / f"nvt-{name}.h5", seed=6,
            grid=(8, 8, 8) if len(start) == 8 else (14, 14, 14),
        )  # fmt: skip
        table = diagnose(traj, target)
        print(table.to_string())
        freedom = 3 * len(start) - 3
        values = traj.sel(time=slice(float(table.loc["equilibrated from", "value"]), None)).ds.temperature.values
        every = int(np.ceil(2 * statistical_inefficiency(values)))  # correlation between neighbours: exp(-4)
        apart = values[::every] * freedom / target
        test = stats.kstest(apart, stats.chi2(freedom).cdf)
        print(
            f"nvt, {name}: Kolmogorov-Smirnov against chi-squared of {freedom} degrees of freedom, {len(apart)} "
            f"temperatures {every * save_every} steps apart: distance {test.statistic:.3f}, p = {test.pvalue:.2f}",
            flush=True,
        )


def npt(folder: Path) -> None:
    """Constant pressure: at its volumes, NVT has the barostat's pressure on average."""
    for engine, n_atoms, density, duration, fixed_for, options in (
        ("dftpy", 16, 0.62, 6000.0, 2000.0, {}),
        ("qepy", 8, 0.483, 1000.0, 500.0, {"cutoff": 20}),
    ):
        # A quick barostat: the mean pressure of t fs is sharp to sqrt(2 kT time / (compressibility V t)).
        settings = {"temperature": 800, "timestep": 2.0, "friction": 0.02, "save_every": 5, "grid": (12, 12, 12)}
        settings |= {"seed": 7, "stages": ("melt", "equilibrate", "produce"), "engine_options": options}
        traj = edviz.aimd.run(
            edviz.aimd.liquid("Li", n_atoms, density, seed=7), engine, duration=duration, ensemble="npt", pressure=0.0,
            barostat_time=100.0, out=folder / f"npt-{engine}.h5", **settings,
        )  # fmt: skip
        volumes = np.linalg.det(traj.ds["cell"].values)
        mean = volumes.mean()
        print(
            f"npt, {engine}, {n_atoms} Li: volume {mean_and_error(volumes)} angstrom^3, standard deviation "
            f"{volumes.std():.1f}; {n_atoms * 6.94 * 1.66054 / mean:.3f} g/cm3; kT / volume "
            f"{800 * units.kB / mean / units.GPa:.3f} GPa",
            flush=True,
        )
        # Over the distribution of volumes the mean of NVT's pressures is the barostat's: half the sum of those at one
        # standard deviation less and more (Gauss).
        for side in (-1, 0, 1) if engine == "dftpy" else (0,):
            start = traj.to_ase()[-1]
            volume = mean + side * volumes.std()
            start.set_cell(start.cell * (volume / start.get_volume()) ** (1 / 3), scale_atoms=True)
            fixed = edviz.aimd.run(
                start, engine, duration=fixed_for, out=folder / f"nvt-{volume:.0f}-{engine}.h5",
                **{**settings, "stages": ("equilibrate", "produce"), "seed": 7 + abs(side)},
            )  # fmt: skip
            found, chosen = [], engine_of(engine, 800.0, options)
            chosen.with_stress = True
            for atoms in fixed.to_ase()[::5]:
                chosen.start(atoms)
                found.append(pressure_of(atoms, chosen.compute(atoms.positions).stress))
            chosen.close()
            print(f"npt, {engine}: NVT at {volume:.1f} angstrom^3: {mean_and_error(found)} GPa", flush=True)


def mean_and_error(values: Sequence[float], digits: int = 3) -> str:
    """With one standard error of correlated samples."""
    x = np.asarray(values, dtype=float)
    return f"{x.mean():.{digits}f} +- {x.std() * (statistical_inefficiency(x) / len(x)) ** 0.5:.{digits}f}"


def liquid(folder: Path) -> None:
    """A short liquid run from a frame of the bundled one."""
    sample = edviz.load_sample("lithium-800K")
    start = sample[len(sample) // 2].to_ase()[0]
    start.set_momenta(np.zeros((54, 3)))  # drawn anew
    traj = edviz.aimd.run(
        start, temperature=800, timestep=2.0, duration=300.0, save_every=5, out=folder / "liquid.h5", seed=8,
        engine_options=AS_BUNDLED,
    )  # fmt: skip
    against_bundled("liquid", traj, traj.sel(time=slice(100, None)), n_block=21)


def melted(folder: Path) -> None:
    """A liquid of our own, with nothing from the bundled run but its settings."""
    traj = edviz.aimd.run(
        edviz.aimd.liquid("Li", 54, 0.483, seed=11), temperature=800, timestep=2.0, duration=2000.0, save_every=5,
        stages=("melt", "equilibrate", "produce"), out=folder / "melted.h5", seed=11,
        engine_options=AS_BUNDLED,
    )  # fmt: skip
    against_bundled("melted", traj, traj, n_block=50)


def against_bundled(label: str, traj: edviz.DensityTrajectory, part: edviz.DensityTrajectory, n_block: int) -> None:
    """Electrons of a run, and g(r) of a part of it beside the bundled run's, in blocks of `n_block` frames of 10 fs."""
    sample = edviz.load_sample("lithium-800K")
    electrons = traj.density.mean(axis=(1, 2, 3)).values.astype(float) * traj.grid.volume
    print(f"{label}: electrons off 54 by at most {np.abs(electrons - 54).max():.1e}")
    grids = {"dr": 0.1, "n_block": n_block}
    short, long = (pair_distribution(t.ds.positions.values, t.grid.cell, **grids) for t in (part, sample))
    length = len(part) // n_block * n_block  # the part against stretches of the bundled run that are as long
    whole = sample.ds.positions.values[: len(sample) // length * length]
    stretches = pair_distribution(whole, sample.grid.cell, dr=0.1, n_block=length)
    shown = (long.r > 2) & (long.r < 5.4)
    own = np.sqrt(((stretches.blocks - long.g)[:, shown] ** 2).mean("r").values)
    distance = float(np.sqrt(((short.g - long.g)[shown] ** 2).mean()))
    print(
        f"{label}: g(r) from 2 to 5.4 angstrom, root mean square distance to the bundled run {distance:.3f}; its own "
        f"{len(own)} stretches of {10 * length} fs: median {np.median(own):.3f}, largest {own.max():.3f}"
    )

    def half(estimate: xr.DataArray) -> float:
        """Half the width of its interval."""
        return float(estimate.sel(estimate="high") - estimate.sel(estimate="value"))

    for name, distribution in (("this run", short), ("bundled", long)):
        peak, n = first_peak(distribution), distribution.sizes["block"]
        print(
            f"{label}: first peak, {name}: {float(peak.position[0]):.3f} angstrom, height {float(peak.height[0]):.3f}"
            + (n > 1) * f" (95 % from {n} blocks: +- {half(peak.position):.3f}, {half(peak.height):.3f})"
        )
    fits = np.array([fit_peak(long.r.values, g) for g in stretches.blocks.values])
    print(
        f"{label}: a stretch of {10 * length} fs of the bundled run: standard deviation {fits.std(0, ddof=1).round(3)}"
    )
    for name, t in (("this run", part), ("bundled", sample)):
        print(f"{label}: mean temperature, {name}: {mean_and_error(t.ds.temperature.values, digits=0)} K")


CHECKS = {"nve": nve, "nvt": nvt, "npt": npt, "liquid": liquid, "melted": melted}


def main() -> None:
    """Run the checks named and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", default=list(CHECKS), help="which; by default all")
    parser.add_argument("--folder", type=Path, help="keeps the runs; a killed check goes on")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.checks:
            before = core_seconds()
            CHECKS[name](folder)
            print(f"{name}: {core_seconds() - before:.0f} core-seconds", flush=True)


if __name__ == "__main__":
    main()

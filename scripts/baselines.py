"""Score what an emulator must beat: every baseline through `edviz.evaluate`, one table.

    python scripts/baselines.py --out runs/baselines                      # all of them, then the table
    python scripts/baselines.py --out runs/baselines --only md dmd        # some of them
    python scripts/baselines.py --out runs/baselines --only               # the table alone, from what is there

Everything is made from the bundled lithium (valence, 10 fs): fitted on the training block, started from the first three
frames of the test block, scored on the test block. Core-seconds are `time.process_time` of the rollout, one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.langevin import Langevin

import edviz
from edviz.aimd.fitted_potential import FittedPotential, fit_potential
from edviz.analysis.forecast import BASELINES, beats_climatology_until, extrapolate, nmae
from edviz.analysis.pseudo_atoms import PseudoAtoms, fit_pseudo_atoms
from edviz.grid import apply_symmetry
from edviz.models.linear_dynamics import LinearLatentDynamics
from edviz.models.regression import LatentRegression

N_CONTEXT = 3
TEMPERATURE, FRICTION, MD_STEP = 800.0, 0.002, 2.0  # K, 1/fs, fs: those of the AIMD
COPIES = 3  # of the training latents under random symmetries and shifts, for the deterministic model
ROWS = (
    "nmae",
    "jsd",
    "structure_factor",
    "intermediate_scattering",
    "lognormal_mean",
    "lognormal_std",
    "lognormal_skewness",
    "step",
    "c2st_logistic",
    "c2st_trees",
    "memory",
)


@dataclass
class Setting:
    """What every baseline gets."""

    training: edviz.DensityTrajectory
    test: edviz.DensityTrajectory
    n_frames: int
    n_samples: int
    minutes: float
    out: Path

    @property
    def times(self) -> np.ndarray:
        """Clock of the rollouts, fs."""
        return self.test.time[N_CONTEXT - 1] + self.test.frame_interval * np.arange(1, self.n_frames + 1)

    def trajectory(self, density: np.ndarray, source: str) -> edviz.DensityTrajectory:
        """(sample, time, a, b, c) as a rollout of the test block's first frames."""
        return edviz.DensityTrajectory.from_arrays(
            density,
            self.test.grid.cell,
            time=self.times[: density.shape[1]],
            numbers=self.test.ds["numbers"].values,
            density_kind=self.test.density_kind,
            n_electrons=self.test.n_electrons,
            source=source,
        )


@dataclass
class Made:
    """A rollout, what forecasts one step (an emulator or the like), core-seconds a frame, and what to say of it."""

    rollout: edviz.DensityTrajectory
    forecaster: Any
    cost: float
    note: str = ""


def extrapolation(setting: Setting, degree: int) -> Made:
    """Polynomial through the last frames, to the rollout's end: it soon leaves everything physical."""
    frames = np.stack([setting.test.frame(i) for i in range(N_CONTEXT)])
    start = time.process_time()
    density = np.stack([extrapolate(frames, degree, lead) for lead in range(1, setting.n_frames + 1)])[None]
    cost = (time.process_time() - start) / setting.n_frames
    return Made(setting.trajectory(density.astype(np.float32), "extrapolation"), None, cost)


def climatology(setting: Setting) -> Made:
    """Frames drawn from the training block, each on its own."""
    generator = np.random.default_rng(0)
    start = time.process_time()
    shape = (setting.n_samples, setting.n_frames)
    every = np.stack([setting.training.frame(i) for i in range(len(setting.training))])
    density = every[generator.integers(len(every), size=shape)]
    return Made(
        setting.trajectory(density, "training frames at random"),
        None,
        (time.process_time() - start) / density[..., 0, 0, 0].size,
    )


class AtomsForecaster:
    """Potential + pseudo-atoms in the place of an emulator; it is shown true positions and velocities."""

    def __init__(self, potential: FittedPotential, pseudo: PseudoAtoms) -> None:
        self.potential, self.pseudo = potential, pseudo

    def run(
        self, positions: np.ndarray, velocities: np.ndarray, like: edviz.DensityTrajectory, n_frames: int, seed: int
    ) -> np.ndarray:
        """Langevin dynamics at the AIMD's temperature; (frame, atom, 3) angstrom, one every frame interval."""
        atoms = Atoms(like.ds["numbers"].values, positions=positions, cell=like.grid.cell, pbc=True)
        atoms.set_velocities(velocities / units.fs)
        atoms.set_constraint(FixCom())
        atoms.calc = self.potential
        dynamics = Langevin(
            atoms,
            MD_STEP * units.fs,
            temperature_K=TEMPERATURE,
            friction=FRICTION / units.fs,
            fixcm=False,
            rng=np.random.default_rng(seed),
        )
        kept = np.empty((n_frames, *positions.shape))
        for frame in range(n_frames):
            dynamics.run(round(like.frame_interval / MD_STEP))
            kept[frame] = atoms.positions
        return kept

    def predict_next(
        self, trajectory: edviz.DensityTrajectory, n_samples: int = 1, seed: int = 0
    ) -> edviz.DensityTrajectory:
        """One frame ahead of each frame's true atoms."""
        at, v = (trajectory.ds[name].values.astype(float) for name in ("positions", "velocities"))
        ahead = np.stack(
            [
                [self.run(at[i], v[i], trajectory, 1, seed + 1000 * s + i)[0] for i in range(len(at) - 1)]
                for s in range(n_samples)
            ]
        )
        return self.pseudo.dress(trajectory, ahead, trajectory.time[1:])

    def reconstruct(self, trajectory: edviz.DensityTrajectory) -> edviz.DensityTrajectory:
        """The superposition at the true positions: what the autoencoder's error is to be compared with."""
        return self.pseudo.dress(trajectory, trajectory.ds["positions"].values, trajectory.time)


def superposition(setting: Setting) -> Made:
    """Pseudo-atoms at the test block's true positions: no dynamics, only the shape of the density."""
    start = time.process_time()
    pseudo = fit_pseudo_atoms(setting.training[::4])
    fitting = time.process_time() - start
    start = time.process_time()
    made = pseudo.dress(setting.test, setting.test.ds["positions"].values, setting.test.time)
    cost = (time.process_time() - start) / len(setting.test)
    error = float(nmae(made, setting.test).mean())
    note = f"nmae at the true positions {error:.2f} %; fitted in {fitting:.1f} core-seconds; {made.ds.attrs['history']}"
    return Made(made, None, cost, note)


def molecular_dynamics(setting: Setting) -> Made:
    """Langevin dynamics of a potential fitted to the training block's forces, dressed with pseudo-atoms."""
    start = time.process_time()
    potential, error = fit_potential(setting.training)
    pseudo = fit_pseudo_atoms(setting.training[::4])
    fitting = time.process_time() - start
    forecaster = AtomsForecaster(potential, pseudo)
    at, v = (setting.test.ds[name].values[N_CONTEXT - 1].astype(float) for name in ("positions", "velocities"))
    start = time.process_time()
    moved = np.stack([forecaster.run(at, v, setting.test, setting.n_frames, s) for s in range(setting.n_samples)])
    steps = (time.process_time() - start) / (setting.n_frames * setting.n_samples)
    rollout = pseudo.dress(setting.test, moved, setting.times)
    cost = (time.process_time() - start) / (setting.n_frames * setting.n_samples)
    note = (
        f"residual force {100 * error:.1f} % on the training block, fitted in {fitting:.1f} core-seconds; "
        f"{1000 * steps:.1f} of {1000 * cost:.1f} core-milliseconds a frame are the atoms' motion"
    )
    return Made(rollout, forecaster, cost, note)


def latents(emulator: edviz.DensityEmulator, setting: Setting, copies: int) -> list[torch.Tensor]:
    """The training block through the bundled autoencoder, and copies of it turned and shifted; cached."""
    path = setting.out / "latents.pt"
    kept: list[torch.Tensor] = torch.load(path) if path.exists() else []
    generator = np.random.default_rng(0)
    symmetries = setting.training.grid.symmetries()
    for copy in range(copies + 1):
        turn, shift = symmetries[generator.integers(len(symmetries))], generator.integers(32, size=3)
        if copy < len(kept):
            continue
        frames = np.stack([setting.training.frame(i) for i in range(len(setting.training))])
        if copy:
            frames = np.roll(apply_symmetry(frames, turn), tuple(shift), (1, 2, 3))
        values = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
        with torch.no_grad():
            kept.append(torch.cat([emulator.autoencoder.encode(part) for part in values.split(8)]))
        torch.save(kept, path)
    return kept


def rolled(emulator: edviz.DensityEmulator, setting: Setting, note: str) -> Made:
    """An emulator's rollout of the test block's first frames, timed."""
    start = time.process_time()
    rollout = emulator.rollout(setting.test[:N_CONTEXT], setting.n_frames, setting.n_samples, seed=0, progress=False)
    return Made(rollout, emulator, (time.process_time() - start) / (setting.n_frames * setting.n_samples), note)


def recipe(setting: Setting) -> Made:
    """The bundled emulator: autoencoder + latent diffusion + scaled JSD."""
    return rolled(edviz.load_emulator("lithium-800K"), setting, "bundled emulator, its defaults")


def linear(setting: Setting) -> Made:
    """Linear autoregression of the bundled autoencoder's latents, one matrix a wave vector, with its noise."""
    emulator = edviz.load_emulator("lithium-800K")
    sequence = latents(emulator, setting, 0)[0]
    start = time.process_time()
    dynamics = LinearLatentDynamics(N_CONTEXT)
    radius = dynamics.fit(sequence)
    fitting = time.process_time() - start
    emulator.dynamics = dynamics  # type: ignore[assignment]
    return rolled(
        emulator, setting, f"largest eigenvalue {radius:.4f} before it is held; fitted in {fitting:.1f} core-seconds"
    )


def deterministic(setting: Setting) -> Made:
    """The diffusion's network as a regression, on the bundled autoencoder's latents."""
    emulator = edviz.load_emulator("lithium-800K")
    torch.manual_seed(0)
    sequences = latents(emulator, setting, COPIES)
    path = setting.out / "regression.pt"
    model = LatentRegression(**emulator.dynamics.arguments)
    if path.exists():
        state = torch.load(path)
        model.load_state_dict(state["model"])
        steps, used = state["steps"], state["seconds"]
    else:
        steps, used = train(model, sequences, 60 * setting.minutes)
        torch.save({"model": model.state_dict(), "steps": steps, "seconds": used}, path)
    emulator.dynamics = model.float().eval().requires_grad_(False)
    emulator.variance_relaxation = 0.0
    return rolled(emulator, setting, f"{steps} steps of batch 16 in {used / 60:.1f} core-minutes; no thermostat")


def train(model: LatentRegression, sequences: list[torch.Tensor], seconds: float) -> tuple[int, float]:
    """Adam with a one-cycle rate over the process time given; returns steps and core-seconds."""
    model.fit_scales(sequences[0])
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    windows = [(c, t) for c, z in enumerate(sequences) for t in range(N_CONTEXT, len(z))]
    start, steps = time.process_time(), 0
    while (used := time.process_time() - start) < seconds:
        share = used / seconds
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * min(1.0, 20 * share + 0.02) * (1 - share)
        chosen = [windows[i] for i in torch.randint(len(windows), (16,), generator=generator)]
        context = torch.stack([sequences[c][t - N_CONTEXT : t] for c, t in chosen])
        target = torch.stack([sequences[c][t] for c, t in chosen])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(context, target, generator).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        steps += 1
        if steps % 100 == 0:
            print(f"step {steps}, {used:.0f} core-seconds, loss {float(loss.detach()):.4f}", flush=True)
    return steps, time.process_time() - start


BASELINES_MADE: dict[str, tuple[str, Callable[[Setting], Made]]] = {
    **{name: (name, lambda s, d=degree: extrapolation(s, d)) for name, degree in BASELINES.items()},
    "climatology": ("training frames at random", climatology),
    "superposition": ("pseudo-atoms, true positions", superposition),
    "deterministic": ("deterministic latent model", deterministic),
    "dmd": ("linear latent autoregression", linear),
    "md": ("fitted potential + pseudo-atoms", molecular_dynamics),
    "recipe": ("bundled emulator", recipe),
}


def score(name: str, setting: Setting) -> None:
    """Make one baseline, evaluate it, write out/NAME.json."""
    made = BASELINES_MADE[name][1](setting)
    print(f"{name}: made, {made.cost:.3g} core-seconds a frame; {made.note}", flush=True)
    card = edviz.evaluate(made.rollout, setting.test, setting.training, made.forecaster, progress=False)
    table = card.to_dataframe()
    found = {row: {c: table.loc[row, c] for c in ("value", "floor", "verdict")} for row in ROWS}
    if name in BASELINES:  # over the whole test block, not only the rollout's first frame
        value = float(card.baselines[name].sel(lead_time=setting.test.frame_interval).mean())
        found["nmae"] = {"value": value, "floor": found["nmae"]["floor"], "verdict": ""}
    lead = None if name == "superposition" else beats_climatology_until(card.forecast_skill)
    entry = {
        "rows": found,
        "lead_fs": lead,
        "core_seconds": made.cost,
        "note": made.note,
        "frames": len(made.rollout),
        "samples": made.rollout.n_samples,
    }
    (setting.out / f"{name}.json").write_text(json.dumps(entry, indent=1, default=float))
    print(f"{name}: scored", flush=True)


def markdown(out: Path) -> str:
    """All entries that are there, as one table; pass and fail as the scorecard says."""
    entries = {
        name: json.loads((out / f"{name}.json").read_text())
        for name in BASELINES_MADE
        if (out / f"{name}.json").exists()
    }
    lines = [
        "| baseline | lead, fs | core-s a frame | frames x samples | " + " | ".join(f"`{row}`" for row in ROWS) + " |",
        "|---|---|---|---|" + "---|" * len(ROWS),
    ]
    floors: list[str] = []
    for name, entry in entries.items():
        cells = []
        for row in ROWS:
            value, verdict = entry["rows"][row]["value"], entry["rows"][row]["verdict"]
            known = (
                value is not None
                and np.isfinite(value)
                and not (row == "nmae" and name in ("superposition", "climatology"))
            )
            cells.append(f"{value:.3g}{' ✓' if verdict == 'pass' else ''}" if known else "-")
        lead = "-" if entry["lead_fs"] is None else f"{entry['lead_fs']:.0f}"
        size = f"{entry['frames']} x {entry['samples']}"
        lines.append(
            f"| {BASELINES_MADE[name][0]} | {lead} | {entry['core_seconds']:.2g} | {size} | {' | '.join(cells)} |"
        )
    for row in ROWS:  # the last entry that has one: a row without data has no floor either
        known_floors = [e["rows"][row]["floor"] for e in entries.values() if np.isfinite(e["rows"][row]["floor"])]
        floors.append(f"{known_floors[-1]:.3g}" if known_floors else "-")
    lines.append(f"| *floor* | | | | {' | '.join(floors)} |")
    notes = [f"- {BASELINES_MADE[name][0]}: {entry['note']}" for name, entry in entries.items() if entry["note"]]
    return "\n".join([*lines, "", *notes, ""])


def main() -> None:
    """Parse the command line; make, score, tabulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/baselines"))
    parser.add_argument("--only", nargs="*", choices=tuple(BASELINES_MADE), default=list(BASELINES_MADE))
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="core-minutes of the deterministic model's training"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    traj = edviz.load_sample("lithium-800K")
    training, test = (edviz.DensityTrajectory(traj.split(part).ds.compute()) for part in ("train", "test"))
    setting = Setting(training, test, given.frames, given.samples, given.minutes, given.out)
    for name in given.only:
        score(name, setting)
    table = markdown(given.out)
    (given.out / "table.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()

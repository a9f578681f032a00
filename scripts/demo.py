"""The main job from end to end: real AIMD -> train -> roll out -> compare. Run by ``make demo``.

Trains a small model from scratch on the bundled trajectory, rolls out both it and the bundled emulator, evaluates both
against the held-out block, writes report.html (one file, works offline) and report.json, and prints the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from pathlib import Path

import numpy as np
import xarray as xr

import edviz
from edviz.analysis.scorecard import Scorecard
from edviz.plotting.report import write_report

GOALS = {
    "max_std_deviation": ("contrast (std of rho) off by, at every time", 0.0, 0.05),
    "min_step_ratio": ("slowest step, generated / AIMD", 0.8, 1.2),
    "max_step_ratio": ("fastest step, generated / AIMD", 0.8, 1.2),
    "jsd_ratio": ("jsd / its floor", 0.0, 20.0),
    "max_structure_factor_deviation": ("S(k) off by, worst shell", 0.0, 0.25),
}
"""What a long rollout of the bundled emulator must keep (name, lowest, highest)."""


TRAINED_BY = (
    "edviz train runs/lithium-800K-2fs.h5 runs/valence --config edviz/samples/lithium-800K-valence.json "
    "and its decoder on: edviz train sample:lithium-800K runs/refine-valence "
    "--config edviz/samples/lithium-800K-valence-refine.json --start-from runs/valence "
    "(data: edviz/samples/README.md)"
)


def goals(stability: xr.Dataset) -> list[dict[str, object]]:
    """The stability figures beside their limits and what AIMD itself does in the same windows."""
    beside = {
        "max_std_deviation": "aimd_max_std_deviation",
        "min_step_ratio": "aimd_min_step_ratio",
        "max_step_ratio": "aimd_max_step_ratio",
        "max_structure_factor_deviation": "aimd_max_structure_factor_deviation",
    }
    rows = []
    for name, (label, low, high) in GOALS.items():
        value = float(stability[name])
        aimd = float(stability[beside[name]]) if name in beside else 1.0
        met = low <= value <= high
        rows.append({"figure": label, "value": value, "low": low, "high": high, "aimd": aimd, "met": met})
    return rows


def print_card(title: str, card: Scorecard) -> None:
    """A scorecard as text."""
    print(f"\n{title}\n{card.to_dataframe().to_string(float_format=lambda x: f'{x:.4g}', na_rep='-')}")


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the report")
    parser.add_argument("--minutes", type=float, default=2.5, help="training time of the small model")
    parser.add_argument("--frames", type=int, default=1000, help="frames of the bundled emulator's rollout")
    parser.add_argument("--samples", type=int, default=4, help="samples of the bundled emulator's rollout")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun:5.0f} s] {text}", flush=True)

    trajectory = edviz.load_sample("lithium-800K")
    test, training = trajectory.split("test"), trajectory.split("train")
    say(f"{trajectory!r}; held out: {len(test)} frames from {test.time[0]:g} fs")

    say(f"training a small model from scratch for {options.minutes:g} minutes")
    shutil.rmtree(options.out / "run", ignore_errors=True)
    config = edviz.TrainingConfig.preset(
        "tiny",
        seed=options.seed,
        autoencoder_minutes=0.42 * options.minutes,
        diffusion_minutes=0.5 * options.minutes,
        decoder_minutes=0.08 * options.minutes,
    )
    run = edviz.train(trajectory, config, out=options.out / "run").wait()
    metrics = run.metrics()
    fresh, bundled = run.emulator(), edviz.load_emulator("lithium-800K")

    say(f"rolling out the small model: 2 samples of {len(test) + 3} frames, {fresh!r}")
    generated = {"small model": fresh.rollout(test[:3], n_frames=len(test) + 3, n_samples=2, seed=options.seed)}
    say(f"rolling out the bundled emulator: {options.samples} samples of {options.frames} frames, {bundled!r}")
    rollout_begun, cpu_begun = time.monotonic(), time.process_time()
    generated["bundled emulator"] = bundled.rollout(
        test[: bundled.n_context], n_frames=options.frames, n_samples=options.samples, seed=options.seed
    )
    rollout_seconds = time.monotonic() - rollout_begun
    core_seconds = (time.process_time() - cpu_begun) / (options.frames * options.samples)

    say("evaluating both against the held-out block")
    cards = {
        name: edviz.evaluate(generated[name], test, training=training, emulator=emulator)
        for name, emulator in (("small model", fresh), ("bundled emulator", bundled))
    }
    stability = cards["bundled emulator"].stability()
    checks = goals(stability)

    say("writing the report")
    provenance = {
        "command": "make demo",
        "edviz": edviz.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "data": f"bundled lithium-800K, test block from {test.time[0]:g} fs ({len(test)} frames)",
        "small model": f"trained here for {options.minutes:g} minutes, seed {options.seed}",
        "bundled emulator": TRAINED_BY,
        "its rollout": f"{options.samples} samples of {options.frames} frames in {rollout_seconds:.0f} s, "
        f"{core_seconds:.3f} core-seconds a frame",
    }
    curves = {name: metrics[name].to_numpy() for name in metrics if name != "learning_rate"}
    report = write_report(
        options.out / "report.html",
        reference=test,
        generated=generated,
        cards=cards,
        training_curves=curves,
        provenance=provenance,
        goals={"bundled emulator": checks},
    )
    summary = {
        "provenance": provenance,
        "scorecards": {name: json.loads(card.to_json()) for name, card in cards.items()},
        "stability": {k: float(v) for k, v in stability.data_vars.items() if v.ndim == 0},
        "goals": checks,
        "seconds": time.monotonic() - begun,
    }
    (options.out / "report.json").write_text(json.dumps(summary, indent=1, default=_plain))

    for name, card in cards.items():
        print_card(f"{name}, against {len(test)} held-out AIMD frames", card)
    size = f"{options.frames} frames x {options.samples} samples"
    print(f"\nbundled emulator, {size}, windows of {stability.attrs['window_fs']:g} fs")
    print(f"{'':44s}{'value':>9s}{'allowed':>16s}{'AIMD itself':>13s}")
    for row in checks:
        allowed = f"{row['low']:g} to {row['high']:g}"
        verdict = "met" if row["met"] else "NOT MET"
        print(f"{row['figure']:44s}{row['value']:9.3f}{allowed:>16s}{row['aimd']:13.3f}  {verdict}")
    say(f"report: {report}")


def _plain(value: object) -> object:
    """numpy values for JSON."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


if __name__ == "__main__":
    main()

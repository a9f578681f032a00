"""What the scaled Jensen-Shannon term does: the same training with and without it, over several seeds.

    python scripts/ablate_divergence.py --data runs/lithium-800K-2fs.h5 --out runs/ablation

Every run has the same budget; only the weights of the term (autoencoder and decoder, diffusion) differ. Each rollout
starts at the test block and is scored against it. Runs are resumed where they stopped, finished ones are not repeated.
Prints a table in Markdown: a column a measure, a row a setting, mean and standard deviation over the seeds, and the
difference with its 95 % interval (Student's t, paired by seed).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student

import edviz

WEIGHTS = ("autoencoder_jsd_weight", "diffusion_jsd_weight")
ROWS = (
    "nmae_autoencoder",
    "nmae",
    "jsd",
    "lognormal_std",
    "lognormal_skewness",
    "structure_factor",
    "intermediate_scattering",
    "drift_jsd",
    "drift_std",
)


def score(data: Path, folder: Path, config: edviz.TrainingConfig, frames: int, samples: int) -> dict[str, float]:
    """Train, roll out, evaluate; from its file where that was done before."""
    result = folder / "figures.json"
    if not result.exists():
        run = edviz.TrainingRun(folder).resume() if (folder / "config.json").exists() else None
        emulator = (run or edviz.train(data, config, out=folder)).wait().emulator()
        sample = edviz.load_sample("lithium-800K")
        test = sample.split("test")
        generated = emulator.rollout(
            test[: emulator.n_context], frames, samples, seed=config.seed, conserve_atoms=False
        )
        card = edviz.evaluate(generated, test, training=sample.split("train"), emulator=emulator).to_dataframe()
        result.write_text(json.dumps({name: float(card.loc[name, "value"]) for name in ROWS}))
    return dict(json.loads(result.read_text()))


def table(figures: pd.DataFrame) -> str:
    """Mean and standard deviation of both settings, and the paired difference with its interval."""
    lines = ["| figure | with the term | without | difference (95 %) |", "|---|---|---|---|"]
    for name in ROWS:
        with_term, without = (figures.loc[setting, name].to_numpy() for setting in ("on", "off"))
        change = with_term - without
        cells = [f"{x.mean():.3g} ± {x.std(ddof=1):.2g}" for x in (with_term, without)]
        reach = student.ppf(0.975, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change))
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {change.mean():+.2g} ± {reach:.2g} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="training data; 2 fs frames make the most windows")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="two at least")
    parser.add_argument("--steps", type=int, nargs=3, default=[1000, 1200, 300], help="autoencoder, diffusion, decoder")
    parser.add_argument("--frames", type=int, default=400, help="frames of a rollout")
    parser.add_argument("--samples", type=int, default=4, help="samples of a rollout")
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        for setting in ("on", "off"):
            config = edviz.TrainingConfig(
                seed=seed,
                frame_interval=10.0,
                autoencoder_steps=options.steps[0],
                diffusion_steps=options.steps[1],
                decoder_steps=options.steps[2],
                augmented_copies=4,
                thermostat_frames=0,  # newer than the table
                **({} if setting == "on" else dict.fromkeys(WEIGHTS, 0.0)),
            )
            figures = score(options.data, options.out / f"{setting}-{seed}", config, options.frames, options.samples)
            rows.append({"setting": setting, "seed": seed, **figures})
            print(rows[-1], flush=True)
    print(table(pd.DataFrame(rows).set_index("setting")))


if __name__ == "__main__":
    main()

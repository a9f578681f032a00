"""Error against the amount of training data and against training time, valence density.

    python scripts/make_sample.py --data lithium-800K-ks.h5 --every 1 --out runs/lithium-800K-2fs.h5
    python scripts/learning_curves.py --data runs/lithium-800K-2fs.h5 --out runs/curves
    python scripts/learning_curves.py --bundled            # the errors of the bundled emulators instead

One row a run: the latest share of the frames before the validation block, and the length of training in units of
1,000 + 1,200 + 300 steps (autoencoder, diffusion, decoder). Autoencoder and one-step error (mean of four forecasts)
are measured on the test block and, beside it, on frames that it was trained on (as many, or all): what the two differ
by, more data would take away; what they have in common, longer training or a better network. Rollouts start at the
test block and are scored against it. Runs are resumed where they stopped, finished ones are not repeated. Prints a
table in Markdown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import edviz
from edviz.analysis.forecast import nmae

STEPS = (1000, 1200, 300)
ROWS = ("jsd", "structure_factor", "intermediate_scattering", "c2st_logistic", "c2st_trees")
FORECASTS = 4


def latest(data: edviz.DensityTrajectory, share: float) -> edviz.DensityTrajectory:
    """The validation block, and the latest share of the frames before it."""
    start, end = (data.ds.attrs[name] for name in ("validation_start_fs", "train_end_fs"))
    first = start - share * (start - data.time[0])
    return data[int(data.time.searchsorted(first - 1e-6)) : int(data.time.searchsorted(end, side="right"))]


def errors(emulator: edviz.DensityEmulator, frames: edviz.DensityTrajectory) -> tuple[float, float]:
    """Nmae of the autoencoder and of the mean one-step forecast, %."""
    ahead = emulator.predict_next(frames, FORECASTS)
    true = frames[emulator.n_context :]
    mean = edviz.DensityTrajectory.from_arrays(
        ahead.density.values.mean(axis=0),
        frames.grid.cell,
        time=true.time,
        density_kind=true.density_kind,
        n_electrons=true.n_electrons,
    )
    return float(nmae(emulator.reconstruct(frames), frames).mean()), float(nmae(mean, true).mean())


def blocks(density: str) -> tuple[edviz.DensityTrajectory, edviz.DensityTrajectory, edviz.DensityTrajectory]:
    """Test block, all training frames, and those before the validation block."""
    sample = edviz.load_sample("lithium-800K", density=density)
    test, training = sample.split("test"), sample.split("train")
    return test, training, training[: int(training.time.searchsorted(sample.ds.attrs["validation_start_fs"]))]


def measure(data: edviz.DensityTrajectory, share: float, length: float, out: Path) -> dict[str, float]:
    """Train, roll out, score; from its file where that was done before."""
    folder = out / f"data-{share:g}-length-{length:g}"
    result = folder / "figures.json"
    if result.exists():
        return dict(json.loads(result.read_text()))
    part = latest(data, share)
    autoencoder, diffusion, decoder = (round(length * steps) for steps in STEPS)
    config = edviz.TrainingConfig(
        frame_interval=10.0,
        autoencoder_steps=autoencoder,
        diffusion_steps=diffusion,
        decoder_steps=decoder,
        augmented_copies=4,
        thermostat_frames=0,  # newer than the table
    )
    run = edviz.TrainingRun(folder).resume() if (folder / "config.json").exists() else None
    emulator = (run or edviz.train(part, config, out=folder)).wait().emulator()
    test, training, fit = blocks("valence")
    metrics = emulator.provenance["metrics"]
    figures = {"minutes": sum(metrics[f"{stage}_seconds"] for stage in ("autoencoder", "diffusion", "decoder")) / 60}
    for name, block in (("", test), ("_trained", fit[-min(len(test), int(share * len(fit))) :])):
        figures[f"autoencoder{name}"], figures[f"one_step{name}"] = errors(emulator, block)
    generated = emulator.rollout(test[: emulator.n_context], 200, 4, conserve_atoms=False)
    card = edviz.evaluate(generated, test, training=training).to_dataframe()
    figures |= {name: float(card.loc[name, "value"]) for name in ROWS}
    result.write_text(json.dumps(figures, indent=1))
    return figures


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="training data; 2 fs frames make the most windows")
    parser.add_argument("--bundled", action="store_true", help="measure the bundled emulators, train nothing")
    parser.add_argument("--out", type=Path, default=Path("runs/curves"), help="folder of the runs")
    parser.add_argument("--shares", type=float, nargs="*", default=[0.125, 0.5], help="of the data, at length 0.5")
    parser.add_argument("--lengths", type=float, nargs="*", default=[0.5, 0.25, 1.0], help="of training, with all data")
    options = parser.parse_args()
    if options.bundled:
        for density in ("valence", "total"):
            emulator = edviz.load_emulator("lithium-800K", density=density)
            test, _, fit = blocks(density)
            for name, block in (
                ("test", test),
                ("trained, last", fit[-len(test) :]),
                ("trained, first", fit[: len(test)]),
            ):
                print(density, name, *(f"{error:.3g} %" for error in errors(emulator, block)), flush=True)
        return
    if options.data is None:
        parser.error("--data is missing (or --bundled)")
    data = edviz.open(options.data)
    rows = []
    for share, length in [*((1.0, x) for x in options.lengths), *((x, 0.5) for x in options.shares)]:
        rows.append({"data": share, "length": length, **measure(data, share, length, options.out)})
        print(rows[-1], flush=True)
    print(f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(f'{value:.3g}' for value in row.values())} |")


if __name__ == "__main__":
    main()

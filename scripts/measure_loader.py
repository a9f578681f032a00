"""How much of a training step is spent waiting for data, and how much memory that takes.

    python scripts/measure_loader.py                       # the bundled lithium, both stages
    python scripts/measure_loader.py --gigabytes 20        # a trajectory larger than memory may be, first stage

The large one is a virtual HDF5 dataset: frames of real lithium, eight cells of it at 64^3 points, of which 240 are
different and compressed on disk, repeated up to the size asked for. Every frame is read and decompressed anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import shutil
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from evaluate_50gb import generated

import edviz
from edviz.io.native import dims_of
from edviz.training.data import load_block
from edviz.training.run import TrainingRun

FRAME_BYTES = 4 * 64**3
DIFFERENT = 240


def large(folder: Path, gigabytes: float) -> Path:
    """A trajectory of that size as a native file whose frames are those of another one, again and again."""
    n_frames = round(gigabytes * 1e9 / FRAME_BYTES)
    count = min(DIFFERENT, n_frames)
    source, target = folder / "frames.h5", folder / "large.h5"
    generated(count).to_file(source)
    layout = h5py.VirtualLayout((n_frames, 64, 64, 64), np.float32)
    frames = h5py.VirtualSource(source, "density", (count, 64, 64, 64), np.float32)
    for start in range(0, n_frames, count):
        stop = min(start + count, n_frames)
        layout[start:stop] = frames[: stop - start]
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        for name, value in old.attrs.items():
            new.attrs[name] = value
        for name, dataset in old.items():
            if name == "density":
                new.create_virtual_dataset("density", layout)
            else:
                new[name] = 10.0 * np.arange(n_frames) if name == "time" else dataset[()]
            for key, value in dataset.attrs.items():
                if key not in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME"):
                    new[name].attrs[key] = value
            if dataset.is_scale:
                new[name].make_scale(name)
        for name, dataset in old.items():
            for axis, dim in enumerate(dims_of(dataset) if not dataset.is_scale else ()):
                new[name].dims[axis].attach_scale(new[dim])
    return target


def report(run: TrainingRun, what: str) -> None:
    """Loader share and speed of each stage, the first ten seconds left out, and the largest memory."""
    metrics = run.metrics().dropna(subset=["loader_share"])
    for stage, rows in metrics.groupby("stage"):
        later = rows[rows["elapsed"] > min(10.0, rows["elapsed"].max() / 2)]
        mean, worst = 100 * later["loader_share"].mean(), 100 * later["loader_share"].max()
        print(
            f"{what}, {stage}: {mean:.2f} % of the time spent waiting for batches (worst report {worst:.2f} %), "
            f"{later['frames_per_second'].mean():.2f} frames/s, {len(later)} reports"
        )
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{what}: at most {largest:.2f} GiB in memory; {run.directory.read_json('environment.json')['device']}")


def main() -> None:
    """Train for a while and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=0.0, help="size of the trajectory; 0: the bundled one")
    parser.add_argument("--minutes", type=float, default=1.0, help="time of each stage")
    parser.add_argument("--folder", type=Path, default=None, help="where to write (0.25 GB with --gigabytes)")
    arguments = parser.parse_args()
    config = edviz.TrainingConfig.preset(
        "small",
        autoencoder_minutes=arguments.minutes,
        diffusion_minutes=arguments.minutes,
        decoder_steps=0,
        augmented_copies=2,
    )
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        if not arguments.gigabytes:
            run = edviz.train(edviz.load_sample("lithium-800K"), config, out=folder / "run")
            report(run.wait(), "bundled lithium")
            return
        path = large(folder, arguments.gigabytes)
        trajectory = edviz.open(path)
        held = load_block(trajectory, "fit").in_memory
        print(f"{trajectory!r}: {trajectory.density.nbytes / 1e9:.1f} GB, held in memory: {held}")
        run = edviz.train(path, dataclasses.replace(config, checkpoint_seconds=20.0), out=folder / "run")
        while run.pid is not None and run.status.get("stage") in (None, "starting", "reading data", "autoencoder"):
            time.sleep(1)
        report(run.stop(), f"{arguments.gigabytes:g} GB")  # the second stage would encode all frames first
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

"""Score a rollout that is much longer than the held-out block, of which one frame in so many was kept.

    edviz rollout lithium-800K sample:lithium-800K:test runs/long.h5 --frames 10000 --save-every 10
    python scripts/score_long.py runs/long.h5

Says what the running statistics say (`DensityTrajectory.running_statistics`: positive, electrons, and whether the last
tenth is as those before), and beside it: jsd to the test block and its floor, the slope of the jsd over windows of 1 ps
with its 95 % interval, and how many atoms each frame has.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import edviz
from edviz.analysis.divergence import jensen_shannon
from edviz.analysis.floors import cut_blocks, noise_floor
from edviz.analysis.histogram import histogram, log_bins
from edviz.analysis.sites import count_holes, count_maxima
from edviz.analysis.slopes import fit_slope

WINDOW_FS = 1000.0


def main() -> None:
    """Read, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rollout", type=Path)
    options = parser.parse_args()
    generated = edviz.open(options.rollout)
    if generated.is_ensemble:
        generated = generated.sample(0)
    kind = generated.density_kind
    sample, emulator = (load("lithium-800K", density=kind) for load in (edviz.load_sample, edviz.load_emulator))
    test, training = sample.split("test"), sample.split("train")
    bins = log_bins(test)
    true = histogram(test, bins)["probability"].values
    found = histogram(generated, bins, per_frame=True)["probability"].values

    floor = noise_floor(
        lambda block, _: float(jensen_shannon(histogram(block, bins)["probability"].values, true)),
        test,
        [training[block] for block in cut_blocks(len(training), len(test))],
    ).value
    whole = float(jensen_shannon(found.mean(axis=0), true))
    n = round(WINDOW_FS / generated.frame_interval)
    windows = found[: len(found) // n * n].reshape(-1, n, found.shape[-1]).mean(axis=1)
    slope = fit_slope(np.arange(len(windows)) * n * generated.frame_interval * 1e-6, jensen_shannon(windows, true))
    low, high = slope.interval()
    print(f"{options.rollout}: {generated!r}")
    print(f"jsd to the test block: {whole:.3g} bit, {whole / floor:.2f} floors (floor {floor:.3g})")
    print(f"slope over {len(windows)} windows: {slope.value:.2g} bit/ns, 95 %: {low:.2g} to {high:.2g}")

    level = emulator.hole_level
    counts = [
        int((count_maxima(frame) if level is None else count_holes(frame, level))[0])
        for frame in (generated.frame(i)[None] for i in range(len(generated)))
    ]
    print(
        "atoms: " + ", ".join(f"{n} in {k} frames" for n, k in zip(*np.unique(counts, return_counts=True), strict=True))
    )

    statistics = generated.running_statistics()
    print(
        statistics[["last", "low", "high", "same", "drift", "steady"]]
        .to_dataframe()
        .to_string(float_format="{:.4g}".format)
    )
    for name in ("contrast", "log_std", "log_skewness"):
        print(f"{name} by tenths:", " ".join(f"{x:.4g}" for x in statistics[name].values))
    print({name: bool(statistics[name]) for name in ("positive", "electrons", "lasted")})
    smallest, error = float(statistics["minimum"].min()), float(statistics["charge_error"].max())
    print(f"rho >= {smallest:.3g} e/angstrom^3, N_e to {error:.1g}")


if __name__ == "__main__":
    main()

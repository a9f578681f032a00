"""What the classifiers tell a density by: AUC of each part of their features alone.

    python scripts/classifier_parts.py --density valence
    python scripts/classifier_parts.py --density total

The scorecard's classifiers see of each frame the histogram of log10 rho, S(k) and the histogram of abs(grad rho). Here
each part is given alone, against the test block: for a rollout of its length begun at its start, for the test block
itself through the autoencoder, and for the control, the training frames before the validation block. Prints a table in
Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import xarray as xr

import edviz
from edviz.analysis.classifier import CLASSIFIERS, FEATURES, features, separability
from edviz.analysis.summary import Plan, summarise

PARTS = {
    "histogram": ("counts",),
    "S(k)": ("structure_factor",),
    "gradients": ("gradient_counts",),
    "all": FEATURES,
}


def main() -> None:
    """Roll out, summarise, classify, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--density", choices=("valence", "total"), default="valence")
    parser.add_argument("--seed", type=int, default=5, help="of the rollout")
    options = parser.parse_args()
    sample = edviz.load_sample("lithium-800K", density=options.density)
    emulator = edviz.load_emulator("lithium-800K", density=options.density)
    test, training = sample.split("test"), sample.split("train")
    fit = training[: int(training.time.searchsorted(sample.ds.attrs["validation_start_fs"]))]
    rollout = emulator.rollout(test[: emulator.n_context], len(test), seed=options.seed)
    plan = Plan.of(test)
    others = {
        "rollout": rollout.sample(0) if rollout.is_ensemble else rollout,
        "autoencoder": emulator.reconstruct(test),
        "control": fit[-len(test) :],
    }
    summaries = {name: summarise(traj, plan, []) for name, traj in others.items()}
    reference = summarise(test, plan, [])

    def told(summary: xr.Dataset, part: Sequence[str], kind: str) -> float:
        ours, theirs = (features(one, part)[0] for one in (summary, reference))
        return separability(ours, theirs, test.frame_interval, kind)

    print(f"{options.density}: AUC, {' / '.join(CLASSIFIERS)}")
    print(f"| | {' | '.join(PARTS)} |\n|{'---|' * (len(PARTS) + 1)}")
    for name, summary in summaries.items():
        cells = [" / ".join(f"{told(summary, part, kind):.2f}" for kind in CLASSIFIERS) for part in PARTS.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

"""Score a bundled emulator on the test block: the pages in docs/scorecards.

    python scripts/score_emulator.py --density valence
    python scripts/score_emulator.py --density total

Four samples of 1,000 frames from the first frames of the test block, seed 0, through the full scorecard. Writes NAME.md
(the table, each row with its note), NAME.json (with errors per lead time and the settings) and NAME.html (curves; 5 MB,
not committed).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

import edviz
from edviz.analysis.scorecard import Scorecard

PAGE = """# {title}

`python scripts/score_emulator.py --density {density}`: {samples} samples of {frames} frames, {interval:g} fs apart,
from the start of the test block, seed {seed}; {cost:.3f} core-seconds a frame on one thread of a shared machine. Rows
and verdicts are defined in [metrics.md](../metrics.md).

| row | value | floor | ratio | 95 % interval | verdict | note |
|---|---|---|---|---|---|---|
{rows}

Contrast within {contrast:.1%} of AIMD's in every 200 fs (AIMD itself: {aimd:.1%}); steps from frame to frame {low:.2f}
to {high:.2f} of AIMD's ({aimd_low:.2f} to {aimd_high:.2f}); S(k) within {structure:.0%} of AIMD's on every shell.
"""


def page(card: Scorecard, **values: object) -> str:
    """The scorecard as Markdown."""

    def text(x: float) -> str:
        return "" if x != x else f"{x:.4g}"

    lines = [
        f"| {name} | {text(row.value)} | {text(row.floor)} | {text(row.ratio)} | "
        f"{text(row.low)} to {text(row.high)} | {row.verdict} | {row.note} |".replace("|  to  |", "| |")
        for name, row in card.rows.items()
    ]
    found = {name: float(value) for name, value in card.stability().data_vars.items() if value.ndim == 0}
    return PAGE.format(
        rows="\n".join(lines),
        contrast=found["max_std_deviation"],
        aimd=found["aimd_max_std_deviation"],
        low=found["min_step_ratio"],
        high=found["max_step_ratio"],
        aimd_low=found["aimd_min_step_ratio"],
        aimd_high=found["aimd_max_step_ratio"],
        structure=found["max_structure_factor_deviation"],
        **values,
    )


def main() -> None:
    """Roll out, evaluate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--density", choices=("valence", "total"), default="valence")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/scorecards"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    traj = edviz.load_sample("lithium-800K", density=options.density)
    test, training = traj.split("test"), traj.split("train")
    emulator = edviz.load_emulator("lithium-800K", density=options.density)
    begun = time.process_time()
    generated = emulator.rollout(test[: emulator.n_context], options.frames, options.samples, options.seed)
    cost = (time.process_time() - begun) / (options.frames * options.samples)
    card = edviz.evaluate(generated, test, training=training, emulator=emulator)
    name = f"lithium-800K-{options.density}"
    options.out.mkdir(parents=True, exist_ok=True)
    title = f"The bundled emulator of lithium's {options.density} density"
    text = page(
        card, title=title, density=options.density, samples=options.samples, frames=options.frames,
        interval=emulator.frame_interval, seed=options.seed, cost=cost,
    )  # fmt: skip
    (options.out / f"{name}.md").write_text(text, encoding="utf-8")
    card.to_json(options.out / f"{name}.json")
    card.to_html(options.out / f"{name}.html", name=name)
    print(text)


if __name__ == "__main__":
    main()

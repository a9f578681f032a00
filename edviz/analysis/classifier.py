"""Classifier two-sample test: can a classifier tell generated frames from real ones?

D. Lopez-Paz and M. Oquab, "Revisiting classifier two-sample tests", ICLR 2017, arXiv 1610.06545, with the area under
the ROC curve (AUC) for a score: 0.5 = cannot tell, 1 = always can. Frames of a liquid are correlated in time, so folds
are stretches of time, never shuffled frames: a stretch of both classes is held out, and frames within `GAP_FS` of it
are not trained on. Even so, a block of a picosecond has its own slow fluctuations, by which two blocks of the *same*
dynamics can be told apart a little, or seem to be told apart the wrong way round (AUC below 0.5, when a fold's mean
lies on the other side of its block's). So every AUC stands beside a control made the same way: AIMD against AIMD.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from edviz.analysis.floors import Estimate, median_with_interval
from edviz.analysis.frames import TrajectoryLike, as_trajectory, check_comparable, even_interval
from edviz.errors import ArgumentError, MissingDataError

__all__ = [
    "CLASSIFIERS",
    "FEATURES",
    "TwoSampleTest",
    "classifier_two_sample_test",
    "cnn_two_sample_test",
    "features",
    "separability",
]

GAP_FS = 100.0  # a liquid's density forgets itself in about this time
N_FOLDS = 4
MAX_BLOCKS = 8  # generated blocks that are classified, evenly chosen

#: Name -> what it is.
CLASSIFIERS = {"logistic": "logistic regression", "trees": "boosted trees"}
ClassifierName = Literal["logistic", "trees"]
#: Of a summary (`edviz.analysis.summary`), what a classifier sees of a frame.
FEATURES = ("counts", "structure_factor", "gradient_counts")


@dataclass(frozen=True)
class TwoSampleTest:
    """What a classifier two-sample test found.

    Attributes
    ----------
    value
        AUC of generated blocks against the reference: median over blocks, 95 % interval, one value a block.
    control
        The same of training blocks against the reference; not a number without training data.
    """

    value: Estimate
    control: Estimate


def features(summary: xr.Dataset, names: Sequence[str] = FEATURES) -> NDArray[np.float64]:
    """(sample, time, feature): roots of the shares of the two histograms' bins, logarithms of S(k).

    Roots make the noise of rare and of common bins alike (the Poisson count's variance-stabilising transform).
    """
    tiny = np.finfo(np.float64).tiny
    parts = (summary[name].transpose("sample", "time", ...).values for name in names)
    return np.concatenate(
        [
            np.log(np.maximum(part, tiny)) if name == "structure_factor" else np.sqrt(part / summary.attrs["n_points"])
            for name, part in zip(names, parts, strict=True)
        ],
        axis=-1,
    )


def _model(name: str, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "logistic":
        return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    if name == "trees":
        return HistGradientBoostingClassifier(
            max_iter=40, max_leaf_nodes=6, min_samples_leaf=10, learning_rate=0.15, random_state=seed
        )
    raise ArgumentError(f"no classifier {name!r}; there are {', '.join(CLASSIFIERS)}")


def _folds(n_frames: int, n_gap: int, n_folds: int) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """(frames to train on, frames held out) of each stretch of time."""
    frames = np.arange(n_frames)
    edges = np.linspace(0, n_frames, n_folds + 1).round().astype(int)
    found = []
    for start, stop in pairwise(edges):
        found.append(((frames < start - n_gap) | (frames >= stop + n_gap), (frames >= start) & (frames < stop)))
    return found


def _gap(n_frames: int, interval: float) -> int:
    """Frames of `GAP_FS`, if a block has the four stretches of that length that leave something to train on.

    Raises
    ------
    MissingDataError
        If it has not.
    """
    n_gap = max(1, int(np.ceil(GAP_FS / interval)))
    if n_frames < N_FOLDS * n_gap:
        raise MissingDataError(
            f"a classifier needs blocks of at least {N_FOLDS * n_gap} frames ({N_FOLDS} stretches of the density's "
            f"memory, {GAP_FS:g} fs); got {n_frames}"
        )
    return n_gap


def separability(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    interval: float,
    classifier: ClassifierName = "logistic",
    seed: int = 0,
) -> float:
    """AUC of telling two blocks of frames apart, by stretches of time that were not trained on.

    Parameters
    ----------
    first, second
        (frame, feature), consecutive frames of each; of the longer block the first frames are used, so that both
        classes have the same size.
    interval
        Frame interval, fs.
    classifier
        "logistic" or "trees".
    seed
        Of the trees.

    Returns
    -------
    Mean over the folds; 0.5 if the two cannot be told apart.

    Raises
    ------
    MissingDataError
        If the blocks are too short for the folds.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import roc_auc_score

    n = min(len(first), len(second))
    areas = []
    for train, held in _folds(n, _gap(n, interval), N_FOLDS):
        data = np.concatenate([first[:n][train], second[:n][train]])
        labels = np.repeat([1, 0], train.sum())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = _model(classifier, seed).fit(data, labels)
        scores = model.predict_proba(np.concatenate([first[:n][held], second[:n][held]]))[:, 1]
        areas.append(roc_auc_score(np.repeat([1, 0], held.sum()), scores))
    return float(np.mean(areas))


def classifier_two_sample_test(
    generated: NDArray[np.floating],
    reference: NDArray[np.floating],
    training: NDArray[np.floating],
    interval: float,
    classifier: ClassifierName = "logistic",
    seed: int = 0,
) -> TwoSampleTest:
    """Generated blocks against the reference, beside training blocks against the reference.

    Parameters
    ----------
    generated, training
        (block, frame, feature), blocks as long as the reference; `training` may have none.
    reference
        (frame, feature).
    interval
        Frame interval, fs.
    classifier, seed
        See `separability`.
    """
    chosen = generated[np.linspace(0, len(generated) - 1, min(MAX_BLOCKS, len(generated))).round().astype(int)]
    found, control = (
        median_with_interval([separability(block, reference, interval, classifier, seed) for block in blocks])
        if len(blocks)
        else Estimate(np.nan, np.nan, np.nan, np.empty(0))
        for blocks in (chosen, training)
    )
    return TwoSampleTest(found, control)


def cnn_two_sample_test(
    generated: TrajectoryLike,
    reference: TrajectoryLike,
    n_steps: int = 300,
    batch: int = 16,
    seed: int = 0,
    progress: bool = True,
) -> Estimate:
    """AUC of a small periodic 3D convolutional network, on request: it sees the whole frame, not its statistics.

    Trained anew for each of two halves of time, on the other half, under random translations and the cell's symmetries.

    Parameters
    ----------
    generated
        A trajectory or an ensemble (its first sample is used), at least as long as the reference or cut to its length.
    reference
        Held-out AIMD.
    n_steps, batch
        Optimiser steps a half, and frames of each class in one.
    seed
        Of weights, batches and augmentation.
    progress
        Show a progress bar.

    Returns
    -------
    Estimate: mean AUC over the halves, the lowest and the highest, and one value a half.

    Raises
    ------
    GridMismatchError
        If the two do not share cell, grid, kind and frame interval.
    MissingDataError
        If there are too few frames.
    """
    import torch
    from sklearn.metrics import roc_auc_score
    from tqdm.auto import tqdm

    from edviz.grid import symmetry_index
    from edviz.models.classifier import DensityCritic

    generated, reference = as_trajectory(generated), as_trajectory(reference)
    check_comparable(generated, reference, "generated")
    generated = generated.sample(0) if generated.is_ensemble else generated
    n = min(len(generated), len(reference))
    n_gap = _gap(n, even_interval(reference))
    frames = torch.from_numpy(
        np.stack([np.stack([traj.frame(i) for i in range(n)]) for traj in (generated, reference)]).astype(np.float32)
    )
    symmetries = reference.grid.symmetries()
    rng = np.random.default_rng(seed)
    contrast = float(frames[1].std() / frames[1].mean())

    def augmented(field: Any) -> Any:
        index = torch.from_numpy(symmetry_index(symmetries[rng.integers(len(symmetries))], reference.grid.shape).copy())
        shift = tuple(int(rng.integers(size)) for size in reference.grid.shape)
        return field.flatten()[index].reshape(field.shape).roll(shift, (0, 1, 2))

    areas = []
    with tqdm(total=2 * n_steps, desc="critic", unit="step", delay=2, disable=not progress, leave=False) as bar:
        for train, held in _folds(n, n_gap, 2):
            torch.manual_seed(seed)
            critic = DensityCritic(contrast=contrast)
            optimizer = torch.optim.AdamW(critic.parameters(), lr=1e-3, weight_decay=1e-2)
            labels = torch.tensor([1.0, 0.0]).repeat_interleave(batch)
            usable = np.flatnonzero(train)
            for _ in range(n_steps):
                chosen = [augmented(frames[c, rng.choice(usable)]) for c in (0, 1) for _ in range(batch)]
                loss = torch.nn.functional.binary_cross_entropy_with_logits(critic(torch.stack(chosen)), labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                bar.update()
            with torch.no_grad():
                scores = [critic(frames[c, np.flatnonzero(held)]).numpy() for c in (0, 1)]
            areas.append(roc_auc_score(np.repeat([1, 0], held.sum()), np.concatenate(scores)))
    return Estimate(float(np.mean(areas)), float(np.min(areas)), float(np.max(areas)), np.array(areas))

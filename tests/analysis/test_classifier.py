"""The classifier two-sample test: blind to equal distributions, AIMD against AIMD included, and sharp for faults."""

import numpy as np
import pytest

import edviz
from edviz.analysis.classifier import CLASSIFIERS, classifier_two_sample_test, cnn_two_sample_test, separability
from edviz.analysis.faults import scrambled_phases
from edviz.errors import ArgumentError, MissingDataError


def _noise(seed, shift=0.0, n=128, features=12):
    return np.random.default_rng(seed).normal(size=(n, features)) + shift


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_equal_distributions_cannot_be_told_apart_and_shifted_ones_can(classifier):
    equal = [separability(_noise(1000 + 2 * i), _noise(1001 + 2 * i), 10.0, classifier) for i in range(20)]
    assert abs(np.mean(equal) - 0.5) < 0.05
    assert separability(_noise(0), _noise(1, shift=1.0), 10.0, classifier) > 0.9


def test_the_area_of_one_shifted_feature_is_the_known_one():
    # one Gaussian feature shifted by d standard deviations: AUC = Phi(d / sqrt 2)
    found = np.mean(
        [separability(_noise(2 * i, features=1), _noise(2 * i + 1, 1.0, features=1), 10.0) for i in range(8)]
    )
    assert found == pytest.approx(0.760, abs=0.03)


def test_same_seed_same_area_and_a_control_beside_it():
    blocks, reference, training = np.stack([_noise(0), _noise(1)]), _noise(2), np.stack([_noise(3), _noise(4)])
    first, second = (classifier_two_sample_test(blocks, reference, training, 10.0, "trees", seed=3) for _ in range(2))
    assert first.value.value == second.value.value
    assert len(first.value.values) == len(first.control.values) == 2
    assert not np.isfinite(classifier_two_sample_test(blocks, reference, training[:0], 10.0).control.value)


def test_shuffled_folds_would_take_slow_fluctuations_for_a_difference():
    # frames that remember each other for ten frames, from one process: whatever tells the blocks apart is noise
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    def correlated(seed):
        steps = _noise(seed, n=160)
        for i in range(1, len(steps)):
            steps[i] = 0.9 * steps[i - 1] + 0.436 * steps[i]
        return steps[32:]

    pairs = [(correlated(2 * i), correlated(2 * i + 1)) for i in range(8)]
    ours = np.mean([separability(first, second, 10.0) for first, second in pairs])
    shuffled = StratifiedKFold(4, shuffle=True, random_state=0)
    labels = np.repeat([1, 0], 128)
    theirs = np.mean(
        [
            cross_val_score(LogisticRegression(), np.concatenate(pair), labels, cv=shuffled, scoring="roc_auc").mean()
            for pair in pairs
        ]
    )
    assert ours < theirs - 0.1
    assert ours < 0.75


def test_too_few_frames_and_unknown_classifiers_are_refused():
    with pytest.raises(MissingDataError, match="at least 40 frames"):
        separability(_noise(0, n=12), _noise(1, n=12), 10.0)
    with pytest.raises(ArgumentError, match="logistic, trees"):
        separability(_noise(0), _noise(1), 10.0, "forest")


def test_the_network_sees_scrambled_phases_but_not_aimd():
    trajectory = edviz.load_sample("lithium-800K").resample_grid((16, 16, 16))
    reference, training = trajectory.split("test")[:80], trajectory.split("train")[100:180]
    values = scrambled_phases(training.density.values)
    fault = edviz.DensityTrajectory.from_arrays(values, training.grid.cell, time=training.time)
    seen = cnn_two_sample_test(fault, reference, n_steps=60, batch=8, progress=False)
    control = cnn_two_sample_test(training, reference, n_steps=60, batch=8, progress=False)
    assert seen.value > 0.9
    assert control.value < 0.75

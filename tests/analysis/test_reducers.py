from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from edviz.analysis import reducers, segments, summary
from edviz.analysis.floors import cut_blocks
from edviz.analysis.reducers import REDUCERS, Batch, PerFrame, Reducer, Variable
from edviz.analysis.summary import Plan, pool_blocks, pool_windows, summarise


class Largest(PerFrame):
    """A measurement of every frame."""

    variables: ClassVar = {"largest": Variable(units="e/angstrom^3", pool="mean")}

    def measure(self, batch):
        return {"largest": batch.flat.max(axis=1)}


class FirstAgainstLast(Reducer):
    """One that takes a whole block."""

    over: ClassVar = "block"
    whole_blocks: ClassVar = True
    variables: ClassVar = {"ends": Variable(("end",))}

    def __init__(self, plan):
        super().__init__(plan)
        self.frames = []

    def update(self, batch):
        self.frames += list(batch.values[:, 0, 0, 0])

    def finish(self):
        return {"ends": np.array([self.frames[0], self.frames[-1]] if self.frames else [0.0, 0.0])}


class OfTotalDensities(Largest):
    """One that has nothing to say about valence densities."""

    variables: ClassVar = {"never": Variable()}

    @classmethod
    def applies(cls, plan):
        return plan.density_kind == "total"


@pytest.fixture
def more(monkeypatch):
    several = (*REDUCERS, Largest, FirstAgainstLast, OfTotalDensities)
    monkeypatch.setattr(reducers, "REDUCERS", several)
    monkeypatch.setattr(summary, "REDUCERS", several)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1)
    monkeypatch.setattr(segments, "MIN_FRAMES", 3)


def test_a_new_measurement_is_a_class_and_a_line(make_noise, more, small_batches):
    traj = make_noise(n_frames=19, n_samples=2)
    plan = Plan.of(make_noise(8, seed=5))
    blocks = cut_blocks(19, 8)
    found = summarise(traj, plan, blocks)
    values = traj.density.values
    np.testing.assert_array_equal(found["largest"], values.max(axis=(2, 3, 4)))
    assert found["largest"].attrs["units"] == "e/angstrom^3" and "never" not in found
    pooled = pool_blocks(found, blocks)
    expected = [values[s, b].max(axis=(1, 2, 3)).mean() for s in range(2) for b in blocks]
    np.testing.assert_allclose(pooled["largest"], expected, rtol=1e-6)
    ends = [values[s, [b.start, b.stop - 1], 0, 0, 0] for s in range(2) for b in blocks]
    np.testing.assert_array_equal(pooled["ends"], ends)
    assert pool_windows(found, 5)["largest"].sizes == {"time": 3}
    assert summarise(traj, plan, [])["ends"].shape == (2, 0, 2)


def test_every_reducer_says_what_it_keeps(make_noise):
    plan = Plan.of(make_noise(4))
    values = make_noise(3).density.values
    names = [name for reducer in REDUCERS for name in reducer.variables]
    assert len(set(names)) == len(names)
    for reducer in REDUCERS:
        assert reducer.__doc__ and reducer.over in ("time", "block")
        one = reducer(plan)
        if reducer.over == "block":
            assert all(not zero.any() for zero in reducer(plan).finish().values())
        one.update(Batch(values[:2], None))
        one.update(Batch(values[2:], values[1]))
        found = one.finish()
        assert set(found) == set(reducer.variables)
        for name, variable in reducer.variables.items():
            assert found[name].ndim == len(variable.dims) + (reducer.over == "time")


def test_counts_take_the_smallest_integers_that_hold_them(make_noise):
    plan = Plan.of(make_noise(4))
    small = Batch(np.full((1, 8, 8, 8), 1.0, np.float32), None)
    large = Batch(np.full((1, 41, 40, 40), 1.0, np.float32), None)  # 65,600 values, all in one bin
    for batch, dtype in ((small, np.uint16), (large, np.int32)):
        counts = reducers.LogValues(plan).measure(batch)["counts"]
        assert counts.dtype == dtype and counts.max() == batch.flat.size

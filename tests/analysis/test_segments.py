from __future__ import annotations

import subprocess
import sys
import textwrap

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from edviz import DensityTrajectory
from edviz.analysis import segments
from edviz.analysis.floors import cut_blocks
from edviz.analysis.scorecard import evaluate
from edviz.analysis.segments import SegmentFrames, cut_segments, map_segments
from edviz.analysis.summary import Plan, summarise
from edviz.errors import NonFiniteError


def lazy(traj: DensityTrajectory) -> DensityTrajectory:
    density = traj.density
    axis = density.dims.index("time")
    array = da.concatenate(
        [da.from_array(np.ascontiguousarray(part), chunks=-1) for part in np.split(density.values, len(traj), axis)],
        axis,
    )
    return DensityTrajectory(traj.ds.assign(density=(density.dims, array, density.attrs)))


@pytest.fixture
def short_segments(monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1)
    monkeypatch.setattr(segments, "MIN_FRAMES", 3)


@pytest.mark.parametrize("whole_blocks", [False, True])
def test_every_frame_lies_in_one_segment_and_in_its_block(make_noise, short_segments, whole_blocks):
    traj = make_noise(n_frames=29, n_samples=2)
    blocks = cut_blocks(29, 8)
    found = cut_segments(traj, blocks, whole_blocks)
    for sample in range(2):
        numbers = [n for s in found if s.sample == sample for n in range(s.start, s.stop)]
        assert numbers == list(range(29))
    for segment in found:
        inside = [i for i, b in enumerate(blocks) if b.start <= segment.start and segment.stop <= b.stop]
        assert inside == ([] if segment.block is None else [segment.block])
        assert 1 <= len(segment) <= (8 if whole_blocks and segment.block is not None else 3)
    assert {len(s) for s in found if s.block == 0} == ({8} if whole_blocks else {2, 3})


def read(frames: SegmentFrames, factor: float):
    batches = list(frames.batches())
    return frames.previous, factor * np.concatenate(batches), len(batches)


def test_a_segment_reads_its_frames_and_the_one_before(make_noise, short_segments, small_batches):
    traj = make_noise(n_frames=10, n_samples=2)
    values = traj.density.values
    for given in (traj, lazy(traj)):
        found = list(map_segments(read, given, cut_segments(given), 2.0))
        assert [s.sample for s, _ in found] == [0] * 4 + [1] * 4
        for segment, (previous, own, n_batches) in found:
            np.testing.assert_array_equal(own, 2 * values[segment.sample, segment.frames])
            assert n_batches == len(segment)
            if segment.start == 0:
                assert previous is None
            else:
                np.testing.assert_array_equal(previous, values[segment.sample, segment.start - 1])


class Bar:
    n = 0

    def update(self, n):
        self.n += n


@pytest.mark.parametrize("scheduler", ["threads", "synchronous", "processes"])
def test_every_scheduler_gives_the_same(make_noise, short_segments, scheduler):
    traj = lazy(make_noise(n_frames=19, n_samples=2))
    plan = Plan.of(make_noise(8, seed=5))
    blocks = cut_blocks(19, 8)
    expected = summarise(traj, plan, blocks)
    bar = Bar()
    with dask.config.set(scheduler=scheduler, num_workers=2):
        found = summarise(traj, plan, blocks, progress=bar)
    xr.testing.assert_identical(found, expected)
    assert bar.n == 38


def test_the_first_bad_frame_is_named_whoever_finds_one_first(make_noise, short_segments):
    values = make_noise(n_frames=19, n_samples=2).density.values.copy()
    for sample, frame in ((0, 17), (1, 2), (0, 7)):
        values[sample, frame, 1, 1, 1] = np.nan
    ds = make_noise(n_frames=19, n_samples=2).ds
    broken = DensityTrajectory._from_valid(ds.assign(density=ds["density"].copy(data=values)))
    plan = Plan.of(make_noise(8, seed=5))
    with dask.config.set(num_workers=4), pytest.raises(NonFiniteError, match="rollout, sample 0: density, frame 7:"):
        summarise(broken, plan, [], where="rollout")


def test_no_more_tasks_are_handed_out_than_the_window_holds(make_noise, short_segments):
    traj = make_noise(n_frames=60)
    handed = []

    def some_segments():
        for segment in cut_segments(traj):
            handed.append(segment)
            yield segment

    with dask.config.set(num_workers=2):
        for done, _ in enumerate(map_segments(read, traj, some_segments(), 1.0), start=1):
            assert len(handed) <= done + 4
    assert len(handed) == 20


def test_a_cluster_of_two_processes_gives_the_same_table(coarse, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1 << 19)  # several segments a block
    train = coarse.split("train")
    coarse = coarse[400:]  # enough of the training block for two floors
    both = np.stack([train.density.values[:140], train.density.values[140:280]])
    memory = DensityTrajectory.from_arrays(both, coarse.grid.cell, time=train.time[:140], n_electrons=54.0)
    expected = evaluate(memory, coarse, progress=False)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        found = evaluate(lazy(memory), lazy(coarse), progress=False)
        # Both workers worked: what was done is in their own logs, not in ours.
        streams = client.run(lambda dask_worker: len(dask_worker.state.log))
        sent = evaluate(memory, coarse, progress=False)
        with pytest.raises(NonFiniteError, match="generated, sample 1: density, frame 77"):
            values = both.copy()
            values[1, 77, 1, 2, 3] = np.inf
            ds = memory.ds.assign(density=memory.density.copy(data=values))
            evaluate(DensityTrajectory._from_valid(ds), coarse, progress=False)
    assert len(streams) == 2 and all(streams.values())
    for other in (found, sent):
        pd.testing.assert_frame_equal(other.to_dataframe(), expected.to_dataframe(), check_exact=True)
        for name, summary in expected.evidence.summaries.items():
            xr.testing.assert_identical(other.evidence.summaries[name], summary)


LARGE = """
    import resource, sys
    import dask, dask.array as da, numpy as np
    import edviz
    from edviz.analysis.scorecard import evaluate

    n_frames, shape = int(sys.argv[1]), (64, 64, 64)
    real = edviz.load_sample("lithium-800K").split("test")[:12]
    source = real.resample_grid((32, 32, 32)).density.values
    cell = np.diag([2, 2, 2]) @ real.grid.cell

    def frame(block_info=None):
        number = block_info[None]["chunk-location"][0]
        moved = np.roll(source[number % len(source)], (number // 7, number // 3, number), axis=(0, 1, 2))
        return np.tile(moved, (2, 2, 2))[None]

    def generated(n):
        chunks = ((1,) * n, *((size,) for size in shape))
        density = da.map_blocks(frame, chunks=chunks, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))
        return edviz.DensityTrajectory.from_arrays(
            density, cell, time=10.0 * np.arange(n), n_electrons=8 * real.n_electrons
        )

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    with dask.config.set(num_workers=2):
        reference = generated(8)
        evaluate(generated(16), reference, progress=False)  # imports, plans and pools of threads
        before = peak()
        card = evaluate(generated(n_frames), reference, progress=False)
    print(n_frames * np.prod(shape) * 4 / 2**20, before, peak() - before, card.rows["jsd"].value)
"""


def test_a_trajectory_of_many_times_the_memory_it_takes(tmp_path):
    pytest.importorskip("resource")
    script = tmp_path / "large.py"
    script.write_text(textwrap.dedent(LARGE))
    done = subprocess.run([sys.executable, script, "160"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    size, _, growth, jsd = map(float, done.stdout.split())  # MiB
    assert size == 160 and growth < 50 and np.isfinite(jsd)

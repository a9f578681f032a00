"""Which precision a run computes in."""

from pathlib import Path

import pytest

from edviz.errors import TrainingError
from edviz.training import worker
from edviz.training.config import TrainingConfig


@pytest.mark.parametrize(
    ("precision", "native", "expected"),
    [
        ("auto", True, "bf16-mixed"),
        ("auto", False, "32-true"),
        ("32", True, "32-true"),
        ("bf16", False, "bf16-mixed"),
    ],
)
def test_auto_takes_bf16_where_the_processor_computes_in_it(monkeypatch, precision, native, expected):
    monkeypatch.setattr(worker, "computes_in_bf16", lambda: native)
    fabric = worker.make_fabric(TrainingConfig(precision=precision), "cpu", 1)
    assert fabric._precision.precision == expected


@pytest.mark.parametrize(
    ("precision", "native", "device", "expected"),
    [
        ("bf16", False, "cpu", True),
        ("bf16", True, "cpu", False),
        ("bf16", False, "cuda", False),
        ("auto", False, "cpu", False),
    ],
)
def test_a_run_that_must_emulate_bf16_is_known(monkeypatch, precision, native, device, expected):
    monkeypatch.setattr(worker, "computes_in_bf16", lambda: native)
    assert worker.emulates_bf16(TrainingConfig(precision=precision), device) is expected


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="asks Linux")
def test_what_the_processor_says_agrees_with_the_system():
    flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split()
    assert worker.computes_in_bf16() == bool({"avx512_bf16", "amx_bf16", "amx_tile"} & set(flags))


def test_more_gpus_than_there_are_is_an_error_that_says_so():
    with pytest.raises(TrainingError, match=r"devices = 1000: torch finds \d+ GPUs"):
        worker.make_fabric(TrainingConfig(), "cuda", 1000)

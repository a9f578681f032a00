import os

import pytest

from edviz._processors import available_processors


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert available_processors() == 3


@pytest.mark.parametrize("text", ["", "0", "4,2", "many"])
def test_otherwise_what_the_process_may_use(monkeypatch, text):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert available_processors() == len(os.sched_getaffinity(0))

from __future__ import annotations

import io

import numpy as np
import pytest

from edviz.aimd.wire import receive, send


def test_messages_come_through_in_order_with_their_arrays():
    stream = io.BytesIO()
    fortran = np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))
    send(stream, {"do": "compute"}, positions=fortran, empty=np.zeros((0, 3)))
    send(stream, {"energy": -1.5})
    stream.seek(0)
    message, arrays = receive(stream)
    assert message == {"do": "compute"}
    assert np.array_equal(arrays["positions"], fortran) and arrays["empty"].shape == (0, 3)
    assert receive(stream) == ({"energy": -1.5}, {})


def test_a_message_cut_short_and_a_foreign_one_are_errors():
    stream = io.BytesIO()
    send(stream, {}, values=np.ones(10))
    with pytest.raises(EOFError):
        receive(io.BytesIO(stream.getvalue()[:-1]))
    with pytest.raises(ValueError, match="no message"):
        receive(io.BytesIO(b"     Program PWSCF v.7.2 starts"))

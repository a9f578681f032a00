from pathlib import Path

import numpy as np
import pytest

from edviz.errors import FileFormatError, TruncatedFileError
from edviz.io.fortran import RecordReader, byte_order, read_pieces


def record(data: bytes, order: str = "<") -> bytes:
    marker = np.array(len(data), order + "i4").tobytes()
    return marker + data + marker


def test_records_in_both_byte_orders(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for order in "<>":
        numbers = np.arange(5.0)
        path.write_bytes(record(b"abcd", order) + record(numbers.astype(order + "f8").tobytes(), order))
        assert byte_order(path.read_bytes(), (3, 4)) == order
        with RecordReader(path, order, "test file") as records:
            assert records.read("letters", 4) == b"abcd"
            pieces = records.skip("numbers", 40)
            assert records.at_end()
        np.testing.assert_array_equal(read_pieces(path, pieces, np.float64, order), numbers)
    assert byte_order(b"\x04\x00\x00\x00abc", (4,)) == ""


def test_subrecords_of_long_records_are_joined(tmp_path: Path) -> None:
    """As gfortran writes them: a negative length in front means another one follows, behind that one precedes."""
    numbers = np.arange(6.0)
    data = numbers.tobytes()
    sizes = [16, 24, 8]
    content, start = b"", 0
    for i, size in enumerate(sizes):
        front = -size if i < len(sizes) - 1 else size
        back = size if i == 0 else -size
        content += np.array(front, "<i4").tobytes() + data[start : start + size] + np.array(back, "<i4").tobytes()
        start += size
    path = tmp_path / "x"
    path.write_bytes(content + record(b"next"))
    with RecordReader(path, "<", "test file") as records:
        pieces = records.skip("numbers", 48)
        assert [length for _, length in pieces] == sizes
        assert records.read("next") == b"next"
    np.testing.assert_array_equal(read_pieces(path, pieces, np.float64, "<"), numbers)


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run_DEN"
    good = record(b"abcd") + record(b"efgh")
    for content, error, message in (
        (good[:-2], TruncatedFileError, "record 2"),
        (good[:14], TruncatedFileError, "record 2"),
        (good[:8] + b"\x05" + good[9:], FileFormatError, "record 1 .*differ"),
        (b"\xff\xff\xff\x7f" + good, TruncatedFileError, "2147483647 bytes"),
    ):
        path.write_bytes(content)
        with pytest.raises(error, match=rf"run_DEN.*{message}"), RecordReader(path, "<", "test file") as records:
            records.read("one")
            records.read("two")
    path.write_bytes(good)
    with pytest.raises(FileFormatError, match="has 4 bytes where 8"), RecordReader(path, "<", "test file") as records:
        records.skip("one", 8)


def test_a_file_that_shrank_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(record(np.arange(3.0).tobytes()))
    with RecordReader(path, "<", "test file") as records:
        pieces = records.skip("numbers")
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(TruncatedFileError, match="shorter"):
        read_pieces(path, pieces, np.float64, "<")

from pathlib import Path

import h5py
import numpy as np
import pytest

from edviz.errors import FileFormatError, MissingDataError, TruncatedFileError
from edviz.io.hdf5 import hdf5_file, names_in, read_dataset, read_texts


def test_names_at_the_root(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["a"] = 1
        file.attrs["b"] = 2
    head = path.read_bytes()[:512]
    assert names_in(head, path) == {"a", "b"}
    assert names_in(b"no HDF5", path) == frozenset()
    path.write_bytes(path.read_bytes()[:900])
    assert names_in(head, path) == frozenset()


def test_claimed_sizes_are_compared_with_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("huge", (10_000, 10_000, 10_000), "f8")  # nothing stored
        file.create_dataset("huge_chunks", (10_000, 10_000, 10_000), "f8", chunks=(100, 100, 100))
        file["zeros"] = np.zeros((200, 100, 100))
        file.create_dataset("packed", data=np.zeros((200, 100, 100)), chunks=True, compression="gzip")
        file["text"] = "word"
    with hdf5_file(path) as file:
        for name in ("huge", "huge_chunks"):
            with pytest.raises(TruncatedFileError, match=rf"x\.h5: /{name} .*0 are stored"):
                read_dataset(file[name], path)
        for name in ("zeros", "packed"):
            assert read_dataset(file[name], path).shape == (200, 100, 100)
        with pytest.raises(FileFormatError, match="no numbers"):
            read_dataset(file["text"], path)
        with pytest.raises(FileFormatError, match="no texts"):
            read_texts(file["zeros"], path)
        assert read_texts(file["text"], path) == ["word"]


def test_errors_of_h5py_become_edviz_errors(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["a"] = 1
    with pytest.raises(TruncatedFileError, match=r"x\.h5 cannot be read"), hdf5_file(path) as file:
        file["missing"]
    with pytest.raises(MissingDataError, match="mine"), hdf5_file(path):
        raise MissingDataError("mine")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(TruncatedFileError, match=r"x\.h5 cannot be read"), hdf5_file(path):
        pass
    with pytest.raises(FileNotFoundError), hdf5_file(tmp_path / "none.h5"):
        pass

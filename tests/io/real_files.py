"""Files of other people and other codes that lie beside the checkout, not in it; tests that need one skip without."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "real-files"


def real_file(name: str) -> Path:
    """The path of one of them."""
    if not (FOLDER / name).exists():
        pytest.skip(f"{name} is not beside the checkout (../shared/real-files)")
    return FOLDER / name


def unpacked(name: str, folder: Path) -> Path:
    """A copy without its packing."""
    path = folder / name.removesuffix(".gz")
    path.write_bytes(gzip.decompress(real_file(name).read_bytes()))
    return path

"""Files damaged in every way files get damaged, and what a reader may do with them.

`mutate(content, rng)` gives a damaged copy; `check_reader` feeds many of them to a reader and accepts two answers only:
data that an oracle confirms, or an `edviz.errors` exception that names the file. Everything else (another exception, a
hang, a huge allocation, other numbers) fails.

`make fuzz` sets EDVIZ_FUZZ to the number of mutated files a case; `make test` runs a few hundred.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from edviz.errors import EdvizError

#: Mutated files a case in `make test`; `make fuzz` sets EDVIZ_FUZZ.
N_MUTATIONS = int(os.environ.get("EDVIZ_FUZZ", "150"))

ABSURD = (
    b"0",
    b"-1",
    b"1000000000000",
    b"99999999999999999999",
    b"4294967296",
    b"2147483648",
    b"1e9",
    b"3.7",
    b"NaN",
    b"x",
)
NOT_NUMBERS = (
    b"*" * 11,
    b"NaN",
    b"-nan",
    b"Infinity",
    b"inf",
    b"-Inf",
    b"1_000",
    b"0x1F",
    b"1e999",
    b"--1",
    b"1.2.3",
    b"E+01",
    b"",
)


def _lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


def _word(content: bytes, rng: np.random.Generator, pattern: bytes = rb"\S+") -> re.Match[bytes] | None:
    """A word from anywhere, or (half of the time) from the first 30 lines."""
    end = len(content)
    if rng.random() < 0.5:
        end = len(b"".join(_lines(content)[:30]))
    start = int(rng.integers(0, max(1, end)))
    compiled = re.compile(pattern)
    return compiled.search(content, start, end) or compiled.search(content)


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut anywhere: in the header, at or near a line end, inside a number, near the end."""
    choice = rng.integers(4)
    if choice == 0:
        return content[: rng.integers(0, len(content) + 1)]
    if choice == 1:
        return content[: max(0, len(content) - int(rng.integers(1, 40)))]
    ends = [i + 1 for i, byte in enumerate(content) if byte == 10] or [0]
    if choice == 2:
        ends = ends[:15]
    return content[: max(0, ends[rng.integers(len(ends))] - int(rng.integers(0, 3)))]


def swap_lines(content: bytes, rng: np.random.Generator) -> bytes:
    """Two lines change places."""
    lines = _lines(content)
    if len(lines) > 1:
        i, j = rng.integers(0, len(lines), 2)
        lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


def drop_line(content: bytes, rng: np.random.Generator) -> bytes:
    """A line is lost."""
    lines = _lines(content)
    if lines:
        del lines[rng.integers(len(lines))]
    return b"".join(lines)


def double_line(content: bytes, rng: np.random.Generator) -> bytes:
    """A line is there twice."""
    lines = _lines(content)
    if lines:
        i = rng.integers(len(lines))
        lines.insert(i, lines[i])
    return b"".join(lines)


def absurd_count(content: bytes, rng: np.random.Generator) -> bytes:
    """An integer, often one of the header, becomes nonsense."""
    match = _word(content, rng, rb"(?<!\S)-?\d+(?!\S)")
    if match is None:
        return content
    return content[: match.start()] + ABSURD[rng.integers(len(ABSURD))] + content[match.end() :]


def not_a_number(content: bytes, rng: np.random.Generator) -> bytes:
    """A word becomes stars, NaN or worse; of the same length half of the time."""
    match = _word(content, rng)
    if match is None:
        return content
    new = NOT_NUMBERS[rng.integers(len(NOT_NUMBERS))]
    if rng.random() < 0.5:
        width = match.end() - match.start()
        new = (b"*" * width) if new.startswith(b"*") else new[:width].rjust(width)
    return content[: match.start()] + new + content[match.end() :]


def exponent(content: bytes, rng: np.random.Generator) -> bytes:
    """The letter of an exponent goes (0.123-104), becomes D, or the exponent grows."""
    match = _word(content, rng, rb"[eEdD][+-]?\d+")
    if match is None:
        return content
    new = (b"-104", b"D" + match[0][1:], b"E-104", b"+104", b"E+999", b"e" + match[0][1:], b"E", match[0][1:])[
        rng.integers(8)
    ]
    return content[: match.start()] + new + content[match.end() :]


def d_everywhere(content: bytes, rng: np.random.Generator) -> bytes:
    """All exponents are written with D."""
    return re.sub(rb"(?<=\d)[eE](?=[+-]\d)", b"D", content)


def crlf(content: bytes, rng: np.random.Generator) -> bytes:
    """Line ends of Windows, everywhere or in one place."""
    if rng.random() < 0.5:
        return content.replace(b"\n", b"\r\n")
    lines = _lines(content)
    if lines:
        i = rng.integers(len(lines))
        lines[i] = lines[i].replace(b"\n", b"\r\n")
    return b"".join(lines)


def empty(content: bytes, rng: np.random.Generator) -> bytes:
    """Nothing, or blanks."""
    return (b"", b"\n", b"   \n\n", bytes(64))[rng.integers(4)]


def flip_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes become others."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if changed:
            changed[rng.integers(len(changed))] = rng.integers(256)
    return bytes(changed)


def zero_stretch(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of zero bytes, as a crashed file system leaves it."""
    start = int(rng.integers(0, len(content) + 1))
    size = int(rng.integers(1, 600))
    return content[:start] + bytes(min(size, len(content) - start)) + content[start + size :]


def remove_stretch(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch is lost."""
    start = int(rng.integers(0, len(content) + 1))
    return content[:start] + content[start + int(rng.integers(1, 300)) :]


def join_files(content: bytes, rng: np.random.Generator) -> bytes:
    """The file twice, or garbage behind it."""
    return content + (content, b"garbage\n", b" 0.1E+01 0.2E+01\n", bytes(32))[rng.integers(4)]


TEXT = (
    truncate,
    truncate,
    swap_lines,
    drop_line,
    double_line,
    absurd_count,
    absurd_count,
    not_a_number,
    not_a_number,
    exponent,
    exponent,
    d_everywhere,
    crlf,
    empty,
    flip_bytes,
    zero_stretch,
    remove_stretch,
    join_files,
)
BINARY = (truncate, empty, flip_bytes, flip_bytes, flip_bytes, zero_stretch, remove_stretch, join_files)


def mutate(content: bytes, rng: np.random.Generator, mutations: tuple[Callable[..., bytes], ...] = TEXT) -> bytes:
    """A damaged copy of a file's content: one mutation, sometimes two."""
    content = mutations[rng.integers(len(mutations))](content, rng)
    if rng.random() < 0.15:
        content = mutations[rng.integers(len(mutations))](content, rng)
    return content


@contextmanager
def limits(seconds: int = 20, bytes_more: int = 2 << 30) -> Iterator[None]:
    """Turn a hang into a TimeoutError and a huge allocation into a MemoryError."""

    def alarm(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer in {seconds} s")

    with open("/proc/self/statm") as file:
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + bytes_more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


def check_reader(
    content: bytes,
    read: Callable[[Path], Any],
    agrees: Callable[[Any, bytes], bool],
    path: Path,
    *,
    mutations: tuple[Callable[..., bytes], ...] = TEXT,
    n: int | None = None,
    seed: int = 0,
) -> dict[str, int]:
    """Feed mutated copies of a file to a reader.

    Parameters
    ----------
    content
        A good file.
    read
        Opens the file at a path and reads every value in it.
    agrees
        Gets what `read` gave and the mutated bytes: whether this is the right content of that file. It must not use
        the reader under test.
    path
        Where to put the files; its name must be one the format goes by.
    mutations, n, seed
        Which kinds, how many, and the seed.

    Returns
    -------
    How many were read and how many refused. Both must happen: a reader that refuses everything is no reader.
    """
    counts = {"read": 0, "refused": 0}
    for i in range(N_MUTATIONS if n is None else n):
        damaged = mutate(content, np.random.default_rng([seed, i]), mutations)
        path.write_bytes(damaged)
        try:
            with warnings.catch_warnings(), limits():
                warnings.simplefilter("ignore")
                found = read(path)
        except EdvizError as error:
            assert path.name in str(error), f"mutation {i} of seed {seed}: the message names no file: {error}"
            counts["refused"] += 1
            continue
        except Exception as error:
            kept = path.with_name(f"failed-{seed}-{i}-{path.name}")
            kept.write_bytes(damaged)
            raise AssertionError(f"mutation {i} of seed {seed} ({kept}): {type(error).__name__}: {error}") from error
        if not agrees(found, damaged):
            kept = path.with_name(f"failed-{seed}-{i}-{path.name}")
            kept.write_bytes(damaged)
            raise AssertionError(f"mutation {i} of seed {seed} ({kept}): read without complaint, but not what it says")
        counts["read"] += 1
    return counts

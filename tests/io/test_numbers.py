"""Blocks of numbers: every layout gives what Python's own float gives, and damage is named by file and line."""

from __future__ import annotations

import gzip
import re
from functools import partial

import numpy as np
import pytest

from edviz.errors import FileFormatError, NonFiniteError, TruncatedFileError
from edviz.io.numbers import jump_block, read_block, read_pieces, skip_block
from edviz.io.text import Text


def fortran(value: float, width: int, digits: int) -> str:
    """A number as Fortran's Ew.d writes it: 0.123E+01, without the zero where there is no room, -0.123-104."""
    sign = "-" if np.signbit(value) else ""
    mantissa, exponent = f"{abs(value):.{digits - 1}e}".split("e")
    power = int(exponent) + 1 if value else 0
    letter = "E" if abs(power) < 100 else ""
    body = f".{mantissa.replace('.', '')}{letter}{power:+0{3 if letter else 4}d}"
    if len(sign + body) < width:
        body = "0" + body
    return (sign + body).rjust(width) if len(sign + body) <= width else "*" * width


def written(values, per_line, form, run=None) -> str:
    lines = []
    for start in range(0, len(values), run or len(values)):
        stretch = values[start : start + (run or len(values))]
        lines += ["".join(map(form, stretch[i : i + per_line])) for i in range(0, len(stretch), per_line)]
    return "\n".join(lines) + "\n"


FORMS = {
    "CHGCAR, E17.11 after a blank": lambda x: " " + fortran(x, 17, 11),
    "cube, E13.5": lambda x: fortran(x, 13, 5),
    "E14.6": lambda x: fortran(x, 14, 6),
    "E12.3": lambda x: fortran(x, 12, 3),
    "C, two blanks": lambda x: f"{x:19.11E}",
    "C, lower case, 17 digits": lambda x: f"{x:25.16e}",
    "C, 15 digits": lambda x: f"{x:23.14e}",
    "D exponents": lambda x: fortran(x, 18, 10).replace("E", "D"),
    "no columns": lambda x: f" {float(x)!r}",
    "fixed point": lambda x: f"{x:14.7f}",
    "no exponent column": lambda x: f" {x:.5e}",
    "G11.5 as in CHG": lambda x: f" {x:<11.5g}",
}


def expected(text: str) -> np.ndarray:
    # Columns without a blank between them: a sign starts the next number.
    words = re.sub(r"(?<=[eEdD][+-]\d\d)(?=[+-])", " ", text).split()
    return np.array([float(word.replace("D", "e")) for word in words])


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("signs", [False, True])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_every_layout_gives_what_float_gives(tmp_path, name, signs, ends):
    random = np.random.default_rng(len(name))
    values = random.lognormal(0, 2 if name == "fixed point" else 8, 3456 + 2)
    if signs:
        values *= random.choice([-1, 1], values.size)
        values[::97] = 0.0
    text = written(values, 5, FORMS[name])
    (tmp_path / "block").write_text(text + "next line\n", newline=ends)
    with Text(tmp_path / "block") as file:
        found = read_block(file, values.size, strict=True)
        assert file.line(" ") == b"next line"
        assert file.line_number == text.count("\n") + 1
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected(text).astype(np.float32))


@pytest.mark.parametrize("name", ["cube, E13.5", "no columns", "E14.6"])
@pytest.mark.parametrize("run", [1, 4, 6, 16, 48, 49])
def test_rows_that_restart_after_every_run(tmp_path, name, run):
    values = np.random.default_rng(run).normal(size=run * 1200)
    text = written(values, 6, FORMS[name], run)
    (tmp_path / "block").write_text(text)
    with Text(tmp_path / "block") as file:
        found = read_block(file, values.size, run=run)
        assert not file.raw_line()
    np.testing.assert_array_equal(found, expected(text).astype(np.float32))


def test_lines_off_the_layout_are_read_word_by_word(tmp_path):
    values = np.random.default_rng(0).uniform(1, 2, 50_000)
    values[[7, 20_001, 49_998]] = [1.5e-104, -2.5e-122, 3e-300]
    text = written(values, 5, FORMS["CHGCAR, E17.11 after a blank"])
    assert "-103" in text and "E-103" not in text
    (tmp_path / "block").write_text(text)
    with Text(tmp_path / "block") as file:
        found = read_block(file, values.size, strict=True)
    lettered = re.sub(r"(?<=\d)(?=[+-]\d{3})", "E", text)
    np.testing.assert_array_equal(found, expected(lettered).astype(np.float32))


def test_the_scale_is_applied_in_double_precision(tmp_path):
    values = np.random.default_rng(0).uniform(1, 2, 1000)
    text = written(values, 5, FORMS["CHGCAR, E17.11 after a blank"])
    (tmp_path / "block").write_text(text)
    with Text(tmp_path / "block") as file:
        found = read_block(file, 1000, scale=1 / 3)
    np.testing.assert_array_equal(found, (expected(text) / 3).astype(np.float32))


@pytest.mark.parametrize("size", [1, 3, 17, 1000, 40_000, 200_000])
@pytest.mark.parametrize("name", ["CHGCAR, E17.11 after a blank", "no columns"])
def test_pieces_join_to_the_block(tmp_path, name, size):
    values = np.random.default_rng(0).uniform(1, 2, 2003 if size < 100 else 100_003)
    text = written(values, 5, FORMS[name])
    (tmp_path / "block").write_text(text + "next line\n")
    with Text(tmp_path / "block") as file:
        pieces = [piece.copy() for piece in read_pieces(file, values.size, size, strict=True)]
        assert file.line(" ") == b"next line"
    assert {len(piece) for piece in pieces[:-1]} <= {size}
    np.testing.assert_array_equal(np.concatenate(pieces), expected(text).astype(np.float32))


def test_packed_blocks(tmp_path):
    text = written(np.arange(100_003.0), 5, FORMS["CHGCAR, E17.11 after a blank"])
    (tmp_path / "block").write_bytes(gzip.compress(text.encode()))
    with Text(tmp_path / "block") as file:
        assert np.array_equal(read_block(file, 100_003, strict=True), np.arange(100_003.0))


@pytest.fixture
def damaged(tmp_path):
    """Read a block of 1000 numbers after a change; the change gets its text."""
    text = written(np.random.default_rng(0).uniform(1, 2, 1000), 5, FORMS["CHGCAR, E17.11 after a blank"])

    def read(change, count=1000):
        (tmp_path / "block").write_text(change(text))
        with Text(tmp_path / "block") as file:
            return read_block(file, count, strict=True)

    return read


def in_line(number, old, new):
    def change(text):
        lines = text.split("\n")
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new, 1)
        return "\n".join(lines)

    return change


@pytest.mark.parametrize(
    "new, error, message",
    [
        ("*" * 11, FileFormatError, r"block, line 77: .*\*\*\*.* did not fit its field"),
        ("NaN", NonFiniteError, "block, line 77: NaN where a number must be"),
        ("-Infinity", NonFiniteError, "block, line 77: -Infinity where a number must be"),
        ("1E+999", NonFiniteError, r"block, line 77: 1E\+999 is beyond single precision"),
        ("1E+39", NonFiniteError, r"block, line 77: 1E\+39 is beyond single precision"),
        ("1_0", FileFormatError, "block, line 77: '1_0' is not a number"),
        ("0x10", FileFormatError, "block, line 77: '0x10' is not a number"),
        ("1.0 2.0", FileFormatError, "block, line 77: 6 numbers in a line"),
        ("", FileFormatError, "block, line 77: 4 numbers in a line"),
    ],
)
def test_damage_is_named_by_file_and_line(damaged, new, error, message):
    def change(text):
        lines = text.split("\n")
        lines[76] = lines[76].replace(lines[76].split()[2], new)
        return "\n".join(lines)

    with pytest.raises(error, match=message):
        damaged(change)


@pytest.mark.parametrize("byte", ["*", "/", ":", ",", "x", "\0", "7", " ", "-", "+", ".", "é", "e"])
def test_no_byte_of_a_line_can_change_unnoticed(damaged, byte):
    """Wherever a byte changes, the answer is that of float, or an error."""
    changed: list[str] = []

    def change(text, column):
        changed[:] = [text[: 50 * 91 + column] + byte + text[50 * 91 + column + 1 :]]
        return changed[0]

    for column in range(91):
        try:
            found = damaged(partial(change, column=column))
        except (FileFormatError, NonFiniteError) as error:
            assert "block, line 5" in str(error), column
        else:
            np.testing.assert_array_equal(found, expected(changed[0]).astype(np.float32), err_msg=str(column))


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 10, 18, 91, 92, 5000])
def test_a_block_that_ends_early(damaged, cut):
    if cut == 1:  # only the last line end
        assert len(damaged(lambda text: text[:-cut])) == 1000
    else:
        with pytest.raises(TruncatedFileError, match=r"block, line \d+"):
            damaged(lambda text: text[:-cut])


def test_absurd_counts_are_refused_before_anything_is_allocated(damaged, tmp_path):
    with pytest.raises(TruncatedFileError, match="1000000000000 grid points need at least"):
        damaged(lambda text: text, 10**12)
    text = written(np.ones(1000), 5, FORMS["CHGCAR, E17.11 after a blank"])
    (tmp_path / "packed").write_bytes(gzip.compress(text.encode()))
    with Text(tmp_path / "packed") as file, pytest.raises(TruncatedFileError, match="after 1000 of 1000000000000"):
        read_block(file, 10**12)


def test_lost_and_doubled_lines(damaged):
    with pytest.raises(TruncatedFileError):
        damaged(lambda text: text.split("\n", 1)[1])
    with pytest.raises(FileFormatError, match="line 1: 5 numbers in a line where only 3"):
        damaged(lambda text: text, 3)


@pytest.mark.parametrize("name", ["CHGCAR, E17.11 after a blank", "no columns", "G11.5 as in CHG"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_skipping_ends_where_reading_ends(tmp_path, name, pack):
    text = written(np.random.default_rng(0).uniform(1, 2, 1003), 5, FORMS[name])
    (tmp_path / "block").write_bytes(pack((text + "next\n").encode()))
    with Text(tmp_path / "block") as file:
        skip_block(file, 1003, strict=True)
        assert file.line("the next line") == b"next"
        assert file.line_number == 202
    with Text(tmp_path / "block") as file:
        if name == "no columns":
            assert not jump_block(file, 1003) or file.line(" ") != b"next"
        else:
            assert jump_block(file, 1003)
            assert file.line("the next line") == b"next"
            assert file.line_number == 202

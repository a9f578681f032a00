"""docs/formats.md names what edviz reads."""

from pathlib import Path

from edviz.io.formats import FORMATS

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()


def test_every_format_has_a_row() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    for known in FORMATS:
        first_word = known.name.split()[0]
        assert any(first_word.lower() in row.lower() for row in rows), known.name
        for suffix in known.suffixes if known.writes else ():
            assert any(suffix in row for row in rows), (known.name, suffix)

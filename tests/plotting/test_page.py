"""The pieces of a page."""

import numpy as np
import pytest

from edviz.errors import WriteError
from edviz.plotting.page import assemble, chip, number, short, table, write_page


def test_numbers_have_three_digits_and_a_true_minus():
    assert [number(x) for x in (0.012345, -3.2, 12345.6, np.nan, None, np.inf)] == [
        "0.0123",
        "−3.2",
        "12,346",
        "–",
        "–",
        "–",
    ]


def test_chips_carry_their_verdict():
    assert chip("no data") == '<span class="chip no-data">– no data</span>'
    assert chip("pass", "3 pass") == '<span class="chip pass">3 pass</span>'


def test_a_table_heads_its_rows():
    text = table(("metric", "value"), [("jsd", "1"), ("w1", '<td class="n">2</td>')])
    assert "<tr><th>jsd</th><td>1</td></tr>" in text and '<tr><th>w1</th><td class="n">2</td></tr>' in text


def test_a_page_holds_plotly_once_and_escapes_its_title():
    text = assemble("<a>", ["", "<p>one</p>", "<p>two</p>"], ".x {color: red}")
    assert "<title>&lt;a&gt;</title>" in text and text.count("plotly.js v") == 1
    assert "<p>one</p>\n<p>two</p>" in text and ".x {color: red}" in text


def test_writing_makes_the_folder_and_names_what_fails(tmp_path):
    assert write_page(tmp_path / "a" / "b.html", "x").read_text() == "x"
    (tmp_path / "c").mkdir()
    with pytest.raises(WriteError, match="c"):
        write_page(tmp_path / "c", "x")


def test_short_is_float32():
    assert short(np.array([0.1])).dtype == np.float32

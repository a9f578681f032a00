"""The page of a scorecard: everything inside, readable, and true to the card."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import edviz
from edviz.analysis.rows import ROWS
from edviz.plotting.scorecard_page import (
    SECTIONS,
    jsd_figure,
    lead_time_figure,
    pair_figure,
    scattering_figure,
    scorecard_page,
)
from edviz.plotting.theme import AIMD, GENERATED


class Reader(HTMLParser):
    """Tags with attributes, and the cells of table rows."""

    def __init__(self):
        super().__init__()
        self.tags, self.rows, self.inside = [], [], False

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = self.inside or tag == "table"
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "table"

    def handle_data(self, data):
        if self.inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def card():
    traj = edviz.load_sample("lithium-800K").resample_grid((18, 18, 18))
    reference = traj[500:540]
    early = edviz.DensityTrajectory.from_arrays(
        traj[:60].density.values, traj.grid.cell, time=reference.time[3] + 10 * np.arange(60), n_electrons=54
    )
    return edviz.evaluate(early, reference, training=traj[200:400], progress=False)


@pytest.fixture(scope="module")
def page(card, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "new" / "card.html"
    text = card.to_html(path, name="<model>")
    assert path.read_text(encoding="utf-8") == text
    return text


def test_it_needs_nothing_from_elsewhere(page):
    reader = Reader()
    reader.feed(page)
    for tag, attrs in reader.tags:
        assert tag not in ("link", "iframe", "img", "object"), tag
        assert "src" not in attrs and not (attrs.get("href") or "").startswith("http")
    assert page.count("plotly.js v") == 1
    assert "<model>" not in page and "&lt;model&gt;" in page


def test_every_row_stands_in_the_table_with_its_definition_and_note(page, card):
    reader = Reader()
    reader.feed(page)
    cells = {
        next(n for n in sorted(ROWS, key=len, reverse=True) if row[0].startswith(n)): row
        for row in reader.rows
        if len(row) == 7 and row[0] != "metric"
    }
    assert set(cells) == set(ROWS)
    for name, row in card.rows.items():
        first, value, _, floor, ratio, verdict, note = cells[name]
        assert first == name + ROWS[name].__doc__.strip().splitlines()[0]
        assert verdict.endswith(row.verdict) and note == row.note
        for text, number in ((value, row.value), (floor, row.floor), (ratio, row.ratio)):
            if np.isfinite(number):
                assert float(text.replace("−", "-").replace(",", "")) == pytest.approx(number, rel=6e-3, abs=1e-300)
            else:
                assert text == "–"
    chips = re.findall(r'chip ([a-z-]+)">(\d+) ', page)
    verdicts = [row.verdict.replace(" ", "-") for row in card.rows.values()]
    assert {name: int(n) for name, n in chips} == {v: verdicts.count(v) for v in set(verdicts)}


def test_the_curves_have_hover_units_and_the_colours_of_all_pictures(page, card):
    assert page.count("plotly-graph-div") == 8
    cards = {"generated": card}
    for section in SECTIONS:
        assert section.heading in page
        for draw in section.figures:
            figure = draw(cards)
            assert draw.__doc__ and figure.layout.title.text
            shown = [trace for trace in figure.data if trace.hoverinfo != "skip" and trace.mode]
            assert shown and all(trace.hovertemplate for trace in shown)
            assert {AIMD, GENERATED[0]} <= set(re.findall("#[0-9A-Fa-f]{6}", figure.to_json()))
    assert lead_time_figure(cards).layout.yaxis.title.text.endswith("(%)")


def test_the_memory_of_aimd_is_in_the_heading(page, card):
    assert f"autocorrelation time of AIMD up to {card.autocorrelation_time:.3g} fs" in page
    assert 10 < card.autocorrelation_time < 400


def test_motion_and_atoms_are_drawn_where_there_are_blocks(card):
    figure = scattering_figure({"generated": card})
    k = card.evidence.blocks["reference"]["scattering_k"].values
    assert figure.data[0].name == f"AIMD, k = {k[0]:.2g} Å⁻¹" and len(figure.data) == 6
    np.testing.assert_allclose([trace.y[0] for trace in figure.data], 1)
    pairs = pair_figure({"generated": card})
    assert [trace.name for trace in pairs.data] == ["AIMD", "generated"]
    assert 2.8 < pairs.data[0].x[np.argmax(pairs.data[0].y)] < 3.2
    short = replace(
        card,
        evidence=replace(
            card.evidence,
            blocks={**card.evidence.blocks, "generated": card.evidence.blocks["generated"].isel(block=[])},
        ),
    )
    assert scattering_figure({"generated": short}) is None is pair_figure({"generated": short})


def test_curves_of_the_moment_lie_on_the_faint_ones_of_the_whole(card):
    blocks = card.evidence.blocks["reference"]
    cases = {pair_figure: blocks["pair_distribution"][0] + 0.1, scattering_figure: blocks["scattering"][0] + 0.1}
    for draw, curve in cases.items():
        now = {"AIMD": curve, "generated": curve + 0.1}
        alone, both = draw({}, now), draw({"generated": card}, now)
        assert len(both.data) == 2 * len(alone.data)
        faint, strong = both.data[: len(alone.data)], both.data[len(alone.data) :]
        assert all(trace.line.color.startswith("rgba") and trace.showlegend is False for trace in faint)
        assert {trace.line.color for trace in strong} == {AIMD, GENERATED[0]}
        for drawn, whole in zip(strong, draw({"generated": card}).data, strict=True):
            assert drawn.name == whole.name and len(drawn.y) == len(whole.y)
        np.testing.assert_allclose(strong[0].y, np.atleast_2d(curve.values)[0], rtol=1e-6)
        assert "faint" in both.layout.title.text and "faint" not in alone.layout.title.text


def test_a_line_has_no_more_points_than_the_page_has_pixels(card):
    figure = jsd_figure({"generated": card})
    assert all(len(trace.x) == len(trace.y) <= 1500 for trace in figure.data)


def test_several_cards_share_the_curves(card):
    text = scorecard_page({"a": card, "b": card}, "Two", "<p>before</p>")
    assert text.index("<p>before</p>") < text.index("how it was judged")
    assert text.count("plotly-graph-div") == 8 and text.count("<tbody>") == 2

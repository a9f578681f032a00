from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edviz
from edviz.errors import ArgumentError
from edviz.plotting.report import write_report

CELL = np.diag([7.0, 7.5, 8.0])
SHAPE = (10, 10, 12)


def wander(n_frames: int, seed: int, start: float, decay: float = 0.0, n_samples: int = 0) -> edviz.DensityTrajectory:
    """Smooth waves that drift about; with `decay` their amplitude fades, as a collapsing rollout's does."""
    random = np.random.default_rng(seed)
    waves = np.stack(np.meshgrid(*[np.arange(n) / n for n in SHAPE], indexing="ij"), axis=-1)
    vectors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 2]])
    runs = []
    for _ in range(n_samples or 1):
        phases = np.cumsum(random.normal(0, 0.4, (n_frames, len(vectors))), axis=0) + random.uniform(0, 6, len(vectors))
        field = np.cos(2 * np.pi * (waves @ vectors.T)[None] + phases[:, None, None, None]).sum(axis=-1)
        runs.append(np.exp(0.3 * field * np.exp(-decay * np.arange(n_frames))[:, None, None, None]))
    density = np.stack(runs) if n_samples else runs[0]
    density *= 20 / (density.mean(axis=(-3, -2, -1), keepdims=True) * np.linalg.det(CELL))
    time = start + 10.0 * np.arange(n_frames)
    source = "edviz emulator" if start > 2000 else "made up"
    return edviz.DensityTrajectory.from_arrays(density, CELL, time=time, n_electrons=20, source=source)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> tuple[str, dict]:
    """A report on one good and one collapsing rollout."""
    training, test = wander(90, 0, 0.0), wander(30, 1, 2000.0)
    generated = {"good <model>": wander(60, 2, 2030.0, n_samples=2), "collapsed": wander(40, 3, 2030.0, decay=0.5)}
    cards = {label: edviz.evaluate(traj, test, training, progress=False) for label, traj in generated.items()}
    curves = {
        "stage": np.array(["autoencoder"] * 3 + ["diffusion"] * 3),
        "elapsed": np.arange(6) * 60.0,
        "loss": np.array([3, 2, 1, 0.3, 0.2, 0.1]),
        "validation_nmae": np.array([np.nan, 2, 1, np.nan, np.nan, np.nan]),
    }
    goals = {"collapsed": [{"figure": "contrast", "value": 0.9, "low": 0.0, "high": 0.05, "aimd": 0.02, "met": False}]}
    path = write_report(
        tmp_path_factory.mktemp("report") / "new" / "report.html",
        reference=test,
        generated=generated,
        cards=cards,
        training_curves=curves,
        provenance={"command": "make demo", "evil": "<script src='https://x'>", "nested": {"seed": 7}},
        goals=goals,
    )
    assert isinstance(path, Path)
    return path.read_text(encoding="utf-8"), cards


class Collector(HTMLParser):
    """Tags, their attributes, the style sheets, and the text of table rows."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.styles: list[str] = []
        self.rows: list[list[str]] = []
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:  # tags without an end, such as img, go with it
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self.inside:
            self.styles.append(data)
        elif "td" in self.inside or "th" in self.inside:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def parsed(page) -> Collector:
    collector = Collector()
    collector.feed(page[0])
    return collector


def test_page_fetches_nothing(parsed):
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            value = attributes.get(name) or ""
            assert not re.match(r"\s*(https?:)?//", value), (tag, value)
            if tag == "script":
                assert "src" not in attributes
        assert "url(" not in (attributes.get("style") or "")
    assert not re.search(r"url\(|@import", "".join(parsed.styles))


def test_plotly_is_in_the_page_once(page):
    text, _ = page
    assert len(re.findall(r"plotly\.js v\d", text)) == 1
    assert len(re.findall(r"Plotly\.newPlot\(", text)) >= 6  # histogram, S(k), two timelines, lead times, training
    assert len(text) < 12e6


def test_pictures_are_embedded_and_a_collapsed_density_is_named(page, parsed):
    images = [attributes for tag, attributes in parsed.tags if tag == "img"]
    missing = page[0].count("no surface: the density of this frame lies between")
    assert len(images) + missing == 9  # three times of AIMD and two rollouts
    assert missing >= 1
    for attributes in images:
        prefix, data = (attributes["src"] or "").split(",", 1)
        assert prefix == "data:image/png;base64"
        pixels = np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGB"))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 300
    assert "frame 3, t = 2,030 fs" in page[0]  # AIMD is shown at the moment the rollouts begin with


def test_tables_hold_every_row_of_both_cards_with_verdict_and_note(page, parsed):
    _, cards = page
    rows = [row for row in parsed.rows if len(row) == 7]
    assert [row[0] for row in rows].count("metric") == 2
    expected = [(name, row) for card in cards.values() for name, row in card.rows.items()]
    body = [row for row in rows if row[0] != "metric"]
    assert len(body) == len(expected)
    for (name, row), cells in zip(expected, body, strict=True):
        assert cells[0].startswith(name)
        assert cells[5].endswith(row.verdict)
        assert cells[6] == row.note
        if np.isfinite(row.value):
            written = float(cells[1].replace("−", "-").replace(",", ""))
            assert written == pytest.approx(row.value, rel=6e-3)
        else:
            assert cells[1] == "–"


def test_goals_are_shown_with_their_verdict(parsed):
    assert ["contrast", "0.9", "0 to 0.05", "0.02", "✗ not met"] in parsed.rows


def test_what_the_caller_gives_is_escaped(page, parsed):
    text, _ = page
    assert "good &lt;model&gt;" in text
    assert "<script src=" not in text
    assert ["evil", "<script src='https://x'>"] in parsed.rows
    assert ["seed", "7"] in parsed.rows
    assert "Made by <code>make demo</code>" in text


def test_a_short_report_needs_nothing_but_trajectories_and_cards(tmp_path):
    test = wander(12, 1, 2000.0)
    rollout = wander(6, 2, 2050.0)
    card = edviz.evaluate(rollout, test, progress=False)
    path = write_report(tmp_path / "r.html", reference=test, generated={"x": rollout}, cards={"x": card})
    text = path.read_text(encoding="utf-8")
    assert "no data" in text
    assert "<h2>Training</h2>" not in text


def test_labels_must_fit(tmp_path):
    test = wander(4, 1, 0.0)
    for generated, cards in [({}, {}), ({"a": test}, {"b": None}), ({"AIMD": test}, {"AIMD": None})]:
        with pytest.raises(ArgumentError, match="label"):
            write_report(tmp_path / "r.html", reference=test, generated=generated, cards=cards)
    assert not list(tmp_path.iterdir())

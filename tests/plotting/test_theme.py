from __future__ import annotations

from itertools import pairwise

import pytest

from edviz.plotting.theme import (
    AIMD,
    DENSITY_COLORS,
    GENERATED,
    assign_colors,
    density_colormap,
    field_label,
    pretty_units,
    template,
    translucent,
)


def lightness(color: str) -> float:
    """CIE lightness of #rrggbb."""
    linear = [((c / 12.92) if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in rgb(color)]
    y = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * (y ** (1 / 3) if y > 216 / 24389 else (24389 / 27 * y + 16) / 116) - 16


def rgb(color: str) -> list[float]:
    return [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]


@pytest.mark.parametrize(
    ("units", "printed"),
    [("e/angstrom^3", "e/Å³"), ("1/angstrom", "1/Å"), ("1", ""), ("eV", "eV"), ("angstrom^-1.5", "Å⁻³ᐟ²")],
)
def test_units_are_printed_with_their_symbols(units, printed):
    assert pretty_units(units) == printed


def test_fields_have_symbols():
    assert field_label("valence", "e/angstrom^3") == "ρ (e/Å³)"
    assert field_label("elf", "1") == "ELF"


def test_aimd_is_blue_and_the_first_generated_is_vermillion_in_any_order():
    assert assign_colors(["generated", "AIMD"]) == {"generated": GENERATED[0], "AIMD": AIMD}
    assert assign_colors(["AIMD test block", "a", "b"]) == {
        "AIMD test block": AIMD,
        "a": GENERATED[0],
        "b": GENERATED[1],
    }
    assert assign_colors(["one", "two"]) == {"one": AIMD, "two": GENERATED[0]}


def test_density_colours_darken_evenly_so_that_they_read_in_grey_too():
    steps = [lightness(color) for color in DENSITY_COLORS]
    falls = [a - b for a, b in pairwise(steps)]
    assert min(falls) > 8
    assert max(falls) < 2.5 * min(falls)
    assert density_colormap()(0.0)[:3] == pytest.approx(rgb(DENSITY_COLORS[0]), abs=1e-6)


def test_translucent_keeps_the_colour():
    assert translucent("#0072B2", 0.5) == "rgba(0,114,178,0.5)"


def test_template_is_white():
    assert template().layout.paper_bgcolor == template().layout.plot_bgcolor == "white"

"""Colours, fonts and units that every edviz picture shares.

AIMD is always blue and the first generated trajectory always vermillion; the colours are those of Okabe and Ito
("Color Universal Design", 2008), which readers with any common colour vision tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.colors import Colormap

__all__ = [
    "AIMD",
    "DENSITY_COLORS",
    "FONT",
    "GENERATED",
    "INK",
    "MUTED",
    "assign_colors",
    "density_colormap",
    "density_colorscale",
    "field_label",
    "field_name",
    "pretty_units",
    "template",
    "translucent",
]

#: Colour of the AIMD reference.
AIMD = "#0072B2"
#: Colours of generated trajectories, in the order in which they are given.
GENERATED = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: Text and axes.
INK = "#2b2f36"
MUTED = "#7a808a"
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif"

#: Colour map of densities, light to dark, evenly falling in lightness: on a white page the dense parts stand out.
DENSITY_COLORS = ("#c8f0e0", "#84d3c2", "#3fa9b8", "#2469a8", "#2a2470")

_SYMBOLS = {"potential": "V", "elf": "ELF", "orbital": "ψ"}
_FIELD_NAMES = {
    "valence": "valence density",
    "total": "total density",
    "pseudo": "pseudo density",
    "potential": "potential",
    "elf": "electron localization function",
    "orbital": "orbital",
}


def assign_colors(labels: Iterable[str]) -> dict[str, str]:
    """One colour a label: blue for the one that starts with "AIMD" (or "reference"), the others as generated.

    If no label says AIMD, the first is blue.
    """
    names = list(labels)
    reference = next((n for n in names if n.lower().startswith(("aimd", "reference"))), names[0] if names else "")
    others = (name for name in names if name != reference)
    colors = {name: GENERATED[i % len(GENERATED)] for i, name in enumerate(others)}
    return {name: colors.get(name, AIMD) for name in names}


def density_colormap() -> Colormap:
    """`DENSITY_COLORS` as a matplotlib colour map, which is what pyvista takes."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("edviz-density", list(DENSITY_COLORS))


def density_colorscale() -> list[tuple[float, str]]:
    """`DENSITY_COLORS` as a plotly colour scale."""
    last = len(DENSITY_COLORS) - 1
    return [(i / last, color) for i, color in enumerate(DENSITY_COLORS)]


def translucent(color: str, alpha: float) -> str:
    """``#rrggbb`` as a CSS ``rgba(...)`` of the given opacity."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def pretty_units(units: str) -> str:
    """The schema's ASCII unit as it is printed: ``e/angstrom^3`` becomes ``e/Å³``; unit "1" becomes nothing."""
    if units == "1":
        return ""
    for plain, printed in {"angstrom": "Å", "^-1.5": "⁻³ᐟ²", "^3": "³", "^2": "²", "^-1": "⁻¹"}.items():
        units = units.replace(plain, printed)
    return units


def field_label(density_kind: str, units: str) -> str:
    """Symbol of a field with its unit, such as ``ρ (e/Å³)``."""
    symbol = _SYMBOLS.get(density_kind, "ρ")
    printed = pretty_units(units)
    return f"{symbol} ({printed})" if printed else symbol


def field_name(density_kind: str) -> str:
    """What the field is called in a title, such as ``valence density``."""
    return _FIELD_NAMES.get(density_kind, density_kind)


@cache
def template() -> go.layout.Template:
    """The plotly template of every edviz figure: white, thin grid, axis lines, one font."""
    import plotly.graph_objects as go

    axis = {
        "showline": True,
        "linecolor": INK,
        "linewidth": 1,
        "ticks": "outside",
        "tickcolor": INK,
        "ticklen": 4,
        "gridcolor": "#e8eaee",
        "zeroline": False,
        "title": {"standoff": 8},
        "automargin": True,
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 14, "color": INK},
            "title": {"font": {"size": 17}, "x": 0.02, "xanchor": "left", "y": 0.97, "yanchor": "top"},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "colorway": [AIMD, *GENERATED],
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"bgcolor": "rgba(255,255,255,0.8)", "font": {"size": 13}},
            "hoverlabel": {"font": {"family": FONT}},
            "margin": {"l": 70, "r": 24, "t": 56, "b": 56},
        }
    )

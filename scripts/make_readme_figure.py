"""Make docs/images/lithium-isosurface.png, the README's first picture: one AIMD frame of the bundled lithium.

Run from the repository: ``python scripts/make_readme_figure.py``.
"""

from __future__ import annotations

from pathlib import Path

import edviz

TARGET = Path(__file__).parents[1] / "docs" / "images" / "lithium-isosurface.png"
TIME = 4200.0  # fs; chosen for looks


def main() -> None:
    """Draw the surface that encloses half of the valence electrons, with the ions in the holes."""
    frame = edviz.load_sample("lithium-800K").sel(time=TIME, method="nearest")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    picture = frame.plot_isosurface(
        fraction=0.5,
        title="Valence electrons of liquid lithium, 800 K, Kohn-Sham AIMD",
        window_size=(960, 720),
        filename=TARGET,
    )
    print(f"{TARGET}: {len(picture.png) / 1000:.0f} kB, {picture!r}")


if __name__ == "__main__":
    main()

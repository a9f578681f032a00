"""The trajectories and emulators that come with edviz; README.md in this folder tells where each comes from.

Files only: what makes them is in scripts/ of the repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edviz.errors import UnknownSampleError

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["emulator_folder", "load_sample", "sample_names"]

_FOLDER = Path(__file__).parent


def sample_names() -> list[str]:
    """Names of the bundled trajectories."""
    return sorted(path.stem for path in _FOLDER.glob("*.h5"))


def emulator_folder(name: str, density: str) -> Path | None:
    """Where a bundled emulator lies, for `edviz.load_emulator`; None if there is no such emulator."""
    folder = _FOLDER / f"{name}-{density}-emulator"
    return folder if folder.is_dir() else None


def load_sample(name: str = "lithium-800K", density: str = "valence") -> DensityTrajectory:
    """A bundled trajectory, lazily.

    The stored densities are quantised (the attribute `loss` says how far), so each frame is scaled to the
    exact number of electrons when it is read; `history` says so.

    Parameters
    ----------
    name
        "lithium-800K": 54 Li atoms at 800 K, real Kohn-Sham molecular dynamics, 32^3 points, 634 frames 10 fs
        apart, with the split attributes.
    density
        "valence": as computed, with holes at the ions. "total": with the frozen 1s cores added
        (`DensityTrajectory.with_core`).

    Raises
    ------
    UnknownSampleError
        No such sample; the message lists those there are.
    ValueError
        `density` is neither "valence" nor "total".
    """
    from edviz.io import open

    if density not in ("valence", "total"):
        raise ValueError(f"density must be 'valence' or 'total'; got {density!r}")
    if name not in sample_names():
        raise UnknownSampleError(f"no sample '{name}'; there are: {', '.join(sample_names())}")
    traj = open(_FOLDER / f"{name}.h5").renormalized()
    return traj.with_core() if density == "total" else traj

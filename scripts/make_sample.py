"""Make the bundled sample, edviz/samples/lithium-800K.h5, from the full Kohn-Sham run.

    python scripts/make_sample.py --data path/to/lithium-800K-ks.h5
    python scripts/make_sample.py --data path/to/lithium-800K-ks.h5 --every 1 --out runs/lithium-800K-2fs.h5

Every fifth frame (10 fs) is kept; the second line keeps all of them, for training (not bundled: 120 MB). Each density
is scaled to 54 electrons and stored as 16-bit integers in steps of 8e-5 e/angstrom^3, rounded with subtractive dither
(edviz/io/dither.py), with the CF attribute scale_factor; positions in steps of 1e-5 angstrom; velocities and forces
keep 13 bits of their mantissa. What that loses is measured here and written into the file's attributes. Reading the
full run needs hdf5plugin (SZ3); the result needs nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the SZ3 filter
import numpy as np
from tqdm import tqdm

from edviz import schema
from edviz.io import dither
from edviz.io.atomic import replacing
from edviz.io.native import FieldHeader, Small, creating, write_frame

EVERY = 5  # frames of the run, 2 fs apart, for one of the sample
N_ELECTRONS = 54
# The run's own values lie on multiples of 2e-5. Dither as wide as a whole number of those wipes out their comb as well.
DENSITY_STEP = np.float32(8e-5)
DITHER_SEED = 0
POSITION_STEP = 1e-5
MANTISSA_BITS = 13
SPLIT = ("train_end_fs", "validation_start_fs", "test_start_fs")
MACHINE_KEYS = ("pseudo_dir", "outdir", "prefix", "disk_io")
LIMIT_MB = 25


def round_mantissa(values: np.ndarray, bits: int = MANTISSA_BITS) -> np.ndarray:
    """Round float32 values to `bits` explicit bits of mantissa, half to even, so that gzip finds zeros."""
    integers = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    drop = np.uint32(23 - bits)
    half = (np.uint32(1) << (drop - np.uint32(1))) - np.uint32(1)
    last = (integers >> drop) & np.uint32(1)
    return ((integers + half + last) >> drop << drop).view(np.float32)


def without_machine_paths(settings: Any) -> Any:
    """The engine's settings without the entries that only make sense on the machine that ran it."""
    if isinstance(settings, dict):
        return {k: without_machine_paths(v) for k, v in settings.items() if k not in MACHINE_KEYS}
    return settings


def make(data: Path, out: Path, every: int = EVERY) -> None:
    """Read the run, quantise, measure the loss, write one frame in `every`."""
    with h5py.File(data, "r") as run:
        frames = slice(None, None, every)
        cell = run["cell"][:]
        time = run["time"][frames]
        voxel = np.linalg.det(cell) / np.prod(run["density"].shape[1:])
        quanta = np.empty((len(time), *run["density"].shape[1:]), dtype=np.int16)
        largest = total = largest_scaled = 0.0
        for i in tqdm(range(len(time)), desc="quantising", unit="frame"):
            density = run["density"][i * every].astype(np.float64)
            density *= N_ELECTRONS / (density.sum() * voxel)
            noise = dither.uniform(DITHER_SEED, [i], density.shape)[0]
            quanta[i] = np.rint(density / np.float64(DENSITY_STEP) + noise)
            stored = (quanta[i] - noise) * np.float64(DENSITY_STEP)
            error = np.abs(stored - density)
            largest = max(largest, float(error.max()))
            total += float(error.mean())
            scaled = stored * (N_ELECTRONS / (stored.sum() * voxel))
            largest_scaled = max(largest_scaled, float(np.abs(scaled - density).max()))
        mean_error = total / len(time)
        mean_density = N_ELECTRONS / np.linalg.det(cell)
        positions = np.rint(run["positions"][frames] / POSITION_STEP).astype(np.int32)
        units = {name: spec.units for name, spec in schema.SPECS.items()}
        small: dict[str, Small] = {
            "cell": (("vector", "xyz"), cell, {"units": units["cell"]}),
            "numbers": (("atom",), run["numbers"][:], {}),
            "time": (("time",), time, {"units": units["time"]}),
            "positions": (
                ("time", "atom", "xyz"),
                positions,
                {"units": units["positions"], "scale_factor": POSITION_STEP},
            ),
            "energy": (
                ("time",),
                run["energy"][frames],
                {"units": units["energy"], "long_name": "Mermin free energy of the electrons"},
            ),
            "temperature": (("time",), run["temperature"][frames], {"units": units["temperature"]}),
        }
        for name in ("velocities", "forces"):
            values = round_mantissa(run[name][frames])
            small[name] = (("time", "atom", "xyz"), values, {"units": units[name]})
        settings = without_machine_paths(json.loads(run.attrs["settings"]))
        split = {name: float(run.attrs[name]) for name in SPLIT}
        native_grid = np.array(json.loads(run.attrs["native_grid"]))
    attrs = {
        **schema.base_attributes("valence", N_ELECTRONS),
        **split,
        "title": "Liquid lithium at 800 K, 54 atoms, Kohn-Sham molecular dynamics",
        "source": (
            "Born-Oppenheimer molecular dynamics by Quantum ESPRESSO (QEpy), driven by ASE: PBE, pseudopotential "
            "GTH-PBE-q1 (one valence electron an atom), cut-off 12 Ry, Gamma point, Fermi-Dirac smearing at 800 K; "
            "NVT by Langevin dynamics with friction 0.002/fs and steps of 2 fs."
        ),
        "settings": json.dumps(settings),
        "native_grid": native_grid,
        "caveats": (
            "k-points are not converged, on purpose: against 3x3x3 k-points the Gamma-point forces are off by 14 % "
            "and the densities by 2 %. A cut-off of 30 Ry would change the density by 0.6 %. The native 45^3 grid was "
            "Fourier-resampled to 32^3, which changes rho by 2.4e-4 of the electrons in L1."
        ),
        "loss": (
            f"Density: scaled frame by frame to {N_ELECTRONS} electrons, then rounded to multiples of "
            f"{float(DENSITY_STEP):.0e} e/angstrom^3 with subtractive dither (edviz takes it off; read by other tools, "
            f"values are off by up to one step); measured over all frames: absolute error at most {largest:.2e} "
            f"e/angstrom^3 ({largest / mean_density:.2e} of the mean density), {mean_error:.2e} e/angstrom^3 on "
            f"average ({mean_error / mean_density:.2e} of the mean); at most {largest_scaled:.2e} e/angstrom^3 once "
            f"each frame is scaled to {N_ELECTRONS} electrons again. Before that, the full run itself was stored with "
            "an absolute error of at most 1e-05 e/angstrom^3. Positions: rounded to 1e-05 angstrom. Velocities and "
            f"forces: float32 with {MANTISSA_BITS} bits of mantissa (relative error at most "
            f"{2.0 ** -(MANTISSA_BITS + 1):.1e})."
        ),
        "density_max_error": largest,
        "density_mean_error": mean_error,
        "history": f"one frame in {every} of the run, {every * 2} fs apart, by scripts/make_sample.py",
    }
    sizes = dict(zip(("time", "a", "b", "c"), quanta.shape, strict=True)) | {"vector": 3, "xyz": 3}
    sizes["atom"] = positions.shape[1]
    density_units = schema.DENSITY_KINDS["valence"][0]
    coding = {"units": density_units, "scale_factor": DENSITY_STEP, "dither_seed": DITHER_SEED}
    header = FieldHeader(("time", "a", "b", "c"), quanta.dtype, coding)
    with replacing(out) as temporary:
        with creating(temporary, sizes, small, {"density": header}, attrs, level=9) as (targets, disk):
            for i, values in enumerate(tqdm(quanta, desc="writing", unit="frame")):
                write_frame(targets["density"], header.dims, i, values)
                disk.check()
    megabytes = out.stat().st_size / 1e6
    print(f"{out}: {megabytes:.1f} MB, {len(time)} frames\n{attrs['loss']}")
    if every >= EVERY and megabytes > LIMIT_MB:
        raise SystemExit(f"the sample must stay under {LIMIT_MB} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="lithium-800K-ks.h5")
    default = Path(__file__).parent.parent / "edviz" / "samples" / "lithium-800K.h5"
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--every", type=int, default=EVERY, help="keep one frame in so many (2 fs apart)")
    arguments = parser.parse_args()
    make(arguments.data, arguments.out, arguments.every)

"""How a trajectory shows itself: one line for a terminal, a card with a thumbnail for a notebook.

The thumbnail is a PNG written with zlib alone (the format's specification is RFC 2083), so that the card
needs neither matplotlib nor Pillow. Only the middle frame is computed.
"""

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edviz.errors import EdvizError

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["html_card", "summary", "thumbnail"]

# Ten points of matplotlib's viridis; between them colours are interpolated linearly.
_VIRIDIS = np.array(
    [
        (68, 1, 84),
        (72, 40, 120),
        (62, 74, 137),
        (49, 104, 142),
        (38, 130, 142),
        (31, 158, 137),
        (53, 183, 121),
        (110, 206, 88),
        (181, 222, 43),
        (253, 231, 37),
    ]
)


def summary(traj: DensityTrajectory) -> str:
    """The trajectory in one line."""
    facts = [_formula(traj), traj.density_kind, _count(traj.n_frames, "frame"), _times(traj), _sizes(traj)]
    if traj.is_ensemble:
        facts.insert(2, _count(traj.n_samples, "sample"))
    return ", ".join(fact for fact in facts if fact)


def html_card(traj: DensityTrajectory) -> str:
    """The trajectory as a small self-contained HTML table beside a picture of its middle frame."""
    attrs = traj.ds.attrs
    lengths, angles = _lengths_and_angles(traj)
    rows = [
        ("cell", f"{lengths}<br>{angles}"),
        ("grid", _sizes(traj)),
        ("frames", f"{_count(traj.n_frames, 'frame')}, {_times(traj)}"),
    ]
    if traj.is_ensemble:
        rows.append(("samples", str(traj.n_samples)))
    if "n_electrons" in attrs:
        rows.append(("electrons", f"{traj.n_electrons:g}"))
    rows.append(("split", _split(attrs)))
    others = [str(name) for name in traj.ds.data_vars if name not in ("density", "cell", "numbers")]
    rows.append(("also holds", ", ".join(others)))
    rows.append(("source", html.escape(_shortened(str(attrs.get("source", ""))))))
    cells = "".join(
        '<tr><td style="text-align:left;padding:1px 10px 1px 0;opacity:.65;vertical-align:top;white-space:nowrap">'
        f"{name}</td>"
        f'<td style="text-align:left;padding:1px 0">{text}</td></tr>'
        for name, text in rows
        if text
    )
    title = " ".join(filter(None, (_formula_html(traj), html.escape(traj.density_kind), _noun(traj))))
    return (
        '<div style="display:inline-flex;gap:16px;align-items:flex-start;padding:10px 14px;max-width:720px;'
        'border:1px solid rgba(128,128,128,.35);border-radius:6px;font-size:13px;line-height:1.4">'
        f"<div>{_picture(traj)}</div>"
        f'<div><div style="font-weight:600;font-size:15px;margin-bottom:4px">{title}</div>'
        f'<table style="border:0;margin:0;background:none;font-size:13px">{cells}</table></div></div>'
    )


def thumbnail(values: NDArray[Any], cell: NDArray[np.float64], width: int = 168) -> bytes:
    """PNG of the plane through the middle of c, in the true shape of the cell; transparent outside it.

    Parameters
    ----------
    values
        (na, nb, nc).
    cell
        (3, 3) in angstrom; a points to the right.
    width
        Pixels.
    """
    plane = np.asarray(values[:, :, values.shape[2] // 2], dtype=np.float64)
    along = cell[0] / np.linalg.norm(cell[0])
    b_along = float(cell[1] @ along)
    b_across = float(np.linalg.norm(cell[1] - b_along * along))
    left, right = min(0.0, b_along), float(np.linalg.norm(cell[0])) + max(0.0, b_along)
    height = min(2 * width, max(8, round(width * b_across / (right - left))))
    x = left + (np.arange(width) + 0.5) / width * (right - left)
    y = b_across * (1 - (np.arange(height) + 0.5) / height)
    v = np.broadcast_to((y / b_across)[:, None], (height, width))
    u = (x[None, :] - v * b_along) / np.linalg.norm(cell[0])
    inside = (u >= 0) & (u < 1)
    sampled = _periodic_bilinear(plane, u, v)
    low, high = plane.min(), plane.max()
    level = (sampled - low) / (high - low) if high > low else np.zeros_like(sampled)
    points = np.linspace(0, 1, len(_VIRIDIS))
    pixels = np.empty((height, width, 4), dtype=np.uint8)
    for channel in range(3):
        pixels[..., channel] = np.interp(level, points, _VIRIDIS[:, channel]).round()
    pixels[..., 3] = np.where(inside, 255, 0)
    return _png(pixels)


def _periodic_bilinear(
    plane: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64]
) -> NDArray[np.float64]:
    x, y = u * plane.shape[0], v * plane.shape[1]
    i, j = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - i, y - j

    def at(di: int, dj: int) -> NDArray[np.float64]:
        return plane[(i + di) % plane.shape[0], (j + dj) % plane.shape[1]]

    lower = at(0, 0) * (1 - fx) + at(1, 0) * fx
    upper = at(0, 1) * (1 - fx) + at(1, 1) * fx
    return lower * (1 - fy) + upper * fy


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """(height, width, 4) RGBA to PNG."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _picture(traj: DensityTrajectory) -> str:
    middle = traj.n_frames // 2
    try:
        # A damaged frame must not hide the rest of the card, nor pass for a picture.
        image = thumbnail(traj.sample(0).frame(middle), _first_cell(traj))
    except EdvizError as error:
        return f'<div style="width:168px;color:#b00020">{html.escape(str(error))}</div>'
    code = base64.b64encode(image).decode()
    caption = f"frame {middle}, t = {traj.time[middle]:g} fs, plane at c/2"
    return (
        f'<img alt="{caption}" src="data:image/png;base64,{code}" style="display:block;border-radius:3px;margin:0">'
        f'<div style="font-size:11px;opacity:.65;margin-top:3px">{caption}</div>'
    )


def _first_cell(traj: DensityTrajectory) -> NDArray[np.float64]:
    return np.asarray(traj.ds["cell"].values.reshape(-1, 3, 3)[0], dtype=np.float64)


def _composition(traj: DensityTrajectory) -> list[tuple[str, int]]:
    if "numbers" not in traj.ds:
        return []
    from ase.data import chemical_symbols

    counts = Counter(chemical_symbols[int(z)] for z in traj.ds["numbers"].values)
    # Hill's order: carbon, hydrogen, then the alphabet; without carbon the alphabet alone.
    first = {"C": 0, "H": 1} if "C" in counts else {}
    return sorted(counts.items(), key=lambda item: (first.get(item[0], 2), item[0]))


def _formula(traj: DensityTrajectory) -> str:
    return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in _composition(traj))


def _formula_html(traj: DensityTrajectory) -> str:
    return "".join(f"{symbol}<sub>{n}</sub>" if n > 1 else symbol for symbol, n in _composition(traj))


def _noun(traj: DensityTrajectory) -> str:
    return "electron density" if "n_electrons" in traj.ds.attrs else "field"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _sizes(traj: DensityTrajectory) -> str:
    return " × ".join(map(str, traj.density.shape[-3:])) + " points"


def _times(traj: DensityTrajectory) -> str:
    time = traj.time
    if len(time) == 1:
        return f"at {time[0]:g} fs"
    return f"{time[0]:g} to {time[-1]:g} fs every {traj.frame_interval:g} fs"


def _lengths_and_angles(traj: DensityTrajectory) -> tuple[str, str]:
    cell = _first_cell(traj)
    norms = np.linalg.norm(cell, axis=1)
    cosines = [cell[i] @ cell[j] / (norms[i] * norms[j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    changes = " (first frame)" if traj.ds["cell"].ndim > 2 else ""
    return (
        " × ".join(f"{x:.4g}" for x in norms) + f" Å{changes}",
        ", ".join(f"{x:.4g}°" for x in angles),
    )


def _split(attrs: dict[Any, Any]) -> str:
    parts = []
    if "train_end_fs" in attrs:
        parts.append(f"train to {attrs['train_end_fs']:g} fs")
    if "validation_start_fs" in attrs:
        parts.append(f"validation from {attrs['validation_start_fs']:g} fs")
    if "test_start_fs" in attrs:
        parts.append(f"test from {attrs['test_start_fs']:g} fs")
    return ", ".join(parts)


def _shortened(text: str, length: int = 160) -> str:
    return text if len(text) <= length else text[: length - 2].rsplit(" ", 1)[0] + " …"

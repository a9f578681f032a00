"""Pseudopotential files in UPF 2.0.1, the format that Quantum ESPRESSO reads.

The GTH form is analytic, so writing one as UPF is exact up to the radial mesh. PP_RHOATOM and PP_PSWFC, from an
LDA solution of the pseudo-atom (`edviz.aimd.radial`), are starting guesses; no converged result depends on them.
Format: https://pseudopotentials.quantum-espresso.org/home/unified-pseudopotential-format
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from edviz.aimd.cache import cache_folder, made
from edviz.aimd.gth import GTHPotential, read_gth
from edviz.aimd.radial import solve_pseudo_atom
from edviz.errors import FileFormatError, MissingDataError
from edviz.io.atomic import replacing

__all__ = ["UPFHeader", "gth_to_upf", "pseudopotential", "read_upf_header"]

_ZMESH, _XMIN, _DX, _RMAX = 3.0, -8.0, 0.0125, 60.0
_FUNCTIONAL = {"GTH-PBE": "PBE", "GTH-PADE": "SLA PW NOGX NOGC"}
_VERSION = 1


@dataclass(frozen=True)
class UPFHeader:
    """What edviz needs to know of a UPF file."""

    path: Path
    element: str
    n_valence: float
    functional: str
    cutoff: float = 0.0  # of the wave functions, Ry, as its authors suggest; 0: they do not


def pseudopotential(element: str, xc: str = "PBE") -> Path:
    """The UPF file of a bundled GTH pseudopotential; written into the user's cache folder on first use.

    Raises
    ------
    MissingDataError
        edviz has none for this element and functional.
    WriteError
        The cache folder cannot be written.
    """
    potential = read_gth(element, xc)
    path = cache_folder() / "pseudopotentials" / f"{element}.{potential.name.lower()}-{_VERSION}.UPF"
    if not path.exists():
        made(path.parent)
        with replacing(path) as temporary:
            temporary.write_text(gth_to_upf(potential), encoding="ascii")
    return path


def read_upf_header(path: str | os.PathLike[str]) -> UPFHeader:
    """Element, valence and functional of any UPF 2 file.

    Raises
    ------
    MissingDataError
        There is no such file.
    FileFormatError
        It is no UPF file of version 2.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise MissingDataError(f"the pseudopotential {path} cannot be read: {error.strerror}") from error
    header = re.search(r"<PP_HEADER(.*?)/?>", text, re.DOTALL)
    values = dict(re.findall(r'(\w+)\s*=\s*"([^"]*)"', header.group(1))) if header else {}
    try:
        valence, cutoff = (float(x.replace("D", "E")) for x in (values["z_valence"], values.get("wfc_cutoff", "0")))
        functional = " ".join(values.get("functional", "").split())
        return UPFHeader(path, values["element"].strip(), valence, functional, cutoff)
    except (KeyError, ValueError) as error:
        raise FileFormatError(
            f"{path} is no UPF file of version 2 (no PP_HEADER with element and z_valence); pw.x's upfconv.x "
            "converts other formats"
        ) from error


def gth_to_upf(potential: GTHPotential) -> str:
    """The text of a UPF file for a GTH potential."""
    r = np.exp(_XMIN + _DX * np.arange(2000)) / _ZMESH
    r = r[r < _RMAX]
    r = r[: len(r) - 1 + len(r) % 2]  # Simpson's rule wants an odd number
    rab = _DX * r
    atom = solve_pseudo_atom(potential)
    z = potential.n_valence
    rho = np.interp(r, np.r_[0, atom.r], np.r_[0, 4 * np.pi * atom.r**2 * atom.density], right=0.0)
    rho *= z / np.sum(rho * rab)
    channels = [(l, r_l, h) for l, (r_l, h) in enumerate(potential.channels)]  # noqa: E741
    labels = [(l, r_l, i) for l, r_l, h in channels for i in range(len(h))]  # noqa: E741
    d = np.zeros((len(labels), len(labels)))
    first = 0
    for _, _, h in channels:
        d[first : first + len(h), first : first + len(h)] = 2 * h  # Ry
        first += len(h)
    size = f'type="real" size="{len(r)}" columns="4"'
    functional = next(v for k, v in _FUNCTIONAL.items() if potential.name.startswith(k + "-"))
    out = [
        f"""<UPF version="2.0.1">
<PP_INFO>
{potential.element} {potential.name}: analytic parameters (see edviz/aimd/gth.txt), tabulated by edviz.
PP_RHOATOM and PP_PSWFC are starting guesses from an LDA pseudo-atom.
</PP_INFO>
<PP_HEADER generated="edviz" author="GTH" date="" comment="{potential.name}" element="{potential.element}"
 pseudo_type="NC" relativistic="scalar" is_ultrasoft="F" is_paw="F" is_coulomb="F" has_so="F" has_wfc="F"
 has_gipaw="F" paw_as_gipaw="F" core_correction="F" functional="{functional}" z_valence="{z:.6E}"
 total_psenergy="0.0" wfc_cutoff="0.0" rho_cutoff="0.0" l_max="{max((x[0] for x in labels), default=0)}" l_max_rho="0"
 l_local="-1" mesh_size="{len(r)}" number_of_wfc="{len(atom.states)}" number_of_proj="{len(labels)}"/>
<PP_MESH dx="{_DX}" mesh="{len(r)}" xmin="{_XMIN}" rmax="{r[-1]:.12E}" zmesh="{_ZMESH}">
<PP_R {size}>
{_table(r)}
</PP_R>
<PP_RAB {size}>
{_table(rab)}
</PP_RAB>
</PP_MESH>
<PP_LOCAL {size}>
{_table(2 * potential.local(r))}
</PP_LOCAL>
<PP_NONLOCAL>
"""
    ]
    for k, (l, r_l, i) in enumerate(labels, 1):  # noqa: E741
        cut = int(np.searchsorted(r, 10 * r_l)) | 1
        out.append(
            f'<PP_BETA.{k} {size} index="{k}" label="{l}" angular_momentum="{l}" cutoff_radius_index="{cut}" '
            f'cutoff_radius="{r[cut - 1]:.8E}" ultrasoft_cutoff_radius="0.0">\n'
            f"{_table(potential.projectors(l, r)[i])}\n</PP_BETA.{k}>\n"
        )
    out.append(
        f'<PP_DIJ type="real" size="{d.size}" columns="4">\n{_table(d)}\n</PP_DIJ>\n</PP_NONLOCAL>\n<PP_PSWFC>\n'
    )
    for k, ((n, l), (energy, u)) in enumerate(atom.states.items(), 1):  # noqa: E741
        chi = np.interp(r, np.r_[0, atom.r], np.r_[0, u], right=0.0)
        out.append(
            f'<PP_CHI.{k} {size} index="{k}" label="{n}{"SPDF"[l]}" l="{l}" n="{n}" '
            f'occupation="{potential.occupations[l]:.3f}" pseudo_energy="{2 * energy:.6E}" cutoff_radius="0.0" '
            f'ultrasoft_cutoff_radius="0.0">\n{_table(chi)}\n</PP_CHI.{k}>\n'
        )
    out.append(f"</PP_PSWFC>\n<PP_RHOATOM {size}>\n{_table(rho)}\n</PP_RHOATOM>\n</UPF>\n")
    return "".join(out)


def _table(values: ArrayLike) -> str:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return "\n".join(" ".join(f"{x: .15E}" for x in flat[i : i + 4]) for i in range(0, len(flat), 4))

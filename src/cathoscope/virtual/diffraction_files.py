"""Files of a diffraction experiment: GSAS raw data, columns, instrument parameters, CIF."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.bank import Bank
from cathoscope.core.crystal import Phase
from cathoscope.core.study import write_failure
from cathoscope.physics.kinetics import ZERO_CELSIUS
from cathoscope.virtual.diffraction_banks import Diffractometer
from cathoscope.virtual.diffraction_structure import operations_of

Array = NDArray[np.float64]

_KEYS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "tof": MappingProxyType(
            {
                "difC": "difC",
                "difA": "difA",
                "difB": "difB",
                "Zero": "zero",
                "2-theta": "two_theta",
                "fltPath": "flight_path",
                "alpha": "alpha",
                "beta-0": "beta0",
                "beta-1": "beta1",
                "beta-q": "betaq",
                "sig-0": "sig0",
                "sig-1": "sig1",
                "sig-2": "sig2",
                "sig-q": "sigq",
                "X": "X",
                "Y": "Y",
                "Z": "Z",
            }
        ),
        "cw": MappingProxyType(
            {
                "Lam": "wavelength",
                "Zero": "zero",
                "Polariz.": "polarisation",
                "U": "U",
                "V": "V",
                "W": "W",
                "X": "X",
                "Y": "Y",
                "Z": "Z",
                "SH/L": "axial",
                "Azimuth": "azimuth",
                "Gonio. radius": "radius",
            }
        ),
    }
)
_TYPES = {("tof", "neutron"): "PNT", ("cw", "xray"): "PXC", ("cw", "neutron"): "PNC"}


@dataclass(frozen=True)
class Recorded:
    """The pattern of one bank: grid as `Diffractometer.grid`, intensity and its uncertainty per bin or point.

    Intensities of time of flight are those integrated over each bin, as programs of the SNS write them.
    """

    instrument: Diffractometer
    intensity: Array
    sigma: Array


def gsas_text(title: str, temperature: float, banks: Sequence[Recorded]) -> str:
    """Banks in GSAS raw format, FXYE: left edge (us) or place (centidegrees), intensity, uncertainty.

    ``temperature`` (degC) stands in K in the header.
    """
    parts = [f"{title[:80]}\n", "# virtual experiment, cathoscope simulate\n", _kelvin(temperature)]
    if banks[0].instrument.is_tof:
        parts.append("# with Y multiplied by the bin widths.\n")
    for number, one in enumerate(banks, start=1):
        grid, count, step = one.instrument.grid(), one.intensity.size, one.instrument.step
        if one.instrument.is_tof:
            head = f"BANK {number} {count} {count} SLOG {grid[0]:.4f} {grid[-1]:.4f} {step:.7f} 0 FXYE"
            place = grid[:-1]
        else:
            head = f"BANK {number} {count} {count} CONS {100 * grid[0]:.6f} {100 * step:.6f} 0 0 FXYE"
            place = 100 * grid
        parts += [f"# {one.instrument.name}\n", f"{head}\n", _rows(place, one)]
    return "".join(parts)


def xye_text(title: str, temperature: float, one: Recorded) -> str:
    """A pattern in three columns: two theta (deg), intensity, uncertainty, below lines of remarks."""
    return f"# {title}\n{_kelvin(temperature)}{_rows(one.instrument.grid(), one)}"


def _kelvin(temperature: float) -> str:
    return f"# Temp (K) = {temperature + ZERO_CELSIUS:.2f}\n"


def _rows(place: Array, one: Recorded) -> str:
    table = np.stack([place, one.intensity, one.sigma], axis=1)
    return ("%.5f %.8g %.6g\n" * len(table)) % tuple(table.ravel().tolist())


def instrument_text(bank: Bank) -> str:
    """Instrument parameters of one bank as lines of key:value, under the keys of GSAS-II."""
    lines = ["#GSAS-II instrument parameter file; do not add/delete items!"]
    lines += [f"Type:{_TYPES[bank.kind, bank.radiation]}", "Bank:1.0"]
    lines += [f"{key}:{bank.values[name]!r}" for key, name in _KEYS[bank.kind].items()]
    return "\n".join(lines) + "\n"


def cif_text(phase: Phase) -> str:
    """A phase as CIF: cell, group with all its operations, sites with occupancies and isotropic displacements."""
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [f"data_{phase.name}"]
    lines += [f"_cell_{name} {value:.5g}" for name, value in zip(names, phase.cell, strict=True)]
    lines += [f"_symmetry_space_group_name_H-M '{phase.space_group}'", "loop_", "_symmetry_equiv_pos_as_xyz"]
    lines += [f"'{operation.triplet()}'" for operation in operations_of(phase.space_group)]
    lines += ["loop_", *(f"_atom_site_{name}" for name in ("label", "type_symbol", "fract_x", "fract_y", "fract_z"))]
    lines += [f"_atom_site_{name}" for name in ("occupancy", "adp_type", "U_iso_or_equiv")]
    for site in phase.sites:
        x, y, z = (f"{value:.6g}" for value in site.position)
        lines.append(f"{site.label} {site.species} {x} {y} {z} {site.occupancy:.6g} Uiso {site.u_iso:.6g}")
    return "\n".join(lines) + "\n"


def write_text(path: Path, text: str, encoding: str = "utf-8") -> None:
    """Write a text file whole or not at all.

    Raises
    ------
    StudyError
        If it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding=encoding, newline="\n")
        os.replace(part, path)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        part.unlink(missing_ok=True)

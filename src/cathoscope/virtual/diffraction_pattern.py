"""What a bank of a diffractometer sees of a powder: reflections placed, widened, weighted and summed; then counted.

    intensity = scale x cells x multiplicity |F|^2 / V x L,   L = sin(theta) d^4 or P / (2 sin^2(theta) cos(theta))

with the unit cells per metal atom of the powder, and the polarisation P. Widths: Scherrer's d^2 / p and the strain's
d S, both as full widths of Lorentzians in d.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cathoscope.core.bank import Bank
from cathoscope.core.crystal import Phase
from cathoscope.virtual import diffraction_kernels as kernels
from cathoscope.virtual.diffraction_banks import Diffractometer
from cathoscope.virtual.diffraction_structure import (
    Cell,
    Families,
    Sums,
    axis_cosines,
    cell_volume,
    families,
    geometric_sums,
    spacings,
    squared_structure_factors,
)

Array = NDArray[np.float64]

_SHORTER, _LONGER = 0.97, 1.1  # of the range of spacings: reflections beyond it still send their tails into it
_ANGSTROM_PER_UM = 1e4
_CDEG = 0.01  # deg
_AXIAL_NODES = 32  # at least


@dataclass(frozen=True)
class Portion:
    """One phase of a powder.

    Attributes
    ----------
    phase
        Its structure; the cell is the mean over the powder.
    cells
        Unit cells per metal atom of the powder.
    size, aspect, axis
        Column length across the axis (um), along it over across, and the axis as h k l.
    strain
        Full width of delta d / d in 1e-6.
    shares, lattice
        Classes of the powder: their shares (k,), which add up to 1, and their a and c (k, 2; A).
    """

    phase: Phase
    cells: float
    size: float
    aspect: float
    strain: float
    shares: Array
    lattice: Array
    axis: tuple[int, int, int] = (1, 1, 0)


@dataclass(frozen=True)
class Lines:
    """Reflections of one portion as a bank sees them; equivalents of different width may stand apart.

    ``spacing`` d (A), ``area``, ``size_width`` d^2 / p (A), all (n,), and ``hkl`` (n, 3).
    """

    hkl: NDArray[np.int64]
    spacing: Array
    area: Array
    size_width: Array


def sums_for(instrument: Diffractometer, phase: Phase) -> Sums:
    """Reflections of a phase in an instrument's range, and the sums over its atoms' positions, for a whole series."""
    shortest, longest = instrument.spacing_range()
    within = families(phase.space_group, phase.cell, shortest=_SHORTER * shortest, longest=_LONGER * longest)
    return geometric_sums(phase, within)


def lines_of(instrument: Diffractometer, portion: Portion, sums: Sums, *, apart: bool) -> Lines:
    """Spacings, areas and widths of a portion's reflections.

    Members of a family lie at different angles to the axis of the domains and are wider or narrower: ``apart`` keeps
    one line for each width; otherwise their mean width holds for all.
    """
    values, of = instrument.stated.values, sums.families
    spacing = spacings(of.hkl, portion.phase.cell)
    radiation, wavelength = instrument.stated.radiation, values.get("wavelength", 0.0)
    squared = squared_structure_factors(portion.phase, sums, radiation=radiation, wavelength=wavelength)
    area = instrument.scale * portion.cells * of.multiplicity * squared / cell_volume(portion.phase.cell)
    area *= lorentz_polarisation(instrument.stated, spacing)
    columns = column_lengths(of.members, portion)
    if not apart:
        inverse = np.add.reduceat(1 / columns, of.first[:-1]) / of.multiplicity
        return Lines(of.hkl, spacing, area, spacing**2 * inverse / _ANGSTROM_PER_UM)
    return _apart(of, columns, spacing, area)


def _apart(of: Families, columns: Array, spacing: Array, area: Array) -> Lines:
    """One line for each of the column lengths that the members of a family have."""
    chosen, share, length = [], [], []
    for i, (start, end) in enumerate(zip(of.first[:-1], of.first[1:], strict=True)):
        different, count = np.unique(np.round(columns[start:end], 9), return_counts=True)
        chosen += [i] * different.size
        length += different.tolist()
        share += (count / (end - start)).tolist()
    index = np.array(chosen)
    width = spacing[index] ** 2 / np.array(length) / _ANGSTROM_PER_UM
    return Lines(of.hkl[index], spacing[index], area[index] * np.array(share), width)


def column_lengths(hkl: NDArray[np.int64], portion: Portion) -> Array:
    """Scherrer's column length (um) along each reflection: S_i S_a / sqrt((S_i cos)^2 + (S_a sin)^2)."""
    along = portion.size * portion.aspect
    cosine = np.clip(axis_cosines(hkl, portion.axis, portion.phase.cell), -1.0, 1.0)
    sine2 = 1.0 - cosine**2
    return np.asarray(portion.size * along / np.sqrt((portion.size * cosine) ** 2 + along**2 * sine2))


def lorentz_polarisation(bank: Bank, spacing: Array) -> Array:
    """Lorentz factor, and polarisation of X-rays: (1 - p) cos^2 2theta + p with the share p in the plane."""
    if bank.kind == "tof":
        return np.asarray(np.sin(np.deg2rad(bank.values["two_theta"] / 2)) * spacing**4)
    theta = np.arcsin(bank.values["wavelength"] / (2 * spacing))
    polarised = bank.values["polarisation"]
    factor = (1 - polarised) * np.cos(2 * theta) ** 2 + polarised if bank.radiation == "xray" else 1.0
    return np.asarray(factor / (2 * np.sin(theta) ** 2 * np.cos(theta)))


def position(bank: Bank, spacing: Array) -> Array:
    """Time of flight (us) or two theta (deg) of lattice spacings (A)."""
    values = bank.values
    if bank.kind == "tof":
        return np.asarray(
            values["difC"] * spacing + values["difA"] * spacing**2 + values["difB"] / spacing + values["zero"]
        )
    return np.asarray(2 * np.rad2deg(np.arcsin(values["wavelength"] / (2 * spacing))) + values["zero"])


def tof_shapes(values: Mapping[str, float], lines: Lines, strain: float) -> Array:
    """Rise, decay (1/us), Gaussian variance (us^2) and Lorentzian full width (us) of reflections, (n, 4)."""
    d = lines.spacing
    variance = values["sig0"] + values["sig1"] * d**2 + values["sig2"] * d**4 + values["sigq"] * d
    width = values["X"] * d + values["Y"] * d**2 + values["Z"]
    width = width + values["difC"] * (lines.size_width + 1e-6 * strain * d)
    decay = values["beta0"] + values["beta1"] / d**4 + values["betaq"] / d**2
    return np.stack([values["alpha"] / d, decay, variance, width], axis=1)


def cw_shapes(values: Mapping[str, float], lines: Lines, strain: float) -> Array:
    """Gaussian variance (deg^2) and Lorentzian full width (deg) of reflections, (n, 2)."""
    theta = np.arcsin(values["wavelength"] / (2 * lines.spacing))
    tangent = np.tan(theta)
    variance = (values["U"] * tangent**2 + values["V"] * tangent + values["W"]) * _CDEG**2
    width = (values["X"] / np.cos(theta) + values["Y"] * tangent + values["Z"]) * _CDEG
    relative = lines.size_width / lines.spacing + 1e-6 * strain
    return np.stack([variance, width + np.rad2deg(2 * tangent * relative)], axis=1)


def axial_divergence(two_theta: Array, axial: float, width: Array) -> Array:
    """Shifts (deg) and shares (n, 2, m) of axial divergence, sample and detector of equal height S = H.

    Finger, Cox and Jephcoat, J. Appl. Cryst. 27, 892 (1994). Rays from a height h above or below the detector,
    0 <= h <= 2 S with the frequency 2 S - h, are seen at 2phi, cos 2phi = cos 2theta sqrt(1 + (h / L)^2), with the
    weight 1 / (cos^2 2phi sin 2phi): their integral over 2phi with h as the variable, which has no singularity.
    ``axial`` is (S + H) / L; ``width`` (deg) of the peaks says how fine the sum must be.
    """
    centre = np.deg2rad(two_theta)[:, None]
    lowest = np.arccos(np.clip(np.cos(centre) * np.sqrt(1 + axial**2), -1.0, 1.0))
    count = _AXIAL_NODES + int(np.ceil(16 * (np.rad2deg(np.abs(centre - lowest))[:, 0] / width).max()))
    node, weight = np.polynomial.legendre.leggauss(count)
    height = 0.5 * axial * (node + 1)
    angle = np.arccos(np.clip(np.cos(centre) * np.sqrt(1 + height**2), -1.0, 1.0))
    share = weight * (axial - height) / (np.cos(angle) ** 2 * np.sin(angle))
    share /= share.sum(axis=1, keepdims=True)
    return np.stack([np.rad2deg(angle - centre), share], axis=1)


def add_bragg(out: Array, x: Array, bank: Bank, portion: Portion, lines: Lines, *, by_bin: bool = True) -> None:
    """Add the Bragg peaks of a portion to ``out``: integrals over the bins ``x`` (us), or densities at points."""
    centre = position(bank, lines.spacing)
    classes = [position(bank, spacings(lines.hkl, _of_class(portion.phase.cell, edges))) for edges in portion.lattice]
    offsets = np.ascontiguousarray(np.stack(classes, axis=1) - centre[:, None])
    table = np.stack([lines.area, centre], axis=1)
    if bank.kind == "tof":
        shapes = tof_shapes(bank.values, lines, portion.strain)
        kernels.add_tof(out, x, by_bin, table, shapes, offsets, portion.shares)
        return
    shapes = cw_shapes(bank.values, lines, portion.strain)
    width = np.sqrt(8 * np.log(2) * shapes[:, 0]) + shapes[:, 1]
    axial = axial_divergence(centre - bank.values["zero"], bank.values["axial"], width)
    kernels.add_cw(out, x, table, shapes, axial, offsets, portion.shares)


def _of_class(cell: Cell, edges: Array) -> Cell:
    """A cell with the edges a = b and c of one class."""
    a, c = (float(edge) for edge in edges)
    return (a, a, c, *cell[3:])


def bragg(
    instrument: Diffractometer,
    bank: Bank,
    powder: Sequence[tuple[Portion, Sums]],
    *,
    apart: bool = False,
) -> Array:
    """Bragg intensity without noise: integrated over each bin (us), or at each point per deg.

    ``bank`` is the instrument as it is, see `Diffractometer.true`.
    """
    x = instrument.grid()
    out = np.zeros(x.size - 1 if instrument.is_tof else x.size)
    for portion, sums in powder:
        lines = lines_of(instrument, portion, sums, apart=apart)
        add_bragg(out, x, bank, portion, lines)
    return out


def background(instrument: Diffractometer) -> Array:
    """Intensity beside the Bragg peaks, integrated over each bin (us), or at each point."""
    x = instrument.grid()
    if not instrument.is_tof:
        return instrument.background.at(instrument.momentum(x))
    return np.asarray(instrument.background.at(instrument.momentum(0.5 * (x[1:] + x[:-1]))) * np.diff(x))


def counted(expected: Array, gain: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Intensity and its uncertainty from counting: Poisson(gain x expected) / gain, sqrt(counts, at least 1) / gain."""
    counts = rng.poisson(gain * expected)
    return counts / gain, np.sqrt(np.maximum(counts, 1)) / gain

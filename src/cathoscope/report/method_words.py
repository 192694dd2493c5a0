"""What each technique does, in sentences that follow the choices of the recipe; ``[@key]`` cites a reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

Choices = Mapping[str, Any]

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "xanes-tomography": "XANES nano-tomography",
        "tomography": "X-ray nano-tomography",
        "xas": "Bulk X-ray absorption",
        "diffraction": "Powder diffraction",
        "mass-loss": "Thermogravimetry",
        "calorimetry": "Calorimetry",
        "uv-vis": "Absorption of solutions",
        "elements": "Elemental analysis",
        "cycling": "Cycling of cells",
        "particle-cell": "Cycling of single particles",
        "impedance": "Impedance",
        "fibsem-series": "FIB/SEM, one slice after every cycle",
        "fibsem-stack": "FIB/SEM of whole particles",
        "sem-section": "Sections in the electron microscope",
    }
)
_TOMOGRAPHY = {
    "tomography.stripes": "gain",
    "tomography.zinger_sigma": 8.0,
    "tomography.method": "fbp",
    "tomography.series": True,
    "tomography.reconstruct": "coefficients",
}
# The choices that sentences tell, with what holds if the recipe is silent.
CHOICES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "xanes-tomography": {**_TOMOGRAPHY, "edge.threshold": None, "white_line.method": "auto", "white_line.order": 4},
        "tomography": _TOMOGRAPHY,
        "xas": {"xas.calibration": "auto", "xas.edge": "integral"},
        "diffraction": {"diffraction.background": 12, "diffraction.direction": "both", "phases": {}},
        "mass-loss": {"mass_loss.blank": None, "mass_loss.programme": "ramp"},
        "calorimetry": {"calorimetry.blank": None, "calorimetry.baseline": "linear"},
        "uv-vis": {"uv_vis.blank": None},
        "elements": {"elements.relative_to": "Mn"},
        "cycling": {"cycling.reference": None, "cycling.level": 0.95},
        "particle-cell": {"particle_cell.offset": None},
        "impedance": {
            "impedance.circuit": "R0-p(R1,CPE1)",
            "impedance.compare": ("R0-p(R1-W1,CPE1)",),
            "impedance.tolerance": 0.005,
            "impedance.relaxation": True,
        },
        "fibsem-series": {},
        "fibsem-stack": {},
        "sem-section": {},
    }
)


def _from_counts(choices: Choices) -> Iterator[str]:
    """Projections to volumes."""
    stripes = {
        "none": "Stripes of the detector were left",
        "gain": "Constant stripes of the detector were estimated as gains and taken off",
        "sorting": "Stripes were removed by sorting [@stripes]",
        "all": "Stripes were removed by all filters of Vo and co-workers [@stripes]",
    }[choices["tomography.stripes"]]
    zingers = choices["tomography.zinger_sigma"]
    single = f", pixels more than {zingers:g} σ above their neighbours by their median" if zingers else ""
    yield (
        "Counts were divided by flats, with the intensity of the beam of each projection, after dark counts were taken "
        f"off; bad pixels were replaced by the median of good neighbours{single}. {stripes}."
    )
    method = {
        "fbp": "filtered back-projection",
        "cgls": "conjugate gradients",
        "tv": "total variation",
    }[choices["tomography.method"]]
    yield f"Volumes were reconstructed by {method}; noise is from two halves of the projections."


def _xanes(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    yield from _from_counts(choices)
    if choices["tomography.series"]:
        yield "Axis, jitter, drift and magnification of all energies of a temperature were solved together."
    if choices["tomography.reconstruct"] == "coefficients":
        yield "In place of energies, coefficients of the spectra that stand out of the noise were reconstructed."
    threshold = choices["edge.threshold"]
    by = f"{threshold:g} µm⁻¹" if isinstance(threshold, int | float) else "Otsu's threshold [@otsu]"
    yield f"Voxels whose edge jump is above {by} and five times its uncertainty belong to the particle."
    yield _white_line(choices)
    if "energy_offset" in arrays:
        yield "Energies were calibrated by a foil at every temperature."
    if "registration_scale" in arrays:
        yield "Volumes of different temperatures were registered before differences of voxels were taken."
    yield from _morphology(arrays)


def _white_line(choices: Choices) -> str:
    method, order = choices["white_line.method"], choices["white_line.order"]
    if method in ("auto", "compressed model", "model"):
        by = (
            "is the maximum of an arctangent edge and a Gaussian line fitted by variable projection [@projection]; "
            "where projections were there, the fit is compressed to few numbers and calibrated on the data's own shapes"
        )
    elif method.startswith("polynomial"):
        by = f"is the maximum of a polynomial of order {order}"
    else:
        by = f'was found by the method "{method}"'
    return f"The white-line energy of a voxel {by}."


def _morphology(arrays: frozenset[str]) -> Iterator[str]:
    if "porosity" in arrays:
        yield (
            "Porosity is from grey levels within the closed outer surface; cracks and voids were told apart by their "
            "width, and local thickness is that of inscribed balls [@thickness]."
        )


def _tomography(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    if "attenuation" in arrays or "beam_intensity" in arrays:
        yield from _from_counts(choices)
    yield from _morphology(arrays)


def _xas(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    calibration = {
        "auto": "on a foil where one was recorded",
        "reference": "on the foil behind the sample",
        "self": "on the edge of the spectrum itself",
        "none": "not at all",
    }[choices["xas.calibration"]]
    edge = {
        "integral": "the mean of the rising edge [@integral]",
        "half height": "half height",
        "derivative": "the steepest rise",
    }[choices["xas.edge"]]
    yield (
        f"Energies were calibrated {calibration}. Spectra were normalised by a line below and a parabola above the "
        f"edge [@athena]; the edge is {edge}."
    )


def _diffraction(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    phases = choices["phases"] if isinstance(choices["phases"], Mapping) else {}
    kinds = [
        one.get("intensities", "structure") if isinstance(one, Mapping) else "structure" for one in phases.values()
    ]
    extracted = [
        f"{words} [@{key}]"
        for key, words in (("le bail", "Le Bail's"), ("pawley", "Pawley's"))
        if key.replace(" ", "-") in kinds
    ]
    others = f"; intensities without a structure by {' and '.join(extracted)} method" if extracted else ""
    named = f" of {', '.join(phases)}" if phases else ""
    yield (
        f"Patterns were refined by Rietveld's method [@rietveld] with structures{named}{others}, pseudo-Voigt widths "
        f"after Thompson, Cox and Hastings [@profile], and a background of {choices['diffraction.background']} terms."
    )
    if any(isinstance(one, Mapping) and one.get("strain") == "stephens" for one in phases.values()):
        yield "Anisotropic strain follows Stephens [@stephens]."
    if "transition_onset" in arrays:
        runs = {"both": "up and down in temperature", "forward": "upwards", "backward": "downwards"}
        yield (
            f"Series were refined {runs[choices['diffraction.direction']]}; onset and end of a phase are from the "
            "course of its weight fraction."
        )


def _blank(choices: Choices, key: str) -> str:
    return "The record of the empty crucible was taken off. " if choices[key] else ""


def _mass_loss(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    yield (
        f"{_blank(choices, 'mass_loss.blank')}Onsets of mass loss are extrapolated by tangents [@iso mass]; first "
        "deflections follow [@astm]. Oxygen per formula unit assumes that oxygen is all that leaves."
    )


def _calorimetry(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    line = "straight" if choices["calorimetry.baseline"] == "linear" else "sigmoid"
    yield (
        f"{_blank(choices, 'calorimetry.blank')}Heat was integrated above a {line} baseline between stated "
        "temperatures, and onsets are extrapolated [@iso heat]."
    )
    if "kissinger_energy" in arrays:
        yield "Where several rates were recorded, activation energies are Kissinger's [@kissinger]."


def _uv_vis(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    blank = "The spectrum of the solvent was taken off. " if choices["uv_vis.blank"] else ""
    yield f"{blank}The absorbance is the mean of a band."


def _elements(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    yield f"Contents were turned into atoms per {choices['elements.relative_to']}, with the uncertainties of the table."


def _cycling(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    reference = choices["cycling.reference"]
    of = f"cycle {reference}" if reference else "the first cycle after formation"
    yield (
        f"Retention is relative to {of}. Changes of its course are found by lines that meet, against one line and "
        f"smooth curves (knees: [@knee]); cells of one temperature and rate are replicates."
    )


def _particle_cell(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    if choices["particle_cell.offset"]:
        yield "The current that the instrument shows in rests was subtracted."
    yield "The mass of the particle is from its size, porosity and density; shorted and disturbed cycles were left out."


def _impedance(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    compare = choices["impedance.compare"]
    others = ", ".join([compare] if isinstance(compare, str) else compare)
    yield (
        "Spectra whose residuals exceed the noise and "
        f"{100 * float(choices['impedance.tolerance']):g} % in the linear Kramers-Kronig test [@kramers kronig;lin-kk] "
        f"were not used. The circuit {choices['impedance.circuit']} was fitted, and held against {others} by the "
        "corrected Akaike criterion [@aicc]; capacitances of constant-phase elements follow Brug [@brug]."
    )
    if choices["impedance.relaxation"]:
        yield "Distributions of relaxation times are regularised [@relaxation]."


def _fibsem_series(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    yield (
        "Porosity of every slice is from grey levels between void and oxide within the outline; a curve along the "
        "cycles takes into account that each is another section of the particle."
    )


def _fibsem_stack(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    yield "Slices were aligned, curtains and shades corrected, and pores found slice by slice."
    yield from _morphology(arrays)


def _sem_section(choices: Choices, arrays: frozenset[str]) -> Iterator[str]:
    yield "Etched grooves between grains were found as dark lines, grains as watersheds joined across faint ones."


SENTENCES: Mapping[str, Callable[[Choices, frozenset[str]], Iterator[str]]] = MappingProxyType(
    {
        "xanes-tomography": _xanes,
        "tomography": _tomography,
        "xas": _xas,
        "diffraction": _diffraction,
        "mass-loss": _mass_loss,
        "calorimetry": _calorimetry,
        "uv-vis": _uv_vis,
        "elements": _elements,
        "cycling": _cycling,
        "particle-cell": _particle_cell,
        "impedance": _impedance,
        "fibsem-series": _fibsem_series,
        "fibsem-stack": _fibsem_stack,
        "sem-section": _sem_section,
    }
)

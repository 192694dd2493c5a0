"""Scanned image stacks: optical depth, how many components the noise allows, and their maps."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import RAW, REFERENCES, Context, Step
from cathoscope.io import read_spectrum
from cathoscope.xanes.absorbance import optical_depth_from_counts
from cathoscope.xanes.mixture import fit_components, singular_spectrum

_IMAGE = ("energy", "y", "x")


def optical_depth(context: Context) -> xr.Dataset:
    """Optical depth of every pixel and its sigma from counting statistics."""
    scan = context.raw.first
    if "incident_counts" not in scan.variables:
        raise MeasurementError(
            "the incident intensity is missing",
            where=scan.attrs["source"],
            expected="the spectrum i0.xsp beside the header",
            cure="save the I0 spectrum as two columns, energy and counts, named i0.xsp",
        )
    depth, std = optical_depth_from_counts(counts=scan["image_counts"].values, incident=scan["incident_counts"].values)
    coords = {name: scan.coords[name] for name in _IMAGE}
    return dataset(
        [
            label("optical_depth", depth.astype(np.float32), _IMAGE, coords=coords),
            label("optical_depth_std", std.astype(np.float32), _IMAGE, coords=coords, std_source="counting"),
        ]
    )


def components_of_noise(context: Context) -> xr.Dataset:
    """Singular values of the stack against those that noise alone would give."""
    depth, std = _pixels(context.data["optical_depth"]), _pixels(context.data["optical_depth_std"])
    whole = np.isfinite(depth).all(axis=1) & np.isfinite(std).all(axis=1)
    found = singular_spectrum(optical_depth=depth[whole], noise_std=std[whole])
    coords = {"rank": np.arange(1, len(found.values) + 1), "energy": context.data["energy"]}
    value = label("singular_value", found.values, ("rank",), coords=coords)
    value.attrs["count_above_noise"] = int(found.count)
    return dataset(
        [
            value,
            label("noise_floor", found.noise_floor, ("rank",), coords=coords),
            label("singular_spectrum", found.spectra, ("rank", "energy"), coords=coords),
        ]
    )


def component_maps(context: Context) -> xr.Dataset:
    """Amount of each reference in every pixel, by weighted least squares."""
    depth, section = context.data["optical_depth"], context.section.mixture
    energy = depth["energy"].values
    spectra = _references(context, energy)
    fit = fit_components(
        optical_depth=_pixels(depth),
        references=spectra,
        energy=energy,
        noise_std=_pixels(context.data["optical_depth_std"]),
        background=section.background,
        non_negative=section.non_negative,
    )
    scale = float(np.sqrt(np.nanmedian(fit.reduced_chi2)))
    remarks = [*fit.warnings, *_noise_remarks(scale)]
    names = list(section.references)
    component = label("component", np.arange(1, len(names) + 1), ("component",))
    component.attrs["names"] = names
    coords = {"component": component, **depth.coords}
    image = ("component", "y", "x")
    shape = (len(spectra), *depth.shape[1:])
    weight, std = (values.reshape(shape).astype(np.float32) for values in (fit.weight, scale * fit.weight_std))
    residual = label("mixture_residual", fit.residual.reshape(shape[1:]).astype(np.float32), image[1:], coords=coords)
    residual.attrs |= {"condition_number": fit.condition_number, "remarks": remarks}
    return dataset(
        [
            label("component_spectrum", spectra, ("component", "energy"), coords=coords),
            label("component_weight", weight, image, coords=coords),
            label("component_weight_std", std, image, coords=coords, std_source="fit covariance"),
            residual,
        ]
    )


# Residuals within this factor of the counting noise are taken for that noise.
_NOISE_FACTOR = 1.25


def _noise_remarks(scale: float) -> list[str]:
    """What to say if the residuals are not what counting would leave; sigma is scaled to them in any case."""
    if 1.0 / _NOISE_FACTOR < scale < _NOISE_FACTOR:
        return []
    reason = (
        "the recorded counts are not single photons" if scale < 1.0 else "the references do not explain the spectra"
    )
    return [f"residuals are {scale:.2f} times the counting noise ({reason}); uncertainties are scaled to the residuals"]


def _pixels(stack: xr.DataArray) -> np.ndarray:
    """The stack as [pixel, energy]."""
    return stack.values.reshape(stack.shape[0], -1).T


def _references(context: Context, energy: np.ndarray) -> np.ndarray:
    """Reference spectra [component, energy] on the energies of the stack."""
    spectra = []
    for name, file in context.section.mixture.references.items():
        spectrum = read_spectrum(context.data_folder / file)
        known = spectrum["energy"].values
        if known.min() > energy.min() + _REACH or known.max() < energy.max() - _REACH:
            raise MeasurementError(
                f"the reference {name!r} does not cover the energies of the stack",
                where=file,
                expected=f"{energy.min():g} to {energy.max():g} eV",
                found=f"{known.min():g} to {known.max():g} eV",
            )
        spectra.append(np.interp(energy, known, spectrum.values))
    return np.stack(spectra)


# A reference may end this much (eV) before the stack does: rounding of energy lists.
_REACH = 0.05

_STACK = Step("optical depth", optical_depth, needs=(RAW,), makes=("optical_depth", "optical_depth_std"))
_RANK = Step(
    "components above the noise",
    components_of_noise,
    needs=("optical_depth", "optical_depth_std"),
    makes=("singular_value", "noise_floor", "singular_spectrum"),
)
_MAPS = Step(
    "component maps",
    component_maps,
    needs=("optical_depth", "optical_depth_std", REFERENCES),
    makes=("component_spectrum", "component_weight", "component_weight_std", "mixture_residual"),
    choices=("mixture",),
)
STEPS = (_STACK, _RANK, _MAPS)
TARGETS = ("singular_value",)
IF_POSSIBLE = ("component_weight",)

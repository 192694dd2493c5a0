"""Where the particle lies at every temperature, from its edge jump."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.core.schema import dataset, label
from cathoscope.flow.graph import Context, Step
from cathoscope.numerics.deform import Bent, Deformation, deform
from cathoscope.numerics.pyramid import slabs_of
from cathoscope.numerics.register import Registration, register, select_model
from cathoscope.numerics.transform import Similarity
from cathoscope.numerics.warp import PointMap

Floats = NDArray[np.float64]
AXES = label("axis", np.arange(3), ("axis",))
REVERSED = slice(None, None, -1)  # volumes are (z, y, x), positions (x, y, z)


@dataclass(frozen=True)
class Placement:
    """Where the particle lies at one temperature: the registration, and the deformation that refines it, if any."""

    registration: Registration
    deformation: Deformation | None

    @property
    def similarity(self) -> Similarity:
        """Displacement, turn and size: material that moved inside the particle pulls a plain registration."""
        return self.registration if self.deformation is None else self.deformation.rigid

    @property
    def rigid_std(self) -> Floats:
        """Standard uncertainty of its shift (z, y, x; voxel) and turn (z, y, x; deg), (6,)."""
        if self.deformation is not None:
            return self.deformation.rigid_std
        return np.asarray(np.sqrt(np.diagonal(self.registration.covariance)[:6]))

    @property
    def displacement_std(self) -> Floats:
        """Standard uncertainty of where the material lies, voxel (z, y, x)."""
        of = self.registration if self.deformation is None else self.deformation
        return np.asarray(of.displacement_std)


@dataclass(frozen=True)
class Shown:
    """Names of what shows the particle: grey volume, its noise (a map, or one number), and its mask."""

    grey: str
    noise: str
    mask: str


_EDGE_JUMP = Shown("edge_jump", "edge_jump_std", "particle_mask")
_SOLID = Shown("solid_fraction", "solid_noise", "envelope_mask")


def registration(context: Context) -> xr.Dataset:
    """Displacement, turn and size of the particle against the first temperature that shows it, from its edge jump."""
    return _registration(context, _EDGE_JUMP)


def registration_of_solid(context: Context) -> xr.Dataset:
    """The same, from the share of solid."""
    return _registration(context, _SOLID)


def _registration(context: Context, shown: Shown) -> xr.Dataset:
    """A temperature that shows no particle, or where it cannot be found, has no placement (nan) and no differences."""
    mask = context.data[shown.mask]
    first, count = first_with_particle(mask), mask.sizes["temperature"]
    found: dict[int, Placement] = {}
    failed: dict[int, str] = {}
    context.progress.start(f"{context.name}: registration", count, "temperatures")
    for at in range(count):
        if not bool(mask[at].any()):
            failed[at] = "it shows no particle"
        elif first is not None and at != first:
            try:
                found[at] = _registered(context, shown, first, at)
            except MeasurementError as error:
                failed[at] = error.problem
        context.progress.advance()
    context.progress.finish()
    failed |= {at: placed.registration.reason for at, placed in found.items() if placed.registration.reason is not None}
    return _dataset(mask, first, {at: placed for at, placed in found.items() if at not in failed}, failed)


def first_with_particle(mask: xr.DataArray) -> int | None:
    """Number of the first temperature with a particle, None if none has one."""
    return next((at for at in range(mask.sizes["temperature"]) if bool(mask[at].any())), None)


def _registered(context: Context, shown: Shown, first: int, at: int) -> Placement:
    """Rigid; a similarity where the size changed; and, a particle that shrinks being deformed, a deformation then."""
    data = context.data
    fixed, moving = (data[shown.grey][one] for one in (first, at))  # of the study on the disk: never read as a whole
    noise = _median_of(data[shown.noise][first]), _median_of(data[shown.noise][at])
    model = context.section.registration.model
    found = register(fixed, moving, noise=noise, model="rigid")
    if model != "rigid":
        similarity = register(fixed, moving, noise=noise, model="similarity")
        found = select_model(found, similarity) if model == "auto" else similarity
    wanted = model == "deformation" or (model == "auto" and found.model == "similarity")
    if not wanted or found.reason is not None:
        return Placement(found, None)
    deformation = deform(fixed, moving, found)
    return Placement(found, deformation if deformation.reason is None else None)


def _median_of(values: xr.DataArray) -> float:
    """Of what is finite, read a few rows at a time; NaN if nothing is."""
    if values.ndim == 0:
        return float(values)
    found, count = np.empty(values.size, dtype=values.dtype), 0
    for rows in slabs_of(len(values)):
        slab = np.asarray(values[rows].values)
        finite = slab[np.isfinite(slab)]
        found[count : count + finite.size] = finite
        count += finite.size
    return float(np.median(found[:count], overwrite_input=True)) if count else float("nan")


def _dataset(mask: xr.DataArray, first: int | None, found: dict[int, Placement], failed: dict[int, str]) -> xr.Dataset:
    coords = {"temperature": mask["temperature"], "axis": AXES}
    count, size = mask.sizes["temperature"], voxel_size(mask)
    vectors = {name: np.full((count, 3), np.nan) for name in ("shift", "shift_std", "turn", "turn_std", "error")}
    numbers = {name: np.full(count, np.nan) for name in ("scale", "scale_std", "correlation")}
    if first is not None:
        for values in vectors.values():
            values[first] = 0.0
        numbers["scale"][first], numbers["scale_std"][first], numbers["correlation"][first] = 1.0, 0.0, 1.0
    remarks = [
        f"{float(mask['temperature'][at]):g} C could not be registered and has no difference maps: {reason}"
        for at, reason in sorted(failed.items())
    ]
    for at, placed in found.items():
        one, similarity, std = placed.registration, placed.similarity, placed.rigid_std
        vectors["shift"][at], vectors["shift_std"][at] = size * similarity.shift[REVERSED], size * std[:3][REVERSED]
        vectors["turn"][at], vectors["turn_std"][at] = similarity.rotation_vector[REVERSED], std[3:6][REVERSED]
        vectors["error"][at] = size * placed.displacement_std[REVERSED]
        numbers["scale"][at], numbers["correlation"][at] = similarity.scale, one.correlation
        numbers["scale_std"][at] = np.sqrt(one.covariance[6, 6]) if len(one.covariance) > 6 else 0.0
    arrays = [
        _label("placement_shift", vectors["shift"], coords),
        _label("placement_shift_std", vectors["shift_std"], coords),
        _label("placement_rotation", vectors["turn"], coords),
        _label("placement_rotation_std", vectors["turn_std"], coords),
        _label("registration_error", vectors["error"], coords),
        _label("registration_scale", numbers["scale"], coords),
        _label("registration_scale_std", numbers["scale_std"], coords),
        _label("registration_correlation", numbers["correlation"], coords),
    ]
    arrays[0].attrs |= {"remarks": remarks, "reference": first or 0}
    arrays.append(_deformations(count, found, coords))
    return dataset(arrays)


def _label(name: str, values: Floats, coords: dict[str, xr.DataArray]) -> xr.DataArray:
    dims = ("temperature", "axis")[: values.ndim]
    return label(name, values, dims, coords=coords, std_source="fit covariance" if name.endswith("_std") else None)


def voxel_size(data: xr.Dataset | xr.DataArray) -> float:
    """Edge of a voxel in um."""
    return float(np.mean(np.diff(data["x"].values)))


def _deformations(count: int, found: dict[int, Placement], coords: dict[str, xr.DataArray]) -> xr.DataArray:
    """Displacements of the control points of all temperatures, nan where nothing was deformed."""
    kept = {at: placed.deformation for at, placed in found.items() if placed.deformation is not None}
    lattice = next((one.control.shape[1:] for one in kept.values()), (0, 0, 0))
    values = np.full((count, 3, *lattice), np.nan)
    bases: list[dict[str, object]] = [{} for _ in range(count)]
    for at, one in kept.items():
        values[at] = one.control
        bases[at] = {
            "shift": one.base.shift.tolist(),
            "rotation": one.base.rotation_vector.tolist(),
            "scale": float(one.base.scale),
            "spacing": float(one.spacing),
        }
    dims = ("temperature", "axis", "node_z", "node_y", "node_x")
    array = label("deformation", values, dims, coords={"temperature": coords["temperature"]})
    array.attrs["bases"] = bases
    return array


def placement_of(data: xr.Dataset, at: int) -> PointMap | None:
    """Where the material of the first temperature lies at another one; None where it could not be found."""
    shift, turn = (np.asarray(data[f"placement_{name}"][at].values)[REVERSED] for name in ("shift", "rotation"))
    if not np.isfinite(shift).all():
        return None
    shape = [data.sizes[dim] for dim in ("z", "y", "x")]
    middle = 0.5 * (np.array(shape, dtype=np.float64) - 1)
    base = data["deformation"].attrs["bases"][at]
    if base:
        similarity = Similarity(np.array(base["shift"]), np.array(base["rotation"]), base["scale"], middle)
        control = np.asarray(data["deformation"][at].values, dtype=np.float64)
        return Bent(similarity, control, float(base["spacing"]), (shape[0], shape[1], shape[2]))
    return Similarity(shift / voxel_size(data), turn, float(data["registration_scale"][at]), middle)


_MAKES = (
    "placement_shift",
    "placement_shift_std",
    "placement_rotation",
    "placement_rotation_std",
    "registration_error",
    "registration_scale",
    "registration_scale_std",
    "registration_correlation",
    "deformation",
)


def _step(function: Callable[[Context], xr.Dataset], shown: Shown) -> Step:
    needs = (shown.grey, shown.noise, shown.mask)
    return Step("registration", function, needs=needs, makes=_MAKES, choices=("registration",), per_voxel=17.0)


STEP = _step(registration, _EDGE_JUMP)
STEP_OF_SOLID = _step(registration_of_solid, _SOLID)

"""The plan for a single particle, of what a recipe says about it."""

from __future__ import annotations

from cathoscope.core.errors import MeasurementError
from cathoscope.flow.cell_sections import ParticleCellSection
from cathoscope.flow.sections import MeasurementSection
from cathoscope.lab.particle_cell import Plan, mass_from_volume, oxide_of, plan_of, volume_from_diameter
from cathoscope.numerics.estimate import Estimate

_WINDOW = (2.8, 4.4)  # V


def particle_of(section: MeasurementSection) -> ParticleCellSection:
    """What the recipe says about the particle.

    Raises
    ------
    MeasurementError
        If it says nothing.
    """
    if section.particle_cell is None:
        raise MeasurementError("nothing is known of the particle", cure='particle_cell.diameter = "8.5 um"')
    return section.particle_cell


def plan_of_section(section: ParticleCellSection) -> tuple[Plan, Estimate]:
    """The plan for a particle, and its volume (um3).

    Raises
    ------
    MeasurementError
        Naming the key that cannot be.
    """
    if not section.composition:
        raise MeasurementError(
            "the composition of the particle is not known",
            expected="that of the sample, or particle_cell.composition",
            cure='such as  composition = "LiNi0.8Mn0.1Co0.1O2"  in the table of the sample',
        )
    try:
        oxide = oxide_of(section.composition)
    except MeasurementError as error:
        raise MeasurementError(
            f"particle_cell.composition: {error.problem}", expected=error.expected, found=error.found
        ) from None
    if section.volume is not None:
        volume = Estimate(section.volume, 0.0, section.volume_std)
    else:
        volume = volume_from_diameter(diameter=Estimate(section.diameter or 0.0, 0.0, section.diameter_std))
    mass = mass_from_volume(
        volume=volume,
        density=Estimate(section.density, 0.0, section.density_std),
        porosity=Estimate(section.porosity, 0.0, section.porosity_std),
    )
    expected = Estimate(section.specific, 0.0, section.specific_std)
    window = section.window or _WINDOW
    return plan_of(mass=mass, oxide=oxide, specific=expected, rate=section.rate, window=window), volume

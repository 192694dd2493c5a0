"""What two samples are compared in: one line per quantity, in the order in which a reader is told."""

from __future__ import annotations

from dataclasses import dataclass

_HEAT = "calibration of temperature and mass"


@dataclass(frozen=True)
class Metric:
    """One quantity that two samples may differ in.

    Attributes
    ----------
    array
        Named array that holds it, along any of: temperature, step, cycle, phase, record, effect, element, ...
    words
        What it is called.
    lower, higher
        What a sample is or does whose value is lower or higher than the other's.
    safer
        Which side stands heat better: ``"higher"``, ``"lower"``, or none.
    topic
        What it tells of; those of one topic stand together.
    lacks
        What its uncertainty is known not to hold.
    needs
        An array of the same measurement that must be true where this one is used, or ``"not NAME"``.
    instead
        An array that tells the same and is compared in its place where a measurement has it.
    """

    array: str
    words: str
    lower: str
    higher: str
    topic: str
    safer: str = ""
    lacks: str = ""
    needs: str = ""
    instead: str = ""


def _phrases(noun: str) -> tuple[str, str]:
    return f"has the lower {noun}", f"has the higher {noun}"


def _plain(array: str, words: str, topic: str, **more: str) -> Metric:
    return Metric(array, words, *_phrases(words), topic=topic, **more)


REDUCTION, STRUCTURE, HEAT = "reduction", "structure", "heat"
SHAPE, CELLS, SOLUTION, SECTIONS = "morphology", "cells", "solution", "sections"

METRICS: tuple[Metric, ...] = (
    # chemistry in particles
    Metric("white_line_mean", "mean white line", "is more reduced", "is less reduced", REDUCTION, "higher"),
    Metric("white_line_width", "width of the white line", "is more uniform", "is more mixed", REDUCTION),
    Metric(
        "difference_mean",
        "mean shift of the white line",
        "is reduced by more",
        "is reduced by less",
        REDUCTION,
    ),
    Metric(
        "changed_share",
        "share of changed voxels",
        "has changed in fewer places",
        "has changed in more places",
        REDUCTION,
    ),
    Metric("valence_mean", "mean valence", "is more reduced", "is less reduced", REDUCTION, "higher"),
    Metric("state_of_charge_mean", "mean state of charge", "is more reduced", "is less reduced", REDUCTION, "higher"),
    Metric(
        "correlation_length",
        "size of domains of like white line",
        "has smaller domains of like white line",
        "has larger domains of like white line",
        REDUCTION,
    ),
    # bulk spectra
    Metric("integral_edge", "integral edge", "is more reduced", "is less reduced", REDUCTION),
    Metric("valence", "valence of the powder", "is more reduced", "is less reduced", REDUCTION),
    # heating
    Metric(
        "rapid_loss_onset",
        "onset of rapid mass loss",
        "loses mass rapidly at a lower temperature",
        "keeps its mass to a higher temperature",
        HEAT,
        "higher",
        _HEAT,
    ),
    Metric("total_loss", "loss of mass in all", "loses less mass", "loses more mass", HEAT, "lower", _HEAT),
    Metric("total_oxygen", "oxygen lost in all", "loses less oxygen", "loses more oxygen", HEAT, "lower", _HEAT),
    Metric(
        "effect_onset",
        "onset of heat",
        "gives off heat at a lower temperature",
        "gives off heat only at a higher temperature",
        HEAT,
        "higher",
        _HEAT,
    ),
    Metric(
        "effect_peak",
        "peak of heat flow",
        "has its peak of heat at a lower temperature",
        "has its peak of heat at a higher temperature",
        HEAT,
        "higher",
        _HEAT,
    ),
    Metric(
        "effect_enthalpy",
        "enthalpy",
        "gives off more heat",
        "gives off less heat",
        HEAT,
        "higher",
        _HEAT,
        "not effect_unlevel",
    ),
    # crystal structure
    Metric(
        "transition_onset",
        "onset of the growth",
        "turns into it at a lower temperature",
        "turns into it at a higher temperature",
        STRUCTURE,
        "higher",
    ),
    Metric("transition_end", "end of the growth", "is done earlier", "is done later", STRUCTURE, "higher"),
    _plain("weight_fraction", "weight fraction", STRUCTURE),
    _plain("lattice_a", "lattice parameter a", STRUCTURE),
    _plain("lattice_c", "lattice parameter c", STRUCTURE),
    _plain("antisite", "nickel on lithium's site", STRUCTURE),
    _plain("oxygen_occupancy", "occupancy of oxygen", STRUCTURE),
    _plain("lithium_occupancy", "occupancy of lithium", STRUCTURE),
    _plain("domain_size", "size of coherent domains", STRUCTURE),
    _plain("domain_aspect", "aspect of coherent domains", STRUCTURE),
    _plain("microstrain", "microstrain", STRUCTURE),
    # morphology
    Metric("porosity", "porosity", "is denser", "is more porous", SHAPE, instead="porosity_trend"),
    Metric("porosity_change", "growth of porosity", "opens fewer pores", "opens more pores", SHAPE),
    Metric("relative_volume", "volume over the first one", "swells less", "swells more", SHAPE),
    _plain("relative_core", "volume of the hollow core over the first one", SHAPE),
    _plain("core_volume", "volume of the hollow core", SHAPE),
    Metric("crack_density", "area of cracks per volume", "is cracked less", "is cracked more", SHAPE),
    Metric("mean_opening", "mean opening of cracks", "has narrower cracks", "has wider cracks", SHAPE),
    _plain("wetted_surface", "wetted surface", SHAPE),
    _plain("mean_path", "mean way to an open surface", SHAPE),
    Metric("porosity_trend", "porosity along the cycles", "is denser", "is more porous", SHAPE),
    Metric(
        "cycle_of_porosity",
        "cycle of the porosity asked for",
        "reaches this porosity after fewer cycles",
        "reaches this porosity later",
        SHAPE,
    ),
    # sections
    Metric("mean_porosity", "porosity of sections", "is denser", "is more porous", SECTIONS),
    Metric("cracked_share", "share of cracked particles", "is cracked less", "is cracked more", SECTIONS),
    _plain("grain_alignment", "alignment of grains to the radius", SECTIONS),
    _plain("grain_mean_aspect", "mean aspect of grains", SECTIONS),
    _plain("grain_mean_diameter", "mean diameter of grains", SECTIONS),
    # cells
    _plain("specific_capacity", "capacity", CELLS, needs="cycle_used"),
    Metric(
        "capacity_retention",
        "retention of capacity",
        "has kept less of its capacity",
        "has kept more of its capacity",
        CELLS,
        needs="cycle_used",
    ),
    Metric(
        "regime_change",
        "cycle at which the course changes",
        "changes its course earlier",
        "changes its course later",
        CELLS,
    ),
    _plain("transfer_resistance", "charge-transfer resistance", CELLS, needs="impedance_used"),
    _plain("specific_resistance", "charge-transfer resistance times wetted surface", CELLS, needs="impedance_used"),
    # solutions
    Metric("band_absorbance", "absorbance of the solution", "has dissolved less", "has dissolved more", SOLUTION),
    _plain("element_ratio", "dissolved ratio", SOLUTION),
    _plain("lithium_removed", "lithium removed", SOLUTION),
)

# cycles at which series of cells and slices are compared, where the recipe states none
CYCLES = (2.0, 10.0, 35.0, 45.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0)

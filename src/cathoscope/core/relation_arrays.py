"""Named arrays of what is found from several measurements together; see `cathoscope.core.schema`."""

from __future__ import annotations

from cathoscope.core.array_spec import ArraySpec
from cathoscope.core.kinetic_arrays import KINETIC_ARRAYS

_EVENT = ("event",)
_PAIR = ("event_pair",)

_EVENTS = (
    ArraySpec("event", _EVENT, "1", "i", "Number of an event; the attributes names, sample and probe say which"),
    ArraySpec("event_temperature", _EVENT, "degC", "f", "Temperature of an event; of a bracket its middle"),
    ArraySpec("event_low", _EVENT, "degC", "f", "Lower end of its 68 % interval, or of the bracket; infinite if open"),
    ArraySpec("event_high", _EVENT, "degC", "f", "Upper end of its 68 % interval, or of the bracket; infinite if open"),
    ArraySpec("event_bracketed", _EVENT, "1", "b", "Whether all that is known of it is between which temperatures"),
    ArraySpec("event_rate", _EVENT, "K/min", "f", "Rate of heating; none if it is not known"),
    ArraySpec("event_pair", _PAIR, "1", "i", "Number of a pair of events"),
    ArraySpec("event_first", _PAIR, "1", "i", "Number of the first event of a pair"),
    ArraySpec("event_second", _PAIR, "1", "i", "Number of the second event of a pair"),
    ArraySpec("event_difference", _PAIR, "K", "f", "First event minus second, rates and definitions made alike"),
    ArraySpec("event_difference_low", _PAIR, "K", "f", "Lower end of its 95 % interval"),
    ArraySpec("event_difference_high", _PAIR, "K", "f", "Upper end of its 95 % interval"),
    ArraySpec("event_shift", _PAIR, "K", "f", "What other rates of heating make of one event, taken off"),
    ArraySpec("event_probability", _PAIR, "1", "f", "How often chance finds one event this far from itself"),
    ArraySpec("event_corrected", _PAIR, "1", "f", "The same, corrected for the number of pairs; none: not comparable"),
    ArraySpec("event_verdict", _PAIR, "1", "i", "What is found of a pair; see flag_meanings; reasons say why"),
)

_COMPARED, _EQUAL = ("comparison",), ("equal",)
_COMPARISONS = (
    ArraySpec("comparison", _COMPARED, "1", "i", "Number of a comparison of two samples; attributes say of what"),
    *(
        ArraySpec(
            f"comparison_{name}", _COMPARED, "1", kind, f"{meaning}, in the unit of units_of" if unit else meaning
        )
        for name, kind, unit, meaning in (
            ("first", "f", True, "Mean of the first sample"),
            ("second", "f", True, "Mean of the second sample"),
            ("difference", "f", True, "First sample minus second"),
            ("low", "f", True, "Lower end of the 68 % interval of the difference"),
            ("high", "f", True, "Upper end of the 68 % interval of the difference"),
            ("wide_low", "f", True, "Lower end of the 95 % interval of the difference"),
            ("wide_high", "f", True, "Upper end of the 95 % interval of the difference"),
            (
                "effect",
                "f",
                False,
                "Difference over the spread between particles or cells, or over its own uncertainty",
            ),
            ("freedom", "f", False, "Degrees of freedom; infinite where the uncertainty is taken as known"),
            ("probability", "f", False, "How likely so large a difference is where there is none"),
            ("corrected", "f", False, "The same, corrected for the number of comparisons: Holm"),
            ("discovery", "f", False, "Share of false ones among differences as clear: Benjamini and Hochberg"),
            ("first_count", "i", False, "Particles, cells or powders of the first sample"),
            ("second_count", "i", False, "Particles, cells or powders of the second sample"),
            ("scope", "i", False, "What a difference holds for; see flag_meanings"),
            ("verdict", "i", False, "What is found of two samples; see flag_meanings"),
        )
    ),
    ArraySpec("equal", _EQUAL, "1", "i", "Number of a pair of samples; first is the one that is more porous earlier"),
    ArraySpec("equal_after", _EQUAL, "1", "f", "Cycles of the first sample"),
    ArraySpec("equal_porosity", _EQUAL, "1", "f", "Its porosity then"),
    ArraySpec(
        "equal_cycle", _EQUAL, "1", "f", "Cycles after which the second is as porous; none within those measured"
    ),
    ArraySpec("equal_cycle_low", _EQUAL, "1", "f", "Lower end of their 68 % interval"),
    ArraySpec("equal_cycle_high", _EQUAL, "1", "f", "Upper end of their 68 % interval; infinite if open"),
)

_CASE = ("case",)
_PLACE = ("case", "place")
_OF_FIRST = ("place_sample", "place")
_PLACES = (
    ArraySpec("case", _CASE, "1", "i", "Number of a map of a particle; names, samples and particles say which"),
    ArraySpec("place", ("place",), "1", "i", "Number of what tells where a voxel is; names and units_of say which"),
    ArraySpec("place_bin", ("place_bin",), "1", "i", "Number of a bin of equally many voxels, by rising distance"),
    ArraySpec("place_change", _CASE, "1", "b", "Whether the map is a change from one temperature to the next"),
    ArraySpec("place_mean", _CASE, "eV", "f", "Mean of the map over the voxels that count"),
    ArraySpec("place_reliability", _CASE, "1", "f", "Share of the variance over voxels that is not noise"),
    ArraySpec("place_length", _CASE, "um", "f", "Distance at which what lines leave is correlated by 1/e"),
    ArraySpec("place_partial_freedom", _CASE, "1", "f", "Degrees of freedom of a line through all variables"),
    ArraySpec("place_freedom", _PLACE, "1", "f", "Degrees of freedom of a line through one variable"),
    ArraySpec("place_effect", _PLACE, "eV", "f", "Rise from the 10th to the 90th percentile of a variable"),
    ArraySpec("place_partial_effect", _PLACE, "eV", "f", "The same with the other variables held"),
    ArraySpec("place_correlation", _PLACE, "1", "f", "Correlation of the voxels with a variable"),
    ArraySpec("place_true_correlation", _PLACE, "1", "f", "The same without the noise of the map"),
    ArraySpec("place_rank_correlation", _PLACE, "1", "f", "Correlation of ranks of voxels with those of a variable"),
    ArraySpec("place_partial_correlation", _PLACE, "1", "f", "Correlation with the other variables held"),
    ArraySpec("place_partial_true", _PLACE, "1", "f", "The same without the noise of the map"),
    ArraySpec("place_partial_rank", _PLACE, "1", "f", "Correlation of ranks with the other variables held"),
    ArraySpec("place_probability", _PLACE, "1", "f", "How often chance makes as steep a line, by Holm over variables"),
    ArraySpec("place_rank_probability", _PLACE, "1", "f", "The same of ranks"),
    ArraySpec("place_partial_probability", _PLACE, "1", "f", "The same with the other variables held"),
    ArraySpec("place_sample", ("place_sample",), "1", "i", "Number of a sample; names, particles and steps tell of it"),
    ArraySpec("place_first_effect", _OF_FIRST, "eV", "f", "The rise of the first change, mean of particles"),
    ArraySpec("place_first_probability", _OF_FIRST, "1", "f", "How often chance makes as much, by Holm"),
    ArraySpec("place_first_partial_effect", _OF_FIRST, "eV", "f", "The same rise with the other variables held"),
    ArraySpec("place_first_partial_probability", _OF_FIRST, "1", "f", "How often chance makes as much, by Holm"),
    ArraySpec("place_at", (*_PLACE, "place_bin"), "1", "f", "Mean of a variable in a bin, in the unit of units_of"),
    ArraySpec("place_curve", (*_PLACE, "place_bin"), "eV", "f", "Mean of the map in a bin"),
)

_OF_OXYGEN = ("oxygen_sample", "oxygen_probe")
_OXYGEN = (
    ArraySpec("oxygen_sample", ("oxygen_sample",), "1", "i", "Number of a sample; the attribute names says which"),
    ArraySpec(
        "oxygen_probe", ("oxygen_probe",), "1", "i", "Number of a probe of oxygen; the attribute names says which"
    ),
    ArraySpec("oxygen_lost", (*_OF_OXYGEN, "temperature"), "1", "f", "Oxygen lost per metal as a probe has it"),
    ArraySpec(
        "oxygen_compared",
        (*_OF_OXYGEN, "temperature"),
        "1",
        "f",
        "The same at common temperatures, rates of heating made alike",
    ),
    ArraySpec("oxygen_joint", ("oxygen_sample", "temperature"), "1", "f", "Oxygen lost per metal by all probes"),
    ArraySpec("oxygen_misfit", ("oxygen_sample",), "1", "f", "Squares of all probes about it, over their covariance"),
    ArraySpec("oxygen_degrees", ("oxygen_sample",), "1", "i", "Degrees of freedom of these squares"),
    ArraySpec("oxygen_chance", ("oxygen_sample",), "1", "f", "How often chance alone gives larger squares"),
    ArraySpec("oxygen_factor", _OF_OXYGEN, "1", "f", "How many times the oxygen of the other probes a probe finds"),
    ArraySpec("oxygen_probability", _OF_OXYGEN, "1", "f", "How often chance parts a probe this far from the others"),
    ArraySpec("oxygen_corrected", _OF_OXYGEN, "1", "f", "The same, corrected for the number of probes and samples"),
    ArraySpec(
        "oxygen_in_joint", _OF_OXYGEN, "1", "b", "Whether a probe is in the joint estimate, or a model beside it"
    ),
    ArraySpec("oxygen_rest", _OF_OXYGEN, "1", "f", "How often chance parts the others so, where it is left out"),
    ArraySpec("oxygen_at_start", ("oxygen_sample",), "1", "f", "Oxygen per metal by charges before heating, less 2"),
)

_CYCLED = ("cycled",)
_BY_CYCLE = ("cycled", "cycle")
_CYCLES = (
    ArraySpec("cycled", _CYCLED, "1", "i", "Number of a cycled particle; the attribute names says which"),
    ArraySpec("cycled_resistance", _BY_CYCLE, "ohm", "f", "Resistance of charge transfer of spectra that are used"),
    ArraySpec("cycled_area", _BY_CYCLE, "1/um", "f", "Wetted surface over the particle's volume, also between stacks"),
    ArraySpec("cycled_measured_area", _BY_CYCLE, "1/um", "f", "Wetted surface over volume of stacks"),
    ArraySpec("cycled_isolated", _BY_CYCLE, "1", "f", "Share of the oxide of a stack outside of its largest piece"),
    ArraySpec("cycled_porosity", _BY_CYCLE, "1", "f", "Porosity of the particle, a curve through slices"),
    ArraySpec("cycled_capacity", _BY_CYCLE, "Ah", "f", "What the particle gives back in a cycle that is used"),
    ArraySpec("polarisation_share", _BY_CYCLE, "1", "f", "Part of the polarisation that charge transfer gives"),
    ArraySpec("resistance_exponent", _CYCLED, "1", "f", "Exponent of resistance against surface; -1 if it is r / A"),
    ArraySpec("resistance_exponent_low", _CYCLED, "1", "f", "Lower end of its 95 % interval"),
    ArraySpec("resistance_exponent_high", _CYCLED, "1", "f", "Upper end of its 95 % interval"),
    ArraySpec("resistance_exponent_direct", _CYCLED, "1", "f", "The same from the first and last stack alone"),
    ArraySpec("resistance_explained", _CYCLED, "1", "f", "Part of the change of ln R that r / A gives between stacks"),
    ArraySpec("resistance_area_scatter", _CYCLED, "1", "f", "Standard deviation of ln R A over cycles; 0 if R = r / A"),
    ArraySpec("resistance_misfit_chance", _CYCLED, "1", "f", "How often errors alone leave the line a misfit as large"),
    ArraySpec("resistance_verdict", _CYCLED, "1", "i", "Whether the surface explains R; see flag_meanings"),
    ArraySpec("capacity_rise", _CYCLED, "1", "f", "Rise of the capacity to its peak, over the peak"),
    ArraySpec("capacity_fade", _CYCLED, "1", "f", "Fall of the capacity after its peak, over the peak"),
    ArraySpec("capacity_peak", _CYCLED, "1", "f", "Cycle of the largest capacity"),
    ArraySpec("rise_explained", _CYCLED, "1", "f", "Share of the rise's variance on a line with charge transfer"),
    ArraySpec("fade_explained", _CYCLED, "1", "f", "Part of the fade that this line gives"),
    ArraySpec(
        "fade_isolated", _CYCLED, "1", "f", "Part of the fade that oxide without contact gives, at the last stack"
    ),
)

RELATION_ARRAYS: tuple[ArraySpec, ...] = (*_EVENTS, *_OXYGEN, *_PLACES, *_CYCLES, *_COMPARISONS, *KINETIC_ARRAYS)

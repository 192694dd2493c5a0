"""Named arrays of the kinetics of oxygen release; see `cathoscope.core.schema`."""

from __future__ import annotations

from cathoscope.core.array_spec import ArraySpec

_SAMPLE = ("kinetic_sample",)
_HOLD = ("kinetic_sample", "temperature")
_SHELL = (*_HOLD, "kinetic_shell")
_ENDS = (
    ("low", "Lower end of its 68 % interval; if known from one side only, the limit at 95 % or infinite"),
    ("high", "Upper end of its 68 % interval; if known from one side only, the limit at 95 % or infinite"),
    ("wide_low", "Lower end of its 95 % interval; infinite, or zero of what is positive, if open"),
    ("wide_high", "Upper end of its 95 % interval; infinite, or zero of what is positive, if open"),
)


def _known(name: str, dims: tuple[str, ...], unit: str, meaning: str) -> tuple[ArraySpec, ...]:
    """A number with its intervals."""
    return (
        ArraySpec(name, dims, unit, "f", meaning),
        *(ArraySpec(f"{name}_{end}", dims, unit, "f", words) for end, words in _ENDS),
    )


KINETIC_ARRAYS = (
    ArraySpec("kinetic_sample", _SAMPLE, "1", "i", "Number of a sample; the attribute names says which"),
    ArraySpec("kinetic_model", ("kinetic_model",), "1", "i", "Number of a description; the attribute names says which"),
    ArraySpec("kinetic_shell", ("kinetic_shell",), "1", "i", "Number of a shell below the surface, from outside"),
    ArraySpec("kinetic_draw", ("kinetic_draw",), "1", "i", "Number of an equally likely set of parameters"),
    *_known("release_energy", (), "kJ/mol", "Activation energy of the release of oxygen, all samples together"),
    ArraySpec("release_energy_shift", (), "kJ/mol", "f", "What the fit adds to an energy that is known"),
    *_known("release_energy_alone", _SAMPLE, "kJ/mol", "Activation energy of the release of one sample alone"),
    *_known("release_time", _SAMPLE, "s", "Mean time of release at the temperature in the attribute reference"),
    *_known("path_ratio", _SAMPLE, "1", "Path of oxygen out of a sample over that out of the first"),
    ArraySpec("release_drop", (), "eV", "f", "Drop of the white line of what has turned completely at the reference"),
    ArraySpec("release_slope", (), "eV/K", "f", "Further drop of what has turned completely, with temperature"),
    ArraySpec("release_criterion", ("kinetic_model",), "1", "f", "Akaike's criterion for few data; less is better"),
    ArraySpec("release_discrepancy", (), "eV", "f", "What predictions of left-out temperatures lack in uncertainty"),
    ArraySpec("release_depth", ("kinetic_sample", "kinetic_shell"), "um", "f", "Depth of a shell below the surface"),
    ArraySpec("release_line", _HOLD, "eV", "f", "Mean white line as measured, over the particles of a sample"),
    *_known("release_line_model", _HOLD, "eV", "Mean white line of the model that is fitted to all temperatures"),
    ArraySpec("release_profile", _SHELL, "eV", "f", "White line of shells as measured, over the particles of a sample"),
    ArraySpec("release_profile_model", _SHELL, "eV", "f", "White line of shells of the fitted model"),
    *_known("left_out_line", _HOLD, "eV", "Mean white line predicted from all other temperatures, as it is measured"),
    *_known("straight_line", _HOLD, "eV", "Mean white line on a straight line between the neighbouring temperatures"),
    *(
        ArraySpec(f"{name}_{width}", _HOLD, "eV", "f", f"Score of the {level} interval of {words}; less is better")
        for name, words in (("left_out_score", "the prediction"), ("straight_score", "the straight line"))
        for width, level in (("narrow", "68 %"), ("wide", "95 %"))
    ),
    ArraySpec("left_out_profile_low", _SHELL, "eV", "f", "Lower end of the predicted 68 % interval of shells"),
    ArraySpec("left_out_profile_high", _SHELL, "eV", "f", "Upper end of the predicted 68 % interval of shells"),
    ArraySpec("energy_draw", ("kinetic_draw",), "kJ/mol", "f", "Activation energies, equally likely"),
    ArraySpec("time_draw", ("kinetic_sample", "kinetic_draw"), "s", "f", "Mean times of release, equally likely"),
)

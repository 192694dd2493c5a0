"""The specimen of the preset ``spheres``: every path length, volume and spectrum in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from cathoscope.physics.xray import nickel_edge_attenuation_from_formula
from cathoscope.virtual.specimen import Sphere, SpheresSpecimen
from cathoscope.virtual.spectra import Spectrum, nickel_spectrum


@dataclass(frozen=True)
class _Ball:
    """A sphere of oxide LiNi(x)Mn(y)Co(1-x-y)O2 and how far heating moves its white line, eV."""

    name: str
    centre: tuple[float, float, float]
    radii: tuple[float, float]
    nickel: float
    manganese: float
    line_energy: float
    heating_shift: float


_NMC_DENSITY = 4.7  # g/cm³; X-ray density of LiNi0.8Mn0.1Co0.1O2 is 4.7 to 4.8
_BALLS = (
    _Ball("dense", (-6.0, 4.0, 0.5), (4.5, 0.0), 0.8, 0.1, 8349.8, -1.9),
    _Ball("hollow", (6.5, 3.5, -1.5), (4.0, 1.8), 0.6, 0.2, 8350.4, -0.9),
    _Ball("medium", (1.0, -7.5, 2.5), (3.0, 0.0), 0.8, 0.1, 8349.2, -1.4),
    _Ball("nickel-rich", (-7.5, -6.0, -3.5), (2.0, 0.0), 0.9, 0.05, 8348.7, -2.3),
    _Ball("small", (8.0, -5.5, 4.0), (1.6, 0.0), 0.5, 0.3, 8351.0, -0.5),
)


def spheres(*, asymmetry: float = 0.0) -> SpheresSpecimen:
    """Five oxide spheres at 25 and 150 degC; heating moves each white line by its own amount and lowers it a little.

    ``asymmetry`` is that of `nickel_spectrum`.
    """

    def spectra(ball: _Ball) -> tuple[Spectrum, Spectrum]:
        """Spectra of a ball before and after heating."""
        formula = {"Li": 1.0, "Ni": ball.nickel, "Mn": ball.manganese, "Co": 1 - ball.nickel - ball.manganese, "O": 2.0}
        background, jump = nickel_edge_attenuation_from_formula(formula=formula, density=_NMC_DENSITY)
        cold = nickel_spectrum(
            jump=jump, background=background, line_energy=ball.line_energy, line_height=0.85, asymmetry=asymmetry
        )
        hot = nickel_spectrum(
            jump=jump, background=background, line_energy=ball.line_energy, line_height=0.80, asymmetry=asymmetry
        )
        return cold, hot.moved(ball.heating_shift)

    balls = [Sphere(ball.name, ball.centre, ball.radii[0], spectra(ball), ball.radii[1]) for ball in _BALLS]
    return SpheresSpecimen(tuple(balls), (25.0, 150.0))

r"""The interface of an electrode from its impedance: charge-transfer resistance and double-layer capacitance.

A constant-phase element Q, alpha beside a resistor stands for capacitances that differ from place to place. If they
lie side by side on the surface, with the electrolyte's resistance R_0 before them (Brug [1]), or one behind the other
through a layer (Hsu and Mansfeld [2]), the capacitance is

.. math:: C = Q^{1/\alpha} \left(1/R_0 + 1/R_1\right)^{(\alpha - 1)/\alpha}, \qquad
          C = Q^{1/\alpha} R_1^{(1 - \alpha)/\alpha}

References
----------
.. [1] G. J. Brug et al., J. Electroanal. Chem. 176 (1984) 275.
.. [2] C. H. Hsu, F. Mansfeld, Corrosion 57 (2001) 747.
.. [3] B. Hirschorn et al., Electrochim. Acta 55 (2010) 6218 (which of the two).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.lab.circuit import Circuit
from cathoscope.lab.circuit_text import parse_circuit
from cathoscope.lab.impedance_fit import CircuitFit, Constraints, Weighting, fit_circuit
from cathoscope.lab.kramers_kronig import KramersKronig, kramers_kronig
from cathoscope.numerics.estimate import Estimate
from cathoscope.physics.kinetics import FARADAY, GAS_CONSTANT, ZERO_CELSIUS

_TOLERANCE = 0.005  # systematic deviations from Kramers-Kronig that real cells have


@dataclass(frozen=True)
class Arc:
    """Which elements of a circuit are the interface: the resistor in series, and the arc's two."""

    series: str = "R0"
    transfer: str = "R1"
    layer: str = "CPE1"


@dataclass(frozen=True)
class Interface:
    """What one spectrum tells of the interface.

    Attributes
    ----------
    cycle
        Before which it was taken, or any other number that orders spectra.
    resistance
        Charge-transfer resistance, ohm.
    capacitance_brug, capacitance_hsu_mansfeld
        F.
    alpha
        Of the constant-phase element; 1 for a capacitor.
    fit, gate
        What they are from; None where a spectrum could not be used at all.
    reasons
        Why the values are not to be used; empty if they are.
    """

    cycle: float
    resistance: Estimate
    capacitance_brug: Estimate
    capacitance_hsu_mansfeld: Estimate
    alpha: Estimate
    fit: CircuitFit | None
    gate: KramersKronig | None
    reasons: tuple[str, ...]

    @property
    def used(self) -> bool:
        """Whether the values are to be used."""
        return not self.reasons


def capacitance_from_brug(*, q: float, alpha: float, series: float, transfer: float) -> float:
    """Capacitance (F) of a surface whose time constants differ from place to place.

    C = q^(1/alpha) (1/series + 1/transfer)^((alpha - 1)/alpha); q in s^alpha/ohm, resistances in ohm. Brug 1984.
    """
    return float(q ** (1.0 / alpha) * (1.0 / series + 1.0 / transfer) ** ((alpha - 1.0) / alpha))


def capacitance_from_hsu_mansfeld(*, q: float, alpha: float, transfer: float) -> float:
    """Capacitance (F) of a layer whose properties differ through its thickness.

    C = q^(1/alpha) transfer^((1 - alpha)/alpha), which puts the top of the arc at transfer C w = 1; q in s^alpha/ohm,
    transfer in ohm. Hsu and Mansfeld 2001.
    """
    return float(q ** (1.0 / alpha) * transfer ** ((1.0 - alpha) / alpha))


def specific_resistance_from_area(*, resistance: Estimate, area: Estimate) -> Estimate:
    """Area-specific resistance (ohm cm2) of a resistance (ohm) over a wetted surface (cm2): R A, errors in quadrature.

    Raises
    ------
    MeasurementError
        If the area is not positive.
    """
    return _scaled(resistance, area, resistance.value * area.value)


def exchange_current_density_from_resistance(
    *, resistance: Estimate, area: Estimate, temperature: float, electrons: float = 1.0
) -> Estimate:
    """Exchange current density (A/cm2): R T / (n F R_ct A), the slope of Butler-Volmer at small overpotential.

    ``resistance`` in ohm, ``area`` in cm2, ``temperature`` in degC. Valid for perturbations far below R T / F (26 mV).
    Bard and Faulkner, Electrochemical Methods, 2nd ed., eq. 3.4.13.

    Raises
    ------
    MeasurementError
        If area or resistance are not positive.
    """
    thermal = GAS_CONSTANT * (temperature + ZERO_CELSIUS) / (electrons * FARADAY)
    return _scaled(
        resistance, area, thermal / (resistance.value * area.value) if resistance.value * area.value else 0.0
    )


def _scaled(resistance: Estimate, area: Estimate, value: float) -> Estimate:
    if not (resistance.value > 0 and area.value > 0):
        raise MeasurementError(
            "resistance and area are to be positive", found=f"{resistance.value:g} ohm, {area.value:g} cm2"
        )
    parts = ((a / resistance.value, b / area.value) for a, b in zip(resistance[1:], area[1:], strict=True))
    std, systematic = (value * float(np.hypot(*both)) for both in parts)
    return Estimate(value, std, systematic)


def interface_of(fit: CircuitFit, *, cycle: float = 0.0, arc: Arc | None = None) -> Interface:
    """The interface of one fit, with errors from its whole covariance.

    Raises
    ------
    MeasurementError
        If the circuit does not have the elements of ``arc``.
    """
    arc = arc or Arc()
    names = fit.circuit.names
    transfer, series = fit.circuit.number(arc.transfer), fit.circuit.number(arc.series)
    if arc.layer in names:  # a capacitor
        own = fit.estimate(arc.layer)
        reasons = () if fit.outcome in ("good", "systematic residuals") else fit.remarks
        return Interface(cycle, fit.estimate(arc.transfer), own, own, Estimate(1.0), fit, None, reasons)
    layer, alpha = fit.circuit.number(f"{arc.layer}.Q"), fit.circuit.number(f"{arc.layer}.alpha")
    q, a, r0, r1 = (float(fit.values[number]) for number in (layer, alpha, series, transfer))
    brug = capacitance_from_brug(q=q, alpha=a, series=r0, transfer=r1)
    hsu = capacitance_from_hsu_mansfeld(q=q, alpha=a, transfer=r1)
    together, power = 1.0 / r0 + 1.0 / r1, (a - 1.0) / a
    # Derivatives of the logarithms of the capacitances to those of the parameters.
    slopes = np.zeros((2, len(names)))
    slopes[:, layer] = 1.0 / a
    slopes[0, [alpha, series, transfer]] = (
        (np.log(together) - np.log(q)) / a,
        -power / r0 / together,
        -power / r1 / together,
    )
    slopes[1, [alpha, transfer]] = -(np.log(q) + np.log(r1)) / a, -power
    relative = np.sqrt(np.einsum("ip,pq,iq->i", slopes, np.nan_to_num(fit.covariance, posinf=1e30), slopes))
    reasons = () if fit.outcome in ("good", "systematic residuals") else fit.remarks
    return Interface(
        cycle,
        fit.estimate(arc.transfer),
        Estimate(brug, float(brug * relative[0])),
        Estimate(hsu, float(hsu * relative[1])),
        fit.estimate(f"{arc.layer}.alpha"),
        fit,
        None,
        reasons,
    )


def interface_against_cycle(
    *,
    cycles: Sequence[float],
    spectra: Sequence[tuple[ArrayLike, ArrayLike]],
    circuit: Circuit | str,
    arc: Arc | None = None,
    weighting: Weighting = "modulus",
    tolerance: float = _TOLERANCE,
) -> tuple[Interface, ...]:
    """The interface of a cell before each of some cycles.

    Every spectrum passes the Kramers-Kronig gate, or says why not, and is fitted by itself, from the data and from the
    fit before; the better one counts. What cannot be used keeps its place, with the reason, and values that are NaN.

    Parameters
    ----------
    cycles
        Numbers that order the spectra.
    spectra
        Frequencies (Hz) and impedances (ohm, complex) of each.
    circuit, arc
        What is fitted, and which of its elements are the interface.
    weighting
        As `fit_circuit`.
    tolerance
        Deviations from Kramers-Kronig, over the modulus, that real cells have.

    Raises
    ------
    MeasurementError
        If there are not as many cycles as spectra, or the circuit lacks an element of ``arc``.
    """
    if len(cycles) != len(spectra):
        raise MeasurementError(
            "cycles and spectra do not belong together", expected=f"{len(cycles)} spectra", found=f"{len(spectra)}"
        )
    circuit, arc, found = parse_circuit(circuit) if isinstance(circuit, str) else circuit, arc or Arc(), []
    for name in (arc.series, arc.transfer):
        circuit.number(name)
    before: CircuitFit | None = None
    for cycle, (frequency, impedance) in zip(cycles, spectra, strict=True):
        try:
            gate = kramers_kronig(frequency=frequency, impedance=impedance, tolerance=tolerance)
            fit = _better(circuit, gate, weighting, before)
        except CathoscopeError as error:
            nothing = Estimate(float("nan"))
            found.append(Interface(cycle, nothing, nothing, nothing, nothing, None, None, (error.problem,)))
            continue
        one = interface_of(fit, cycle=cycle, arc=arc)
        reasons = (*gate.reasons, *one.reasons)
        found.append(_with_gate(one, gate, reasons))
        before = before if reasons else fit
    return tuple(found)


def _with_gate(one: Interface, gate: KramersKronig, reasons: tuple[str, ...]) -> Interface:
    values = (one.resistance, one.capacitance_brug, one.capacitance_hsu_mansfeld, one.alpha)
    return Interface(one.cycle, *values, one.fit, gate, reasons)


def _better(circuit: Circuit, gate: KramersKronig, weighting: Weighting, before: CircuitFit | None) -> CircuitFit:
    """The fit from the data, or that from the fit before if its sum of squares is lower."""
    frequency, impedance = gate.spectrum
    fit = fit_circuit(circuit, frequency=frequency, impedance=impedance, weighting=weighting)
    if before is None:
        return fit
    start = Constraints(start=dict(zip(circuit.names, before.values.tolist(), strict=True)))
    again = fit_circuit(circuit, frequency=frequency, impedance=impedance, weighting=weighting, constraints=start)
    return again if again.sum_of_squares < fit.sum_of_squares * (1.0 - 1e-6) else fit

r"""Equivalent circuits: elements, what they are made of, their impedance and its derivatives.

============  =====================================================  ==========================
element       impedance                                              parameters
============  =====================================================  ==========================
``R``         R                                                      R (ohm)
``C``         1 / (jwC)                                              C (F)
``L``         jwL                                                    L (H)
``CPE, Q``    1 / (Q (jw)^alpha)                                     Q (s^alpha/ohm), alpha
``W``         A (1 - j) / sqrt(w), half-infinite diffusion           A (ohm/s^0.5)
``Wo``        R coth(sqrt(jw tau)) / sqrt(jw tau), blocked           R (ohm), tau (s)
``Ws``        R tanh(sqrt(jw tau)) / sqrt(jw tau), passed            R (ohm), tau (s)
``G``         R / sqrt(1 + jw tau), Gerischer                        R (ohm), tau (s)
============  =====================================================  ==========================

w is 2 pi times the frequency. All parameters are positive and are fitted as logarithms, so derivatives are to those.
Numbers come in the order of the text. `parse_circuit` (in `circuit_text`) reads a text.

References
----------
.. [1] E. Barsoukov, J. R. Macdonald (eds.), Impedance Spectroscopy, 2nd ed., Wiley 2005, chapter 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.lab import circuit_kernels as kernels

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]
Program = tuple[IntArray, IntArray, IntArray]


class Parameter(NamedTuple):
    """A number of a circuit: its name, its unit, and between which values it makes sense."""

    name: str
    unit: str
    low: float
    high: float


class Kind(NamedTuple):
    """A kind of element: its number in the compiled code, and the suffix, unit and bounds of its parameters."""

    code: int
    parameters: tuple[Parameter, ...]


_OHM = Parameter("", "ohm", 1e-9, 1e15)
_TAU = Parameter("tau", "s", 1e-12, 1e12)
_PHASE = (Parameter("Q", "s^alpha/ohm", 1e-18, 1e6), Parameter("alpha", "1", 0.05, 1.0))
_FINITE = (_OHM._replace(name="R"), _TAU)

KINDS: Mapping[str, Kind] = {
    "R": Kind(kernels.RESISTOR, (_OHM,)),
    "C": Kind(kernels.CAPACITOR, (Parameter("", "F", 1e-18, 1e6),)),
    "L": Kind(kernels.INDUCTOR, (Parameter("", "H", 1e-15, 1e6),)),
    "CPE": Kind(kernels.CONSTANT_PHASE, _PHASE),
    "Q": Kind(kernels.CONSTANT_PHASE, _PHASE),
    "W": Kind(kernels.WARBURG, (Parameter("", "ohm/s^0.5", 1e-9, 1e15),)),
    "Wo": Kind(kernels.WARBURG_OPEN, _FINITE),
    "Ws": Kind(kernels.WARBURG_SHORT, _FINITE),
    "G": Kind(kernels.GERISCHER, _FINITE),
}


@dataclass(frozen=True)
class Element:
    """One element: its kind (a key of `KINDS`) and its name, as R1."""

    kind: str
    name: str

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its numbers, with their full names: that of the element, and of several each its own (CPE1.alpha)."""
        return tuple(
            each._replace(name=f"{self.name}.{each.name}" if each.name else self.name)
            for each in KINDS[self.kind].parameters
        )


@dataclass(frozen=True)
class Series:
    """Parts one after the other: impedances are added."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Parallel:
    """Parts side by side: admittances are added."""

    parts: tuple[Node, ...]


Node = Element | Series | Parallel


@dataclass(frozen=True)
class Circuit:
    """A circuit: its text, and what it is made of."""

    text: str
    root: Node

    def __str__(self) -> str:
        return self.text

    def __hash__(self) -> int:
        return hash(self.text)

    @cached_property
    def elements(self) -> tuple[Element, ...]:
        """In the order of the text."""
        return elements_of(self.root)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """In the order of the text."""
        return tuple(parameter for element in self.elements for parameter in element.parameters)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    @cached_property
    def log_bounds(self) -> Array:
        """Logarithms of the lowest and highest sensible values, [2, parameter]."""
        bounds = [[each.low for each in self.parameters], [each.high for each in self.parameters]]
        return np.asarray(np.log(np.array(bounds)))

    @cached_property
    def program(self) -> Program:
        """The nodes as the compiled code wants them: kind, parent and first parameter, children first."""
        rows: list[list[int]] = []
        _add_node(self.root, rows, [0])
        kind, parent, first = np.array(rows, dtype=np.int64).T.copy()
        return kind, parent, first

    def number(self, name: str) -> int:
        """Where the parameter ``name`` stands.

        Raises
        ------
        MeasurementError
            If the circuit has none of that name.
        """
        if name not in self.names:
            raise MeasurementError(
                f"the circuit {self.text} has no parameter {name}", expected=", ".join(self.names), found=name
            )
        return self.names.index(name)


def elements_of(node: Node) -> tuple[Element, ...]:
    """Elements of a part of a circuit, in the order of the text."""
    if isinstance(node, Element):
        return (node,)
    return tuple(element for part in node.parts for element in elements_of(part))


def _add_node(node: Node, rows: list[list[int]], used: list[int]) -> int:
    """Append a part and all below it, with the parent still open (-1); its own number."""
    if isinstance(node, Element):
        kind = KINDS[node.kind]
        rows.append([kind.code, -1, used[0]])
        used[0] += len(kind.parameters)
        return len(rows) - 1
    children = [_add_node(part, rows, used) for part in node.parts]
    rows.append([kernels.SERIES if isinstance(node, Series) else kernels.PARALLEL, -1, 0])
    for child in children:
        rows[child][1] = len(rows) - 1
    return len(rows) - 1


def impedance_of_circuit(
    circuit: Circuit, *, frequency: ArrayLike, values: ArrayLike | Mapping[str, float]
) -> ComplexArray:
    """Impedance (ohm, complex, [frequency]) at frequencies (Hz) for the parameters' values, in order or by name."""
    return impedance_and_slopes(circuit, frequency=frequency, values=values)[0]


def impedance_and_slopes(
    circuit: Circuit, *, frequency: ArrayLike, values: ArrayLike | Mapping[str, float]
) -> tuple[ComplexArray, ComplexArray]:
    """Impedance [frequency] and its derivatives [parameter, frequency] to the logarithms of the parameters, ohm.

    Raises
    ------
    MeasurementError
        If a frequency or a value is not positive, or a value is missing or belongs to nothing.
    """
    omega = 2.0 * np.pi * np.atleast_1d(np.asarray(frequency, dtype=np.float64))
    numbers = values_in_order(circuit, values)
    for what, each in (("frequencies", omega), ("parameters", numbers)):
        if not (np.isfinite(each) & (each > 0)).all():
            raise MeasurementError(f"{what} of the circuit {circuit.text} are not all positive", found=str(each))
    impedance = np.empty(omega.size, np.complex128)
    slopes = np.empty((numbers.size, omega.size), np.complex128)
    kernels.spectrum(*circuit.program, numbers, omega, impedance, slopes)
    return impedance, slopes


def values_in_order(circuit: Circuit, values: ArrayLike | Mapping[str, float]) -> Array:
    """Values of the parameters, in the order of the circuit, of a list or of a mapping from names.

    Raises
    ------
    MeasurementError
        If there are not as many as parameters, or a name is missing or unknown.
    """
    if isinstance(values, Mapping):
        wrong = sorted(set(values) ^ set(circuit.names))
        if wrong:
            raise MeasurementError(
                f"values do not belong to the parameters of {circuit.text}",
                expected=", ".join(circuit.names),
                found=", ".join(values),
            )
        return np.array([values[name] for name in circuit.names], dtype=np.float64)
    numbers = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if numbers.shape != (len(circuit.names),):
        raise MeasurementError(
            f"values do not belong to the parameters of {circuit.text}",
            expected=f"{len(circuit.names)} numbers: {', '.join(circuit.names)}",
            found=f"{numbers.size} numbers",
        )
    return numbers

"""Parts of the same make that stand in series, put in the order of rising time constants.

Such parts can be exchanged without a change of the impedance; a search may end in either order.
"""

from __future__ import annotations

import numpy as np

from cathoscope.lab.circuit import Array, Circuit, Element, Node, Parallel, Series, elements_of

_FINITE = ("Wo", "Ws", "G")


def slow_last(circuit: Circuit, values: Array) -> Array:
    """``values`` with those of exchangeable parts exchanged, so that the slower part stands later in the text."""
    sorted_values = values.copy()
    _sort(circuit.root, dict(zip(circuit.names, range(values.size), strict=True)), sorted_values)
    return sorted_values


def time_constant(node: Node, values: dict[str, float]) -> float | None:
    """Of a resistor beside a capacitor, or of a finite diffusion element, s; None for other parts."""
    if isinstance(node, Element):
        return values[f"{node.name}.tau"] if node.kind in _FINITE else None
    if isinstance(node, Series):
        return None
    storing = [part for part in node.parts if isinstance(part, Element) and part.kind in ("C", "CPE", "Q")]
    resistors = [element for element in elements_of(node) if element.kind == "R"]
    if not storing or not resistors:
        return None
    resistance, name = values[resistors[0].name], storing[0].name
    if storing[0].kind == "C":
        return resistance * values[name]
    return float((resistance * values[f"{name}.Q"]) ** (1.0 / values[f"{name}.alpha"]))


def _shape(node: Node) -> object:
    if isinstance(node, Element):
        return node.kind
    return type(node).__name__, tuple(_shape(part) for part in node.parts)


def _sort(node: Node, places: dict[str, int], values: Array) -> None:
    if isinstance(node, Element):
        return
    for part in node.parts:
        _sort(part, places, values)
    if isinstance(node, Parallel):
        return
    by_shape: dict[object, list[Node]] = {}
    for part in node.parts:
        by_shape.setdefault(_shape(part), []).append(part)
    named = {name: float(values[place]) for name, place in places.items()}
    for alike in by_shape.values():
        taus = [tau for part in alike if (tau := time_constant(part, named)) is not None]
        if len(taus) < len(alike) or len(alike) < 2:
            continue
        blocks = [[places[p.name] for element in elements_of(part) for p in element.parameters] for part in alike]
        moved = values[np.array(blocks)[np.argsort(taus)]]
        values[np.array(blocks)] = moved

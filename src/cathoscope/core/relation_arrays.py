"""Named arrays of what is found from several measurements together; see `cathoscope.core.schema`."""

from __future__ import annotations

from cathoscope.core.array_spec import ArraySpec

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

RELATION_ARRAYS: tuple[ArraySpec, ...] = (*_EVENTS,)

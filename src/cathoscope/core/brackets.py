"""Numbers as crystallographers print them, with the uncertainty in brackets."""

from __future__ import annotations

import math

_DIGITS = 6  # after the point, of values without an uncertainty


def with_uncertainty(value: float, std: float) -> str:
    """A number with its standard uncertainty in brackets, in units of its last digit: 2.84003(9), 1.234(12).

    The uncertainty has two digits if they are below 20, else one, the rule of 19 of the IUCr. Without an uncertainty
    the number has at most six digits after the point.
    """
    if not (math.isfinite(std) and std > 0):
        text = f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".")
        return "0" if text in ("-0", "") else text
    place = math.floor(math.log10(std))
    if round(std / 10.0 ** (place - 1)) < 20:
        place -= 1
    digits = max(0, -place)
    unit = 10.0**-digits
    return f"{value:.{digits}f}({max(1, round(std / unit))})"

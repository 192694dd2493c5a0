"""Numbers of the fields of a text: one loop over bytes, as Python for small files and compiled for large ones.

This module does not import numba: `cycler_kernels` compiles the same function, and is loaded for large files only.
"""

from __future__ import annotations

import numpy as np

NUMBER, EMPTY, NOT_FINITE, TEXT, CLOCK = range(5)
POWERS = np.array([10.0**k for k in range(309)])
_MOST_DIGITS = 10**17
_MOST_EXPONENT = 100_000
# Bytes with a meaning.
_PLUS, _MINUS, _POINT, _ZERO, _NINE, _COLON = 43, 45, 46, 48, 57, 58
_QUOTE, _BLANK, _LARGE_E, _SMALL_E, _SMALL_D, _LETTER = 34, 32, 69, 101, 100, 65


def parse_fields(content, starts, stops, decimal, values, states):  # type: ignore[no-untyped-def]
    """Numbers between ``starts`` and ``stops`` (n,) of ``content`` (bytes), into ``values`` (n,).

    Read are ``1.5``, ``-2e-3``, with ``decimal`` (a byte) as decimal sign; ``01:02:03.5`` as 3723.5 and ``2d 01:00:00``
    or ``2-01:00:00`` as seconds. ``states`` (n,) becomes NUMBER, EMPTY, NOT_FINITE, TEXT or CLOCK; all but the first
    and the last leave NaN.
    """
    for k in range(len(starts)):
        i, stop = starts[k], stops[k]
        while i < stop and (content[i] <= _BLANK or content[i] == _QUOTE):
            i += 1
        while i < stop and (content[stop - 1] <= _BLANK or content[stop - 1] == _QUOTE):
            stop -= 1
        values[k] = np.nan
        states[k] = EMPTY
        if i == stop:
            continue
        negative = content[i] == _MINUS
        if negative or content[i] == _PLUS:
            i += 1
        mantissa, exponent, digits, colons, days = 0, 0, 0, 0, 0
        clock = 0.0
        states[k] = TEXT
        after_point = False
        while i < stop:
            byte = int(content[i])
            if _ZERO <= byte <= _NINE:
                if mantissa < _MOST_DIGITS:
                    mantissa = mantissa * 10 + (byte - _ZERO)
                    exponent -= after_point
                else:
                    exponent += not after_point
                digits += 1
            elif byte == decimal and not after_point:
                after_point = True
            elif (byte == _COLON and not after_point and digits and colons < 2) or (
                byte in (_SMALL_D, _MINUS) and digits and days + colons + after_point == 0
            ):
                clock = (clock + mantissa) * (60.0 if byte == _COLON else 24.0)
                colons += byte == _COLON
                days += byte != _COLON
                mantissa, digits = 0, 0
                while byte == _SMALL_D and i + 1 < stop and content[i + 1] == _BLANK:
                    i += 1
            else:
                break
            i += 1
        if i < stop and digits and colons == 0 and days == 0 and (content[i] == _SMALL_E or content[i] == _LARGE_E):
            i += 1
            sign = 1
            if i < stop and (content[i] == _MINUS or content[i] == _PLUS):
                sign = -1 if content[i] == _MINUS else 1
                i += 1
            power, digits = 0, 0
            while i < stop and _ZERO <= content[i] <= _NINE:
                power = min(power * 10 + int(content[i]) - _ZERO, _MOST_EXPONENT)
                digits += 1
                i += 1
            exponent += sign * power
        if i < stop or digits == 0 or colons == 1 or (days and colons != 2):
            continue
        number = float(mantissa)
        if exponent < 0:
            number = number / float(POWERS[min(-exponent, 308)]) / float(POWERS[min(max(-exponent - 308, 0), 308)])
        elif exponent > 0 and mantissa:
            number = number * float(POWERS[exponent]) if exponent <= 308 else np.inf
        number += clock
        states[k] = CLOCK if colons else NUMBER
        values[k] = -number if negative else number
        if np.isinf(number):
            states[k], values[k] = NOT_FINITE, np.nan

"""Text of a micrograph's caption, character by character: digits, units and the point of a number."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_MATCH = 0.62  # correlation of a character with its drawing, at least
_ASPECT = 0.55  # how much a difference of aspect counts
_SHAPE = (12, 8)
# Rows of eight dots from the top, as hexadecimal numbers, and width over height: two outlined types and a dot matrix.
_DRAWINGS = {
    "0": (
        "3c6642c3c3c3c3c3c342663c:0.67",
        "3c7e66e7e7c7c7e7e7667e3c:0.79",
        "3c3cc3c7c7dbdbe3e3c33c3c:0.71",
    ),
    "1": (
        "f8f8181818181818181818ff:0.60",
        "f8f8b81818181818181cffff:0.70",
        "1838f838181818181818ffff:0.43",
        "070f3ff7c707070707070707:0.44",
        "03070f3fffe3030303030303:0.48",
    ),
    "2": (
        "7ce6030303060c183060e0ff:0.62",
        "7cfecf07070e1e3c70f0ffff:0.72",
        "3c3cc303030404181020ffff:0.71",
    ),
    "3": (
        "7c460303063c06030303c6fc:0.64",
        "7c7e07070e3c3e070787fefc:0.73",
        "ffff04081804040303c33c3c:0.71",
    ),
    "4": (
        "0c0c1434246444c6ff060404:0.73",
        "0e1e1e3e6e6ececeffff0e0e:0.83",
        "04041c2c24c4c4ffff040404:0.71",
    ),
    "5": (
        "7e4040407c4e03030303cefc:0.64",
        "fefee0e0fcfe07070787fe7c:0.74",
        "ffffc0fcfc03030303c33c3c:0.71",
    ),
    "6": (
        "1e7240c0dce6c3c3c343663c:0.67",
        "1e7e70e0fcfee7e7e7677e3c:0.77",
        "1c1c20c0c0fcfcc3c3c33c3c:0.71",
    ),
    "7": (
        "ff030206040c0c0818183030:0.64",
        "ffff07060e0e1c1c18383070:0.75",
        "ffff03040418182020202020:0.71",
    ),
    "8": (
        "3c66c3c3463c66c3c3c3663c:0.66",
        "3c7ee7e7663c7ee7e7e77e3c:0.76",
        "3c3cc3c3c33c3cc3c3c33c3c:0.71",
    ),
    "9": (
        "3c66c2c3c3c3673b03024e78:0.66",
        "3c7ee6e7e7e77f3f07067e78:0.77",
        "3c3cc3c3c33f3f0303043838:0.71",
    ),
    "µ": (
        "828282828282c6efbb808080:0.70",
        "c6c6c6c6c6c6eefffbc0c0c0:0.82",
        "c3c3c3c3c7c7dbdbe3e3c0c0:0.83",
    ),
    "u": (
        "c3c3c3c3c3c3c3c3c3c77f39:0.82",
        "e7e7e7e7e7e7e7e7e7ff7f73:0.98",
        "c3c3c3c3c3c3c3e3e3e3dcdc:1.00",
    ),
    "m": (
        "b6f799998181818181818181:1.43",
        "b6ffffdbdbdbdbdbdbdbdbdb:1.57",
        "e4e4dbdbdbdbdbdbdbdbdbdb:1.00",
    ),
    "n": (
        "9cfee3c3c3c3c3c3c3c3c3c3:0.82",
        "cefeffe7e7e7e7e7e7e7e7e7:0.98",
        "dcdce3e3e3c3c3c3c3c3c3c3:1.00",
    ),
    "x": (
        "4362263c1c18183c246642c3:0.96",
        "e7667e3c3c183c3c3c6666e7:1.13",
    ),
}


def lines_of(ink: BoolArray) -> list[list[tuple[str, int, int, int, int]]]:
    """Words of every line of text, each with its left, right, top and bottom."""
    labels, _ = ndimage.label(ink, structure=np.ones((3, 3)))
    boxes = [
        (box[0].start, box[0].stop, box[1].start, box[1].stop, labels[box] == number)
        for number, box in enumerate(ndimage.find_objects(labels), start=1)
    ]
    heights = [b - t for t, b, *_ in boxes]
    boxes = [one for one, high in zip(boxes, heights, strict=True) if high <= 0.8 * ink.shape[0] or high < 60]
    lines: list[list[Any]] = []
    for box in sorted(boxes, key=lambda one: -(one[1] - one[0])):
        middle = 0.5 * (box[0] + box[1])
        home = next((line for line in lines if line[0][0] - 2 <= middle <= line[0][1] + 2), None)
        if home is None:
            lines.append([box])
        else:
            home.append(box)
    return [_words(line) for line in lines if line[0][1] - line[0][0] >= 5]


def _words(line: list[Any]) -> list[tuple[str, int, int, int, int]]:
    """Characters of a line as words; a wide gap parts two words, a narrow one is a blank."""
    high = line[0][1] - line[0][0]
    words: list[list[Any]] = []
    for top, bottom, left, right, shape in sorted(line, key=lambda one: one[2]):
        character = "." if bottom - top <= 0.35 * high and top > line[0][0] + 0.5 * high else _character(shape)
        gap = left - words[-1][2] if words else 2 * high
        if gap > 1.3 * high:
            words.append([character, left, right, top, bottom])
        else:
            word = words[-1]
            blank = " " if gap > 0.3 * high else ""
            words[-1] = [word[0] + blank + character, word[1], right, min(word[3], top), max(word[4], bottom)]
    return [(re.sub(r"(?<=\d) (?=\d)", "", word[0]), *word[1:]) for word in words]


def _character(shape: BoolArray) -> str:
    """The character that a shape is, "?" if none."""
    rows, columns = shape.shape
    # each dot of the drawing is the mean of what lies in it
    fine = np.kron(shape.astype(np.float64), np.ones(_SHAPE))
    dots = fine.reshape(_SHAPE[0], rows, _SHAPE[1], columns).mean(axis=(1, 3)).ravel()
    if dots.std() < 0.05:
        return "?"
    best, found = _MATCH, "?"
    for character, drawing, aspect in _TEMPLATES:
        match = float(np.corrcoef(dots, drawing)[0, 1]) - _ASPECT * abs(float(np.log(columns / rows / aspect))) ** 2
        if match > best:
            best, found = match, character
    return found


def _templates() -> list[tuple[str, FloatArray, float]]:
    found = []
    for character, drawings in _DRAWINGS.items():
        for drawing in drawings:
            dots, aspect = drawing.split(":")
            rows = [int(dots[k : k + 2], 16) for k in range(0, len(dots), 2)]
            bits = [[(row >> (7 - k)) & 1 for k in range(8)] for row in rows]
            found.append((character, np.array(bits, dtype=np.float64).ravel(), float(aspect)))
    return found


_TEMPLATES = _templates()

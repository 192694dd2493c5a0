"""The text of a circuit, read: ``R0-p(R1,CPE1)-W1``, or in Boukamp's way ``R(RQ)W``.

    series    = part, [ "-" ], part, ...
    part      = element | "p(" series "," series ... ")" | "(" part part ... ")" | "[" series "]"
    element   = kind, [ number ]

Between ``p(`` and ``)`` commas separate what lies side by side. In round brackets without p everything lies side by
side, and round brackets within these are series again, ``R(Q(RW))``, level by level; square brackets are always
series. Kinds are those of `cathoscope.lab.circuit`. An element without a number gets the next one of its kind.

References
----------
.. [1] B. A. Boukamp, Solid State Ionics 20 (1986) 31 (circuit description code).
"""

from __future__ import annotations

import re

from cathoscope.core.errors import RecipeError
from cathoscope.lab.circuit import KINDS, Circuit, Element, Node, Parallel, Series, elements_of

_ELEMENT = re.compile(rf"({'|'.join(sorted(KINDS, key=len, reverse=True))})(\d{{0,3}})(?![a-z])")
_MOST_CHARACTERS = 300
_DEEPEST = 12
_HOW = 'write for example "R0-p(R1,CPE1)-W1" or "R(RQ)W"'


def parse_circuit(text: str) -> Circuit:
    """The circuit that ``text`` describes.

    Raises
    ------
    RecipeError
        With the place in the text that cannot be read, and what could stand there.
    """
    reader = _Reader(text)
    if len(text) > _MOST_CHARACTERS:
        raise reader.error(f"a circuit of at most {_MOST_CHARACTERS} characters", _MOST_CHARACTERS)
    root = reader.series("", depth=0)
    reader.check_names(root)
    return Circuit("".join(text.split()), root)


class _Reader:
    """A text and how far it has been read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places: list[int] = []
        self.used: set[tuple[str, int]] = {
            (match[1], int(match[2])) for match in _ELEMENT.finditer(text.replace(" ", "")) if match[2]
        }

    def error(self, expected: str, at: int | None = None) -> RecipeError:
        """That at a place (the current one) something else than ``expected`` stands."""
        place = self.at if at is None else at
        found = f"{self.text[place]!r}" if place < len(self.text) else "the end"
        shown = f"{self.text}\n            {' ' * place}^ character {place + 1}: {found}"
        return RecipeError("the circuit cannot be read", expected=expected, found=shown, cure=_HOW)

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def take(self, sign: str) -> bool:
        """Whether ``sign`` stands next; if so it is read."""
        self.peek()
        if not self.text.startswith(sign, self.at):
            return False
        self.at += len(sign)
        return True

    def series(self, closing: str, depth: int) -> Node:
        """Parts one after the other, up to a character of ``closing`` (not read) or the end."""
        parts = [self.part(depth, within_parallel=False)]
        while (sign := self.peek()) and sign not in closing:
            if self.take("-") and (not self.peek() or self.peek() in closing or self.peek() in "-,"):
                raise self.error("an element or a bracket after -")
            parts.append(self.part(depth, within_parallel=False))
        if not sign and closing:
            raise self.error(" or ".join(closing))
        return parts[0] if len(parts) == 1 else Series(_flat(parts, Series))

    def part(self, depth: int, *, within_parallel: bool) -> Node:
        """One element, or what stands in one pair of brackets."""
        self.peek()
        if depth > _DEEPEST:
            raise self.error(f"at most {_DEEPEST} brackets within each other")
        if self.take("p("):
            return self.listed(depth + 1)
        if self.take("["):
            node = self.series("]", depth + 1)
            self.at += 1
            return node
        if self.take("("):
            if within_parallel:
                node = self.series(")", depth + 1)
                self.at += 1
                return node
            return self.side_by_side(depth + 1)
        return self.element()

    def listed(self, depth: int) -> Node:
        """What lies side by side, between commas, up to the bracket."""
        begin = self.at
        branches = [self.series(",)", depth)]
        while self.take(","):
            branches.append(self.series(",)", depth))
        if len(branches) < 2:
            raise self.error("two branches or more, with a comma between", begin)
        self.at += 1
        return Parallel(_flat(branches, Parallel))

    def side_by_side(self, depth: int) -> Node:
        """Parts that lie side by side, up to the bracket."""
        begin = self.at
        branches = []
        while (sign := self.peek()) != ")":
            if not sign:
                raise self.error(")")
            if sign in ",-":
                raise self.error("elements without comma or -, or p( before the bracket")
            branches.append(self.part(depth, within_parallel=True))
        if len(branches) < 2:
            raise self.error("two elements or more in brackets", begin)
        self.at += 1
        return Parallel(_flat(branches, Parallel))

    def element(self) -> Element:
        """One element."""
        match = _ELEMENT.match(self.text, self.at)
        if match is None:
            raise self.error(f"an element ({', '.join(KINDS)}), p( or a bracket")
        kind, number = match[1], match[2]
        self.places.append(self.at)
        self.at = match.end()
        if not number:
            free = next(n for n in range(1, 1000) if (kind, n) not in self.used)
            self.used.add((kind, free))
            number = str(free)
        return Element(kind, f"{kind}{number}")

    def check_names(self, root: Node) -> None:
        """Refuse a name that stands twice."""
        seen: set[str] = set()
        for element, place in zip(elements_of(root), self.places, strict=True):
            if element.name in seen:
                raise self.error(f"each name once; {element.name} stands before", place)
            seen.add(element.name)


def _flat(parts: list[Node], kind: type[Series | Parallel]) -> tuple[Node, ...]:
    """Parts, those of the same kind dissolved."""
    return tuple(one for part in parts for one in (part.parts if isinstance(part, kind) else (part,)))

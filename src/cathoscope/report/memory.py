"""How much memory a report may take for the values it draws: larger volumes are read in slabs, and sampled in pictures.

A setting of the whole report, known where a volume is read, and not passed through every figure on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_BYTES: ContextVar[float] = ContextVar("bytes", default=2e9)


def bytes_for_drawing() -> float:
    """Bytes that the values of one figure may take while it is made."""
    return _BYTES.get()


@contextmanager
def drawn_within(memory: float) -> Iterator[None]:
    """Figures made in this block take at most about so many bytes for their values."""
    token = _BYTES.set(memory)
    try:
        yield
    finally:
        _BYTES.reset(token)

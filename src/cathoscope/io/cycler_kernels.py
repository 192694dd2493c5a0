"""Compiled loops of the readers of cyclers; loaded for large files only, because numba takes long to load."""

from __future__ import annotations

from numba import njit

from cathoscope.io import cycler_parse

parse_fields = njit(cache=True, nogil=True)(cycler_parse.parse_fields)

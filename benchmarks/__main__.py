"""All benchmarks with a target in one run: python -m benchmarks. Exit code 1 if one misses what it must hold."""

from __future__ import annotations

import sys

from benchmarks import (
    coefficients,
    fbp,
    iterative,
    lab_reading,
    morphology_paths,
    morphology_sheets,
    morphology_surface,
    polynomial,
    porosity,
    powder_profile,
    powder_real,
    powder_refine,
    reading,
    virtual,
    whiteline,
)

_ALL = (
    fbp,
    coefficients,
    iterative,
    whiteline,
    polynomial,
    reading,
    lab_reading,
    virtual,
    morphology_surface,
    morphology_sheets,
    morphology_paths,
    porosity,
    powder_profile,
    powder_real,
    powder_refine,
)


def main() -> int:
    """Run them one after the other."""
    return max(each.main() for each in _ALL)


if __name__ == "__main__":
    sys.exit(main())

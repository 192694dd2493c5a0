"""All benchmarks with a target in one run: python -m benchmarks. Exit code 1 if one misses what it must hold."""

from __future__ import annotations

import sys

from benchmarks import (
    coefficients,
    fbp,
    fibsem_drift,
    fibsem_walls,
    iterative,
    lab_changes,
    lab_cycling,
    lab_heating,
    lab_impedance,
    lab_reading,
    lab_replicates,
    morphology_change,
    morphology_paths,
    morphology_sheets,
    morphology_surface,
    morphology_whole,
    polynomial,
    porosity,
    powder_profile,
    powder_real,
    powder_refine,
    powder_series,
    reading,
    relate_events,
    relate_oxygen,
    relate_samples,
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
    morphology_whole,
    porosity,
    morphology_change,
    fibsem_drift,
    fibsem_walls,
    powder_profile,
    powder_real,
    powder_refine,
    powder_series,
    lab_changes,
    lab_cycling,
    lab_heating,
    lab_impedance,
    lab_replicates,
    relate_events,
    relate_oxygen,
    relate_samples,
)


def main() -> int:
    """Run them one after the other."""
    return max(each.main() for each in _ALL)


if __name__ == "__main__":
    sys.exit(main())

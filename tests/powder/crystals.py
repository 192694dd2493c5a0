"""Crystals of the tests of powder diffraction."""

from __future__ import annotations

from cathoscope.core.crystal import Phase, Site

# Generating values of the GSAS-II simulation in the measured data, sim-nmc-spinel.
NMC = Phase(
    "NMC",
    "R -3 m:H",
    (2.84, 2.84, 14.3, 90, 90, 120),
    (
        Site("Li1", "Li", (0, 0, 0.5), 0.46, 0.012),
        Site("Ni2", "Ni", (0, 0, 0.5), 0.04, 0.012),
        Site("Ni1", "Ni", (0, 0, 0), 0.76, 0.005),
        Site("Mn1", "Mn", (0, 0, 0), 0.10, 0.005),
        Site("Co1", "Co", (0, 0, 0), 0.10, 0.005),
        Site("Li2", "Li", (0, 0, 0), 0.04, 0.005),
        Site("O1", "O", (0, 0, 0.236), 1.0, 0.008),
    ),
)
SPINEL = Phase(
    "spinel",
    "F d -3 m:2",
    (8.12, 8.12, 8.12, 90, 90, 90),
    (
        Site("Li1", "Li", (0.125, 0.125, 0.125), 1.0, 0.012),
        Site("Ni1", "Ni", (0.5, 0.5, 0.5), 0.80, 0.005),
        Site("Mn1", "Mn", (0.5, 0.5, 0.5), 0.10, 0.005),
        Site("Co1", "Co", (0.5, 0.5, 0.5), 0.10, 0.005),
        Site("O1", "O", (0.263, 0.263, 0.263), 1.0, 0.008),
    ),
)

# Starting values after Miyake, Minato, Morikawa & Iwai, Am. Mineral. 63, 506 (1978), who use Pbnm (a = 6.959,
# b = 8.482, c = 5.398 A; mean S-O 1.49 A, mean Pb-O 2.87 A), here on the axes of Pnma as in the round robin of Hill,
# J. Appl. Cryst. 25, 589 (1992), whose patterns are the measured data, pbso4-xn. Displacements are guesses.
ANGLESITE = Phase(
    "PbSO4",
    "P n m a",
    (8.482, 5.398, 6.959, 90, 90, 90),
    (
        Site("Pb1", "Pb2+", (0.1879, 0.25, 0.1667), 1.0, 0.018),
        Site("S1", "S", (0.0633, 0.25, 0.6842), 1.0, 0.008),
        Site("O1", "O2-", (0.9076, 0.25, 0.5954), 1.0, 0.022),
        Site("O2", "O2-", (0.1935, 0.25, 0.5432), 1.0, 0.020),
        Site("O3", "O2-", (0.0811, 0.0265, 0.8086), 1.0, 0.015),
    ),
    source="Miyake et al., Am. Mineral. 63, 506 (1978)",
)

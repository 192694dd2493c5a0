"""Analyses of the laboratory probes: cyclers, impedance, balances, spectrophotometers."""

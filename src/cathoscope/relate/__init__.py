"""What only several probes together tell: events on one axis, one oxygen balance, place, samples, kinetics."""

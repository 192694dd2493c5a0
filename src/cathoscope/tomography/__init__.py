"""From detector counts to attenuation: correction, alignment and reconstruction of parallel-beam projections."""

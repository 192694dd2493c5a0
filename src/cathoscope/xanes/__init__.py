"""X-ray absorption near an edge: optical depth, edge jump, white line of every voxel, mixtures of known spectra."""

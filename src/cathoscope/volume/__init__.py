"""Morphology: from grey volumes, slices and mosaics to cracks, pores, surfaces and whole particles."""

"""Powder diffraction: from patterns of neutrons and X-rays to phases, cells, fractions, sizes and strains."""

"""The virtual experiment: one seed makes a specimen, its raw files and the truth.

It shares no code with the analysis: every formula here is written from the equations once more.
"""

"""Interpolation, registration and deformation of volumes."""

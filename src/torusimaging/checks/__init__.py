"""Checks of a fit: calibration, comparison, goodness, symmetry, consistency and the verdict."""

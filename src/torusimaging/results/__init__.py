"""What a fit gave: the fit itself, its file, profiles and published values beside it."""

"""Likelihoods of pixels."""

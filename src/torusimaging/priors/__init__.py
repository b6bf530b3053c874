"""Priors: named distributions, the joint prior of all parameters, and the slopes of splines."""

"""Bayesian reconstruction methods, one file each."""

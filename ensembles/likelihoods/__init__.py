"""Likelihoods: what networks' outputs say about y, one file each."""

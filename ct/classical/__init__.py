"""Reconstruction without a network."""

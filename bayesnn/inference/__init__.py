"""Posteriors over one network's parameters."""

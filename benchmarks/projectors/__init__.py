"""Projectors against their peers, on a processor and on a GPU."""

"""Faults that are tried at length, a file a kind of fault."""

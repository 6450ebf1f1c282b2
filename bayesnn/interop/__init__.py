"""Bridges to other frameworks; each loads its framework only when it is used."""

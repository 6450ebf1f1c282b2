"""Coordinate networks that represent an image, and their encodings."""

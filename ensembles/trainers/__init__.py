"""Trainers of many members at once, one file each."""

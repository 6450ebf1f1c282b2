"""Hostile files: seeds, mutations, and a watched child that reads them."""

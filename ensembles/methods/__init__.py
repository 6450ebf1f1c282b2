"""Ensemble methods, one file each: the added function, the regulariser and the targets."""

"""Methods for regression on tables, side by side: one file a method, one way to choose settings."""

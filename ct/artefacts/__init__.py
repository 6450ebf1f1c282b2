"""What spoils sinograms, and what can be done about it."""

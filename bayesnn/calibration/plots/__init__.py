"""Pictures of calibration that explain themselves; matplotlib loads when one is drawn."""

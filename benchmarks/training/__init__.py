"""The parts of benchmarks/ensemble_training.py, one question a file."""

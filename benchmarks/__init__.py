"""One script a question; reports in benchmarks/results."""

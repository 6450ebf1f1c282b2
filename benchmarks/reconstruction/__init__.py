"""Parts of the benchmarks of CT reconstructions: known images, their scans, scores, tables."""

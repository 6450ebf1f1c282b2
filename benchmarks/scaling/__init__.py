"""Parts of the benchmark of executors, `benchmarks/scale_out.py`."""

"""Parts of the benchmark of width: problems, members, errors, figure."""

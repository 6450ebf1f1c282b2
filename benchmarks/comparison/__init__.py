"""What benchmarks that set methods side by side share: cells, paired differences, clusters."""

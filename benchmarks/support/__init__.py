"""What the benchmarks share: the harness, servers to measure, simulated days."""

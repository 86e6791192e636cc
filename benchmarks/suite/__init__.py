"""The benchmarks: each takes `Settings` and gives results, or raises `Skipped`."""

"""What a clip costs here, beside what a user would run instead: `python -m benchmarks`."""

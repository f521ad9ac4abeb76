"""Speed, memory and coverage, measured: `python -m benchmarks.NAME`."""

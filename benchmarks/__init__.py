"""Speed and memory, side by side with what a user would pick instead.

Every module here with a `main(arguments)` is a benchmark: `python -m benchmarks corruptions`
runs one, with arguments of its own behind the name; `python -m benchmarks` runs those that take
minutes and writes their pages to docs/performance.
"""

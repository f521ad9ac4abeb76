"""Speed and memory, side by side with what a user would pick instead.

Every module here with a `main(arguments)` is a benchmark: `python -m benchmarks` runs them all,
`python -m benchmarks corruptions` runs one, with arguments of its own behind the name.
"""

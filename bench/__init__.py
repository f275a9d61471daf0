"""Benchmarks: `python -m bench`; ratios against the bare system calls and peers of the same run."""

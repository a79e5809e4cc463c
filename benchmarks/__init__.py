"""Measurements of Holdfast, one module each, with its peers measured in the same run: `python -m benchmarks`."""

"""Benchmarks of this package against other implementations."""

"""Kernels for training on a processor, compiled by Numba."""

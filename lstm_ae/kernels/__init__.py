"""LSTM kernels for CPUs, compiled by Numba."""

"""Backtests: repeated training and testing with rolling origins."""

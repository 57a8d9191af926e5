"""Backtests: repeated training and testing with rolling origins, held-out companies, and K-fold selection."""

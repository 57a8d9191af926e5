"""Baselines of classifiers."""

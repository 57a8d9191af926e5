"""Forecasting: metrics, baselines, and intervals."""

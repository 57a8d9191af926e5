"""Anomaly detection: scores of rows, thresholds, events, baselines, and metrics on labeled data.

Pure functions on NumPy arrays that do not depend on any model: their input is the squared errors of a reconstruction.
"""

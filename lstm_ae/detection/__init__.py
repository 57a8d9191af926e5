"""Anomalies in a series: scores of its rows, a threshold for them, events, and how good these are where labels exist.

Pure functions on numpy arrays; nothing here knows a model. Whatever reconstructs windows hands over its squared errors.
"""

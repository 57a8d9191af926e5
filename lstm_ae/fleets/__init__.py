"""Fleets: one model for each series of a table."""

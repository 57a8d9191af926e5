"""Checks: errors, warnings, and leakage in tables and in the data made of them."""

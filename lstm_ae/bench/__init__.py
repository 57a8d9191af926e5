"""Measurements of this package against others', made the same way everywhere."""

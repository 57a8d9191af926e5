"""Estimates of the time, memory, and disk usage of long commands from a few timed training steps."""

"""Figures as pure functions, arrays in and a `Figure` out: `signals`, `digits`, `prices`, on what `base` shares."""

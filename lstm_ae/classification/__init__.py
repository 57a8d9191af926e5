"""Classes of a table: labels, padding of short series, and baselines."""

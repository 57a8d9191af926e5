"""Apply a run to tables that are larger than memory, in several processes or on a cluster."""

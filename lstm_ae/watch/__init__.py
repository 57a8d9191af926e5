"""Watch growing data with trained detectors and send alarms."""

"""The studies of tables: anomaly detection, reconstruction, forecasting, and classification."""

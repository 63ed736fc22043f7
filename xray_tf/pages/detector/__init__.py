"""Pages of the anomaly detector."""

"""Make the report, README and score pages of an anomaly detector."""

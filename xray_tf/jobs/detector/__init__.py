"""Jobs of the anomaly detector: fit, score, report."""

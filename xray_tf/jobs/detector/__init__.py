"""Fit anomaly detectors, score radiographs with them, and report on the scores."""

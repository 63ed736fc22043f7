"""Statistics of the anomaly detector: densities, committees, the OR rule."""

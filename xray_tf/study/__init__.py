"""Run the course report's study in stages, and compare its results with published ones."""

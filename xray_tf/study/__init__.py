"""The course report's study: presets, stages, runs, results."""

"""Saved networks in NumPy alone: for a few radiographs, loading TensorFlow would take longer than
computing them.
"""

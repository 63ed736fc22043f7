"""Synthetic radiographs, lesions and graded changes of real ones."""

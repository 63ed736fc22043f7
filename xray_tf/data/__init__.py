"""Radiographs on disk, as records, splits and pixels: NumPy, OpenCV and the standard library
only.
"""

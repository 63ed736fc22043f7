"""Compute heat maps by Grad-CAM and related methods, and test whether they depend on the
weights.
"""

"""Embed radiographs, fit a reference of nearest cases, and query it."""

"""Opened artifacts: what a person holds in a notebook."""

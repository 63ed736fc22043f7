"""Trunks and their weights."""

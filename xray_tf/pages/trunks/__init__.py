"""The README of a distilled trunk."""

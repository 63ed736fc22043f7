"""Provide what every page needs: escaping, tables, plots, overlays."""

"""Figures and documents: the only room with matplotlib and seaborn."""

"""Figures of merit and estimators on arrays and tables: the only room with scikit-learn and
SciPy.
"""

"""Make the report, model card and shift card of a classifier."""

"""The page of evidence on single radiographs."""

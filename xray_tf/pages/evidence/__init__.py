"""Make the page of evidence on single radiographs."""

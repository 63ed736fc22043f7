"""Run an opened model over very many files, on this machine or on an engine elsewhere."""

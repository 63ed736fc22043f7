"""Pages of the lung segmenter."""

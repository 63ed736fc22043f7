"""Jobs of the lung segmenter: train it, measure it, find lungs in files."""

"""Build backbones and load their weights."""

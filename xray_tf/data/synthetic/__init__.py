"""Draw synthetic radiographs, and change real radiographs by known amounts."""

"""Draw synthetic radiographs and lesions, and change real radiographs by known amounts."""

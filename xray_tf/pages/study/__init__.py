"""The page of the whole study."""

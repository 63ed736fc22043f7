"""The page of a site acceptance."""

"""Draw heat maps, and measure what they are worth."""

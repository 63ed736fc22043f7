"""Jobs of heat maps: draw them, and measure what they are worth."""

"""Pages of heat maps and of what they are worth."""

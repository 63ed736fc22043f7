"""Make the pages of heat maps, and of what they are worth."""

"""Make the page of the whole study."""

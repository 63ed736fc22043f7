"""What a small labelled sample says about a classifier at a site, and how to adapt it there."""

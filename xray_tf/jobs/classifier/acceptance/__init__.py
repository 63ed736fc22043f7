"""Judge a classifier at a site on a small sample, compare it there, and adapt it to the site."""

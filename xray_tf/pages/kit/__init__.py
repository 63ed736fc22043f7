"""What every page is made of: escaping, tables, figures, overlays."""

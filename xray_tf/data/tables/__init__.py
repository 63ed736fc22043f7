"""One family of tables, whose columns are declared once, and the CSV files they are kept in."""

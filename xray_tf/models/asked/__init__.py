"""What a person asks about: paths, arrays and whatever else a program holds."""

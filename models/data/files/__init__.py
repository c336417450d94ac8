"""Data files as people have them: found by name, opened, and read into one Arrow table."""

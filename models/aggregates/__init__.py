"""Counts over time windows: what is declared, what is kept of a key, and the numbers it comes to."""

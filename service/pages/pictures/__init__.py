"""Figures as places in a picture, which templates draw."""

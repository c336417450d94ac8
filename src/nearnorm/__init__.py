"""Nearnorm: online anomaly scoring that learns several prototypes of normal from a handful of labels."""

__version__ = "0.1.0"

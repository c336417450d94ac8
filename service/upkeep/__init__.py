"""The store over years: what may go, what went, and whether the rest is as it was written."""

"""The online service: scores records, takes labels, swaps models. Knows no torch."""

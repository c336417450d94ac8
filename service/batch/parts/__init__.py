"""`nearnorm score` of many files: parts that are planned once, scored anywhere, and never twice."""

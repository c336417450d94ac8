"""A backup of ledger and store, and how they are brought back from it."""
